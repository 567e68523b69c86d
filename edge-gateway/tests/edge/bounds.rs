//! The spool at its bounds: what goes, what stays, who is told, and that every row is in the ledger.

use std::net::SocketAddr;
use std::path::Path;

use edge_gateway::Edge;
use prost::Message;
use serde_json::{Value, json};
use service::shutdown::Shutdown;

use super::router::Router;
use super::support::*;

/// `acme` (by its token) is of the highest class, `shared` of the lowest.
const CLASSES: &str = "tenants: { acme: { class: high }, shared: { class: low } }\ndrain: 100ms\n";
const ACME: (&str, &str) = ("authorization", "Bearer secret");
/// Bytes of a request here; its batch is about as large.
const BYTES: usize = 200_000;

fn body(id: u64) -> Vec<u8> {
    let mut request = logs(id..id + 1);
    let mut state = id.wrapping_add(1);
    let text = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    });
    request.resource_logs[0].scope_logs[0].log_records[0].severity_text = text.take(BYTES).collect();
    request.encode_to_vec()
}

async fn post(to: SocketAddr, id: u64, acme: bool) -> u16 {
    let headers = [PROTOBUF, ACME];
    http(to, "/v1/logs", if acme { &headers } else { &headers[..1] }, &body(id)).await.status
}

async fn edge(pki: &Pki, data: &Path, router: SocketAddr, spool: &str) -> Edge {
    let more = format!("{RECEIVE}{CLASSES}spool: {{ {spool} }}\n");
    Edge::start(config(pki, data, router, &more)).await.unwrap()
}

async fn stop(edge: Edge) {
    let shutdown = Shutdown::new();
    shutdown.request();
    edge.run(shutdown).await;
}

fn of(edge: &Edge, tenant: &str) -> Value {
    account(&edge.ledger(), tenant, "logs")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Sends one and waits until it is in the spool or dropped, so that batches are one request each and come in order.
async fn post_and_settle(edge: &Edge, id: u64, acme: bool, sent: &mut u64) {
    assert_eq!(post(http_at(edge), id, acme).await, 200);
    *sent += 1;
    let settled =
        || ["acme", "shared"].iter().map(|tenant| number(&of(edge, tenant)["queued_in"]["spool"]) + dropped(edge, tenant)).sum::<u64>();
    eventually("it is in the spool", || settled() == *sent).await;
}

fn dropped(edge: &Edge, tenant: &str) -> u64 {
    of(edge, tenant)["dropped"].as_object().map_or(0, |reasons| reasons.values().map(number).sum())
}

/// Without a router a spool at its budget gives up the oldest of the lowest class, counted, and goes on taking what comes. Nothing of the
/// higher class is lost though it lies between, and across a restart the rest arrives, each once.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_drops_the_oldest_of_the_lowest_class() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let bounds = "budget: 4MiB, segment: 1MiB";
    let running = edge(&pki, data.path(), nowhere(), bounds).await;
    let mut sent = 0;
    for id in 0..60 {
        post_and_settle(&running, id, id % 12 == 0, &mut sent).await;
    }
    let (acme, shared) = (of(&running, "acme"), of(&running, "shared"));
    assert_eq!((&acme["dropped"], &acme["queued"]), (&json!({}), &5.into()), "{acme}");
    assert_eq!((&shared["balanced"], &shared["possibly_delivered"]), (&true.into(), &0.into()), "{shared}");
    let used: u64 = std::fs::read_dir(data.path().join("spool")).unwrap().map(|entry| blocks(&entry.unwrap().path())).sum();
    assert!(used <= 4 << 20, "{used} bytes on the disk");
    stop(running).await;

    let router = Router::acks_all(&pki);
    let running = edge(&pki, data.path(), router.address, bounds).await;
    // Only now nothing more is given up: until it stopped, the edge made room for as much as had come in its last second.
    eventually("the rest is shipped", || ["acme", "shared"].iter().all(|tenant| of(&running, tenant)["queued"] == 0)).await;
    let shared = of(&running, "shared");
    let lost = number(&shared["dropped"]["spool_full"]);
    assert!((30..=50).contains(&lost), "what fits stays, and no more goes than must: {shared}");
    assert_eq!(shared["shipped"], 55 - lost);
    let rows = router.seen.lock().rows.clone();
    assert_eq!(rows.len() as u64, 60 - lost);
    assert!(rows.values().all(|times| *times == 1));
    assert!((0..60).step_by(12).all(|id| rows.contains_key(&id)), "the higher class is whole");
    let kept: Vec<u64> = rows.keys().copied().filter(|id| id % 12 != 0).collect();
    assert_eq!(kept, (0..60).filter(|id| id % 12 != 0).skip(lost as usize).collect::<Vec<_>>(), "the oldest went");
    stop(running).await;
}

fn blocks(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(path).unwrap();
    if about.is_file() { about.blocks() * 512 } else { 0 }
}

/// A batch that has waited for `max_age` is given up, counted under its own reason.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let running = edge(&pki, data.path(), nowhere(), "max_age: 1s").await;
    post_and_settle(&running, 0, false, &mut 0).await;
    eventually("it expires", || of(&running, "shared")["dropped"] == json!({"expired": 1})).await;
    assert_eq!((&of(&running, "shared")["queued"], &of(&running, "shared")["balanced"]), (&0.into(), &true.into()));
    stop(running).await;
}

/// A tenant beyond its share loses its own oldest batches; another tenant of a lower class loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_beyond_its_share_loses_its_own() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let running = edge(&pki, data.path(), nowhere(), "budget: 8MiB, segment: 1MiB, tenant_share: 25").await;
    let mut sent = 0;
    for id in 0..20 {
        post_and_settle(&running, id, id % 5 != 0, &mut sent).await;
    }
    // Six bits of each byte are noise.
    let within = || number(&of(&running, "acme")["queued"]) * BYTES as u64 * 3 / 4 <= 2 << 20;
    eventually("the tenant is within its share", within).await;
    let (acme, shared) = (of(&running, "acme"), of(&running, "shared"));
    assert!((1..=6).contains(&number(&acme["dropped"]["over_share"])), "{acme}");
    assert_eq!((&shared["dropped"], &shared["queued"]), (&json!({}), &4.into()), "{shared}");
    assert_eq!((&acme["balanced"], &shared["balanced"]), (&true.into(), &true.into()));
    stop(running).await;
}

/// Where nothing is to be dropped, a tenant beyond its share is refused, retryably and counted, and others are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_beyond_its_share_is_refused_alone() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let running = edge(&pki, data.path(), nowhere(), "budget: 8MiB, segment: 1MiB, tenant_share: 10, when_full: refuse").await;
    let (at, mut id) = (http_at(&running), 0);
    let refused = loop {
        let status = post(at, id, true).await;
        id += 1;
        assert!(id < 1000, "the tenant is never refused");
        if status != 200 {
            break status;
        }
    };
    assert_eq!(refused, 429);
    assert_eq!(post(at, 5000, false).await, 200, "the other tenant is taken");
    let acme = of(&running, "acme");
    assert_eq!((number(&acme["refused"]["over_share"]), &acme["dropped"], &acme["balanced"]), (1, &json!({}), &true.into()), "{acme}");
    stop(running).await;
}
