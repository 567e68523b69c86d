//! The tables behind data points: metrics, what only some kinds have, exemplars.

use super::{Number, PointKind};
use crate::columns::attrs::Attrs;
use crate::columns::store::{Blobs, Ints, Offsets, Sparse, Strs};

/// Distinct metrics.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) kinds: Vec<PointKind>,
    pub(crate) name: Strs,
    pub(crate) description: Strs,
    pub(crate) unit: Strs,
    pub(crate) temporality: Ints,
    pub(crate) monotonic: Ints,
    pub(crate) metadata: Attrs,
}

/// Values that are an integer, a double or nothing.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) ints: Sparse,
    pub(crate) doubles: Sparse,
}

impl Numbers {
    pub(crate) fn get(&self, at: usize) -> Option<Number> {
        match self.ints.get(at) {
            Some(value) => Some(Number::Int(value as i64)),
            None => self.doubles.get(at).map(|bits| Number::Double(f64::from_bits(bits))),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Histograms {
    pub(crate) count: Ints,
    pub(crate) sum: Sparse,
    pub(crate) min: Sparse,
    pub(crate) max: Sparse,
    pub(crate) bucket_rows: Offsets,
    pub(crate) buckets: Vec<u64>,
    /// Per row, its list of bounds, and the distinct lists.
    pub(crate) bounds_of: Ints,
    pub(crate) bounds_rows: Offsets,
    pub(crate) bounds: Vec<f64>,
}

#[derive(Debug, Default)]
pub(crate) struct Exponentials {
    pub(crate) count: Ints,
    pub(crate) sum: Sparse,
    pub(crate) min: Sparse,
    pub(crate) max: Sparse,
    pub(crate) scale: Ints,
    pub(crate) zero_count: Ints,
    pub(crate) zero_threshold: Ints,
    pub(crate) positive: Buckets,
    pub(crate) negative: Buckets,
}

/// One side of the exponential histograms; a row without the message has no offset.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    pub(crate) offset: Sparse,
    pub(crate) rows: Offsets,
    pub(crate) counts: Vec<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Summaries {
    pub(crate) count: Ints,
    pub(crate) sum: Ints,
    pub(crate) quantile_rows: Offsets,
    pub(crate) quantiles: Ints,
    pub(crate) values: Ints,
}

#[derive(Debug, Default)]
pub(crate) struct Exemplars {
    /// Time before the point's, wrapping.
    pub(crate) time: Ints,
    pub(crate) values: Numbers,
    pub(crate) trace_ids: Blobs,
    pub(crate) span_ids: Blobs,
    pub(crate) attrs: Attrs,
}
