//! Every column of every table, from an OTLP request to Parquet and back.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, TimestampNanosecondType, UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use bytes::Bytes;
use federation_proto::codec::{DecodeLimits, Decoder};
use federation_proto::identity::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric::Data,
    number_data_point, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::ZstdLevel;
use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::testing::{batch_id, encoded};
use crate::tier::Unit;
use crate::tier::local::disk::{Disk, SimDisk};
use crate::tier::local::partition::partition;
use crate::tier::local::writer;

fn any(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: any(value), ..KeyValue::default() }
}

fn string(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: vec![string("service.name", "shop"), attribute("n", Any::IntValue(7))], ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    let attributes = vec![attribute("on", Any::BoolValue(true))];
    Some(InstrumentationScope { name: "lib".to_owned(), version: "1.2".to_owned(), attributes, dropped_attributes_count: 3 })
}

/// A request's rows by table, as JSON objects of their columns, after a round trip through a Parquet file.
fn tables(signal: Signal, body: &[u8]) -> BTreeMap<&'static str, Vec<Value>> {
    let (header, payload) = encoded(batch_id(1, 1), "acme", signal, body);
    let columns = Decoder::decode(signal, header.encoding, &payload, &DecodeLimits::default()).unwrap();
    let batch = UnitBatch { seq: 1, tenant: header.tenant, signal, raw_bytes: header.raw_bytes, columns };
    let unit = Unit { journal: [0; 16], range: 1..=1, batches: vec![batch] };
    let mut found: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    for (partition, rows) in partition(&unit) {
        let disk = SimDisk::default();
        writer::write(disk.create("f".as_ref()).unwrap(), partition.table, &rows, &unit.batches, ZstdLevel::default()).unwrap();
        let content = Bytes::from(disk.files().remove(std::path::Path::new("f")).unwrap());
        for batch in ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let schema = batch.schema();
            for row in 0..batch.num_rows() {
                let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| (field.name().clone(), cell(column, row)));
                found.entry(partition.table.name()).or_default().push(Value::Object(columns.collect()));
            }
        }
    }
    found
}

fn cell(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::UInt8 => json!(column.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt32 => json!(column.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => json!(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
        DataType::Float64 => json!(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Timestamp(_, zone) => {
            assert_eq!(zone.as_deref(), Some("UTC"));
            json!(column.as_primitive::<TimestampNanosecondType>().value(row))
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            Value::Array((0..items.len()).map(|at| cell(&items, at)).collect())
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            Value::Array((0..entries.len()).map(|at| json!([cell(entries.column(0), at), cell(entries.column(1), at)])).collect())
        }
        other => panic!("{other}"),
    }
}

/// A span with every field set is in the table with every column set; one with none is there with empty columns.
#[test]
fn traces() {
    let full = Span {
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        parent_span_id: vec![0xff; 8],
        trace_state: "k=v".to_owned(),
        name: "GET /".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 1_250,
        attributes: vec![
            string("a", "x"),
            string("a", "y"),
            attribute("list", Any::ArrayValue(ArrayValue { values: vec![any(Any::IntValue(1)).unwrap()] })),
            attribute("d", Any::DoubleValue(0.5)),
        ],
        events: vec![Event {
            time_unix_nano: 1_100,
            name: "e".to_owned(),
            attributes: vec![string("ea", "1")],
            dropped_attributes_count: 0,
        }],
        links: vec![Link {
            trace_id: vec![2; 16],
            span_id: vec![3; 8],
            trace_state: "l=1".to_owned(),
            attributes: vec![string("la", "2")],
            ..Link::default()
        }],
        status: Some(Status { code: 2, message: "bad".to_owned() }),
        ..Span::default()
    };
    let odd = Span { start_time_unix_nano: 2_000, end_time_unix_nano: 1_000, kind: 77, ..Span::default() };
    let spans = ScopeSpans { scope: scope(), spans: vec![full, odd], ..ScopeSpans::default() };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: resource(), scope_spans: vec![spans], ..ResourceSpans::default() }],
    };
    let found = tables(Signal::Traces, &request.encode_to_vec());
    let resource = json!([["service.name", "shop"], ["n", "7"]]);
    let expected = json!([
        {
            "Timestamp": 1_000, "TraceId": "0102030405060708090a0b0c0d0e0f10", "SpanId": "0102030405060708", "ParentSpanId": "ffffffffffffffff",
            "TraceState": "k=v", "SpanName": "GET /", "SpanKind": "Server", "ServiceName": "shop", "ResourceAttributes": resource,
            "ScopeName": "lib", "ScopeVersion": "1.2", "SpanAttributes": [["a", "x"], ["a", "y"], ["list", "[1]"], ["d", "0.5"]],
            "Duration": 250, "StatusCode": "Error", "StatusMessage": "bad",
            "Events.Timestamp": [1_100], "Events.Name": ["e"], "Events.Attributes": [[["ea", "1"]]],
            "Links.TraceId": ["02020202020202020202020202020202"], "Links.SpanId": ["0303030303030303"], "Links.TraceState": ["l=1"],
            "Links.Attributes": [[["la", "2"]]],
        },
        {
            "Timestamp": 2_000, "TraceId": "", "SpanId": "", "ParentSpanId": "", "TraceState": "", "SpanName": "", "SpanKind": "77",
            "ServiceName": "shop", "ResourceAttributes": resource, "ScopeName": "lib", "ScopeVersion": "1.2", "SpanAttributes": [],
            "Duration": 0, "StatusCode": "Unset", "StatusMessage": "",
            "Events.Timestamp": [], "Events.Name": [], "Events.Attributes": [],
            "Links.TraceId": [], "Links.SpanId": [], "Links.TraceState": [], "Links.Attributes": [],
        },
    ]);
    assert_eq!(json!(found["otel_traces"]), expected);
}

/// A log record with every field set, and one whose only time is when it was seen, beyond what the type holds.
#[test]
fn logs() {
    let full = LogRecord {
        time_unix_nano: 5,
        observed_time_unix_nano: 6,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: any(Any::BytesValue(vec![1, 2, 3])),
        attributes: vec![string("k", "v")],
        flags: 0x101,
        trace_id: vec![9; 16],
        span_id: vec![8; 8],
        event_name: "ev".to_owned(),
        ..LogRecord::default()
    };
    let seen = LogRecord { observed_time_unix_nano: u64::MAX, severity_number: -4, ..LogRecord::default() };
    let logs = ScopeLogs { scope: scope(), log_records: vec![full, seen], schema_url: "s2".to_owned() };
    let resource_logs = ResourceLogs { resource: resource(), scope_logs: vec![logs], schema_url: "s1".to_owned() };
    let found = tables(Signal::Logs, &ExportLogsServiceRequest { resource_logs: vec![resource_logs] }.encode_to_vec());
    let resource = json!([["service.name", "shop"], ["n", "7"]]);
    let mut expected = json!([
        {
            "Timestamp": 5, "TraceId": "09".repeat(16), "SpanId": "08".repeat(8), "TraceFlags": 1, "SeverityText": "ERROR", "SeverityNumber": 17,
            "ServiceName": "shop", "Body": "AQID", "ResourceSchemaUrl": "s1", "ResourceAttributes": resource, "ScopeSchemaUrl": "s2",
            "ScopeName": "lib", "ScopeVersion": "1.2", "ScopeAttributes": [["on", "true"]], "LogAttributes": [["k", "v"]], "EventName": "ev",
        },
        {
            "Timestamp": i64::MAX, "TraceId": "", "SpanId": "", "TraceFlags": 0, "SeverityText": "", "SeverityNumber": 0,
            "ServiceName": "shop", "Body": "", "ResourceSchemaUrl": "s1", "ResourceAttributes": resource, "ScopeSchemaUrl": "s2",
            "ScopeName": "lib", "ScopeVersion": "1.2", "ScopeAttributes": [["on", "true"]], "LogAttributes": [], "EventName": "",
        },
    ]);
    sort_by(&mut expected, "Timestamp");
    let mut found = json!(found["otel_logs"]);
    sort_by(&mut found, "Timestamp");
    assert_eq!(found, expected);
}

fn sort_by(rows: &mut Value, key: &str) {
    rows.as_array_mut().unwrap().sort_by_key(|row| row[key].as_i64());
}

fn exemplars() -> Vec<Exemplar> {
    let value = Some(exemplar::Value::AsInt(4));
    vec![Exemplar { filtered_attributes: vec![string("f", "1")], time_unix_nano: 9, span_id: vec![1; 8], trace_id: vec![2; 16], value }]
}

/// What all points have, as the table shows it, and what this one has of its own.
fn point(name: &str, own: Value) -> Value {
    let mut row = json!({
        "ResourceAttributes": [["service.name", "shop"], ["n", "7"]], "ResourceSchemaUrl": "s1", "ScopeName": "lib", "ScopeVersion": "1.2",
        "ScopeAttributes": [["on", "true"]], "ScopeDroppedAttrCount": 3, "ScopeSchemaUrl": "s2", "ServiceName": "shop", "MetricName": name,
        "MetricDescription": "d", "MetricUnit": "s", "Attributes": [["p", "q"]], "StartTimeUnix": 1, "TimeUnix": 2, "Flags": 1,
    });
    row.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    row
}

fn with_exemplars(mut row: Value) -> Value {
    let exemplars = json!({
        "Exemplars.FilteredAttributes": [[["f", "1"]]], "Exemplars.TimeUnix": [9], "Exemplars.Value": [4.0],
        "Exemplars.SpanId": ["01".repeat(8)], "Exemplars.TraceId": ["02".repeat(16)],
    });
    row.as_object_mut().unwrap().extend(exemplars.as_object().unwrap().clone());
    row
}

fn metrics_request() -> ExportMetricsServiceRequest {
    let attributes = || vec![string("p", "q")];
    let number = |value| NumberDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        exemplars: exemplars(),
        flags: 1,
        value,
    };
    let histogram = HistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 3,
        sum: Some(1.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        exemplars: exemplars(),
        flags: 1,
        min: Some(0.1),
        max: None,
    };
    let exponential = ExponentialHistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 3,
        sum: None,
        scale: -2,
        zero_count: 1,
        positive: Some(Buckets { offset: -3, bucket_counts: vec![4, 5] }),
        negative: None,
        flags: 1,
        exemplars: exemplars(),
        min: None,
        max: Some(7.0),
        zero_threshold: 0.0,
    };
    let quantile_values = vec![ValueAtQuantile { quantile: 0.5, value: 10.0 }, ValueAtQuantile { quantile: 0.9, value: 20.0 }];
    let summary = SummaryDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 3,
        sum: 4.5,
        quantile_values,
        flags: 1,
    };
    let as_double = |value| Some(number_data_point::Value::AsDouble(value));
    let metrics = [
        ("g", Data::Gauge(Gauge { data_points: vec![number(as_double(0.25))] })),
        ("none", Data::Gauge(Gauge { data_points: vec![number(None)] })),
        (
            "s",
            Data::Sum(Sum {
                data_points: vec![number(Some(number_data_point::Value::AsInt(-5)))],
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
        ),
        ("h", Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 })),
        ("x", Data::ExponentialHistogram(ExponentialHistogram { data_points: vec![exponential], aggregation_temporality: 1 })),
        ("q", Data::Summary(Summary { data_points: vec![summary] })),
    ];
    let metric = |(name, data): (&str, Data)| Metric {
        name: name.to_owned(),
        description: "d".to_owned(),
        unit: "s".to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let scope_metrics = ScopeMetrics { scope: scope(), metrics: metrics.into_iter().map(metric).collect(), schema_url: "s2".to_owned() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource: resource(), scope_metrics: vec![scope_metrics], schema_url: "s1".to_owned() }],
    }
}

/// A point of each kind is in the table of its kind with every column; absent numbers are null, not zero.
#[test]
fn metrics() {
    let mut found = tables(Signal::Metrics, &metrics_request().encode_to_vec());
    let gauges = found.get_mut("otel_metrics_gauge").unwrap();
    gauges.sort_by_key(|row| row["MetricName"].to_string());
    let expected = json!({
        "otel_metrics_gauge": [with_exemplars(point("g", json!({"Value": 0.25}))), with_exemplars(point("none", json!({"Value": null})))],
        "otel_metrics_sum": [with_exemplars(point("s", json!({"Value": -5.0, "AggregationTemporality": 2, "IsMonotonic": true})))],
        "otel_metrics_histogram": [with_exemplars(point("h", json!({
            "Count": 3, "Sum": 1.5, "BucketCounts": [1, 2], "ExplicitBounds": [0.5], "Min": 0.1, "Max": null, "AggregationTemporality": 1,
        })))],
        "otel_metrics_exponential_histogram": [with_exemplars(point("x", json!({
            "Count": 3, "Sum": null, "Scale": -2, "ZeroCount": 1, "PositiveOffset": -3, "PositiveBucketCounts": [4, 5], "NegativeOffset": 0,
            "NegativeBucketCounts": [], "Min": null, "Max": 7.0, "AggregationTemporality": 1,
        })))],
        "otel_metrics_summary": [point("q", json!({
            "Count": 3, "Sum": 4.5, "ValueAtQuantiles.Quantile": [0.5, 0.9], "ValueAtQuantiles.Value": [10.0, 20.0],
        }))],
    });
    assert_eq!(json!(found), expected);
}

/// A file's schema does not depend on its rows: an empty table has the columns of a full one.
#[test]
fn the_schema_does_not_depend_on_the_rows() {
    let (header, payload) = encoded(batch_id(1, 1), "acme", Signal::Metrics, &metrics_request().encode_to_vec());
    let columns = Decoder::decode(Signal::Metrics, header.encoding, &payload, &DecodeLimits::default()).unwrap();
    let unit = Unit {
        journal: [0; 16],
        range: 1..=1,
        batches: vec![UnitBatch { seq: 1, tenant: header.tenant, signal: Signal::Metrics, raw_bytes: header.raw_bytes, columns }],
    };
    for (partition, rows) in partition(&unit) {
        let full = build(partition.table, &rows, &unit.batches).unwrap();
        let empty = build(partition.table, &[], &[]).unwrap();
        assert_eq!(full.schema(), empty.schema(), "{:?}", partition.table);
    }
}
