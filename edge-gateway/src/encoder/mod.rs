//! From closed batches to spool records: [`pack`] encodes, [`EncoderPool`] is the threads that do it and hand the result to the spool.
//!
//! Encoders keep their dictionaries and arenas from batch to batch of the same tenant and signal; a bounded number is kept.
//!
//! The threads give way to all others ([`priority`]): a batch can wait, a request cannot. When they fall behind, one helps that does not.
//!
//! Bounds: closed batches wait here with their bodies, whose bytes the receivers' memory budget counts; encoded bytes on their way to
//! disk are at most [`APPENDING_BYTES`] and one batch per thread, a worker waits beyond it.

mod priority;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use federation_proto::codec::{EncodeError, Encoded, Encoder, Part};
use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Seq, Signal, SpoolId, TenantId};
use parking_lot::{Condvar, Mutex};
use segment_log::{AppendError, Committer};

use crate::batcher::{Arrival, Closed, Key};
use crate::clock;
use crate::custody::{Custody, LogId, Sources};
use crate::shipper::Item;
use crate::spool::Stored;

/// Encoded bytes on their way to disk.
const APPENDING_BYTES: u64 = 32 << 20;
/// Batches waiting from which on one more thread helps that does not give way: receivers that use up every core must not starve the
/// encoders until memory is full.
const RELIEF_FROM: usize = 3;
/// Encoders kept between batches, over all tenants and signals.
const KEPT_ENCODERS: usize = 64;

/// One batch, ready for the spool.
#[derive(Debug)]
pub struct Batch {
    /// Its record's meta.
    pub stored: Stored,
    /// Its payload.
    pub payload: Bytes,
}

/// What became of a closed batch: mostly one batch to store. A part that cannot be encoded is singled out, so that one request
/// cannot take others with it.
#[derive(Debug, Default)]
pub struct Packed {
    /// To store.
    pub batches: Vec<Batch>,
    /// What no encoder takes.
    pub unencodable: Vec<Arrival>,
}

/// Encodes a closed batch.
#[must_use]
pub fn pack(encoder: &mut Encoder, closed: &Closed, inbox: LogId, spool: SpoolId) -> Packed {
    let mut packed = Packed::default();
    pack_parts(encoder, &closed.key, &closed.parts, (inbox, spool), &mut packed);
    packed
}

fn pack_parts(encoder: &mut Encoder, key: &Key, parts: &[Arrival], ids: (LogId, SpoolId), packed: &mut Packed) {
    match encode(encoder, key.signal, parts) {
        Ok(encoded) => packed.batches.push(batch(key, parts, encoded, ids)),
        Err(error) if parts.len() <= 1 => {
            tracing::error!(tenant = %key.tenant, signal = %key.signal, %error, "rows that passed the scan cannot be encoded; please report this");
            packed.unencodable.extend_from_slice(parts);
        }
        Err(_) => {
            let (left, right) = parts.split_at(parts.len() / 2);
            pack_parts(encoder, key, left, ids, packed);
            pack_parts(encoder, key, right, ids, packed);
        }
    }
}

/// A panic of the encoder costs the batch, not the worker.
fn encode(encoder: &mut Encoder, signal: Signal, parts: &[Arrival]) -> Result<Encoded, EncodeError> {
    let parts: Vec<Part<'_>> = parts.iter().map(|part| Part { body: &part.body, rows: part.rows.clone() }).collect();
    catch_unwind(AssertUnwindSafe(|| encoder.encode(signal, &parts))).unwrap_or_else(|_| {
        *encoder = Encoder::new();
        Err(EncodeError::Container("the encoder panicked".to_owned()))
    })
}

fn batch(key: &Key, parts: &[Arrival], encoded: Encoded, (inbox, spool): (LogId, SpoolId)) -> Batch {
    let header = BatchHeader {
        id: BatchId { spool, seq: Seq(0) },
        tenant: key.tenant.clone(),
        signal: key.signal,
        class: key.class,
        rows: encoded.rows,
        raw_bytes: encoded.raw_bytes,
        oldest_unix_nano: encoded.oldest_unix_nano,
        newest_unix_nano: encoded.newest_unix_nano,
        encoding: encoded.encoding,
        payload_len: u32::try_from(encoded.payload.len()).unwrap_or(u32::MAX),
        payload_crc: crc32c::crc32c(&encoded.payload),
    };
    Batch { stored: Stored { header, sources: Sources::of(inbox, parts) }, payload: Bytes::from(encoded.payload) }
}

/// What is told when a batch is on disk.
pub type OnStored = Box<dyn Fn(Item) + Send + Sync>;

struct Work {
    queue: VecDeque<Closed>,
    /// Batches that a worker has in hand.
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

struct Shared {
    custody: Arc<Mutex<Custody>>,
    spool: Committer,
    spool_id: SpoolId,
    inbox_id: LogId,
    work: Mutex<Work>,
    changed: Condvar,
    kept: Mutex<VecDeque<(TenantId, Signal, Encoder)>>,
    on_stored: OnStored,
}

/// The encoder threads. Clones share them.
#[derive(Clone)]
pub struct EncoderPool {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl std::fmt::Debug for EncoderPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EncoderPool")
    }
}

impl EncoderPool {
    /// Starts `workers` threads, and one that takes over when they fall behind. Each has an `alive` of its own, which is dropped when it
    /// ends, however it does.
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
        for number in 0..workers.max(1) {
            let alive = alive();
            pool.start_thread(format!("edge-encode-{number}"), move |shared| {
                let _alive = alive;
                priority::give_way();
                shared.run(1);
            })?;
        }
        let alive = alive();
        pool.start_thread("edge-encode-relief".to_owned(), move |shared| {
            let _alive = alive;
            shared.run(RELIEF_FROM);
        })?;
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
            kept: Mutex::new(VecDeque::new()),
            on_stored,
        });
        Self { shared, threads: Arc::default() }
    }

    /// Encodes one batch and hands it to the spool, on this thread; false when none waits or too much is on its way to the disk.
    pub fn step(&self) -> bool {
        let next = self.shared.work.lock().next(1);
        let is_some = next.is_some();
        if let Some(closed) = next {
            self.shared.work_on(closed);
        }
        is_some
    }

    /// Batches that wait to be encoded.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.work.lock().queue.len()
    }

    fn start_thread(&self, name: String, work: impl FnOnce(Arc<Shared>) + Send + 'static) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name).spawn(move || work(shared))?;
        self.threads.lock().push(thread);
        Ok(())
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
        self.shared.changed.notify_all();
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

    /// Ends the threads; what is queued is let go (it is in the inbox).
    pub fn close(&self) {
        self.shared.work.lock().closed = true;
        self.shared.changed.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("an encoder thread had panicked");
            }
        }
    }
}

impl Shared {
    /// Works whenever `least` batches wait.
    fn run(self: Arc<Self>, least: usize) {
        while let Some(closed) = self.next(least) {
            self.work_on(closed);
        }
    }

    fn work_on(self: &Arc<Self>, closed: Closed) {
        if self.custody.lock().is_stalled() {
            self.custody.lock().let_go(&Sources::of(self.inbox_id, &closed.parts));
        } else {
            self.encode(closed);
        }
        self.work.lock().busy -= 1;
        self.changed.notify_all();
    }

    fn next(&self, least: usize) -> Option<Closed> {
        let mut work = self.work.lock();
        loop {
            if work.closed {
                return None;
            }
            if let Some(closed) = work.next(least) {
                return Some(closed);
            }
            self.changed.wait(&mut work);
        }
    }

    fn encode(self: &Arc<Self>, closed: Closed) {
        let mut encoder = self.take_encoder(&closed.key);
        let packed = pack(&mut encoder, &closed, self.inbox_id, self.spool_id);
        self.keep_encoder(&closed.key, encoder);
        if !packed.unencodable.is_empty() {
            self.custody.lock().unencodable(&closed.key, &packed.unencodable);
        }
        drop(closed);
        for batch in packed.batches {
            self.append(batch);
        }
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
