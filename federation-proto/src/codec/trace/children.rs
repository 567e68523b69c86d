//! Events and links: tables whose rows belong to spans, in the order of the spans.

use crate::codec::attrs::{AttrRow, AttrsEncoder};
use crate::codec::dictionary::Dictionary;
use crate::codec::source::{Id, Sources};
use crate::codec::streams::{Kind, Streams};
use crate::codec::strings;
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Wire};

#[derive(Debug, Clone, Copy, Default)]
struct Event {
    time: u64,
    name: u32,
    dropped: u32,
    attrs: AttrRow,
}

/// Takes in events. Columns: time since the span's start, name, attributes, dropped count.
#[derive(Default)]
pub(super) struct Events {
    rows: Vec<Event>,
    names: Dictionary,
    attrs: AttrsEncoder,
}

impl Events {
    pub(super) fn begin(&mut self) {
        self.rows.clear();
        self.names.begin();
        self.attrs.begin();
    }

    pub(super) fn len(&self) -> u32 {
        self.rows.len() as u32
    }

    pub(super) fn push(&mut self, mut r: Reader<'_>) -> Result<(), Malformed> {
        let mut row = Event::default();
        let mut name = [].as_slice();
        let mut attrs = self.attrs.start();
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Fixed64) => row.time = r.fixed64()?,
                (2, Wire::Len) => name = r.bytes()?,
                (3, Wire::Len) => self.attrs.push(&mut attrs, r.message()?)?,
                (4, Wire::Varint) => row.dropped = r.varint()? as u32,
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        row.name = self.names.code(name);
        row.attrs = self.attrs.finish(attrs);
        self.rows.push(row);
        Ok(())
    }

    /// Writes the events of these spans, given by their range of rows and the span's start.
    pub(super) fn emit(&self, spans: impl Iterator<Item = ((u32, u32), u64)>, sources: &Sources<'_>, out: &mut Streams) {
        let rows: Vec<(&Event, u64)> =
            spans.flat_map(|((first, end), start)| self.rows[first as usize..end as usize].iter().map(move |row| (row, start))).collect();
        out.ints(rows.iter().map(|(row, start)| row.time.wrapping_sub(*start)), 2);
        strings::emit(&self.names, rows.iter().map(|(row, _)| row.name), Kind::Text, out);
        self.attrs.emit(rows.iter().map(|(row, _)| row.attrs), sources, out);
        out.ints(rows.iter().map(|(row, _)| u64::from(row.dropped)), 0);
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Link {
    trace: Id,
    span: Id,
    trace_state: u32,
    dropped: u32,
    flags: u32,
    attrs: AttrRow,
}

/// Takes in links. Columns: trace ids, span ids (lengths, bytes), trace state, attributes, dropped count, flags.
#[derive(Default)]
pub(super) struct Links {
    rows: Vec<Link>,
    trace_states: Dictionary,
    attrs: AttrsEncoder,
}

impl Links {
    pub(super) fn begin(&mut self) {
        self.rows.clear();
        self.trace_states.begin();
        self.attrs.begin();
    }

    pub(super) fn len(&self) -> u32 {
        self.rows.len() as u32
    }

    pub(super) fn push(&mut self, mut r: Reader<'_>) -> Result<(), Malformed> {
        let mut row = Link::default();
        let mut trace_state = [].as_slice();
        let mut attrs = self.attrs.start();
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Len) => row.trace = Id::read(&mut r)?,
                (2, Wire::Len) => row.span = Id::read(&mut r)?,
                (3, Wire::Len) => trace_state = r.bytes()?,
                (4, Wire::Len) => self.attrs.push(&mut attrs, r.message()?)?,
                (5, Wire::Varint) => row.dropped = r.varint()? as u32,
                (6, Wire::Fixed32) => row.flags = r.fixed32()?,
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        row.trace_state = self.trace_states.code(trace_state);
        row.attrs = self.attrs.finish(attrs);
        self.rows.push(row);
        Ok(())
    }

    /// Writes the links of these spans, given by their range of rows.
    pub(super) fn emit(&self, spans: impl Iterator<Item = (u32, u32)>, sources: &Sources<'_>, out: &mut Streams) {
        let rows: Vec<&Link> = spans.flat_map(|(first, end)| &self.rows[first as usize..end as usize]).collect();
        let rows = || rows.iter().copied();
        out.blobs(rows().map(|row| row.trace.bytes(sources)), Kind::Noise);
        out.blobs(rows().map(|row| row.span.bytes(sources)), Kind::Noise);
        strings::emit(&self.trace_states, rows().map(|row| row.trace_state), Kind::Text, out);
        self.attrs.emit(rows().map(|row| row.attrs), sources, out);
        out.ints(rows().map(|row| u64::from(row.dropped)), 0);
        out.ints(rows().map(|row| u64::from(row.flags)), 0);
    }
}
