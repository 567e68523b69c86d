//! Reading fixed-size fields out of an event's bytes, every read checked.

use core::fmt;

/// Why the bytes are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not as long as the struct.
    Length {
        /// Bytes the struct has.
        expected: usize,
        /// Bytes that came.
        actual: usize,
    },
    /// A field has a value that no program writes.
    Field {
        /// The field's name in `events.h`.
        name: &'static str,
        /// What it had.
        value: u32,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, actual } => write!(f, "event of {actual} bytes, expected {expected}"),
            Self::Field { name, value } => write!(f, "event field {name} has the unknown value {value}"),
        }
    }
}

impl core::error::Error for Malformed {}

/// The bytes of one event, known to be as long as its struct.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8], expected: usize) -> Result<Self, Malformed> {
        if bytes.len() == expected { Ok(Self(bytes)) } else { Err(Malformed::Length { expected, actual: bytes.len() }) }
    }

    /// `N` bytes at `offset`; beyond the end is `Malformed`, never a panic.
    pub(crate) fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], Malformed> {
        let tail = self.0.get(offset..).and_then(|tail| tail.first_chunk::<N>());
        tail.copied().ok_or(Malformed::Length { expected: offset.saturating_add(N), actual: self.0.len() })
    }

    pub(crate) fn u8(&self, offset: usize) -> Result<u8, Malformed> {
        self.array::<1>(offset).map(|[byte]| byte)
    }

    // Host order: the objects are little endian, and so is every machine they load on.
    pub(crate) fn u16(&self, offset: usize) -> Result<u16, Malformed> {
        self.array(offset).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&self, offset: usize) -> Result<u32, Malformed> {
        self.array(offset).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&self, offset: usize) -> Result<u64, Malformed> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

/// What stands before the first NUL, or all of it.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A task's name as the kernel has it: at most 15 bytes, not necessarily UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Comm([u8; 16]);

impl Comm {
    /// The kernel's form: NUL-terminated. What follows the first NUL is cleared, so that equal names are equal.
    pub fn new(raw: [u8; 16]) -> Self {
        let mut clean = [0; 16];
        let name = until_nul(&raw);
        clean[..name.len()].copy_from_slice(name);
        Self(clean)
    }

    /// The name without its NUL.
    pub fn as_bytes(&self) -> &[u8] {
        until_nul(&self.0)
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Comm({self})")
    }
}
