//! Slow-loris senders: each takes its time with something, and gets no more than the configured one, whatever it dribbles meanwhile.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::sender::*;
use super::support::*;

/// Writes a byte now and then, until nobody takes it.
async fn dribble(mut stream: impl AsyncWrite + Unpin) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while stream.write_all(b"a").await.is_ok() {
        tick.tick().await;
    }
}

/// A head that comes byte by byte ends with the time for a head.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_loris_on_headers_is_let_go() {
    let victim = Victim::start(", connections: { idle: 100ms }").await;
    for at in [http_at(&victim.edge), grpc_at(&victim.edge)] {
        let (mut read, mut write) = TcpStream::connect(at).await.unwrap().into_split();
        write.write_all(b"POST /v1/logs HTTP/1.1\r\nx-slow: ").await.unwrap();
        let dribbling = tokio::spawn(dribble(write));
        until_it_ends(&mut read).await;
        tokio::time::timeout(LONG, dribbling).await.expect("nobody takes it").unwrap();
    }
    victim.is_well().await;
    victim.stop().await;
}

/// A body that comes byte by byte ends with the time for a body, in a retryable refusal, and its memory comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_loris_on_the_body_is_refused() {
    let victim = Victim::start(", connections: { body: 100ms }").await;
    let (mut read, mut write) = TcpStream::connect(http_at(&victim.edge)).await.unwrap().into_split();
    let head = "POST /v1/logs HTTP/1.1\r\nhost: edge\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000000\r\n\r\n";
    write.write_all(head.as_bytes()).await.unwrap();
    let dribbling = tokio::spawn(dribble(write));
    let answer = String::from_utf8(until_it_ends(&mut read).await).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    tokio::time::timeout(LONG, dribbling).await.expect("nobody takes it").unwrap();
    victim.counts("tributary_edge_requests_total", &["protocol=\"http\"", "outcome=\"unavailable\""]).await;
    victim.is_well().await;
    victim.stop().await;
}

/// A gRPC message of which only the beginning ever comes.
struct Unfinished(Option<Bytes>);

impl Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Without a waker: it is never polled to its end.
        self.0.take().map_or(Poll::Pending, |begin| Poll::Ready(Some(Ok(Frame::data(begin)))))
    }
}

/// The same over gRPC: UNAVAILABLE with RetryInfo, and the connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_loris_on_a_grpc_message_is_refused() {
    let victim = Victim::start(", connections: { body: 100ms }").await;
    let mut sender = http2::<Unfinished>(TcpStream::connect(grpc_at(&victim.edge)).await.unwrap()).await;
    for begin in [&[0, 0, 1, 0, 0, 7][..], &[0, 0]] {
        let answer = grpc_answer(&mut sender, grpc_request(&[], Unfinished(Some(Bytes::copy_from_slice(begin))))).await;
        assert_eq!((answer.code, answer.retry), (14, true), "{answer:?}");
    }
    victim.is_well().await;
    victim.stop().await;
}

/// A sender that asks and asks and reads no answer ends its connection, when the kernel takes no more of them.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_answers_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("otlp.sock");
    let victim = Victim::start(&format!(", listeners: [ \"unix:{}\" ], connections: {{ answer: 100ms }}", path.display())).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let asking = async { while stream.write_all(b"GET / HTTP/1.1\r\nhost: edge\r\n\r\n").await.is_ok() {} };
    tokio::time::timeout(LONG, asking).await.expect("nobody takes it");
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.listeners[0]\"", "why=\"failed\""]).await;
    victim.is_well().await;
    victim.stop().await;
}
