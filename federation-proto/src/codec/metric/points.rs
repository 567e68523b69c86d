//! What only some kinds of points have: four tables, one for gauges and sums together.
//!
//! | table | columns |
//! |---|---|
//! | numbers | integers (flags, values), doubles (flags, values) |
//! | histograms | count; sum, min, max (flags, values each); buckets per row, their counts; distinct lists of bounds (lengths in bytes, bytes), list per row |
//! | exponential | count; sum, min, max; scale; zero count; zero threshold; positive, negative: offset (flags, values), buckets per row, their counts |
//! | summaries | count; sum; quantiles per row; quantiles; values |

use crate::codec::dictionary::Dictionary;
use crate::codec::streams::{Kind, Streams};
use crate::otlp::wire::{Reader, Wire, unzigzag32};
use crate::otlp::{Fault, Malformed};

/// Field numbers that depend on the kind: of attributes, exemplars and flags.
pub(super) const ATTRS_FIELD: [u32; 5] = [7, 7, 9, 1, 7];
pub(super) const EXEMPLARS_FIELD: [Option<u32>; 5] = [Some(5), Some(5), Some(8), Some(11), None];
pub(super) const FLAGS_FIELD: [u32; 5] = [8, 8, 10, 10, 8];

/// Planes of a double that are as good as random: all but sign, exponent and the first bits of the fraction.
const DOUBLE_NOISE: usize = 6;

/// The table of a kind.
pub(super) fn table(kind: u8) -> usize {
    usize::from(kind).saturating_sub(1)
}

/// A point as it is read: what its kind does not have stays at its default.
#[derive(Default)]
pub(super) struct Detail<'a> {
    int: Option<u64>,
    double: Option<u64>,
    count: u64,
    sum: Option<u64>,
    min: Option<u64>,
    max: Option<u64>,
    scale: i32,
    zero_count: u64,
    zero_threshold: u64,
    buckets: &'a [u8],
    bounds: &'a [u8],
    positive: Option<Reader<'a>>,
    negative: Option<Reader<'a>>,
    quantiles: Vec<Reader<'a>>,
}

impl<'a> Detail<'a> {
    /// Takes in one field, whose key was read; false if the kind does not have it.
    pub(super) fn field(&mut self, kind: u8, field: u32, wire: Wire, r: &mut Reader<'a>) -> Result<bool, Malformed> {
        match (table(kind), field, wire) {
            (0, 4, Wire::Fixed64) => (self.double, self.int) = (Some(r.fixed64()?), None),
            (0, 6, Wire::Fixed64) => (self.int, self.double) = (Some(r.fixed64()?), None),
            (1..=3, 4, Wire::Fixed64) => self.count = r.fixed64()?,
            (1..=3, 5, Wire::Fixed64) => self.sum = Some(r.fixed64()?),
            (1, 6, Wire::Len) => self.buckets = r.bytes()?,
            (1, 7, Wire::Len) => self.bounds = r.bytes()?,
            (1, 11, Wire::Fixed64) | (2, 12, Wire::Fixed64) => self.min = Some(r.fixed64()?),
            (1, 12, Wire::Fixed64) | (2, 13, Wire::Fixed64) => self.max = Some(r.fixed64()?),
            (2, 6, Wire::Varint) => self.scale = unzigzag32(r.varint()?),
            (2, 7, Wire::Fixed64) => self.zero_count = r.fixed64()?,
            (2, 8, Wire::Len) => self.positive = Some(r.message()?),
            (2, 9, Wire::Len) => self.negative = Some(r.message()?),
            (2, 14, Wire::Fixed64) => self.zero_threshold = r.fixed64()?,
            (3, 6, Wire::Len) => self.quantiles.push(r.message()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Number {
    int: Option<u64>,
    double: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Histogram {
    count: u64,
    sum: Option<u64>,
    min: Option<u64>,
    max: Option<u64>,
    buckets: (u32, u32),
    bounds: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Exponential {
    count: u64,
    sum: Option<u64>,
    min: Option<u64>,
    max: Option<u64>,
    scale: i32,
    zero_count: u64,
    zero_threshold: u64,
    positive: Side,
    negative: Side,
}

/// One side's buckets; without the message, no offset.
#[derive(Debug, Clone, Copy, Default)]
struct Side {
    offset: Option<i32>,
    counts: (u32, u32),
}

#[derive(Debug, Clone, Copy, Default)]
struct Summary {
    count: u64,
    sum: u64,
    quantiles: (u32, u32),
}

/// The four tables.
#[derive(Default)]
pub(super) struct Details {
    numbers: Vec<Number>,
    histograms: Vec<Histogram>,
    exponentials: Vec<Exponential>,
    summaries: Vec<Summary>,
    /// Counts of buckets, of all rows.
    counts: Vec<u64>,
    /// Quantile and value, of all rows.
    quantiles: Vec<(u64, u64)>,
    /// Lists of bounds, as the bytes of their doubles.
    bounds: Dictionary,
}

impl Details {
    pub(super) fn begin(&mut self) {
        self.numbers.clear();
        self.histograms.clear();
        self.exponentials.clear();
        self.summaries.clear();
        self.counts.clear();
        self.quantiles.clear();
        self.bounds.begin();
    }

    /// Adds a point to the table of its kind; its place there.
    pub(super) fn push(&mut self, kind: u8, d: &Detail<'_>) -> Result<u32, Malformed> {
        match table(kind) {
            0 => {
                self.numbers.push(Number { int: d.int, double: d.double });
                Ok(self.numbers.len() as u32 - 1)
            }
            1 => {
                if !d.bounds.len().is_multiple_of(8) || !d.buckets.len().is_multiple_of(8) {
                    return Err(Malformed { at: 0, fault: Fault::Truncated });
                }
                let first = self.counts.len() as u32;
                self.counts.extend(d.buckets.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
                let buckets = (first, self.counts.len() as u32);
                let bounds = self.bounds.code(d.bounds);
                self.histograms.push(Histogram { count: d.count, sum: d.sum, min: d.min, max: d.max, buckets, bounds });
                Ok(self.histograms.len() as u32 - 1)
            }
            2 => {
                let (positive, negative) = (self.side(d.positive)?, self.side(d.negative)?);
                self.exponentials.push(Exponential {
                    count: d.count,
                    sum: d.sum,
                    min: d.min,
                    max: d.max,
                    scale: d.scale,
                    zero_count: d.zero_count,
                    zero_threshold: d.zero_threshold,
                    positive,
                    negative,
                });
                Ok(self.exponentials.len() as u32 - 1)
            }
            _ => {
                let first = self.quantiles.len() as u32;
                for quantile in &d.quantiles {
                    self.quantiles.push(read_quantile(*quantile)?);
                }
                let quantiles = (first, self.quantiles.len() as u32);
                self.summaries.push(Summary { count: d.count, sum: d.sum.unwrap_or(0), quantiles });
                Ok(self.summaries.len() as u32 - 1)
            }
        }
    }

    fn side(&mut self, buckets: Option<Reader<'_>>) -> Result<Side, Malformed> {
        let Some(mut r) = buckets else { return Ok(Side::default()) };
        let first = self.counts.len() as u32;
        let mut offset = 0;
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Varint) => offset = unzigzag32(r.varint()?),
                (2, Wire::Len) => {
                    let mut counts = r.message()?;
                    while !counts.is_done() {
                        self.counts.push(counts.varint()?);
                    }
                }
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        Ok(Side { offset: Some(offset), counts: (first, self.counts.len() as u32) })
    }

    /// Writes the tables; `places` gives the rows of each in the batch's order.
    pub(super) fn emit(&self, places: &[Vec<u32>; 4], out: &mut Streams) {
        let [numbers, histograms, exponentials, summaries] = places;
        let numbers = || numbers.iter().map(|&at| &self.numbers[at as usize]);
        out.sparse(numbers().map(|row| row.int), 2);
        out.sparse(numbers().map(|row| row.double), DOUBLE_NOISE);
        self.emit_histograms(histograms, out);
        self.emit_exponentials(exponentials, out);
        self.emit_summaries(summaries, out);
    }

    fn emit_histograms(&self, places: &[u32], out: &mut Streams) {
        let rows = || places.iter().map(|&at| &self.histograms[at as usize]);
        out.ints(rows().map(|row| row.count), 1);
        out.sparse(rows().map(|row| row.sum), DOUBLE_NOISE);
        out.sparse(rows().map(|row| row.min), DOUBLE_NOISE);
        out.sparse(rows().map(|row| row.max), DOUBLE_NOISE);
        self.emit_counts(rows().map(|row| row.buckets), out);
        out.number(self.bounds.len() as u64);
        out.blobs(self.bounds.values(), Kind::Text);
        out.ints(rows().map(|row| u64::from(row.bounds)), 0);
    }

    fn emit_exponentials(&self, places: &[u32], out: &mut Streams) {
        let rows = || places.iter().map(|&at| &self.exponentials[at as usize]);
        out.ints(rows().map(|row| row.count), 1);
        out.sparse(rows().map(|row| row.sum), DOUBLE_NOISE);
        out.sparse(rows().map(|row| row.min), DOUBLE_NOISE);
        out.sparse(rows().map(|row| row.max), DOUBLE_NOISE);
        out.ints(rows().map(|row| i64::from(row.scale) as u64), 0);
        out.ints(rows().map(|row| row.zero_count), 0);
        out.ints(rows().map(|row| row.zero_threshold), 0);
        for side in [|row: &Exponential| row.positive, |row: &Exponential| row.negative] {
            out.sparse(rows().map(|row| side(row).offset.map(|offset| i64::from(offset) as u64)), 0);
            self.emit_counts(rows().map(|row| side(row).counts), out);
        }
    }

    /// How many buckets each row has, then their counts.
    fn emit_counts(&self, ranges: impl Iterator<Item = (u32, u32)> + Clone, out: &mut Streams) {
        out.ints(ranges.clone().map(|(first, end)| u64::from(end - first)), 0);
        out.ints(ranges.flat_map(|(first, end)| self.counts[first as usize..end as usize].iter().copied()), 0);
    }

    fn emit_summaries(&self, places: &[u32], out: &mut Streams) {
        let rows = || places.iter().map(|&at| &self.summaries[at as usize]);
        out.ints(rows().map(|row| row.count), 1);
        out.ints(rows().map(|row| row.sum), DOUBLE_NOISE);
        out.ints(rows().map(|row| u64::from(row.quantiles.1 - row.quantiles.0)), 0);
        let quantiles = || rows().flat_map(|row| &self.quantiles[row.quantiles.0 as usize..row.quantiles.1 as usize]);
        out.ints(quantiles().map(|(quantile, _)| *quantile), 0);
        out.ints(quantiles().map(|(_, value)| *value), DOUBLE_NOISE);
    }
}

fn read_quantile(mut r: Reader<'_>) -> Result<(u64, u64), Malformed> {
    let (mut quantile, mut value) = (0, 0);
    while !r.is_done() {
        match r.key()? {
            (1, Wire::Fixed64) => quantile = r.fixed64()?,
            (2, Wire::Fixed64) => value = r.fixed64()?,
            (field, wire) => r.skip(field, wire, 100)?,
        }
    }
    Ok((quantile, value))
}
