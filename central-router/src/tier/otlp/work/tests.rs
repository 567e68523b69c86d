use federation_proto::columns::Columns;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use prost::Message;

use super::*;
use crate::testing::{batch_id, encoded};
use crate::tier::otlp::tests::decoded;

fn config(max_request: u64) -> OtlpConfig {
    let config: OtlpConfig = serde_json::from_value(serde_json::json!({"endpoint": "http://localhost:4317"})).unwrap();
    OtlpConfig { max_request: service::config::ByteSize(max_request), ..config }
}

fn columns(signal: Signal, rows: usize) -> Columns {
    let body = if signal == Signal::Logs {
        let scope = ScopeLogs { log_records: vec![LogRecord { time_unix_nano: 1, ..LogRecord::default() }; rows], ..ScopeLogs::default() };
        ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] }
            .encode_to_vec()
    } else {
        let data = Data::Gauge(Gauge { data_points: vec![NumberDataPoint { time_unix_nano: 1, ..NumberDataPoint::default() }; rows] });
        let scope = ScopeMetrics { metrics: vec![Metric { data: Some(data), ..Metric::default() }], ..ScopeMetrics::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() }] }
            .encode_to_vec()
    };
    let (header, payload) = encoded(batch_id(1, 1), "acme", signal, &body);
    decoded(header, &payload).columns
}

/// A unit of batches: tenant, signal, rows, raw bytes.
fn unit(batches: &[(&str, Signal, usize, u64)]) -> Unit {
    let batch = |(seq, &(tenant, signal, rows, raw_bytes)): (usize, &(&str, Signal, usize, u64))| UnitBatch {
        seq: seq as u64,
        tenant: crate::testing::tenant(tenant),
        signal,
        raw_bytes,
        columns: columns(signal, rows),
    };
    Unit { journal: [1; 16], range: 0..=batches.len() as u64, batches: batches.iter().enumerate().map(batch).collect() }
}

fn parts_of(work: &mut Work) -> Vec<Vec<(usize, Range<usize>)>> {
    std::iter::from_fn(|| work.next()).map(|(_, piece)| piece.parts).collect()
}

fn taken() -> Answer {
    Answer::Taken { rejected: 0, message: String::new() }
}

fn later(after: u64) -> Answer {
    Answer::Later { after: Duration::from_secs(after), denied: false, why: "down".to_owned() }
}

fn terms(work: &Work, signal: Signal) -> federation_proto::ledger::TierTerms {
    let outcome = work.result().unwrap();
    outcome.iter().find(|(_, of, _)| *of == signal).unwrap().2.clone()
}

/// Small batches of one tenant and signal go together, up to the size of a request; a large one goes in parts; other tenants, other
/// signals go by themselves.
#[test]
fn requests_are_about_as_large_as_they_may_be() {
    let unit = unit(&[
        ("a", Signal::Logs, 2, 40),
        ("b", Signal::Logs, 2, 40),
        ("a", Signal::Logs, 3, 50),
        ("a", Signal::Logs, 5, 250),
        ("a", Signal::Metrics, 1, 1),
    ]);
    let mut work = Work::new(&unit, &config(100));
    assert_eq!(
        parts_of(&mut work),
        [vec![(0, 0..2), (2, 0..3)], vec![(1, 0..2)], vec![(3, 0..2)], vec![(3, 2..4)], vec![(3, 4..5)], vec![(4, 0..1)]]
    );
}

/// Halves have every row once, down to single rows, across the batches of a piece.
#[test]
fn halves_are_the_whole() {
    let piece = Piece { tenant: crate::testing::tenant("a"), signal: Signal::Logs, parts: vec![(0, 0..2), (1, 5..6), (2, 0..4)] };
    let [first, second] = piece.clone().halves().unwrap();
    assert_eq!((first.parts, second.parts), (vec![(0, 0..2), (1, 5..6)], vec![(2, 0..4)]));
    let (mut pieces, mut rows) = (vec![piece], Vec::new());
    while let Some(piece) = pieces.pop() {
        match piece.clone().halves() {
            Some(halves) => pieces.extend(halves),
            None => rows.extend(piece.parts),
        }
    }
    rows.sort_by_key(|(batch, rows)| (*batch, rows.start));
    assert_eq!(rows, [(0, 0..1), (0, 1..2), (1, 5..6), (2, 0..1), (2, 1..2), (2, 2..3), (2, 3..4)]);
}

/// Points of a tenant never overtake one another, also when one is cut or has to wait; logs and other tenants' points go on meanwhile.
#[test]
fn points_keep_their_order() {
    let unit = unit(&[
        ("a", Signal::Metrics, 2, 100),
        ("a", Signal::Metrics, 2, 100),
        ("b", Signal::Metrics, 1, 100),
        ("a", Signal::Logs, 1, 100),
    ]);
    let mut work = Work::new(&unit, &config(100));
    let (first, piece) = work.next().unwrap();
    assert_eq!(piece.parts, [(0, 0..2)]);
    assert_eq!(parts_of(&mut work), [vec![(2, 0..1)], vec![(3, 0..1)]], "the second of a waits");
    work.settle(first, Answer::Smaller { why: String::new() });
    let (half, piece) = work.next().unwrap();
    assert_eq!(piece.parts, [(0, 0..1)]);
    work.settle(half, later(1));
    assert_eq!(work.next(), None, "the tier pauses");
    work.resume();
    let mut order = Vec::new();
    while let Some((id, piece)) = work.next() {
        order.push(piece.parts);
        work.settle(id, taken());
    }
    order.retain(|parts| parts[0].0 < 2);
    assert_eq!(order, [vec![(0, 0..1)], vec![(0, 1..2)], vec![(1, 0..2)]]);
}

/// A pause is the longest that was asked for; after it, and after a try that was given up, only what was not confirmed is sent again.
#[test]
fn what_is_confirmed_is_not_sent_again() {
    let unit = unit(&[("a", Signal::Logs, 1, 100), ("b", Signal::Logs, 1, 100), ("c", Signal::Logs, 1, 100), ("d", Signal::Logs, 1, 100)]);
    let mut work = Work::new(&unit, &config(100));
    let ids: Vec<u64> = std::iter::from_fn(|| work.next()).map(|(id, _)| id).collect();
    work.settle(ids[0], later(2));
    work.settle(ids[1], taken());
    work.settle(ids[2], later(1));
    // The fourth is not answered at all.
    assert_eq!(work.result().unwrap_err(), Write::Retry { after: Duration::from_secs(2), why: "down".to_owned() });
    work.resume();
    let again: Vec<(u64, Piece)> = std::iter::from_fn(|| work.next()).collect();
    let mut tenants: Vec<&str> = again.iter().map(|(_, piece)| piece.tenant.as_str()).collect();
    tenants.sort_unstable();
    assert_eq!(tenants, ["a", "c", "d"]);
    for (id, _) in again {
        work.settle(id, taken());
    }
    assert_eq!(work.result().unwrap().iter().map(|(_, _, terms)| terms.delivered).collect::<Vec<_>>(), [1, 1, 1, 1]);
}

/// Every row is delivered, rejected with its reason, or not routed, whatever a destination claims to have rejected.
#[test]
fn every_row_has_its_term() {
    let unit =
        unit(&[("a", Signal::Logs, 4, 100), ("a", Signal::Logs, 4, 100), ("a", Signal::Logs, 4, 100), ("a", Signal::Metrics, 3, 100)]);
    let only_logs = OtlpConfig { signals: [Signal::Logs].into(), ..config(100) };
    let mut work = Work::new(&unit, &only_logs);
    let answers = [
        Answer::Taken { rejected: 1, message: String::new() },
        Answer::Taken { rejected: u64::MAX, message: String::new() },
        Answer::Refused { reason: Reason::Refused, why: String::new() },
    ];
    for answer in answers {
        let (id, _) = work.next().unwrap();
        work.settle(id, answer);
    }
    let logs = terms(&work, Signal::Logs);
    assert_eq!((logs.delivered, logs.rejected[&Reason::PartlyRefused], logs.rejected[&Reason::Refused]), (3, 5, 4));
    assert_eq!(terms(&work, Signal::Metrics).not_routed, 3);
}
