//! Columns back into Export requests, straight to protobuf bytes.
//!
//! Rows are grouped by resource, then scope, then (points) metric; within a group they keep the batch's order. Fields are written in the
//! order of their numbers and proto3 defaults are left out, as prost does. `rows` says which rows: a tier may send a batch in pieces.

use std::ops::Range;

use super::points::{Buckets, MetricRef, Number, PointKind, Points};
use super::resource::{Origins, ResourceRef, ScopeRef};
use super::{Logs, Spans};
use crate::otlp::wire::{Writer, zigzag32};

/// Spans as an ExportTraceServiceRequest.
pub(super) fn spans(spans: &Spans, rows: Range<usize>) -> Vec<u8> {
    grouped(&spans.origins, rows, |w, rows| {
        for &row in rows {
            w.message(2, |w| span(spans, row, w));
        }
    })
}

/// Log records as an ExportLogsServiceRequest.
pub(super) fn logs(logs: &Logs, rows: Range<usize>) -> Vec<u8> {
    grouped(&logs.origins, rows, |w, rows| {
        for &row in rows {
            w.message(2, |w| log(logs, row, w));
        }
    })
}

/// Points as an ExportMetricsServiceRequest.
pub(super) fn points(points: &Points, rows: Range<usize>) -> Vec<u8> {
    grouped(&points.origins, rows, |w, rows| {
        let mut rows = rows.to_vec();
        rows.sort_by_key(|&row| points.metric.get(row));
        for rows in rows.chunk_by(|&a, &b| points.metric.get(a) == points.metric.get(b)) {
            if let Some(&first) = rows.first() {
                w.message(2, |w| metric(points, points.metric(first), rows, w));
            }
        }
    })
}

/// The three levels that the signals share: request, resource, scope; `records` writes the rows of one scope.
fn grouped(origins: &Origins, rows: Range<usize>, records: impl Fn(&mut Writer, &[usize])) -> Vec<u8> {
    let mut w = Writer::with_capacity(rows.len() * 256);
    let mut order: Vec<usize> = rows.collect();
    let key = |row: usize| (origins.resource(row).index(), origins.scope(row).index());
    order.sort_by_key(|&row| key(row));
    for of_resource in order.chunk_by(|&a, &b| key(a).0 == key(b).0) {
        let Some(&first) = of_resource.first() else { continue };
        let resource_ref = origins.resource(first);
        w.message(1, |w| {
            if resource_ref.is_present() {
                w.message(1, |w| resource(resource_ref, w));
            }
            for of_scope in of_resource.chunk_by(|&a, &b| key(a) == key(b)) {
                let Some(&first) = of_scope.first() else { continue };
                let scope_ref = origins.scope(first);
                w.message(2, |w| {
                    if scope_ref.is_present() {
                        w.message(1, |w| scope(scope_ref, w));
                    }
                    records(w, of_scope);
                    w.bytes_or_none(3, scope_ref.schema_url().as_bytes());
                });
            }
            w.bytes_or_none(3, resource_ref.schema_url().as_bytes());
        });
    }
    w.into_bytes()
}

fn resource(resource: ResourceRef<'_>, w: &mut Writer) {
    resource.table().attrs.write(resource.index(), 1, w);
    w.int_or_none(2, u64::from(resource.dropped_attributes()));
    w.raw(resource.entity_refs_wire());
}

fn scope(scope: ScopeRef<'_>, w: &mut Writer) {
    w.bytes_or_none(1, scope.name().as_bytes());
    w.bytes_or_none(2, scope.version().as_bytes());
    scope.table().attrs.write(scope.index(), 3, w);
    w.int_or_none(4, u64::from(scope.dropped_attributes()));
}

/// An int32 or enum as protobuf sends it: sign-extended to 64 bits.
fn int32(value: i32) -> u64 {
    i64::from(value) as u64
}

fn span(spans: &Spans, row: usize, w: &mut Writer) {
    w.bytes_or_none(1, spans.trace_id(row));
    w.bytes_or_none(2, spans.span_id(row));
    w.bytes_or_none(3, spans.trace_state(row).as_bytes());
    w.bytes_or_none(4, spans.parent_span_id(row));
    w.bytes_or_none(5, spans.name(row).as_bytes());
    w.int_or_none(6, int32(spans.kind(row)));
    w.fixed64_or_none(7, spans.start_time(row));
    w.fixed64_or_none(8, spans.end_time(row));
    spans.attrs.write(row, 9, w);
    w.int_or_none(10, u64::from(spans.dropped_attributes(row)));
    for event in spans.events(row) {
        w.message(11, |w| {
            w.fixed64_or_none(1, event.time());
            w.bytes_or_none(2, event.name().as_bytes());
            spans.events.attrs.write(event.at, 3, w);
            w.int_or_none(4, u64::from(event.dropped_attributes()));
        });
    }
    w.int_or_none(12, u64::from(spans.dropped_events(row)));
    for link in spans.links(row) {
        w.message(13, |w| {
            w.bytes_or_none(1, link.trace_id());
            w.bytes_or_none(2, link.span_id());
            w.bytes_or_none(3, link.trace_state().as_bytes());
            spans.links.attrs.write(link.at, 4, w);
            w.int_or_none(5, u64::from(link.dropped_attributes()));
            w.fixed32_or_none(6, link.flags());
        });
    }
    w.int_or_none(14, u64::from(spans.dropped_links(row)));
    if let Some(status) = spans.status(row) {
        w.message(15, |w| {
            w.bytes_or_none(2, status.message.as_bytes());
            w.int_or_none(3, int32(status.code));
        });
    }
    w.fixed32_or_none(16, spans.flags(row));
}

fn log(logs: &Logs, row: usize, w: &mut Writer) {
    w.fixed64_or_none(1, logs.time(row));
    w.int_or_none(2, int32(logs.severity_number(row)));
    w.bytes_or_none(3, logs.severity_text(row).as_bytes());
    logs.body.write_value(row, 5, w);
    logs.attrs.write(row, 6, w);
    w.int_or_none(7, u64::from(logs.dropped_attributes(row)));
    w.fixed32_or_none(8, logs.flags(row));
    w.bytes_or_none(9, logs.trace_id(row));
    w.bytes_or_none(10, logs.span_id(row));
    w.fixed64_or_none(11, logs.observed_time(row));
    w.bytes_or_none(12, logs.event_name(row).as_bytes());
}

fn metric(points: &Points, metric: MetricRef<'_>, rows: &[usize], w: &mut Writer) {
    w.bytes_or_none(1, metric.name().as_bytes());
    w.bytes_or_none(2, metric.description().as_bytes());
    w.bytes_or_none(3, metric.unit().as_bytes());
    let (field, point): (u32, fn(&Points, usize, &mut Writer)) = match metric.kind() {
        PointKind::Gauge => (5, number_point),
        PointKind::Sum => (7, number_point),
        PointKind::Histogram => (9, histogram_point),
        PointKind::ExponentialHistogram => (10, exponential_point),
        PointKind::Summary => (11, summary_point),
    };
    w.message(field, |w| {
        for &row in rows {
            w.message(1, |w| point(points, row, w));
        }
        w.int_or_none(2, int32(metric.temporality()));
        w.int_or_none(3, u64::from(metric.monotonic()));
    });
    points.metrics.metadata.write(metric.index(), 12, w);
}

/// Start and time: fields 2 and 3 of every kind of point.
fn times(points: &Points, row: usize, w: &mut Writer) {
    w.fixed64_or_none(2, points.start_time(row));
    w.fixed64_or_none(3, points.time(row));
}

fn exemplars(points: &Points, row: usize, field: u32, w: &mut Writer) {
    for exemplar in points.exemplars(row) {
        w.message(field, |w| {
            w.fixed64_or_none(2, exemplar.time());
            number(exemplar.value(), 3, 6, w);
            w.bytes_or_none(4, exemplar.span_id());
            w.bytes_or_none(5, exemplar.trace_id());
            points.exemplars.attrs.write(exemplar.at, 7, w);
        });
    }
}

/// A oneof of a double and an sfixed64; members are written even if zero.
fn number(value: Option<Number>, double_field: u32, int_field: u32, w: &mut Writer) {
    match value {
        Some(Number::Double(value)) => w.fixed64(double_field, value.to_bits()),
        Some(Number::Int(value)) => w.fixed64(int_field, value as u64),
        None => {}
    }
}

/// An optional double: written whenever it is there.
fn optional(value: Option<f64>, field: u32, w: &mut Writer) {
    if let Some(value) = value {
        w.fixed64(field, value.to_bits());
    }
}

fn number_point(points: &Points, row: usize, w: &mut Writer) {
    times(points, row, w);
    number(points.number(row), 4, 6, w);
    exemplars(points, row, 5, w);
    points.attrs.write(row, 7, w);
    w.int_or_none(8, u64::from(points.flags(row)));
}

fn histogram_point(points: &Points, row: usize, w: &mut Writer) {
    times(points, row, w);
    w.fixed64_or_none(4, points.count(row));
    optional(points.sum(row), 5, w);
    w.packed64(6, points.bucket_counts(row).iter().copied());
    w.packed64(7, points.explicit_bounds(row).iter().map(|bound| bound.to_bits()));
    exemplars(points, row, 8, w);
    points.attrs.write(row, 9, w);
    w.int_or_none(10, u64::from(points.flags(row)));
    optional(points.min(row), 11, w);
    optional(points.max(row), 12, w);
}

fn exponential_point(points: &Points, row: usize, w: &mut Writer) {
    points.attrs.write(row, 1, w);
    times(points, row, w);
    w.fixed64_or_none(4, points.count(row));
    optional(points.sum(row), 5, w);
    w.int_or_none(6, zigzag32(points.scale(row)));
    w.fixed64_or_none(7, points.zero_count(row));
    buckets(points, row, &points.exponentials.positive, 8, w);
    buckets(points, row, &points.exponentials.negative, 9, w);
    w.int_or_none(10, u64::from(points.flags(row)));
    exemplars(points, row, 11, w);
    optional(points.min(row), 12, w);
    optional(points.max(row), 13, w);
    w.fixed64_or_none(14, points.zero_threshold(row).to_bits());
}

fn buckets(points: &Points, row: usize, side: &Buckets, field: u32, w: &mut Writer) {
    let at = points.place[row] as usize;
    let Some(offset) = side.offset.get(at) else { return };
    let counts = side.counts.get(side.rows.range(at)).unwrap_or_default();
    w.message(field, |w| {
        w.int_or_none(1, zigzag32(offset as i32));
        if !counts.is_empty() {
            w.message(2, |w| counts.iter().for_each(|&count| w.varint(count)));
        }
    });
}

fn summary_point(points: &Points, row: usize, w: &mut Writer) {
    times(points, row, w);
    w.fixed64_or_none(4, points.count(row));
    w.fixed64_or_none(5, points.sum(row).map_or(0, f64::to_bits));
    for (quantile, value) in points.quantiles(row) {
        w.message(6, |w| {
            w.fixed64_or_none(1, quantile.to_bits());
            w.fixed64_or_none(2, value.to_bits());
        });
    }
    points.attrs.write(row, 7, w);
    w.int_or_none(8, u64::from(points.flags(row)));
}
