//! What columns say of a row, field by field, is what the row's record holds.
#![allow(clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use federation_proto::codec::Encoder;
use federation_proto::columns::{AttrIter, Columns, Logs, Number, PointKind, Points, ResourceRef, ScopeRef, Spans, Value};
use federation_proto::identity::Signal;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, ResourceMetrics, exemplar, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use support::arbitrary::Nasty;
use support::{decode, encode, records};

/// A value and what prost reads, as comparable bytes.
fn bytes(value: Option<Any>) -> Vec<u8> {
    AnyValue { value }.encode_to_vec()
}

fn same_value(value: Value<'_>, record: Option<&AnyValue>) {
    let found = match value {
        Value::Empty => None,
        Value::Str(text) => Some(Any::StringValue(text.to_owned())),
        Value::Bool(value) => Some(Any::BoolValue(value)),
        Value::Int(value) => Some(Any::IntValue(value)),
        Value::Double(value) => Some(Any::DoubleValue(value)),
        Value::Bytes(value) => Some(Any::BytesValue(value.to_vec())),
        Value::Nested(any) => AnyValue::decode(any.bytes()).expect("valid").value,
    };
    assert_eq!(bytes(found), bytes(record.and_then(|any| any.value.clone())));
}

fn same_attrs(attrs: AttrIter<'_>, record: &[KeyValue]) {
    assert_eq!(attrs.clone().count(), record.len());
    for ((key, value), pair) in attrs.zip(record) {
        assert_eq!(key, pair.key);
        same_value(value, pair.value.as_ref());
    }
}

fn same_resource(resource: ResourceRef<'_>, record: Option<&Resource>, schema_url: &str) {
    assert_eq!((resource.is_present(), resource.schema_url()), (record.is_some(), schema_url));
    let record = record.cloned().unwrap_or_default();
    same_attrs(resource.attrs(), &record.attributes);
    assert_eq!(resource.dropped_attributes(), record.dropped_attributes_count);
    let refs = Resource { entity_refs: record.entity_refs, ..Resource::default() };
    assert_eq!(Resource::decode(resource.entity_refs_wire()).expect("valid"), refs);
}

fn same_scope(scope: ScopeRef<'_>, record: Option<&InstrumentationScope>, schema_url: &str) {
    assert_eq!((scope.is_present(), scope.schema_url()), (record.is_some(), schema_url));
    let record = record.cloned().unwrap_or_default();
    same_attrs(scope.attrs(), &record.attributes);
    assert_eq!((scope.name(), scope.version()), (record.name.as_str(), record.version.as_str()));
    assert_eq!(scope.dropped_attributes(), record.dropped_attributes_count);
}

fn same_span(spans: &Spans, row: usize, record: &Span) {
    assert_eq!(spans.trace_id(row), record.trace_id);
    assert_eq!(spans.span_id(row), record.span_id);
    assert_eq!(spans.parent_span_id(row), record.parent_span_id);
    assert_eq!((spans.name(row), spans.trace_state(row)), (record.name.as_str(), record.trace_state.as_str()));
    assert_eq!((spans.kind(row), spans.flags(row)), (record.kind, record.flags));
    assert_eq!((spans.start_time(row), spans.end_time(row)), (record.start_time_unix_nano, record.end_time_unix_nano));
    let status = spans.status(row).map(|status| (status.code, status.message.to_owned()));
    assert_eq!(status, record.status.clone().map(|status| (status.code, status.message)));
    assert_eq!(spans.dropped_attributes(row), record.dropped_attributes_count);
    assert_eq!(spans.dropped_events(row), record.dropped_events_count);
    assert_eq!(spans.dropped_links(row), record.dropped_links_count);
    same_attrs(spans.attrs(row), &record.attributes);
    if let Some(pair) = record.attributes.first() {
        same_value(spans.attr(row, &pair.key).expect("there"), pair.value.as_ref());
    }
    assert!(spans.attr(row, "no such key").is_none());
    assert_eq!(spans.events(row).len(), record.events.len());
    for (event, record) in spans.events(row).zip(&record.events) {
        assert_eq!((event.time(), event.name()), (record.time_unix_nano, record.name.as_str()));
        assert_eq!(event.dropped_attributes(), record.dropped_attributes_count);
        same_attrs(event.attrs(), &record.attributes);
    }
    assert_eq!(spans.links(row).len(), record.links.len());
    for (link, record) in spans.links(row).zip(&record.links) {
        assert_eq!((link.trace_id(), link.span_id()), (record.trace_id.as_slice(), record.span_id.as_slice()));
        assert_eq!((link.trace_state(), link.flags()), (record.trace_state.as_str(), record.flags));
        assert_eq!(link.dropped_attributes(), record.dropped_attributes_count);
        same_attrs(link.attrs(), &record.attributes);
    }
}

fn same_log(logs: &Logs, row: usize, record: &LogRecord) {
    assert_eq!((logs.time(row), logs.observed_time(row)), (record.time_unix_nano, record.observed_time_unix_nano));
    assert_eq!((logs.severity_number(row), logs.severity_text(row)), (record.severity_number, record.severity_text.as_str()));
    assert_eq!(logs.body(row).is_some(), record.body.is_some());
    if let Some(body) = logs.body(row) {
        same_value(body, record.body.as_ref());
    }
    same_attrs(logs.attrs(row), &record.attributes);
    assert_eq!((logs.dropped_attributes(row), logs.flags(row)), (record.dropped_attributes_count, record.flags));
    assert_eq!((logs.trace_id(row), logs.span_id(row)), (record.trace_id.as_slice(), record.span_id.as_slice()));
    assert_eq!(logs.event_name(row), record.event_name);
}

/// What all kinds of points have.
macro_rules! same_point {
    ($points:expr, $row:expr, $record:expr) => {
        assert_eq!(($points.start_time($row), $points.time($row)), ($record.start_time_unix_nano, $record.time_unix_nano));
        assert_eq!($points.flags($row), $record.flags);
        same_attrs($points.attrs($row), &$record.attributes);
    };
}

/// What both kinds of histograms have.
macro_rules! same_histogram {
    ($points:expr, $row:expr, $record:expr) => {
        same_point!($points, $row, $record);
        assert_eq!($points.count($row), $record.count);
        assert_eq!($points.sum($row).map(f64::to_bits), $record.sum.map(f64::to_bits));
        assert_eq!($points.min($row).map(f64::to_bits), $record.min.map(f64::to_bits));
        assert_eq!($points.max($row).map(f64::to_bits), $record.max.map(f64::to_bits));
        same_exemplars($points, $row, &$record.exemplars);
    };
}

fn same_number(found: Option<Number>, int: Option<i64>, double: Option<f64>) {
    match found {
        None => assert!(int.is_none() && double.is_none()),
        Some(Number::Int(value)) => assert_eq!(Some(value), int),
        Some(Number::Double(value)) => assert_eq!(Some(value.to_bits()), double.map(f64::to_bits)),
    }
}

fn same_exemplars(points: &Points, row: usize, records: &[Exemplar]) {
    assert_eq!(points.exemplars(row).len(), records.len());
    for (found, record) in points.exemplars(row).zip(records) {
        assert_eq!(found.time(), record.time_unix_nano);
        assert_eq!((found.trace_id(), found.span_id()), (record.trace_id.as_slice(), record.span_id.as_slice()));
        same_attrs(found.attrs(), &record.filtered_attributes);
        match record.value {
            None => same_number(found.value(), None, None),
            Some(exemplar::Value::AsInt(value)) => same_number(found.value(), Some(value), None),
            Some(exemplar::Value::AsDouble(value)) => same_number(found.value(), None, Some(value)),
        }
    }
}

fn same_metric(points: &Points, row: usize, record: &Metric) {
    let metric = points.metric(row);
    assert_eq!((metric.name(), metric.description(), metric.unit()), (&*record.name, &*record.description, &*record.unit));
    assert_eq!(metric.kind(), points.kind(row));
    same_attrs(metric.metadata(), &record.metadata);
    let about = (points.kind(row), metric.temporality(), metric.monotonic());
    match record.data.as_ref().expect("a row has data") {
        Data::Gauge(data) => {
            assert_eq!(about, (PointKind::Gauge, 0, false));
            same_number_point(points, row, &data.data_points[0]);
        }
        Data::Sum(data) => {
            assert_eq!(about, (PointKind::Sum, data.aggregation_temporality, data.is_monotonic));
            same_number_point(points, row, &data.data_points[0]);
        }
        Data::Histogram(data) => {
            assert_eq!(about, (PointKind::Histogram, data.aggregation_temporality, false));
            let record = &data.data_points[0];
            same_histogram!(points, row, record);
            assert_eq!(points.bucket_counts(row), record.bucket_counts);
            let bits = |bounds: &[f64]| bounds.iter().map(|bound| bound.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(points.explicit_bounds(row)), bits(&record.explicit_bounds));
        }
        Data::ExponentialHistogram(data) => {
            assert_eq!(about, (PointKind::ExponentialHistogram, data.aggregation_temporality, false));
            let record = &data.data_points[0];
            same_histogram!(points, row, record);
            assert_eq!((points.scale(row), points.zero_count(row)), (record.scale, record.zero_count));
            assert_eq!(points.zero_threshold(row).to_bits(), record.zero_threshold.to_bits());
            for (found, record) in [(points.positive(row), &record.positive), (points.negative(row), &record.negative)] {
                let found = found.map(|buckets| (buckets.offset, buckets.counts.to_vec()));
                assert_eq!(found, record.clone().map(|buckets| (buckets.offset, buckets.bucket_counts)));
            }
        }
        Data::Summary(data) => {
            assert_eq!(about, (PointKind::Summary, 0, false));
            let record = &data.data_points[0];
            same_point!(points, row, record);
            assert_eq!((points.count(row), points.sum(row).map(f64::to_bits)), (record.count, Some(record.sum.to_bits())));
            let found: Vec<_> = points.quantiles(row).map(|(quantile, value)| (quantile.to_bits(), value.to_bits())).collect();
            let record: Vec<_> = record.quantile_values.iter().map(|q| (q.quantile.to_bits(), q.value.to_bits())).collect();
            assert_eq!(found, record);
        }
    }
}

fn same_number_point(points: &Points, row: usize, record: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint) {
    same_point!(points, row, record);
    same_exemplars(points, row, &record.exemplars);
    match record.value {
        None => same_number(points.number(row), None, None),
        Some(number_data_point::Value::AsInt(value)) => same_number(points.number(row), Some(value), None),
        Some(number_data_point::Value::AsDouble(value)) => same_number(points.number(row), None, Some(value)),
    }
}

/// Rows in the order in which `to_otlp` writes their records.
fn exported(rows: usize, key: impl Fn(usize) -> (usize, usize, usize)) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|&row| key(row));
    order
}

/// Every accessor of every signal gives what the record has.
#[test]
fn each_field_of_each_row() {
    let mut encoder = Encoder::new();
    let mut rows = [0; 3];
    for seed in 0..60 {
        for (index, signal) in support::SIGNALS.into_iter().enumerate() {
            let body = Nasty::new(seed, 9).body(signal);
            let columns = decode(signal, &encode(&mut encoder, signal, &[body]));
            rows[index] += columns.rows();
            compare(&columns, &records::of(signal, &columns.to_otlp()));
        }
    }
    assert!(rows.iter().all(|rows| *rows > 100), "there is something to compare: {rows:?}");
}

fn compare(columns: &Columns, records: &[Vec<u8>]) {
    assert_eq!(columns.rows(), records.len());
    match columns {
        Columns::Traces(spans) => {
            let order = exported(spans.len(), |row| (spans.resource(row).index(), spans.scope(row).index(), 0));
            for (row, record) in order.into_iter().zip(records) {
                let record = ResourceSpans::decode(record.as_slice()).expect("valid");
                let scope = &record.scope_spans[0];
                same_resource(spans.resource(row), record.resource.as_ref(), &record.schema_url);
                same_scope(spans.scope(row), scope.scope.as_ref(), &scope.schema_url);
                same_span(spans, row, &scope.spans[0]);
            }
        }
        Columns::Logs(logs) => {
            let order = exported(logs.len(), |row| (logs.resource(row).index(), logs.scope(row).index(), 0));
            for (row, record) in order.into_iter().zip(records) {
                let record = ResourceLogs::decode(record.as_slice()).expect("valid");
                let scope = &record.scope_logs[0];
                same_resource(logs.resource(row), record.resource.as_ref(), &record.schema_url);
                same_scope(logs.scope(row), scope.scope.as_ref(), &scope.schema_url);
                same_log(logs, row, &scope.log_records[0]);
            }
        }
        Columns::Metrics(points) => {
            let key = |row| (points.resource(row).index(), points.scope(row).index(), points.metric(row).index());
            for (row, record) in exported(points.len(), key).into_iter().zip(records) {
                let record = ResourceMetrics::decode(record.as_slice()).expect("valid");
                let scope = &record.scope_metrics[0];
                same_resource(points.resource(row), record.resource.as_ref(), &record.schema_url);
                same_scope(points.scope(row), scope.scope.as_ref(), &scope.schema_url);
                same_metric(points, row, &scope.metrics[0]);
            }
        }
    }
    assert_eq!(columns.signal() == Signal::Traces, matches!(columns, Columns::Traces(_)));
}
