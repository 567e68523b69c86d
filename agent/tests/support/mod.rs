//! Children, cgroups and sinks of the tests that need root.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent::identity::{CgroupId, find_cgroup2};

/// A shell that runs its script when told, so that it can be moved into a cgroup before.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) pid: u32,
}

impl Child {
    pub(crate) fn start(script: &str) -> Self {
        let script = format!("read -r\n{script}");
        let process = Command::new("bash").args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("bash");
        let pid = process.id();
        Self { process, pid }
    }

    pub(crate) fn run(&mut self) {
        self.process.stdin.take().expect("not run yet").write_all(b"\n").unwrap();
    }

    /// The exit code; `None` where a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A cgroup of this test's own; removed at the end.
pub(crate) struct OwnCgroup {
    directory: PathBuf,
    pub(crate) path: String,
    pub(crate) id: CgroupId,
}

impl OwnCgroup {
    pub(crate) fn create(name: &str) -> Self {
        let mount = find_cgroup2(Path::new("/proc")).expect("cgroup2 is mounted");
        let path = format!("/tributary-test-{}-{name}", std::process::id());
        let directory = mount.join(&path[1..]);
        fs::create_dir(&directory).expect("a cgroup of our own");
        let id = CgroupId(fs::metadata(&directory).unwrap().ino());
        Self { directory, path, id }
    }

    pub(crate) fn take(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).expect("moves a process");
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        // Empty by now: its processes were waited for.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Takes connections and closes them, until it is dropped.
pub(crate) struct Sink {
    pub(crate) port: u16,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Ends with the test's process.
        std::thread::spawn(move || listener.incoming().for_each(drop));
        Self { port }
    }
}

/// A port that refuses while this is held.
pub(crate) struct Refused {
    _holder: (TcpStream, TcpStream),
    pub(crate) port: u16,
}

pub(crate) fn refused_port() -> Refused {
    // The client's end of a connection: its port is taken and nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let port = client.local_addr().unwrap().port();
    Refused { _holder: (client, server), port }
}
