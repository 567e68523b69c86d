//! How much may be on its way: written to the transport and not acknowledged by the other end's.
//!
//! As much as the link carried in [`AHEAD`], or in two of its round trips where those are longer. On a fast link that is as good as no
//! limit; on one of 10 Mbit/s it is half a second that fresh data waits for, and not the 7 s that 8 MiB would take. While the window is
//! what holds the link back, it grows from look to look, since the link carries it in less than [`AHEAD`]; while there is little to send
//! it shrinks slowly, so that a burst finds it open.
//!
//! Bounds: from [`LEAST`] to [`MOST`].

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long what is on its way may take.
const AHEAD: Duration = Duration::from_millis(500);
/// At least, in bytes: two large chunks for each stream.
const LEAST: u64 = 256 << 10;
/// At most, in bytes: enough for 1 Gbit/s at 60 ms.
pub(super) const MOST: u64 = 8 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    bytes: u64,
    looked: Instant,
    sent_bytes: u64,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { bytes: LEAST, looked: now, sent_bytes: 0 }
    }

    /// In force now, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Is it time to look?
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked) >= LOOK
    }

    /// The transport has sent so much since the connection began, of which a round trip takes `least_rtt` at the best. Says whether the
    /// window is another now.
    pub(super) fn observe(&mut self, now: Instant, sent_bytes: u64, least_rtt: Duration) -> bool {
        let took = now.saturating_duration_since(self.looked).as_secs_f64();
        let rate = sent_bytes.saturating_sub(self.sent_bytes) as f64 / took.max(0.001);
        let ahead = AHEAD.max(2 * least_rtt).as_secs_f64();
        let carried = (rate * ahead) as u64;
        let bytes = carried.max(self.bytes - self.bytes / 8).clamp(LEAST, MOST);
        (self.looked, self.sent_bytes) = (now, sent_bytes);
        std::mem::replace(&mut self.bytes, bytes) != bytes
    }
}

#[cfg(test)]
mod tests;
