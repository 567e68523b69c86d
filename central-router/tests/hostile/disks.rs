//! Disks that are full, read-only or damaged: nothing is acked that is not kept, and what was acked arrives once there is room.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use central_router::admission::Admission;
use central_router::edges::AllowList;
use central_router::journal::{Journal, JournalOptions};
use central_router::listener::{Connected, Listener, Shared, Trust};
use central_router::pki;
use central_router::run_with;
use central_router::session::Limits;
use federation_proto::codec::ENCODING;
use federation_proto::control::{NackReason, router_message};
use federation_proto::header::BatchHeader;
use segment_log::{MemoryIndex, SimStore};
use service::admin::Readiness;
use service::shutdown::Shutdown;

use crate::client::{Client, batch, bodies, hello};
use crate::site::{Site, edge};

/// A tier with a file where it needs a directory cannot write, as on a read-only disk; [`Site::tiers`] with it beside the usual one.
fn blocked(site: &mut Site) -> PathBuf {
    let place = site.path().join("blocked");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("_manifests"), b"in the way").unwrap();
    site.tiers = format!("blocked: {{local: {{path: {}, flush_interval: 20ms}}}}, {}", place.display(), site.tiers);
    place.join("_manifests")
}

/// A tier whose disk takes nothing is told of and tried again; the other goes on, edges are acked, and when the disk takes again all of
/// it arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_cannot_write_stops_no_other() {
    let mut site = Site::new("");
    let obstacle = blocked(&mut site);
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    for seq in 0..3 {
        client.goes_on("eu", seq).await;
    }
    up.until("the other tier delivers", || async { site.bodies() == bodies("eu", 0..3) }).await;
    up.until("readiness names the tier", || async { up.failing("tier_blocked").await.contains("/blocked: ") }).await;
    assert_eq!(up.get("/readyz").await.0, 503);
    std::fs::remove_file(obstacle).unwrap();
    let queued = || async { up.ledger().await["tiers"][0]["queued"].clone() };
    up.until("all of it arrives", || async { queued().await == 0 }).await;
    up.until("the tier is well again", || async { up.failing("tier_blocked").await.is_empty() }).await;
    up.stop().await;
}

/// A journal at its budget takes nothing more and says so, on the header and to be tried again; what it acked before is all there, and
/// when a tier has made room it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_at_its_budget_pushes_back() {
    let mut site = Site::new("journal: {budget: 96MiB, segment: 4MiB}\n");
    let obstacle = blocked(&mut site);
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    let noise = vec![0xa5; 8 << 20];
    let large = |seq| {
        let (header, _) = batch("eu", seq, "acme");
        BatchHeader { payload_len: noise.len() as u32, payload_crc: crc32c::crc32c(&noise), ..header }
    };
    let mut acked = 0;
    let nack = loop {
        client.ship(&large(acked), &noise).await;
        match client.hear().await {
            Some(router_message::Kind::Ack(_)) => acked += 1,
            Some(router_message::Kind::Nack(nack)) => break nack,
            other => panic!("{other:?}"),
        }
    };
    assert!((4..12).contains(&acked), "{acked} batches of 8 MiB in 96 MiB");
    assert_eq!(nack.reason, i32::from(NackReason::JournalFull), "{nack:?}");
    assert!(nack.retry_after_ms > 0);
    up.counted("tributary_router_batches_total", &["outcome=\"journal_full\""]).await;
    std::fs::remove_file(obstacle).unwrap();
    loop {
        client.ship(&large(acked), &noise).await;
        match client.hear().await {
            Some(router_message::Kind::Ack(_)) => break,
            Some(router_message::Kind::Nack(nack)) => assert_eq!(nack.reason, i32::from(NackReason::JournalFull)),
            other => panic!("{other:?}"),
        }
    }
    let tiers = || async { up.ledger().await["tiers"].as_array().unwrap().clone() };
    up.until("all is accounted for", || async { tiers().await.iter().all(|tier| tier["queued"] == 0) }).await;
    for tier in tiers().await {
        assert_eq!(tier["tenants"][0]["dropped"]["undecodable"], 2 * (acked + 1), "what was acked came to its tier: {tier:#}");
    }
    up.stop().await;
}

/// A disk without room, under the journal: the batch is not acked and is to come again, the router is not ready and says why, the
/// connection stays; with room again it is taken, and a power cut loses nothing that was acked.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_journal_acks_nothing() {
    let site = Site::new("");
    let (config, store) = (site.config(), SimStore::new(7));
    let options = JournalOptions { budget: 256 << 20, segment: 4 << 20, max_batch: 1 << 20, queue: 8 << 20 };
    let tiers = ["t".to_owned()];
    let open = |store: &SimStore| Journal::on_store(Arc::new(store.clone()), Box::new(MemoryIndex::new()), &options, &tiers).unwrap().0;
    let journal = open(&store);
    let readiness = Readiness::new();
    let shared = Shared {
        limits: Limits { router: "r".to_owned(), credit: 4 << 20, max_batch: 1 << 20, encodings: vec![ENCODING], journal: [9; 16] },
        timeouts: config.timeouts,
        allowed: AllowList::open(&config.edges).unwrap(),
        trust: Trust::open(&config.tls).unwrap(),
        admission: Admission::new(tokio::time::Instant::now().into_std(), &HashMap::new(), None),
        journal: journal.clone(),
        readiness: readiness.clone(),
        connected: Connected::default(),
    };
    let listener = Listener::bind(config.listen, false, 4, Arc::new(shared)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let serving = tokio::spawn(listener.serve(shutdown.clone(), Duration::from_secs(1)));
    let mut client = Client::dial(address, &pki::edge_identity(site.path(), &edge("eu"))).await.unwrap();
    client.say(hello("eu")).await;
    assert!(matches!(client.hear().await, Some(router_message::Kind::Welcome(_))));
    client.goes_on("eu", 0).await;
    assert!(readiness.is_ready());
    store.set_capacity(0);
    for seq in [1, 2, 1] {
        let (header, payload) = batch("eu", seq, "acme");
        client.ship(&header, &payload).await;
        let nack = client.nack().await;
        let reason = NackReason::try_from(nack.reason).unwrap();
        assert!(!reason.is_permanent() && nack.retry_after_ms > 0, "{nack:?}");
        assert!(!readiness.is_ready(), "{nack:?}");
    }
    store.set_capacity(u64::MAX);
    for seq in [1, 2] {
        client.goes_on("eu", seq).await;
    }
    assert!(readiness.is_ready());
    shutdown.request();
    serving.await.unwrap();
    let after = open(&store.restart(3));
    let found: u64 = after.book().tiers().flat_map(|tier| tier.queued.into_values()).sum();
    assert_eq!(found, 6, "three batches of two rows were acked");
}

/// A record that the disk damaged costs itself: the router starts, counts it, and delivers the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_starts_and_counts_what_is_lost() {
    let mut site = Site::new("");
    let obstacle = blocked(&mut site);
    site.tiers = site.tiers.split(", parquet").next().unwrap().to_owned();
    let up = site.start().await;
    let mut client = site.connect(&up, "eu").await;
    for seq in 0..3 {
        client.goes_on("eu", seq).await;
    }
    up.stop().await;
    let (_, payload) = batch("eu", 1, "acme");
    damage(&site.path().join("data/journal"), &payload);
    std::fs::remove_file(obstacle).unwrap();
    let up = site.start().await;
    let tier = || async { up.ledger().await["tiers"][0].clone() };
    up.until("all is accounted for", || async { tier().await["queued"] == 0 }).await;
    let account = tier().await["tenants"][0].clone();
    assert_eq!((&account["delivered"], &account["dropped"]["damaged"]), (&4.into(), &2.into()), "{account:#}");
    assert_eq!(account["balanced"], true);
    let mut client = site.connect(&up, "eu").await;
    client.goes_on("eu", 1).await;
    client.goes_on("eu", 3).await;
    up.stop().await;
}

/// Flips a bit of these bytes, wherever they are below `dir`.
fn damage(dir: &Path, bytes: &[u8]) {
    let mut damaged = 0;
    for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let mut content = std::fs::read(&path).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) {
            content[at + bytes.len() / 2] ^= 1;
            std::fs::write(&path, content).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "the record is in one file");
}

/// A data_dir that cannot be written is an error at start, with the path and what to do.
#[tokio::test]
async fn a_data_dir_that_cannot_be_is_said_at_start() {
    let site = Site::new("");
    std::fs::write(site.path().join("data"), b"a file").unwrap();
    let error = run_with(site.config(), Shutdown::new(), |_| {}).await.unwrap_err().to_string();
    let path = site.path().join("data/journal");
    assert!(error.contains(path.to_str().unwrap()) && error.contains("set data_dir to a directory"), "{error}");
}

/// A read-only disk too: one line with the path and what to do, and exit code 1.
#[test]
#[ignore = "needs root and unshare(1): mounts a read-only tmpfs in a namespace of its own"]
fn a_read_only_data_dir_is_said_at_start() {
    let site = Site::new("");
    site.config();
    let data = site.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let script = "mount -t tmpfs -o ro none \"$1\" && exec \"$2\" run --config \"$3\"";
    let ended = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([data.as_path(), Path::new(env!("CARGO_BIN_EXE_tributary-router")), &site.path().join("router.yaml")])
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains(data.to_str().unwrap()) && said.contains("set data_dir to a directory"), "{said}");
}
