//! A real OpenTelemetry Collector sends all signals through us and gets them back. What it then writes to its files is, field by field,
//! what it writes of the same requests without us in between.
//!
//! ```text
//! requests ─▶ Collector A ─┬───────────────────────────────────────────────▶ Collector B: control
//!                          └▶ edge ═▶ router ─▶ otlp tiers, one a route ───▶ Collector B: one receiver a route
//! ```
//!
//! A route is a protocol and a compression, used by Collector A into the edge and by the router's tier into Collector B. Each tier has
//! the records of all routes, so each of B's files has to equal the control's. Both went through A and B: what a Collector itself changes
//! is the same on both sides, and nothing else is made equal before the comparison.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it breaks")]

#[path = "collector/programs.rs"]
mod programs;
#[path = "collector/requests.rs"]
mod requests;
#[path = "../../federation-proto/tests/support/mod.rs"]
mod support;

use std::path::Path;

use chaos::stand::layout::{Layout, free_address};
use federation_proto::identity::Signal;
use serde_json::Value;
use tonic::transport::Endpoint;

use programs::{Collector, Federation, Route, SIGNALS, config_a, config_b, file};
use support::records;

/// The records of a file of Collector B: each message has its length before it, as four bytes, big-endian.
fn read(path: &Path, signal: Signal) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut found = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let (message, behind) = behind.split_at(u32::from_be_bytes(*len) as usize);
        found.extend(records::of(signal, message));
        rest = behind;
    }
    assert!(rest.is_empty(), "{}: ends within a message", path.display());
    records::sorted(found)
}

/// Equal as sets of records, each with its resource, scope and metric; else the first of each side that the other has not.
fn compare(what: &str, signal: Signal, found: &[Vec<u8>], expected: &[Vec<u8>]) {
    let only = |these: &[Vec<u8>], those: &[Vec<u8>]| {
        let one = these.iter().find(|record| those.binary_search(record).is_err());
        one.map_or_else(|| "nothing".to_owned(), |record| shown(signal, record))
    };
    if found != expected {
        let (ours, theirs) = (only(found, expected), only(expected, found));
        panic!("{what}: {} records, the control has {}\nonly here: {ours}\nonly in the control: {theirs}", found.len(), expected.len());
    }
}

/// A record is the one of a resource: a request is that behind a key and a length.
fn shown(signal: Signal, record: &[u8]) -> String {
    use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
    use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
    use prost::Message;
    match signal {
        Signal::Traces => format!("{:#?}", ResourceSpans::decode(record).unwrap()),
        Signal::Logs => format!("{:#?}", ResourceLogs::decode(record).unwrap()),
        _ => format!("{:#?}", ResourceMetrics::decode(record).unwrap()),
    }
}

/// Rows of a term over all of a tier's accounts.
fn term(tier: &Value, name: &str) -> u64 {
    tier["tenants"].as_array().unwrap().iter().filter_map(|account| account[name].as_u64()).sum()
}

/// Over both protocols and with each compression, spans, log records and data points with every field that OTLP has come back as they
/// went in; and the ledger of every tier says so.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the Collector built by .ci/setup"]
async fn a_collector_gets_back_what_it_sent() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let (routes, control) = (Route::all(), free_address().unwrap());
    let into_b: Vec<_> = routes.iter().map(|route| route.into_b).chain([control]).collect();
    let b = Collector::start("collector-b", &layout, &config_b(&routes, control, dir.path()), &into_b).await;
    let mut federation = Federation::start(&layout, &routes).await;
    let into_a: Vec<_> = routes.iter().map(|route| route.into_a).collect();
    let a = Collector::start("collector-a", &layout, &config_a(&routes, control, &federation.edge), &into_a).await;

    let mut sent = [Vec::new(), Vec::new(), Vec::new()];
    for (seed, route) in routes.iter().enumerate() {
        let channel = Endpoint::try_from(format!("http://{}", route.into_a)).unwrap().connect().await.unwrap();
        for (all, more) in sent.iter_mut().zip(requests::send(seed as u64 + 1, channel).await) {
            all.extend(more);
        }
    }
    a.stop().await;
    let ledger = federation.drained().await;
    federation.stop().await;
    b.stop().await;

    let rows = sent.iter().map(Vec::len).sum::<usize>() as u64;
    let tiers = ledger["tiers"].as_array().unwrap();
    assert_eq!(tiers.len(), routes.len() + 1);
    for tier in tiers {
        assert_eq!((term(tier, "journalled"), term(tier, "delivered")), (rows, rows), "{tier:#}");
    }
    for ((signal, name), sent) in [Signal::Traces, Signal::Logs, Signal::Metrics].into_iter().zip(SIGNALS).zip(sent) {
        let sent = records::sorted(sent);
        let expected = read(&file(dir.path(), "control", name), signal);
        assert_eq!(expected.len(), sent.len(), "{name}: the control has every record");
        let untouched = sent.iter().filter(|record| expected.binary_search(record).is_ok()).count();
        println!("{name}: {} records, of which a Collector leaves {untouched} as they are", sent.len());
        for route in &routes {
            let route = route.name();
            compare(&format!("{name} by {route}"), signal, &read(&file(dir.path(), &route, name), signal), &expected);
        }
    }
}
