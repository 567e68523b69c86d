//! The kill matrix as a user runs it, short: the whole one is a step of `.ci/run`, in release.

use std::process::Command;

use serde_json::Value;

/// Each process is killed once, and once more while it starts: all that was acknowledged is found once, and the report says how each
/// came back.
#[test]
fn each_process_killed_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tributary-chaos"))
        .args(["kill", "--times", "1", "--rate", "600", "--pairs", "0", "--during-recovery", "100", "--seed", "3", "--json", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {progress}"));
    let count = |value: &Value, key: &str| value[key].as_u64().unwrap_or_else(|| panic!("{key} is not there: {report:#}"));
    assert!(count(&report, "acknowledged") > 500, "{report:#}");
    assert_eq!((count(&report, "lost"), count(&report, "doubled")), (0, 0), "{report:#}");
    assert_eq!(count(&report, "found_once"), count(&report, "acknowledged"), "{report:#}");
    assert_eq!(report["signals"].as_object().unwrap().len(), 3, "{report:#}");
    for process in ["edge", "router", "agent"] {
        let recovery = &report["processes"][process];
        assert_eq!((count(recovery, "kills"), count(recovery, "during_recovery")), (2, 1), "{report:#}");
        assert!(recovery["ready_max_ms"].as_f64().unwrap() > 0.0, "{report:#}");
    }
    let moving_ms = report["processes"]["router"]["moving_max_ms"].as_f64().unwrap();
    assert!(moving_ms < 9_000.0, "the edge waited for its idle timeout to miss the router: {report:#}");
    assert!(output.status.success() && report["ledgers_balance"] == true, "{report:#}");
}

/// A run that fails says where its files are and how to ask for it again, seed and all.
#[test]
fn a_failed_run_says_how_to_repeat_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "x").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tributary-chaos"))
        .args(["kill", "--process", "edge", "--times", "7", "--seed", "99", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("tributary-chaos kill --seed 99 --times 7 --process edge --rate 8000"), "{said}");
    assert!(said.contains(dir.path().to_str().unwrap()), "{said}");
}
