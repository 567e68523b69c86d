//! Requests on their way to the edge: what goes next, when, and what is given up.
//!
//! Pure: time is an argument, sending is the driver's (`sender`). One request is in flight at a time, in the order they were
//! made, and a retry is the same bytes. Bounds: `limit` bytes of request bodies; past it the oldest that is not in flight is
//! dropped, since what the node did lately matters more. Every row ends in exactly one of: exported, dropped with a reason,
//! queued: `built = exported + dropped + queued`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::export::{Request, Signal};

/// The first wait after a failure; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How often the edge may answer one request with an error that a retry is not likely to mend.
const MAX_ANSWERED_FAILURES: u32 = 20;

/// Why rows were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// The queue was at its bound.
    QueueFull,
    /// The edge said that a retry is of no use.
    Refused,
    /// The edge took the request but not all of its rows.
    Rejected,
    /// The edge answered with an error too often.
    Failing,
    /// The agent stopped before the edge had them.
    Shutdown,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::QueueFull, Self::Refused, Self::Rejected, Self::Failing, Self::Shutdown];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Failing => "failing",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Rows given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Of which signal.
    pub signal: Signal,
    /// How many.
    pub rows: u64,
    /// Why.
    pub reason: DropReason,
}

/// What came of sending the request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The edge has it, but for so many rows that it rejected.
    Accepted {
        /// Rows it rejected.
        rejected: u64,
    },
    /// The edge was not reached, or asked to be tried later.
    Later,
    /// The edge answered with an error that may or may not pass.
    Failed,
    /// The edge refused it for good.
    Refused,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this, then say what came of it with [`Outbox::settle`].
    Send(Request),
    /// Ask again then, or after a push.
    WaitUntil(Instant),
    /// Nothing to do until a push.
    Idle,
}

/// What [`Outbox::settle`] made of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Of which signal.
    pub signal: Signal,
    /// Rows that the edge has now.
    pub exported: u64,
    /// Rows given up.
    pub dropped: Option<Dropped>,
}

/// The queue.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Request>,
    bytes: usize,
    limit: usize,
    in_flight: bool,
    failures: u32,
    answered_failures: u32,
    not_before: Option<Instant>,
    random: u64,
}

impl Outbox {
    /// An empty queue of at most `limit` bytes of bodies. `seed` is for the jitter of retries.
    pub fn new(limit: usize, seed: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            limit,
            in_flight: false,
            failures: 0,
            answered_failures: 0,
            not_before: None,
            random: seed | 1,
        }
    }

    /// Takes a request; gives what had to go for it (itself, where it alone is beyond the bound).
    pub fn push(&mut self, request: Request) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        self.bytes += request.body.len();
        self.queue.push_back(request);
        let first = usize::from(self.in_flight);
        while self.bytes > self.limit {
            let Some(oldest) = self.queue.remove(first) else { break };
            self.bytes -= oldest.body.len();
            if first == 0 {
                self.answered_failures = 0;
            }
            dropped.push(Dropped { signal: oldest.signal, rows: oldest.rows, reason: DropReason::QueueFull });
        }
        dropped
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant) -> Next {
        let Some(head) = self.queue.front() else { return Next::Idle };
        if let Some(at) = self.not_before.filter(|at| now < *at) {
            return Next::WaitUntil(at);
        }
        self.in_flight = true;
        Next::Send(head.clone())
    }

    /// Takes note of what came of the request that [`Outbox::next`] gave out. `None` where none was.
    pub fn settle(&mut self, now: Instant, verdict: Verdict) -> Option<Settled> {
        if !std::mem::take(&mut self.in_flight) {
            return None;
        }
        let (signal, rows) = self.queue.front().map(|head| (head.signal, head.rows))?;
        let gone = |rows, reason| (rows > 0).then_some(Dropped { signal, rows, reason });
        let (exported, dropped) = match verdict {
            Verdict::Accepted { rejected } => {
                let rejected = rejected.min(rows);
                (rows - rejected, gone(rejected, DropReason::Rejected))
            }
            Verdict::Refused => (0, gone(rows, DropReason::Refused)),
            Verdict::Failed if self.answered_failures + 1 >= MAX_ANSWERED_FAILURES => (0, gone(rows, DropReason::Failing)),
            Verdict::Failed | Verdict::Later => {
                self.answered_failures += u32::from(verdict == Verdict::Failed);
                let wait = self.backoff();
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(now + wait);
                return Some(Settled { signal, exported: 0, dropped: None });
            }
        };
        if let Some(head) = self.queue.pop_front() {
            self.bytes -= head.body.len();
        }
        self.failures = 0;
        self.answered_failures = 0;
        self.not_before = None;
        Some(Settled { signal, exported, dropped })
    }

    /// Empties the queue at the end of the process.
    pub fn abandon(&mut self) -> Vec<Dropped> {
        self.bytes = 0;
        self.in_flight = false;
        let rest = self.queue.drain(..);
        rest.map(|request| Dropped { signal: request.signal, rows: request.rows, reason: DropReason::Shutdown }).collect()
    }

    /// Bytes of bodies in the queue.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows of `signal` in the queue, counted from what lies in it.
    pub fn queued_rows(&self, signal: Signal) -> u64 {
        self.queue.iter().filter(|request| request.signal == signal).map(|request| request.rows).sum()
    }

    /// Doubling, capped, and somewhere in the upper half of that, so that agents do not come back all at once.
    fn backoff(&mut self) -> Duration {
        // xorshift64: no secret, only spread.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let full = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        let half = full / 2;
        let part = u32::try_from(self.random % 1024).unwrap_or(0);
        half + half * part / 1024
    }
}

#[cfg(test)]
mod tests;
