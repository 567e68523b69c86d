//! What is measured and verified rests on rendered requests being OTLP, with the ids that are logged.

use std::collections::HashSet;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::super::SignalChoice;
use super::super::supply::Supply;
use super::*;
use crate::telemetry::RecordId;

const MADE: u64 = 1_800_000_000_000_000_000;
const LATER: u64 = MADE + 3_600_000_000_000;

fn spans(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

/// Every span has the id that is logged, a parent that came before it in its trace or none, and times of now; all else is the template's.
#[test]
fn spans_keep_their_trees_under_new_ids() {
    let supply = Supply::new(3, SignalChoice::Traces, 500, MADE);
    let mut seen = HashSet::new();
    for _ in 0..70 {
        let request = supply.next(LATER, 5);
        let spans = spans(&request.body[5..]);
        let logged: Vec<_> = request.ids.iter().collect();
        assert_eq!((spans.len(), logged.len()), (500, 500));
        let mut before: HashSet<(Vec<u8>, Vec<u8>)> = HashSet::new();
        for (span, id) in spans.iter().zip(logged) {
            assert_eq!(RecordId::Span(span.span_id.as_slice().try_into().unwrap()), id);
            assert!(seen.insert(id), "{id:?} came twice");
            let parent = (span.trace_id.clone(), span.parent_span_id.clone());
            assert!(span.parent_span_id.is_empty() || before.contains(&parent), "a parent out of its trace");
            before.insert((span.trace_id.clone(), span.span_id.clone()));
            assert!(span.start_time_unix_nano > LATER - 2_000_000_000 && span.start_time_unix_nano < LATER);
            assert!(span.end_time_unix_nano > span.start_time_unix_nano);
            assert_eq!(span.attributes.len(), 12);
            let in_span = |time| (span.start_time_unix_nano..=span.end_time_unix_nano).contains(&time);
            assert!(span.events.iter().all(|event| in_span(event.time_unix_nano)));
        }
    }
}

/// A request is its template in all but ids and times.
#[test]
fn only_ids_and_times_change() {
    let mut generator = Generator::new(1, 1, "eu-central-1");
    let template = Template::make(&mut generator, Signal::Traces, 50, MADE);
    let stamp = Stamp { first_row: 0, first_point: 0, now_unix_nano: LATER };
    let rendered = template.render(&Ids::new(9), &stamp, 0);
    let blank = |body: &[u8]| {
        let mut spans = spans(body);
        for span in &mut spans {
            *span = Span {
                trace_id: Vec::new(),
                span_id: Vec::new(),
                parent_span_id: Vec::new(),
                start_time_unix_nano: 0,
                end_time_unix_nano: span.end_time_unix_nano - span.start_time_unix_nano,
                events: Vec::new(),
                ..span.clone()
            };
        }
        spans
    };
    assert_eq!(blank(&rendered), blank(&template.body));
    assert_ne!(rendered, template.body);
}

/// Log records and data points have the ids that are logged, and no id comes twice.
#[test]
fn logs_and_points_have_the_logged_ids() {
    let supply = Supply::new(5, SignalChoice::Mixed, 100, MADE);
    let mut seen = HashSet::new();
    let mut signals = HashSet::new();
    for _ in 0..21 {
        // The clock stands still: points must differ all the same.
        let request = supply.next(LATER, 0);
        let ids: Vec<RecordId> = match request.signal {
            Signal::Logs => {
                let decoded = ExportLogsServiceRequest::decode(request.body.as_slice()).unwrap();
                let records = decoded.resource_logs.into_iter().flat_map(|r| r.scope_logs).flat_map(|s| s.log_records);
                records.map(|record| RecordId::Span(record.span_id.try_into().unwrap())).collect()
            }
            Signal::Metrics => points(&request.body),
            _ => spans(&request.body).into_iter().map(|span| RecordId::Span(span.span_id.try_into().unwrap())).collect(),
        };
        assert_eq!(ids, request.ids.iter().collect::<Vec<_>>());
        assert!(ids.into_iter().all(|id| seen.insert((request.signal, id))), "an id came twice");
        signals.insert(request.signal);
    }
    assert_eq!((signals.len(), seen.len()), (3, 2100));
}

fn points(body: &[u8]) -> Vec<RecordId> {
    let decoded = ExportMetricsServiceRequest::decode(body).unwrap();
    let mut ids = Vec::new();
    for resource in decoded.resource_metrics {
        let attributes = resource.resource.unwrap().attributes;
        let sender = attributes.into_iter().find(|a| a.key == "service.instance.id").unwrap().value.unwrap().value.unwrap();
        let opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(sender) = sender else { panic!("no text") };
        let sender: u32 = sender.parse().unwrap();
        for metric in resource.scope_metrics.into_iter().flat_map(|s| s.metrics) {
            let times: Vec<u64> = match metric.data.unwrap() {
                Data::Gauge(data) => data.data_points.iter().map(|p| p.time_unix_nano).collect(),
                Data::Sum(data) => data.data_points.iter().map(|p| p.time_unix_nano).collect(),
                Data::Histogram(data) => data.data_points.iter().map(|p| p.time_unix_nano).collect(),
                Data::ExponentialHistogram(data) => data.data_points.iter().map(|p| p.time_unix_nano).collect(),
                Data::Summary(data) => data.data_points.iter().map(|p| p.time_unix_nano).collect(),
            };
            ids.extend(times.into_iter().map(|time_unix_nano| RecordId::Point { sender, time_unix_nano }));
        }
    }
    ids
}
