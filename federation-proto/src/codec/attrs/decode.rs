//! Columns into attributes by row.

use super::Type;
use crate::codec::decoder::DecodeError;
use crate::codec::payload::Payload;
use crate::codec::streams::Kind;
use crate::columns::{AttrColumn, AttrValues, Attrs, Blobs};
use crate::otlp::check;
use crate::otlp::schema::Msg;
use crate::otlp::wire::{Reader, Wire};

/// Reads the attributes of `rows` rows. `depth` is how many messages may stand in one another inside a KeyValue of such a row: values kept
/// as wire bytes must stay readable within prost's limit when written back in their place.
pub(crate) fn attrs(payload: &mut Payload<'_>, rows: usize, depth: u32) -> Result<Attrs, DecodeError> {
    let keys = keys(payload)?;
    let (shape_columns, shape_ends) = shapes(payload, keys.len())?;
    let shapes = payload.ints_below(rows, shape_ends.len())?;

    let mut counts = vec![0u32; keys.len()];
    let mut attrs = Attrs { shapes, shape_columns, shape_ends, ..Attrs::default() };
    let wire_rows = slots(payload, rows, &keys, &mut attrs, &mut counts)?;
    attrs.wire = payload.blobs(Kind::Text, wire_rows)?;
    if !(0..wire_rows).all(|row| is_attributes(attrs.wire.get(row), depth)) {
        return Err(payload.bad("wire bytes are not attributes"));
    }
    for ((of, key), count) in keys.into_iter().zip(counts) {
        let values = values(payload, of, count as usize, depth)?;
        attrs.columns.push(AttrColumn { key, values });
    }
    Ok(attrs)
}

fn keys(payload: &mut Payload<'_>) -> Result<Vec<(Type, String)>, DecodeError> {
    let count = payload.number()?;
    let mut keys = Vec::new();
    for _ in 0..count {
        let of = *Type::ALL.get(payload.number()?).ok_or(payload.bad("unknown type of value"))?;
        let name = payload.name()?;
        payload.charge(1, size_of::<AttrColumn>() + name.len())?;
        let name = std::str::from_utf8(name).map_err(|_| payload.bad("key is not UTF-8"))?;
        keys.push((of, name.to_owned()));
    }
    Ok(keys)
}

/// The columns of each shape, one after the other, and where each shape starts and ends there.
fn shapes(payload: &mut Payload<'_>, columns: usize) -> Result<(Vec<u32>, Vec<u32>), DecodeError> {
    let count = payload.number()?;
    let (mut shape_columns, mut ends) = (Vec::new(), vec![0u32]);
    for _ in 0..count {
        for _ in 0..payload.number()? {
            let column = payload.number()?;
            if column >= columns {
                return Err(payload.bad("shape has an unknown column"));
            }
            payload.charge(1, 4)?;
            shape_columns.push(column as u32);
        }
        payload.charge(1, 4)?;
        ends.push(shape_columns.len() as u32);
    }
    Ok((shape_columns, ends))
}

/// Lays out a slot per attribute, counting the values of each column; returns how many rows are wire bytes.
fn slots(
    payload: &mut Payload<'_>,
    rows: usize,
    keys: &[(Type, String)],
    attrs: &mut Attrs,
    counts: &mut [u32],
) -> Result<usize, DecodeError> {
    let key_bytes: Vec<usize> = attrs
        .shape_ends
        .array_windows()
        .map(|&[start, end]| {
            attrs.shape_columns[start as usize..end as usize].iter().map(|&column| 2 + keys[column as usize].1.len()).sum()
        })
        .collect();
    payload.charge(rows + 1, 4)?;
    attrs.row_slots = Vec::with_capacity(rows + 1);
    attrs.row_slots.push(0);
    let mut wire_rows = 0u32;
    for row in 0..rows {
        match attrs.shapes.get(row) as usize {
            0 => {
                payload.charge(1, 4)?;
                attrs.slots.push(wire_rows);
                wire_rows += 1;
            }
            shape => {
                let columns = &attrs.shape_columns[attrs.shape_ends[shape - 1] as usize..attrs.shape_ends[shape] as usize];
                payload.charge(columns.len(), 4)?;
                payload.write_out(1, key_bytes[shape - 1])?;
                for &column in columns {
                    let count = &mut counts[column as usize];
                    attrs.slots.push(*count);
                    *count += 1;
                }
            }
        }
        attrs.row_slots.push(attrs.slots.len() as u32);
    }
    Ok(wire_rows as usize)
}

fn values(payload: &mut Payload<'_>, of: Type, len: usize, depth: u32) -> Result<AttrValues, DecodeError> {
    Ok(match of {
        Type::Missing => AttrValues::Missing,
        Type::Empty => AttrValues::Empty,
        Type::Str => AttrValues::Str(payload.strings(len)?),
        Type::Bool => AttrValues::Bool(payload.ints(len)?),
        Type::Int => AttrValues::Int(payload.ints(len)?),
        Type::Double => AttrValues::Double(payload.ints(len)?),
        Type::Bytes => AttrValues::Bytes(payload.blobs(Kind::Text, len)?),
        Type::Nested => AttrValues::Nested(checked(payload, len, |any| check(Msg::AnyValue, any, depth - 1))?),
        Type::Odd => AttrValues::Odd(checked(payload, len, |rest| is_key_value(rest, depth) && !has_key(rest))?),
    })
}

fn checked(payload: &mut Payload<'_>, len: usize, is_valid: impl Fn(&[u8]) -> bool) -> Result<Blobs, DecodeError> {
    let blobs = payload.blobs(Kind::Text, len)?;
    if (0..len).all(|at| is_valid(blobs.get(at))) { Ok(blobs) } else { Err(payload.bad("wire bytes are not a value")) }
}

fn is_key_value(pair: &[u8], depth: u32) -> bool {
    check(Msg::KeyValue, pair, depth)
}

fn has_key(pair: &[u8]) -> bool {
    let mut r = Reader::new(pair);
    while !r.is_done() {
        match r.key() {
            Ok((1, _)) | Err(_) => return true,
            Ok((field, wire)) if r.skip(field, wire, 100).is_err() => return true,
            Ok(_) => {}
        }
    }
    false
}

/// Whether these are fields of tag 1, each a KeyValue.
fn is_attributes(fields: &[u8], depth: u32) -> bool {
    let mut r = Reader::new(fields);
    while !r.is_done() {
        match (r.key(), r.bytes()) {
            (Ok((1, Wire::Len)), Ok(pair)) if is_key_value(pair, depth) => {}
            _ => return false,
        }
    }
    true
}
