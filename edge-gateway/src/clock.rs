//! The clock, read by drivers only: what decides takes `now`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a driver has the time from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's.
    System,
    /// Whoever tells it: a simulation. Clones are told together.
    Told {
        /// Where it began.
        origin: Instant,
        /// Nanoseconds since then.
        since: Arc<AtomicU64>,
    },
}

impl Clock {
    /// A clock that stands at `origin` until it is told otherwise.
    #[must_use]
    pub fn told(origin: Instant) -> Self {
        Self::Told { origin, since: Arc::default() }
    }

    /// It is `now`; nothing happens to the system's clock.
    pub fn tell(&self, now: Instant) {
        if let Self::Told { origin, since } = self {
            let nanos = now.saturating_duration_since(*origin).as_nanos();
            since.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Instant {
        match self {
            Self::System => now(),
            Self::Told { origin, since } => *origin + Duration::from_nanos(since.load(Ordering::Relaxed)),
        }
    }
}

/// Now.
#[expect(clippy::disallowed_methods, reason = "driver: the one place that reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Now, in seconds since 1970: for what people read, never for what decides.
pub(crate) fn unix_seconds() -> u64 {
    wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The time of day, by which certificates are valid.
#[expect(clippy::disallowed_methods, reason = "driver: the one place that reads the clock")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
