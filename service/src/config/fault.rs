//! An error on its way out of the tree: what is wrong, and, as it passes the values it is in,
//! where that is.
//!
//! serde's own wording names Rust types; a person who writes YAML is told what to write instead.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::error::Origin;
use super::tree::{Node, Step, Value};

/// What a value's type, or the deserializer, has against it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    /// Where; unknown until the innermost value around it is passed.
    pub(super) origin: Option<Origin>,
    /// From the wrong value outwards.
    steps: Vec<Step>,
    /// What to look for if serde has buffered the value and lost its place.
    subject: Option<Subject>,
}

#[derive(Debug)]
enum Subject {
    Key(String),
    Scalar(String),
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), origin: None, steps: Vec::new(), subject: None }
    }

    /// The fault's way from the root.
    pub(super) fn key_path(&self) -> String {
        super::tree::key_path(self.steps.iter().rev())
    }

    /// The fault lies at `origin`, unless it is known to lie further inside.
    pub(super) fn at(mut self, origin: &Origin) -> Self {
        self.subject = None;
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }

    /// The fault lies in `node`. Internally tagged and untagged enums buffer their values, so a
    /// fault within one arrives without its place: it is looked up by the key or value it names,
    /// if `node` holds exactly one such.
    pub(super) fn within(mut self, node: &Node) -> Self {
        if self.origin.is_none()
            && let Some(subject) = self.subject.take()
        {
            let mut found = Vec::new();
            find(node, &subject, &mut Vec::new(), &mut found);
            if let [(origin, steps)] = found.as_mut_slice() {
                self.origin = Some(origin.clone());
                self.steps.extend(steps.drain(..).rev());
            } else if let Subject::Key(key) = subject {
                self.steps.push(Step::Key(key));
            }
        }
        self.at(&node.origin)
    }

    /// The value the fault lies in is `step` of the one around it.
    pub(super) fn under(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

/// Collects at most two places in `node` that `subject` names.
fn find(node: &Node, subject: &Subject, steps: &mut Vec<Step>, found: &mut Vec<(Origin, Vec<Step>)>) {
    for (step, key_origin, child) in node.children() {
        if found.len() > 1 {
            return;
        }
        let named = match (subject, &step, &child.value) {
            (Subject::Key(wanted), Step::Key(key), _) => (key == wanted).then_some(key_origin),
            (Subject::Scalar(wanted), _, Value::Leaf(leaf)) => (leaf.text == *wanted).then_some(&child.origin),
            _ => None,
        };
        steps.push(step);
        if let Some(origin) = named {
            found.push((origin.clone(), steps.clone()));
        }
        find(child, subject, steps, found);
        steps.pop();
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// Enough of a value to know it again: it may be a whole file that is no configuration, such as a key.
fn clipped(text: &str) -> String {
    const MOST: usize = 40;
    let mut start: String = text.chars().take(MOST).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        let message = message.to_string();
        let quoted = message.strip_prefix("invalid value \"");
        let subject = quoted.and_then(|rest| rest.split_once('"')).map(|(value, _)| Subject::Scalar(value.to_owned()));
        Self { subject, ..Self::new(message) }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = what(&expected.to_string());
        let scalar = match found {
            Unexpected::Str(text) => Some(text.to_owned()),
            Unexpected::Bool(value) => Some(value.to_string()),
            Unexpected::Unsigned(value) => Some(value.to_string()),
            Unexpected::Signed(value) => Some(value.to_string()),
            Unexpected::Float(value) => Some(value.to_string()),
            _ => None,
        };
        let message = match (&found, &scalar) {
            (Unexpected::Str(text), _) => format!("invalid value {:?}: expected {expected}", clipped(text)),
            (_, Some(value)) => format!("invalid value {value}: expected {expected}"),
            (Unexpected::Unit | Unexpected::Option, _) => {
                format!("no value: expected {expected}")
            }
            (Unexpected::Seq, _) => format!("found a list: expected {expected}"),
            (Unexpected::Map, _) => format!("found a mapping of keys: expected {expected}"),
            _ => format!("found {found}: expected {expected}"),
        };
        Self { subject: scalar.map(Subject::Scalar), ..Self::new(message) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        let expected = what(&expected.to_string());
        Self::new(format!("found {len} values: expected {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = one_of(variant, expected);
        Self { subject: Some(Subject::Scalar(variant.to_owned())), ..Self::new(format!("unknown value {variant:?}: {hint}")) }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self { subject: Some(Subject::Key(field.to_owned())), ..Self::new(format!("unknown key: {}", one_of(field, expected))) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("missing: this key is required").under(Step::Key(field.to_owned()))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { subject: Some(Subject::Key(field.to_owned())), ..Self::new("given twice, perhaps under two of its names: keep one") }
    }
}

/// What serde expects, in the words of one who writes YAML.
fn what(expected: &str) -> String {
    let range = match expected {
        "u8" => "0 to 255",
        "u16" => "0 to 65535",
        "u32" => "0 to 4294967295",
        "u64" | "usize" => "0 to 18446744073709551615",
        "i8" => "-128 to 127",
        "i16" => "-32768 to 32767",
        "i32" => "-2147483648 to 2147483647",
        "i64" | "isize" => "-9223372036854775808 to 9223372036854775807",
        "f32" | "f64" => return "a number".to_owned(),
        "a boolean" => return "true or false".to_owned(),
        "a string" | "path string" => return "text".to_owned(),
        "a sequence" => return "a list".to_owned(),
        "a map" => return "a mapping of keys".to_owned(),
        other if other.starts_with("struct ") => return "a mapping of keys".to_owned(),
        other if other.starts_with("a nonzero ") => return "a whole number above 0".to_owned(),
        other => return other.to_owned(),
    };
    format!("a whole number from {range}")
}

/// The nearest known name for a typo, and all of them if they are few.
fn one_of(found: &str, known: &[&str]) -> String {
    /// More names than this are no help in one line.
    const MAX_LISTED: usize = 16;
    let found: String = found.chars().take(64).collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&found.to_lowercase(), name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4);
    if let Some((_, name)) = nearest {
        return format!("did you mean {name}?");
    }
    match known {
        [] => "no key is expected here".to_owned(),
        [only] => format!("expected {only}"),
        _ if known.len() <= MAX_LISTED => format!("expected one of {}", known.join(", ")),
        _ => {
            let some = known.iter().take(MAX_LISTED).copied().collect::<Vec<_>>();
            format!("expected one of {}, ...", some.join(", "))
        }
    }
}
