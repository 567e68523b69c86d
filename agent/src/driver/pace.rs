//! When to look into the rings next. Pure.
//!
//! While events come: every 5 ms, which costs 2 % of a CPU at a million events a second and gives a ring of 1 MiB room for
//! two million events a second. While none come: twice as long each time, up to 80 ms, so that an idle node is left asleep.

use std::time::{Duration, Instant};

const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(80);

#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { pause: BUSY }
    }

    /// How long to wait after a round in which the fullest ring gave `events`, with `most` the bound of a round.
    pub(super) fn after(&mut self, events: usize, most: usize) -> Duration {
        self.pause = if events == 0 { (self.pause * 2).min(IDLE) } else { BUSY };
        if events >= most { Duration::ZERO } else { self.pause }
    }
}

/// The next tick on the grid of `interval` that is after `now`: ticks that were missed are not made up for.
pub(super) fn next_tick(tick: Instant, now: Instant, interval: Duration) -> Instant {
    let next = tick + interval;
    if next > now { next } else { now + interval }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle rounds grow to the cap, one event brings the quick pace back, and a ring that gave all it may is read on at once.
    #[test]
    fn follows_the_events() {
        let mut pace = Pace::new();
        let idle: Vec<u128> = (0..6).map(|_| pace.after(0, 100).as_millis()).collect();
        assert_eq!(idle, [10, 20, 40, 80, 80, 80]);
        assert_eq!(pace.after(1, 100), BUSY);
        assert_eq!(pace.after(100, 100), Duration::ZERO);
        assert_eq!(pace.after(0, 100), BUSY * 2);
    }

    /// Ticks keep their grid, and after a stall there is one tick, not all that were missed.
    #[test]
    fn ticks_do_not_pile_up() {
        #[expect(clippy::disallowed_methods, reason = "an origin for the test's own clock")]
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(next_tick(start, start + second / 10, second), start + second);
        assert_eq!(next_tick(start, start + second * 7, second), start + second * 8);
    }
}
