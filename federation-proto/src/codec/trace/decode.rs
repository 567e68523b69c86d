//! Columns into spans by row.

use crate::codec::decoder::DecodeError;
use crate::codec::payload::Payload;
use crate::codec::streams::Kind;
use crate::codec::{attrs, origins};
use crate::columns::{Events, Ints, Links, Parent, Spans};

/// Messages that may stand in a KeyValue of a span, and of an event or link.
const SPAN_DEPTH: u32 = 96;
const CHILD_DEPTH: u32 = 95;
/// Memory that an event or link stands for, whether or not its columns take any.
const CHILD_BYTES: usize = 16;

/// Reads `rows` spans.
pub(crate) fn spans(payload: &mut Payload<'_>, rows: usize) -> Result<Spans, DecodeError> {
    let origins = origins::decode(payload, rows)?;
    let trace_count = payload.number()?;
    let trace_ids = payload.blobs(Kind::Noise, trace_count)?;
    let trace_starts = payload.ints(trace_count)?;
    let traces = payload.ints_below(rows, trace_count)?;
    for trace in traces.iter() {
        payload.write_out(1, trace_ids.get(trace as usize).len())?;
    }
    let start = payload.ints(rows)?;
    let duration = payload.ints(rows)?;
    let span_ids = payload.blobs(Kind::Noise, rows)?;
    let (parents, others) = parents(payload, rows, &traces, trace_count)?;
    let other_parents = payload.blobs(Kind::Noise, others)?;
    for parent in &parents {
        if let Parent::Row(row) = parent {
            payload.write_out(1, span_ids.get(*row as usize).len())?;
        }
    }
    let name = payload.strings(rows)?;
    let kind = payload.ints(rows)?;
    let flags = payload.ints(rows)?;
    let has_status = payload.ints(rows)?;
    let status_code = payload.ints(rows)?;
    let status_message = payload.strings(rows)?;
    let trace_state = payload.strings(rows)?;
    let dropped_attributes = payload.ints(rows)?;
    let dropped_events = payload.ints(rows)?;
    let dropped_links = payload.ints(rows)?;
    let attrs = attrs::decode(payload, rows, SPAN_DEPTH)?;
    let event_rows = payload.offsets(rows, CHILD_BYTES)?;
    let events = events(payload, event_rows.total())?;
    let link_rows = payload.offsets(rows, CHILD_BYTES)?;
    let links = links(payload, link_rows.total())?;
    Ok(Spans {
        rows,
        origins,
        trace_ids,
        trace_starts,
        traces,
        span_ids,
        parents,
        other_parents,
        trace_state,
        name,
        kind,
        start,
        duration,
        flags,
        has_status,
        status_code,
        status_message,
        dropped_attributes,
        dropped_events,
        dropped_links,
        attrs,
        event_rows,
        events,
        link_rows,
        links,
    })
}

/// Resolves parents to rows; also how many are not in the batch.
fn parents(payload: &mut Payload<'_>, rows: usize, traces: &Ints, trace_count: usize) -> Result<(Vec<Parent>, usize), DecodeError> {
    let codes = payload.ints(rows)?;
    payload.charge(trace_count + 1 + 3 * rows, 4)?;
    // Rows ordered by trace: those of trace `t` from `starts[t]` to `starts[t + 1]`.
    let mut starts = vec![0u32; trace_count + 1];
    traces.iter().for_each(|trace| starts[trace as usize + 1] += 1);
    (0..trace_count).for_each(|trace| starts[trace + 1] += starts[trace]);
    let mut next = starts.clone();
    let mut by_trace = vec![0u32; rows];
    for (row, trace) in traces.iter().enumerate() {
        let place = &mut next[trace as usize];
        by_trace[*place as usize] = row as u32;
        *place += 1;
    }
    let mut others = 0u32;
    let mut parents = Vec::with_capacity(rows);
    for (code, trace) in codes.iter().zip(traces.iter()) {
        parents.push(match code {
            0 => Parent::None,
            1 => {
                others += 1;
                Parent::Other(others - 1)
            }
            _ => {
                let rows = by_trace.get(starts[trace as usize] as usize..starts[trace as usize + 1] as usize).unwrap_or_default();
                let row = usize::try_from(code - 2).ok().and_then(|ordinal| rows.get(ordinal));
                Parent::Row(*row.ok_or(payload.bad("parent is not in the trace"))?)
            }
        });
    }
    Ok((parents, others as usize))
}

fn events(payload: &mut Payload<'_>, rows: usize) -> Result<Events, DecodeError> {
    Ok(Events {
        time: payload.ints(rows)?,
        name: payload.strings(rows)?,
        attrs: attrs::decode(payload, rows, CHILD_DEPTH)?,
        dropped: payload.ints(rows)?,
    })
}

fn links(payload: &mut Payload<'_>, rows: usize) -> Result<Links, DecodeError> {
    Ok(Links {
        trace_ids: payload.blobs(Kind::Noise, rows)?,
        span_ids: payload.blobs(Kind::Noise, rows)?,
        trace_state: payload.strings(rows)?,
        attrs: attrs::decode(payload, rows, CHILD_DEPTH)?,
        dropped: payload.ints(rows)?,
        flags: payload.ints(rows)?,
    })
}
