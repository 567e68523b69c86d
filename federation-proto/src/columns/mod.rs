//! What everything above the codec sees of a batch: typed columns, read by row, whatever the wire layout is.
//!
//! All accessors borrow. A row at or beyond `len()` panics, as with a slice; nothing else does, since the decoder checked every index.
//! [`Columns::to_otlp`] gives the batch back as an Export request that is equal to what came in, as a set of records with all fields:
//! rows of equal resource, scope (and metric) come back in one group.

mod attrs;
mod export;
mod logs;
mod points;
mod resource;
mod spans;
mod store;
#[cfg(test)]
mod tests;
mod value;

pub use attrs::AttrIter;
pub(crate) use attrs::{AttrColumn, AttrValues, Attrs};
pub use logs::Logs;
pub(crate) use points::{Buckets, Exemplars, Exponentials, Histograms, Metrics, Numbers, Summaries};
pub use points::{BucketsRef, ExemplarRef, MetricRef, Number, PointKind, Points};
pub(crate) use resource::{Origins, Resources, Scopes};
pub use resource::{ResourceRef, ScopeRef};
pub use spans::{EventRef, LinkRef, Spans, StatusRef};
pub(crate) use spans::{Events, Links, Parent};
pub(crate) use store::{Blobs, Ints, NOWHERE, Offsets, Places, Sparse, Strs};
pub use value::{AnyWire, Value};

use std::ops::Range;

use crate::identity::Signal;

/// A decoded batch of one signal.
#[expect(clippy::large_enum_variant, reason = "one per batch, and never stored in numbers")]
#[derive(Debug)]
pub enum Columns {
    /// Spans.
    Traces(Spans),
    /// Log records.
    Logs(Logs),
    /// Metric data points.
    Metrics(Points),
}

impl Columns {
    /// Number of rows: spans, log records or data points.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Columns::Traces(spans) => spans.len(),
            Columns::Logs(logs) => logs.len(),
            Columns::Metrics(points) => points.len(),
        }
    }

    /// The signal.
    #[must_use]
    pub fn signal(&self) -> Signal {
        match self {
            Columns::Traces(_) => Signal::Traces,
            Columns::Logs(_) => Signal::Logs,
            Columns::Metrics(_) => Signal::Metrics,
        }
    }

    /// The batch as an Export request of its signal, protobuf bytes.
    #[must_use]
    pub fn to_otlp(&self) -> Vec<u8> {
        self.rows_to_otlp(0..self.rows())
    }

    /// Some rows of the batch as an Export request: a tier that takes no request as large as the batch gets it in pieces. Requests
    /// behind one another are one request with the rows of both, since their only field is repeated.
    #[must_use]
    pub fn rows_to_otlp(&self, rows: Range<usize>) -> Vec<u8> {
        match self {
            Columns::Traces(spans) => export::spans(spans, rows),
            Columns::Logs(logs) => export::logs(logs, rows),
            Columns::Metrics(points) => export::points(points, rows),
        }
    }
}
