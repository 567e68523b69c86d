//! Connects made by programs that know nothing of us are in Parquet, by process and cgroup.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it breaks")]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos::demo::traffic::Traffic;
use chaos::stand::Stand;
use chaos::stand::layout::{EdgeSpec, Layout};
use chaos::verify::tier;
use tokio::process::Command;

const CONNECTS: u64 = 1000;

/// A cgroup v2 of the test's own; removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn create() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount =
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[2] == "cgroup2").expect("a cgroup2 mount");
        let path = Path::new(mount[1]).join(format!("tributary-test-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn id(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Empty by now; what stays behind is an empty folder.
        drop(fs::remove_dir(&self.0));
    }
}

/// 1,000 runs of `curl` in a cgroup of their own are 1,000 connects in Parquet: each by its pid, all in that cgroup.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, BPF and curl"]
async fn a_thousand_curls_are_a_thousand_connects() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let specs = vec![EdgeSpec::new("edge-a", "eu-west-1", &["acme"]).unwrap()];
    let mut stand = Stand::start(&layout, env!("CARGO_BIN_EXE_tributary-chaos").into(), specs).await.unwrap();
    assert!(stand.start_agent().await.unwrap(), "the agent's probes run: see {}", fs::read_to_string(layout.log("agent")).unwrap());
    let server = Traffic::start(Duration::from_secs(3600)).await.unwrap();
    let cgroup = Cgroup::create();

    // The shell enters the cgroup, then every curl is a child of it: a process and a connect each.
    let url = format!("http://{}/", server.address());
    let run = format!(
        "echo $$ > {}/cgroup.procs; for i in $(seq {CONNECTS}); do curl -s -o /dev/null {url} & echo $!; wait $!; done",
        cgroup.0.display()
    );
    let output = Command::new("sh").args(["-c", &run]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pids: HashSet<u32> = String::from_utf8_lossy(&output.stdout).lines().map(|pid| pid.parse().unwrap()).collect();

    stand.stop_agent().await.unwrap();
    stand.drained(Duration::from_secs(60)).await.unwrap();
    stand.stop().await.unwrap();

    let connects = tier::connects(&layout.tier(), server.address().port()).unwrap();
    let from_curl = connects.iter().filter(|connect| pids.contains(&connect.pid));
    let in_cgroup: u64 = from_curl.filter(|connect| connect.cgroup == cgroup.id()).map(|connect| connect.count).sum();
    assert_eq!(in_cgroup, CONNECTS, "connects by the pids of curl in cgroup {}", cgroup.id());
    let seen: HashSet<u32> = connects.iter().map(|connect| connect.pid).filter(|pid| pids.contains(pid)).collect();
    assert_eq!(seen.len(), pids.len(), "every curl is there by its pid");
}
