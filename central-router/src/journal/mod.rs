//! The journal: every batch that was acked, until every tier is done with it. Ack follows the fsync.
//!
//! A record's meta is the batch header as it came, its payload the batch's. The log's checkpoint keeps the [`book`]: ids seen, tier
//! cursors, ledger counters; what was journalled after the checkpoint is counted again from the records on open. A tier's progress is
//! durable with the checkpoint that [`Journal::settle`] takes, before it returns.
//!
//! Locks: the log's, then the book's; the book's is never held across a call into the log.

pub mod book;
mod offline;
pub mod recent;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use federation_proto::header::BatchHeader;
use federation_proto::identity::Seq;
use federation_proto::ledger::{Ledger, TierTerms};
use parking_lot::{Mutex, MutexGuard};
use segment_log::mutation::{self, Mutation};
use segment_log::{
    AppendError, CheckpointError, Committer, CommitterOptions, DamageKind, FileStore, Hand, Index, Log, OpenError, Options, ReadError,
    Record, Recovery, SledIndex, Store,
};
use tokio::sync::watch;

pub use self::offline::Offline;

use self::book::{Book, InvalidBook};
use crate::config::Config;

/// Checkpoints may be this large whatever the batches are, in bytes.
const LEAST_RECORD_BYTES: u32 = 32 << 20;
/// What a record takes on disk beside its payload, in bytes, at most: header, edge's header, checksums.
const RECORD_OVERHEAD: u64 = 1024;
/// Damaged bytes kept for a person, beside the budget.
const QUARANTINE_BYTES: u64 = 256 << 20;

/// For who repairs: whose log this is.
pub const OWNER: repair::Owner = repair::Owner {
    noun: "journal",
    part: "router",
    program: "tributary-router",
    header: |_, _, meta| BatchHeader::decode(meta).ok().map(|(header, _)| header),
};

/// What bounds the journal.
#[derive(Debug, Clone, Copy)]
pub struct JournalOptions {
    /// Bytes on disk.
    pub budget: u64,
    /// Bytes of a segment file.
    pub segment: u64,
    /// Largest payload.
    pub max_batch: u32,
    /// Payload bytes that may wait for the disk.
    pub queue: u64,
}

impl JournalOptions {
    /// What a configuration says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { budget: config.journal_budget, segment: config.journal_segment, max_batch: config.max_batch, queue: config.memory }
    }

    /// The options of the log beneath.
    #[must_use]
    pub fn log(&self) -> Options {
        Options {
            segment_bytes: self.segment,
            budget_bytes: self.budget,
            max_record_bytes: self.max_batch.saturating_add(RECORD_OVERHEAD as u32).max(LEAST_RECORD_BYTES),
            quarantine_bytes: QUARANTINE_BYTES,
        }
    }

    fn committer(&self) -> CommitterOptions {
        CommitterOptions { queue_bytes: self.queue, max_wait: Duration::ZERO, name: "journal".to_owned() }
    }
}

/// A journal that does not open.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its files.
    #[error("journal: {0}")]
    Log(#[from] OpenError),
    /// Its directory.
    #[error("{place}: cannot be made: {error}; set data_dir to a directory that this user may write")]
    Dir {
        /// The directory.
        place: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// Its state was written by another version.
    #[error("{place}: {error}; run the version that wrote it, or move the journal away (its batches are then lost to this router)")]
    State {
        /// The directory.
        place: String,
        /// What does not fit.
        error: InvalidBook,
    },
}

/// What an open found that a person should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// One line each.
    pub notes: Vec<String>,
    /// Records that are still to be delivered to some tier.
    pub pending: usize,
}

/// Brings the book up to what the log holds: counts records behind the checkpoint, queues all that wait, charges what damage took.
///
/// # Errors
/// [`InvalidBook`] when the checkpoint's state is of another version.
pub fn recover(log: &mut Log, recovery: &Recovery, tiers: &[String], budget: u64) -> Result<(Book, Opened), InvalidBook> {
    let first = log.first_pending().unwrap_or_else(|| log.next_seq());
    let (mut book, gone) = Book::open(recovery.state.as_deref(), tiers, first, budget)?;
    let mut notes: Vec<String> =
        gone.into_iter().map(|tier| format!("tier {tier} is no longer configured: what it had not read is not kept for it")).collect();
    notes.extend(recovery.index_rebuilt.iter().map(|why| format!("the index was made anew: {why}")));
    notes.extend(recovery.aliens.iter().map(|name| format!("{name} is not a file of the journal; left alone")));
    let lost = recovery.damaged.iter().filter(|damage| !matches!(damage.kind, DamageKind::Torn));
    let mut damaged = 0;
    for damage in lost {
        damaged += usize::from(damage.kind != DamageKind::Checkpoint);
        let kept = damage.quarantined.as_deref().unwrap_or("not kept, the quarantine is full");
        notes.push(format!(
            "damaged {:?} in segment {} at byte {}, {} bytes: {kept}",
            damage.kind, damage.segment, damage.offset, damage.bytes
        ));
    }
    let pending: Vec<Seq> = log.pending().map(|(seq, _)| seq).collect();
    let lowest = book.lowest_cursor();
    for &seq in &pending {
        if seq < lowest {
            log.ack(seq);
            continue;
        }
        let header =
            log.read_meta_patiently(seq).map_err(|e| e.to_string()).and_then(|meta| BatchHeader::decode(&meta).map_err(|e| e.to_string()));
        match header {
            Ok((header, _)) if seq < book.applied() => book.requeue(seq, &header),
            Ok((header, _)) => book.journalled(seq, &header),
            Err(why) => {
                damaged += 1;
                log.quarantine(seq);
                notes.push(format!("record {seq}: {why}; put aside"));
            }
        }
    }
    if damaged > 0 {
        book.charge_damage();
    }
    book.set_stored_bytes(log.bytes_on_disk());
    Ok((book, Opened { notes, pending: pending.len() }))
}

fn open(
    store: Arc<dyn Store>,
    index: Box<dyn Index>,
    options: &JournalOptions,
    tiers: &[String],
) -> Result<(Log, Book, Opened), JournalError> {
    let place = store.place();
    let (mut log, recovery) = Log::open(store, index, options.log())?;
    let (book, opened) = recover(&mut log, &recovery, tiers, options.budget).map_err(|error| JournalError::State { place, error })?;
    Ok((log, book, opened))
}

/// See the module. Clones share it.
#[derive(Clone)]
pub struct Journal {
    committer: Committer,
    book: Arc<Mutex<Book>>,
    id: [u8; 16],
    /// The seq below which everything is in the book: changes when a batch was journalled.
    arrivals: watch::Sender<u64>,
}

impl Journal {
    /// Opens the journal in `dir`, for these tiers.
    ///
    /// # Errors
    /// [`JournalError`]. Damage is no error: see [`Opened`].
    pub fn open(dir: &Path, options: &JournalOptions, tiers: &[String]) -> Result<(Self, Opened), JournalError> {
        let store = FileStore::new(dir).map_err(|error| JournalError::Dir { place: dir.display().to_string(), error })?;
        Self::on_store(Arc::new(store), Box::new(SledIndex::new(dir.join("index"))), options, tiers)
    }

    /// Opens the journal on any store.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn on_store(
        store: Arc<dyn Store>,
        index: Box<dyn Index>,
        options: &JournalOptions,
        tiers: &[String],
    ) -> Result<(Self, Opened), JournalError> {
        let (log, book, opened) = open(store, index, options, tiers)?;
        let id = log.id();
        Ok((Self::of(Committer::start(log, options.committer()), id, book), opened))
    }

    /// As [`Journal::on_store`], without a thread: the hand does the rounds.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn by_hand(
        store: Arc<dyn Store>,
        index: Box<dyn Index>,
        options: &JournalOptions,
        tiers: &[String],
    ) -> Result<(Self, Hand, Opened), JournalError> {
        let (log, book, opened) = open(store, index, options, tiers)?;
        let id = log.id();
        let (committer, hand) = Committer::by_hand(log, &options.committer());
        Ok((Self::of(committer, id, book), hand, opened))
    }

    fn of(committer: Committer, id: [u8; 16], book: Book) -> Self {
        let arrivals = watch::Sender::new(book.applied().0);
        Self { committer, book: Arc::new(Mutex::new(book)), id, arrivals }
    }

    /// Its id: random, of its directory.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// What is known of it. Hold it shortly, and call nothing of the journal meanwhile.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Puts a batch whose id is reserved on the journal. `done` is called once it is durable, or is not going to be; from the
    /// journal's thread, or at once.
    pub fn append(&self, header: BatchHeader, payload: Bytes, done: impl FnOnce(Result<(), AppendError>) + Send + 'static) {
        let book = Arc::clone(&self.book);
        let arrivals = self.arrivals.clone();
        let meta = header.encode();
        let mut done = Some(done);
        if mutation::is(Mutation::AckBeforeAppend)
            && let Some(done) = done.take()
        {
            done(Ok(()));
        }
        self.committer.append(meta, payload, move |result| {
            match &result {
                Ok(seq) => {
                    let mut book = book.lock();
                    book.journalled(*seq, &header);
                    let stored = book.stored_bytes() + u64::from(header.payload_len) + RECORD_OVERHEAD;
                    book.set_stored_bytes(stored);
                    arrivals.send_replace(book.applied().0);
                }
                Err(error) => {
                    let mut book = book.lock();
                    book.give_up(header.id);
                    if let AppendError::Full { needed_bytes, .. } = error {
                        book.set_reserved_bytes(needed_bytes.saturating_sub(u64::from(header.payload_len)));
                    }
                }
            }
            if let Some(done) = done {
                done(result.map(|_| ()));
            }
        });
    }

    /// Changes whenever a batch was journalled.
    #[must_use]
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    /// A record.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, seq: Seq) -> Result<Record, ReadError> {
        self.committer.with(|log| log.prepare_read(seq))?.run()
    }

    /// Puts a damaged record aside.
    pub fn quarantine(&self, seq: Seq) {
        self.committer.with(|log| log.quarantine(seq));
    }

    /// A tier is done with all records up to `last`, with this outcome: durable when this returns. Blocks for an fsync. Safe to call
    /// again after an error.
    ///
    /// # Errors
    /// [`CheckpointError`]: the cursor may fall back to where it was, should the process end now.
    pub fn settle(&self, tier: usize, last: Seq, outcome: &Ledger<TierTerms>) -> Result<(), CheckpointError> {
        self.checkpoint_with(|book| book.settle(tier, last, outcome))
    }

    /// Makes the book durable as it is. Blocks for an fsync.
    ///
    /// # Errors
    /// [`CheckpointError`]: the checkpoint before stays in force.
    pub fn checkpoint(&self) -> Result<(), CheckpointError> {
        self.checkpoint_with(|_| None)
    }

    fn checkpoint_with(
        &self,
        change: impl FnOnce(&mut Book) -> Option<std::ops::RangeInclusive<u64>> + Send,
    ) -> Result<(), CheckpointError> {
        self.committer.checkpoint(|log| {
            let mut book = self.book.lock();
            for seq in change(&mut book).into_iter().flatten() {
                log.ack(Seq(seq));
            }
            book.encode()
        })?;
        self.measure();
        Ok(())
    }

    /// Takes the size on disk anew.
    pub fn measure(&self) {
        let bytes = self.committer.with(|log| log.bytes_on_disk());
        self.book.lock().set_stored_bytes(bytes);
        metrics::gauge!("tributary_router_journal_bytes").set(bytes as f64);
    }

    /// Commits what waits, takes a checkpoint and stops the thread. Blocks.
    ///
    /// # Errors
    /// [`CheckpointError`]: the next open recounts what this one did not keep.
    pub fn close(&self) -> Result<(), CheckpointError> {
        let kept = self.checkpoint();
        self.committer.close();
        kept
    }
}

/// Declares this module's metrics.
pub fn describe_metrics() {
    metrics::describe_gauge!("tributary_router_journal_bytes", metrics::Unit::Bytes, "Journal segments on disk");
}

#[cfg(test)]
mod tests;
