//! Encoded requests with marked places: ids and times are written into a copy of the bytes, so that a request costs a copy and a few
//! stores a row instead of being made and encoded anew.
//!
//! Only fields of fixed size are written, so no length changes. A rendered request differs from its template in every id and time and
//! in nothing else; how many templates there are is how many rows pass before an attribute's value comes again.

use std::ops::Range;

use federation_proto::identity::Signal;
use prost::Message;

use super::ids::Ids;
use super::wire::{along, fields};
use crate::telemetry::Generator;

/// Where a row's ids stand. Offset 0 (no field stands there) says that there is none.
#[derive(Debug, Clone, Copy, Default)]
struct RowAt {
    span: u32,
    trace: u32,
    /// Number of its trace within the request.
    trace_number: u32,
    parent: u32,
    /// Row of its parent within the request.
    parent_row: u32,
}

/// One encoded request.
#[derive(Debug)]
pub(super) struct Template {
    body: Vec<u8>,
    rows: Vec<RowAt>,
    /// Times that move with the clock.
    times: Vec<u32>,
    /// Times of data points: each is given one of its own.
    points: Vec<u32>,
    made_unix_nano: u64,
}

/// What a rendered request carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// Number of its first row among all of this load; a span's and a log record's id follow from it.
    pub(super) first_row: u64,
    /// Time of its first data point; the others follow at a nanosecond each.
    pub(super) first_point: u64,
    /// Now.
    pub(super) now_unix_nano: u64,
}

impl Template {
    /// Makes a request of `rows` rows and finds its places.
    pub(super) fn make(generator: &mut Generator, signal: Signal, rows: usize, now_unix_nano: u64) -> Self {
        let body = match signal {
            Signal::Logs => generator.logs(now_unix_nano, rows).request.encode_to_vec(),
            Signal::Metrics => generator.metrics(now_unix_nano, rows).request.encode_to_vec(),
            Signal::Traces | Signal::Profiles => generator.traces(now_unix_nano, rows).request.encode_to_vec(),
        };
        let mut template = Self { body, rows: Vec::new(), times: Vec::new(), points: Vec::new(), made_unix_nano: now_unix_nano };
        match signal {
            Signal::Logs => template.find_logs(),
            Signal::Metrics => template.find_points(),
            Signal::Traces | Signal::Profiles => template.find_spans(),
        }
        template
    }

    /// Bytes of a rendered request.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// A request of its own, behind `room` bytes for who sends it.
    pub(super) fn render(&self, ids: &Ids, stamp: &Stamp, room: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(room + self.body.len());
        out.resize(room, 0);
        out.extend_from_slice(&self.body);
        let body = &mut out[room..];
        for (row, at) in (0u64..).zip(&self.rows) {
            put(body, at.span, &ids.span(stamp.first_row + row));
            if at.trace != 0 {
                put(body, at.trace, &ids.trace(stamp.first_row + u64::from(at.trace_number)));
            }
            if at.parent != 0 {
                put(body, at.parent, &ids.span(stamp.first_row + u64::from(at.parent_row)));
            }
        }
        let moved = stamp.now_unix_nano.wrapping_sub(self.made_unix_nano);
        for &at in &self.times {
            let made = self.body.get(at as usize..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |bytes| u64::from_le_bytes(*bytes));
            put(body, at, &made.wrapping_add(moved).to_le_bytes());
        }
        for (nth, &at) in (0u64..).zip(&self.points) {
            put(body, at, &(stamp.first_point + nth).to_le_bytes());
        }
        out
    }

    /// `opentelemetry/proto/trace/v1/trace.proto`: trace_id 1, span_id 2, parent_span_id 4, start 7, end 8, events 11 (time 1).
    fn find_spans(&mut self) {
        let (mut trace, mut traces) = (0..0, 0u32);
        let mut ids_of_rows: Vec<Range<usize>> = Vec::new();
        for span in along(&self.body, &[1, 2, 2]) {
            let mut at = RowAt::default();
            for field in fields(&self.body, span) {
                let start = offset(&field.value);
                match field.number {
                    1 => {
                        if self.body.get(field.value.clone()) != self.body.get(trace.clone()) {
                            traces += 1;
                        }
                        (at.trace, at.trace_number) = (start, traces - 1);
                        trace = field.value;
                    }
                    2 => {
                        at.span = start;
                        ids_of_rows.push(field.value);
                    }
                    4 if !field.value.is_empty() => {
                        let parent = self.body.get(field.value.clone());
                        let row = ids_of_rows.iter().rposition(|id| self.body.get(id.clone()) == parent);
                        (at.parent, at.parent_row) = (start, row.map_or(0, |row| row as u32));
                    }
                    7 | 8 => self.times.push(start),
                    11 => self.times.extend(fields(&self.body, field.value).filter(|inner| inner.number == 1).map(|f| offset(&f.value))),
                    _ => {}
                }
            }
            self.rows.push(at);
        }
    }

    /// `opentelemetry/proto/logs/v1/logs.proto`: time 1, trace_id 9, span_id 10, observed time 11.
    fn find_logs(&mut self) {
        for record in along(&self.body, &[1, 2, 2]) {
            let mut at = RowAt { trace_number: self.rows.len() as u32, ..RowAt::default() };
            for field in fields(&self.body, record) {
                let start = offset(&field.value);
                match field.number {
                    1 | 11 => self.times.push(start),
                    9 => at.trace = start,
                    10 => at.span = start,
                    _ => {}
                }
            }
            self.rows.push(at);
        }
    }

    /// `opentelemetry/proto/metrics/v1/metrics.proto`: data 5, 7, 9, 10, 11 of a metric, its points 1, their time 3.
    fn find_points(&mut self) {
        for metric in along(&self.body, &[1, 2, 2]) {
            let data = fields(&self.body, metric).filter(|field| matches!(field.number, 5 | 7 | 9 | 10 | 11));
            let points = data.flat_map(|data| fields(&self.body, data.value)).filter(|field| field.number == 1);
            let times = points.flat_map(|point| fields(&self.body, point.value)).filter(|field| field.number == 3);
            self.points.extend(times.map(|time| offset(&time.value)));
        }
    }
}

/// Templates are far below 4 GiB: rows in a request are capped.
fn offset(value: &Range<usize>) -> u32 {
    u32::try_from(value.start).unwrap_or(u32::MAX)
}

fn put<const N: usize>(body: &mut [u8], at: u32, bytes: &[u8; N]) {
    let place = body.get_mut(at as usize..).and_then(|rest| rest.first_chunk_mut::<N>());
    debug_assert!(place.is_some(), "a place outside the template");
    if let Some(place) = place {
        *place = *bytes;
    }
}

#[cfg(test)]
mod tests;
