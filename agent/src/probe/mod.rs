//! What can be watched: one file per probe, and one line in [`registry`].
//!
//! A probe is pure: it names its kernel programs, takes the bytes of their events, and gives OTLP requests when asked. Loading
//! (`loader`), draining and sending (`driver`) are others' work. So a probe that cannot run costs nothing but its data.

mod process;
mod tcp_connect;

use bpf::Malformed;

use crate::clock::{BootClock, UnixNanos};
use crate::config::{Config, Mode};
use crate::export::{Node, Request, Window};
use crate::identity::{CgroupId, Cgroups};

pub use process::Process;
pub use tcp_connect::TcpConnect;

/// Every probe there is, as configured.
pub fn registry(config: &Config) -> Vec<(Mode, Box<dyn Probe>)> {
    vec![
        (config.probes.tcp_connect, Box::new(TcpConnect::new(config.limits.series))),
        (config.probes.process, Box::new(Process::new(config.limits.records))),
    ]
}

/// What a probe needs of the kernel.
#[derive(Debug)]
pub struct ProbeSpec {
    /// Its name in configuration, metrics and messages.
    pub name: &'static str,
    /// The ELF object with its programs, a ring `events` and the per-CPU `counters`.
    pub object: &'static [u8],
    /// Its programs; each is loaded on its own, and the probe runs with those that can be.
    pub programs: &'static [ProgramSpec],
}

/// One kernel program.
#[derive(Debug)]
pub struct ProgramSpec {
    /// Its function's name in the object.
    pub name: &'static str,
    /// The kernel tracepoint that it is attached to by BTF (`tp_btf`).
    pub tracepoint: &'static str,
}

/// Who an event is about, so that the driver can find the cgroup's path while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The process.
    pub pid: u32,
    /// Its cgroup.
    pub cgroup: CgroupId,
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Who it is about.
    pub origin: Origin,
    /// `false` where the probe was at its bound and the event was only counted (or went to an overflow series).
    pub kept: bool,
}

/// What requests are built with.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The resource.
    pub node: &'a Node,
    /// Paths of the cgroups seen.
    pub cgroups: &'a Cgroups,
    /// Kernel time to wall clock.
    pub clock: &'a BootClock,
    /// The interval that ends now.
    pub window: Window,
}

impl View<'_> {
    /// Now.
    pub fn now(&self) -> UnixNanos {
        self.window.end
    }
}

/// A kind of observation.
pub trait Probe: Send {
    /// What it needs of the kernel.
    fn spec(&self) -> &'static ProbeSpec;

    /// Takes the bytes of one event.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that its programs do not write; they are counted and forgotten.
    fn take(&mut self, event: &[u8]) -> Result<Taken, Malformed>;

    /// Whether it would rather be asked for its requests now than at the end of the interval.
    fn is_full(&self) -> bool;

    /// Gives what it has gathered, and starts anew.
    fn collect(&mut self, view: View<'_>) -> Vec<Request>;
}
