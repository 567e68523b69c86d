//! What was sent and what became of it, counted while it runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::latency::Latencies;

/// Counters of all connections of a load.
#[derive(Debug, Default)]
pub struct Tally {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    requests: AtomicU64,
    retried: AtomicU64,
    answers: Mutex<Answers>,
}

/// Latencies of acknowledged requests, and rows that were refused, by code. There are only as many codes as protocols know.
#[derive(Debug, Default, Clone)]
pub struct Answers {
    /// From when a request was due (or its connection was free, if that was later and nothing waited) to its OK.
    pub latencies: Latencies,
    /// Rows by code.
    pub refused: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn sent(&self, rows: u64) {
        self.sent.fetch_add(rows, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn acknowledged(&self, rows: u64, latency: Duration) {
        self.acknowledged.fetch_add(rows, Ordering::Relaxed);
        self.lock().latencies.add(latency);
    }

    pub(crate) fn refused(&self, code: String, rows: u64) {
        *self.lock().refused.entry(code).or_default() += rows;
    }

    pub(super) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// Rows acknowledged so far.
    #[must_use]
    pub fn acknowledged_rows(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Rows sent so far, repeated ones once.
    #[must_use]
    pub fn sent_rows(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Requests sent so far, repeated ones once.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How often a request was repeated.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retried.load(Ordering::Relaxed)
    }

    /// Forgets latencies: what came before was warming up.
    pub fn forget_latencies(&self) {
        self.lock().latencies = Latencies::default();
    }

    /// Latencies and refusals so far.
    #[must_use]
    pub fn answers(&self) -> Answers {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
