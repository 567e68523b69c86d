//! The demo as a user runs it, short.

use std::process::Command;

use serde_json::Value;

/// A cut link and a `kill -9` lose nothing and double nothing; the JSON says so in the promised words, and the exit code agrees.
#[test]
fn a_short_demo_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tributary-chaos"))
        .args(["demo", "--seconds", "10", "--rate", "200", "--json", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {progress}"));
    let count = |key: &str| report[key].as_u64().unwrap_or_else(|| panic!("{key} is not there: {report:#}"));
    assert!(count("acknowledged") > 1000, "{report:#}");
    assert_eq!((count("lost"), count("doubled"), count("found_once")), (0, 0, count("acknowledged")), "{report:#}");
    assert!(count("wire_bytes") > 0 && count("otlp_zstd_bytes") > 0);
    assert!(count("datagrams_lost") > 0, "the link was not cut: {progress}");
    assert!(progress.contains("kill -9"), "{progress}");
    assert!(output.status.success(), "{report:#}");
}
