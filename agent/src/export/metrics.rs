//! Connect latencies as delta histograms.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use prost::Message;

use super::attributes::{boolean, cgroup, error_type, integer, peer, text};
use super::{MAX_ROWS, Node, Request, Signal, Window, scope};
use crate::aggregate::{BOUNDS_NS, Delta, Histogram, SeriesKey};
use crate::identity::Cgroups;

/// The metric's name.
const NAME: &str = "tributary.tcp.connect.duration";

/// One data point per series and one for the overflow, in requests of at most [`MAX_ROWS`].
pub fn connect_durations(node: &Node, cgroups: &Cgroups, window: Window, delta: &Delta) -> Vec<Request> {
    let series = delta.series.iter().map(|(key, histogram)| point(window, histogram, series_attributes(key, cgroups)));
    let overflow = delta.overflow.iter().map(|histogram| point(window, histogram, vec![boolean("otel.metric.overflow", true)]));
    let mut points: Vec<_> = series.chain(overflow).collect();
    let mut requests = Vec::with_capacity(points.len().div_ceil(MAX_ROWS));
    while !points.is_empty() {
        let rest = points.split_off(points.len().min(MAX_ROWS));
        requests.push(request(node, points));
        points = rest;
    }
    requests
}

fn request(node: &Node, points: Vec<otlp::HistogramDataPoint>) -> Request {
    let rows = points.len() as u64;
    let metric = otlp::Metric {
        name: NAME.to_owned(),
        description: "Time from connect to its end, for outgoing TCP connections".to_owned(),
        unit: "s".to_owned(),
        data: Some(otlp::metric::Data::Histogram(otlp::Histogram {
            data_points: points,
            aggregation_temporality: otlp::AggregationTemporality::Delta.into(),
        })),
        ..otlp::Metric::default()
    };
    let scope_metrics = otlp::ScopeMetrics { scope: Some(scope("tcp_connect")), metrics: vec![metric], ..Default::default() };
    let resource_metrics =
        otlp::ResourceMetrics { resource: Some(node.resource()), scope_metrics: vec![scope_metrics], ..Default::default() };
    let message = ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] };
    Request { signal: Signal::Metrics, rows, body: Bytes::from(message.encode_to_vec()) }
}

fn point(window: Window, histogram: &Histogram, attributes: Vec<KeyValue>) -> otlp::HistogramDataPoint {
    otlp::HistogramDataPoint {
        attributes,
        start_time_unix_nano: window.start.0,
        time_unix_nano: window.end.0,
        count: histogram.count,
        sum: Some(seconds(histogram.sum_ns)),
        bucket_counts: histogram.buckets.to_vec(),
        explicit_bounds: BOUNDS_NS.map(seconds).to_vec(),
        min: Some(seconds(histogram.min_ns)),
        max: Some(seconds(histogram.max_ns)),
        ..otlp::HistogramDataPoint::default()
    }
}

fn series_attributes(key: &SeriesKey, cgroups: &Cgroups) -> Vec<KeyValue> {
    let mut attributes = vec![integer("process.pid", key.pid), text("process.executable.name", key.comm.to_string())];
    cgroup(&mut attributes, key.cgroup, cgroups);
    peer(&mut attributes, key.remote);
    error_type(&mut attributes, key.outcome);
    attributes
}

/// Nanoseconds as the seconds that OpenTelemetry asks durations in; division by a power of ten rounds best.
#[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are 104 days")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
