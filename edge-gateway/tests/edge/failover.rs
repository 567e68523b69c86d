//! From one router to another, from one transport to another: what is acknowledged to senders arrives, and soon.

use std::sync::Arc;
use std::time::Duration;

use edge_gateway::Edge;
use edge_gateway::config::{Config, Endpoint};
use edge_gateway::link::Transport;
use prost::Message;
use service::shutdown::Shutdown;
use service::tls::TlsFiles;

use super::router::{Answer, Router};
use super::support::*;

/// What a failover may take, until the first ack of the other router.
const FAILOVER: Duration = Duration::from_secs(3);

async fn stop(edge: Edge) {
    let shutdown = Shutdown::new();
    shutdown.request();
    edge.run(shutdown).await;
}

fn shipped(edge: &Edge) -> u64 {
    account(&edge.ledger(), "shared", "logs")["shipped"].as_u64().unwrap_or(0)
}

fn also(config: &mut Config, router: &Router) {
    let endpoint = config.ship.endpoints[0].clone();
    config.ship.endpoints.push(Endpoint { address: router.address.to_string(), ..endpoint });
}

/// Where UDP does not get through, the edge ships over TCP by itself and says so; when QUIC works again it goes back to it, and no row is
/// lost or doubled.
#[tokio::test(flavor = "multi_thread")]
async fn tcp_where_udp_is_blocked_and_back() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let tcp = Router::over_tcp(&pki).await;
    let mut config = config(&pki, data.path(), tcp.address, RECEIVE);
    config.ship.quic_retry = Duration::from_secs(1);
    let edge = Edge::start(config).await.unwrap();
    for n in 0..20 {
        assert_eq!(post_logs(&edge, n * 50..n * 50 + 50).await, 200);
    }
    eventually("all rows are acked over TCP", || shipped(&edge) == 1_000).await;
    assert_eq!(edge.ledger()["link"]["transport"], "tcp");
    assert!(tcp.seen.lock().rows.values().all(|times| *times == 1));
    eventually("wire bytes are counted", || edge.ledger()["wire"]["bytes_sent"].as_u64().unwrap() > 1_000).await;
    let quic = Router::at(tcp.address, 0, &pki, Arc::new(|_, _| Answer::Ack));
    eventually("it goes back to QUIC", || edge.ledger()["link"]["transport"] == "quic").await;
    assert_eq!(post_logs(&edge, 1_000..1_050).await, 200);
    eventually("the rest is acked over QUIC", || shipped(&edge) == 1_050).await;
    assert_eq!((tcp.seen.lock().rows.len(), quic.seen.lock().rows.len()), (1_000, 50));
    stop(edge).await;
}

/// `transport: tcp` and `transport: quic` are kept to.
#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_is_set_is_kept() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let quic = Router::acks_all(&pki);
    let mut config = config(&pki, data.path(), quic.address, RECEIVE);
    config.ship.transport = Some(Transport::Tcp);
    let edge = Edge::start(config).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("it fails over TCP alone", || edge.ledger()["link"]["error"].as_str().is_some_and(|why| why.contains("(TCP)"))).await;
    assert!(quic.seen.lock().hellos.is_empty());
    stop(edge).await;
}

/// A router that dies under load without a word is missed, and the next acks within three seconds; nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_router_is_left_in_time() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let (first, second) = (Router::acks_all(&pki), Router::acks_all(&pki));
    let mut both = config(&pki, data.path(), first.address, RECEIVE);
    also(&mut both, &second);
    let edge = Edge::start(both).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("the first router acks", || shipped(&edge) == 10).await;
    first.vanish();
    let died = tokio::time::Instant::now();
    let mut sent = 10;
    while second.seen.lock().rows.is_empty() && died.elapsed() < LONG {
        assert_eq!(post_logs(&edge, sent..sent + 10).await, 200);
        sent += 10;
    }
    let took = died.elapsed();
    assert!(took <= FAILOVER, "the failover took {took:?}");
    eventually("all rows are acked", || shipped(&edge) == sent).await;
    stop(edge).await;
}

/// The same when what the dead router does not acknowledge has taken all of the send window, so that no word to it leaves either.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_router_is_left_in_time_with_a_full_window() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let (first, second) = (Router::acks_all(&pki), Router::acks_all(&pki));
    let mut both = config(&pki, data.path(), first.address, RECEIVE);
    also(&mut both, &second);
    let edge = Edge::start(both).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("the first router acks", || shipped(&edge) == 10).await;
    let mut large = traces(1);
    large.resource_spans[0].scope_spans[0].spans[0].name = noise(1 << 20);
    let large = large.encode_to_vec();
    first.vanish();
    let died = tokio::time::Instant::now();
    assert_eq!(http(http_at(&edge), "/v1/traces", &[PROTOBUF], &large).await.status, 200);
    eventually("the second router is told of the edge", || !second.seen.lock().hellos.is_empty()).await;
    let took = died.elapsed();
    assert!(took <= FAILOVER, "the failover took {took:?}");
    eventually("the large batch is acked", || account(&edge.ledger(), "shared", "traces")["shipped"] == 1).await;
    stop(edge).await;
}

/// A preferred router that comes back and looks well for as long as is set is returned to.
#[tokio::test(flavor = "multi_thread")]
async fn a_preferred_router_is_returned_to() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let free = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let second = Router::acks_all(&pki);
    let mut both = config(&pki, data.path(), free, RECEIVE);
    both.ship.return_after = Duration::from_secs(1);
    also(&mut both, &second);
    let edge = Edge::start(both).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("the second router acks", || shipped(&edge) == 10).await;
    let first = Router::at(free, 0, &pki, Arc::new(|_, _| Answer::Ack));
    let back = first.address.to_string();
    eventually("it returns", || edge.ledger()["link"]["endpoint"] == back && edge.ledger()["link"]["connected"] == true).await;
    assert_eq!(post_logs(&edge, 10..20).await, 200);
    eventually("the preferred router acks", || first.seen.lock().rows.len() == 10).await;
    stop(edge).await;
}

/// A certificate that is replaced under load is shown to the router without a restart, and no row is lost or doubled.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_used() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::acks_all(&pki);
    let edge = Edge::start(config(&pki, data.path(), router.address, RECEIVE)).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("the router acks", || shipped(&edge) == 10).await;
    pki.issue("edge", names(&["spiffe://tributary/edge/eu-1"], &[]));
    let mut sent = 10;
    while router.seen.lock().hellos.len() < 2 {
        assert_eq!(post_logs(&edge, sent..sent + 10).await, 200);
        sent += 10;
    }
    eventually("all rows are acked", || shipped(&edge) == sent).await;
    {
        let seen = router.seen.lock();
        assert!(seen.rows.len() as u64 == sent && seen.rows.values().all(|times| *times == 1), "each row once");
        assert_eq!(seen.peers.len(), 2);
        assert_ne!(seen.peers[0], seen.peers[1], "the new certificate is shown");
    }
    assert_eq!(edge.ledger()["link"]["possibly_doubled_batches"], 0);
    stop(edge).await;
}

/// A certificate that the router does not believe leaves the connection with the old one as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_refused_costs_no_connection() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::acks_all(&pki);
    let edge = Edge::start(config(&pki, data.path(), router.address, RECEIVE)).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("the router acks", || shipped(&edge) == 10).await;
    let foreign = Pki::new();
    std::fs::copy(&foreign.edge.cert, &pki.edge.cert).unwrap();
    std::fs::copy(&foreign.edge.key, &pki.edge.key).unwrap();
    eventually("the router refuses it", || router.seen.lock().refused > 0).await;
    assert_eq!(post_logs(&edge, 10..20).await, 200);
    eventually("the router acks", || shipped(&edge) == 20).await;
    assert_eq!((router.seen.lock().hellos.len(), edge.ledger()["link"]["connections"].as_u64()), (1, Some(1)));
    stop(edge).await;
}

/// A preferred router that shakes hands and then refuses the edge is not moved to, however often it is probed.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_refuses_the_edge_is_not_returned_to() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let mut stranger = Pki::new();
    stranger.router = TlsFiles { ca: stranger.edge.ca.clone(), ..pki.router.clone() };
    let (first, second) = (Router::acks_all(&stranger), Router::acks_all(&pki));
    let mut both = config(&pki, data.path(), first.address, RECEIVE);
    both.ship.return_after = Duration::ZERO;
    both.ship.transport = Some(Transport::Quic);
    also(&mut both, &second);
    let edge = Edge::start(both).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("the second router acks", || shipped(&edge) == 10).await;
    let failures = |edge: &Edge| edge.ledger()["link"]["endpoints"][0]["failures"].as_u64().unwrap();
    let before = failures(&edge);
    eventually("a probe of the first counts as failed", || failures(&edge) > before).await;
    assert_eq!((second.seen.lock().hellos.len(), edge.ledger()["link"]["connections"].as_u64()), (1, Some(1)));
    stop(edge).await;
}
