//! The clock, read by drivers only: what decides takes `now`.

use std::time::Instant;

/// Now.
#[expect(clippy::disallowed_methods, reason = "driver: the one place that reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
