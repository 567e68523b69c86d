//! Batches get to the spool once, whatever becomes of the workers.

use std::collections::HashMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use segment_log::{CommitterOptions, Log, MemoryIndex, Options, SimStore};

use super::worker::Task;
use super::*;
use crate::batcher;
use crate::config::RawIdentity;
use crate::custody::{Request, Settings, recover};
use crate::identity::Identities;

const PATIENCE: Duration = Duration::from_secs(60);

/// A pool over an empty spool, and the account beside it.
struct Bench {
    pool: EncoderPool,
    custody: Arc<Mutex<Custody>>,
    spool: Committer,
    next: u64,
    /// The spool's first.
    first: Seq,
}

impl Bench {
    fn new() -> Self {
        let open = |id| {
            let options = Options { segment_bytes: 64 << 10, budget_bytes: 1 << 20, max_record_bytes: 32 << 10, ..Options::default() };
            Log::open(Arc::new(SimStore::new(id)), Box::new(MemoryIndex::new()), options).unwrap()
        };
        let ((inbox, inbox_found), (spool, spool_found)) = (open(1), open(2));
        let batch = batcher::Limits { rows: 1, raw_bytes: 1 << 20, age: PATIENCE, open_bytes: 1 << 20 };
        let identities = Identities::from_raw(&RawIdentity::default(), HashMap::new()).unwrap();
        let recovered = recover(Settings { batch, recent: 64, identities }, (&inbox, &inbox_found), (&spool, &spool_found));
        let custody = Arc::new(Mutex::new(recovered.custody));
        let first = spool.next_seq();
        let spool = Committer::start(spool, CommitterOptions::default());
        let pool = EncoderPool::by_hand(Arc::clone(&custody), spool.clone(), Box::new(|_| ()));
        Self { pool, custody, spool, next: 0, first }
    }

    /// Takes in one request, which is a batch.
    fn submit(&mut self) {
        let n = self.next;
        self.next += 1;
        let record = LogRecord { time_unix_nano: n + 1, ..LogRecord::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let body = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
        let body = Bytes::from(body.encode_to_vec());
        let tenant = TenantId::new("acme").unwrap();
        let mut custody = self.custody.lock();
        let hash = crate::inbox::body_hash(&custody.inbox(), &tenant, Signal::Logs, &body);
        let request = Request { tenant, signal: Signal::Logs, rows: 1, hash };
        custody.offer(&request);
        let closed = custody.stored(clock::now(), Seq(n), &request, body);
        drop(custody);
        assert_eq!(closed.len(), 1);
        self.pool.submit(closed);
    }

    /// Rows in the spool, and in the inbox alone.
    fn rows(&self) -> (u64, u64) {
        let custody = self.custody.lock();
        let queued = custody.accounts().next().map(|(_, _, _, queued, _)| queued).unwrap_or_default();
        (queued.spool, queued.inbox)
    }

    /// Records that the spool was given.
    fn stored(&self) -> u64 {
        self.spool.with(|log| log.next_seq()).0 - self.first.0
    }

    /// A clerk with one worker whose thread never runs, and with a relief that does.
    fn clerk_with_a_sleeper(&self) -> (Seat, JoinHandle<()>) {
        let shared = &self.pool.shared;
        let work = || Seat::new(Arc::clone(&shared.bell), (shared.inbox_id, shared.spool_id));
        let (sleeper, relief) = (work(), work());
        let relief_hand = relief.hand();
        let relief = std::thread::spawn(move || relief.run());
        let workers = vec![sleeper.hand().of(std::thread::current())];
        let clerk = Clerk::new(Arc::clone(shared), workers, relief_hand.of(relief.thread().clone()));
        (sleeper, std::thread::spawn(move || clerk.run()))
    }

    fn end(&self, clerk: JoinHandle<()>) {
        self.pool.close();
        clerk.join().unwrap();
    }
}

/// A worker that is given no processor holds nothing up: what it has in hand is encoded by the clerk, what comes meanwhile too, and when
/// it runs at last, what it makes is thrown away.
#[test]
fn a_worker_that_never_runs_holds_nothing_up() {
    let mut bench = Bench::new();
    let (work, clerk) = bench.clerk_with_a_sleeper();
    (0..7).for_each(|_| bench.submit());
    assert!(bench.pool.wait_idle(PATIENCE));
    assert_eq!(bench.rows(), (7, 0));
    // Behind its first ones nothing is left for it.
    bench.submit();
    assert!(bench.pool.wait_idle(PATIENCE));
    assert!(work.next().is_none(), "what it had not begun was taken back");
    assert_eq!(bench.stored(), 8, "each batch is there once");
    bench.end(clerk);
}

/// A worker that loses the processor at work holds nothing up, and what it makes in the end is thrown away; then it gets work again.
#[test]
fn what_a_slow_worker_makes_is_thrown_away() {
    let mut bench = Bench::new();
    let (work, clerk) = bench.clerk_with_a_sleeper();
    bench.submit();
    let task = begun(&work);
    assert!(bench.pool.wait_idle(PATIENCE));
    assert_eq!(bench.rows(), (1, 0));
    work.encode(task);
    bench.submit();
    work.encode(begun(&work));
    assert!(bench.pool.wait_idle(PATIENCE));
    bench.end(clerk);
    assert_eq!((bench.rows(), bench.stored()), ((2, 0), 2));
}

/// What a worker was handed, once it is.
fn begun(work: &Seat) -> Task {
    let deadline = clock::now() + PATIENCE;
    loop {
        if let Some(task) = work.next() {
            return task;
        }
        assert!(clock::now() < deadline, "it was handed nothing");
        std::thread::yield_now();
    }
}

/// A worker that ends takes nothing with it.
#[test]
fn a_worker_that_ends_takes_nothing_with_it() {
    let mut bench = Bench::new();
    let (work, clerk) = bench.clerk_with_a_sleeper();
    bench.submit();
    drop((begun(&work), work));
    (0..5).for_each(|_| bench.submit());
    assert!(bench.pool.wait_idle(PATIENCE));
    bench.end(clerk);
    assert_eq!(bench.rows(), (6, 0));
}

/// With workers that work, each batch is stored once, in as many threads as there may be.
#[test]
fn each_batch_is_stored_once() {
    for workers in [1, 3] {
        let mut bench = Bench::new();
        bench.pool = EncoderPool::start(workers, Arc::clone(&bench.custody), bench.spool.clone(), Box::new(|_| ()), || ()).unwrap();
        (0..200).for_each(|_| bench.submit());
        assert!(bench.pool.wait_idle(PATIENCE));
        assert_eq!(bench.rows(), (200, 0));
        assert_eq!(bench.stored(), 200);
        bench.pool.close();
    }
}

/// While the spool takes nothing, batches go back to the inbox.
#[test]
fn a_stalled_spool_gives_batches_back() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.submit());
    bench.custody.lock().stall();
    let (_work, clerk) = bench.clerk_with_a_sleeper();
    assert!(bench.pool.wait_idle(PATIENCE));
    bench.end(clerk);
    assert_eq!((bench.rows(), bench.stored()), ((0, 3), 0));
    assert!(bench.custody.lock().has_backlog());
}
