//! What a cgroup's path tells.

use std::fmt;

/// A cgroup v2 id: the inode of its directory on the cgroup2 mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupId(pub u64);

impl fmt::Display for CgroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A cgroup by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupIdentity {
    /// From the root of the cgroup2 hierarchy, with a leading slash.
    pub path: String,
    /// `container.id`, where the path has one.
    pub container_id: Option<String>,
    /// `k8s.pod.uid`, where the path has one.
    pub pod_uid: Option<String>,
}

impl CgroupIdentity {
    /// Reads what runtimes write into paths.
    pub fn from_path(path: &str) -> Self {
        Self { container_id: container_id(path).map(str::to_owned), pod_uid: pod_uid(path), path: path.to_owned() }
    }
}

/// The longest path taken from `/proc` or the mount; a longer one is no path we know.
pub(super) const MAX_PATH_LEN: usize = 1024;

/// The v2 line (`0::/path`) of `/proc/PID/cgroup`; the others are v1 hierarchies, which BPF ids do not know.
pub(super) fn v2_path(proc_cgroup: &str) -> Option<&str> {
    let path = proc_cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    // A cgroup removed under a live process shows as "/path (deleted)"; one outside our namespace begins with "/..".
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    (path.starts_with('/') && !path.starts_with("/..") && path.len() <= MAX_PATH_LEN).then_some(path)
}

/// The container's id: 64 hex digits, in the innermost path segment that has them, as written by Docker (`/docker/<id>`,
/// `docker-<id>.scope`), containerd (`/kubepods/.../<id>`, `cri-containerd-<id>.scope`), CRI-O (`crio-<id>.scope`) and Podman
/// (`libpod-<id>.scope`). Their monitors (`crio-conmon-<id>.scope`) are not the container.
fn container_id(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|segment| {
        let name = segment.strip_suffix(".scope").unwrap_or(segment);
        let (runtime, id) = name.rsplit_once('-').unwrap_or(("", name));
        // containerd's systemd driver may write "slice:cri-containerd:<id>".
        let id = id.rsplit(':').next().unwrap_or(id);
        let hex = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (hex && !runtime.ends_with("conmon")).then_some(id)
    })
}

/// The pod's UID: `pod<uid>` (cgroupfs driver) or `...-pod<uid with underscores>.slice` (systemd driver).
fn pod_uid(path: &str) -> Option<String> {
    path.split('/').find_map(|segment| {
        let name = segment.strip_suffix(".slice").unwrap_or(segment);
        let at = name.rfind("pod").filter(|at| *at == 0 || name[..*at].ends_with('-'))?;
        let uid = name[at + 3..].replace('_', "-");
        let groups: Vec<usize> = uid.split('-').map(str::len).collect();
        let hex = uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        (hex && groups == [8, 4, 4, 4, 12]).then_some(uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4ab1c02d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";
    const POD: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    /// Of the hybrid hierarchy's lines only the v2 one counts, wherever it stands.
    #[test]
    fn finds_the_v2_line() {
        assert_eq!(v2_path("9:name=systemd:/\n4:memory:/a/b\n0::/system.slice/x.service\n"), Some("/system.slice/x.service"));
        assert_eq!(v2_path("0::/\n"), Some("/"));
        assert_eq!(v2_path("4:memory:/a\n"), None, "v1 only");
        assert_eq!(v2_path("0::/gone (deleted)\n"), Some("/gone"));
        assert_eq!(v2_path("0::/../../other\n"), None, "outside our cgroup namespace");
        assert_eq!(v2_path(&format!("0::/{}\n", "x".repeat(5000))), None, "longer than we keep");
        assert_eq!(v2_path(""), None);
    }

    /// Each runtime's way of writing a container's id is known.
    #[test]
    fn knows_containers() {
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/kubepods/burstable/pod{POD}/{ID}"),
            format!("/kubepods.slice/kubepods-pod{}.slice/cri-containerd-{ID}.scope", POD.replace('-', "_")),
            format!("/kubepods.slice/crio-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/system.slice/containerd.service/kubepods-pod{POD}.slice:cri-containerd:{ID}"),
            format!("/docker/{ID}/init.scope"),
        ] {
            assert_eq!(CgroupIdentity::from_path(&path).container_id.as_deref(), Some(ID), "{path}");
        }
    }

    /// What only looks like a container is none.
    #[test]
    fn takes_nothing_else_for_a_container() {
        for path in [
            "/".to_owned(),
            "/user.slice/user-1000.slice/session-3.scope".to_owned(),
            format!("/kubepods.slice/crio-conmon-{ID}.scope"),
            format!("/docker/{}", &ID[1..]),
            format!("/docker/{}", ID.to_uppercase()),
        ] {
            assert_eq!(CgroupIdentity::from_path(&path).container_id, None, "{path}");
        }
    }

    /// A pod's UID has dashes, however the cgroup driver wrote it.
    #[test]
    fn knows_pods() {
        let systemd = format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{}.slice/x", POD.replace('-', "_"));
        for path in [format!("/kubepods/burstable/pod{POD}/{ID}"), systemd] {
            assert_eq!(CgroupIdentity::from_path(&path).pod_uid.as_deref(), Some(POD), "{path}");
        }
        for path in ["/kubepods.slice", "/podman", "/my-pod1234", "/ipod"] {
            assert_eq!(CgroupIdentity::from_path(path).pod_uid, None, "{path}");
        }
    }
}
