//! What a process costs, as the kernel tells, and on which cores it may run.
//!
//! Read from `/proc`: CPU time of all threads in ticks (10 ms on most systems, so measure for seconds), and the peak of resident
//! memory. Affinity is that of a thread; what it starts (threads and processes) inherits it.

use std::io;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// CPU time (user and system) that a process has taken so far.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path)?;
    let ticks = ticks_of(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path}: no CPU time in {stat:?}")))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// CPU time that this process has taken so far; zero where `/proc` does not tell.
#[must_use]
pub fn own_cpu_time() -> Duration {
    cpu_time(std::process::id()).unwrap_or_default()
}

/// utime and stime: fields 14 and 15, counted behind the name, which may contain anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The most memory that a process has had resident, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn peak_memory(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path)?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    peak.map(|kib| kib * 1024).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path}: no VmHWM")))
}

/// Lets the mark of [`peak_memory`] begin anew from what is resident now (`clear_refs`, proc(5)).
///
/// # Errors
/// When there is no such process, or it is not ours.
pub fn forget_peak_memory(pid: u32) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// The cores that this thread may run on.
///
/// # Errors
/// When the kernel does not tell.
pub fn cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps this thread, and what it starts from now on, to these cores.
///
/// # Errors
/// When the kernel refuses: there is no such core.
pub fn stay_on(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    Ok(sched_setaffinity(None, &set)?)
}

/// Does something, such as starting a process, on other cores; this thread comes back to its own.
///
/// # Errors
/// When the kernel refuses the cores, or what is done fails.
pub fn on_cores<T>(cores: &[usize], act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = sched_getaffinity(None)?;
    stay_on(cores)?;
    let done = act();
    sched_setaffinity(None, &before)?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name with blanks and brackets, as a process may give itself, shifts no field.
    #[test]
    fn reads_cpu_time_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 123 45 9 9 20 0 3 0 11";
        assert_eq!(ticks_of(stat), Some(168));
        assert_eq!(ticks_of("7 (cut"), None);
    }

    /// What this process does costs it CPU time and memory.
    #[test]
    fn tells_of_this_process() {
        let before = own_cpu_time();
        let mut sum = 0u64;
        while own_cpu_time() == before {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(peak_memory(std::process::id()).unwrap() > 1 << 20);
    }

    /// A process is started on the core named, and this thread is back on its own afterwards.
    #[test]
    fn starts_elsewhere_and_comes_back() {
        let before = cores().unwrap();
        let last = *before.last().unwrap();
        let seen = on_cores(&[last], || std::process::Command::new("cat").arg("/proc/self/status").output()).unwrap();
        let status = String::from_utf8(seen.stdout).unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(allowed.trim(), last.to_string());
        assert_eq!(cores().unwrap(), before);
    }
}
