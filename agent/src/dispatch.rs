//! The outbox and its ledger under one lock, so that whoever reads them sees sums that hold; and a bell for the sender.

use std::time::Instant;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::export::{Request, Signal};
use crate::ledger::Ledger;
use crate::outbox::{Dropped, Next, Outbox, Verdict};

const ROWS_BUILT: &str = "tributary_agent_rows_built_total";
const ROWS_EXPORTED: &str = "tributary_agent_rows_exported_total";
const ROWS_DROPPED: &str = "tributary_agent_rows_dropped_total";
const QUEUE_BYTES: &str = "tributary_agent_queue_bytes";

/// Says what the metrics declared here mean.
pub fn describe() {
    describe_counter!(ROWS_BUILT, Unit::Count, "Data points and log records put into requests, by signal");
    describe_counter!(ROWS_EXPORTED, Unit::Count, "Rows that the edge has acknowledged, by signal");
    describe_counter!(ROWS_DROPPED, Unit::Count, "Rows given up, by signal and reason");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "Requests waiting for the edge; limits.queue is the bound");
}

struct Books {
    outbox: Outbox,
    ledger: Ledger,
}

/// Shared by the driver, which pushes, the sender, which settles, and the admin endpoint, which reads.
pub struct Dispatch {
    books: Mutex<Books>,
    bell: Notify,
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch").finish_non_exhaustive()
    }
}

impl Dispatch {
    /// With an empty ledger.
    pub fn new(outbox: Outbox) -> Self {
        Self { books: Mutex::new(Books { outbox, ledger: Ledger::default() }), bell: Notify::new() }
    }

    /// Queues requests.
    pub fn push(&self, requests: Vec<Request>) {
        let mut books = self.books.lock();
        for request in requests {
            let (signal, rows) = (request.signal, request.rows);
            books.ledger.rows(signal).built += rows;
            counter!(ROWS_BUILT, "signal" => signal.as_str()).increment(rows);
            let dropped = books.outbox.push(request);
            give_up(&mut books.ledger, dropped);
        }
        measure(&books.outbox);
        drop(books);
        self.bell.notify_one();
    }

    /// See [`Outbox::next`].
    pub fn next(&self, now: Instant) -> Next {
        self.books.lock().outbox.next(now)
    }

    /// See [`Outbox::settle`].
    pub fn settle(&self, now: Instant, verdict: Verdict) {
        let mut books = self.books.lock();
        let Some(settled) = books.outbox.settle(now, verdict) else { return };
        books.ledger.rows(settled.signal).exported += settled.exported;
        counter!(ROWS_EXPORTED, "signal" => settled.signal.as_str()).increment(settled.exported);
        give_up(&mut books.ledger, settled.dropped);
        measure(&books.outbox);
    }

    /// Gives up what is queued, at the end; how many rows.
    pub fn abandon(&self) -> u64 {
        let mut books = self.books.lock();
        let dropped = books.outbox.abandon();
        let rows = dropped.iter().map(|dropped| dropped.rows).sum();
        give_up(&mut books.ledger, dropped);
        measure(&books.outbox);
        rows
    }

    /// Waits for a push, or until it is told to look again.
    pub async fn pushed(&self) {
        self.bell.notified().await;
    }

    /// Makes whoever waits for a push look again.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Changes the ledger.
    pub fn with_ledger(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.books.lock().ledger);
    }

    /// For `/ledger`.
    pub fn report(&self) -> serde_json::Value {
        let books = self.books.lock();
        books.ledger.to_json(|signal: Signal| books.outbox.queued_rows(signal))
    }
}

fn give_up(ledger: &mut Ledger, dropped: impl IntoIterator<Item = Dropped>) {
    for dropped in dropped {
        ledger.drop_rows(dropped);
        let labels = [("signal", dropped.signal.as_str()), ("reason", dropped.reason.as_str())];
        counter!(ROWS_DROPPED, &labels).increment(dropped.rows);
        tracing::warn!(signal = labels[0].1, reason = labels[1].1, rows = dropped.rows, "rows dropped");
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of memory are below 2^53")]
fn measure(outbox: &Outbox) {
    gauge!(QUEUE_BYTES).set(outbox.bytes() as f64);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request(rows: u64, bytes: usize) -> Request {
        Request { signal: Signal::Metrics, rows, body: Bytes::from(vec![0; bytes]) }
    }

    /// Whatever happens to rows, built = exported + dropped + queued.
    #[test]
    fn the_sums_hold() {
        #[expect(clippy::disallowed_methods, reason = "an origin for the test's own clock")]
        let now = Instant::now();
        let dispatch = Dispatch::new(Outbox::new(100, 1));
        let holds = |queued: u64| {
            let report = dispatch.report();
            let rows = &report["rows"]["metrics"];
            let dropped: u64 = rows["dropped"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
            assert_eq!(rows["queued"], queued);
            assert_eq!(rows["built"].as_u64().unwrap(), rows["exported"].as_u64().unwrap() + dropped + queued, "{report}");
        };
        dispatch.push(vec![request(1, 40), request(2, 40), request(4, 40)]);
        holds(6);
        assert!(matches!(dispatch.next(now), Next::Send(_)));
        dispatch.settle(now, Verdict::Accepted { rejected: 1 });
        holds(4);
        assert!(matches!(dispatch.next(now), Next::Send(_)));
        dispatch.settle(now, Verdict::Later);
        holds(4);
        assert_eq!(dispatch.abandon(), 4);
        holds(0);
    }
}
