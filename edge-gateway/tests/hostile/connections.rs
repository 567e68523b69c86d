//! Garbage and half-open connections on every kind of port.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::certificates::tls_listener;
use super::sender::*;
use super::support::*;

/// Listeners of all kinds, with little patience: gRPC, HTTP, both over TLS, both on a Unix socket.
async fn all_kinds(handshake: &str) -> (Victim, tempfile::TempDir) {
    let (pki, dir) = (Pki::new(), tempfile::tempdir().unwrap());
    let tls = tls_listener(&pki, "");
    let unix = dir.path().join("otlp.sock");
    let receive = format!(", listeners: [ {tls}, \"unix:{}\" ], connections: {{ handshake: {handshake} }}", unix.display());
    (Victim::start_with(pki, &receive, "").await, dir)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(victim: &Victim, key: &str) -> Box<dyn Stream> {
    match victim.edge.bound.tcp(key) {
        Some(address) => Box::new(TcpStream::connect(address).await.unwrap()),
        None => Box::new(UnixStream::connect(victim.edge.bound.receivers[key].unix().unwrap()).await.unwrap()),
    }
}

const KEYS: [&str; 4] = ["receive.grpc", "receive.http", "receive.listeners[0]", "receive.listeners[1]"];

/// Garbage on any port ends that connection, or is refused on it, and nothing else; what is good is taken before and after.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_port_ends_that_connection_alone() {
    let (victim, _dir) = all_kinds("10s").await;
    let random: Vec<u8> = noise(40_000).into_bytes().iter().map(|byte| byte.wrapping_mul(97)).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let garbage: [Vec<u8>; 7] = [
        random.clone(),
        vec![0; 100_000],
        [&preface[..], &random].concat(),
        [&preface[..], &[0xff; 9], &random].concat(),
        // A TLS record of a length that cannot be.
        [&[22, 3, 1, 0xff, 0xff][..], &random].concat(),
        format!("POST /v1/logs HTTP/1.1\r\n{}", "x".repeat(200_000)).into_bytes(),
        b"POST /v1/logs HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_vec(),
    ];
    for key in KEYS {
        for bytes in &garbage {
            let mut stream = connect(&victim, key).await;
            // It may be closed before all is written.
            let _ = stream.write_all(bytes).await;
            until_it_ends(&mut stream).await;
        }
    }
    victim.is_well().await;
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.listeners[0]\"", "why=\"handshake\""]).await;
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.grpc\"", "why=\"failed\""]).await;
    victim.stop().await;
}

/// Who connects and says nothing, or stops within the first bytes or within the TLS handshake, is let go after the time for it, and
/// counted.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_on_every_port_end() {
    let (victim, _dir) = all_kinds("50ms").await;
    for key in KEYS {
        for said in [&b""[..], b"PRI * HTTP/2.0\r\n", &[22, 3, 1, 2, 0, 1, 0]] {
            let mut stream = connect(&victim, key).await;
            stream.write_all(said).await.unwrap();
            // HTTP/1.1 says that a TLS record is no request, TLS that a preface is none of its records; nobody else gets an answer.
            let answer = until_it_ends(&mut stream).await;
            let told = answer.starts_with(b"HTTP/1.1 400") || (answer.first() == Some(&21) && key.ends_with("[0]"));
            assert!(answer.is_empty() || told, "{key}: {answer:?}");
        }
    }
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.grpc\"", "why=\"silent\""]).await;
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.listeners[0]\"", "why=\"handshake\""]).await;
    victim.stop().await;
}

/// Many connections that never say a word hold up nobody: others are served beside them, and after their time their places are free.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_hold_up_nobody_for_long() {
    let victim = Victim::start(", max_request: 64KiB, memory: 256KiB, connections: { handshake: 100ms }").await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(http_at(&victim.edge)).await.unwrap());
    }
    // More than there are places: whoever comes now waits for one of theirs.
    assert_eq!(tokio::time::timeout(LONG, post_logs(&victim.edge, 0..1)).await, Ok(200));
    for mut stream in silent {
        assert!(until_it_ends(&mut stream).await.is_empty());
    }
    victim.stop().await;
}

/// The socket of one edge is not taken by another; it goes with its edge; both protocols are spoken on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_its_edges_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("otlp.sock");
    let receive = format!(", listeners: [ {{ listen: \"unix:{}\", default_tenant: node, accept: [default] }} ]", path.display());
    let victim = Victim::start(&receive).await;
    let (other, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let text = format!("receive: {{ grpc: off, http: off{receive} }}\n");
    let refused = edge_gateway::Edge::start(config(&pki, other.path(), nowhere(), &text)).await.unwrap_err().to_string();
    assert!(refused.contains("receive.listeners[0]: unix:") && refused.contains("another process listens there"), "{refused}");
    let body = prost::Message::encode_to_vec(&logs(0..3));
    let mut grpc = http2(UnixStream::connect(&path).await.unwrap()).await;
    let answer = grpc_answer(&mut grpc, grpc_request(&[], http_body_util::Full::from(framed(false, &body)))).await;
    assert_eq!((answer.code, answer.message.as_str()), (0, ""));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let head =
        format!("POST /v1/logs HTTP/1.1\r\nhost: edge\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n", body.len());
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    assert!(until_it_ends(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    let account = account(&victim.edge.ledger(), "node", "logs");
    assert_eq!((&account["received"], &account["duplicates"]), (&3.into(), &3.into()), "{account}");
    victim.stop().await;
    assert!(!path.exists());
}
