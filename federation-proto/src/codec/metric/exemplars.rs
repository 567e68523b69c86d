//! Exemplars: a table whose rows belong to points, in the order of the points.

use crate::codec::attrs::{AttrRow, AttrsEncoder};
use crate::codec::source::{Id, Sources};
use crate::codec::streams::{Kind, Streams};
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Wire};

#[derive(Debug, Clone, Copy, Default)]
struct Exemplar {
    time: u64,
    int: Option<u64>,
    double: Option<u64>,
    trace: Id,
    span: Id,
    attrs: AttrRow,
}

/// Takes in exemplars. Columns: time before the point's, integers, doubles (flags, values each), trace ids, span ids (lengths, bytes),
/// attributes.
#[derive(Default)]
pub(super) struct Exemplars {
    rows: Vec<Exemplar>,
    attrs: AttrsEncoder,
}

impl Exemplars {
    pub(super) fn begin(&mut self) {
        self.rows.clear();
        self.attrs.begin();
    }

    pub(super) fn len(&self) -> u32 {
        self.rows.len() as u32
    }

    pub(super) fn push(&mut self, mut r: Reader<'_>) -> Result<(), Malformed> {
        let mut row = Exemplar::default();
        let mut attrs = self.attrs.start();
        while !r.is_done() {
            match r.key()? {
                (2, Wire::Fixed64) => row.time = r.fixed64()?,
                (3, Wire::Fixed64) => (row.double, row.int) = (Some(r.fixed64()?), None),
                (4, Wire::Len) => row.span = Id::read(&mut r)?,
                (5, Wire::Len) => row.trace = Id::read(&mut r)?,
                (6, Wire::Fixed64) => (row.int, row.double) = (Some(r.fixed64()?), None),
                (7, Wire::Len) => self.attrs.push(&mut attrs, r.message()?)?,
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        row.attrs = self.attrs.finish(attrs);
        self.rows.push(row);
        Ok(())
    }

    /// Writes the exemplars of these points, given by their range of rows and the point's time.
    pub(super) fn emit(&self, points: impl Iterator<Item = ((u32, u32), u64)>, sources: &Sources<'_>, out: &mut Streams) {
        let rows: Vec<(&Exemplar, u64)> =
            points.flat_map(|((first, end), time)| self.rows[first as usize..end as usize].iter().map(move |row| (row, time))).collect();
        out.ints(rows.iter().map(|(row, time)| time.wrapping_sub(row.time)), 2);
        let rows = || rows.iter().map(|(row, _)| *row);
        out.sparse(rows().map(|row| row.int), 2);
        out.sparse(rows().map(|row| row.double), 6);
        out.blobs(rows().map(|row| row.trace.bytes(sources)), Kind::Noise);
        out.blobs(rows().map(|row| row.span.bytes(sources)), Kind::Noise);
        self.attrs.emit(rows().map(|row| row.attrs), sources, out);
    }
}
