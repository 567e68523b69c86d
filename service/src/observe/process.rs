//! The process's own figures, read from `/proc/self` when somebody asks.
//!
//! Written by hand rather than through `metrics`, because CPU seconds are a fractional counter and
//! the macros count in whole numbers. A file that cannot be read leaves its metric out.

use std::fmt::Write;
use std::fs;

use metrics::{Unit, describe_counter, describe_gauge};

/// Ticks per second in `/proc/self/stat`: USER_HZ, 100 on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// A figure's name and meaning.
type Figure = (&'static str, &'static str);

const CPU: Figure = ("process_cpu_seconds_total", "User and system CPU time");
const RESIDENT: Figure = ("process_resident_memory_bytes", "Resident memory");
const THREADS: Figure = ("process_threads", "Threads");
const OPEN_FILES: Figure = ("process_open_fds", "Open file descriptors");

/// Describes the process's metrics.
pub(crate) fn describe_metrics() {
    describe_counter!(CPU.0, Unit::Seconds, CPU.1);
    describe_gauge!(RESIDENT.0, Unit::Bytes, RESIDENT.1);
    describe_gauge!(THREADS.0, Unit::Count, THREADS.1);
    describe_gauge!(OPEN_FILES.0, Unit::Count, OPEN_FILES.1);
}

/// Appends the process's metrics in the Prometheus text format.
pub(super) fn render(out: &mut String) {
    if let Some(usage) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        metric(out, CPU, "counter", usage);
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        if let Some(kib) = field(&status, "VmRSS:") {
            metric(out, RESIDENT, "gauge", kib * 1024.0);
        }
        if let Some(threads) = field(&status, "Threads:") {
            metric(out, THREADS, "gauge", threads);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The directory handle itself is one of them, and is closed when this returns.
        let open = open.count().saturating_sub(1) as f64;
        metric(out, OPEN_FILES, "gauge", open);
    }
}

fn metric(out: &mut String, (name, help): Figure, kind: &str, value: f64) {
    // Writing to a String cannot fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

/// The 14th and 15th fields of proc(5) `stat`, counted behind the command in parentheses, which
/// may itself hold spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, behind_command) = stat.rsplit_once(')')?;
    let mut fields = behind_command.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command with spaces and parentheses does not shift the fields.
    #[test]
    fn cpu_time_is_found_behind_any_command() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (cut"), None);
    }

    /// On Linux every figure is there, in base units.
    #[test]
    fn all_figures_of_this_process_are_rendered() {
        let mut text = String::new();
        render(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.expect(name).trim().parse().expect(name)
        };
        assert!(value("process_resident_memory_bytes ") > 1024.0 * 1024.0);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_threads ") >= 1.0);
    }
}
