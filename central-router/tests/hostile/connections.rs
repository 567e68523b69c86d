//! The QUIC port against those who are no edges, or never become one.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use central_router::pki;
use federation_proto::frame::CloseCode;
use quinn::{ClientConfig, Endpoint};
use service::tls::TlsFiles;

use crate::client::{Client, bodies};
use crate::site::{PATIENCE, Site, edge};

/// Datagrams that are no QUIC, or are cut short or altered, harm nobody: an edge ships through them.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_datagrams_harm_nobody() {
    let site = Site::new("");
    let up = site.start().await;
    let mut honest = site.connect(&up, "us").await;
    let initial = initial_of(&site).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..500usize {
        let noise: Vec<u8> = (0..n * 7 % 1400).map(|at| (at * 31 + n * 17) as u8).collect();
        let cut = &initial[..n % initial.len()];
        let mut altered = initial.clone();
        altered[n % initial.len()] ^= 1 << (n % 8);
        for bytes in [noise.as_slice(), cut, &altered] {
            socket.send_to(bytes, up.ready.listen).unwrap();
        }
    }
    honest.goes_on("us", 0).await;
    site.connect(&up, "eu").await.goes_on("eu", 0).await;
    up.stop().await;
    assert_eq!(site.bodies(), bodies("us", [0]).into_iter().chain(bodies("eu", [0])).collect());
}

/// The first datagram of a handshake.
async fn initial_of(site: &Site) -> Vec<u8> {
    let listening = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let identity = pki::edge_identity(site.path(), &edge("eu"));
    service::tls::install_provider();
    let files = TlsFiles { ca: identity.ca, cert: identity.cert, key: identity.key };
    let tls = files.client_config(&[federation_proto::frame::ALPN]).unwrap();
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let config = ClientConfig::new(Arc::new(crypto));
    let _connecting = endpoint.connect_with(config, listening.local_addr().unwrap(), "localhost").unwrap();
    let mut datagram = vec![0; 2048];
    let len = tokio::time::timeout(PATIENCE, listening.recv(&mut datagram)).await.unwrap().unwrap();
    datagram.truncate(len);
    datagram
}

/// Handshakes that are begun and never go on end after their time, counted; those of one address beyond a few have to prove it first;
/// an edge gets in meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_handshakes_end_and_keep_nobody_out() {
    let site = Site::new("timeouts: {hello: 1s}\n");
    let up = site.start().await;
    let mut sockets = Vec::new();
    for _ in 0..40 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&initial_of(&site).await, up.ready.listen).unwrap();
        sockets.push(socket);
    }
    site.connect(&up, "us").await.goes_on("us", 0).await;
    up.counted("tributary_router_refused_connections_total", &["reason=\"handshake_timeout\""]).await;
    up.stop().await;
}

/// Who shakes hands and then says nothing, opens the control stream and says nothing whole, is closed for it in time.
#[tokio::test(flavor = "multi_thread")]
async fn silence_after_the_handshake_ends() {
    let site = Site::new("timeouts: {hello: 500ms}\n");
    let up = site.start().await;
    let identity = pki::edge_identity(site.path(), &edge("eu"));
    let silent = Client::dial(up.ready.listen, &identity).await.unwrap();
    let mut halting = Client::dial(up.ready.listen, &identity).await.unwrap();
    halting.send.write_all(&[9, 0]).await.unwrap();
    assert_eq!(silent.closed().await, CloseCode::Timeout);
    assert_eq!(halting.closed().await, CloseCode::Timeout);
    up.violated("timeout", "no_control_stream").await;
    up.violated("timeout", "no_hello").await;
    up.stop().await;
}

/// One connection more than there is room for is told so, and gets in when another leaves.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_told_so() {
    let site = Site::new("connections: 2\n");
    let up = site.start().await;
    let mut first = site.connect(&up, "us").await;
    let second = site.connect(&up, "eu").await;
    let identity = pki::edge_identity(site.path(), &edge("eu"));
    // The refusal may come before or after the client's first stream.
    let code = match Client::dial(up.ready.listen, &identity).await {
        Ok(client) => client.closed().await,
        Err(error) => crate::client::close_code(&error),
    };
    assert_eq!(code, CloseCode::Busy);
    up.violated("busy", "connections").await;
    second.quic.close(0u8.into(), b"");
    up.until("a free place", || async { up.ledger().await["edges"].as_array().unwrap().len() == 1 }).await;
    up.until("the next gets in", || async {
        Client::dial(up.ready.listen, &identity).await.is_ok_and(|c| c.quic.close_reason().is_none())
    })
    .await;
    first.goes_on("us", 0).await;
    up.stop().await;
}
