//! Where the lab lives: a network, mount and process namespace of its own, so that nothing of it can outlive it.
//!
//! ```text
//! tributary-chaos lab X ─▶ setpriv (dies with us) ─▶ unshare (kills its child) ─▶ tributary-chaos lab --inside X   process 1
//! ```
//!
//! Namespaces, links, disks and processes that the lab makes are of these three and end with its process 1, however that ends; there is
//! nothing to clean up, also after `kill -9`. Nothing is made, changed or seen in the machine's own network.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode};

use super::command;

/// Told to the command inside; not for users.
pub(super) const INSIDE: &str = "--inside";

/// Runs this very command inside, and gives what it ended with.
///
/// # Errors
/// Without root, or when it cannot be started.
pub(super) fn enter() -> io::Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "network namespaces need root: run it with sudo"));
    }
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe()?)
        .args(arguments(std::env::args_os().skip(1)))
        .status()
        .map_err(|error| io::Error::new(error.kind(), format!("setpriv: {error}: it comes with util-linux")))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn arguments(ours: impl Iterator<Item = OsString>) -> Vec<OsString> {
    ours.chain([INSIDE.into()]).collect()
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

/// Removes the hosts of a scenario that has ended, and the small disks; its processes have ended or were killed when dropped.
///
/// # Errors
/// When the system refuses.
pub(super) fn clear() -> io::Result<()> {
    for name in std::fs::read_dir("/run/netns")? {
        let name = name?.file_name();
        command::run(&format!("ip netns delete {}", name.display()))?;
    }
    for line in std::fs::read_to_string("/proc/self/mounts")?.lines() {
        let mut words = line.split(' ');
        if let (Some("tributary-lab"), Some(place)) = (words.next(), words.next()) {
            command::run(&format!("umount {place}"))?;
        }
    }
    Ok(())
}
