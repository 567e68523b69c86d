//! Certificates, configurations, requests, and waiting for what must become true.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use edge_gateway::{Config, Edge};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use serde_json::Value;
use service::tls::TlsFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything here may take; far beyond what it does.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// SHA-256 of the token `secret`, which is the tenant `acme`'s.
pub(crate) const SECRET_SHA256: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A CA with one edge and one router.
pub(crate) struct Pki {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) edge: TlsFiles,
    pub(crate) router: TlsFiles,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        service::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let edge = issue(dir.path(), &issuer, "edge", names(&["spiffe://tributary/edge/eu-1"], &[]));
        let router = issue(dir.path(), &issuer, "router", names(&["spiffe://tributary/router/one"], &["router.test"]));
        Self { dir, edge, router, issuer }
    }

    /// One more certificate of this CA.
    pub(crate) fn issue(&self, name: &str, params: CertificateParams) -> TlsFiles {
        issue(self.dir.path(), &self.issuer, name, params)
    }
}

/// A certificate with these names.
pub(crate) fn names(uris: &[&str], hosts: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
    let hosts = hosts.iter().map(|host| SanType::DnsName((*host).try_into().unwrap()));
    params.subject_alt_names = uris.chain(hosts).collect();
    params
}

fn issue(dir: &Path, issuer: &Issuer<'static, KeyPair>, name: &str, params: CertificateParams) -> TlsFiles {
    let key = KeyPair::generate().unwrap();
    let path = |suffix: &str| dir.join(format!("{name}.{suffix}"));
    fs::write(path("pem"), params.signed_by(&key, issuer).unwrap().pem()).unwrap();
    fs::write(path("key"), key.serialize_pem()).unwrap();
    TlsFiles { ca: dir.join("ca.pem"), cert: path("pem"), key: path("key") }
}

/// Who senders are, unless a test says it otherwise.
fn identity(more: &str) -> String {
    if more.contains("identity:") {
        return String::new();
    }
    format!("identity: {{ default_tenant: shared, tokens: [ {{ sha256: {SECRET_SHA256}, tenant: acme }} ] }}\n")
}

/// A configuration on free ports that ships to `router`; `more` is YAML laid behind it.
pub(crate) fn config(pki: &Pki, data: &Path, router: SocketAddr, more: &str) -> Config {
    let TlsFiles { ca, cert, key } = &pki.edge;
    let text = format!(
        "name: eu-1\ndata_dir: {data}\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
         {identity}batch: {{ age: 50ms }}\n\
         ship:\n  endpoints: [\"{router}\"]\n  server_name: router.test\n  backoff: {{ min: 10ms, max: 100ms }}\n  \
         tls: {{ ca: {ca}, cert: {cert}, key: {key} }}\n{more}",
        identity = identity(more),
        data = data.display(),
        ca = ca.display(),
        cert = cert.display(),
        key = key.display(),
    );
    let path = pki.dir.path().join("edge.yaml");
    fs::write(&path, text).unwrap();
    Config::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// Receivers on free ports; merged into [`config`]'s `more` by tests that set other keys of `receive`.
pub(crate) const RECEIVE: &str = "receive: { grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\n";

/// Nobody listens here.
pub(crate) fn nowhere() -> SocketAddr {
    ([127, 0, 0, 1], 9).into()
}

pub(crate) fn logs(ids: std::ops::Range<u64>) -> ExportLogsServiceRequest {
    let record = |id: u64| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + id,
        body: Some(AnyValue { value: Some(any_value::Value::IntValue(id as i64)) }),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: ids.map(record).collect(), ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

pub(crate) fn traces(rows: u8) -> ExportTraceServiceRequest {
    let span = |n: u8| Span { trace_id: vec![n; 16], span_id: vec![n; 8], name: format!("span {n}"), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: (1..=rows).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

/// Text that does not compress to less than half.
pub(crate) fn noise(len: usize) -> String {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + ((state >> 33) % 95) as u8)
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) fn metrics(rows: u64) -> ExportMetricsServiceRequest {
    let point =
        |n| NumberDataPoint { time_unix_nano: n, value: Some(number_data_point::Value::AsInt(n as i64)), ..NumberDataPoint::default() };
    let data = Some(metric::Data::Gauge(Gauge { data_points: (1..=rows).map(point).collect() }));
    let metric = Metric { name: "level".to_owned(), data, ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }] }
}

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// What an HTTP receiver answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// One HTTP/1.1 request, written by hand.
pub(crate) async fn http(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: edge\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    // A receiver may answer and close before it has read all.
    let _ = stream.write_all(body).await;
    read_answer(stream).await
}

pub(crate) async fn read_answer(mut stream: TcpStream) -> Answer {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut all)).await.expect("an answer");
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer: {all:?}"));
    let head = String::from_utf8(all[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: all[end + 4..].to_vec() }
}

pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Where its OTLP/HTTP is.
pub(crate) fn http_at(edge: &Edge) -> SocketAddr {
    edge.bound.tcp("receive.http").unwrap()
}

/// Where its OTLP/gRPC is.
pub(crate) fn grpc_at(edge: &Edge) -> SocketAddr {
    edge.bound.tcp("receive.grpc").unwrap()
}

pub(crate) async fn post_logs(edge: &Edge, ids: std::ops::Range<u64>) -> u16 {
    http(http_at(edge), "/v1/logs", &[PROTOBUF], &logs(ids).encode_to_vec()).await.status
}

/// The account of a tenant and signal in the ledger.
pub(crate) fn account(ledger: &Value, tenant: &str, signal: &str) -> Value {
    let accounts = ledger["tenants"].as_array().unwrap();
    accounts.iter().find(|account| account["tenant"] == tenant && account["signal"] == signal).cloned().unwrap_or(Value::Null)
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !is_so() {
            tick.tick().await;
        }
    };
    assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "never: {what}");
}
