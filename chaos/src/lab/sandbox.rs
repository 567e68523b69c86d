//! Where the lab lives: a network, mount and process namespace of its own, so that nothing of it can outlive it.
//!
//! ```text
//! tributary-chaos lab X ─▶ setpriv (dies with us) ─▶ unshare (kills its child) ─▶ tributary-chaos lab --inside X   process 1
//! ```
//!
//! Namespaces, links, disks and processes that the lab makes are of these three and end with its process 1, however that ends; there is
//! nothing to clean up, also after `kill -9`. Nothing is made, changed or seen in the machine's own network.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::command;
use super::report::Outcome;

/// Told to the command inside; not for users.
const INSIDE: &str = "--inside";

/// May we?
///
/// # Errors
/// Without root.
pub(super) fn check() -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "network namespaces need root: run it with sudo"))
}

/// Runs one scenario inside, and reads its outcome.
///
/// # Errors
/// When it cannot be started, or ends without one.
pub(super) fn run(scenario: &str, quick: bool, seed: u64, dir: &Path) -> io::Result<Outcome> {
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe()?)
        .args(["lab", scenario, INSIDE, "--seed", &seed.to_string(), "--dir"])
        .arg(dir)
        .args(quick.then_some("--quick"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("setpriv: {error}: it comes with util-linux")))?;
    serde_json::from_slice(&output.stdout).map_err(|error| io::Error::other(format!("{scenario} ended with {}: {error}", output.status)))
}

/// Inside: a place for names of network namespaces that only we see, and a loopback that works.
///
/// # Errors
/// When we are not inside after all, or the system refuses.
pub(super) fn furnish() -> io::Result<()> {
    if std::process::id() != 1 {
        return Err(io::Error::other(format!("{INSIDE} is for the lab itself: leave it out")));
    }
    std::fs::create_dir_all("/run/netns")?;
    command::run("mount -t tmpfs -o size=1m tmpfs /run/netns")?;
    command::run("ip link set dev lo up").map(drop)
}
