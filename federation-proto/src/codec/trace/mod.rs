//! Spans: sorted by (shape of attributes, name, group), so that like stands beside like; events and links are tables of their own.
//!
//! Columns, in order: origins and groups; trace ids (lengths, bytes), earliest start of each, trace of each span; start since the trace's
//! earliest; duration; span ids; parents (0 none, 1 another batch's, 2 + k = the k-th span of the trace in row order), other parents' ids;
//! name; kind; flags; presence, code and message of the status; trace state; dropped counts; attributes; events per span and their
//! columns; links per span and theirs.

mod children;
mod decode;

use super::attrs::{AttrRow, AttrsEncoder};
use super::dictionary::{Dictionary, hash_pair};
use super::encoder::EncodeError;
use super::origins::Origins;
use super::request::{Context, Records, Times};
use super::sort::Order;
use super::source::{Id, Sources};
use super::streams::{Kind, Streams};
use super::strings;
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Wire};
use children::{Events, Links};
pub(crate) use decode::spans as decode;

/// One span; strings are codes.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    group: u32,
    trace: u32,
    id: Id,
    parent: Id,
    start: u64,
    end: u64,
    name: u32,
    trace_state: u32,
    kind: i32,
    flags: u32,
    has_status: bool,
    status_code: i32,
    status_message: u32,
    dropped_attributes: u32,
    dropped_events: u32,
    dropped_links: u32,
    attrs: AttrRow,
    events: (u32, u32),
    links: (u32, u32),
}

/// Takes in spans.
#[derive(Default)]
pub(crate) struct Spans {
    rows: Vec<Row>,
    times: Times,
    traces: Dictionary,
    trace_starts: Vec<u64>,
    names: Dictionary,
    trace_states: Dictionary,
    messages: Dictionary,
    attrs: AttrsEncoder,
    events: Events,
    links: Links,
    order: Order,
    /// Hash table of (trace, span id): row + 1. Its hashes are seeded, so that nobody collides ids on purpose.
    by_id: Vec<u32>,
    seed: u64,
    /// Number of each row among its trace's, in row order.
    ordinals: Vec<u32>,
}

impl Records for Spans {
    fn begin(&mut self) {
        self.seed = self.traces.seed();
        self.rows.clear();
        self.times = Times::default();
        self.traces.forget();
        self.trace_starts.clear();
        self.names.begin();
        self.trace_states.begin();
        self.messages.begin();
        self.attrs.begin();
        self.events.begin();
        self.links.begin();
    }

    fn record(&mut self, span: Reader<'_>, context: &mut Context<'_, '_>) -> Result<(), Malformed> {
        match context.admit()? {
            Some(group) => self.span(span, group),
            None => Ok(()),
        }
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn times(&self) -> Times {
        self.times
    }

    fn finish(&mut self, origins: &mut Origins, sources: &Sources<'_>, out: &mut Streams) -> Result<(), EncodeError> {
        let mut order = std::mem::take(&mut self.order);
        order.begin(self.rows.len());
        order.sort_by(origins.groups(), |row| self.rows[row].group);
        order.sort_by(self.names.len(), |row| self.rows[row].name);
        order.sort_by(self.attrs.sort_keys(), |row| self.rows[row].attrs.sort_key());
        self.emit(order.rows(), origins, sources, out);
        self.order = order;
        Ok(())
    }
}

impl Spans {
    fn span(&mut self, mut r: Reader<'_>, group: u32) -> Result<(), Malformed> {
        let (mut trace_id, mut trace_state, mut name) = ([].as_slice(), [].as_slice(), [].as_slice());
        let mut message = [].as_slice();
        let mut attrs = self.attrs.start();
        let (first_event, first_link) = (self.events.len(), self.links.len());
        let mut row = Row { group, ..Row::default() };
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Len) => trace_id = r.bytes()?,
                (2, Wire::Len) => row.id = Id::read(&mut r)?,
                (3, Wire::Len) => trace_state = r.bytes()?,
                (4, Wire::Len) => row.parent = Id::read(&mut r)?,
                (5, Wire::Len) => name = r.bytes()?,
                (6, Wire::Varint) => row.kind = r.varint()? as i32,
                (7, Wire::Fixed64) => row.start = r.fixed64()?,
                (8, Wire::Fixed64) => row.end = r.fixed64()?,
                (9, Wire::Len) => self.attrs.push(&mut attrs, r.message()?)?,
                (10, Wire::Varint) => row.dropped_attributes = r.varint()? as u32,
                (11, Wire::Len) => self.events.push(r.message()?)?,
                (12, Wire::Varint) => row.dropped_events = r.varint()? as u32,
                (13, Wire::Len) => self.links.push(r.message()?)?,
                (14, Wire::Varint) => row.dropped_links = r.varint()? as u32,
                (15, Wire::Len) => {
                    row.has_status = true;
                    (row.status_code, message) = status(r.message()?)?;
                }
                (16, Wire::Fixed32) => row.flags = r.fixed32()?,
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        row.trace = self.trace(trace_id, row.start);
        row.trace_state = self.trace_states.code(trace_state);
        row.name = self.names.code(name);
        row.status_message = self.messages.code(message);
        row.attrs = self.attrs.finish(attrs);
        row.events = (first_event, self.events.len());
        row.links = (first_link, self.links.len());
        self.times.note(row.start);
        self.rows.push(row);
        Ok(())
    }

    /// The trace's code; its earliest start is kept up.
    fn trace(&mut self, id: &[u8], start: u64) -> u32 {
        let trace = self.traces.code(id);
        match self.trace_starts.get_mut(trace as usize) {
            Some(earliest) => *earliest = start.min(*earliest),
            None => self.trace_starts.push(start),
        }
        trace
    }

    fn emit(&mut self, order: &[u32], origins: &mut Origins, sources: &Sources<'_>, out: &mut Streams) {
        self.index_ids(order);
        let rows = || order.iter().map(|&row| &self.rows[row as usize]);
        origins.emit(rows().map(|row| row.group), sources, out);

        out.number(self.traces.len() as u64);
        out.blobs(self.traces.values(), Kind::Noise);
        out.ints(self.trace_starts.iter().copied(), 3);
        out.ints(rows().map(|row| u64::from(row.trace)), 1);
        out.ints(rows().map(|row| row.start.wrapping_sub(self.trace_starts[row.trace as usize])), 2);
        out.ints(rows().map(|row| row.end.wrapping_sub(row.start)), 2);
        out.blobs(rows().map(|row| row.id.bytes(sources)), Kind::Noise);

        let parents: Vec<u64> = rows().map(|row| self.parent(row)).collect();
        out.ints(parents.iter().copied(), 0);
        let others = rows().zip(&parents).filter(|(_, parent)| **parent == 1).map(|(row, _)| row.parent.bytes(sources));
        out.blobs(others, Kind::Noise);

        strings::emit(&self.names, rows().map(|row| row.name), Kind::Text, out);
        out.ints(rows().map(|row| i64::from(row.kind) as u64), 0);
        out.ints(rows().map(|row| u64::from(row.flags)), 0);
        out.ints(rows().map(|row| u64::from(row.has_status)), 0);
        out.ints(rows().map(|row| i64::from(row.status_code) as u64), 0);
        strings::emit(&self.messages, rows().map(|row| row.status_message), Kind::Text, out);
        strings::emit(&self.trace_states, rows().map(|row| row.trace_state), Kind::Text, out);
        out.ints(rows().map(|row| u64::from(row.dropped_attributes)), 0);
        out.ints(rows().map(|row| u64::from(row.dropped_events)), 0);
        out.ints(rows().map(|row| u64::from(row.dropped_links)), 0);
        self.attrs.emit(rows().map(|row| row.attrs), sources, out);

        out.ints(rows().map(|row| u64::from(row.events.1 - row.events.0)), 0);
        self.events.emit(rows().map(|row| (row.events, row.start)), sources, out);
        out.ints(rows().map(|row| u64::from(row.links.1 - row.links.0)), 0);
        self.links.emit(rows().map(|row| row.links), sources, out);
    }

    /// Numbers the rows of each trace, and enters each span id of the usual length.
    fn index_ids(&mut self, order: &[u32]) {
        let len = (2 * self.rows.len()).next_power_of_two().max(16);
        self.by_id.clear();
        self.by_id.resize(len, 0);
        self.ordinals.clear();
        self.ordinals.resize(self.rows.len(), 0);
        let mut next = vec![0u32; self.traces.len()];
        for &row in order {
            let Row { trace, id, .. } = self.rows[row as usize];
            self.ordinals[row as usize] = next[trace as usize];
            next[trace as usize] += 1;
            if let Some(word) = id.word() {
                let place = self.place(trace, word);
                if self.by_id[place] == 0 {
                    self.by_id[place] = row + 1;
                }
            }
        }
    }

    /// Where the span of this id in this trace is entered in the hash table, or would be.
    fn place(&self, trace: u32, id: u64) -> usize {
        let mask = self.by_id.len() - 1;
        let mut at = hash_pair(id, u64::from(trace), self.seed) as usize & mask;
        while let Some(entry) = self.by_id[at].checked_sub(1) {
            let row = &self.rows[entry as usize];
            if row.trace == trace && row.id.word() == Some(id) {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    /// The code of a row's parent.
    fn parent(&self, row: &Row) -> u64 {
        if row.parent.len() == 0 {
            return 0;
        }
        let entry = row.parent.word().and_then(|word| self.by_id[self.place(row.trace, word)].checked_sub(1));
        entry.map_or(1, |parent| 2 + u64::from(self.ordinals[parent as usize]))
    }
}

/// Code and message of a Status.
fn status(mut r: Reader<'_>) -> Result<(i32, &[u8]), Malformed> {
    let (mut code, mut message) = (0, [].as_slice());
    while !r.is_done() {
        match r.key()? {
            (2, Wire::Len) => message = r.bytes()?,
            (3, Wire::Varint) => code = r.varint()? as i32,
            (field, wire) => r.skip(field, wire, 100)?,
        }
    }
    Ok((code, message))
}
