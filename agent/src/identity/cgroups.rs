//! Cgroup ids to paths, remembered.
//!
//! Resolved when an id is first seen, since the process and its cgroup may be gone at the next flush. Bounds: `capacity` ids
//! (each with a path of at most 1 KiB), past it the one not seen for longest is forgotten; at most one walk of the mount per
//! [`WALK_EVERY`], of at most [`WALK_DIRECTORIES`] directories.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cgroup::{CgroupId, CgroupIdentity, MAX_PATH_LEN, v2_path};

/// How often the mount may be walked for ids whose process was gone.
const WALK_EVERY: Duration = Duration::from_secs(2);
/// How far a walk goes.
const WALK_DIRECTORIES: usize = 20_000;

#[derive(Debug)]
struct Entry {
    identity: Option<Arc<CgroupIdentity>>,
    last_seen: u64,
}

/// The cgroups seen so far.
#[derive(Debug)]
pub struct Cgroups {
    proc: PathBuf,
    mount: Option<PathBuf>,
    known: HashMap<CgroupId, Entry>,
    capacity: usize,
    sightings: u64,
    next_walk: Option<Instant>,
}

impl Cgroups {
    /// `proc` is `/proc`; `mount` where cgroup2 is mounted (without it, ids have no paths); `capacity` in ids.
    pub fn new(proc: &Path, mount: Option<&Path>, capacity: usize) -> Self {
        Self {
            proc: proc.to_owned(),
            mount: mount.map(Path::to_owned),
            known: HashMap::new(),
            capacity: capacity.max(1),
            sightings: 0,
            next_walk: None,
        }
    }

    /// What is known of `id`.
    pub fn get(&self, id: CgroupId) -> Option<&CgroupIdentity> {
        self.known.get(&id)?.identity.as_deref()
    }

    /// An event of `pid` in `id`: finds its path if that is not known yet. Costs a look-up when it is, or when the
    /// last search was just now; else two or three file system calls, and now and then a walk.
    pub fn saw(&mut self, now: Instant, id: CgroupId, pid: u32) {
        self.sightings += 1;
        let sighting = self.sightings;
        if let Some(entry) = self.known.get_mut(&id) {
            entry.last_seen = sighting;
            if entry.identity.is_some() || self.next_walk.is_some_and(|at| now < at) {
                return;
            }
        }
        let identity = self.by_process(id, pid).map(Arc::new);
        let found = identity.is_some();
        self.remember(id, Entry { identity, last_seen: sighting });
        if !found && self.next_walk.is_none_or(|at| now >= at) {
            self.next_walk = Some(now + WALK_EVERY);
            self.walk();
        }
    }

    fn remember(&mut self, id: CgroupId, entry: Entry) {
        if self.known.len() >= self.capacity && !self.known.contains_key(&id) {
            let oldest = self.known.iter().min_by_key(|(_, entry)| entry.last_seen).map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(id, entry);
    }

    /// By the process's own word, if its directory has the inode: a process may have moved since the event.
    fn by_process(&self, id: CgroupId, pid: u32) -> Option<CgroupIdentity> {
        let mount = self.mount.as_deref()?;
        let text = fs::read_to_string(self.proc.join(pid.to_string()).join("cgroup")).ok()?;
        let path = v2_path(&text)?;
        let directory = mount.join(path.trim_start_matches('/'));
        (fs::metadata(directory).ok()?.ino() == id.0).then(|| CgroupIdentity::from_path(path))
    }

    /// Gives every id without a path the directory that has its inode, where there is one.
    fn walk(&mut self) {
        let Some(mount) = self.mount.clone() else { return };
        let mut pending = vec![mount.clone()];
        let mut visited = 0;
        while let Some(directory) = pending.pop() {
            visited += 1;
            if visited > WALK_DIRECTORIES {
                tracing::debug!(WALK_DIRECTORIES, "cgroup walk stopped at its bound");
                return;
            }
            if let Ok(metadata) = fs::metadata(&directory) {
                self.fill(CgroupId(metadata.ino()), &mount, &directory);
            }
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            pending.extend(directories.map(|entry| entry.path()));
        }
    }

    fn fill(&mut self, id: CgroupId, mount: &Path, directory: &Path) {
        let Some(entry) = self.known.get_mut(&id).filter(|entry| entry.identity.is_none()) else { return };
        let below = directory.strip_prefix(mount).ok().and_then(Path::to_str).filter(|path| path.len() < MAX_PATH_LEN);
        entry.identity = below.map(|path| Arc::new(CgroupIdentity::from_path(&format!("/{path}"))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree {
        dir: tempfile::TempDir,
    }

    impl Tree {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("cgroup")).unwrap();
            Self { dir }
        }

        fn cgroup(&self, path: &str) -> CgroupId {
            let directory = self.dir.path().join("cgroup").join(path);
            fs::create_dir_all(&directory).unwrap();
            CgroupId(fs::metadata(directory).unwrap().ino())
        }

        fn process(&self, pid: u32, cgroup: &str) {
            let directory = self.dir.path().join("proc").join(pid.to_string());
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("cgroup"), format!("4:memory:/m\n0::/{cgroup}\n")).unwrap();
        }

        fn cgroups(&self, capacity: usize) -> Cgroups {
            Cgroups::new(&self.dir.path().join("proc"), Some(&self.dir.path().join("cgroup")), capacity)
        }
    }

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "an origin for the test's own clock")]
        Instant::now()
    }

    fn path(cgroups: &Cgroups, id: CgroupId) -> Option<&str> {
        cgroups.get(id).map(|identity| identity.path.as_str())
    }

    /// A live process says where it is.
    #[test]
    fn by_the_process() {
        let tree = Tree::new();
        let id = tree.cgroup("a/b");
        tree.process(7, "a/b");
        let mut cgroups = tree.cgroups(10);
        cgroups.next_walk = Some(now() + WALK_EVERY);
        cgroups.saw(now(), id, 7);
        assert_eq!(path(&cgroups, id), Some("/a/b"));
    }

    /// A process that moved on since the event is not believed; the walk finds the right one. So it does when the process is gone.
    #[test]
    fn by_the_walk() {
        let tree = Tree::new();
        let (old, gone) = (tree.cgroup("old"), tree.cgroup("x/y/z"));
        tree.cgroup("new");
        tree.process(7, "new");
        let mut cgroups = tree.cgroups(10);
        let start = now();
        cgroups.saw(start, old, 7);
        assert_eq!(path(&cgroups, old), Some("/old"));
        cgroups.saw(start, gone, 8);
        assert_eq!(path(&cgroups, gone), None, "no second walk so soon");
        cgroups.saw(start + WALK_EVERY, gone, 8);
        assert_eq!(path(&cgroups, gone), Some("/x/y/z"));
    }

    /// A path stays known after process and cgroup are gone.
    #[test]
    fn remembers() {
        let tree = Tree::new();
        let id = tree.cgroup("short");
        tree.process(7, "short");
        let mut cgroups = tree.cgroups(10);
        cgroups.saw(now(), id, 7);
        fs::remove_dir(tree.dir.path().join("cgroup/short")).unwrap();
        fs::remove_dir_all(tree.dir.path().join("proc/7")).unwrap();
        cgroups.saw(now(), id, 7);
        assert_eq!(path(&cgroups, id), Some("/short"));
    }

    /// Past its capacity it forgets the id not seen for longest.
    #[test]
    fn forgets_the_oldest() {
        let tree = Tree::new();
        let ids: Vec<_> = ["a", "b", "c"].iter().map(|name| tree.cgroup(name)).collect();
        let mut cgroups = tree.cgroups(2);
        for (pid, name) in [(1, "a"), (2, "b"), (3, "c")] {
            tree.process(pid, name);
        }
        for (index, pid) in [(0, 1), (1, 2), (0, 1), (2, 3)] {
            cgroups.saw(now(), ids[index], pid);
        }
        assert_eq!((path(&cgroups, ids[0]), path(&cgroups, ids[1]), path(&cgroups, ids[2])), (Some("/a"), None, Some("/c")));
        assert_eq!(cgroups.known.len(), 2);
    }

    /// Without a cgroup2 mount an id stays a number.
    #[test]
    fn without_a_mount() {
        let tree = Tree::new();
        let mut cgroups = Cgroups::new(tree.dir.path(), None, 10);
        cgroups.saw(now(), CgroupId(5), 1);
        assert!(cgroups.get(CgroupId(5)).is_none());
    }
}
