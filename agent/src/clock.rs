//! Kernel time to wall-clock time.
//!
//! Programs stamp events with `bpf_ktime_get_ns`, which is `CLOCK_MONOTONIC`. The distance from there to Unix time moves when
//! the wall clock is set or slewed, so it is measured again at every flush; an event is at most a drain old, so the error is
//! what the wall clock moved within one interval.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixNanos(pub u64);

/// The distance between the two clocks, as last measured.
#[derive(Clone, Copy, Debug)]
pub struct BootClock {
    offset_ns: u64,
}

impl BootClock {
    /// From two readings taken at the same moment.
    pub fn new(monotonic_ns: u64, unix: UnixNanos) -> Self {
        Self { offset_ns: unix.0.saturating_sub(monotonic_ns) }
    }

    /// Driver: reads both clocks.
    pub fn measure() -> Self {
        // The wall clock between two readings of the other: the middle of those belongs to it.
        let before = nanos(clock_gettime(ClockId::Monotonic));
        let unix = unix_now();
        let after = nanos(clock_gettime(ClockId::Monotonic));
        Self::new(before + after.saturating_sub(before) / 2, unix)
    }

    /// When an event stamped `ktime_ns` happened.
    pub fn unix(&self, ktime_ns: u64) -> UnixNanos {
        UnixNanos(self.offset_ns.saturating_add(ktime_ns))
    }
}

/// Driver: the wall clock.
pub fn unix_now() -> UnixNanos {
    UnixNanos(nanos(clock_gettime(ClockId::Realtime)))
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let below = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event keeps its distance to the reading, and no kernel time overflows.
    #[test]
    fn converts() {
        let clock = BootClock::new(5_000, UnixNanos(1_000_000));
        assert_eq!(clock.unix(4_000), UnixNanos(999_000));
        assert_eq!(clock.unix(u64::MAX), UnixNanos(u64::MAX));
        assert_eq!(BootClock::new(10, UnixNanos(3)).unix(1), UnixNanos(1), "a wall clock before boot does not wrap");
    }

    /// The measured distance gives now for now, within a second.
    #[test]
    fn measures() {
        let clock = BootClock::measure();
        let now = clock.unix(nanos(clock_gettime(ClockId::Monotonic)));
        assert!(now.0.abs_diff(unix_now().0) < 1_000_000_000);
    }
}
