//! Sizes in bytes.

use std::fmt;
use std::str::FromStr;

use super::decimal::{self, Factor, Problem};
use super::{InvalidUnit, serde_as_text};

/// A number of bytes: `64MiB`, `10KB`, `1.5GiB`, or `4096` for bytes.
///
/// `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024; `KB` (or `kB`), `MB`, `GB`, `TB` powers of 1000.
/// At most 2^64 - 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// `n` times 1024 bytes, at most `u64::MAX`.
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }

    /// `n` times 1024² bytes, at most `u64::MAX`.
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }

    /// `n` times 1024³ bytes, at most `u64::MAX`.
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 30))
    }

    /// In bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// In bytes, at most what this machine can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The first of equals is how a size is printed.
const UNITS: [(&str, Factor); 11] = [
    ("TiB", Factor::whole(1 << 40)),
    ("GiB", Factor::whole(1 << 30)),
    ("MiB", Factor::whole(1 << 20)),
    ("KiB", Factor::whole(1 << 10)),
    ("TB", Factor::whole(1_000_000_000_000)),
    ("GB", Factor::whole(1_000_000_000)),
    ("MB", Factor::whole(1_000_000)),
    ("KB", Factor::whole(1_000)),
    ("kB", Factor::whole(1_000)),
    ("B", Factor::whole(1)),
    ("", Factor::whole(1)),
];

impl FromStr for ByteSize {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let (number, unit) = decimal::split(text);
        let factor = UNITS.iter().find(|(name, _)| *name == unit);
        let value = factor.ok_or(Problem::Form).and_then(|(_, factor)| decimal::scale(number, *factor));
        value.map(Self).map_err(|problem| {
            InvalidUnit::new(
                text,
                match problem {
                    Problem::Form => "expected a size such as 64MiB or 10MB",
                    Problem::NotWhole => "not a whole number of bytes",
                    Problem::TooLarge => "too large: expected less than 16 EiB",
                },
            )
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        let (number, unit) = decimal::shortest(self.0, &UNITS);
        write!(f, "{number}{unit}")
    }
}

serde_as_text!(ByteSize, "size": ["string", "integer"], "a size such as 64MiB or 10MB");
