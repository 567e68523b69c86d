//! The clock, read by drivers only: what decides takes `now`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
