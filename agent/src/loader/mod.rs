//! Programs into the kernel, each on its own, as far as the kernel lets us.
//!
//! Driver over aya. What cannot be loaded is no error of the agent: it becomes a [`Missing`] that says which program, what the
//! kernel answered and what to do about it, and the rest runs.

mod diagnosis;
mod failure;
mod privileges;

pub use diagnosis::{Missing, Step};
pub use failure::Failure;
pub use privileges::Privileges;

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::maps::{MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};
use bpf::{COUNTERS_MAP, Counter, EVENTS_MAP};

use crate::probe::{ProbeSpec, ProgramSpec};

/// A probe's programs at work. Dropping it detaches them.
pub struct Attached {
    // Holds the programs and their links.
    _ebpf: Ebpf,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
    fdinfo: Vec<String>,
    /// The programs that run.
    pub running: Vec<&'static str>,
    /// Those that do not.
    pub missing: Vec<Missing>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").field("running", &self.running).field("missing", &self.missing).finish_non_exhaustive()
    }
}

/// Counts kept by the kernel's side, since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Events given to the ring.
    pub sent: u64,
    /// Events lost: no room in the ring.
    pub ring_full: u64,
    /// Ends without a known start.
    pub no_start: u64,
    /// Starts that could not be stored.
    pub no_slot: u64,
    /// Runs that the kernel skipped because the program was already running on that CPU.
    pub skipped: u64,
}

/// Loads and attaches what it can of `spec`, with a ring of `ring_bytes` (a power of two, at least a page).
///
/// # Errors
/// Why no program at all could be loaded: one [`Missing`] per program, or one for the whole object.
pub fn attach(spec: &ProbeSpec, ring_bytes: u32, privileges: &Privileges) -> Result<Attached, Vec<Missing>> {
    let whole = |step, failure| vec![Missing::new(spec.name, None, step, failure, *privileges)];
    let btf = Btf::from_sys_fs().map_err(|error| whole(Step::ReadBtf, Failure::from(&error)))?;
    raise_memlock();
    let opened = EbpfLoader::new().btf(Some(&btf)).map_max_entries(EVENTS_MAP, ring_bytes).load(spec.object);
    let mut ebpf = opened.map_err(|error| whole(Step::Open, Failure::from(&error)))?;

    let mut running = Vec::new();
    let mut missing = Vec::new();
    let mut fdinfo = Vec::new();
    for program in spec.programs {
        match attach_program(&mut ebpf, program, &btf) {
            Ok(info) => {
                running.push(program.name);
                fdinfo.push(info);
            }
            Err((step, error)) => missing.push(Missing::new(spec.name, Some(program), step, Failure::from(&error), *privileges)),
        }
    }
    if running.is_empty() {
        return Err(missing);
    }
    let unmapped = |error: MapError| whole(Step::MapRing, Failure::from(&error));
    let ring = map(&mut ebpf, EVENTS_MAP).and_then(RingBuf::try_from).map_err(unmapped)?;
    let counters = map(&mut ebpf, COUNTERS_MAP).and_then(PerCpuArray::try_from).map_err(unmapped)?;
    Ok(Attached { _ebpf: ebpf, ring, counters, fdinfo, running, missing })
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, MapError> {
    ebpf.take_map(name).ok_or(MapError::ElementNotFound)
}

/// Gives the path of the program's fdinfo, where the kernel keeps its count of skipped runs.
fn attach_program(ebpf: &mut Ebpf, spec: &ProgramSpec, btf: &Btf) -> Result<String, (Step, ProgramError)> {
    let program = ebpf.program_mut(spec.name).ok_or_else(|| {
        let name = spec.name.to_owned();
        (Step::Load, ProgramError::InvalidName { name })
    })?;
    let program: &mut BtfTracePoint = program.try_into().map_err(|error| (Step::Load, error))?;
    program.load(spec.tracepoint, btf).map_err(|error| (Step::Load, error))?;
    program.attach().map_err(|error| (Step::Attach, error))?;
    let fd = program.fd().map_err(|error| (Step::Attach, error))?;
    Ok(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))
}

impl Attached {
    /// Gives up to `max` events to `take`, in the order they were sent; how many there were.
    pub fn drain(&mut self, max: usize, mut take: impl FnMut(&[u8])) -> usize {
        for taken in 0..max {
            let Some(event) = self.ring.next() else { return taken };
            take(&event);
        }
        max
    }

    /// The kernel's counts.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn counts(&self) -> Result<KernelCounts, MapError> {
        let sum = |counter: Counter| -> Result<u64, MapError> { Ok(self.counters.get(&(counter as u32), 0)?.iter().sum()) };
        Ok(KernelCounts {
            sent: sum(Counter::Sent)?,
            ring_full: sum(Counter::RingFull)?,
            no_start: sum(Counter::NoStart)?,
            no_slot: sum(Counter::NoSlot)?,
            skipped: self.fdinfo.iter().map(|path| skipped_runs(Path::new(path))).sum(),
        })
    }
}

/// `recursion_misses` of a program (Linux 5.12 and later; 0 before).
fn skipped_runs(fdinfo: &Path) -> u64 {
    let text = std::fs::read_to_string(fdinfo).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Before 5.11 the memory of maps counts against RLIMIT_MEMLOCK, 64 KiB by default. Best effort: where it may not be raised,
/// creating the map says so.
fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }) {
        tracing::debug!(%error, "RLIMIT_MEMLOCK not raised: needed before Linux 5.11 only");
    }
}
