//! Gathers requests into batches: one tenant, one signal, one class each.
//!
//! A batch closes when it has its rows, its raw bytes or its age, or when all open batches together are over their one byte
//! budget (the largest goes first). A request that fits no batch is split into row ranges; one that merely does not fit the
//! open batch closes that and opens the next, since a body cut in two is parsed twice.
//!
//! Decides only: time is an argument, and what is closed is handed back. Only what the inbox has on disk is pushed here.
//!
//! Bounds: [`Limits::open_bytes`] over all open batches, in raw bytes by row share. A part of a split body keeps the whole body
//! in memory; that is bounded where bodies are admitted (`ingest::memory`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use federation_proto::identity::{Class, Seq, Signal, TenantId};

/// What a batch has in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: Signal,
    /// Quality of service.
    pub class: Class,
}

/// When a batch closes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows in a batch, at most.
    pub rows: u32,
    /// Raw bytes in a batch, at most; a single row may exceed it.
    pub raw_bytes: u64,
    /// Time from a batch's first row to its close.
    pub age: Duration,
    /// Raw bytes in all open batches together.
    pub open_bytes: u64,
}

/// A request, or some rows of it, that the inbox has on disk.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its inbox entry.
    pub source: Seq,
    /// Which of its rows.
    pub rows: Range<u32>,
    /// Rows in the whole entry.
    pub of: u32,
    /// The whole body: a canonical Export*ServiceRequest.
    pub body: Bytes,
}

impl Arrival {
    /// Raw bytes of `rows` rows of this body, by share, rounded up.
    fn share(&self, rows: u32) -> u64 {
        (self.body.len() as u64 * u64::from(rows)).div_ceil(u64::from(self.of.max(1)))
    }

    /// Rows of this body that fit an empty batch: one at least.
    fn rows_per_batch(&self, limits: &Limits) -> u32 {
        let by_bytes = limits.raw_bytes * u64::from(self.of) / (self.body.len() as u64).max(1);
        limits.rows.min(u32::try_from(by_bytes).unwrap_or(u32::MAX)).max(1)
    }
}

/// Why a batch closed: the label in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It had its rows or bytes, or the next request would have taken it past them.
    Full,
    /// Its first row had waited long enough.
    Age,
    /// All open batches together were over their budget, and this was the largest.
    Budget,
    /// The edge shuts down.
    Drain,
}

impl Why {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Age => "age",
            Self::Budget => "budget",
            Self::Drain => "drain",
        }
    }
}

/// A batch to encode.
#[derive(Debug)]
pub struct Closed {
    /// What its rows have in common.
    pub key: Key,
    /// The rows, in the order of arrival. Never empty.
    pub parts: Vec<Arrival>,
    /// Rows in all parts.
    pub rows: u32,
    /// Raw bytes in all parts, by share.
    pub raw_bytes: u64,
    /// Why it closed.
    pub why: Why,
}

#[derive(Debug)]
struct Open {
    parts: Vec<Arrival>,
    rows: u32,
    raw_bytes: u64,
    deadline: Instant,
}

impl Open {
    fn closed(self, key: Key, why: Why) -> Closed {
        Closed { key, parts: self.parts, rows: self.rows, raw_bytes: self.raw_bytes, why }
    }

    fn has_room(&self, rows: u32, raw_bytes: u64, limits: &Limits) -> bool {
        self.rows.saturating_add(rows) <= limits.rows && self.raw_bytes + raw_bytes <= limits.raw_bytes
    }
}

/// The open batches.
#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    open: BTreeMap<Key, Open>,
    open_bytes: u64,
}

impl Batcher {
    /// No open batch.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, open: BTreeMap::new(), open_bytes: 0 }
    }

    /// Takes rows in; gives back the batches that this closed.
    pub fn push(&mut self, now: Instant, key: &Key, arrival: Arrival) -> Vec<Closed> {
        let mut closed = Vec::new();
        let fit = arrival.rows_per_batch(&self.limits);
        let mut rest = arrival.rows.clone();
        while !rest.is_empty() {
            let take = fit.min(rest.end - rest.start);
            let part = Arrival { rows: rest.start..rest.start + take, ..arrival.clone() };
            rest.start += take;
            self.add(now, key, part, &mut closed);
        }
        while self.open_bytes > self.limits.open_bytes && self.close_largest(&mut closed) {}
        closed
    }

    fn add(&mut self, now: Instant, key: &Key, part: Arrival, closed: &mut Vec<Closed>) {
        let rows = part.rows.end - part.rows.start;
        let raw_bytes = part.share(rows);
        if self.open.get(key).is_some_and(|open| !open.has_room(rows, raw_bytes, &self.limits)) {
            self.close(key, Why::Full, closed);
        }
        let deadline = now + self.limits.age;
        let fresh = || Open { parts: Vec::new(), rows: 0, raw_bytes: 0, deadline };
        let open = self.open.entry(key.clone()).or_insert_with(fresh);
        open.parts.push(part);
        open.rows += rows;
        open.raw_bytes += raw_bytes;
        self.open_bytes += raw_bytes;
        if !open.has_room(1, 1, &self.limits) {
            self.close(key, Why::Full, closed);
        }
    }

    fn close(&mut self, key: &Key, why: Why, closed: &mut Vec<Closed>) {
        if let Some((key, open)) = self.open.remove_entry(key) {
            self.open_bytes -= open.raw_bytes;
            closed.push(open.closed(key, why));
        }
    }

    fn close_largest(&mut self, closed: &mut Vec<Closed>) -> bool {
        let largest = self.open.iter().max_by_key(|(_, open)| open.raw_bytes).map(|(key, _)| key.clone());
        if let Some(key) = &largest {
            self.close(key, Why::Budget, closed);
        }
        largest.is_some()
    }

    /// Closes what has waited long enough.
    pub fn due(&mut self, now: Instant) -> Vec<Closed> {
        let due: Vec<Key> = self.open.iter().filter(|(_, open)| open.deadline <= now).map(|(key, _)| key.clone()).collect();
        let mut closed = Vec::with_capacity(due.len());
        for key in &due {
            self.close(key, Why::Age, &mut closed);
        }
        closed
    }

    /// When [`Batcher::due`] next has something to close.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.open.values().map(|open| open.deadline).min()
    }

    /// Closes everything.
    pub fn drain(&mut self) -> Vec<Closed> {
        self.open_bytes = 0;
        std::mem::take(&mut self.open).into_iter().map(|(key, open)| open.closed(key, Why::Drain)).collect()
    }

    /// Raw bytes in open batches.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        self.open_bytes
    }
}

#[cfg(test)]
mod tests;
