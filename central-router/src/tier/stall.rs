//! Does a tier move? Silence of a tier that hangs is no sign of health: what counts is its cursor while something waits for it.

use std::time::{Duration, Instant};

/// A tier whose cursor has not moved for this long, though something waits, is reported.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);

/// What was last seen of one tier.
#[derive(Debug, Clone, Copy)]
pub struct Stall {
    cursor: u64,
    since: Instant,
}

impl Stall {
    /// A tier whose cursor stands there at `now`.
    #[must_use]
    pub fn new(now: Instant, cursor: u64) -> Self {
        Self { cursor, since: now }
    }

    /// How long the tier has stood still with `queued` rows waiting; `None` while it moves, or has nothing to do.
    pub fn look(&mut self, now: Instant, cursor: u64, queued: u64) -> Option<Duration> {
        if cursor != self.cursor || queued == 0 {
            *self = Self::new(now, cursor);
        }
        let still = now.saturating_duration_since(self.since);
        (still >= STALLED_AFTER).then_some(still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;

    /// Standing still is a fault only with work at hand; the first move ends it.
    #[test]
    fn only_a_tier_with_work_can_stall() {
        let start = origin();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stall = Stall::new(start, 5);
        assert_eq!(stall.look(at(300), 5, 0), None);
        assert_eq!(stall.look(at(301), 5, 10), None);
        assert_eq!(stall.look(at(359), 5, 10), None);
        assert_eq!(stall.look(at(360), 5, 10), Some(STALLED_AFTER));
        assert_eq!(stall.look(at(361), 6, 10), None);
    }
}
