//! Whole requests that are made to cost more than they weigh.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message;

use super::router::Router;
use super::sender::*;
use super::support::*;

const INVALID_ARGUMENT: i32 = 3;
const JSON: (&str, &str) = ("content-type", "application/json");

/// The body of a request whose one body is this many levels deep.
fn nested(levels: usize) -> Vec<u8> {
    let field = |number: u8, inside: &[u8]| {
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(inside.len() as u64, &mut bytes);
        [&bytes, inside].concat()
    };
    // AnyValue.array_value (5) of ArrayValue.values (1), and so on.
    let mut value = Vec::new();
    for _ in 0..levels {
        value = field(5, &field(1, &value));
    }
    // Body (5) of a record (2) of a scope (2) of a resource (1).
    field(1, &field(2, &field(2, &field(5, &value))))
}

/// Ten thousand levels of nested values are refused in words, as protobuf on both protocols and as JSON, and no stack is deep enough to
/// notice.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_levels_of_nested_values_are_refused() {
    const LEVELS: usize = 10_000;
    let victim = Victim::start("").await;
    let body = nested(LEVELS);
    let answer = grpc(&victim.edge, &[], framed(false, &body)).await;
    assert!(answer.code == INVALID_ARGUMENT && answer.message.contains("deeply"), "{answer:?}");
    let answer = http(http_at(&victim.edge), "/v1/logs", &[PROTOBUF], &body).await;
    assert_eq!(answer.status, 400);
    let status = RpcStatus::decode(&answer.body[..]).unwrap();
    assert!(status.code == INVALID_ARGUMENT && status.message.contains("deeply"), "{status:?}");
    let value = format!("{}{}", r#"{"arrayValue":{"values":["#.repeat(LEVELS), "]}}".repeat(LEVELS));
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{value}}}]}}]}}]}}"#);
    let answer = http(http_at(&victim.edge), "/v1/logs", &[JSON], json.as_bytes()).await;
    let text = String::from_utf8(answer.body).unwrap();
    assert!(answer.status == 400 && text.contains("deeply") && text.contains("\"code\":3"), "{} {text}", answer.status);
    victim.is_well().await;
    assert_eq!(http(http_at(&victim.edge), "/v1/logs", &[PROTOBUF], &nested(40)).await.status, 200);
    victim.stop().await;
}

/// Bodies that unpack to a hundred, or thousands, of times their size are refused for good when they pass the limit, on both protocols; at no time is
/// more than the budget claimed, of which two such bodies would be all.
#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_zstd_bombs_cost_no_more_than_the_limit() {
    let victim = Victim::start(", max_request: 64KiB, memory: 256KiB").await;
    for (name, packed) in [("gzip", gzip(&vec![0; 4 << 20])), ("zstd", zstd::encode_all(&vec![0; 256 << 20][..], 1).unwrap())] {
        assert!(packed.len() < 64 << 10, "{name}: {}", packed.len());
        let answer = http(http_at(&victim.edge), "/v1/logs", &[PROTOBUF, ("content-encoding", name)], &packed).await;
        assert_eq!(answer.status, 413, "{name}");
        assert!(!answer.head.contains("retry-after"), "{}", answer.head);
        let answer = grpc(&victim.edge, &[("grpc-encoding", name)], framed(true, &packed)).await;
        assert!(answer.code == INVALID_ARGUMENT && !answer.retry && answer.message.contains("max_request"), "{name}: {answer:?}");
    }
    victim.counts("tributary_edge_requests_total", &["protocol=\"http\"", "outcome=\"too_large\""]).await;
    victim.is_well().await;
    victim.stop().await;
}

/// A record with a hundred thousand attributes, all of other names, is a record: taken, shipped, and there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_attribute_keys_arrive() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::acks_all(&pki);
    let edge = edge_gateway::Edge::start(config(&pki, data.path(), router.address, &format!("{RECEIVE}drain: 20s\n"))).await.unwrap();
    let mut request = logs(0..3);
    let attribute = |n: u32| KeyValue {
        key: format!("key.{n}"),
        value: Some(AnyValue { value: Some(any_value::Value::BoolValue(n > 7)) }),
        ..KeyValue::default()
    };
    request.resource_logs[0].scope_logs[0].log_records[1].attributes = (0..100_000).map(attribute).collect();
    let answer = http(http_at(&edge), "/v1/logs", &[PROTOBUF], &request.encode_to_vec()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    eventually("they are acked", || account(&edge.ledger(), "shared", "logs")["shipped"] == 3).await;
    assert_eq!(router.seen.lock().rows.values().copied().collect::<Vec<_>>(), [1, 1, 1]);
    let shutdown = service::shutdown::Shutdown::new();
    shutdown.request();
    edge.run(shutdown).await;
}

/// A string of 64 MiB: the largest request there can be is taken whole, one byte more is refused for good before it is read; memory is
/// claimed for it and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_string_of_64_mib_is_taken_and_one_byte_more_is_not() {
    const LIMIT: usize = 64 << 20;
    let victim = Victim::start(", max_request: 64MiB, memory: 256MiB").await;
    let mut request = logs(0..1);
    let overhead = request.encoded_len();
    let mut grow = |len: usize| {
        request.resource_logs[0].scope_logs[0].log_records[0].severity_text = "x".repeat(len);
        request.encode_to_vec()
    };
    let padding = grow(LIMIT - overhead).len() - LIMIT;
    let (largest, larger) = (grow(LIMIT - overhead - padding), grow(LIMIT - overhead - padding + 1));
    assert_eq!((largest.len(), larger.len()), (LIMIT, LIMIT + 1));
    let answer = http(http_at(&victim.edge), "/v1/logs", &[PROTOBUF], &larger).await;
    assert_eq!(answer.status, 413);
    let answer = grpc(&victim.edge, &[], framed(false, &larger)).await;
    assert!(answer.code == INVALID_ARGUMENT && !answer.retry, "{answer:?}");
    let largest = Arc::new(largest);
    let answer = http(http_at(&victim.edge), "/v1/logs", &[PROTOBUF], &largest).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(account(&victim.edge.ledger(), "shared", "logs")["received"], 1);
    victim.is_well().await;
    victim.stop().await;
}
