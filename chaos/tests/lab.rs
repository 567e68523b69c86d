//! The lab as a user runs it, one scenario.

use std::process::Command;

use serde_json::Value;

/// A link that is cut loses nothing, everything that the report promises is in it, and nothing of the lab is left on the machine.
#[test]
#[ignore = "needs root, and ip, tc, nft, ethtool"]
fn a_cut_link_loses_nothing_and_leaves_nothing() {
    let namespaces = || Command::new("ip").args(["netns", "list"]).output().unwrap().stdout;
    let (before, dir) = (namespaces(), tempfile::tempdir().unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_tributary-chaos"))
        .args(["lab", "link-cut", "--quick", "--json", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {progress}"));
    assert!(report["acknowledged"].as_u64().unwrap() > 20_000, "{report:#}");
    assert_eq!(report["found_once"], report["acknowledged"], "{report:#}");
    for key in ["lost", "doubled", "possibly_doubled"] {
        assert_eq!(report[key], 0, "{key}: {report:#}");
    }
    assert!(
        report["recovery_s"].as_f64().unwrap() >= 0.0
            && report["rss_mib_of"]["west"].as_f64().unwrap() > 1.0
            && report["rss_mib"].as_f64() >= report["rss_mib_of"]["west"].as_f64(),
        "{report:#}"
    );
    assert!(report["wire_bytes"]["up"].as_u64().unwrap() > 100_000, "{report:#}");
    assert!(output.status.success() && report["ok"] == true, "{report:#}");
    assert_eq!(namespaces(), before);
}
