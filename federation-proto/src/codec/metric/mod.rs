//! Data points of all five kinds: sorted by (shape of attributes, metric, group).
//!
//! What makes a metric (kind, name, description, unit, temporality, monotonicity, metadata) is interned; a row has its number. Columns, in
//! order: origins and groups; metrics (kind, name, description, unit, temporality, monotonic, metadata), metric of each row; attributes;
//! start; time; flags; then, each for the rows of its kinds in row order, numbers, histograms, exponential histograms and summaries (see
//! [`points`]); exemplars per row and their columns.

mod decode;
mod exemplars;
mod points;

use super::attrs::{AttrRow, AttrsEncoder};
use super::dictionary::Dictionary;
use super::encoder::EncodeError;
use super::origins::Origins;
use super::request::{Context, Records, Times};
use super::sort::Order;
use super::source::Sources;
use super::streams::{Kind, Streams};
use super::strings;
use crate::columns::PointKind;
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Wire, put_varint};
pub(crate) use decode::points as decode;
use exemplars::Exemplars;
use points::Details;

/// The kinds of points by their number in the format, each with its field in a Metric.
const KINDS: [(PointKind, u32); 5] = [
    (PointKind::Gauge, 5),
    (PointKind::Sum, 7),
    (PointKind::Histogram, 9),
    (PointKind::ExponentialHistogram, 10),
    (PointKind::Summary, 11),
];

/// One point.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    group: u32,
    metric: u32,
    start: u64,
    time: u64,
    flags: u32,
    attrs: AttrRow,
    /// Place in the table of its kind.
    place: u32,
    exemplars: (u32, u32),
}

/// One distinct metric; strings are codes.
#[derive(Debug, Clone, Copy)]
struct Metric {
    kind: u8,
    name: u32,
    description: u32,
    unit: u32,
    temporality: i32,
    monotonic: bool,
    metadata: AttrRow,
}

/// Takes in metrics with their points.
#[derive(Default)]
pub(crate) struct Points {
    rows: Vec<Row>,
    times: Times,
    identities: Dictionary,
    metrics: Vec<Metric>,
    strings: Dictionary,
    metadata: AttrsEncoder,
    attrs: AttrsEncoder,
    details: Details,
    exemplars: Exemplars,
    order: Order,
    key: Vec<u8>,
}

impl Records for Points {
    fn begin(&mut self) {
        self.rows.clear();
        self.times = Times::default();
        self.identities.begin();
        self.metrics.clear();
        self.strings.begin();
        self.metadata.begin();
        self.attrs.begin();
        self.details.begin();
        self.exemplars.begin();
    }

    fn record(&mut self, metric: Reader<'_>, context: &mut Context<'_, '_>) -> Result<(), Malformed> {
        let fields = Fields::read(metric)?;
        let Some((kind, data)) = fields.data else { return Ok(()) };
        let mut number = None;
        let mut r = data;
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Len) => {
                    let point = r.message()?;
                    let Some(group) = context.admit()? else { continue };
                    let metric = match number {
                        Some(number) => number,
                        None => *number.insert(self.metric(&fields, kind)?),
                    };
                    self.point(point, kind, metric, group)?;
                }
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        Ok(())
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
        order.sort_by(self.metrics.len(), |row| self.rows[row].metric);
        order.sort_by(self.attrs.sort_keys(), |row| self.rows[row].attrs.sort_key());
        self.emit(order.rows(), origins, sources, out);
        self.order = order;
        Ok(())
    }
}

/// The fields of a Metric, and of its data what is not a point.
#[derive(Default)]
struct Fields<'a> {
    name: &'a [u8],
    description: &'a [u8],
    unit: &'a [u8],
    temporality: i32,
    monotonic: bool,
    /// Number of the kind, and the Gauge, Sum, ... message.
    data: Option<(u8, Reader<'a>)>,
    metadata: Vec<Reader<'a>>,
}

impl<'a> Fields<'a> {
    fn read(mut r: Reader<'a>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Len) => fields.name = r.bytes()?,
                (2, Wire::Len) => fields.description = r.bytes()?,
                (3, Wire::Len) => fields.unit = r.bytes()?,
                (12, Wire::Len) => fields.metadata.push(r.message()?),
                (field, wire) => match KINDS.iter().position(|kind| kind.1 == field && wire == Wire::Len) {
                    Some(kind) => fields.data = Some((kind as u8, r.message()?)),
                    None => r.skip(field, wire, 100)?,
                },
            }
        }
        if let Some((kind, mut data)) = fields.data {
            let has = KINDS[usize::from(kind)].0;
            while !data.is_done() {
                match data.key()? {
                    (2, Wire::Varint) if has.has_temporality() => fields.temporality = data.varint()? as i32,
                    (3, Wire::Varint) if has == PointKind::Sum => fields.monotonic = data.varint()? != 0,
                    (field, wire) => data.skip(field, wire, 100)?,
                }
            }
        }
        Ok(fields)
    }

    /// What makes the metric distinct, as one string.
    fn key(&self, kind: u8, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[kind, u8::from(self.monotonic)]);
        out.extend_from_slice(&self.temporality.to_le_bytes());
        let metadata = self.metadata.iter().map(Reader::rest);
        for part in [self.name, self.description, self.unit].into_iter().chain(metadata) {
            put_varint(out, part.len() as u64);
            out.extend_from_slice(part);
        }
    }
}

impl Points {
    /// The metric's number in this batch.
    fn metric(&mut self, fields: &Fields<'_>, kind: u8) -> Result<u32, Malformed> {
        fields.key(kind, &mut self.key);
        let number = self.identities.code(&self.key);
        if number as usize == self.metrics.len() {
            let mut metadata = self.metadata.start();
            for pair in &fields.metadata {
                self.metadata.push(&mut metadata, *pair)?;
            }
            self.metrics.push(Metric {
                kind,
                name: self.strings.code(fields.name),
                description: self.strings.code(fields.description),
                unit: self.strings.code(fields.unit),
                temporality: fields.temporality,
                monotonic: fields.monotonic,
                metadata: self.metadata.finish(metadata),
            });
        }
        Ok(number)
    }

    fn point(&mut self, point: Reader<'_>, kind: u8, metric: u32, group: u32) -> Result<(), Malformed> {
        let mut row = Row { group, metric, ..Row::default() };
        let mut attrs = self.attrs.start();
        let first_exemplar = self.exemplars.len();
        let mut detail = points::Detail::default();
        let mut r = point;
        let attrs_field = points::ATTRS_FIELD[usize::from(kind)];
        let exemplars_field = points::EXEMPLARS_FIELD[usize::from(kind)];
        let flags_field = points::FLAGS_FIELD[usize::from(kind)];
        while !r.is_done() {
            match r.key()? {
                (2, Wire::Fixed64) => row.start = r.fixed64()?,
                (3, Wire::Fixed64) => row.time = r.fixed64()?,
                (field, Wire::Varint) if field == flags_field => row.flags = r.varint()? as u32,
                (field, Wire::Len) if field == attrs_field => self.attrs.push(&mut attrs, r.message()?)?,
                (field, Wire::Len) if Some(field) == exemplars_field => self.exemplars.push(r.message()?)?,
                (field, wire) => {
                    if !detail.field(kind, field, wire, &mut r)? {
                        r.skip(field, wire, 100)?;
                    }
                }
            }
        }
        row.attrs = self.attrs.finish(attrs);
        row.exemplars = (first_exemplar, self.exemplars.len());
        row.place = self.details.push(kind, &detail)?;
        self.times.note(row.time);
        self.rows.push(row);
        Ok(())
    }

    fn emit(&self, order: &[u32], origins: &mut Origins, sources: &Sources<'_>, out: &mut Streams) {
        let rows = || order.iter().map(|&row| &self.rows[row as usize]);
        origins.emit(rows().map(|row| row.group), sources, out);
        self.emit_metrics(sources, out);
        out.ints(rows().map(|row| u64::from(row.metric)), 0);
        self.attrs.emit(rows().map(|row| row.attrs), sources, out);
        out.ints(rows().map(|row| row.start), 3);
        out.ints(rows().map(|row| row.time), 3);
        out.ints(rows().map(|row| u64::from(row.flags)), 0);
        let mut places: [Vec<u32>; 4] = Default::default();
        for row in rows() {
            places[points::table(self.metrics[row.metric as usize].kind)].push(row.place);
        }
        self.details.emit(&places, out);
        out.ints(rows().map(|row| u64::from(row.exemplars.1 - row.exemplars.0)), 0);
        self.exemplars.emit(rows().map(|row| (row.exemplars, row.time)), sources, out);
    }

    fn emit_metrics(&self, sources: &Sources<'_>, out: &mut Streams) {
        let metrics = || self.metrics.iter();
        out.number(self.metrics.len() as u64);
        out.ints(metrics().map(|metric| u64::from(metric.kind)), 0);
        // The dictionary serves three columns, so each is written plain.
        strings::emit_plain(&self.strings, metrics().map(|metric| metric.name), Kind::Text, out);
        strings::emit_plain(&self.strings, metrics().map(|metric| metric.description), Kind::Text, out);
        strings::emit_plain(&self.strings, metrics().map(|metric| metric.unit), Kind::Text, out);
        out.ints(metrics().map(|metric| i64::from(metric.temporality) as u64), 0);
        out.ints(metrics().map(|metric| u64::from(metric.monotonic)), 0);
        self.metadata.emit(metrics().map(|metric| metric.metadata), sources, out);
    }
}
