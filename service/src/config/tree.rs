//! The configuration as written: every value with the place it was written at.
//!
//! serde-saphyr parses the YAML (anchors, merges, duplicate keys, limits) and gives every node's
//! line and column; the tree keeps them, so that environment overrides can be laid over the file
//! and an error found later can still say where. Bounds: [`MAX_DEPTH`] levels, [`MAX_NODES`] nodes
//! with aliases expanded.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::Origin;

/// Levels of nesting, in the file and in overrides.
pub(super) const MAX_DEPTH: usize = 32;
/// Values in one file.
const MAX_NODES: usize = 100_000;

/// One value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Leaf(Leaf),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value, in the order written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_origin: Origin,
    pub(super) node: Node,
}

/// A scalar: as written, and what YAML takes it for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// What a scalar is. The environment has text only; what it means depends on what is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
    Environment,
}

/// A step from a value to one inside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(key) => {
                let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
                if !key.is_empty() && key.chars().all(plain) { f.write_str(key) } else { write!(f, "{key:?}") }
            }
        }
    }
}

/// Writes steps as `tiers[1].path`.
pub(super) fn key_path<'a>(steps: impl Iterator<Item = &'a Step>) -> String {
    let mut path = String::new();
    for step in steps {
        if !path.is_empty() && matches!(step, Step::Key(_)) {
            path.push('.');
        }
        path.push_str(&step.to_string());
    }
    path
}

impl Node {
    pub(super) fn empty_map(origin: Origin) -> Self {
        Self { origin, value: Value::Map(Vec::new()) }
    }

    /// The values inside, each with its step and the place its key was written.
    pub(super) fn children(&self) -> Box<dyn Iterator<Item = (Step, &Origin, &Self)> + '_> {
        match &self.value {
            Value::Leaf(_) => Box::new(std::iter::empty()),
            Value::List(items) => Box::new(items.iter().enumerate().map(|(index, node)| (Step::Index(index), &node.origin, node))),
            Value::Map(entries) => Box::new(entries.iter().map(|entry| (Step::Key(entry.key.clone()), &entry.key_origin, &entry.node))),
        }
    }

    /// Where the value at `path` (`tiers[1].path`) was written, or the innermost value around it
    /// that was written at all.
    pub(super) fn origin_of(&self, path: &str) -> &Origin {
        for (step, _, child) in self.children() {
            let Some(rest) = path.strip_prefix(&step.to_string()) else {
                continue;
            };
            if rest.is_empty() {
                return &child.origin;
            }
            if let Some(inner) = rest.strip_prefix('.') {
                return child.origin_of(inner);
            }
            if rest.starts_with('[') {
                return child.origin_of(rest);
            }
        }
        &self.origin
    }
}

/// Parses a file's text. A file without any value is an empty map.
///
/// # Errors
/// What the YAML parser found, and where.
pub(super) fn parse(text: &str) -> Result<Node, (Option<Origin>, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    let parsed = serde_saphyr::from_str_with_options::<Option<Parsed>>(text, options);
    match parsed {
        Ok(Some(parsed)) => Ok(parsed.into_node(text)),
        Ok(None) => Ok(Node::empty_map(Origin::File { line: 1, column: 1 })),
        Err(error) => Err(describe(&error)),
    }
}

fn describe(error: &serde_saphyr::Error) -> (Option<Origin>, String) {
    let location = error.location().filter(|at| at.line() > 0);
    let mut message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    if let Some(at) = location {
        let suffix = format!(" at line {}, column {}", at.line(), at.column());
        message = message.replace(&suffix, "");
    }
    (location.map(origin), message)
}

fn origin(at: serde_saphyr::Location) -> Origin {
    Origin::File { line: at.line(), column: at.column() }
}

/// A node as serde-saphyr hands it over.
struct Parsed(Box<Spanned<ParsedValue>>);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(|spanned| Self(Box::new(spanned)))
    }
}

enum ParsedValue {
    Scalar(Kind, Option<String>),
    List(Vec<Parsed>),
    Map(Vec<(Spanned<String>, Parsed)>),
}

impl Parsed {
    fn into_node(self, source: &str) -> Node {
        let Spanned { value, referenced, defined } = *self.0;
        let value = match value {
            ParsedValue::Scalar(kind, text) => Value::Leaf(Leaf { text: text.unwrap_or_else(|| as_written(source, defined, kind)), kind }),
            ParsedValue::List(items) => Value::List(items.into_iter().map(|item| item.into_node(source)).collect()),
            ParsedValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry { key: key.value, key_origin: origin(key.referenced), node: value.into_node(source) })
                    .collect(),
            ),
        };
        Node { origin: origin(referenced), value }
    }
}

/// A number's own digits, for a field that wants text: `1.10` must not become `1.1`.
fn as_written(source: &str, at: serde_saphyr::Location, kind: Kind) -> String {
    let span = at.span();
    let start = span.byte_offset().and_then(|n| usize::try_from(n).ok());
    let len = span.byte_len().and_then(|n| usize::try_from(n).ok());
    if let (Some(start), Some(len)) = (start, len)
        && let Some(written) = start.checked_add(len).and_then(|end| source.get(start..end))
        && !written.trim().is_empty()
    {
        return written.trim().to_owned();
    }
    match kind {
        Kind::Bool(value) => value.to_string(),
        Kind::Unsigned(value) => value.to_string(),
        Kind::Signed(value) => value.to_string(),
        Kind::Float(value) => value.to_string(),
        Kind::Null | Kind::Text | Kind::Environment => String::new(),
    }
}

impl<'de> Deserialize<'de> for ParsedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = ParsedValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<ParsedValue, E> {
                Ok(ParsedValue::Scalar(Kind::Null, None))
            }

            fn visit_bool<E>(self, value: bool) -> Result<ParsedValue, E> {
                Ok(ParsedValue::Scalar(Kind::Bool(value), None))
            }

            fn visit_u64<E>(self, value: u64) -> Result<ParsedValue, E> {
                Ok(ParsedValue::Scalar(Kind::Unsigned(value), None))
            }

            fn visit_i64<E>(self, value: i64) -> Result<ParsedValue, E> {
                Ok(ParsedValue::Scalar(Kind::Signed(value), None))
            }

            fn visit_f64<E>(self, value: f64) -> Result<ParsedValue, E> {
                Ok(ParsedValue::Scalar(Kind::Float(value), None))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<ParsedValue, E> {
                Ok(ParsedValue::Scalar(Kind::Text, Some(value.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ParsedValue, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(ParsedValue::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParsedValue, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(ParsedValue::Map(entries))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
