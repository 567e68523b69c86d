//! OTLP/JSON to OTLP protobuf: one pass over the text, written as it is read, without message structs or a tree of values.
//!
//! The rules are those of the OTLP specification ("JSON Protobuf Encoding"), beneath it those of proto3 JSON:
//! - Keys are lowerCamelCase. All others are unknown (`trace_id` too) and passed over, whatever they hold.
//! - Trace and span ids are hexadecimal, either case; of any length, as in protobuf. Other bytes are base64: either alphabet, padded or not.
//! - Enums are integers; names are refused. Numbers unknown to us are kept.
//! - Integers are numbers (`5`, `5.0`, `5e0`) or decimal strings, whatever their width. Doubles are numbers, the same as strings, or `"NaN"`,
//!   `"Infinity"`, `"-Infinity"`.
//! - `null` is as if the key were absent; in a list it is refused.
//! - A known key twice in one object is refused, as are two members of a oneof: what the sender meant cannot be known. So the output never
//!   needs [`normalise`](super::normalise).
//!
//! Bounds: messages nest as deep as the scan takes them (100), unknown values to any depth without recursion. The output is never longer
//! than its cap, nor than four times the body (a list of one-digit doubles); beside it stands at most the longest string, decoded, and a
//! byte for each level of an unknown value. Throughput is that of serde_json.

mod scalar;
mod value;

use std::fmt;

use serde::de::{self, DeserializeSeed};

use super::scan::{MAX_DEPTH, root};
use super::schema::Decl;
use super::wire::Writer;
use crate::identity::Signal;
use value::Value;

/// Longest piece of a sender's value that an error repeats, characters.
const EXCERPT_CHARS: usize = 40;

/// The protobuf form of an OTLP/JSON Export request, canonical to [`scan`](super::scan); at most `max_bytes` long. Rows are not counted
/// here: that is for the scan of the result.
///
/// # Errors
/// [`JsonError`] where the body breaks a rule above, would become longer than `max_bytes`, or for a signal without an OTLP form here.
pub fn to_protobuf(signal: Signal, body: &[u8], max_bytes: usize) -> Result<Vec<u8>, JsonError> {
    let mut build = Build::new(max_bytes);
    let Ok(root) = root(signal) else { return Err(build.error(JsonFault::Unsupported, 0, 0)) };
    let mut json = serde_json::Deserializer::from_slice(body);
    // Its own limit is below what the scan takes; ours counts messages, and serde_json passes over unknown values without recursion.
    json.disable_recursion_limit();
    let request = Value { build: &mut build, decl: Decl::root(root), depth: MAX_DEPTH, item: false };
    let given = request.deserialize(&mut json).and_then(|given| json.end().map(|()| given));
    match given {
        Ok(true) => Ok(build.out.into_bytes()),
        Ok(false) => Err(build.error(JsonFault::Type { expected: "an object", found: "null".to_owned() }, 1, 1)),
        Err(error) => {
            let fault = build.fault.take().unwrap_or_else(|| JsonFault::Syntax(without_position(&error)));
            Err(build.error(fault, error.line(), error.column()))
        }
    }
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).map(str::to_owned).unwrap_or(text)
}

/// Why a body is not a valid OTLP/JSON Export request, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// What was being read, e.g. `resourceSpans[0].scopeSpans[2].spans[7].traceId`; empty for the request itself.
    pub path: String,
    /// Line of the body where reading stopped, from 1; 0 if there is none.
    pub line: usize,
    /// Byte of that line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub fault: JsonFault,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "request" } else { &self.path };
        write!(f, "{path}: {}", self.fault)?;
        if self.line == 0 { Ok(()) } else { write!(f, " (line {}, column {})", self.line, self.column) }
    }
}

impl std::error::Error for JsonError {}

/// What is wrong with an OTLP/JSON body. No message repeats more of it than a few words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonFault {
    /// Not JSON, or not all of it.
    #[error("malformed JSON: {0}")]
    Syntax(String),
    /// A value that the field cannot hold.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What the field can hold.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// A known key twice in one object.
    #[error("given twice in one object")]
    Twice,
    /// Two members of a oneof in one object.
    #[error("given beside `{0}`: an object may have only one of them")]
    Both(&'static str),
    /// More than 100 messages in one another.
    #[error("nested too deeply (limit {MAX_DEPTH} messages)")]
    Depth,
    /// Longer than the stated cap.
    #[error("longer than {0} bytes as protobuf")]
    TooLarge(usize),
    /// A signal that has no OTLP form here (profiles).
    #[error("signal is not supported")]
    Unsupported,
}

/// One step of a path.
enum Step {
    Field(&'static str),
    Item(usize),
}

/// The output, and where in the body its last part comes from.
struct Build {
    out: Writer,
    max_bytes: usize,
    path: Vec<Step>,
    /// Why reading stops: it does not fit through serde's errors.
    fault: Option<JsonFault>,
    /// The bytes of one decoded string.
    bytes: Vec<u8>,
}

impl Build {
    /// Room beyond the cap for what is measured only after it is written: the largest scalar with its key.
    const SLACK: usize = 32;

    fn new(max_bytes: usize) -> Self {
        Self { out: Writer::default(), max_bytes, path: Vec::new(), fault: None, bytes: Vec::new() }
    }

    /// Makes room for a string of `len` bytes, or another scalar if 0.
    fn room(&mut self, len: usize) -> Result<(), JsonFault> {
        let wanted = self.out.len().saturating_add(len);
        if wanted > self.max_bytes {
            return Err(JsonFault::TooLarge(self.max_bytes));
        }
        self.out.reserve(len + Self::SLACK, self.max_bytes + Self::SLACK);
        Ok(())
    }

    /// Closes the message, or packed list, that opened at `start`.
    fn close(&mut self, start: usize) -> Result<(), JsonFault> {
        self.room(0)?;
        self.out.close(start);
        self.room(0)
    }

    /// Stops reading.
    #[cold]
    fn fail<E: de::Error>(&mut self, fault: JsonFault) -> E {
        self.fault = Some(fault);
        E::custom("")
    }

    fn error(&self, fault: JsonFault, line: usize, column: usize) -> JsonError {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Item(index) => path.extend(["[", &index.to_string(), "]"]),
            }
        }
        JsonError { path, line, column, fault }
    }
}
