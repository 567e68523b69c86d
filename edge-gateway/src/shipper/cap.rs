//! The uplink's own cap. Bytes are paid for before they are written, in chunks, so that what stands in socket and send buffers
//! is never more than [`WINDOW`] of the link's time: a batch of a higher class overtakes at the next chunk.
//!
//! A virtual clock (GCRA): `paid_until` is when the link would be done with everything charged so far. Headers, retransmissions and
//! handshakes are charged after the fact by [`LinkCap::observe`], from the transport's own count of what it sent.

use std::time::{Duration, Instant};

/// How much of the link's time may be charged ahead of now.
pub(super) const WINDOW: Duration = Duration::from_millis(50);
/// Smallest and largest chunk, in bytes.
pub(super) const CHUNK_BYTES: (u64, u64) = (4 * 1024, 32 * 1024);

/// A rate limit in bytes per second, or none.
#[derive(Debug, Clone)]
pub struct LinkCap {
    bytes_per_second: Option<u64>,
    paid_until: Option<Instant>,
    charged_bytes: u64,
}

impl LinkCap {
    /// `None` does not limit.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second: bytes_per_second.map(|rate| rate.max(1)), paid_until: None, charged_bytes: 0 }
    }

    /// Bytes to write at a time: half of the window's worth, within [`CHUNK_BYTES`].
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        let (least, most) = CHUNK_BYTES;
        self.bytes_per_second.map_or(most, |rate| (rate / 40).clamp(least, most))
    }

    /// Pays for `bytes`, or says when to come back.
    ///
    /// # Errors
    /// The earliest time at which the same call will succeed, if nothing else is charged meanwhile.
    pub fn take(&mut self, now: Instant, bytes: u64) -> Result<(), Instant> {
        if self.bytes_per_second.is_some()
            && let Some(paid_until) = self.paid_until
        {
            let open = paid_until.checked_sub(WINDOW).unwrap_or(now);
            if open > now {
                return Err(open);
            }
        }
        self.charge(now, bytes);
        Ok(())
    }

    fn charge(&mut self, now: Instant, bytes: u64) {
        self.charged_bytes = self.charged_bytes.saturating_add(bytes);
        if let Some(rate) = self.bytes_per_second {
            let start = self.paid_until.map_or(now, |paid| paid.max(now));
            let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate));
            self.paid_until = Some(start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4)));
        }
    }

    /// A new connection counts its bytes from nought.
    pub fn restart_count(&mut self) {
        self.charged_bytes = 0;
    }

    /// The transport sent `wire_bytes` since the connection began: what goes beyond what was charged is charged now.
    pub fn observe(&mut self, now: Instant, wire_bytes: u64) {
        if let Some(more) = wire_bytes.checked_sub(self.charged_bytes).filter(|more| *more > 0) {
            self.charge(now, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
    fn start() -> Instant {
        Instant::now()
    }

    proptest! {
        /// Over any run of takes as early as allowed, bytes stay within rate × time plus the window and one chunk, and the link
        /// is not left idle: waiting until the stated time is enough.
        #[test]
        fn rate_holds(rate in 10_000u64..100_000_000, chunks in proptest::collection::vec(1u64..32_768, 1..300)) {
            let t0 = start();
            let mut now = t0;
            let mut cap = LinkCap::new(Some(rate));
            let mut sent = 0u64;
            for chunk in chunks {
                if let Err(at) = cap.take(now, chunk) {
                    prop_assert!(at > now);
                    now = at;
                    prop_assert_eq!(cap.take(now, chunk), Ok(()));
                }
                sent += chunk;
                let allowed = (now - t0 + WINDOW).as_secs_f64() * rate as f64 + chunk as f64;
                prop_assert!(sent as f64 <= allowed + 1.0, "{} sent, {} allowed", sent, allowed);
                let least = (now - t0).as_secs_f64() * rate as f64;
                let rounding = 300.0 * rate as f64 / 1e9 + 1.0;
                prop_assert!(sent as f64 + rounding >= least, "{} sent, link has had time for {}", sent, least);
            }
        }
    }

    /// Overhead that the transport reports delays what follows; what was charged before is not charged twice.
    #[test]
    fn overhead_is_charged_once() {
        let now = start();
        let mut cap = LinkCap::new(Some(1_000_000));
        cap.take(now, 50_000).unwrap();
        cap.observe(now, 40_000);
        assert_eq!(cap.take(now, 0), Ok(()), "50 kB at 1 MB/s is the window exactly");
        cap.observe(now, 60_000);
        cap.observe(now, 60_000);
        assert_eq!(cap.take(now, 1), Err(now + Duration::from_millis(10)));
    }

    /// Without a rate nothing waits.
    #[test]
    fn no_cap_no_wait() {
        let now = start();
        let mut cap = LinkCap::new(None);
        for _ in 0..1000 {
            assert_eq!(cap.take(now, u64::MAX / 4), Ok(()));
        }
    }
}
