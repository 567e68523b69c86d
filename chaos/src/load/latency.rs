//! A histogram of latencies: 16 KiB however many are counted, within 3.2 % of the truth (32 steps to each power of two).

use std::time::Duration;

const STEPS: u32 = 32;
const BUCKETS: usize = (64 * STEPS) as usize;

/// Latencies counted, in microseconds.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_micros: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_micros: 0 }
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.max_micros = self.max_micros.max(micros);
    }

    /// The latency that this share of all (0 to 1) did not exceed, in milliseconds; 0 when none was counted.
    #[must_use]
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        reached.map_or(0, |bucket| highest_of(bucket).min(self.max_micros)) as f64 / 1000.0
    }

    /// The longest, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.max_micros as f64 / 1000.0
    }
}

/// Below 32 every value has a bucket; above, the five bits behind the highest one choose.
fn bucket(micros: u64) -> usize {
    let shift = (64 - micros.leading_zeros()).saturating_sub(6);
    (shift * STEPS) as usize + (micros >> shift) as usize
}

/// The largest value that falls into a bucket.
fn highest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let steps = u64::from(STEPS);
    if bucket < 2 * steps {
        return bucket;
    }
    let shift = bucket / steps - 1;
    ((bucket - shift * steps + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Percentiles are those of the values counted, within the stated error, over nine orders of magnitude.
    #[test]
    fn percentiles_within_the_stated_error() {
        for scale in [1u64, 7, 1000, 1_000_000] {
            let mut latencies = Latencies::default();
            (1..=1000).for_each(|n| latencies.add(Duration::from_micros(n * scale)));
            for (share, truth) in [(0.5, 500 * scale), (0.9, 900 * scale), (0.99, 990 * scale)] {
                let found = latencies.percentile_ms(share) * 1000.0;
                let error = (found - truth as f64).abs() / truth as f64;
                assert!(error <= 0.032, "{share} of {scale}: {found} for {truth}");
            }
            assert_eq!(latencies.max_ms(), scale as f64);
            assert_eq!(latencies.percentile_ms(1.0), scale as f64);
        }
    }

    /// No value is out of bounds, and none counted is no latency.
    #[test]
    fn any_value_has_a_bucket() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile_ms(0.99), 0.0);
        [Duration::ZERO, Duration::MAX].into_iter().for_each(|latency| latencies.add(latency));
        assert_eq!(latencies.percentile_ms(0.5), 0.0);
    }
}
