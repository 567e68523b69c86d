//! The senders are drivers: they read the clock.

use std::time::{Duration, SystemTime};

/// Now, in Unix nanoseconds.
#[expect(clippy::disallowed_methods, reason = "driver: telemetry carries the time of day")]
#[must_use]
pub fn unix_nano() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time that this process has used.
#[must_use]
pub fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}
