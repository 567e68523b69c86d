//! stub
#![allow(clippy::todo, unused_variables, dead_code, missing_docs)]
use std::sync::Arc;
use bytes::Bytes;
use federation_proto::identity::Seq;
use crate::{AppendError, CheckpointError, Index, OpenError, ReadError, SegmentNo, Store, SyncError};

/// What bounds a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A segment is closed when the next record would take it past this many bytes. At most 2 GiB.
    pub segment_bytes: u64,
    /// Bytes on disk at which `append` answers `Full`. At least 4 segments is sensible: space comes back by whole segments.
    pub budget_bytes: u64,
    /// Largest meta plus payload of a record, in bytes. At most 1 GiB.
    pub max_record_bytes: u32,
    /// Damaged bytes kept in `quarantine/`, beside the budget; past it damage is counted but not kept.
    pub quarantine_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, budget_bytes: 1 << 30, max_record_bytes: 16 << 20, quarantine_bytes: 64 << 20 }
    }
}

/// What an open found.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// What the caller gave to the newest trustworthy checkpoint. `None`: there is none.
    pub state: Option<Vec<u8>>,
    /// Intact records behind that checkpoint (all, if there is none), ascending. All are pending, synced and readable.
    pub after_checkpoint: Vec<Seq>,
    /// What could not be read, in the order of the files; at most [`Recovery::MAX_DAMAGED`].
    pub damaged: Vec<Damage>,
    /// Why the index was made anew from the segments; `None` if it was not.
    pub index_rebuilt: Option<String>,
    /// Files in the directory that are not this log's: left alone.
    pub aliens: Vec<String>,
}

impl Recovery {
    /// Damages listed one by one; further ones are only counted in [`Stats`].
    pub const MAX_DAMAGED: usize = 1024;
}

/// What kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// Bytes behind the last write that is known to be synced: what a power cut leaves. Nobody was told that they were stored.
    Torn,
    /// Records that had been synced.
    Records,
    /// A checkpoint; an older one was used.
    Checkpoint,
    /// A whole segment: its header, or the file is gone.
    Segment,
}

/// Bytes that could not be read as what they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub kind: DamageKind,
    pub segment: SegmentNo,
    /// Where in the segment, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The records that were there or may have been.
    pub seqs: std::ops::Range<Seq>,
    /// The record's meta, if that part is intact.
    pub meta: Option<Vec<u8>>,
    /// Where the bytes were put aside, unless the quarantine is full.
    pub quarantined: Option<String>,
}

/// A record, whole and right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the caller said about it.
    pub meta: Bytes,
    /// The record itself.
    pub payload: Bytes,
}

/// How far the log is. All bounds are exclusive, and `acked <= sent <= synced <= appended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursors {
    /// Everything below is acknowledged (or given up).
    pub acked: Seq,
    /// Nothing at or above was handed out; see [`Log::mark_sent`].
    pub sent: Seq,
    /// Everything below is durable (or given up).
    pub synced: Seq,
    /// The next record's seq.
    pub appended: Seq,
}

/// Counters and gauges, for the owner's metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {}

#[must_use]
pub struct SyncTicket(());
#[must_use]
pub struct SyncDone(());
#[must_use]
pub struct PendingRead(());

impl SyncTicket {
    pub fn run(self) -> SyncDone {
        todo!()
    }
}
impl PendingRead {
    /// # Errors
    /// stub
    pub fn run(self) -> Result<Record, ReadError> {
        todo!()
    }
}

/// The log.
pub struct Log {}

impl Log {
    /// # Errors
    /// stub
    pub fn open(store: Arc<dyn Store>, index: Box<dyn Index>, options: Options) -> Result<(Self, Recovery), OpenError> {
        todo!()
    }
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        todo!()
    }
    /// # Errors
    /// stub
    pub fn append(&mut self, meta: &[u8], payload: &[u8]) -> Result<Seq, AppendError> {
        todo!()
    }
    /// Gives the `synced` cursor: everything below is durable.
    /// # Errors
    /// stub
    pub fn sync(&mut self) -> Result<Seq, SyncError> {
        todo!()
    }
    /// `None`: nothing to sync, or another sync is under way.
    pub fn begin_sync(&mut self) -> Option<SyncTicket> {
        todo!()
    }
    /// # Errors
    /// stub
    pub fn finish_sync(&mut self, done: SyncDone) -> Result<Seq, SyncError> {
        todo!()
    }
    /// # Errors
    /// stub
    pub fn checkpoint(&mut self, state: &[u8]) -> Result<(), CheckpointError> {
        todo!()
    }
    /// The record; outside of a lock by `prepare_read(seq)?.run()`.
    /// # Errors
    /// stub
    pub fn read(&self, seq: Seq) -> Result<Record, ReadError> {
        todo!()
    }
    /// # Errors
    /// stub
    pub fn prepare_read(&self, seq: Seq) -> Result<PendingRead, ReadError> {
        todo!()
    }
    /// # Errors
    /// stub
    pub fn read_meta(&self, seq: Seq) -> Result<Bytes, ReadError> {
        todo!()
    }
    /// True if it was pending. Durable with the next checkpoint.
    pub fn ack(&mut self, seq: Seq) -> bool {
        todo!()
    }
    /// Puts a damaged pending record aside and acks it.
    pub fn quarantine(&mut self, seq: Seq) -> Option<Damage> {
        todo!()
    }
    pub fn mark_sent(&mut self, seq: Seq) {
        todo!()
    }
    /// Synced and not acknowledged, ascending: seq and bytes of meta and payload.
    pub fn pending(&self) -> impl DoubleEndedIterator<Item = (Seq, u64)> + '_ {
        std::iter::empty()
    }
    pub fn pending_from(&self, seq: Seq) -> impl DoubleEndedIterator<Item = (Seq, u64)> + '_ {
        std::iter::empty()
    }
    #[must_use]
    pub fn first_pending(&self) -> Option<Seq> {
        todo!()
    }
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        todo!()
    }
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        todo!()
    }
    /// Bytes of meta and payload of all pending records.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        todo!()
    }
    #[must_use]
    pub fn cursors(&self) -> Cursors {
        todo!()
    }
    #[must_use]
    pub fn stats(&self) -> Stats {
        todo!()
    }
}
