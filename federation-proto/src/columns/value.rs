//! Attribute values: scalars as they are, arrays and key-value lists as the wire bytes of their AnyValue.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::otlp::wire::{Reader, Wire};

/// The value of an attribute or the body of a log record, borrowed from its columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value, or an AnyValue that holds none.
    Empty,
    /// `string_value`.
    Str(&'a str),
    /// `bool_value`.
    Bool(bool),
    /// `int_value`.
    Int(i64),
    /// `double_value`, any bit pattern.
    Double(f64),
    /// `bytes_value`.
    Bytes(&'a [u8]),
    /// An array, a key-value list or an index into a string table, as wire bytes.
    Nested(AnyWire<'a>),
}

/// The wire bytes of one valid AnyValue message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnyWire<'a>(pub(crate) &'a [u8]);

impl<'a> AnyWire<'a> {
    /// The message's bytes, without tag and length.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value: itself again if it is nested.
    #[must_use]
    pub fn value(self) -> Value<'a> {
        parse(self.0).unwrap_or(Value::Empty)
    }

    /// The elements of an array; none for anything else.
    pub fn elements(self) -> impl Iterator<Item = Value<'a>> {
        fields(self.inner(5), 1).map(|value| AnyWire(value).value())
    }

    /// The entries of a key-value list, in order, duplicates included; none for anything else.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        fields(self.inner(6), 1).map(|pair| {
            let key = fields(pair, 1).last().and_then(|k| std::str::from_utf8(k).ok()).unwrap_or_default();
            (key, fields(pair, 2).last().map_or(Value::Empty, |v| AnyWire(v).value()))
        })
    }

    fn inner(self, field: u32) -> &'a [u8] {
        fields(self.0, field).last().unwrap_or_default()
    }

    fn is(self, field: u32) -> bool {
        fields(self.0, field).next().is_some()
    }
}

/// The length-delimited fields with this number; stops at what is not protobuf (which the decoder let nowhere in).
pub(crate) fn fields(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    let mut r = Reader::new(message);
    std::iter::from_fn(move || {
        while !r.is_done() {
            let (found, wire) = r.key().ok()?;
            if found == number && wire == Wire::Len {
                return r.bytes().ok();
            }
            r.skip(found, wire, 100).ok()?;
        }
        None
    })
}

/// Reads an AnyValue.
pub(crate) fn parse(any: &[u8]) -> Option<Value<'_>> {
    let mut value = Value::Empty;
    let mut r = Reader::new(any);
    while !r.is_done() {
        let (field, wire) = r.key().ok()?;
        value = match (field, wire) {
            (1, Wire::Len) => Value::Str(std::str::from_utf8(r.bytes().ok()?).ok()?),
            (2, Wire::Varint) => Value::Bool(r.varint().ok()? != 0),
            (3, Wire::Varint) => Value::Int(r.varint().ok()? as i64),
            (4, Wire::Fixed64) => Value::Double(f64::from_bits(r.fixed64().ok()?)),
            (7, Wire::Len) => Value::Bytes(r.bytes().ok()?),
            (5 | 6 | 8, _) => return Some(Value::Nested(AnyWire(any))),
            _ => {
                r.skip(field, wire, 100).ok()?;
                continue;
            }
        };
    }
    Some(value)
}

impl Value<'_> {
    /// As text, in the way of the OpenTelemetry ClickHouse exporter: strings as they are, numbers and bools as in JSON, bytes in base64,
    /// arrays and key-value lists as JSON (keys sorted, the last of equal keys; empty if a number in it is not finite), nothing as "".
    #[must_use]
    pub fn to_text(&self) -> String {
        match *self {
            Value::Empty => String::new(),
            Value::Str(text) => text.to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Double(value) => double_text(value).unwrap_or_else(|| format!("json: unsupported value: {}", not_finite(value))),
            Value::Bytes(bytes) => base64(bytes),
            Value::Nested(_) => {
                let mut out = String::new();
                if json(*self, &mut out).is_none() {
                    out.clear();
                }
                out
            }
        }
    }
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// The shortest decimal that reads back the same, with an exponent below 1e-6 and from 1e21 (ECMAScript's rule, which Go's JSON follows).
fn double_text(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return Some(format!("{value}"));
    }
    let text = format!("{value:e}");
    Some(match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    })
}

/// Appends JSON; `None` if a number has no JSON form. Recursion is bounded by the depth that the scan let in.
fn json(value: Value<'_>, out: &mut String) -> Option<()> {
    match value {
        Value::Empty => out.push_str("null"),
        Value::Str(text) => quote(text, out),
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Double(value) => out.push_str(&double_text(value)?),
        Value::Bytes(bytes) => quote(&base64(bytes), out),
        Value::Nested(any) if any.is(6) => {
            let entries: BTreeMap<&str, Value<'_>> = any.entries().collect();
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                quote(key, out);
                out.push(':');
                json(value, out)?;
            }
            out.push('}');
        }
        Value::Nested(any) if any.is(5) => {
            out.push('[');
            for (i, value) in any.elements().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                json(value, out)?;
            }
            out.push(']');
        }
        // An index into a string table that OTLP requests of these signals do not carry: the value is unknown.
        Value::Nested(_) => out.push_str("null"),
    }
    Some(())
}

/// A JSON string, with Go's escapes: `<`, `>`, `&` and the two line separators too.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, &b)| word | u32::from(b) << (16 - 8 * i));
        for i in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}
