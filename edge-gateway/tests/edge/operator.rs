//! What a person asks an edge, by the program itself: `status`, and `spool ls` with the edge running, stopped and damaged.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use edge_gateway::Edge;
use serde_json::Value;
use service::shutdown::Shutdown;

use super::router::Router;
use super::support::*;

fn edge_command(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-edge"));
    command.env_remove("TRIBUTARY_EDGE_CONFIG").args(arguments).output().unwrap()
}

/// The exit code and what was printed; off the runtime's threads, as the edge answers on them.
pub(crate) async fn ask(arguments: &[&str]) -> (Option<i32>, String) {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let output =
        tokio::task::spawn_blocking(move || edge_command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

async fn status(admin: SocketAddr) -> (Option<i32>, Value) {
    let (code, text) = ask(&["status", "--json", "--admin", &admin.to_string()]).await;
    (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

async fn batches(data: &Path) -> Vec<Value> {
    let (_, text) = ask(&["spool", "ls", "--json", "--data-dir", data.to_str().unwrap()]).await;
    let listed: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    listed["batches"].as_array().unwrap().clone()
}

async fn stop(edge: Edge) {
    let shutdown = Shutdown::new();
    shutdown.request();
    edge.run(shutdown).await;
}

/// A connected edge says which router it has, over what, and where every row went; the page for people has the same.
#[tokio::test(flavor = "multi_thread")]
async fn status_of_a_connected_edge() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let router = Router::acks_all(&pki);
    let edge = Edge::start(config(&pki, data.path(), router.address, RECEIVE)).await.unwrap();
    assert_eq!(post_logs(&edge, 0..50).await, 200);
    eventually("all rows are acked", || account(&edge.ledger(), "shared", "logs")["shipped"] == 50).await;
    eventually("the edge has looked at itself", || edge.is_ready()).await;
    let (code, told) = status(edge.bound.admin).await;
    assert_eq!(
        (code, &told["ready"], &told["link"]["connected"], &told["link"]["transport"]),
        (Some(0), &true.into(), &true.into(), &"quic".into())
    );
    assert!(told["link"]["since_unix_seconds"].as_u64().unwrap() > 1_700_000_000, "{told:#}");
    assert_eq!((&told["spool"]["batches"], &told["tenants"][0]["shipped"]), (&0.into(), &50.into()), "{told:#}");
    let (_, page) = ask(&["status", "--admin", &edge.bound.admin.to_string()]).await;
    for expected in ["eu-1", ": ready", "over quic", "spool    empty", "shared  logs"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    stop(edge).await;
}

/// Where no edge runs the message has the address and the remedy; a program can tell that from an edge that is not ready.
#[tokio::test(flavor = "multi_thread")]
async fn status_without_an_edge() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, text) = ask(&["status", "--admin", &nobody]).await;
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains(&nobody) && text.contains("tributary-edge run") && text.contains("--admin"), "{text}");
}

/// Batches that no router takes are listed while the edge runs, after it has stopped, and when one of them is damaged; and listing them
/// changes nothing: the next edge finds and ships all that is whole.
#[tokio::test(flavor = "multi_thread")]
async fn spool_ls_shows_what_lies_there() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    let more = format!("{RECEIVE}drain: 100ms\ntenants: {{ shared: {{ class: high }} }}\n");
    let edge = Edge::start(config(&pki, data.path(), nowhere(), &more)).await.unwrap();
    for n in 0..3 {
        assert_eq!(post_logs(&edge, n * 10..n * 10 + 10).await, 200);
        eventually("the batch is in the spool", || edge.ledger()["queue"]["batches"] == n + 1).await;
    }
    let running = batches(data.path()).await;
    assert_eq!(running.len(), 3);
    let first = &running[0];
    assert_eq!(
        (&first["tenant"], &first["signal"], &first["class"], &first["rows"]),
        (&"shared".into(), &"logs".into(), &"high".into(), &10.into())
    );
    assert_eq!((&first["state"], &first["oldest_unix_nano"]), (&"pending".into(), &1_700_000_000_000_000_000u64.into()));
    stop(edge).await;
    assert_eq!(batches(data.path()).await, running, "the same list without the edge");

    let segment = std::fs::read_dir(data.path().join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "seg"));
    let (segment, at) = (segment.unwrap(), running[1]["offset"].as_u64().unwrap() as usize + 200);
    let mut content = std::fs::read(&segment).unwrap();
    content[at] ^= 1;
    std::fs::write(&segment, &content).unwrap();
    let (code, page) = ask(&["spool", "ls", "--data-dir", data.path().to_str().unwrap()]).await;
    assert_eq!((code, page.matches("DAMAGED").count(), page.matches("pending").count()), (Some(3), 1, 2), "{page}");
    assert_eq!(std::fs::read(&segment).unwrap(), content);

    let router = Router::acks_all(&pki);
    let edge = Edge::start(config(&pki, data.path(), router.address, &more)).await.unwrap();
    eventually("what is whole arrives", || router.seen.lock().rows.len() == 20).await;
    stop(edge).await;
}

/// A place without a spool is an error that says where it looked.
#[tokio::test(flavor = "multi_thread")]
async fn spool_ls_without_a_spool() {
    let data = tempfile::tempdir().unwrap();
    let (code, text) = ask(&["spool", "ls", "--data-dir", data.path().to_str().unwrap()]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains(data.path().to_str().unwrap()) && text.contains("--data-dir"), "{text}");
    assert!(std::fs::read_dir(data.path()).unwrap().next().is_none(), "nothing was created");
}
