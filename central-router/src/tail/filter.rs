//! What a tail shows: signals, and conditions on attributes of which all must hold.
//!
//! A condition is `key=value`: an attribute of the record or of its resource with that key has that value, as text. `service`, `name`,
//! `severity` (whatever its case) and `trace_id` are also short for what they say. Bounds: [`MAX_CONDITIONS`] of 4 KiB.

use federation_proto::columns::Value;
use federation_proto::identity::Signal;

use super::row::Row;

/// Conditions of one tail.
pub const MAX_CONDITIONS: usize = 16;
/// Bytes of one condition.
const MAX_CONDITION_BYTES: usize = 4 << 10;

/// Conditions that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// Not of the form.
    #[error("where {0:?}: expected key=value, for example http.route=/pay or service=checkout")]
    Condition(String),
    /// Beyond the bounds.
    #[error("where: expected at most {MAX_CONDITIONS} conditions of {MAX_CONDITION_BYTES} bytes")]
    TooMuch,
    /// A word that names no signal.
    #[error("signals: {0:?}: expected traces, logs or metrics")]
    Signal(String),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    signals: Vec<Signal>,
    conditions: Vec<(String, String)>,
}

impl Filter {
    /// The signals (none: all) and conditions of a request.
    ///
    /// # Errors
    /// [`InvalidFilter`].
    pub fn new(signals: &[String], conditions: &[String]) -> Result<Self, InvalidFilter> {
        if conditions.len() > MAX_CONDITIONS || conditions.iter().any(|condition| condition.len() > MAX_CONDITION_BYTES) {
            return Err(InvalidFilter::TooMuch);
        }
        let condition = |text: &String| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(InvalidFilter::Condition(text.clone())),
        };
        let signal = |name: &String| {
            let known = Signal::ALL.iter().find(|signal| signal.as_str() == name && **signal != Signal::Profiles);
            known.copied().ok_or_else(|| InvalidFilter::Signal(name.clone()))
        };
        let signals: Vec<Signal> = signals.iter().map(signal).collect::<Result<_, _>>()?;
        let conditions = conditions.iter().map(condition).collect::<Result<_, _>>()?;
        Ok(Self { signals: if signals.is_empty() { Signal::ALL.to_vec() } else { signals }, conditions })
    }

    /// The signals shown.
    #[must_use]
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// Is this record shown?
    #[must_use]
    pub fn shows(&self, row: &Row<'_>) -> bool {
        self.conditions.iter().all(|(key, wanted)| holds(row, key, wanted))
    }
}

fn holds(row: &Row<'_>, key: &str, wanted: &str) -> bool {
    let is = |value: Value<'_>| match value {
        Value::Str(text) => text == wanted,
        other => other.to_text() == wanted,
    };
    let short = match key {
        "service" => row.resource().attr("service.name").is_some_and(is),
        "name" => row.name() == wanted,
        "severity" => row.severity().eq_ignore_ascii_case(wanted) && !wanted.is_empty(),
        "trace_id" => row.trace_id().eq_ignore_ascii_case(wanted) && !wanted.is_empty(),
        _ => false,
    };
    short || row.attrs().chain(row.resource().attrs()).any(|(found, value)| found == key && is(value))
}
