//! Senders with certificates and tokens that are not good, or not good for this.

use std::time::{Duration, SystemTime};

use http_body_util::Full;
use prost::Message;
use rcgen::{CertificateParams, date_time_ymd};
use service::tls::TlsFiles;
use tokio::io::AsyncWriteExt;

use super::sender::*;
use super::support::*;

const CART: &str = "spiffe://example.org/ns/shop/sa/cart";

/// A listener on a free port that asks for certificates, as a YAML mapping.
pub(crate) fn tls_listener(pki: &Pki, more: &str) -> String {
    let TlsFiles { ca, cert, key } = pki.issue("otlp", names(&[], &["edge.test"]));
    let (ca, cert, key) = (ca.display(), cert.display(), key.display());
    format!("{{ listen: \"127.0.0.1:0\", tls: {{ cert: {cert}, key: {key}, client_ca: {ca} }}{more} }}")
}

const IDENTITY: &str =
    "identity: { default_tenant: shared, certificates: [ { spiffe: spiffe://example.org/ns/shop/sa/cart, tenant: shop } ] }\n";

/// An edge whose `receive.listeners[0]` takes certificates and nothing else.
async fn victim() -> Victim {
    let pki = Pki::new();
    let listener = tls_listener(&pki, ", accept: [certificate]");
    Victim::start_with(pki, &format!(", listeners: [ {listener} ]"), IDENTITY).await
}

fn valid(from: i32, to: i32) -> CertificateParams {
    let mut params = names(&[CART], &[]);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params
}

fn at(victim: &Victim) -> std::net::SocketAddr {
    victim.edge.bound.tcp("receive.listeners[0]").unwrap()
}

fn post(ids: std::ops::Range<u64>, connection: &str) -> Vec<u8> {
    let body = logs(ids).encode_to_vec();
    let (name, kind) = PROTOBUF;
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: edge\r\nconnection: {connection}\r\n{name}: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// The sender's certificate names its tenant, over both protocols and whatever default there is elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_names_its_tenant() {
    let victim = victim().await;
    let sender = victim.pki.issue("cart", names(&[CART], &[]));
    let mut grpc = http2(tls(at(&victim), &sender, b"h2").await.unwrap()).await;
    let body = framed(false, &logs(0..2).encode_to_vec());
    assert_eq!(grpc_answer(&mut grpc, grpc_request(&[], Full::from(body))).await.code, 0);
    let mut stream = tls(at(&victim), &sender, b"http/1.1").await.unwrap();
    stream.write_all(&post(2..5, "close")).await.unwrap();
    assert!(until_it_ends(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    assert_eq!(account(&victim.edge.ledger(), "shop", "logs")["received"], 5);
    victim.stop().await;
}

/// An expired certificate, one that is not valid yet, one of a foreign CA, and none at all: no connection, and counted as such.
#[tokio::test(flavor = "multi_thread")]
async fn expired_not_yet_valid_foreign_and_missing_certificates_open_no_connection() {
    let victim = victim().await;
    let mut foreign = Pki::new().issue("cart", names(&[CART], &[]));
    foreign.ca.clone_from(&victim.pki.edge.ca);
    let foreign_dir = Pki::new();
    let stranger = TlsFiles { ca: victim.pki.edge.ca.clone(), ..foreign_dir.issue("cart", names(&[CART], &[])) };
    let senders = [
        ("expired", victim.pki.issue("old", valid(2001, 2002))),
        ("not yet valid", victim.pki.issue("new", valid(2990, 2991))),
        ("foreign", stranger),
    ];
    for (what, sender) in senders {
        // TLS 1.3: the client hears of it with the first bytes it reads.
        let heard = match tls(at(&victim), &sender, b"http/1.1").await {
            Ok(mut stream) => {
                let _ = stream.write_all(&post(0..1, "keep-alive")).await;
                until_it_ends(&mut stream).await
            }
            Err(_) => Vec::new(),
        };
        assert!(heard.is_empty(), "{what}: {}", String::from_utf8_lossy(&heard));
    }
    let mut plain = tokio::net::TcpStream::connect(at(&victim)).await.unwrap();
    plain.write_all(&post(0..1, "keep-alive")).await.unwrap();
    let heard = until_it_ends(&mut plain).await;
    assert!(!heard.starts_with(b"HTTP"), "in the clear: {heard:?}");
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.listeners[0]\"", "why=\"handshake\""]).await;
    assert_eq!(victim.edge.ledger()["tenants"], serde_json::json!([]));
    victim.is_well().await;
    victim.stop().await;
}

/// A good certificate that names no tenant is refused for good, although the edge has a default tenant on other listeners.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_a_tenant_is_refused() {
    let victim = victim().await;
    let sender = victim.pki.issue("other", names(&["spiffe://example.org/ns/shop/sa/other"], &[]));
    let mut grpc = http2(tls(at(&victim), &sender, b"h2").await.unwrap()).await;
    let answer = grpc_answer(&mut grpc, grpc_request(&[], Full::from(framed(false, &logs(0..2).encode_to_vec())))).await;
    assert_eq!((answer.code, answer.retry), (7, false), "{answer:?}");
    let mut stream = tls(at(&victim), &sender, b"http/1.1").await.unwrap();
    stream.write_all(&post(2..5, "close")).await.unwrap();
    assert!(until_it_ends(&mut stream).await.starts_with(b"HTTP/1.1 403"));
    victim.counts("tributary_edge_requests_total", &["protocol=\"grpc\"", "outcome=\"unauthenticated\""]).await;
    victim.stop().await;
}

/// A certificate that expires while its sender is connected ends the connection.
#[expect(clippy::disallowed_methods, reason = "certificates are valid by the time of day")]
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_ends_its_connection() {
    let victim = victim().await;
    let mut params = names(&[CART], &[]);
    params.not_after = (SystemTime::now() + Duration::from_secs(3)).into();
    let sender = victim.pki.issue("brief", params);
    let mut stream = tls(at(&victim), &sender, b"http/1.1").await.unwrap();
    stream.write_all(&post(0..1, "keep-alive")).await.unwrap();
    assert!(until_it_ends(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    victim.counts("tributary_edge_sender_connections_ended_total", &["listener=\"receive.listeners[0]\"", "why=\"aged\""]).await;
    victim.stop().await;
}

/// An unknown token is refused for good on both protocols, and counted.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_token_is_refused_and_counted() {
    let victim = Victim::start("").await;
    let unknown = ("authorization", "Bearer unknown");
    let body = logs(0..2).encode_to_vec();
    let answer = grpc(&victim.edge, &[unknown], framed(false, &body)).await;
    assert_eq!((answer.code, answer.retry), (16, false), "{answer:?}");
    let answer = http(http_at(&victim.edge), "/v1/logs", &[PROTOBUF, unknown], &body).await;
    assert_eq!(answer.status, 401);
    assert!(answer.head.contains("www-authenticate: bearer") && !answer.head.contains("retry-after"), "{}", answer.head);
    for protocol in ["protocol=\"grpc\"", "protocol=\"http\""] {
        victim.counts("tributary_edge_requests_total", &[protocol, "outcome=\"unauthenticated\""]).await;
    }
    assert_eq!(victim.edge.ledger()["tenants"], serde_json::json!([]));
    victim.is_well().await;
    victim.stop().await;
}

/// A listener's certificate that is replaced is shown from the next connection on; a file that is no certificate, or one outside its
/// dates, leaves it as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_shown() {
    let victim = victim().await;
    let sender = victim.pki.issue("cart", names(&[CART], &[]));
    let shown = async || {
        let stream = tls(at(&victim), &sender, b"http/1.1").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    assert_eq!(shown().await, first);
    let files = victim.pki.issue("otlp", names(&[], &["edge.test"]));
    let second = shown().await;
    assert_ne!(second, first);
    for (from, to) in [(2001, 2002), (2990, 2991)] {
        let mut params = names(&[], &["edge.test"]);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        victim.pki.issue("otlp", params);
        assert_eq!(shown().await, second, "{from} to {to}");
    }
    std::fs::write(files.cert, "nothing").unwrap();
    assert_eq!(shown().await, second);
    victim.stop().await;
}
