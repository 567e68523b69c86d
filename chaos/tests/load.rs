//! Load, verdict and bench as a user runs them, short.
#![expect(clippy::unwrap_used, reason = "a test ends where it breaks")]

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use chaos::stand::Stand;
use chaos::stand::layout::{EdgeSpec, Layout, free_address};
use serde_json::Value;
use tokio::process::Command;

async fn chaos(arguments: &[&str]) -> (Output, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_tributary-chaos")).args(arguments).output().await.unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, printed)
}

fn count(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("{key} is not there: {report:#}"))
}

async fn verdict(tier: &Path, log: &str) -> (bool, Value) {
    let (output, report) = chaos(&["verify", "--tier", tier.to_str().unwrap(), "--ack-log", log, "--tenant", "acme", "--json"]).await;
    (output.status.success(), report)
}

/// All signals over both protocols, each way of compression: what the load says was acknowledged is in its logs and once in the tier, by
/// id; and an id that is logged but not in the tier makes the verdict fail.
#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_record_is_found_once() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let specs = vec![EdgeSpec::new("edge-a", "eu-west-1", &["acme"]).unwrap()];
    let mut stand = Stand::start(&layout, env!("CARGO_BIN_EXE_tributary-chaos").into(), specs).await.unwrap();
    let edge = &stand.edges[0].spec;
    let (grpc, http, token) = (format!("http://{}", edge.grpc), format!("http://{}", edge.http), edge.tenants[0].1.clone());
    let mut logs = Vec::new();
    let cases = [("grpc", &grpc, "none", "1"), ("grpc", &grpc, "gzip", "2"), ("http", &http, "zstd", "3"), ("http", &http, "none", "4")];
    for (protocol, endpoint, compression, seed) in cases {
        let log = dir.path().join(format!("log-{seed}")).to_str().unwrap().to_owned();
        let endpoint = ["--endpoint", endpoint, "--protocol", protocol, "--compression", compression, "--token", &token];
        let amount = ["--signal", "mixed", "--rows", "2100", "--rows-per-request", "100", "--connections", "3", "--seed", seed];
        let (output, report) = chaos(&[&["load", "--json", "--ack-log", &log], &endpoint[..], &amount[..]].concat()).await;
        assert!(output.status.success(), "{protocol} {compression}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!((count(&report, "sent"), count(&report, "acknowledged")), (2100, 2100), "{report:#}");
        assert!(report["ack_p50_ms"].as_f64().unwrap() > 0.0 && report["refused"].as_object().unwrap().is_empty(), "{report:#}");
        logs.push(log);
    }
    stand.drained(Duration::from_secs(60)).await.unwrap();
    stand.stop().await.unwrap();

    for log in &logs {
        let (clean, report) = verdict(&layout.tier(), log).await;
        assert!(clean, "{report:#}");
        assert_eq!((count(&report, "acknowledged"), count(&report, "found_once")), (2100, 2100), "{report:#}");
        assert_eq!(report["signals"].as_object().unwrap().len(), 3, "{report:#}");
    }
    let never_sent = "traces 00000000000000ff\n";
    std::fs::write(&logs[0], std::fs::read_to_string(&logs[0]).unwrap() + never_sent).unwrap();
    let (clean, report) = verdict(&layout.tier(), &logs[0]).await;
    assert_eq!((clean, count(&report, "lost"), count(&report, "found_once")), (false, 1, 2100), "{report:#}");
}

/// A wrong token is refused by code and nothing counts as acknowledged; nobody listening is one line that names the address.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let specs = vec![EdgeSpec::new("edge-a", "eu-west-1", &["acme"]).unwrap()];
    let stand = Stand::start(&layout, env!("CARGO_BIN_EXE_tributary-chaos").into(), specs).await.unwrap();
    let grpc = format!("http://{}", stand.edges[0].spec.grpc);
    let load = ["load", "--json", "--endpoint", &grpc, "--token", "guessed", "--rows", "200", "--rows-per-request", "100"];
    let (output, report) = chaos(&load).await;
    assert!(!output.status.success());
    assert_eq!((count(&report, "acknowledged"), count(&report["refused"], "UNAUTHENTICATED")), (0, 200), "{report:#}");
    stand.stop().await.unwrap();

    let nowhere = free_address().unwrap().to_string();
    let (output, _) = chaos(&["load", "--endpoint", &format!("http://{nowhere}"), "--rows", "1"]).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains(&nowhere), "{error}");
}

/// Each bench ends by itself with the promised keys, and the path finds every acknowledged id once.
#[tokio::test(flavor = "multi_thread")]
async fn benches_say_what_they_promise() {
    let cores = std::thread::available_parallelism().expect("cores").get();
    assert!(cores >= 2, "a bench needs two cores");
    for what in ["edge", "router", "path"] {
        let (output, report) = chaos(&["bench", what, "--seconds", "1", "--rate", "5000", "--batch-rows", "1000", "--json"]).await;
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        // In a run as short as this a busy machine may ship nothing within the measured window.
        let (passed, acknowledged) = (report["rows_per_s"].as_f64().unwrap(), report["acknowledged_per_s"].as_f64().unwrap());
        assert!((0.0..=acknowledged).contains(&passed), "{what}: {report:#}");
        for key in ["cpu_us_per_row", "rss_mib", "ack_p50_ms", "ack_p99_ms", "wire_bytes_per_row", "otlp_zstd_bytes_per_row"] {
            assert!(report[key].as_f64().is_some_and(|value| value > 0.0), "{what}: {key}: {report:#}");
        }
        assert!(count(&report, "rows") > 0, "{what}: {report:#}");
        if what == "path" {
            assert_eq!(count(&report["verdict"], "found_once"), count(&report, "rows"), "{report:#}");
        }
    }
}
