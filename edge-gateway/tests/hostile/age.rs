//! Connections that would stay for ever: each ends by its age, without a request lost to it, and at once when it abuses the grace.

use http_body_util::Full;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::sender::*;
use super::support::*;

/// HTTP/1.1: the last answer says `connection: close`, and every request that was sent has its OK.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_http1_connection_ends_with_an_answer() {
    let victim = Victim::start(", connections: { max_age: 100ms, grace: 10s }").await;
    let mut stream = TcpStream::connect(http_at(&victim.edge)).await.unwrap();
    let mut sent = 0;
    loop {
        let body = logs(sent..sent + 1).encode_to_vec();
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nhost: edge\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        sent += 1;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(tokio::time::timeout(LONG, stream.read_u8()).await.expect("an answer").unwrap());
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        if answer.contains("connection: close") {
            break;
        }
    }
    assert!(until_it_ends(&mut stream).await.is_empty());
    assert_eq!(account(&victim.edge.ledger(), "shared", "logs")["received"], sent);
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.http\"", "why=\"aged\""]).await;
    victim.stop().await;
}

/// HTTP/2: GOAWAY, after which a client opens another connection; whatever it had sent has its OK.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_http2_connection_goes_away() {
    let victim = Victim::start(", connections: { max_age: 100ms, grace: 10s }").await;
    let mut sender = http2::<Full<bytes::Bytes>>(TcpStream::connect(grpc_at(&victim.edge)).await.unwrap()).await;
    let mut taken = 0;
    while sender.ready().await.is_ok() {
        let body = framed(false, &logs(taken..taken + 1).encode_to_vec());
        // A request that the GOAWAY crosses is not taken, which the client knows.
        let Ok(response) = sender.send_request(grpc_request(&[], Full::from(body))).await else { break };
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("grpc-status"), "{response:?}");
        taken += 1;
    }
    assert!(taken > 0);
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.grpc\"", "why=\"aged\""]).await;
    assert_eq!(account(&victim.edge.ledger(), "shared", "logs")["received"], taken);
    victim.stop().await;
}

/// A request that outlives age and grace is cut off; nothing of it is taken.
#[tokio::test(flavor = "multi_thread")]
async fn who_outstays_the_grace_is_cut_off() {
    let victim = Victim::start(", connections: { max_age: 50ms, grace: 50ms, body: 1h }").await;
    let mut stream = TcpStream::connect(http_at(&victim.edge)).await.unwrap();
    let head = "POST /v1/logs HTTP/1.1\r\nhost: edge\r\ncontent-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(until_it_ends(&mut stream).await.is_empty());
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.http\"", "why=\"cut\""]).await;
    victim.is_well().await;
    victim.stop().await;
}
