//! What the machine did besides: how much of the part's cores others took, and how long the disk alone needs for a sync. A latency that
//! is not the part's own shows here; without it, a figure of a shared machine says little.
//!
//! Cores: `/proc/stat` (proc(5)), ticks of 10 ms on most systems. Disk: requests' bytes appended to one file in the bench's folder, each
//! followed by `fdatasync`, every [`EVERY`], for [`ALONE`], by a thread on the part's cores, before anything else runs.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::load::latency::Latencies;
use crate::usage;

/// How long the disk is measured.
const ALONE: Duration = Duration::from_secs(3);
/// From one sync's begin to the next one's.
const EVERY: Duration = Duration::from_millis(10);

/// The machine beside the part.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Machine {
    /// CPU time on the part's cores that was not the part's, as a share of the window (0 to 1 for each core): other processes, and the
    /// kernel's own threads, those that write for the part included.
    pub others_share: f64,
    /// Time that the hypervisor gave to other guests, as a share of the window (0 to 1 for each core).
    pub stolen_share: f64,
    /// The disk alone: from a write to the end of its sync.
    pub sync_p50_ms: f64,
    /// 99 %.
    pub sync_p99_ms: f64,
    /// The longest.
    pub sync_max_ms: f64,
}

impl Machine {
    /// What came on some cores between two looks, when the part took `part` of it.
    pub(super) fn beside(mut self, before: Ticks, after: Ticks, part: Duration, window: Duration) -> Self {
        let share = |time: Duration| time.as_secs_f64() / window.as_secs_f64();
        self.others_share = share(after.busy.saturating_sub(before.busy).saturating_sub(part));
        self.stolen_share = share(after.stolen.saturating_sub(before.stolen));
        self
    }
}

/// Time on some cores since the system's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    busy: Duration,
    stolen: Duration,
}

impl Ticks {
    /// Now.
    pub(super) fn of(cores: &[usize]) -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        Ok(Self::from_stat(&stat, cores, rustix::param::clock_ticks_per_second()))
    }

    /// Fields of a core's line: user, nice, system, idle, iowait, irq, softirq, steal.
    fn from_stat(stat: &str, cores: &[usize], per_second: u64) -> Self {
        let mut sum = Self::default();
        for line in stat.lines() {
            let mut words = line.split_ascii_whitespace();
            let core = words.next().and_then(|name| name.strip_prefix("cpu")).and_then(|core| core.parse::<usize>().ok());
            if core.is_none_or(|core| !cores.contains(&core)) {
                continue;
            }
            let fields: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
            let time = |which: &[usize]| {
                let ticks: u64 = which.iter().filter_map(|&at| fields.get(at)).sum();
                Duration::from_secs_f64(ticks as f64 / per_second as f64)
            };
            sum.busy += time(&[0, 1, 2, 5, 6]);
            sum.stolen += time(&[7]);
        }
        sum
    }
}

/// How long the disk below `folder` needs for a request of `bytes`, nothing else running.
pub(super) fn disk_alone(folder: &Path, bytes: usize, cores: &[usize]) -> io::Result<Machine> {
    let path = folder.join("sync-alone");
    let cores = cores.to_vec();
    let file = path.clone();
    let measured = std::thread::spawn(move || {
        usage::stay_on(&cores)?;
        syncs(&file, bytes)
    });
    let latencies = measured.join().map_err(|_| io::Error::other("the disk's measurement panicked"))?;
    std::fs::remove_file(&path)?;
    let latencies = latencies?;
    let [sync_p50_ms, sync_p99_ms] = [0.5, 0.99].map(|share| latencies.percentile_ms(share));
    Ok(Machine { sync_p50_ms, sync_p99_ms, sync_max_ms: latencies.max_ms(), ..Machine::default() })
}

#[expect(clippy::disallowed_methods, reason = "driver: the disk is measured at a pace")]
fn syncs(path: &Path, bytes: usize) -> io::Result<Latencies> {
    // Bytes that no disk can make less of.
    let noise: Vec<u8> = (0..bytes as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let mut file = File::create(path)?;
    let mut latencies = Latencies::default();
    let end = Instant::now() + ALONE;
    loop {
        let began = Instant::now();
        if began >= end {
            return Ok(latencies);
        }
        file.write_all(&noise)?;
        file.sync_data()?;
        latencies.add(Instant::now() - began);
        std::thread::sleep((began + EVERY).saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the cores named count, idle time and waiting for a disk do not, and the line of all cores is no core's.
    #[test]
    fn reads_the_cores_named() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 20 30 1000 500 4 6 50 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\ncpu10 7 7 7 7 7 7 7 7 0 0\nintr 5";
        let ticks = Ticks::from_stat(stat, &[0], 100);
        assert_eq!(ticks, Ticks { busy: Duration::from_millis(1600), stolen: Duration::from_millis(500) });
        let both = Ticks::from_stat(stat, &[0, 1], 100);
        assert_eq!(both, Ticks { busy: Duration::from_millis(1650), stolen: Duration::from_millis(510) });
    }

    /// What the part took itself is not others'.
    #[test]
    fn others_are_what_the_part_is_not() {
        let at = |busy, stolen| Ticks { busy: Duration::from_secs(busy), stolen: Duration::from_secs(stolen) };
        let beside = Machine::default().beside(at(10, 1), at(18, 2), Duration::from_secs(6), Duration::from_secs(10));
        assert_eq!((beside.others_share, beside.stolen_share), (0.2, 0.1));
    }

    /// The disk answers, and nothing is left behind.
    #[test]
    fn the_disk_alone() {
        let folder = tempfile::tempdir().unwrap();
        let machine = disk_alone(folder.path(), 4096, &usage::cores().unwrap()).unwrap();
        assert!(machine.sync_max_ms >= machine.sync_p99_ms && machine.sync_p99_ms >= machine.sync_p50_ms && machine.sync_p50_ms > 0.0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
