//! Batch streams against edges whose headers lie, and who do not go on.

use std::time::Duration;

use federation_proto::control::NackReason;
use federation_proto::frame::CloseCode;
use federation_proto::header::{BatchHeader, MAX_HEADER_LEN};
use federation_proto::identity::{Seq, TenantId};

use crate::client::{batch, bodies};
use crate::site::{PATIENCE, Site};

/// Each header or payload that breaks a rule ends the connection that sent it, with its code, counted; another edge's goes on, and
/// nothing of it is journalled.
#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_has_its_code() {
    use CloseCode::{Malformed, Timeout};
    let site = Site::new("timeouts: {header: 1s}\n");
    let up = site.start().await;
    let mut honest = site.connect(&up, "us").await;
    let (good, payload) = batch("eu", 0, "acme");
    let altered = |at: usize, to: &[u8]| {
        let mut bytes = good.encode();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let (foreign, _) = batch("us", 0, "acme");
    let cases = [
        ("no header at all", b"GET / HTTP/1.1\r\n\r\n".repeat(9), true, Malformed, "header"),
        ("a length over the cap", altered(4, &(MAX_HEADER_LEN as u16 + 1).to_le_bytes()), true, Malformed, "header"),
        ("a length below the least", altered(4, &3u16.to_le_bytes()), true, Malformed, "header"),
        ("a length that is not its own", altered(4, &400u16.to_le_bytes()), true, Malformed, "header"),
        ("a header that fails its checksum", altered(20, &[0xff]), true, Malformed, "header"),
        ("a header cut short", good.encode()[..20].to_vec(), true, Malformed, "header"),
        ("a header that never ends", good.encode()[..20].to_vec(), false, Timeout, "header"),
        ("a payload longer than stated", [good.encode(), payload.clone(), vec![0]].concat(), true, Malformed, "payload_len"),
        ("a payload shorter than stated", [good.encode(), payload[1..].to_vec()].concat(), true, Malformed, "payload_len"),
        ("a spool not declared", foreign.encode(), true, Malformed, "undeclared_spool"),
    ];
    for (seq, (name, bytes, ends, code, reason)) in cases.into_iter().enumerate() {
        let client = site.connect(&up, "eu").await;
        let mut stream = client.quic.open_uni().await.unwrap();
        let _ = stream.write_all(&bytes).await;
        if ends {
            let _ = stream.finish();
        }
        assert_eq!(client.closed().await, code, "{name}");
        up.violated(code.as_str(), reason).await;
        honest.goes_on("us", seq as u64).await;
    }
    assert_eq!(up.ledger().await["journal"]["in_flight_bytes"], 0);
    up.stop().await;
    assert_eq!(site.bodies(), bodies("us", 0..10));
}

/// What no retry can mend is refused for good, on its header and without a journal record; the connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn impossible_headers_are_refused_for_good() {
    use NackReason::{Malformed, TenantNotAllowed, TooLarge, UnknownEncoding};
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let (good, _) = batch("eu", 0, "acme");
    let numbered = |seq| {
        let mut header = good.clone();
        header.id.seq = Seq(seq);
        header
    };
    let tenant = |name| TenantId::new(name).unwrap();
    let cases = [
        (BatchHeader { rows: 0, ..good.clone() }, Malformed, "malformed"),
        (numbered(u64::MAX), Malformed, "malformed"),
        (BatchHeader { rows: u32::MAX, ..good.clone() }, TooLarge, "too_large"),
        (BatchHeader { payload_len: u32::MAX, ..good.clone() }, TooLarge, "too_large"),
        (BatchHeader { tenant: tenant("beta"), ..good.clone() }, TenantNotAllowed, "tenant_not_allowed"),
        (BatchHeader { tenant: tenant("nobody"), ..good.clone() }, TenantNotAllowed, "tenant_not_allowed"),
        (BatchHeader { encoding: 4242, ..good.clone() }, UnknownEncoding, "unknown_encoding"),
    ];
    for (header, reason, label) in cases {
        client.ship(&header, b"").await;
        let nack = client.nack().await;
        assert_eq!((nack.reason, nack.retry_after_ms), (i32::from(reason), 0), "{header:?}");
        up.counted("tributary_router_batches_total", &[&format!("outcome=\"{label}\"")]).await;
    }
    client.goes_on("eu", 0).await;
    let ledger = up.ledger().await;
    assert_eq!(ledger["tiers"][0]["tenants"][0]["journalled"], 2, "{ledger:#}");
    up.stop().await;
}

/// A batch whose payload is noise under a right checksum, or has other rows than its header says, is acked, since it is journalled, and
/// then counted as undecodable and kept for a person; batches behind it arrive.
#[tokio::test(flavor = "multi_thread")]
async fn payloads_that_lie_cost_themselves() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let noise = vec![0xa5; 10_000];
    let (header, payload) = batch("eu", 0, "acme");
    let lies = BatchHeader { payload_len: noise.len() as u32, payload_crc: crc32c::crc32c(&noise), ..header.clone() };
    client.ship(&lies, &noise).await;
    client.acks([0]).await;
    let (header, _) = batch("eu", 1, "acme");
    client.ship(&BatchHeader { rows: 999_999, payload_crc: crc32c::crc32c(&payload), ..header }, &payload).await;
    client.acks([1]).await;
    client.goes_on("eu", 2).await;
    let account = || async { up.ledger().await["tiers"][0]["tenants"][0].clone() };
    up.until("all is accounted for", || async { account().await["queued"] == 0 }).await;
    let account = account().await;
    assert_eq!(account["dropped"]["undecodable"], 2 + 999_999, "{account:#}");
    assert_eq!((&account["delivered"], &account["balanced"]), (&2.into(), &true.into()));
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [2]));
    assert_eq!(std::fs::read_dir(site.path().join("data/quarantine")).unwrap().count(), 2);
}

/// An id sent again and again, side by side, is journalled once and acked each time or told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_id_is_journalled_once() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let (header, payload) = batch("eu", 7, "acme");
    for _ in 0..50 {
        client.ship(&header, &payload).await;
    }
    up.until("an answer to each", || async {
        let ledger = up.ledger().await;
        ledger["tiers"][0]["tenants"][0]["journalled"] == 2 && ledger["journal"]["in_flight_bytes"] == 0
    })
    .await;
    // What was nacked while its twin was written comes again.
    client.ship(&header, &payload).await;
    up.until("the last is a duplicate", || async { up.ledger().await["duplicates"]["batches"] != 0 }).await;
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [7]));
}

/// A payload that stops, or drips, is given up after its time: the edge is told to send it again, its bytes are free, and its tenant has
/// its quota back.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_payload_gives_back_what_it_held() {
    let site = Site::new("timeouts: {payload: 500ms}\ntenants: {acme: {rate: 1KiB/s, burst: 8MiB}}\n");
    let up = site.start().await;
    for drips in [false, true] {
        let mut client = site.connect(&up, "us").await;
        let (header, _) = batch("us", u64::from(drips), "acme");
        let large = BatchHeader { payload_len: 8 << 20, raw_bytes: 8 << 20, ..header };
        let mut stream = client.quic.open_uni().await.unwrap();
        stream.write_all(&large.encode()).await.unwrap();
        let mut drip = tokio::time::interval(Duration::from_millis(20));
        let answered = async {
            loop {
                tokio::select! {
                    nack = client.nack() => break nack,
                    _ = drip.tick(), if drips => drop(stream.write_all(&[0]).await),
                }
            }
        };
        let nack = tokio::time::timeout(PATIENCE, answered).await.expect("it is given up");
        assert_eq!(nack.reason, i32::from(NackReason::Again), "{nack:?}");
        assert!(matches!(stream.stopped().await, Ok(Some(_))), "the rest is still wanted");
        assert_eq!(up.ledger().await["journal"]["in_flight_bytes"], 0);
    }
    up.counted("tributary_router_batches_total", &["outcome=\"stalled\""]).await;
    // Both took the whole burst at 1 KiB/s; this does too.
    let mut client = site.connect(&up, "us").await;
    let (header, payload) = batch("us", 9, "acme");
    client.ship(&BatchHeader { raw_bytes: 8 << 20, ..header }, &payload).await;
    client.acks([9]).await;
    up.stop().await;
}
