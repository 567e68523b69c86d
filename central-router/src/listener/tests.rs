//! The whole router over loopback QUIC, against a client written by hand from the protocol's description.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use federation_proto::codec::ENCODING;
use federation_proto::control::{EdgeMessage, Hello, Nack, NackReason, RouterMessage, SpoolFloor, Status, Welcome, router_message};
use federation_proto::frame::{ControlDecoder, PROTOCOL, encode_control};
use federation_proto::header::{BatchHeader, MAX_HEADER_LEN};
use federation_proto::identity::{EdgeName, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message;
use quinn::{ClientConfig, Connection, ConnectionError, RecvStream, SendStream, WriteError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Config;
use crate::pki::{self, Identity, InitOptions, IssueOptions};
use crate::run::{Ready, RunError, run_with};
use crate::testing::{batch_id, encoded};

/// Long enough for the slowest machine; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A router with its authority and its edges `eu` (acme) and `us` (acme, beta), in a directory of its own.
struct Site {
    dir: tempfile::TempDir,
    extra: String,
}

/// A router that is up.
struct Up {
    ready: Ready,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), RunError>>,
}

impl Site {
    fn new(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let init = InitOptions { router: edge("central"), names: vec!["localhost".to_owned()], days: 1, force: false };
        pki::init(dir.path(), &init).unwrap();
        let site = Self { dir, extra: extra.to_owned() };
        site.issue("eu", &["acme"]);
        site.issue("us", &["acme", "beta"]);
        site
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn issue(&self, name: &str, tenants: &[&str]) -> Identity {
        let tenants = tenants.iter().map(|tenant| TenantId::new(tenant).unwrap()).collect();
        pki::issue(self.path(), &IssueOptions { edge: edge(name), tenants, days: 1, force: false }).unwrap()
    }

    fn config(&self) -> Config {
        let dir = self.path().display();
        let text = format!(
            "data_dir: {dir}/data\nlisten: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\ntls: {{ca: {dir}/ca.pem, cert: {dir}/router.pem, key: {dir}/router.key}}\n\
             edges: {dir}/edges.yaml\ntiers: {{parquet: {{local: {{path: {dir}/parquet, flush_interval: 20ms}}}}}}\n{}",
            self.extra
        );
        let path = self.path().join("router.yaml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).unwrap()
    }

    async fn start(&self) -> Up {
        let (tell, told) = oneshot::channel();
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run_with(self.config(), shutdown.clone(), move |ready| tell.send(ready).unwrap()));
        let ready = tokio::time::timeout(PATIENCE, told).await.unwrap().expect("the router starts");
        Up { ready, shutdown, running }
    }

    async fn connect(&self, up: &Up, name: &str) -> Client {
        let mut client = Client::dial(up.ready.listen, &pki::edge_identity(self.path(), &edge(name))).await.unwrap();
        client.say(hello(name)).await;
        let Some(router_message::Kind::Welcome(welcome)) = client.hear().await else { panic!("no Welcome") };
        client.welcome = welcome;
        client
    }

    /// All log bodies in the Parquet files, with how often each is there.
    fn bodies(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for path in parquet_files(&self.path().join("parquet")) {
            let content = bytes::Bytes::from(std::fs::read(path).unwrap());
            for batch in ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap() {
                for body in batch.unwrap().column_by_name("Body").unwrap().as_string::<i32>() {
                    *found.entry(body.unwrap().to_owned()).or_default() += 1;
                }
            }
        }
        found
    }
}

impl Up {
    async fn stop(self) {
        self.shutdown.request();
        tokio::time::timeout(PATIENCE, self.running).await.expect("the router stops").unwrap().unwrap();
    }

    async fn ledger(&self) -> serde_json::Value {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.ready.admin).await.unwrap();
        stream.write_all(b"GET /ledger HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| if path.is_dir() { parquet_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "parquet"))
        .collect()
}

fn edge(name: &str) -> EdgeName {
    EdgeName::new(name).unwrap()
}

fn spool_of(name: &str) -> u8 {
    name.as_bytes()[0]
}

fn hello(name: &str) -> Hello {
    Hello {
        protocol: PROTOCOL,
        edge: name.to_owned(),
        encodings: vec![u32::from(ENCODING)],
        spools: vec![SpoolFloor { spool: vec![spool_of(name); 16], floor: 0 }],
        ..Hello::default()
    }
}

/// A batch of two log records of edge `name`, whose bodies name it.
fn batch(name: &str, seq: u64, tenant: &str) -> (BatchHeader, Vec<u8>) {
    let record = |n: u32| {
        let body = any_value::Value::StringValue(format!("{name} {seq} {n}"));
        LogRecord { time_unix_nano: 1_795_359_600_000_000_000, body: Some(AnyValue { value: Some(body) }), ..LogRecord::default() }
    };
    let scope = ScopeLogs { log_records: vec![record(0), record(1)], ..ScopeLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] };
    encoded(batch_id(spool_of(name), seq), tenant, Signal::Logs, &request.encode_to_vec())
}

fn bodies(name: &str, seqs: impl IntoIterator<Item = u64>) -> BTreeMap<String, usize> {
    seqs.into_iter().flat_map(|seq| (0..2).map(move |n| (seq, n))).map(|(seq, n)| (format!("{name} {seq} {n}"), 1)).collect()
}

/// An edge written by hand.
struct Client {
    _endpoint: Endpoint,
    quic: Connection,
    send: SendStream,
    receive: RecvStream,
    decoder: ControlDecoder<RouterMessage>,
    welcome: Welcome,
}

impl Client {
    async fn dial(router: SocketAddr, identity: &Identity) -> Result<Self, ConnectionError> {
        service::tls::install_provider();
        let files = TlsFiles { ca: identity.ca.clone(), cert: identity.cert.clone(), key: identity.key.clone() };
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(files.client_config(&[ALPN]).unwrap()).unwrap();
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
        let quic = endpoint.connect(router, "localhost").unwrap().await?;
        let (send, receive) = quic.open_bi().await?;
        Ok(Self { _endpoint: endpoint, quic, send, receive, decoder: ControlDecoder::default(), welcome: Welcome::default() })
    }

    async fn say(&mut self, message: impl Into<EdgeMessage>) {
        self.send.write_all(&encode_control(&message.into()).unwrap()).await.unwrap();
    }

    /// The next message; `None` when the connection or the stream is at its end.
    async fn hear(&mut self) -> Option<router_message::Kind> {
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return Some(message.kind.expect("a kind that is known"));
            }
            let chunk =
                tokio::time::timeout(PATIENCE, self.receive.read_chunk(usize::MAX, true)).await.expect("the router answers").ok()??;
            self.decoder.push(&chunk.bytes);
        }
    }

    async fn nack(&mut self) -> Nack {
        match self.hear().await {
            Some(router_message::Kind::Nack(nack)) => nack,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until all these are acked; anything but acks is a fault.
    async fn acks(&mut self, seqs: impl IntoIterator<Item = u64>) {
        let mut missing: std::collections::BTreeSet<u64> = seqs.into_iter().collect();
        while !missing.is_empty() {
            match self.hear().await {
                Some(router_message::Kind::Ack(ack)) => {
                    let seqs = ack.ranges.iter().flat_map(|range| range.first..=range.last);
                    seqs.for_each(|seq| assert!(missing.remove(&seq), "{seq} was not asked for"));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends a batch; the router may stop the stream on its header.
    async fn ship(&mut self, header: &BatchHeader, payload: &[u8]) {
        let mut stream = self.quic.open_uni().await.unwrap();
        match stream.write_all(&[&header.encode(), payload].concat()).await {
            Ok(()) => stream.finish().unwrap_or_default(),
            Err(error) => assert!(matches!(error, WriteError::Stopped(_)), "{error}"),
        }
    }

    async fn raw(&mut self, bytes: &[u8]) {
        let mut stream = self.quic.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let _ = stream.finish();
    }

    /// The code that the router closes with.
    async fn closed(&self) -> CloseCode {
        close_code(&tokio::time::timeout(PATIENCE, self.quic.closed()).await.expect("the router closes"))
    }
}

fn close_code(error: &ConnectionError) -> CloseCode {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseCode::from_code(close.error_code.into_inner()).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Batches are acked after they are durable, acked again when they come again, are in Parquet once, and the ledger balances; across a
/// restart of the router too.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_acked_and_delivered_once() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    assert_eq!((client.welcome.protocol, client.welcome.max_batch_bytes), (PROTOCOL, 8 << 20));
    for seq in 0..20 {
        let (header, payload) = batch("eu", seq, "acme");
        client.ship(&header, &payload).await;
    }
    client.acks(0..20).await;
    let (header, payload) = batch("eu", 3, "acme");
    client.ship(&header, &payload).await;
    client.acks([3]).await;
    let ledger = up.ledger().await;
    assert_eq!(ledger["duplicates"]["batches"], 1, "{ledger:#}");
    assert_eq!(ledger["edges"][0]["edge"], "eu");
    let account = &ledger["tiers"][0]["tenants"][0];
    assert_eq!(
        (&account["tenant"], &account["signal"], &account["journalled"], &account["balanced"]),
        (&"acme".into(), &"logs".into(), &40.into(), &true.into())
    );
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", 0..20), "all acked rows are in Parquet when the router has drained");

    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    for seq in [0, 19, 20] {
        let (header, payload) = batch("eu", seq, "acme");
        client.ship(&header, &payload).await;
    }
    client.acks([0, 19, 20]).await;
    assert_eq!(up.ledger().await["tiers"][0]["tenants"][0]["journalled"], 42, "the restart knows what was journalled before");
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", 0..21));
}

/// A refusal spares the payload: the stream is stopped on its header, the reason is permanent, and nothing reaches the journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_not_allowed_is_refused_on_the_header() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let (header, _) = batch("eu", 0, "beta");
    let large = BatchHeader { payload_len: 8 << 20, ..header };
    let mut stream = client.quic.open_uni().await.unwrap();
    stream.write_all(&large.encode()).await.unwrap();
    let nack = client.nack().await;
    assert_eq!((nack.seq, nack.reason), (0, i32::from(NackReason::TenantNotAllowed)));
    assert!(matches!(stream.stopped().await, Ok(Some(_))), "the payload is still wanted");
    let (header, payload) = batch("eu", 1, "acme");
    client.ship(&header, &payload).await;
    client.acks([1]).await;
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [1]));
}

/// A payload damaged on the way is asked for again, and taken when it comes whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_payload_is_asked_for_again() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let (header, payload) = batch("eu", 0, "acme");
    let mut damaged = payload.clone();
    damaged[5] ^= 1;
    client.ship(&header, &damaged).await;
    let nack = client.nack().await;
    assert_eq!(nack.reason, i32::from(NackReason::Again));
    assert!(nack.retry_after_ms > 0);
    client.ship(&header, &payload).await;
    client.acks([0]).await;
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [0]));
}

/// Over its ceiling a tenant is told to wait; another tenant on the same connection is not.
#[tokio::test(flavor = "multi_thread")]
async fn over_quota_is_told_to_wait() {
    let site = Site::new("tenants: {acme: {rate: 1KiB/s, burst: 8MiB}}\n");
    let up = site.start().await;
    let mut client = site.connect(&up, "us").await;
    let greedy = |seq| {
        let (header, payload) = batch("us", seq, "acme");
        (BatchHeader { raw_bytes: 8 << 20, ..header }, payload)
    };
    let (header, payload) = greedy(0);
    client.ship(&header, &payload).await;
    client.acks([0]).await;
    let (header, payload) = greedy(1);
    client.ship(&header, &payload).await;
    let nack = client.nack().await;
    assert_eq!(nack.reason, i32::from(NackReason::OverQuota));
    assert!(nack.retry_after_ms > 1_000, "{nack:?}");
    let (header, payload) = batch("us", 2, "beta");
    client.ship(&header, &payload).await;
    client.acks([2]).await;
    up.stop().await;
}

/// Each broken rule ends the connection that broke it, with the code that says which; another edge's connection goes on throughout.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_rule_ends_one_connection_only() {
    let site = Site::new("");
    let up = site.start().await;
    let mut other = site.connect(&up, "us").await;
    let (good, payload) = batch("eu", 0, "acme");
    let oversize = {
        let mut bytes = good.encode();
        bytes[4..6].copy_from_slice(&(MAX_HEADER_LEN as u16 + 1).to_le_bytes());
        bytes
    };
    let longer = [good.encode(), payload.clone(), vec![0]].concat();
    let shorter = [good.encode(), payload[1..].to_vec()].concat();
    let (foreign, _) = batch("us", 0, "acme");
    let streams = [b"no header at all".to_vec(), oversize, good.encode()[..20].to_vec(), longer, shorter, foreign.encode()];
    for (seq, bytes) in streams.iter().enumerate() {
        let mut client = site.connect(&up, "eu").await;
        client.raw(bytes).await;
        assert_eq!(client.closed().await, CloseCode::Malformed, "stream {seq}");
        let (header, payload) = batch("us", seq as u64, "acme");
        other.ship(&header, &payload).await;
        other.acks([seq as u64]).await;
    }
    let mut client = site.connect(&up, "eu").await;
    client.send.write_all(&[0xff; 64]).await.unwrap();
    assert_eq!(client.closed().await, CloseCode::Malformed, "garbage on the control stream");
    let mut client = site.connect(&up, "eu").await;
    client.say(hello("eu")).await;
    assert_eq!(client.closed().await, CloseCode::Malformed, "a second Hello");
    other.say(Status { queued_batches: 3, ..Status::default() }).await;
    let (header, payload) = batch("us", 99, "beta");
    other.ship(&header, &payload).await;
    other.acks([99]).await;
    up.stop().await;
}

/// Versions that have nothing in common part with a code that says so.
#[tokio::test(flavor = "multi_thread")]
async fn no_common_version_is_said() {
    let site = Site::new("");
    let up = site.start().await;
    for bad in [Hello { protocol: 0, ..hello("eu") }, Hello { encodings: vec![4242], ..hello("eu") }] {
        let mut client = Client::dial(up.ready.listen, &pki::edge_identity(site.path(), &edge("eu"))).await.unwrap();
        client.say(bad).await;
        assert_eq!(client.closed().await, CloseCode::Version);
    }
    up.stop().await;
}

/// Only certificates of our authority that name an edge on the list get in, and an edge that is taken off the list is cut off.
#[tokio::test(flavor = "multi_thread")]
async fn only_listed_edges_get_in_and_stay_in() {
    let site = Site::new("");
    let up = site.start().await;
    let other = Site::new("");
    let stranger = Identity { ca: site.path().join("ca.pem"), ..pki::edge_identity(other.path(), &edge("eu")) };
    // In TLS 1.3 a client learns after its own handshake that its certificate was refused.
    match Client::dial(up.ready.listen, &stranger).await {
        Ok(client) => assert!(matches!(client.quic.closed().await, ConnectionError::ConnectionClosed(_))),
        Err(error) => assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error:?}"),
    }
    let unlisted = site.issue("gone", &["acme"]);
    let list = std::fs::read_to_string(site.path().join("edges.yaml")).unwrap();
    std::fs::write(site.path().join("edges.yaml"), list.replace("\"gone\"", "\"someone-else\"")).unwrap();
    // The refusal may come before or after the client's first stream.
    let code = match Client::dial(up.ready.listen, &unlisted).await {
        Ok(client) => client.closed().await,
        Err(error) => close_code(&error),
    };
    assert_eq!(code, CloseCode::UnknownEdge);
    let client = site.connect(&up, "eu").await;
    std::fs::write(site.path().join("edges.yaml"), "edges: {us: {tenants: [acme]}}").unwrap();
    assert_eq!(client.closed().await, CloseCode::UnknownEdge, "revocation reaches a live connection");
    up.stop().await;
}

/// A router that stops says goodbye, answers what it has accepted, and takes nothing new.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_goodbye() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let (header, payload) = batch("eu", 0, "acme");
    // A batch whose payload is on its way keeps the connection open.
    let mut stream = client.quic.open_uni().await.unwrap();
    stream.write_all(&header.encode()).await.unwrap();
    stream.write_all(&payload[..10]).await.unwrap();
    let (late, late_payload) = batch("eu", 1, "acme");
    client.ship(&late, &late_payload).await;
    client.acks([1]).await;
    up.shutdown.request();
    let Some(router_message::Kind::GoAway(_)) = client.hear().await else { panic!("no GoAway") };
    let (next, next_payload) = batch("eu", 2, "acme");
    client.ship(&next, &next_payload).await;
    assert_eq!(client.nack().await.reason, i32::from(NackReason::Draining));
    stream.write_all(&payload[10..]).await.unwrap();
    stream.finish().unwrap();
    client.acks([0]).await;
    assert_eq!(client.closed().await, CloseCode::Drain);
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [0, 1]));
}

/// An edge that stalls in the middle of a payload, and comes back on another connection, gets its batch in: the connection before is
/// closed, and the id it held is free.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_comes_back_takes_over() {
    let site = Site::new("");
    let up = site.start().await;
    let (header, payload) = batch("eu", 0, "acme");
    let first = site.connect(&up, "eu").await;
    let mut stream = first.quic.open_uni().await.unwrap();
    stream.write_all(&header.encode()).await.unwrap();
    while up.ledger().await["journal"]["in_flight_bytes"] == 0 {}
    let mut second = site.connect(&up, "eu").await;
    assert_eq!(first.closed().await, CloseCode::Busy);
    loop {
        second.ship(&header, &payload).await;
        match second.hear().await {
            Some(router_message::Kind::Ack(_)) => break,
            Some(router_message::Kind::Nack(nack)) => assert_eq!(nack.reason, i32::from(NackReason::Again)),
            other => panic!("{other:?}"),
        }
    }
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [0]));
}
