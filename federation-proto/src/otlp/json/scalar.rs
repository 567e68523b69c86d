//! Strings, numbers and bytes: what a JSON scalar means for a field, and its protobuf form.

use std::fmt;
use std::ops::RangeInclusive;

use super::{Build, EXCERPT_CHARS, JsonFault};
use crate::otlp::schema::{Decl, Form, Kind, Label};
use crate::otlp::wire::zigzag32;

/// A JSON scalar other than null.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token<'a> {
    Bool(bool),
    Int(i128),
    /// A number with fraction or exponent, or beyond 64 bits.
    Float(f64),
    Str(&'a str),
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Bool(value) => write!(f, "{value}"),
            Token::Int(value) => write!(f, "{value}"),
            Token::Float(value) => write!(f, "{value:e}"),
            Token::Str(text) => match text.char_indices().nth(EXCERPT_CHARS) {
                Some((end, _)) => write!(f, "the string {:?}…", &text[..end]),
                None => write!(f, "the string {text:?}"),
            },
        }
    }
}

/// What a field of this form can hold, for a person.
pub(super) fn expected(form: Form) -> &'static str {
    match form {
        Form::Message(_) => "an object",
        Form::Str => "a string",
        Form::Id => "a string of hexadecimal digits, two for each byte (OTLP/JSON does not write ids in base64)",
        Form::Bytes => "a string in base64",
        Form::Bool => "true or false",
        Form::Enum => "the enum's number from -2147483648 to 2147483647 (OTLP/JSON does not allow names)",
        Form::Int32 | Form::Sint32 => "an integer from -2147483648 to 2147483647",
        Form::Uint32 | Form::Fixed32 => "an integer from 0 to 4294967295",
        Form::Int64 | Form::Sfixed64 => "an integer from -9223372036854775808 to 9223372036854775807, as a decimal string",
        Form::Uint64 | Form::Fixed64 | Form::Time | Form::FallbackTime => "an integer from 0 to 18446744073709551615, as a decimal string",
        Form::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
    }
}

/// Writes a scalar as the field that `decl` declares, or as an item of its list.
pub(super) fn write(build: &mut Build, decl: Decl, token: Token<'_>) -> Result<(), JsonFault> {
    let wrong = || JsonFault::Type { expected: expected(decl.form), found: token.to_string() };
    match (decl.form, token) {
        (Form::Str, Token::Str(text)) => {
            build.room(text.len())?;
            bytes(build, decl, text.as_bytes());
        }
        (Form::Id | Form::Bytes, Token::Str(text)) => {
            // The decoded bytes are fewer than the characters.
            let mut decoded = std::mem::take(&mut build.bytes);
            decoded.clear();
            let valid = if decl.form == Form::Id { hex(text, &mut decoded) } else { base64(text, &mut decoded) };
            valid.ok_or_else(wrong)?;
            build.room(decoded.len())?;
            bytes(build, decl, &decoded);
            build.bytes = decoded;
        }
        _ => {
            let value = number(decl.form, token).ok_or_else(wrong)?;
            build.room(0)?;
            put(build, decl, value);
        }
    }
    build.room(0)
}

fn bytes(build: &mut Build, decl: Decl, bytes: &[u8]) {
    match decl.label {
        Label::One => build.out.bytes_or_none(decl.number, bytes),
        _ => build.out.bytes(decl.number, bytes),
    }
}

/// Writes a number, which [`number`] gave.
fn put(build: &mut Build, decl: Decl, value: u64) {
    let (out, field) = (&mut build.out, decl.number);
    match (decl.kind(), decl.label) {
        (Kind::PackedFixed64, _) => out.raw(&value.to_le_bytes()),
        (Kind::PackedVarint, _) => out.varint(value),
        (Kind::Fixed32, _) => out.fixed32_or_none(field, value as u32),
        (Kind::Fixed64 | Kind::Time | Kind::FallbackTime, Label::One) => out.fixed64_or_none(field, value),
        (Kind::Fixed64 | Kind::Time | Kind::FallbackTime, _) => out.fixed64(field, value),
        (_, Label::One) => out.int_or_none(field, value),
        _ => out.int(field, value),
    }
}

/// The number as it goes into a varint or fixed field; a negative int32 or enum has the sign in all 64 bits, as protobuf wants it.
fn number(form: Form, token: Token<'_>) -> Option<u64> {
    match form {
        Form::Bool => match token {
            Token::Bool(value) => Some(value.into()),
            _ => None,
        },
        Form::Enum if matches!(token, Token::Str(_)) => None,
        Form::Enum | Form::Int32 => integer(token, i32::MIN.into()..=i32::MAX.into()).map(|value| value as u64),
        Form::Sint32 => integer(token, i32::MIN.into()..=i32::MAX.into()).map(|value| zigzag32(value as i32)),
        Form::Uint32 | Form::Fixed32 => integer(token, 0..=u32::MAX.into()).map(|value| value as u64),
        Form::Int64 | Form::Sfixed64 => integer(token, i64::MIN.into()..=i64::MAX.into()).map(|value| value as u64),
        Form::Uint64 | Form::Fixed64 | Form::Time | Form::FallbackTime => integer(token, 0..=u64::MAX.into()).map(|value| value as u64),
        Form::Double => double(token).map(f64::to_bits),
        Form::Str | Form::Id | Form::Bytes | Form::Message(_) => None,
    }
}

fn integer(token: Token<'_>, range: RangeInclusive<i128>) -> Option<i128> {
    let value = match token {
        Token::Int(value) => value,
        // A float beyond i128 becomes its nearest value, which is in no range.
        Token::Float(value) if value.fract() == 0.0 => value as i128,
        Token::Str(text) if is_number(text) => text.parse().ok()?,
        _ => return None,
    };
    range.contains(&value).then_some(value)
}

fn double(token: Token<'_>) -> Option<f64> {
    match token {
        Token::Int(value) => Some(value as f64),
        Token::Float(value) => Some(value),
        Token::Str("NaN") => Some(f64::NAN),
        Token::Str("Infinity") => Some(f64::INFINITY),
        Token::Str("-Infinity") => Some(f64::NEG_INFINITY),
        // Rust's parser also knows words; and it rounds to infinity what JSON calls out of range.
        Token::Str(text) if is_number(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

/// Whether a string begins and goes on as JSON numbers do: no words, no leading plus, no spaces.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
}

/// Appends the bytes that a hexadecimal string stands for.
fn hex(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    for [high, low] in pairs {
        let (high, low) = (char::from(*high).to_digit(16)?, char::from(*low).to_digit(16)?);
        out.push((high << 4 | low) as u8);
    }
    Some(())
}

/// Appends the bytes that a base64 string stands for: in the standard or the URL alphabet, padded or not. Bits beyond the last whole byte
/// are ignored, as proto3 JSON parsers do.
fn base64(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let padding = text.len() - digits.len();
    if digits.len() % 4 == 1 || padding > 0 && !text.len().is_multiple_of(4) {
        return None;
    }
    for group in digits.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for digit in group {
            bits = bits << 6 | u32::from(sextet(*digit)?);
        }
        let [_, bytes @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        out.extend_from_slice(&bytes[..group.len() * 6 / 8]);
    }
    Some(())
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
