//! Who it was: the host, and the cgroup behind a kernel's number.
//!
//! The kernel gives a cgroup v2 id with every event. It is the inode of the cgroup's directory, so a path is found in two
//! ways: the process's own `/proc/PID/cgroup`, checked against that inode, while it lives; else by walking the cgroup2 mount.
//! From the path come the container and the pod, where a runtime has written them into it.

mod cgroup;
mod cgroups;
mod mounts;

pub use cgroup::{CgroupId, CgroupIdentity};
pub use cgroups::Cgroups;
pub use mounts::find_cgroup2;

use std::path::Path;

/// Driver: the node's name as the kernel has it; `unknown` where even that cannot be read.
pub fn host_name(proc: &Path) -> String {
    std::fs::read_to_string(proc.join("sys/kernel/hostname"))
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
