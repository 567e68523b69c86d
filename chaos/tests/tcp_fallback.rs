//! A link that loses UDP and gets it back, between processes as they are shipped.
#![expect(clippy::unwrap_used, reason = "a test ends where it breaks")]

use std::net::SocketAddr;
use std::time::Duration;

use chaos::stand::layout::{EdgeSpec, Layout, Tuning};
use chaos::stand::{Stand, Who};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const ROWS: u64 = 3_000;
/// Long enough for the slowest machine; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Carries TCP for the edge; its UDP goes through the stand's relay at the same address.
async fn carry(listener: TcpListener, router: SocketAddr) {
    while let Ok((mut edge, _)) = listener.accept().await {
        let mut onward = TcpStream::connect(router).await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut edge, &mut onward).await });
    }
}

/// Where the router listens, by its configuration.
fn router_at(layout: &Layout) -> SocketAddr {
    let yaml = std::fs::read_to_string(layout.config().join("router.yaml")).unwrap();
    yaml.lines().find_map(|line| line.strip_prefix("listen: ")).unwrap().parse().unwrap()
}

async fn load(stand: &Stand, layout: &Layout, seed: u64) -> String {
    let edge = &stand.edges[0].spec;
    let log = layout.logs().join(format!("acknowledged-{seed}")).to_str().unwrap().to_owned();
    let (endpoint, rows, seed) = (format!("http://{}", edge.grpc), ROWS.to_string(), seed.to_string());
    let to = ["load", "--json", "--endpoint", &endpoint, "--token", &edge.tenants[0].1, "--ack-log", &log];
    let amount = ["--signal", "mixed", "--rows", &rows, "--rows-per-request", "100", "--connections", "2", "--seed", &seed];
    let output = Command::new(env!("CARGO_BIN_EXE_tributary-chaos")).args(to).args(amount).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    log
}

/// Until the edge's link is over that, and all that it had is on the router's journal.
async fn ships_over(stand: &Stand, transport: &str) {
    let reached = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let link = &stand.ledger(Who::Edge(0)).await.unwrap()["link"];
            if link["connected"] == true && link["transport"] == transport && stand.queued_at_edges().await == 0 {
                break;
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "never over {transport}");
}

/// While UDP is blocked the edge ships over TCP by itself, and over QUIC before and after: what senders were told is found once, by id.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_without_udp_ships_over_tcp_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let specs = vec![EdgeSpec::new("edge-a", "eu-west-1", &["acme"]).unwrap()];
    let tuning = Tuning { edge: "  quic_retry: 1s\n", ..Tuning::default() };
    let mut stand = Stand::start_tuned(&layout, env!("CARGO_BIN_EXE_tributary-chaos").into(), specs, &tuning).await.unwrap();
    let listener = TcpListener::bind(stand.edges[0].link.listen()).await.unwrap();
    let carrying = tokio::spawn(carry(listener, router_at(&layout)));
    let mut logs = Vec::new();
    for (seed, transport) in [(1, "quic"), (2, "tcp"), (3, "quic")] {
        stand.edges[0].link.set_cut(transport == "tcp");
        logs.push(load(&stand, &layout, seed).await);
        ships_over(&stand, transport).await;
    }
    stand.drained(PATIENCE).await.unwrap();
    stand.stop().await.unwrap();
    carrying.abort();
    for log in &logs {
        let arguments =
            ["verify", "--tier", layout.tier().to_str().unwrap(), "--ack-log", log, "--tenant", "acme", "--json"].map(str::to_owned);
        let output = Command::new(env!("CARGO_BIN_EXE_tributary-chaos")).args(arguments).output().await.unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{report:#}");
        assert_eq!((report["acknowledged"].as_u64(), report["found_once"].as_u64()), (Some(ROWS), Some(ROWS)), "{report:#}");
    }
}
