//! The tier against a receiver in this process.

mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use federation_proto::codec::{DecodeLimits, Decoder};
use federation_proto::header::BatchHeader;
use federation_proto::identity::Signal;
use federation_proto::ledger::{Terms, TierTerms};
use federation_proto::otlp::status;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::{Value, json};
use service::admin::Readiness;
use service::shutdown::Shutdown;
use tokio::net::TcpListener;

use self::server::{Reply, Server};
use super::*;
use crate::journal::{Journal, JournalOptions};
use crate::quarantine::Quarantine;
use crate::testing::{batch_id, encoded};
use crate::tier::consumer::Consumer;
use crate::tier::{TierConfig, UnitBatch};

/// A batch as a tier gets it.
pub(super) fn decoded(header: BatchHeader, payload: &[u8]) -> UnitBatch {
    let columns = Decoder::decode(header.signal, header.encoding, payload, &DecodeLimits::default()).unwrap();
    let BatchHeader { id, tenant, signal, raw_bytes, .. } = header;
    UnitBatch { seq: id.seq.0, tenant, signal, raw_bytes, columns }
}

/// A configuration for this address, with more keys.
fn config(address: impl std::fmt::Display, more: Value) -> OtlpConfig {
    let mut keys = json!({"endpoint": format!("http://{address}"), "timeout": "5s", "compression": "none"});
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config: OtlpConfig = serde_json::from_value(keys).unwrap();
    config.check().unwrap();
    config
}

fn http(address: impl std::fmt::Display) -> OtlpConfig {
    config(address, json!({"protocol": "http/protobuf"}))
}

fn logs(bodies: &[String]) -> Vec<u8> {
    let record = |body: &String| LogRecord {
        time_unix_nano: 1,
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(body.clone())) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: bodies.iter().map(record).collect(), ..ScopeLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] }.encode_to_vec()
}

/// A unit of one batch for each tenant, with these bodies of log records.
fn unit(batches: &[(&str, Vec<String>)]) -> Arc<Unit> {
    let batch = |(seq, (tenant, bodies)): (usize, &(&str, Vec<String>))| {
        let (header, payload) = encoded(batch_id(1, seq as u64), tenant, Signal::Logs, &logs(bodies));
        decoded(header, &payload)
    };
    Arc::new(Unit { journal: [1; 16], range: 0..=batches.len() as u64, batches: batches.iter().enumerate().map(batch).collect() })
}

fn some(tenant: &str, count: usize) -> (&str, Vec<String>) {
    (tenant, (0..count).map(|n| format!("{tenant}-{n}")).collect())
}

/// How often the server took each body.
fn bodies(server: &Server) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for got in server.got().iter().filter(|got| got.taken) {
        let request = ExportLogsServiceRequest::decode(got.message.as_slice()).unwrap();
        let records = request.resource_logs.iter().flat_map(|of| &of.scope_logs).flat_map(|of| &of.log_records);
        for record in records {
            let Some(any_value::Value::StringValue(body)) = record.body.as_ref().and_then(|body| body.value.clone()) else {
                panic!("no body")
            };
            *found.entry(body).or_default() += 1;
        }
    }
    found
}

fn once(unit: &[(&str, Vec<String>)]) -> BTreeMap<String, usize> {
    unit.iter().flat_map(|(_, bodies)| bodies).map(|body| (body.clone(), 1)).collect()
}

fn open(config: &OtlpConfig) -> OtlpTier {
    OtlpTier::open(config, "t").unwrap()
}

fn sum(delivered: &Delivered) -> TierTerms {
    let mut sum = TierTerms::default();
    delivered.iter().for_each(|(_, _, terms)| sum.add(terms));
    sum
}

fn pause(result: Result<Delivered, Write>) -> Duration {
    match result.unwrap_err() {
        Write::Retry { after, .. } => after,
        error => panic!("{error}"),
    }
}

/// Over both protocols and with each compression every row comes once, to the right path, with the headers that are configured.
#[tokio::test]
async fn delivers_over_both_protocols() {
    let sent = [some("acme", 30), some("beta", 20)];
    for (protocol, path) in [("grpc", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"), ("http/protobuf", "/in/v1/logs")] {
        for compression in ["none", "gzip", "zstd"] {
            let server = Server::start(&[]).await;
            let base = if protocol == "grpc" { "" } else { "/in/" };
            let headers = json!({"Authorization": {"value": "Bearer x"}, "x-scope-orgid": "tenant"});
            let more = json!({"protocol": protocol, "compression": compression, "headers": headers});
            let delivered = open(&config(format!("{}{base}", server.address), more)).write(unit(&sent)).await.unwrap();
            assert_eq!(sum(&delivered).delivered, 50, "{protocol} {compression}");
            assert_eq!(bodies(&server), once(&sent), "{protocol} {compression}");
            for got in server.got() {
                assert_eq!((got.path.as_str(), got.headers["authorization"].to_str().unwrap()), (path, "Bearer x"));
                let tenant = got.headers["x-scope-orgid"].to_str().unwrap().to_owned();
                assert!(String::from_utf8_lossy(&got.message).contains(&format!("{tenant}-0")), "{tenant}");
            }
        }
    }
}

/// What a destination asks to have later waits as long as it says, and is all that is sent again.
#[tokio::test]
async fn waits_as_long_as_it_is_told() {
    let full = |after| {
        let details = status::encode(8, "full", after);
        Reply::Grpc(tonic::Status::with_details(tonic::Code::ResourceExhausted, "full", details.into()))
    };
    let sent = [some("a", 1), some("b", 1), some("c", 1)];
    for (reply, wait, grpc) in [
        (Reply::Http(429, Some(7)), 7, false),
        (Reply::Http(503, None), 0, false),
        (full(Some(Duration::from_secs(9))), 9, true),
        (Reply::Grpc(tonic::Status::unavailable("down")), 0, true),
        (Reply::Http(502, Some(3)), 3, true),
    ] {
        let server = Server::start(&[Reply::Take, reply.clone(), Reply::Take]).await;
        let protocol = if grpc { "grpc" } else { "http/protobuf" };
        let mut tier = open(&config(server.address, json!({"protocol": protocol, "concurrency": 1})));
        let unit = unit(&sent);
        assert_eq!(pause(tier.write(Arc::clone(&unit)).await), Duration::from_secs(wait), "{reply:?}");
        assert_eq!(server.got().len(), 2, "nothing is sent into a pause");
        assert_eq!(sum(&tier.write(unit).await.unwrap()).delivered, 3, "{reply:?}");
        assert_eq!(bodies(&server), once(&sent), "{reply:?}");
    }
}

/// What is refused for good is counted with its reason, and the rest is delivered.
#[tokio::test]
async fn a_refusal_stops_nothing_else() {
    let sent = [some("a", 3), some("b", 4)];
    let exhausted = Reply::Grpc(tonic::Status::resource_exhausted("quota"));
    for (reply, grpc, reason) in [
        (Reply::Http(400, None), false, Reason::Refused),
        (Reply::Grpc(tonic::Status::invalid_argument("no")), true, Reason::Refused),
        (exhausted, true, Reason::OverQuota),
    ] {
        let server = Server::start(&[reply.clone(), Reply::Take]).await;
        let protocol = if grpc { "grpc" } else { "http/protobuf" };
        let mut tier = open(&config(server.address, json!({"protocol": protocol, "concurrency": 1})));
        let terms = sum(&tier.write(unit(&sent)).await.unwrap());
        assert_eq!((terms.rejected[&reason], terms.delivered), (3, 4), "{reply:?}");
        assert_eq!(bodies(&server), once(&sent[1..]));
    }
}

/// Rows that a destination took out of a request are rejected; the others are delivered and not sent again.
#[tokio::test]
async fn partial_success_is_counted() {
    for protocol in ["grpc", "http/protobuf"] {
        let server = Server::start(&[Reply::Partly(2)]).await;
        let mut tier = open(&config(server.address, json!({"protocol": protocol})));
        let terms = sum(&tier.write(unit(&[some("a", 5)])).await.unwrap());
        assert_eq!((terms.rejected[&Reason::PartlyRefused], terms.delivered), (2, 3), "{protocol}");
        assert_eq!(server.got().len(), 1);
    }
}

/// No request is larger than it may be, by our bound or by the destination's; a record that is too large by itself is rejected alone.
#[tokio::test]
async fn requests_are_cut_to_size() {
    let mut sent = [("a", (0..400).map(|n| format!("{n:01000}")).collect::<Vec<_>>())];
    for (max_request, reply, most) in [("64KiB", Reply::Take, 64 << 10), ("1MiB", Reply::AtMost(70 << 10), 70 << 10)] {
        let server = Server::start(&[reply]).await;
        let mut tier = open(&config(server.address, json!({"protocol": "http/protobuf", "max_request": max_request})));
        assert_eq!(sum(&tier.write(unit(&sent)).await.unwrap()).delivered, 400);
        assert_eq!(bodies(&server), once(&sent));
        assert!(server.got().iter().all(|got| !got.taken || got.message.len() <= most));
    }
    sent[0].1.push("x".repeat(100 << 10));
    let server = Server::start(&[]).await;
    let mut tier = open(&config(server.address, json!({"max_request": "64KiB"})));
    let terms = sum(&tier.write(unit(&sent)).await.unwrap());
    assert_eq!((terms.rejected[&Reason::TooLarge], terms.delivered), (1, 400));
}

/// A destination that says nothing, is not there, and comes back on the same address gets everything; the tier says why it waits.
#[tokio::test]
async fn a_server_that_goes_may_come_back() {
    for protocol in ["grpc", "http/protobuf"] {
        let server = Server::start(&[Reply::Take, Reply::Silence]).await;
        let address = server.address;
        let mut tier = open(&config(address, json!({"protocol": protocol, "timeout": "200ms"})));
        assert_eq!(sum(&tier.write(unit(&[some("a", 1)])).await.unwrap()).delivered, 1);
        let sent = [some("b", 1), some("c", 1)];
        let unit = unit(&sent);
        let why = tier.write(Arc::clone(&unit)).await.unwrap_err().to_string();
        assert!(why.contains("no answer within 200ms"), "{why}");
        drop(server);
        let why = loop {
            // The connection of before may end first.
            let why = tier.write(Arc::clone(&unit)).await.unwrap_err().to_string();
            if why.contains("refused") {
                break why;
            }
        };
        assert!(why.contains("Connection refused"), "{why}");
        let back = Server::on(TcpListener::bind(address).await.unwrap(), None, &[]);
        assert_eq!(sum(&tier.write(unit).await.unwrap()).delivered, 2);
        assert_eq!(bodies(&back), once(&sent));
    }
}

/// A token file that is written anew is read again when the old one is refused; meanwhile nothing is given up.
#[tokio::test]
async fn a_new_token_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "Bearer old\n").unwrap();
    let server = Server::start(&[Reply::Http(401, None), Reply::Take]).await;
    let mut tier = open(&config(server.address, json!({"protocol": "http/protobuf", "headers": {"authorization": {"file": token}}})));
    std::fs::write(&token, "Bearer new\n").unwrap();
    let unit = unit(&[some("a", 1)]);
    assert!(pause(tier.write(Arc::clone(&unit)).await) >= Duration::from_secs(1));
    assert_eq!(sum(&tier.write(unit).await.unwrap()).delivered, 1);
    let tokens: Vec<_> = server.got().iter().map(|got| got.headers["authorization"].clone()).collect();
    assert_eq!(tokens, ["Bearer old", "Bearer new"]);
}

/// With `https` the destination's certificate is checked and ours is shown; a destination of another authority gets nothing.
#[tokio::test]
async fn tls_both_ways() {
    use crate::pki::{DEFAULT_ROUTER_NAMES, InitOptions, IssueOptions, LEAF_DAYS, init, issue};
    service::tls::install_provider();
    let dir = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let names = DEFAULT_ROUTER_NAMES.iter().map(ToString::to_string).collect();
        let router = federation_proto::identity::EdgeName::new(name).unwrap();
        init(&dir.path().join(name), &InitOptions { router, names, days: LEAF_DAYS, force: false }).unwrap().router
    };
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let client = federation_proto::identity::EdgeName::new("client").unwrap();
    let client = IssueOptions { edge: client, tenants: vec![crate::testing::tenant("acme")], days: LEAF_DAYS, force: false };
    let client = issue(&dir.path().join("ours"), &client).unwrap();
    let files = service::tls::TlsFiles { ca: ours.ca.clone(), cert: ours.cert.clone(), key: ours.key.clone() };
    for (protocol, alpn) in [("grpc", "h2"), ("http/protobuf", "http/1.1")] {
        let acceptor = tokio_rustls::TlsAcceptor::from(files.server_config(&[alpn.as_bytes()]).unwrap());
        let server = Server::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), Some(acceptor), &[]);
        let endpoint = format!("https://localhost:{}", server.address.port());
        let tier = |tls: Value| open(&config("unused", json!({"endpoint": endpoint, "protocol": protocol, "tls": tls})));
        let good = json!({"ca": ours.ca, "cert": client.cert, "key": client.key});
        assert_eq!(sum(&tier(good).write(unit(&[some("a", 2)])).await.unwrap()).delivered, 2, "{protocol}");
        for tls in [json!({"ca": theirs.ca, "cert": client.cert, "key": client.key}), json!({"ca": ours.ca})] {
            let why = tier(tls).write(unit(&[some("a", 2)])).await.unwrap_err().to_string();
            assert!(why.contains("certificate") || why.contains("Certificate"), "{protocol}: {why}");
        }
        assert_eq!(server.got().len(), 1);
    }
}

/// Secrets are in no Debug form, no error and no line of the log, at any level, of ours or of the libraries beneath.
#[tokio::test]
async fn secrets_stay_secret() {
    #[derive(Clone, Default)]
    struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let headers = json!({"authorization": {"value": "Bearer hunter2"}});
    let text = format!("otlp: {{endpoint: \"http://x:1\", headers: {headers}}}");
    for protocol in ["grpc", "http/protobuf"] {
        let server = Server::start(&[Reply::Http(401, None), Reply::Http(400, None)]).await;
        let config = config(server.address, json!({"protocol": protocol, "headers": headers}));
        let mut tier = open(&config);
        let unit = unit(&[some("a", 1)]);
        let why = tier.write(Arc::clone(&unit)).await.unwrap_err().to_string();
        tier.write(unit).await.unwrap();
        assert_eq!(server.got()[0].headers["authorization"], "Bearer hunter2");
        let shown = format!("{config:?} {:?} {why}", TierConfig::Otlp(config.clone()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let bad = OtlpConfig { headers: serde_json::from_value(json!({"authorization": {"value": "hunter2\nx"}})).unwrap(), ..http("x:1") };
    let error = verify(&bad).unwrap_err().to_string();
    assert!(error.contains("headers.authorization") && !error.contains("hunter2"), "{error}");
    let logged = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert!(logged.contains("refused for good") && !logged.contains("hunter2"), "{text}: {logged}");
}

/// Each mistake names its key and what is expected.
#[test]
fn mistakes_name_key_and_remedy() {
    let mut checked = 0;
    for (key, value, wanted) in [
        ("endpoint", json!("localhost:4317"), "http://HOST:PORT"),
        ("endpoint", json!("http://user:secret@x:1"), "as a header"),
        ("endpoint", json!("http://x:4317/v1/traces"), "gRPC"),
        ("endpoint", json!("https://x:4317"), "tls"),
        ("tls", json!({"ca": "ca.pem"}), "https"),
        ("headers", json!({"grpc-timeout": "tenant"}), "headers.grpc-timeout"),
        ("headers", json!({"a b": "tenant"}), "headers.a b"),
        ("timeout", json!("1ms"), "100ms"),
        ("max_request", json!("1KiB"), "64KiB"),
        ("concurrency", json!(0), "1 to 64"),
        ("signals", json!([]), "traces"),
        ("signals", json!(["profiles"]), "traces"),
        ("flush_interval", json!("0s"), "10ms"),
    ] {
        let mut keys = json!({"endpoint": "http://x:4317"});
        keys[key] = value;
        let error = serde_json::from_value::<OtlpConfig>(keys).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("secret"), "{key}: {error}");
        checked += 1;
    }
    assert_eq!(checked, 13);
    let missing = OtlpConfig { headers: serde_json::from_value(json!({"a": {"env": "NO_SUCH_VARIABLE"}})).unwrap(), ..http("x:1") };
    assert!(verify(&missing).unwrap_err().to_string().contains("NO_SUCH_VARIABLE"));
}

/// A journal on disk and its one consumer, an otlp tier.
fn consumer(dir: &std::path::Path, config: &OtlpConfig) -> Consumer {
    let options = JournalOptions { budget: 256 << 20, segment: 4 << 20, max_batch: 1 << 20, queue: 1 << 20 };
    let (journal, _) = Journal::open(&dir.join("journal"), &options, &["t".to_owned()]).unwrap();
    let tier = TierConfig::Otlp(config.clone()).open("t", journal.id()).unwrap();
    let quarantine = Arc::new(Quarantine::new(dir));
    Consumer { index: 0, name: "t".to_owned(), tier, journal, quarantine, readiness: Readiness::new(), flush: Shutdown::new() }
}

fn put(journal: &Journal, seq: u64, bodies: &[String]) {
    let (header, payload) = encoded(batch_id(1, seq), "acme", Signal::Logs, &logs(bodies));
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    journal.append(header, payload.into(), move |result| answer.send(result).unwrap());
    answered.recv().unwrap().unwrap();
}

/// After a stop in the middle, the next start sends what was not confirmed, and of what was confirmed nothing; the ledger balances.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_repeats_only_what_was_not_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (some("first", 3), some("second", 4));
    // The first unit is taken; then the destination is busy, and the router stops.
    let server = Server::start(&[Reply::Take, Reply::Http(503, None)]).await;
    let config = http(server.address);
    let before = consumer(dir.path(), &config);
    let (journal, flush, readiness) = (before.journal.clone(), before.flush.clone(), before.readiness.clone());
    let start = journal.book().cursor(0).unwrap();
    put(&journal, 0, &first.1);
    let mut running = tokio::spawn(before.run());
    while journal.book().cursor(0).unwrap() == start {
        tokio::task::yield_now().await;
    }
    put(&journal, 1, &second.1);
    while server.got().len() < 2 {
        tokio::task::yield_now().await;
    }
    flush.request();
    (&mut running).await.unwrap();
    assert!(!readiness.is_ready(), "it said that it waits");
    assert_eq!(bodies(&server), once(std::slice::from_ref(&first)));
    journal.close().unwrap();
    drop(journal);

    let back = Server::start(&[]).await;
    let after = consumer(dir.path(), &http(back.address));
    let journal = after.journal.clone();
    after.flush.request();
    after.run().await;
    assert_eq!(bodies(&back), once(std::slice::from_ref(&second)));
    let terms = sum(journal.book().tiers().next().unwrap().ledger);
    assert_eq!((terms.journalled, terms.delivered), (7, 7));
    assert!(terms.balanced(0));
    journal.close().unwrap();
}
