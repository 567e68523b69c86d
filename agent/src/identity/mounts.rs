//! Where cgroup2 is mounted.

use std::path::{Path, PathBuf};

/// Driver: the first cgroup2 mount of `/proc/self/mountinfo`, if any.
pub fn find_cgroup2(proc: &Path) -> Option<PathBuf> {
    let mountinfo = std::fs::read_to_string(proc.join("self/mountinfo")).ok()?;
    cgroup2_mount(&mountinfo)
}

/// proc(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`: the fifth field is the mount point; the file
/// system's type follows the lone dash, since the fields before it vary in number.
fn cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mount_point = before.split(' ').nth(4)?;
        (after.split(' ').next() == Some("cgroup2")).then(|| unescape(mount_point))
    })
}

/// Spaces, tabs, newlines and backslashes stand as three octal digits behind a backslash.
fn unescape(field: &str) -> PathBuf {
    let mut parts = field.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_at_checked(3).and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 8).ok()?, rest))) {
            Some((byte, rest)) => {
                path.push(char::from(byte));
                path.push_str(rest);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The v2 mount is found among v1 mounts, with and without optional fields, and its escapes are undone.
    #[test]
    fn finds_the_mount() {
        let hybrid = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw shared:4 - cgroup cgroup rw,cpu\n\
                      39 30 0:35 / /sys/fs/cgroup/uni\\040fied rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(hybrid), Some(PathBuf::from("/sys/fs/cgroup/uni fied")));
        assert_eq!(cgroup2_mount("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
        assert_eq!(cgroup2_mount("nonsense\n - cgroup2\n"), None);
        assert_eq!(unescape("/a\\xyz\\1"), PathBuf::from("/a\\xyz\\1"), "no escape at all");
    }
}
