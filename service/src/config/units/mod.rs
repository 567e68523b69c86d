//! Units as types: what a number in the configuration counts is written beside it.
//!
//! | Type | Written as | Counts |
//! |---|---|---|
//! | [`ByteSize`] | `64MiB`, `10KB`, `1.5GiB`, `4096` | bytes; powers of 1024 (`KiB`) or 1000 (`KB`) |
//! | [`Rate`] | `10Mbit/s`, `4MiB/s`, `1.5MB/s` | bytes per second; bits in powers of 1000 |
//! | [`Span`] | `200ms`, `5s`, `1m30s`, `7d` | nanoseconds |
//! | [`Listen`] | `127.0.0.1:4317`, `[::]:4317` | an address and port to listen on |
//!
//! Each parses with [`FromStr`](std::str::FromStr), prints with `Display` what it parses back to
//! the same value, and does both through serde. Nothing is rounded: what is not a whole number of
//! the unit counted, or does not fit, is refused with a line that says what is expected.

mod bytes;
mod decimal;
mod listen;
mod rate;
mod span;

pub use bytes::ByteSize;
pub use listen::Listen;
pub use rate::Rate;
pub use span::Span;

/// A value that is not what its unit expects; one line with the value and an example.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid value {value:?}: {problem}")]
pub struct InvalidUnit {
    value: String,
    problem: String,
}

impl InvalidUnit {
    fn new(value: &str, problem: impl Into<String>) -> Self {
        /// More of a value than this does not help to find it.
        const SHOWN_CHARS: usize = 64;
        Self { value: value.chars().take(SHOWN_CHARS).collect(), problem: problem.into() }
    }
}

/// Implements serde for a type that is written as text: `Display` out, `FromStr` in. A bare number
/// goes through `FromStr` too, which says whether it may stand without its unit.
macro_rules! serde_as_text {
    ($type:ty, $title:literal: [$($json:literal),+], $expected:literal) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": [$($json),+], "title": $title, "form": $expected})
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                }

                deserializer.deserialize_any(Text)
            }
        }
    };
}
use serde_as_text;

#[cfg(test)]
mod tests;
