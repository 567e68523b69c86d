//! The tables: columns named and typed as the OpenTelemetry Collector's ClickHouse exporter has them, so that its dashboards and
//! queries fit.
//!
//! Where an exact copy would lie or lose, ours differs:
//! - absent numbers (`Sum`, `Min`, `Max`, `Value` of a point without one) are null, not 0;
//! - an enum value without a name stands as its number, not as nothing;
//! - a span that ends before it starts has `Duration` 0, not 2^64 less the difference.
//!
//! The same as there: attribute values are text (a list or map as JSON, bytes as base64), ids are lower-case hex and empty when unset,
//! `Timestamp` of a log record is its observed time when it has no time, `Value` is a float. Times are nanoseconds in UTC; what `i64`
//! cannot hold stands as its greatest.

mod logs;
mod metrics;
mod sheet;
mod traces;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use federation_proto::columns::{Columns, Logs, PointKind, Points, ResourceRef, Spans};

use super::partition::RowRef;
use crate::tier::UnitBatch;

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Gauge points.
    Gauge,
    /// Sum points.
    Sum,
    /// Points of histograms with explicit bounds.
    Histogram,
    /// Points of exponential histograms.
    ExponentialHistogram,
    /// Summary points.
    Summary,
}

impl Table {
    /// All tables.
    pub const ALL: &'static [Self] =
        &[Self::Traces, Self::Logs, Self::Gauge, Self::Sum, Self::Histogram, Self::ExponentialHistogram, Self::Summary];

    /// Its name, by the exporter's defaults.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "otel_traces",
            Self::Logs => "otel_logs",
            Self::Gauge => "otel_metrics_gauge",
            Self::Sum => "otel_metrics_sum",
            Self::Histogram => "otel_metrics_histogram",
            Self::ExponentialHistogram => "otel_metrics_exponential_histogram",
            Self::Summary => "otel_metrics_summary",
        }
    }

    /// Where points of a kind go.
    #[must_use]
    pub fn of_points(kind: PointKind) -> Self {
        match kind {
            PointKind::Gauge => Self::Gauge,
            PointKind::Sum => Self::Sum,
            PointKind::Histogram => Self::Histogram,
            PointKind::ExponentialHistogram => Self::ExponentialHistogram,
            PointKind::Summary => Self::Summary,
        }
    }
}

/// The time of a log record: when it happened, else when it was seen, else 0.
#[must_use]
pub fn log_time(logs: &Logs, row: usize) -> u64 {
    match logs.time(row) {
        0 => logs.observed_time(row),
        time => time,
    }
}

/// Rows of `table` as Arrow, in the order given. Rows that are not of the table's signal are left out; there are none, since rows are
/// put to tables by their signal.
///
/// # Errors
/// [`ArrowError`] when a column passes Arrow's own limits (2 GiB of text).
pub fn build(table: Table, rows: &[RowRef], batches: &[UnitBatch]) -> Result<RecordBatch, ArrowError> {
    match table {
        Table::Traces => traces::build(&of_signal(rows, batches, |columns| match columns {
            Columns::Traces(spans) => Some(spans),
            _ => None,
        })),
        Table::Logs => logs::build(&of_signal(rows, batches, |columns| match columns {
            Columns::Logs(logs) => Some(logs),
            _ => None,
        })),
        _ => metrics::build(
            table,
            &of_signal(rows, batches, |columns| match columns {
                Columns::Metrics(points) => Some(points),
                _ => None,
            }),
        ),
    }
}

/// A row of one signal's columns.
struct Row<'a, C> {
    of: &'a C,
    at: usize,
}

impl<C> Clone for Row<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Row<'_, C> {}

type SpanRow<'a> = Row<'a, Spans>;
type LogRow<'a> = Row<'a, Logs>;
type PointRow<'a> = Row<'a, Points>;

fn of_signal<'a, C>(rows: &[RowRef], batches: &'a [UnitBatch], pick: impl Fn(&'a Columns) -> Option<&'a C>) -> Vec<Row<'a, C>> {
    rows.iter().filter_map(|row| Some(Row { of: pick(&batches.get(row.batch as usize)?.columns)?, at: row.row as usize })).collect()
}

fn service_name(resource: ResourceRef<'_>) -> String {
    resource.attr("service.name").map(|value| value.to_text()).unwrap_or_default()
}

/// Lower-case hex; empty for an id that is unset (no bytes, or all zero).
fn hex(id: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if id.iter().all(|&byte| byte == 0) {
        return String::new();
    }
    id.iter().flat_map(|&byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests;
