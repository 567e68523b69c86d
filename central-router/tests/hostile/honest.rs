//! What holds for an edge that keeps the rules.

use central_router::pki;
use federation_proto::control::{Hello, NackReason, router_message};
use federation_proto::frame::{CloseCode, PROTOCOL};
use federation_proto::header::BatchHeader;

use crate::client::{Client, batch, bodies, hello};
use crate::site::{Site, edge};

/// Batches are acked after they are durable, acked again when they come again, are in Parquet once, and the ledger balances; across a
/// restart of the router too.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_acked_and_delivered_once() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    assert_eq!((client.welcome.protocol, client.welcome.max_batch_bytes), (PROTOCOL, 8 << 20));
    for seq in 0..20 {
        let (header, payload) = batch("eu", seq, "acme");
        client.ship(&header, &payload).await;
    }
    client.acks(0..20).await;
    let (header, payload) = batch("eu", 3, "acme");
    client.ship(&header, &payload).await;
    client.acks([3]).await;
    let ledger = up.ledger().await;
    assert_eq!(ledger["duplicates"]["batches"], 1, "{ledger:#}");
    assert_eq!(ledger["edges"][0]["edge"], "eu");
    let account = &ledger["tiers"][0]["tenants"][0];
    assert_eq!(
        (&account["tenant"], &account["signal"], &account["journalled"], &account["balanced"]),
        (&"acme".into(), &"logs".into(), &40.into(), &true.into())
    );
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", 0..20), "all acked rows are in Parquet when the router has drained");

    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    for seq in [0, 19, 20] {
        let (header, payload) = batch("eu", seq, "acme");
        client.ship(&header, &payload).await;
    }
    client.acks([0, 19, 20]).await;
    assert_eq!(up.ledger().await["tiers"][0]["tenants"][0]["journalled"], 42, "the restart knows what was journalled before");
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", 0..21));
}

/// A refusal spares the payload: the stream is stopped on its header, the reason is permanent, and nothing reaches the journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_not_allowed_is_refused_on_the_header() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let (header, _) = batch("eu", 0, "beta");
    let large = BatchHeader { payload_len: 8 << 20, ..header };
    let mut stream = client.quic.open_uni().await.unwrap();
    stream.write_all(&large.encode()).await.unwrap();
    let nack = client.nack().await;
    assert_eq!((nack.seq, nack.reason), (0, i32::from(NackReason::TenantNotAllowed)));
    assert!(matches!(stream.stopped().await, Ok(Some(_))), "the payload is still wanted");
    let (header, payload) = batch("eu", 1, "acme");
    client.ship(&header, &payload).await;
    client.acks([1]).await;
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [1]));
}

/// A payload damaged on the way is asked for again, and taken when it comes whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_payload_is_asked_for_again() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let (header, payload) = batch("eu", 0, "acme");
    let mut damaged = payload.clone();
    damaged[5] ^= 1;
    client.ship(&header, &damaged).await;
    let nack = client.nack().await;
    assert_eq!(nack.reason, i32::from(NackReason::Again));
    assert!(nack.retry_after_ms > 0);
    client.ship(&header, &payload).await;
    client.acks([0]).await;
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [0]));
}

/// Over its ceiling a tenant is told to wait; another tenant on the same connection is not.
#[tokio::test(flavor = "multi_thread")]
async fn over_quota_is_told_to_wait() {
    let site = Site::new("tenants: {acme: {rate: 1KiB/s, burst: 8MiB}}\n");
    let up = site.start().await;
    let mut client = site.connect(&up, "us").await;
    let greedy = |seq| {
        let (header, payload) = batch("us", seq, "acme");
        (BatchHeader { raw_bytes: 8 << 20, ..header }, payload)
    };
    let (header, payload) = greedy(0);
    client.ship(&header, &payload).await;
    client.acks([0]).await;
    let (header, payload) = greedy(1);
    client.ship(&header, &payload).await;
    let nack = client.nack().await;
    assert_eq!(nack.reason, i32::from(NackReason::OverQuota));
    assert!(nack.retry_after_ms > 1_000, "{nack:?}");
    let (header, payload) = batch("us", 2, "beta");
    client.ship(&header, &payload).await;
    client.acks([2]).await;
    up.stop().await;
}

/// Versions that have nothing in common part with a code that says so.
#[tokio::test(flavor = "multi_thread")]
async fn no_common_version_is_said() {
    let site = Site::new("");
    let up = site.start().await;
    for bad in [Hello { protocol: 0, ..hello("eu") }, Hello { encodings: vec![4242], ..hello("eu") }] {
        let mut client = Client::dial(up.ready.listen, &pki::edge_identity(site.path(), &edge("eu"))).await.unwrap();
        client.say(bad).await;
        assert_eq!(client.closed().await, CloseCode::Version);
    }
    up.stop().await;
}

/// A router that stops says goodbye, answers what it has accepted, and takes nothing new.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_goodbye() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let (header, payload) = batch("eu", 0, "acme");
    // A batch whose payload is on its way keeps the connection open.
    let mut stream = client.quic.open_uni().await.unwrap();
    stream.write_all(&header.encode()).await.unwrap();
    stream.write_all(&payload[..10]).await.unwrap();
    let (late, late_payload) = batch("eu", 1, "acme");
    client.ship(&late, &late_payload).await;
    client.acks([1]).await;
    up.shutdown.request();
    let Some(router_message::Kind::GoAway(_)) = client.hear().await else { panic!("no GoAway") };
    let (next, next_payload) = batch("eu", 2, "acme");
    client.ship(&next, &next_payload).await;
    assert_eq!(client.nack().await.reason, i32::from(NackReason::Draining));
    stream.write_all(&payload[10..]).await.unwrap();
    stream.finish().unwrap();
    client.acks([0]).await;
    assert_eq!(client.closed().await, CloseCode::Drain);
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [0, 1]));
}

/// An edge that stalls in the middle of a payload, and comes back on another connection, gets its batch in: the connection before is
/// closed, and the id it held is free.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_comes_back_takes_over() {
    let site = Site::new("");
    let up = site.start().await;
    let (header, payload) = batch("eu", 0, "acme");
    let first = site.connect(&up, "eu").await;
    let mut stream = first.quic.open_uni().await.unwrap();
    stream.write_all(&header.encode()).await.unwrap();
    while up.ledger().await["journal"]["in_flight_bytes"] == 0 {}
    let mut second = site.connect(&up, "eu").await;
    assert_eq!(first.closed().await, CloseCode::Busy);
    loop {
        second.ship(&header, &payload).await;
        match second.hear().await {
            Some(router_message::Kind::Ack(_)) => break,
            Some(router_message::Kind::Nack(nack)) => assert_eq!(nack.reason, i32::from(NackReason::Again)),
            other => panic!("{other:?}"),
        }
    }
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [0]));
}
