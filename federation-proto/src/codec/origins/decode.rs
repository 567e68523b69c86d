//! Columns into resources, scopes and groups.

use crate::codec::attrs;
use crate::codec::decoder::DecodeError;
use crate::codec::payload::Payload;
use crate::codec::streams::Kind;
use crate::columns::{Blobs, Origins, Resources, Scopes};
use crate::otlp::check;
use crate::otlp::schema::Msg;
use crate::otlp::wire::{Reader, Wire};

/// Messages that may stand in a KeyValue of a resource, and of a scope.
const RESOURCE_DEPTH: u32 = 97;
const SCOPE_DEPTH: u32 = 96;

/// Reads the origins of `rows` rows.
pub(crate) fn origins(payload: &mut Payload<'_>, rows: usize) -> Result<Origins, DecodeError> {
    let count = payload.number()?;
    let resources = Resources {
        present: payload.ints(count)?,
        attrs: attrs::decode(payload, count, RESOURCE_DEPTH)?,
        dropped: payload.ints(count)?,
        entity_refs: entity_refs(payload, count)?,
        schema_url: payload.strings(count)?,
    };
    let resource_count = count;
    let count = payload.number()?;
    let scopes = Scopes {
        present: payload.ints(count)?,
        name: payload.strings(count)?,
        version: payload.strings(count)?,
        attrs: attrs::decode(payload, count, SCOPE_DEPTH)?,
        dropped: payload.ints(count)?,
        schema_url: payload.strings(count)?,
    };
    let groups = payload.number()?;
    Ok(Origins {
        resources,
        scopes,
        group_resource: payload.ints_below(groups, resource_count)?,
        group_scope: payload.ints_below(groups, count)?,
        groups: payload.ints_below(rows, groups)?,
    })
}

fn entity_refs(payload: &mut Payload<'_>, len: usize) -> Result<Blobs, DecodeError> {
    let blobs = payload.blobs(Kind::Text, len)?;
    let is_valid = |fields: &[u8]| {
        let mut r = Reader::new(fields);
        while !r.is_done() {
            match (r.key(), r.bytes()) {
                (Ok((3, Wire::Len)), Ok(entity)) if check(Msg::EntityRef, entity, RESOURCE_DEPTH) => {}
                _ => return false,
            }
        }
        true
    };
    if (0..len).all(|at| is_valid(blobs.get(at))) { Ok(blobs) } else { Err(payload.bad("wire bytes are not entity refs")) }
}
