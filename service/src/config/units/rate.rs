//! Rates in bytes per second.

use std::fmt;
use std::str::FromStr;

use super::decimal::{self, Factor, Problem};
use super::{InvalidUnit, serde_as_text};

/// Bytes per second: `10Mbit/s`, `4MiB/s`, `1.5MB/s`.
///
/// `bit/s`, `kbit/s`, `Mbit/s`, `Gbit/s` are powers of 1000 bits; `KiB/s`, `MiB/s`, `GiB/s` powers
/// of 1024 bytes; `KB/s` (or `kB/s`), `MB/s`, `GB/s` powers of 1000 bytes. A number alone is
/// refused: it would not say bits or bytes. At most 2^64 - 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Rate(pub u64);

impl Rate {
    /// `n` bytes per second.
    pub const fn bytes_per_second(n: u64) -> Self {
        Self(n)
    }

    /// `n` million bits per second, at most `u64::MAX` bytes.
    pub const fn mbit(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000 / 8))
    }

    /// In bytes per second.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

const fn bits(n: u64) -> Factor {
    Factor { numerator: n, denominator: 8 }
}

/// The first of equals is how a rate is printed.
const UNITS: [(&str, Factor); 12] = [
    ("GiB/s", Factor::whole(1 << 30)),
    ("MiB/s", Factor::whole(1 << 20)),
    ("KiB/s", Factor::whole(1 << 10)),
    ("GB/s", Factor::whole(1_000_000_000)),
    ("Gbit/s", bits(1_000_000_000)),
    ("MB/s", Factor::whole(1_000_000)),
    ("Mbit/s", bits(1_000_000)),
    ("KB/s", Factor::whole(1_000)),
    ("kB/s", Factor::whole(1_000)),
    ("kbit/s", bits(1_000)),
    ("B/s", Factor::whole(1)),
    ("bit/s", bits(1)),
];

impl FromStr for Rate {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let (number, unit) = decimal::split(text);
        let factor = UNITS.iter().find(|(name, _)| *name == unit);
        let value = factor.ok_or(Problem::Form).and_then(|(_, factor)| decimal::scale(number, *factor));
        value.map(Self).map_err(|problem| {
            InvalidUnit::new(
                text,
                match problem {
                    Problem::Form => "expected a rate such as 10Mbit/s or 4MiB/s",
                    Problem::NotWhole => "not a whole number of bytes per second",
                    Problem::TooLarge => "too large: expected less than 16 EiB per second",
                },
            )
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B/s");
        }
        let (number, unit) = decimal::shortest(self.0, &UNITS);
        write!(f, "{number}{unit}")
    }
}

serde_as_text!(Rate, "rate": ["string"], "a rate such as 10Mbit/s or 4MiB/s");
