//! What is sent: a shop's telemetry, and requests with every field that OTLP has, but for what a Collector does not take at all.

use federation_proto::identity::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::metrics::v1::Exemplar;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use tonic::transport::Channel;

use super::support::arbitrary::Nasty;
use super::support::realistic::Shop;
use super::support::records;

/// Arbitrary requests of each signal by one route, and how large they get.
const ARBITRARY: u64 = 40;
const SIZE: usize = 8;
/// Rows of the realistic request of a route, and of the first route's: more than 4 MiB, which no receiver takes by default.
const ROWS: usize = 300;
const MANY_ROWS: usize = 9_000;

/// Sends requests of all signals to a Collector, which must take every one; gives the records sent, by signal. Seeds count from 1.
pub(crate) async fn send(seed: u64, channel: Channel) -> [Vec<Vec<u8>>; 3] {
    let mut traces = TraceServiceClient::new(channel.clone());
    let mut logs = LogsServiceClient::new(channel.clone());
    let mut metrics = MetricsServiceClient::new(channel);
    let mut shop = Shop::new(seed);
    let mut sent = [Vec::new(), Vec::new(), Vec::new()];
    let rows = if seed == 1 { MANY_ROWS } else { ROWS };
    for at in 0..=ARBITRARY {
        let mut nasty = Nasty::new(seed << 32 | at, SIZE);
        let (mut spans, mut records, mut points) = match at {
            0..ARBITRARY => (nasty.traces(), nasty.logs(), nasty.metrics()),
            _ => (shop.traces(rows), shop.logs(rows), shop.metrics()),
        };
        valid_spans(&mut spans);
        valid_logs(&mut records);
        valid_points(&mut points);
        sent[0].extend(records::of(Signal::Traces, &spans.encode_to_vec()));
        sent[1].extend(records::of(Signal::Logs, &records.encode_to_vec()));
        sent[2].extend(records::of(Signal::Metrics, &points.encode_to_vec()));
        traces.export(spans).await.unwrap();
        logs.export(records).await.unwrap();
        metrics.export(points).await.unwrap();
    }
    sent
}

/// A Collector refuses a request with an id of another length.
fn id(id: &mut Vec<u8>, len: usize) {
    if !id.is_empty() {
        id.resize(len, 1);
    }
}

fn valid_spans(request: &mut ExportTraceServiceRequest) {
    for span in request.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans).flat_map(|of| &mut of.spans) {
        id(&mut span.trace_id, 16);
        id(&mut span.span_id, 8);
        id(&mut span.parent_span_id, 8);
        for link in &mut span.links {
            id(&mut link.trace_id, 16);
            id(&mut link.span_id, 8);
        }
    }
}

fn valid_logs(request: &mut ExportLogsServiceRequest) {
    for log in request.resource_logs.iter_mut().flat_map(|of| &mut of.scope_logs).flat_map(|of| &mut of.log_records) {
        id(&mut log.trace_id, 16);
        id(&mut log.span_id, 8);
    }
}

fn valid_points(request: &mut ExportMetricsServiceRequest) {
    for metric in request.resource_metrics.iter_mut().flat_map(|of| &mut of.scope_metrics).flat_map(|of| &mut of.metrics) {
        let exemplars: Vec<&mut Exemplar> = match &mut metric.data {
            Some(Data::Gauge(data)) => data.data_points.iter_mut().flat_map(|point| &mut point.exemplars).collect(),
            Some(Data::Sum(data)) => data.data_points.iter_mut().flat_map(|point| &mut point.exemplars).collect(),
            Some(Data::Histogram(data)) => data.data_points.iter_mut().flat_map(|point| &mut point.exemplars).collect(),
            Some(Data::ExponentialHistogram(data)) => data.data_points.iter_mut().flat_map(|point| &mut point.exemplars).collect(),
            Some(Data::Summary(_)) | None => Vec::new(),
        };
        for exemplar in exemplars {
            id(&mut exemplar.trace_id, 16);
            id(&mut exemplar.span_id, 8);
        }
    }
}
