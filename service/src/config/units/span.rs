//! Lengths of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::decimal::{self, Factor, Problem};
use super::{InvalidUnit, serde_as_text};

/// A length of time: `200ms`, `5s`, `1m30s`, `7d`.
///
/// Parts of `d`, `h`, `m`, `s`, `ms`, `us` (or `µs`) and `ns`, each at most once and the largest
/// first; a part may have a fraction (`1.5s`). A number alone is refused, `0s` is not. At most
/// [`Span::MAX`] when parsed, so that adding one to a clock cannot overflow it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

impl Span {
    /// The longest that is accepted: 36500 days, a hundred years.
    pub const MAX: Self = Self::from_secs(36_500 * 86_400);

    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// As the standard library's type.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// Largest first, as they must be written.
const UNITS: [(&str, u64); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

impl FromStr for Span {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let nanos = nanos(text).map_err(|problem| {
            InvalidUnit::new(
                text,
                match problem {
                    Problem::Form => "expected a length of time such as 200ms, 5s, 1m30s or 7d",
                    Problem::NotWhole => "not a whole number of nanoseconds",
                    Problem::TooLarge => "too long: expected at most 36500d",
                },
            )
        })?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

fn nanos(text: &str) -> Result<u64, Problem> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut above = u64::MAX;
    while above == u64::MAX || !rest.is_empty() {
        let (number, behind) = decimal::split(rest);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(behind.len());
        let (name, next) = behind.split_at(end);
        let unit = UNITS.iter().find(|(unit, _)| *unit == name);
        let (_, nanos) = unit.filter(|unit| unit.1 < above).ok_or(Problem::Form)?;
        let part = decimal::scale(number, Factor::whole(*nanos))?;
        total = total.checked_add(part).ok_or(Problem::TooLarge)?;
        above = *nanos;
        rest = next.trim_start_matches(' ');
    }
    if u128::from(total) > Span::MAX.0.as_nanos() {
        return Err(Problem::TooLarge);
    }
    Ok(total)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.0.as_nanos();
        for (name, nanos) in UNITS.into_iter().filter(|(name, _)| *name != "µs") {
            let count = rest / u128::from(nanos);
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
            rest %= u128::from(nanos);
        }
        Ok(())
    }
}

serde_as_text!(Span, "span": ["string"], "a length of time such as 200ms, 5s, 1m30s or 7d");
