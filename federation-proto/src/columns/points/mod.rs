//! Metric data points by row, of all five kinds.
//!
//! What only some kinds have (buckets, quantiles) stands in tables of those kinds; a row knows its place there. Asked for what its kind
//! does not have, a row answers with nothing, zero or an empty slice.

mod tables;

use super::attrs::{AttrIter, Attrs};
use super::resource::{Origins, ResourceRef, ScopeRef};
use super::store::{Ints, Offsets, Sparse};
use super::value::Value;
pub(crate) use tables::{Buckets, Exemplars, Exponentials, Histograms, Metrics, Numbers, Summaries};

/// What a point's metric holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PointKind {
    /// Gauge: a number.
    Gauge,
    /// Sum: a number, with temporality and monotonicity.
    Sum,
    /// Histogram with explicit bounds.
    Histogram,
    /// Histogram with exponential buckets.
    ExponentialHistogram,
    /// Summary with quantiles.
    Summary,
}

impl PointKind {
    /// Whether metrics of this kind state an AggregationTemporality.
    pub(crate) fn has_temporality(self) -> bool {
        matches!(self, PointKind::Sum | PointKind::Histogram | PointKind::ExponentialHistogram)
    }
}

/// The value of a number point or an exemplar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// `as_int`.
    Int(i64),
    /// `as_double`, any bit pattern.
    Double(f64),
}

/// A batch of data points. Rows are in the batch's own order, not in the order of arrival.
#[derive(Debug, Default)]
pub struct Points {
    pub(crate) rows: usize,
    pub(crate) origins: Origins,
    pub(crate) metrics: Metrics,
    /// Per row, its metric.
    pub(crate) metric: Ints,
    pub(crate) attrs: Attrs,
    pub(crate) start: Ints,
    pub(crate) time: Ints,
    pub(crate) flags: Ints,
    /// Place in the table of the row's kind (gauges and sums share `numbers`).
    pub(crate) place: Vec<u32>,
    pub(crate) numbers: Numbers,
    pub(crate) histograms: Histograms,
    pub(crate) exponentials: Exponentials,
    pub(crate) summaries: Summaries,
    pub(crate) exemplar_rows: Offsets,
    pub(crate) exemplars: Exemplars,
}

/// One side of an exponential histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketsRef<'a> {
    /// Index of the first bucket.
    pub offset: i32,
    /// Counts from there.
    pub counts: &'a [u64],
}

impl Points {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// What the point's metric holds.
    #[must_use]
    pub fn kind(&self, row: usize) -> PointKind {
        self.metrics.kinds[self.metric.get(row) as usize]
    }

    /// The point's metric.
    #[must_use]
    pub fn metric(&self, row: usize) -> MetricRef<'_> {
        MetricRef { table: &self.metrics, index: self.metric.get(row) as usize }
    }

    /// Attributes, in their order.
    #[must_use]
    pub fn attrs(&self, row: usize) -> AttrIter<'_> {
        self.attrs.row(row)
    }

    /// The first attribute with this key.
    #[must_use]
    pub fn attr(&self, row: usize, key: &str) -> Option<Value<'_>> {
        self.attrs.find(row, key)
    }

    /// Start of the interval, nanoseconds since 1970; 0 if not given.
    #[must_use]
    pub fn start_time(&self, row: usize) -> u64 {
        self.start.get(row)
    }

    /// Time of the point, nanoseconds since 1970.
    #[must_use]
    pub fn time(&self, row: usize) -> u64 {
        self.time.get(row)
    }

    /// DataPointFlags.
    #[must_use]
    pub fn flags(&self, row: usize) -> u32 {
        self.flags.get(row) as u32
    }

    /// The number of a gauge or sum point that has one.
    #[must_use]
    pub fn number(&self, row: usize) -> Option<Number> {
        match self.kind(row) {
            PointKind::Gauge | PointKind::Sum => self.numbers.get(self.place[row] as usize),
            _ => None,
        }
    }

    /// Count of a histogram, exponential histogram or summary.
    #[must_use]
    pub fn count(&self, row: usize) -> u64 {
        let at = self.place[row] as usize;
        match self.kind(row) {
            PointKind::Gauge | PointKind::Sum => 0,
            PointKind::Histogram => self.histograms.count.get(at),
            PointKind::ExponentialHistogram => self.exponentials.count.get(at),
            PointKind::Summary => self.summaries.count.get(at),
        }
    }

    /// Sum of a histogram that has one; always of a summary.
    #[must_use]
    pub fn sum(&self, row: usize) -> Option<f64> {
        let at = self.place[row] as usize;
        let bits = match self.kind(row) {
            PointKind::Gauge | PointKind::Sum => None,
            PointKind::Histogram => self.histograms.sum.get(at),
            PointKind::ExponentialHistogram => self.exponentials.sum.get(at),
            PointKind::Summary => Some(self.summaries.sum.get(at)),
        };
        bits.map(f64::from_bits)
    }

    /// Minimum of a histogram that has one.
    #[must_use]
    pub fn min(&self, row: usize) -> Option<f64> {
        self.extreme(row, &self.histograms.min, &self.exponentials.min)
    }

    /// Maximum of a histogram that has one.
    #[must_use]
    pub fn max(&self, row: usize) -> Option<f64> {
        self.extreme(row, &self.histograms.max, &self.exponentials.max)
    }

    fn extreme(&self, row: usize, explicit: &Sparse, exponential: &Sparse) -> Option<f64> {
        let at = self.place[row] as usize;
        let bits = match self.kind(row) {
            PointKind::Histogram => explicit.get(at),
            PointKind::ExponentialHistogram => exponential.get(at),
            _ => None,
        };
        bits.map(f64::from_bits)
    }

    /// Counts of a histogram's buckets.
    #[must_use]
    pub fn bucket_counts(&self, row: usize) -> &[u64] {
        match self.kind(row) {
            PointKind::Histogram => {
                let range = self.histograms.bucket_rows.range(self.place[row] as usize);
                self.histograms.buckets.get(range).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Bounds between a histogram's buckets.
    #[must_use]
    pub fn explicit_bounds(&self, row: usize) -> &[f64] {
        match self.kind(row) {
            PointKind::Histogram => {
                let list = self.histograms.bounds_of.get(self.place[row] as usize) as usize;
                self.histograms.bounds.get(self.histograms.bounds_rows.range(list)).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Scale of an exponential histogram.
    #[must_use]
    pub fn scale(&self, row: usize) -> i32 {
        self.exponential(row, &self.exponentials.scale) as i32
    }

    /// Count of an exponential histogram's zero bucket.
    #[must_use]
    pub fn zero_count(&self, row: usize) -> u64 {
        self.exponential(row, &self.exponentials.zero_count)
    }

    /// Width of an exponential histogram's zero bucket.
    #[must_use]
    pub fn zero_threshold(&self, row: usize) -> f64 {
        f64::from_bits(self.exponential(row, &self.exponentials.zero_threshold))
    }

    fn exponential(&self, row: usize, column: &Ints) -> u64 {
        match self.kind(row) {
            PointKind::ExponentialHistogram => column.get(self.place[row] as usize),
            _ => 0,
        }
    }

    /// Buckets of an exponential histogram's positive range, if given.
    #[must_use]
    pub fn positive(&self, row: usize) -> Option<BucketsRef<'_>> {
        self.side(row, &self.exponentials.positive)
    }

    /// Buckets of an exponential histogram's negative range, if given.
    #[must_use]
    pub fn negative(&self, row: usize) -> Option<BucketsRef<'_>> {
        self.side(row, &self.exponentials.negative)
    }

    fn side<'a>(&self, row: usize, side: &'a Buckets) -> Option<BucketsRef<'a>> {
        if self.kind(row) != PointKind::ExponentialHistogram {
            return None;
        }
        let at = self.place[row] as usize;
        let offset = side.offset.get(at)?;
        Some(BucketsRef { offset: offset as i32, counts: side.counts.get(side.rows.range(at)).unwrap_or_default() })
    }

    /// Quantiles of a summary, with their values, in their order.
    pub fn quantiles(&self, row: usize) -> impl ExactSizeIterator<Item = (f64, f64)> {
        let range = match self.kind(row) {
            PointKind::Summary => self.summaries.quantile_rows.range(self.place[row] as usize),
            _ => 0..0,
        };
        range.map(|at| (f64::from_bits(self.summaries.quantiles.get(at)), f64::from_bits(self.summaries.values.get(at))))
    }

    /// Exemplars, in their order.
    pub fn exemplars(&self, row: usize) -> impl ExactSizeIterator<Item = ExemplarRef<'_>> {
        let point_time = self.time(row);
        self.exemplar_rows.range(row).map(move |at| ExemplarRef { table: &self.exemplars, at, point_time })
    }

    /// The point's resource.
    #[must_use]
    pub fn resource(&self, row: usize) -> ResourceRef<'_> {
        self.origins.resource(row)
    }

    /// The point's scope.
    #[must_use]
    pub fn scope(&self, row: usize) -> ScopeRef<'_> {
        self.origins.scope(row)
    }
}

/// The metric of a point.
#[derive(Clone, Copy)]
pub struct MetricRef<'a> {
    table: &'a Metrics,
    index: usize,
}

impl<'a> MetricRef<'a> {
    /// Its number within the batch: equal for points of the same metric.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> PointKind {
        self.table.kinds[self.index]
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.table.name.get(self.index)
    }

    /// Description.
    #[must_use]
    pub fn description(&self) -> &'a str {
        self.table.description.get(self.index)
    }

    /// Unit (UCUM).
    #[must_use]
    pub fn unit(&self) -> &'a str {
        self.table.unit.get(self.index)
    }

    /// AggregationTemporality, unknown values included; 0 for gauges and summaries.
    #[must_use]
    pub fn temporality(&self) -> i32 {
        self.table.temporality.get(self.index) as i32
    }

    /// Whether a sum only grows; false for other kinds.
    #[must_use]
    pub fn monotonic(&self) -> bool {
        self.table.monotonic.get(self.index) != 0
    }

    /// Metadata, in its order.
    #[must_use]
    pub fn metadata(&self) -> AttrIter<'a> {
        self.table.metadata.row(self.index)
    }
}

/// One exemplar of a point.
#[derive(Clone, Copy)]
pub struct ExemplarRef<'a> {
    table: &'a Exemplars,
    pub(crate) at: usize,
    point_time: u64,
}

impl<'a> ExemplarRef<'a> {
    /// Nanoseconds since 1970.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.point_time.wrapping_sub(self.table.time.get(self.at))
    }

    /// The measured value, if given.
    #[must_use]
    pub fn value(&self) -> Option<Number> {
        self.table.values.get(self.at)
    }

    /// Trace id, often empty.
    #[must_use]
    pub fn trace_id(&self) -> &'a [u8] {
        self.table.trace_ids.get(self.at)
    }

    /// Span id, often empty.
    #[must_use]
    pub fn span_id(&self) -> &'a [u8] {
        self.table.span_ids.get(self.at)
    }

    /// Filtered attributes, in their order.
    #[must_use]
    pub fn attrs(&self) -> AttrIter<'a> {
        self.table.attrs.row(self.at)
    }
}
