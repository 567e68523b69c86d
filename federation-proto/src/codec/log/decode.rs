//! Columns into log records by row.

use crate::codec::decoder::DecodeError;
use crate::codec::payload::Payload;
use crate::codec::streams::Kind;
use crate::codec::{attrs, origins};
use crate::columns::Logs;

/// Messages that may stand in a KeyValue of a record, and in a KeyValue that holds its body (which stands one higher).
const LOG_DEPTH: u32 = 96;
const BODY_DEPTH: u32 = 97;

/// Reads `rows` log records.
pub(crate) fn logs(payload: &mut Payload<'_>, rows: usize) -> Result<Logs, DecodeError> {
    Ok(Logs {
        rows,
        origins: origins::decode(payload, rows)?,
        time: payload.ints(rows)?,
        observed: payload.ints(rows)?,
        severity_number: payload.ints(rows)?,
        severity_text: payload.strings(rows)?,
        body: attrs::decode(payload, rows, BODY_DEPTH)?,
        attrs: attrs::decode(payload, rows, LOG_DEPTH)?,
        dropped_attributes: payload.ints(rows)?,
        flags: payload.ints(rows)?,
        trace_ids: payload.coded_blobs(Kind::Noise, rows)?,
        span_ids: payload.blobs(Kind::Noise, rows)?,
        event_name: payload.strings(rows)?,
    })
}
