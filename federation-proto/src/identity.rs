//! Who and what: tenants, edges, spools, batches, signals and classes.
//!
//! Names of tenants and edges become path components, metric labels and certificate ids, so one narrow alphabet is checked once,
//! here: 1 to 63 of `[a-z0-9-_.]`, starting with a letter or a digit.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest name of a tenant or an edge, in bytes.
pub const MAX_NAME_LEN: usize = 63;

/// A name that cannot stand for a tenant or an edge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {0:?}: expected 1 to 63 of [a-z0-9-_.], starting with a letter or a digit")]
pub struct InvalidName(pub String);

fn check_name(name: &str) -> Result<(), InvalidName> {
    let first_ok = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest_ok = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
    if first_ok && rest_ok && name.len() <= MAX_NAME_LEN {
        return Ok(());
    }
    Err(InvalidName(name.chars().take(2 * MAX_NAME_LEN).collect()))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the alphabet and the length.
            ///
            /// # Errors
            /// [`InvalidName`] with the name as given (cut to twice the longest length).
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                check_name(name)?;
                Ok(Self(Arc::from(name)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(&name)
            }
        }

        /// Inlined, so that what a field says of itself stands alone.
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed("Name")
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "title": "name",
                    "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$",
                    "form": "1 to 63 of `a-z`, `0-9`, `-`, `_` and `.`, the first a letter or a digit",
                })
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name_type! {
    /// Whose records these are. Comes from an authenticated identity, never from what a sender writes.
    TenantId
}
name_type! {
    /// An edge gateway, as its certificate's SPIFFE id names it.
    EdgeName
}

/// 128 random bits written when a spool directory is created. A lost disk gives a new id, never a reused one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpoolId(pub [u8; 16]);

impl fmt::Display for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SpoolId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Number of a record within one log. Only grows; never used twice, not even after a rebuild.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one. Saturates: a log would have to append a record a nanosecond for 584 years to get there.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one batch in all places and for ever; a retry keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BatchId {
    /// The spool that the batch was first written to.
    pub spool: SpoolId,
    /// Its number there.
    pub seq: Seq,
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.spool, self.seq)
    }
}

/// A byte that names no signal or class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value} is not known to this version")]
pub struct UnknownCode {
    /// `signal` or `class`.
    pub what: &'static str,
    /// The byte found.
    pub value: u8,
}

macro_rules! code_enum {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $code:literal => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $code),+ }

        impl $name {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in configuration, labels and reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The byte on the wire and on disk.
            #[must_use]
            pub fn code(self) -> u8 {
                self as u8
            }
        }

        impl TryFrom<u8> for $name {
            type Error = UnknownCode;
            fn try_from(value: u8) -> Result<Self, UnknownCode> {
                match value {
                    $($code => Ok(Self::$variant),)+
                    _ => Err(UnknownCode { what: $what, value }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

code_enum! {
    /// OTLP's kinds of telemetry. A batch carries one.
    Signal, "signal" {
        /// Spans.
        Traces = 1 => "traces",
        /// Log records.
        Logs = 2 => "logs",
        /// Metric data points.
        Metrics = 3 => "metrics",
        /// Profile samples (named on the wire; not yet encoded).
        Profiles = 4 => "profiles",
    }
}

code_enum! {
    /// Quality of service. Orders what shares a link, a worker or a queue.
    Class, "class" {
        /// First in line.
        High = 1 => "high",
        /// The default.
        Medium = 2 => "medium",
        /// Last in line, but never starved.
        Low = 3 => "low",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name can be a path component: nothing that climbs, hides or separates gets through.
    #[test]
    fn names_are_safe_as_path_components() {
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "A", "ü", "a b", "-x", "a\0", &"x".repeat(64)] {
            assert!(TenantId::new(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "acme", "team-1.eu_west", "0", &"x".repeat(63)] {
            assert_eq!(TenantId::new(good).unwrap().as_str(), good);
        }
    }

    /// Every code read is the code written, and no other byte is taken for one.
    #[test]
    fn codes_round_trip() {
        for byte in 0..=u8::MAX {
            match Signal::try_from(byte) {
                Ok(signal) => assert_eq!(signal.code(), byte),
                Err(error) => assert!(byte == 0 || byte > 4, "{error}"),
            }
            match Class::try_from(byte) {
                Ok(class) => assert_eq!(class.code(), byte),
                Err(error) => assert!(byte == 0 || byte > 3, "{error}"),
            }
        }
    }
}
