//! Tails over a journal in memory: who sees what, and what a reader that stalls costs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use federation_proto::header::BatchHeader;
use federation_proto::identity::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use segment_log::{MemoryIndex, SimStore};
use serde_json::{Value, json};
use service::operator::Secret;
use service::shutdown::Shutdown;
use tokio_stream::StreamExt;

use super::endpoint::answer;
use super::*;
use crate::journal::{Journal, JournalOptions};
use crate::sql::tokens::{RawToken, Tokens};
use crate::testing::{batch_id, encoded, tenant};

const PATIENCE: Duration = Duration::from_secs(60);
/// SHA-256 of `secret` and of `other`.
const ACME: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const BETA: &str = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";

struct Site {
    journal: Journal,
    desk: Arc<Desk>,
    shutdown: Shutdown,
}

fn site() -> Site {
    let options = JournalOptions { budget: 256 << 20, segment: 4 << 20, max_batch: 1 << 20, queue: 16 << 20 };
    let (journal, _) = Journal::on_store(Arc::new(SimStore::new(1)), Box::new(MemoryIndex::new()), &options, &["t".to_owned()]).unwrap();
    let token = |of: &str, sha256: &str| RawToken { tenant: tenant(of), sha256: sha256.to_owned() };
    let tokens = Tokens::check(&[token("acme", ACME), token("beta", BETA)]).unwrap();
    let shutdown = Shutdown::new();
    let desk = Arc::new(Desk::new(journal.clone(), tokens, Some(Secret::of("operator")), shutdown.clone()));
    Site { journal, desk, shutdown }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// Log records of service `cart`, one for each of `bodies`, with the body as attribute `n` too.
fn logs(bodies: &[&str]) -> Vec<u8> {
    let record = |body: &&str| LogRecord {
        time_unix_nano: 1_795_359_661_000_000_007,
        severity_number: 17,
        body: text("", body).value,
        attributes: vec![text("n", body)],
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: bodies.iter().map(record).collect(), ..ScopeLogs::default() };
    let resource = Some(Resource { attributes: vec![text("service.name", "cart")], ..Resource::default() });
    let of_resource = ResourceLogs { resource, scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![of_resource] }.encode_to_vec()
}

impl Site {
    fn append(&self, header: BatchHeader, payload: Vec<u8>) {
        self.journal.book().reserve(&header);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.journal.append(header, payload.into(), move |result| tell.send(result.is_ok()).unwrap());
        assert!(told.recv_timeout(PATIENCE).unwrap(), "the journal takes it, whoever reads");
    }

    fn put(&self, seq: u64, of: &str, bodies: &[&str]) {
        let (header, payload) = encoded(batch_id(1, seq), of, Signal::Logs, &logs(bodies));
        self.append(header, payload);
    }

    async fn ask(&self, token: &str, ask: &Value) -> (StatusCode, Reader) {
        let request = Request::post("/api/v1/tail").header(header::AUTHORIZATION, format!("Bearer {token}"));
        let response = answer(State(Arc::clone(&self.desk)), request.body(Body::from(ask.to_string())).unwrap()).await;
        (response.status(), Reader { stream: response.into_body().into_data_stream(), read: String::new() })
    }

    /// A tail that has begun.
    async fn tail(&self, token: &str, ask: &Value) -> Reader {
        let (status, mut reader) = self.ask(token, ask).await;
        assert_eq!(status, StatusCode::OK, "{:?}", reader.next().await);
        assert!(reader.next().await.unwrap()["tailing"].is_string());
        reader
    }
}

struct Reader {
    stream: BodyDataStream,
    read: String,
}

impl Reader {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.read.split_once('\n') {
                let line = serde_json::from_str(line).unwrap_or(Value::String(line.to_owned()));
                self.read = rest.to_owned();
                return Some(line);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("a line in time")?.unwrap();
            self.read += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn body(&mut self) -> String {
        self.next().await.unwrap()["body"].as_str().unwrap().to_owned()
    }
}

/// A record has the fields of its signal, by name.
#[tokio::test]
async fn records_are_shown_as_they_are() {
    let site = site();
    let mut tail = site.tail("secret", &json!({})).await;
    site.put(1, "acme", &["paid"]);
    assert_eq!(
        tail.next().await.unwrap(),
        json!({
            "signal": "logs", "time": "2026-11-22T15:01:01.000000007Z", "service": "cart", "severity": "ERROR", "body": "paid", "event": "",
            "trace_id": "", "span_id": "", "attributes": {"n": "paid"}, "resource": {"service.name": "cart"}, "scope": "",
        })
    );
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /".to_owned(),
        start_time_unix_nano: 5,
        end_time_unix_nano: 9,
        kind: 2,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let request =
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }] };
    let (header, payload) = encoded(batch_id(1, 2), "acme", Signal::Traces, &request.encode_to_vec());
    site.append(header, payload);
    let shown = tail.next().await.unwrap();
    assert_eq!((&shown["name"], &shown["kind"], &shown["duration_ns"]), (&"GET /".into(), &"SERVER".into(), &4.into()), "{shown}");
    assert_eq!(shown["trace_id"], "01".repeat(16));
}

/// A tenant's token shows that tenant's records and no other's, whatever the request names; without a token there is nothing.
#[tokio::test]
async fn no_tenant_tails_another() {
    let site = site();
    let (status, mut answer) = site.ask("secret", &json!({"tenant": "beta"})).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{:?}", answer.next().await);
    for token in ["", "wrong", "operator "] {
        let (status, _) = site.ask(token, &json!({"tenant": "acme"})).await;
        assert_eq!(status, if token == "operator " { StatusCode::OK } else { StatusCode::UNAUTHORIZED }, "{token:?}");
    }
    let (mut acme, mut beta) = (site.tail("secret", &json!({})).await, site.tail("other", &json!({"tenant": "beta"})).await);
    let mut operator = site.tail("operator", &json!({"tenant": "beta"})).await;
    site.put(1, "acme", &["acme's"]);
    site.put(2, "beta", &["beta's"]);
    site.put(3, "acme", &["acme's second"]);
    assert_eq!((acme.body().await, acme.body().await), ("acme's".to_owned(), "acme's second".to_owned()));
    assert_eq!((beta.body().await, operator.body().await), ("beta's".to_owned(), "beta's".to_owned()));
    let (status, _) = site.ask("operator", &json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the operator must say whose");
}

/// Signals and conditions choose, all conditions must hold, and the limit ends the tail.
#[tokio::test]
async fn filters_and_limit() {
    let site = site();
    let ask = json!({"signals": ["logs"], "where": ["service=cart", "severity=error", "n=b"], "limit": 2});
    let mut chosen = site.tail("secret", &ask).await;
    let mut traces = site.tail("secret", &json!({"signals": ["traces"]})).await;
    site.put(1, "acme", &["a", "b", "c"]);
    site.put(2, "acme", &["b", "b"]);
    assert_eq!((chosen.body().await, chosen.body().await), ("b".to_owned(), "b".to_owned()));
    assert_eq!(chosen.next().await, None);
    site.shutdown.request();
    assert_eq!(traces.next().await, None, "no log is shown, and a router that stops ends the tail");
    for (ask, word) in [
        (json!({"where": ["nope"]}), "key=value"),
        (json!({"signals": ["profiles"]}), "traces, logs or metrics"),
        (json!({"where": vec!["a=b"; MAX_CONDITIONS + 1]}), "at most"),
        (json!({"after": "1.2"}), "after"),
        (json!({"nope": 1}), "nope"),
    ] {
        let (status, mut answer) = site.ask("secret", &ask).await;
        let said = answer.next().await.unwrap().to_string();
        assert!(status == StatusCode::BAD_REQUEST && said.contains(word), "{ask}: {said}");
    }
}

/// A reader that reads nothing holds up neither the journal nor another reader, and later gets or is told of every record.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_nobody() {
    let site = Arc::new(site());
    let mut slow = site.tail("secret", &json!({})).await;
    let mut quick = site.tail("secret", &json!({})).await;
    const FILLER: &str = concat!("0123456789abcdef", "0123456789abcdef");
    let bodies = [FILLER; 50];
    let writer = Arc::clone(&site);
    tokio::task::spawn_blocking(move || (0..100).for_each(|seq| writer.put(seq, "acme", &bodies))).await.unwrap();
    for _ in 0..5_000 {
        assert_eq!(quick.body().await, FILLER);
    }
    let mut seen = 0;
    while seen < 5_000 {
        let line = slow.next().await.unwrap();
        seen += line["skipped"].as_u64().unwrap_or(1);
    }
    assert_eq!(seen, 5_000);
}

/// What cannot be decoded is told as skipped, by its rows, and the tail goes on.
#[tokio::test]
async fn what_does_not_decode_is_told() {
    let site = site();
    let mut tail = site.tail("secret", &json!({})).await;
    site.append(crate::testing::header(1, 1, b"noise"), b"noise".to_vec());
    site.put(2, "acme", &["next"]);
    assert_eq!(tail.next().await, Some(json!({"skipped": 10})));
    assert_eq!(tail.body().await, "next");
}

/// One answer ends in time, and the next goes on behind it: nothing is missed or shown twice in between.
#[tokio::test(start_paused = true)]
async fn rounds_follow_without_a_gap() {
    let site = site();
    let mut first = site.tail("secret", &json!({})).await;
    site.put(1, "acme", &["one"]);
    assert_eq!(first.body().await, "one");
    let resume = first.next().await.unwrap()["resume"].as_str().unwrap().to_owned();
    assert_eq!(first.next().await, None);
    site.put(2, "acme", &["between"]);
    let mut second = site.tail("secret", &json!({"after": resume})).await;
    site.put(3, "acme", &["three"]);
    assert_eq!((second.body().await, second.body().await), ("between".to_owned(), "three".to_owned()));
}

/// One tenant cannot take all places, and a reader that goes gives its place back.
#[tokio::test]
async fn places_are_bounded_and_given_back() {
    let site = site();
    let mut open = Vec::new();
    for _ in 0..MAX_TAILS / 2 {
        open.push(site.tail("secret", &json!({})).await);
    }
    assert_eq!(site.ask("secret", &json!({})).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let _beta = site.tail("other", &json!({})).await;
    open.pop();
    let freed = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while site.ask("secret", &json!({})).await.0 != StatusCode::OK {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("the place is given back");
}
