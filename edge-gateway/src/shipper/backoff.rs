//! How long to wait before the next attempt: exponential with equal jitter, from a seeded generator, so that a thousand edges
//! that lost the same router do not come back in step, and a simulation can replay the one that did.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state is enough to spread reconnects.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// The same seed gives the same sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, evenly spread.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Doubles from `min` to `max`; each wait is between half of that and all of it.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
    jitter: Jitter,
}

impl Backoff {
    /// `min` before the second attempt, never more than `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration, jitter: Jitter) -> Self {
        Self { min, max: max.max(min), attempt: 0, jitter }
    }

    /// The wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let doubled = self.min.saturating_mul(1u32.checked_shl(self.attempt).unwrap_or(u32::MAX));
        self.attempt = self.attempt.saturating_add(1);
        let whole = u64::try_from(doubled.min(self.max).as_nanos()).unwrap_or(u64::MAX);
        let half = whole / 2;
        Duration::from_nanos(half + self.jitter.next() % (whole - half + 1))
    }

    /// After a connection that held: the next failure starts from `min` again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(10);

    /// Each wait is within half to all of its step, steps double up to the bound, and a reset starts again.
    #[test]
    fn doubles_within_bounds() {
        let mut backoff = Backoff::new(MIN, MAX, Jitter::new(7));
        for attempt in 0..200u32 {
            let step = MIN.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(MAX);
            let wait = backoff.wait();
            assert!(wait >= step / 2 && wait <= step, "attempt {attempt}: {wait:?} of {step:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= MIN);
    }

    /// The same seed waits the same, another seed does not.
    #[test]
    fn seeds_decide() {
        let waits = |seed| {
            let mut backoff = Backoff::new(MIN, MAX, Jitter::new(seed));
            (0..8).map(|_| backoff.wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
