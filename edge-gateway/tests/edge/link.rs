//! From a sender's OK to a router's ack, through cuts, refusals and restarts.

use std::sync::Arc;
use std::time::Duration;

use edge_gateway::{Edge, RunError};
use federation_proto::control::NackReason;
use federation_proto::identity::Class;
use prost::Message;
use service::shutdown::Shutdown;

use super::router::{Answer, Router};
use super::support::*;

const DRAIN: &str = "drain: 20s\n";

async fn stop(edge: Edge) {
    let shutdown = Shutdown::new();
    shutdown.request();
    edge.run(shutdown).await;
}

fn once(rows: u64, router: &Router) -> bool {
    let seen = router.seen.lock();
    assert!(seen.rows.values().all(|times| *times == 1), "a row twice");
    seen.rows.len() as u64 == rows
}

/// What senders were told OK arrives once, is acked, and the ledger says so; so does the router's view of the edge.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_arrives_once() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::acks_all(&pki);
    let more = format!("{RECEIVE}{DRAIN}labels: {{ region: eu }}\ntenants: {{ shared: {{ class: high }} }}\n");
    let edge = Edge::start(config(&pki, data.path(), router.address, &more)).await.unwrap();
    for n in 0..20 {
        assert_eq!(post_logs(&edge, n * 50..n * 50 + 50).await, 200);
    }
    eventually("all rows arrive", || once(1000, &router)).await;
    eventually("all rows are acked", || account(&edge.ledger(), "shared", "logs")["shipped"] == 1000).await;
    let ledger = edge.ledger();
    assert_eq!(account(&ledger, "shared", "logs")["queued"], 0, "{ledger}");
    assert_eq!(ledger["link"]["connected"], true);
    eventually("wire bytes are counted", || edge.ledger()["wire"]["bytes_sent"].as_u64().unwrap() > 1000).await;
    eventually("the router hears that nothing is left", || {
        router.seen.lock().last_status.as_ref().is_some_and(|status| status.queued_batches == 0 && status.spools[0].floor > 0)
    })
    .await;
    {
        let seen = router.seen.lock();
        assert!(seen.classes.iter().all(|class| *class == Class::High));
        assert_eq!((seen.hellos[0].edge.as_str(), seen.hellos[0].labels["region"].as_str()), ("eu-1", "eu"));
    }
    stop(edge).await;
}

/// A connection that breaks with the ack on its way: the batch is sent again under its id, and nothing is lost or doubled.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_loses_and_doubles_nothing() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::start(&pki, Arc::new(|arrival, _| if arrival % 3 == 1 { Answer::KeepAndCut } else { Answer::Ack }));
    let edge = Edge::start(config(&pki, data.path(), router.address, &format!("{RECEIVE}{DRAIN}"))).await.unwrap();
    for n in 0..8 {
        assert_eq!(post_logs(&edge, n * 10..n * 10 + 10).await, 200);
        eventually("the batch arrives", || router.seen.lock().rows.len() as u64 == n * 10 + 10).await;
    }
    eventually("all rows are acked", || account(&edge.ledger(), "shared", "logs")["shipped"] == 80).await;
    assert!(once(80, &router));
    assert!(edge.ledger()["link"]["connections"].as_u64().unwrap() > 1);
    stop(edge).await;
}

/// A router over quota gets the batch again after the time it stated, not before; one that refuses for good gets it never again, and
/// the rows are counted and the bytes kept.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_wait_or_are_counted() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let after = Duration::from_millis(300);
    let script = move |arrival, _: &_| match arrival {
        1 => Answer::Nack(NackReason::OverQuota, after),
        3 => Answer::Nack(NackReason::TenantNotAllowed, Duration::ZERO),
        _ => Answer::Ack,
    };
    let router = Router::start(&pki, Arc::new(script));
    let edge = Edge::start(config(&pki, data.path(), router.address, &format!("{RECEIVE}{DRAIN}"))).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("it is refused", || router.seen.lock().arrivals == 1).await;
    let refused = tokio::time::Instant::now();
    eventually("it is sent again", || once(10, &router)).await;
    assert!(refused.elapsed() >= after - Duration::from_millis(50), "sent again after {:?}", refused.elapsed());
    assert_eq!(post_logs(&edge, 10..17).await, 200);
    let dropped = || account(&edge.ledger(), "shared", "logs")["dropped"]["tenant_not_allowed"] == 7;
    eventually("it is counted as dropped", dropped).await;
    eventually("the rest is acked", || account(&edge.ledger(), "shared", "logs")["shipped"] == 10).await;
    assert_eq!(account(&edge.ledger(), "shared", "logs")["balanced"], true);
    assert_eq!(std::fs::read_dir(data.path().join("rejected")).unwrap().count(), 1);
    assert_eq!(router.seen.lock().arrivals, 3);
    stop(edge).await;
}

/// A router that refuses on the header, again and again, while the rest of the batch waits for the link's cap: the streams are given
/// back, so that the one after all of them is still there.
#[tokio::test(flavor = "multi_thread")]
async fn refused_streams_are_given_back() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let again = Answer::NackOnHeader(NackReason::Again, Duration::from_millis(100));
    let router = Router::start(&pki, Arc::new(move |arrival, _| if arrival <= 8 { again } else { Answer::Ack }));
    let mut capped = config(&pki, data.path(), router.address, &format!("{RECEIVE}{DRAIN}"));
    capped.ship.link_cap = Some(100 << 10);
    let edge = Edge::start(capped).await.unwrap();
    let mut noisy = traces(1);
    noisy.resource_spans[0].scope_spans[0].spans[0].name = noise(60_000);
    let body = noisy.encode_to_vec();
    assert_eq!(http(http_at(&edge), "/v1/traces", &[PROTOBUF], &body).await.status, 200);
    eventually("it is acked", || account(&edge.ledger(), "shared", "traces")["shipped"] == 1).await;
    assert_eq!(router.seen.lock().arrivals, 9);
    assert_eq!(edge.ledger()["link"]["connections"], 1);
    stop(edge).await;
}

/// A drain ends when the last batch leaves, also if it leaves by being refused for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_what_was_refused() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::start(&pki, Arc::new(|_, _| Answer::Nack(NackReason::TenantNotAllowed, Duration::ZERO)));
    let mut patient = config(&pki, data.path(), router.address, &format!("{RECEIVE}{DRAIN}"));
    patient.batch.age = Duration::from_secs(60);
    let edge = Edge::start(patient).await.unwrap();
    eventually("a router is there", || edge.ledger()["link"]["connected"] == true).await;
    assert_eq!(post_logs(&edge, 0..30).await, 200);
    let began = tokio::time::Instant::now();
    stop(edge).await;
    assert!(began.elapsed() < Duration::from_secs(10), "the drain took {:?}", began.elapsed());
    assert_eq!(std::fs::read_dir(data.path().join("rejected")).unwrap().count(), 1);
}

/// Taken without a router, kept over a restart, shipped by the next process under the same spool id; the ledger goes on from where it
/// was.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_a_router_ships_later() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let edge = Edge::start(config(&pki, data.path(), nowhere(), &format!("{RECEIVE}drain: 100ms\n"))).await.unwrap();
    for n in 0..5 {
        assert_eq!(post_logs(&edge, n * 10..n * 10 + 10).await, 200);
    }
    let spool = edge.ledger()["spool_id"].clone();
    stop(edge).await;
    let router = Router::acks_all(&pki);
    let edge = Edge::start(config(&pki, data.path(), router.address, &format!("{RECEIVE}{DRAIN}"))).await.unwrap();
    // The sender missed the OK.
    assert_eq!(post_logs(&edge, 40..50).await, 200);
    eventually("all rows are acked", || account(&edge.ledger(), "shared", "logs")["shipped"] == 50).await;
    assert!(once(50, &router));
    let ledger = edge.ledger();
    assert_eq!((&ledger["spool_id"], &account(&ledger, "shared", "logs")["received"]), (&spool, &50.into()));
    stop(edge).await;
}

/// A drain ships what is there and nothing is sent again by the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ships_what_is_open() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::acks_all(&pki);
    let text = format!("{RECEIVE}{DRAIN}");
    let mut slow_config = config(&pki, data.path(), router.address, &text);
    slow_config.batch.age = Duration::from_secs(60);
    let edge = Edge::start(slow_config).await.unwrap();
    assert_eq!(post_logs(&edge, 0..30).await, 200);
    assert_eq!(router.seen.lock().arrivals, 0, "the batch is open for a minute");
    eventually("a router is there", || edge.ledger()["link"]["connected"] == true).await;
    stop(edge).await;
    assert!(once(30, &router));
    let arrivals = router.seen.lock().arrivals;
    let edge = Edge::start(config(&pki, data.path(), router.address, &text)).await.unwrap();
    let account = account(&edge.ledger(), "shared", "logs");
    assert_eq!((&account["shipped"], &account["queued"], &account["balanced"]), (&30.into(), &0.into(), &true.into()));
    stop(edge).await;
    assert_eq!(router.seen.lock().arrivals, arrivals);
}

/// A dead router is noticed, its successor at the same address is found, and what waited arrives.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_endpoint_is_tried() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let (first, second) = (Router::acks_all(&pki), Router::acks_all(&pki));
    let mut both = config(&pki, data.path(), first.address, &format!("{RECEIVE}{DRAIN}"));
    let endpoint = both.ship.endpoints[0].clone();
    both.ship.endpoints.push(edge_gateway::config::Endpoint { address: second.address.to_string(), ..endpoint });
    let edge = Edge::start(both).await.unwrap();
    assert_eq!(post_logs(&edge, 0..10).await, 200);
    eventually("the first router has them", || once(10, &first)).await;
    first.cut();
    assert_eq!(post_logs(&edge, 10..20).await, 200);
    eventually("the second router has the rest", || second.seen.lock().rows.contains_key(&19)).await;
    stop(edge).await;
}

/// An edge that is not who its certificate says does not start, and says what to do.
#[tokio::test]
async fn the_name_must_be_the_certificates() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let mut other = config(&pki, data.path(), nowhere(), RECEIVE);
    other.name = "eu-2".parse().unwrap();
    let error = Edge::start(other).await.unwrap_err();
    assert!(matches!(error, RunError::Name { .. }) && error.to_string().contains("spiffe://tributary/edge/eu-1"), "{error}");
}

/// An edge whose disk was put back to an older copy ships nothing to a router that has seen more of its spool: what it would name now
/// would pass for what it named then. It says so, with the remedy, and keeps what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_was_put_back_ships_nothing() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::that_has_seen(1_000, &pki, Arc::new(|_, _| Answer::Ack));
    let edge = Edge::start(config(&pki, data.path(), router.address, RECEIVE)).await.unwrap();
    assert_eq!(post_logs(&edge, 0..50).await, 200);
    eventually("the reason is shown", || {
        edge.ledger()["link"]["error"].as_str().is_some_and(|why| why.contains("up to 1000") && why.contains("move data_dir/spool"))
    })
    .await;
    assert_eq!(router.seen.lock().arrivals, 0);
    assert_eq!(account(&edge.ledger(), "shared", "logs")["queued"], 50);
    stop(edge).await;
}
