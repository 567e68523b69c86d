//! Both receivers against clients that are not ours: tonic's, and bytes written by hand.

use std::time::Duration;

use edge_gateway::Edge;
use federation_proto::otlp::status;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use service::shutdown::Shutdown;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::support::*;

/// Has a number where logs have a message.
#[derive(Clone, PartialEq, Message)]
struct NotLogs {
    #[prost(uint64, tag = "1")]
    number: u64,
}

async fn start(pki: &Pki, more: &str) -> (Edge, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let receive = if more.contains("receive:") { "" } else { RECEIVE };
    let config = config(pki, data.path(), nowhere(), &format!("{receive}{more}"));
    (Edge::start(config).await.unwrap(), data)
}

async fn stop(edge: Edge) {
    let shutdown = Shutdown::new();
    shutdown.request();
    edge.run(shutdown).await;
}

async fn channel(edge: &Edge) -> Channel {
    Channel::from_shared(format!("http://{}", grpc_at(edge))).unwrap().connect().await.unwrap()
}

/// All three signals, plain and compressed, are taken over gRPC and counted row by row; what is sent again is OK and taken once.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_takes_all_signals_and_a_repeat_once() {
    let pki = Pki::new();
    let (edge, _data) = start(&pki, "drain: 100ms\n").await;
    let channel = channel(&edge).await;
    for (n, encoding) in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)].into_iter().enumerate() {
        let n = n as u64;
        let (mut trace, mut log, mut metric) =
            (TraceServiceClient::new(channel.clone()), LogsServiceClient::new(channel.clone()), MetricsServiceClient::new(channel.clone()));
        if let Some(encoding) = encoding {
            (trace, log, metric) = (trace.send_compressed(encoding), log.send_compressed(encoding), metric.send_compressed(encoding));
        }
        trace.export(traces(3 + n as u8)).await.unwrap();
        log.export(logs(n * 10..n * 10 + 4)).await.unwrap();
        metric.export(metrics(5 + n)).await.unwrap();
        log.export(logs(n * 10..n * 10 + 4)).await.unwrap();
    }
    let ledger = edge.ledger();
    for (signal, received, duplicates) in [("traces", 12, 0), ("logs", 12, 12), ("metrics", 18, 0)] {
        let account = account(&ledger, "shared", signal);
        assert_eq!(
            (&account["received"], &account["duplicates"], &account["balanced"]),
            (&received.into(), &duplicates.into(), &true.into()),
            "{account}"
        );
        assert_eq!(account["queued"], received, "{account}");
    }
    stop(edge).await;
}

/// The token decides the tenant; a wrong one is refused although there is a default tenant; nonsense is refused as such.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_refuses_with_the_codes_of_otlp() {
    let pki = Pki::new();
    let (edge, _data) = start(&pki, "drain: 100ms\nreceive: { grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", max_request: 64KiB }\n").await;
    let mut client = LogsServiceClient::new(channel(&edge).await).max_encoding_message_size(10 << 20);
    let with_token = |token: &'static str| {
        let mut request = Request::new(logs(0..2));
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        request
    };
    client.export(with_token("Bearer secret")).await.unwrap();
    assert_eq!(account(&edge.ledger(), "acme", "logs")["received"], 2);
    let refused = client.export(with_token("Bearer wrong")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = client.export(logs(0..20_000)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("receive.max_request"), "{refused}");
    let mut raw = tonic::client::Grpc::new(channel(&edge).await);
    raw.ready().await.unwrap();
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<NotLogs, ExportLogsServiceResponse>::default();
    let refused = raw.unary(Request::new(NotLogs { number: 7 }), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("malformed OTLP at byte"), "{refused}");
    assert_eq!(account(&edge.ledger(), "shared", "logs"), serde_json::Value::Null);
    stop(edge).await;
}

/// Path, headers, body, and the status expected.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16);

/// HTTP: each answer has the status that makes an SDK do the right thing.
#[tokio::test(flavor = "multi_thread")]
async fn http_answers_with_the_statuses_of_otlp() {
    let pki = Pki::new();
    let (edge, _data) = start(&pki, "drain: 100ms\nreceive: { grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", max_request: 64KiB }\n").await;
    let to = http_at(&edge);
    let body = logs(0..3).encode_to_vec();
    let zipped = gzip(&logs(3..5).encode_to_vec());
    let zstd = zstd::encode_all(&logs(5..6).encode_to_vec()[..], 1).unwrap();
    let bomb = gzip(&vec![0; 8 << 20]);
    let cases: [Case<'_>; 14] = [
        ("/v1/logs", &[PROTOBUF], &body, 200),
        ("/v1/logs", &[("content-type", "application/x-protobuf; charset=x")], &body, 200),
        ("/v1/logs", &[PROTOBUF, ("content-encoding", "gzip")], &zipped, 200),
        ("/v1/logs", &[PROTOBUF, ("content-encoding", "zstd")], &zstd, 200),
        ("/v1/metrics", &[PROTOBUF], b"", 200),
        ("/v1/traces", &[PROTOBUF], b"\xFFnonsense", 400),
        ("/v1/logs", &[PROTOBUF, ("content-encoding", "gzip")], &body, 400),
        ("/v1/logs", &[PROTOBUF, ("authorization", "Bearer wrong")], &body, 401),
        ("/v1/logs", &[PROTOBUF, ("content-encoding", "gzip")], &bomb, 413),
        ("/v1/logs", &[PROTOBUF], &vec![0; 65_537], 413),
        ("/v1/logs", &[("content-type", "text/plain")], b"hello", 415),
        ("/v1/logs", &[], b"", 415),
        ("/v1/logs", &[PROTOBUF, ("content-encoding", "br")], &body, 415),
        ("/v1/profiles", &[PROTOBUF], b"", 404),
    ];
    for (path, headers, body, status) in cases {
        let answer = http(to, path, headers, body).await;
        assert_eq!(answer.status, status, "{path} {headers:?}: {answer:?}");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(status != 413 || text.contains("larger than 65536 bytes (receive.max_request)"), "{text}");
        assert!(answer.head.contains("content-type: application/x-protobuf"), "{answer:?}");
        let permanent = status::message(&answer.body);
        assert!((status == 200) == permanent.is_empty(), "{permanent:?}");
        assert!(!answer.head.contains("retry-after"), "{answer:?}");
    }
    let account = account(&edge.ledger(), "shared", "logs");
    assert_eq!((&account["received"], &account["duplicates"]), (&6.into(), &3.into()), "{account}");
    stop(edge).await;
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// The same records come in as JSON, plain and compressed, and are the same records: a repeat in protobuf is known. The answers are
/// JSON too.
#[tokio::test(flavor = "multi_thread")]
async fn json_is_answered_in_json() {
    let pki = Pki::new();
    let (edge, _data) = start(&pki, "drain: 100ms\nreceive: { grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", max_request: 64KiB }\n").await;
    let to = http_at(&edge);
    let text = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000007","body":{"intValue":"7"}}]}]}]}"#;
    let answer = http(to, "/v1/logs", &[JSON], text.as_bytes()).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]), "{answer:?}");
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (encoding, body) in [("gzip", gzip(text.as_bytes())), ("zstd", zstd)] {
        let answer =
            http(to, "/v1/logs", &[("content-type", "Application/JSON; charset=utf-8"), ("content-encoding", encoding)], &body).await;
        assert_eq!(answer.status, 200, "{encoding}: {answer:?}");
    }
    let mut same = logs(7..8);
    // The least there is: no resource, no scope.
    same.resource_logs[0].resource = None;
    assert_eq!(http(to, "/v1/logs", &[PROTOBUF], &same.encode_to_vec()).await.status, 200);
    let account = account(&edge.ledger(), "shared", "logs");
    assert_eq!((&account["received"], &account["duplicates"]), (&1.into(), &3.into()), "{account}");
    let large = format!(r#"{{"resourceLogs":[],"x":"{}"}}"#, "x".repeat(65_536));
    for (path, body, status, code) in [
        ("/v1/logs", r#"{"resourceLogs":7}"#, 400, 3),
        ("/v1/logs", "", 400, 3),
        ("/v1/logs", &large, 413, 3),
        ("/v1/profiles", "{}", 404, 12),
    ] {
        let answer = http(to, path, &[JSON], body.as_bytes()).await;
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &said["code"]), (status, &code.into()), "{said}");
        assert!(said["message"].as_str().is_some_and(|message| !message.is_empty()) && said["details"].is_null(), "{said}");
    }
    stop(edge).await;
}

/// Other methods than POST are told which one, and a protocol on the other's port which port, in the words of each.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_methods_and_ports_are_told_so() {
    let pki = Pki::new();
    let (edge, _data) = start(&pki, "drain: 100ms\n").await;
    let mut stream = TcpStream::connect(http_at(&edge)).await.unwrap();
    stream.write_all(b"GET /v1/logs HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = read_answer(stream).await;
    assert!(answer.status == 405 && answer.head.contains("allow: post"), "{answer:?}");
    let answer = http(grpc_at(&edge), "/v1/logs", &[PROTOBUF], b"").await;
    assert!(answer.status == 415 && String::from_utf8_lossy(&answer.body).contains("receive.http"), "{answer:?}");
    let other = Channel::from_shared(format!("http://{}", http_at(&edge))).unwrap().connect().await.unwrap();
    let refused = LogsServiceClient::new(other).export(logs(0..1)).await.unwrap_err();
    assert!(refused.code() == Code::Unimplemented && refused.message().contains("receive.grpc"), "{refused}");
    let mut unknown = tonic::client::Grpc::new(channel(&edge).await);
    unknown.ready().await.unwrap();
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Import".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<NotLogs, ExportLogsServiceResponse>::default();
    let refused = unknown.unary(Request::new(NotLogs { number: 7 }), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    stop(edge).await;
}

/// An edge whose memory four declared bodies use up.
const SMALL_MEMORY: &str =
    "drain: 100ms\nreceive: { grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", max_request: 64KiB, memory: 256KiB, wait: 20ms }\n";
const HOGGED_BYTES: usize = 256 << 10;

/// Senders that declared so much that [`SMALL_MEMORY`] is used up, and send nothing.
async fn hogs(edge: &Edge) -> Vec<TcpStream> {
    let mut hogs = Vec::new();
    while hogs.len() < HOGGED_BYTES / 65_536 {
        let mut stream = TcpStream::connect(http_at(edge)).await.unwrap();
        let head = "POST /v1/logs HTTP/1.1\r\nhost: edge\r\ncontent-type: application/x-protobuf\r\ncontent-length: 65536\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        hogs.push(stream);
    }
    eventually("all is claimed", || edge.unclaimed_bytes() == 0).await;
    hogs
}

/// A throttled sender of JSON reads when to come again in JSON.
#[tokio::test(flavor = "multi_thread")]
async fn over_the_budget_json_is_told_to_retry_in_json() {
    let pki = Pki::new();
    let (edge, _data) = start(&pki, SMALL_MEMORY).await;
    let hogs = hogs(&edge).await;
    let answer = http(http_at(&edge), "/v1/logs", &[JSON], b"{}").await;
    assert_eq!(answer.status, 429, "{answer:?}");
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["code"], 8, "{said}");
    let retry = serde_json::json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s" }]);
    assert_eq!(said["details"], retry, "{said}");
    drop(hogs);
    stop(edge).await;
}

/// Bodies in memory are bounded: senders that declare more than there is make others wait and be told to retry, in both protocols with
/// the words that make an SDK retry; and the memory comes back when they hang up.
#[tokio::test(flavor = "multi_thread")]
async fn over_the_memory_budget_senders_are_told_to_retry() {
    let pki = Pki::new();
    let (edge, _data) = start(&pki, SMALL_MEMORY).await;
    let hogs = hogs(&edge).await;
    let refused = http(http_at(&edge), "/v1/logs", &[PROTOBUF], &logs(0..3).encode_to_vec()).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    let mut client = LogsServiceClient::new(channel(&edge).await);
    let refused = client.export(logs(3..5)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(status::retry_after(refused.details()), Some(Duration::from_secs(1)));
    drop(hogs);
    eventually("memory comes back", || edge.unclaimed_bytes() == HOGGED_BYTES).await;
    client.export(logs(3..5)).await.unwrap();
    stop(edge).await;
}

/// With no router, a full spool and then a full inbox: senders are refused with a retryable status, counted, and what was taken before
/// is all still there; the edge says that it is not ready, and why.
#[tokio::test(flavor = "multi_thread")]
async fn full_disks_refuse_and_lose_nothing() {
    let pki = Pki::new();
    let receive = "receive: { grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", max_request: 1MiB, memory: 16MiB }\n";
    let disks = "inbox: { budget: 16MiB }\nspool: { budget: 4MiB, segment: 1MiB, when_full: refuse }\n";
    let (edge, _data) = start(&pki, &format!("drain: 100ms\n{receive}{disks}")).await;
    let mut taken = 0u64;
    let mut noise = 1u64;
    let refused = loop {
        let mut request = logs(taken..taken + 20);
        for record in &mut request.resource_logs[0].scope_logs[0].log_records {
            let bytes = (0..8_000).map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'!' + (noise >> 58) as u8)
            });
            record.severity_text = bytes.collect();
        }
        let answer = http(http_at(&edge), "/v1/logs", &[PROTOBUF], &request.encode_to_vec()).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 20;
        assert!(taken < 100_000, "nothing is ever full");
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    eventually("the spool stalls", || edge.ledger()["queue"]["spool_stalled"] == true).await;
    let account = account(&edge.ledger(), "shared", "logs");
    assert_eq!((&account["queued"], &account["refused"]["inbox_full"]), (&taken.into(), &20.into()), "{account}");
    assert_eq!((&account["received"], &account["balanced"]), (&(taken + 20).into(), &true.into()), "{account}");
    assert_eq!(account["dropped"], serde_json::json!({}));
    stop(edge).await;
}
