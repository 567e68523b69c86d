//! Log records: sorted by (shape of attributes, event name, severity text, group).
//!
//! Columns, in order: origins and groups; time; observed time since the time; severity number; severity text; body (an attribute without a
//! key, see [`attrs`](super::attrs)); attributes; dropped count; flags; trace ids; span ids (lengths, bytes); event name.

mod decode;

use super::attrs::{AttrRow, AttrsEncoder};
use super::dictionary::Dictionary;
use super::encoder::EncodeError;
use super::origins::Origins;
use super::request::{Context, Records, Times};
use super::sort::Order;
use super::source::{Id, Sources};
use super::streams::{Kind, Streams};
use super::strings;
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Wire};
pub(crate) use decode::logs as decode;

/// One log record; strings and trace ids are codes.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    group: u32,
    time: u64,
    observed: u64,
    severity_number: i32,
    severity_text: u32,
    body: AttrRow,
    attrs: AttrRow,
    dropped_attributes: u32,
    flags: u32,
    trace: u32,
    span: Id,
    event_name: u32,
}

/// Takes in log records.
#[derive(Default)]
pub(crate) struct Logs {
    rows: Vec<Row>,
    times: Times,
    severities: Dictionary,
    event_names: Dictionary,
    traces: Dictionary,
    bodies: AttrsEncoder,
    attrs: AttrsEncoder,
    order: Order,
}

impl Records for Logs {
    fn begin(&mut self) {
        self.rows.clear();
        self.times = Times::default();
        self.severities.begin();
        self.event_names.begin();
        self.traces.forget();
        self.bodies.begin();
        self.attrs.begin();
    }

    fn record(&mut self, record: Reader<'_>, context: &mut Context<'_, '_>) -> Result<(), Malformed> {
        match context.admit()? {
            Some(group) => self.log(record, group),
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
        order.sort_by(self.severities.len(), |row| self.rows[row].severity_text);
        order.sort_by(self.event_names.len(), |row| self.rows[row].event_name);
        order.sort_by(self.attrs.sort_keys(), |row| self.rows[row].attrs.sort_key());
        self.emit(order.rows(), origins, sources, out);
        self.order = order;
        Ok(())
    }
}

impl Logs {
    fn log(&mut self, mut r: Reader<'_>, group: u32) -> Result<(), Malformed> {
        let (mut severity_text, mut event_name, mut trace_id) = ([].as_slice(), [].as_slice(), [].as_slice());
        let mut body = self.bodies.start();
        let mut attrs = self.attrs.start();
        let mut row = Row { group, ..Row::default() };
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Fixed64) => row.time = r.fixed64()?,
                (2, Wire::Varint) => row.severity_number = r.varint()? as i32,
                (3, Wire::Len) => severity_text = r.bytes()?,
                (5, Wire::Len) => self.bodies.push_value(&mut body, r.message()?)?,
                (6, Wire::Len) => self.attrs.push(&mut attrs, r.message()?)?,
                (7, Wire::Varint) => row.dropped_attributes = r.varint()? as u32,
                (8, Wire::Fixed32) => row.flags = r.fixed32()?,
                (9, Wire::Len) => trace_id = r.bytes()?,
                (10, Wire::Len) => row.span = Id::read(&mut r)?,
                (11, Wire::Fixed64) => row.observed = r.fixed64()?,
                (12, Wire::Len) => event_name = r.bytes()?,
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        row.severity_text = self.severities.code(severity_text);
        row.event_name = self.event_names.code(event_name);
        row.trace = self.traces.code(trace_id);
        row.body = self.bodies.finish(body);
        row.attrs = self.attrs.finish(attrs);
        self.times.note(if row.time == 0 { row.observed } else { row.time });
        self.rows.push(row);
        Ok(())
    }

    fn emit(&self, order: &[u32], origins: &mut Origins, sources: &Sources<'_>, out: &mut Streams) {
        let rows = || order.iter().map(|&row| &self.rows[row as usize]);
        origins.emit(rows().map(|row| row.group), sources, out);
        out.ints(rows().map(|row| row.time), 3);
        out.ints(rows().map(|row| row.observed.wrapping_sub(row.time)), 2);
        out.ints(rows().map(|row| i64::from(row.severity_number) as u64), 0);
        strings::emit(&self.severities, rows().map(|row| row.severity_text), Kind::Text, out);
        self.bodies.emit(rows().map(|row| row.body), sources, out);
        self.attrs.emit(rows().map(|row| row.attrs), sources, out);
        out.ints(rows().map(|row| u64::from(row.dropped_attributes)), 0);
        out.ints(rows().map(|row| u64::from(row.flags)), 0);
        strings::emit(&self.traces, rows().map(|row| row.trace), Kind::Noise, out);
        out.blobs(rows().map(|row| row.span.bytes(sources)), Kind::Noise);
        strings::emit(&self.event_names, rows().map(|row| row.event_name), Kind::Text, out);
    }
}
