//! The protobuf wire format, read and written without message structs.
//!
//! [`Reader`] borrows: a string is a slice of the body. Every length is checked against what is left before it is believed, so a claimed
//! length never allocates. [`Writer`] appends to one buffer and knows only the forms that OTLP uses.

use super::{Fault, Malformed};

/// Wire type of a field, as protobuf numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Varint,
    Fixed64,
    Len,
    StartGroup,
    EndGroup,
    Fixed32,
}

/// A cursor over one message. `end` is the message's end counted from the start of the body, so that errors and slices know where they are.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, end: body.len() }
    }

    /// A reader of `bytes`, which start `at` bytes into the body.
    pub(crate) fn at(bytes: &'a [u8], at: usize) -> Self {
        Self { rest: bytes, end: at + bytes.len() }
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes from the start of the body to the cursor.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// What is left of the message.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[cold]
    pub(crate) fn fault(&self, fault: Fault) -> Malformed {
        Malformed { at: self.offset(), fault }
    }

    /// A varint of at most ten bytes whose value fits 64 bits.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => {
                self.rest = rest;
                Ok(u64::from(a))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.rest = rest;
                Ok(u64::from(a & 0x7f) | u64::from(b) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                if i == 9 && byte > 1 {
                    return Err(self.fault(Fault::Varint));
                }
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(self.fault(if self.rest.len() < 10 { Fault::Truncated } else { Fault::Varint }))
    }

    /// Field number (1 to 2^29 - 1) and wire type.
    #[inline]
    pub(crate) fn key(&mut self) -> Result<(u32, Wire), Malformed> {
        let key = self.varint()?;
        let Ok(key) = u32::try_from(key) else { return Err(self.fault(Fault::Key)) };
        let wire = match key & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Len,
            3 => Wire::StartGroup,
            4 => Wire::EndGroup,
            5 => Wire::Fixed32,
            _ => return Err(self.fault(Fault::Key)),
        };
        if key >> 3 == 0 {
            return Err(self.fault(Fault::Key));
        }
        Ok((key >> 3, wire))
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(self.fault(Fault::Truncated)),
        }
    }

    #[inline]
    pub(crate) fn fixed32(&mut self) -> Result<u32, Malformed> {
        match self.rest.split_first_chunk::<4>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u32::from_le_bytes(*bytes))
            }
            None => Err(self.fault(Fault::Truncated)),
        }
    }

    /// A length and that many bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.varint()?;
        match usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len)) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.fault(Fault::Truncated)),
        }
    }

    /// A length and a message of that many bytes.
    #[inline]
    pub(crate) fn message(&mut self) -> Result<Reader<'a>, Malformed> {
        let bytes = self.bytes()?;
        Ok(Reader { rest: bytes, end: self.offset() })
    }

    /// Passes over one field whose key was just read. `depth` is how many messages or groups may still open, as prost counts them.
    pub(crate) fn skip(&mut self, field: u32, wire: Wire, depth: u32) -> Result<(), Malformed> {
        if depth == 0 {
            return Err(self.fault(Fault::Depth));
        }
        match wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.fixed64().map(drop),
            Wire::Fixed32 => self.fixed32().map(drop),
            Wire::Len => self.bytes().map(drop),
            Wire::EndGroup => Err(self.fault(Fault::Group)),
            Wire::StartGroup => loop {
                let (inner, wire) = self.key()?;
                if wire == Wire::EndGroup {
                    return if inner == field { Ok(()) } else { Err(self.fault(Fault::Group)) };
                }
                self.skip(inner, wire, depth - 1)?;
            },
        }
    }
}

/// Appends protobuf to one buffer.
#[derive(Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    #[inline]
    pub(crate) fn varint(&mut self, value: u64) {
        put_varint(&mut self.out, value);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    /// A varint field, written even if zero.
    pub(crate) fn int(&mut self, field: u32, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    /// A varint field of a proto3 scalar: zero is not written.
    pub(crate) fn int_or_none(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.int(field, value);
        }
    }

    /// A fixed64, sfixed64 or double field, written even if zero.
    pub(crate) fn fixed64(&mut self, field: u32, bits: u64) {
        self.key(field, 1);
        self.out.extend_from_slice(&bits.to_le_bytes());
    }

    /// A fixed64 or double field of a proto3 scalar: all-zero bits are not written (minus zero is).
    pub(crate) fn fixed64_or_none(&mut self, field: u32, bits: u64) {
        if bits != 0 {
            self.fixed64(field, bits);
        }
    }

    pub(crate) fn fixed32_or_none(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.key(field, 5);
            self.out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A string, bytes or ready-made message field, written even if empty.
    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// A string or bytes field of a proto3 scalar: empty is not written.
    pub(crate) fn bytes_or_none(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes(field, bytes);
        }
    }

    /// Bytes that are whole fields already.
    pub(crate) fn raw(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    /// A packed field of 64-bit values; none at all is not written.
    pub(crate) fn packed64(&mut self, field: u32, values: impl ExactSizeIterator<Item = u64>) {
        if values.len() > 0 {
            self.key(field, 2);
            self.varint(8 * values.len() as u64);
            for value in values {
                self.out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// A message field: `body` writes the message.
    pub(crate) fn message(&mut self, field: u32, body: impl FnOnce(&mut Self)) {
        let start = self.open(field);
        body(self);
        self.close(start);
    }

    /// Begins a message or packed field; what is written until [`close`](Self::close) is its content. Gives where it starts.
    pub(crate) fn open(&mut self, field: u32) -> usize {
        self.key(field, 2);
        self.out.push(0);
        self.out.len()
    }

    /// Ends the field whose content starts at `start`: puts the length before it, for which content beyond 127 bytes is moved.
    pub(crate) fn close(&mut self, start: usize) {
        let len = self.out.len() - start;
        if let (Ok(short @ 0..0x80), Some(byte)) = (u8::try_from(len), self.out.get_mut(start - 1)) {
            *byte = short;
            return;
        }
        let mut prefix = Vec::with_capacity(10);
        put_varint(&mut prefix, len as u64);
        self.out.splice(start - 1..start, prefix);
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Makes room for `bytes` more: at least doubles what there is, but not beyond `most` bytes in all if those are enough.
    pub(crate) fn reserve(&mut self, bytes: usize, most: usize) {
        let wanted = self.out.len() + bytes;
        if wanted > self.out.capacity() {
            let capacity = (2 * self.out.capacity()).min(most).max(wanted);
            self.out.reserve_exact(capacity - self.out.len());
        }
    }
}

/// Appends a varint.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Maps a signed integer to a varint that is short for small magnitudes (protobuf sint32).
pub(crate) fn zigzag32(value: i32) -> u64 {
    u64::from((value << 1 ^ value >> 31) as u32)
}

/// Reads a sint32 as prost does: upper bits of the varint are ignored.
pub(crate) fn unzigzag32(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1) as i32 ^ -((value & 1) as i32)
}
