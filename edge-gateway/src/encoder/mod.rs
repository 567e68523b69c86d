//! From closed batches to spool records: [`pack()`] encodes, [`EncoderPool`] is the threads that do it and hand the result to the spool.
//!
//! | Thread | Priority | Does |
//! |---|---|---|
//! | workers, `edge-encode-0` … ([`worker`]) | gives way to all others ([`priority`]): a batch can wait, a request cannot | encodes, and nothing else |
//! | `edge-encode-relief` | as all others | encodes what the workers do not get to |
//! | the clerk, `edge-encode-clerk` ([`clerk`]) | as all others | hands batches out, takes results to the spool |
//!
//! A worker gets what others leave of the processor, which on a busy node may be nothing for minutes. So nothing waits for it for long: the
//! relief encodes when too many batches wait, and a batch that a worker has had for too long, whose own result is then thrown away. The
//! allocator's own locks are beyond this: what is freed in one thread may have been allocated in another.
//!
//! Encoders keep their dictionaries and arenas from batch to batch of the same tenant and signal; a bounded number is kept.
//!
//! Bounds: closed batches wait here with their bodies, whose bytes the receivers' memory budget counts; encoded bytes on their way to
//! disk are at most [`APPENDING_BYTES`] and one batch per worker, the relief included. A worker that starves keeps one batch's bodies.

mod clerk;
mod pack;
mod priority;
mod worker;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use federation_proto::codec::Encoder;
use federation_proto::identity::{Seq, Signal, SpoolId, TenantId};
use parking_lot::{Condvar, Mutex};
use segment_log::{AppendError, Committer};

use self::clerk::Clerk;
use self::worker::Seat;
use crate::batcher::{Closed, Key};
use crate::clock;
use crate::custody::{Custody, LogId, Sources};
use crate::shipper::Item;
use crate::spool::Stored;

pub use self::pack::{Batch, Packed, pack};

/// Encoded bytes on their way to disk.
const APPENDING_BYTES: u64 = 32 << 20;
/// Encoders kept between batches, over all tenants and signals.
const KEPT_ENCODERS: usize = 64;

/// What is told when a batch is on disk.
pub type OnStored = Box<dyn Fn(Item) + Send + Sync>;

struct Work {
    queue: VecDeque<Closed>,
    /// Batches taken from the queue that are not yet on their way to the disk.
    busy: usize,
    appending: usize,
    appending_bytes: u64,
    closed: bool,
}

impl Work {
    /// The next batch, if so many wait and the disk keeps up.
    fn next(&mut self, least: usize) -> Option<Closed> {
        if self.appending_bytes >= APPENDING_BYTES || self.queue.len() < least {
            return None;
        }
        let closed = self.queue.pop_front()?;
        self.busy += 1;
        Some(closed)
    }
}

/// Has the clerk look again, once it runs.
#[derive(Default)]
struct Bell(OnceLock<Thread>);

impl Bell {
    /// This thread is the clerk's.
    fn is_mine(&self) {
        let _ = self.0.set(std::thread::current());
    }

    fn ring(&self) {
        if let Some(clerk) = self.0.get() {
            clerk.unpark();
        }
    }
}

struct Shared {
    custody: Arc<Mutex<Custody>>,
    spool: Committer,
    spool_id: SpoolId,
    inbox_id: LogId,
    work: Mutex<Work>,
    /// Told when fewer batches are under way.
    changed: Condvar,
    bell: Arc<Bell>,
    kept: Mutex<VecDeque<(TenantId, Signal, Encoder)>>,
    on_stored: OnStored,
}

/// The encoder threads. Clones share them.
#[derive(Clone)]
pub struct EncoderPool {
    shared: Arc<Shared>,
    /// Workers are its own, and end with it or, should they get no processor, later: they hold nothing of the edge's.
    clerk: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl std::fmt::Debug for EncoderPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EncoderPool")
    }
}

impl EncoderPool {
    /// Starts `workers` threads and their clerk. Each has an `alive` of its own, which is dropped when it ends, however it does.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<A: Send + 'static>(
        workers: usize,
        custody: Arc<Mutex<Custody>>,
        spool: Committer,
        on_stored: OnStored,
        alive: impl Fn() -> A,
    ) -> std::io::Result<Self> {
        let pool = Self::by_hand(custody, spool, on_stored);
        let hire = |name: String, gives_way: bool| {
            let work = Seat::new(Arc::clone(&pool.shared.bell), (pool.shared.inbox_id, pool.shared.spool_id));
            let (hand, alive) = (work.hand(), alive());
            let run = move || {
                let _alive = alive;
                if gives_way {
                    priority::give_way();
                }
                work.run();
            };
            std::thread::Builder::new().name(name).spawn(run).map(|handle| hand.of(handle.thread().clone()))
        };
        let workers = (0..workers.max(1)).map(|number| hire(format!("edge-encode-{number}"), true)).collect::<std::io::Result<_>>()?;
        let clerk = Clerk::new(Arc::clone(&pool.shared), workers, hire("edge-encode-relief".to_owned(), false)?);
        let alive = alive();
        let run = move || {
            let _alive = alive;
            clerk.run();
        };
        *pool.clerk.lock() = Some(std::thread::Builder::new().name("edge-encode-clerk".to_owned()).spawn(run)?);
        Ok(pool)
    }

    /// Without threads: [`EncoderPool::step`] does their work.
    #[must_use]
    pub fn by_hand(custody: Arc<Mutex<Custody>>, spool: Committer, on_stored: OnStored) -> Self {
        let spool_id = SpoolId(spool.with(|log| log.id()));
        let inbox_id = custody.lock().inbox();
        let shared = Arc::new(Shared {
            custody,
            spool,
            spool_id,
            inbox_id,
            work: Mutex::new(Work { queue: VecDeque::new(), busy: 0, appending: 0, appending_bytes: 0, closed: false }),
            changed: Condvar::new(),
            bell: Arc::default(),
            kept: Mutex::new(VecDeque::new()),
            on_stored,
        });
        Self { shared, clerk: Arc::default() }
    }

    /// Encodes one batch and hands it to the spool, on this thread; false when none waits or too much is on its way to the disk.
    pub fn step(&self) -> bool {
        let next = self.shared.work.lock().next(1);
        let is_some = next.is_some();
        if let Some(closed) = next {
            self.shared.work_on(&closed);
        }
        is_some
    }

    /// Batches that wait to be encoded.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.work.lock().queue.len()
    }

    /// Batches to encode and store. Does not wait.
    pub fn submit(&self, closed: Vec<Closed>) {
        if closed.is_empty() {
            return;
        }
        for batch in &closed {
            metrics::counter!("tributary_edge_batches_total", "why" => batch.why.as_str()).increment(1);
        }
        self.shared.work.lock().queue.extend(closed);
        self.shared.bell.ring();
    }

    /// Waits until everything submitted is in the spool or let go; false when that took longer than `most`.
    #[must_use]
    pub fn wait_idle(&self, most: Duration) -> bool {
        // One deadline for all batches: each that is done wakes us, and many may wait.
        let deadline = clock::now() + most;
        let mut work = self.shared.work.lock();
        while !work.queue.is_empty() || work.busy > 0 || work.appending > 0 {
            if self.shared.changed.wait_until(&mut work, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Ends the clerk, and with it the workers; what is queued is let go (it is in the inbox).
    pub fn close(&self) {
        self.shared.work.lock().closed = true;
        self.shared.bell.ring();
        if self.clerk.lock().take().is_some_and(|clerk| clerk.join().is_err()) {
            tracing::error!("the encoders' clerk had panicked");
        }
    }
}

impl Shared {
    /// Encodes on this thread.
    fn work_on(self: &Arc<Self>, closed: &Closed) {
        if self.lets_go(closed) {
            return;
        }
        let mut encoder = self.take_encoder(&closed.key);
        let packed = self.pack(&mut encoder, closed);
        self.keep_encoder(&closed.key, encoder);
        self.store(&closed.key, packed);
    }

    fn pack(&self, encoder: &mut Encoder, closed: &Closed) -> Packed {
        pack(encoder, closed, self.inbox_id, self.spool_id)
    }

    /// While the spool takes nothing, a batch is not worth its encoding: its requests are in the inbox.
    fn lets_go(&self, closed: &Closed) -> bool {
        let mut custody = self.custody.lock();
        if !custody.is_stalled() {
            return false;
        }
        custody.let_go(&Sources::of(self.inbox_id, &closed.parts));
        drop(custody);
        self.over();
        true
    }

    /// What came of a batch goes to the spool.
    fn store(self: &Arc<Self>, key: &Key, packed: Packed) {
        if !packed.unencodable.is_empty() {
            self.custody.lock().unencodable(key, &packed.unencodable);
        }
        for batch in packed.batches {
            self.append(batch);
        }
        self.over();
    }

    /// One batch less is in hand.
    fn over(&self) {
        self.work.lock().busy -= 1;
        self.changed.notify_all();
    }

    fn append(self: &Arc<Self>, batch: Batch) {
        let bytes = batch.payload.len() as u64;
        {
            let mut work = self.work.lock();
            work.appending += 1;
            work.appending_bytes += bytes;
        }
        let shared = Arc::clone(self);
        let Batch { stored, payload } = batch;
        self.spool.append(stored.encode(), payload, move |result| {
            shared.appended(&stored, result);
            let mut work = shared.work.lock();
            work.appending -= 1;
            work.appending_bytes -= bytes;
            drop(work);
            shared.changed.notify_all();
            shared.bell.ring();
        });
    }

    fn appended(&self, stored: &Stored, result: Result<Seq, AppendError>) {
        match result {
            Ok(seq) => {
                self.custody.lock().batched(&stored.header, &stored.sources);
                (self.on_stored)(stored.item(seq));
            }
            Err(AppendError::TooLarge { bytes, limit_bytes }) => {
                tracing::error!(tenant = %stored.header.tenant, bytes, limit_bytes, "a batch is larger than the spool takes: dropped");
                self.custody.lock().unstorable(&stored.header, &stored.sources);
            }
            Err(error) => {
                let mut custody = self.custody.lock();
                if !custody.is_stalled() {
                    tracing::warn!(%error, "spool: no batch can be stored; what comes stays in the inbox");
                    custody.stall();
                }
                custody.let_go(&stored.sources);
            }
        }
    }

    fn take_encoder(&self, key: &Key) -> Encoder {
        let mut kept = self.kept.lock();
        let at = kept.iter().rposition(|(tenant, signal, _)| (tenant, *signal) == (&key.tenant, key.signal));
        at.and_then(|at| kept.remove(at)).map_or_else(Encoder::new, |(_, _, encoder)| encoder)
    }

    fn keep_encoder(&self, key: &Key, encoder: Encoder) {
        let mut kept = self.kept.lock();
        kept.push_back((key.tenant.clone(), key.signal, encoder));
        if kept.len() > KEPT_ENCODERS {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
