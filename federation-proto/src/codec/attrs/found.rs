//! Reads KeyValues and AnyValues: which type, and where the value is.

use super::Type;
use crate::codec::source::Span;
use crate::otlp::plain::{Plain, Scalar};
use crate::otlp::wire::{Reader, Wire};
use crate::otlp::{self, Malformed};

/// What a KeyValue was found to hold.
pub(super) struct Found<'a> {
    pub(super) key: &'a [u8],
    pub(super) of: Type,
    /// A number, or a span of the sources.
    pub(super) slot: u64,
    /// The string, if it is one.
    pub(super) text: &'a [u8],
    /// False if only the KeyValue as it stands keeps everything.
    pub(super) fits: bool,
}

/// The common KeyValue, recognised without the general walk.
#[inline]
pub(super) fn plain<'a>(pair: &Reader<'a>) -> Option<Found<'a>> {
    let Plain { key, value } = otlp::plain::plain(pair.rest())?;
    let (of, slot, text) = match value {
        // Behind the key stand tag and length of the value, then of the string.
        Scalar::Str(text) => (Type::Str, Span::new(pair.offset() + key.len() + 6, text.len()).pack(), text),
        Scalar::Bool(value) => (Type::Bool, u64::from(value), [].as_slice()),
        Scalar::Int(value) => (Type::Int, value, [].as_slice()),
        Scalar::Double(bits) => (Type::Double, bits, [].as_slice()),
    };
    Some(Found { key, of, slot, text, fits: true })
}

/// Any KeyValue.
pub(super) fn key_value(pair: Reader<'_>) -> Result<Found<'_>, Malformed> {
    let mut r = pair;
    let mut key: &[u8] = &[];
    let mut after_key = pair;
    let mut fits = true;
    let mut value = None;
    let mut strindex = 0;
    while !r.is_done() {
        let first = r.offset() == pair.offset();
        match r.key()? {
            (1, Wire::Len) => {
                key = r.bytes()?;
                after_key = r;
                fits = first;
            }
            (2, Wire::Len) => value = Some(r.message()?),
            (3, Wire::Varint) => strindex = r.varint()? as i32,
            (field, wire) => r.skip(field, wire, 100)?,
        }
    }
    if strindex != 0 {
        let rest = Span::new(after_key.offset(), after_key.rest().len());
        return Ok(Found { key, of: Type::Odd, slot: rest.pack(), text: &[], fits });
    }
    match value {
        None => Ok(Found { key, of: Type::Missing, slot: 0, text: &[], fits: true }),
        Some(any) => any_value(any, key),
    }
}

/// An AnyValue that belongs to `key`.
pub(super) fn any_value<'a>(any: Reader<'a>, key: &'a [u8]) -> Result<Found<'a>, Malformed> {
    let mut r = any;
    let mut found = Found { key, of: Type::Empty, slot: 0, text: &[], fits: true };
    while !r.is_done() {
        (found.of, found.slot) = match r.key()? {
            (1, Wire::Len) => {
                found.text = r.bytes()?;
                (Type::Str, Span::new(r.offset() - found.text.len(), found.text.len()).pack())
            }
            (2, Wire::Varint) => (Type::Bool, u64::from(r.varint()? != 0)),
            (3, Wire::Varint) => (Type::Int, r.varint()?),
            (4, Wire::Fixed64) => (Type::Double, r.fixed64()?),
            (7, Wire::Len) => {
                let bytes = r.bytes()?;
                (Type::Bytes, Span::new(r.offset() - bytes.len(), bytes.len()).pack())
            }
            (5 | 6, Wire::Len) | (8, Wire::Varint) => {
                let whole = Span::new(any.offset(), any.rest().len());
                return Ok(Found { of: Type::Nested, slot: whole.pack(), ..found });
            }
            (field, wire) => {
                r.skip(field, wire, 100)?;
                continue;
            }
        };
    }
    Ok(found)
}
