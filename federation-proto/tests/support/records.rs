//! Requests as sets of records: each record alone with its resource, scope and metric, as the bytes prost writes for that.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

use federation_proto::identity::Signal;
use prost::Message;

/// The records of a body, in the order of their rows.
pub fn of(signal: Signal, body: &[u8]) -> Vec<Vec<u8>> {
    match signal {
        Signal::Traces => traces(&ExportTraceServiceRequest::decode(body).expect("valid")),
        Signal::Logs => logs(&ExportLogsServiceRequest::decode(body).expect("valid")),
        _ => metrics(&ExportMetricsServiceRequest::decode(body).expect("valid")),
    }
}

/// The same, as a set.
pub fn sorted(mut records: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    records.sort();
    records
}

fn traces(request: &ExportTraceServiceRequest) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for of_resource in &request.resource_spans {
        for of_scope in &of_resource.scope_spans {
            for span in &of_scope.spans {
                let scope =
                    ScopeSpans { scope: of_scope.scope.clone(), spans: vec![span.clone()], schema_url: of_scope.schema_url.clone() };
                let alone = ResourceSpans {
                    resource: of_resource.resource.clone(),
                    scope_spans: vec![scope],
                    schema_url: of_resource.schema_url.clone(),
                };
                out.push(alone.encode_to_vec());
            }
        }
    }
    out
}

fn logs(request: &ExportLogsServiceRequest) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for of_resource in &request.resource_logs {
        for of_scope in &of_resource.scope_logs {
            for log in &of_scope.log_records {
                let scope =
                    ScopeLogs { scope: of_scope.scope.clone(), log_records: vec![log.clone()], schema_url: of_scope.schema_url.clone() };
                let alone = ResourceLogs {
                    resource: of_resource.resource.clone(),
                    scope_logs: vec![scope],
                    schema_url: of_resource.schema_url.clone(),
                };
                out.push(alone.encode_to_vec());
            }
        }
    }
    out
}

fn metrics(request: &ExportMetricsServiceRequest) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for of_resource in &request.resource_metrics {
        for of_scope in &of_resource.scope_metrics {
            for metric in of_scope.metrics.iter().flat_map(points) {
                let scope = ScopeMetrics { scope: of_scope.scope.clone(), metrics: vec![metric], schema_url: of_scope.schema_url.clone() };
                let alone = ResourceMetrics {
                    resource: of_resource.resource.clone(),
                    scope_metrics: vec![scope],
                    schema_url: of_resource.schema_url.clone(),
                };
                out.push(alone.encode_to_vec());
            }
        }
    }
    out
}

/// The metric once per point.
fn points(metric: &Metric) -> Vec<Metric> {
    macro_rules! split {
        ($kind:ident, $data:expr) => {
            $data
                .data_points
                .iter()
                .map(|point| {
                    let mut data = $data.clone();
                    data.data_points = vec![point.clone()];
                    Metric { data: Some(Data::$kind(data)), ..metric.clone() }
                })
                .collect()
        };
    }
    match &metric.data {
        None => Vec::new(),
        Some(Data::Gauge(data)) => split!(Gauge, data),
        Some(Data::Sum(data)) => split!(Sum, data),
        Some(Data::Histogram(data)) => split!(Histogram, data),
        Some(Data::ExponentialHistogram(data)) => split!(ExponentialHistogram, data),
        Some(Data::Summary(data)) => split!(Summary, data),
    }
}
