//! gRPC messages that are not as long as they say.

use prost::Message;

use super::sender::*;
use super::support::*;

const INVALID_ARGUMENT: i32 = 3;
const UNIMPLEMENTED: i32 = 12;

/// A frame that is cut off, says too little or far too much, has a flag of its own, or is not there: refused for good, in words, and
/// the memory that it asked for is not claimed.
#[tokio::test(flavor = "multi_thread")]
async fn truncated_frames_and_length_prefixes_that_lie_are_refused() {
    let victim = Victim::start(", max_request: 64KiB, memory: 256KiB").await;
    let good = framed(false, &logs(0..20).encode_to_vec());
    let (cut, mut long, mut short, mut flag) = (good[..good.len() - 7].to_vec(), good.clone(), good.clone(), good.clone());
    long[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    short[4] -= 1;
    flag[0] = 7;
    let cases = [
        ("truncated", cut, "not one whole message"),
        ("too much", long, "receive.max_request"),
        ("too little", short, "not one whole message"),
        ("flag", flag, "neither 0 nor 1"),
        ("no prefix", vec![0, 0, 0], "no message"),
        ("nothing", Vec::new(), "no message"),
        ("compressed, it says", framed(true, &logs(0..20).encode_to_vec()), "grpc-encoding"),
    ];
    for (what, body, says) in cases {
        let answer = grpc(&victim.edge, &[], body).await;
        let message = answer.message.replace("%20", " ");
        assert!((answer.code, answer.retry) == (INVALID_ARGUMENT, false) && message.contains(says), "{what}: {answer:?}");
    }
    let answer = grpc(&victim.edge, &[("grpc-encoding", "snappy")], good.clone()).await;
    assert!(answer.code == UNIMPLEMENTED && !answer.retry, "{answer:?}");
    victim.counts("tributary_edge_requests_total", &["protocol=\"grpc\"", "outcome=\"malformed\""]).await;
    assert_eq!(grpc(&victim.edge, &[], good).await.code, 0);
    victim.is_well().await;
    victim.stop().await;
}

/// A body of HTTP/1.1 that ends before its declared length is never taken for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_off_is_not_taken() {
    use tokio::io::AsyncWriteExt;
    let victim = Victim::start("").await;
    let body = logs(0..20).encode_to_vec();
    let mut stream = tokio::net::TcpStream::connect(http_at(&victim.edge)).await.unwrap();
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: edge\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len() + 1
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = until_it_ends(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(victim.edge.ledger()["tenants"], serde_json::json!([]));
    victim.is_well().await;
    victim.stop().await;
}
