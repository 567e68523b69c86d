//! Connects to histograms: one series per process, cgroup, remote and outcome, as deltas of one interval.
//!
//! Bounds: [`SERIES_BYTES`] per series, so many series as fit the budget; a connect that would need one more goes to a single
//! overflow series (`otel.metric.overflow=true`, as the OpenTelemetry SDKs do) and is counted. The table is empty after every
//! [`ConnectTable::take`], so processes that are gone cost nothing in the next interval.

use std::collections::HashMap;
use std::net::SocketAddr;

use bpf::{Comm, Outcome};

use crate::identity::CgroupId;

/// Upper bounds of the buckets in nanoseconds: 50 us (a loopback connect) to 10 s; the last bucket is open.
pub const BOUNDS_NS: [u64; 17] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// What one series costs while it is in the table: key and histogram, at a hash table's lowest load of 7/16.
pub const SERIES_BYTES: u64 = (size_of::<(SeriesKey, Histogram)>() as u64) * 16 / 7;

/// What connects are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// Process id in the initial PID namespace.
    pub pid: u32,
    /// Name of the process.
    pub comm: Comm,
    /// Its cgroup.
    pub cgroup: CgroupId,
    /// Where it connected to.
    pub remote: SocketAddr,
    /// How that went.
    pub outcome: Outcome,
}

/// Latencies of one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Connects.
    pub count: u64,
    /// Sum of their latencies in nanoseconds; stays at the highest value rather than wrap.
    pub sum_ns: u64,
    /// The shortest.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Connects per bucket: `buckets[i]` has those above bound `i - 1` and up to bound `i`.
    pub buckets: [u64; BOUNDS_NS.len() + 1],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { count: 0, sum_ns: 0, min_ns: u64::MAX, max_ns: 0, buckets: [0; BOUNDS_NS.len() + 1] }
    }
}

impl Histogram {
    /// Adds one latency.
    pub fn record(&mut self, latency_ns: u64) {
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(latency_ns);
        self.min_ns = self.min_ns.min(latency_ns);
        self.max_ns = self.max_ns.max(latency_ns);
        // OTLP's upper bounds are inclusive. The index is at most BOUNDS_NS.len(), the last bucket.
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < latency_ns);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
    }
}

/// What one interval brought, in the order of its keys.
#[derive(Debug, Default)]
pub struct Delta {
    /// The series.
    pub series: Vec<(SeriesKey, Histogram)>,
    /// Connects that found no room for a series of their own.
    pub overflow: Option<Histogram>,
}

/// The series of the current interval.
#[derive(Debug)]
pub struct ConnectTable {
    series: HashMap<SeriesKey, Histogram>,
    max_series: usize,
    overflow: Histogram,
}

impl ConnectTable {
    /// A table of at most `budget_bytes`, and at least one series.
    pub fn new(budget_bytes: u64) -> Self {
        let max_series = usize::try_from(budget_bytes / SERIES_BYTES).unwrap_or(usize::MAX).max(1);
        Self { series: HashMap::new(), max_series, overflow: Histogram::default() }
    }

    /// Adds one connect; `false` where it went to the overflow series.
    pub fn record(&mut self, key: SeriesKey, latency_ns: u64) -> bool {
        if let Some(histogram) = self.series.get_mut(&key) {
            histogram.record(latency_ns);
            return true;
        }
        if self.series.len() >= self.max_series {
            self.overflow.record(latency_ns);
            return false;
        }
        self.series.entry(key).or_default().record(latency_ns);
        true
    }

    /// Ends the interval.
    pub fn take(&mut self) -> Delta {
        let mut series: Vec<_> = self.series.drain().collect();
        series.sort_unstable_by_key(|(key, _)| *key);
        let overflow = std::mem::take(&mut self.overflow);
        Delta { series, overflow: (overflow.count > 0).then_some(overflow) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pid: u32) -> SeriesKey {
        SeriesKey {
            pid,
            comm: Comm::new(*b"curl\0\0\0\0\0\0\0\0\0\0\0\0"),
            cgroup: CgroupId(1),
            remote: "127.0.0.1:80".parse().unwrap(),
            outcome: Outcome::Established,
        }
    }

    /// A latency is in the bucket whose inclusive upper bound it does not exceed; the last bucket takes the rest.
    #[test]
    fn buckets_are_inclusive() {
        let mut histogram = Histogram::default();
        for latency in [0, 50_000, 50_001, 10_000_000_000, 10_000_000_001, u64::MAX] {
            histogram.record(latency);
        }
        let mut expected = [0; 18];
        (expected[0], expected[1], expected[16], expected[17]) = (2, 1, 1, 2);
        assert_eq!(histogram.buckets, expected);
        assert_eq!((histogram.count, histogram.min_ns, histogram.max_ns), (6, 0, u64::MAX));
        assert_eq!(histogram.sum_ns, u64::MAX, "the sum saturates");
    }

    /// Past the bound a new series overflows, an old one does not, and no connect is lost from the sum of both.
    #[test]
    fn overflows_into_one_series() {
        let mut table = ConnectTable::new(3 * SERIES_BYTES);
        let kept = (0..10).filter(|pid| table.record(key(*pid), 1)).count();
        assert_eq!(kept, 3);
        assert!(table.record(key(0), 1), "a series that is there still counts");
        let delta = table.take();
        let counted: u64 = delta.series.iter().map(|(_, histogram)| histogram.count).sum();
        assert_eq!((counted, delta.overflow.map(|histogram| histogram.count)), (4, Some(7)));
    }

    /// An interval starts empty, whatever the one before it held.
    #[test]
    fn take_gives_deltas() {
        let mut table = ConnectTable::new(SERIES_BYTES);
        table.record(key(1), 1);
        table.record(key(2), 1);
        assert_eq!(table.take().series.len(), 1);
        let next = table.take();
        assert!(next.series.is_empty() && next.overflow.is_none());
        assert!(table.record(key(2), 1), "the room is free again");
    }

    /// Each part of the key keeps series apart.
    #[test]
    fn keys_tell_apart() {
        let mut table = ConnectTable::new(1 << 20);
        let one = key(1);
        for key in [
            one,
            SeriesKey { pid: 2, ..one },
            SeriesKey { comm: Comm::new([b'x'; 16]), ..one },
            SeriesKey { cgroup: CgroupId(2), ..one },
            SeriesKey { remote: "127.0.0.1:81".parse().unwrap(), ..one },
            SeriesKey { outcome: Outcome::Failed(111), ..one },
            SeriesKey { outcome: Outcome::Aborted, ..one },
        ] {
            table.record(key, 1);
            table.record(key, 1);
        }
        let delta = table.take();
        assert_eq!(delta.series.len(), 7);
        assert!(delta.series.iter().all(|(_, histogram)| histogram.count == 2));
    }
}
