//! The log itself: what is appended, synced, sent and acknowledged, and in which segment it lies.
//!
//! No threads, no clocks: [`Log`] does what it is told, and [`crate::Committer`] is the driver that shares it. Where the parts are:
//!
//! | Module | What |
//! |---|---|
//! | `append` | records into the active segment; a new segment when it is full or sealed |
//! | `sync` | fsync in two halves, so that a driver waits without a lock; what a failed one means |
//! | `checkpoint` | the acked set and the caller's state, and the removal of segments that only hold what is acknowledged |
//! | `read` | records back, checked; damaged ones put aside |
//! | `open` | what a directory says after a crash; [`Inspection`] only looks |
//! | `hollow` | records discarded, and their bytes given back to the disk |
//! | `voids` | what was given up |
//! | `indexing` | keeps the index a copy of what is synced |
//!
//! # The order of things
//! Record, fsync of the file, fsync of the directory if the file is new, *then* index, cursor and callers. Checkpoint: everything synced,
//! then its record, then fsync, *then* segments go, then an fsync of the directory. The newest checkpoint is always in the active segment
//! or behind everything that is ever removed, because a removal only follows a newer checkpoint.

mod about;
mod append;
mod checkpoint;
mod files;
mod hollow;
mod indexing;
mod open;
mod quarantine;
mod read;
mod sync;
mod voids;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use federation_proto::identity::Seq;

pub use self::about::{Cursors, Damage, DamageKind, Options, Record, Recovery, Stats};
pub use self::hollow::{Footprint, SegmentUse};
pub use self::open::{Inspected, Inspection};
pub use self::read::PendingRead;
pub use self::sync::{SyncDone, SyncTicket};

use self::files::OpenFiles;
use self::indexing::IndexKeeper;
use self::quarantine::Quarantine;
use self::voids::Voids;
use crate::segment::{Kind, SegmentHeader, SegmentKey, SegmentNo, Stamp};
use crate::store::{Store, StoreFile, StoreLock};

/// Where a record lies. 16 bytes, one per pending record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Location {
    segment: SegmentNo,
    offset: u32,
    meta_len: u32,
    payload_len: u32,
}

impl Location {
    /// Bytes of meta and payload.
    fn bytes(&self) -> u64 {
        u64::from(self.meta_len) + u64::from(self.payload_len)
    }

    /// The first byte behind it.
    fn end(&self) -> u64 {
        u64::from(self.offset) + crate::segment::record_bytes(self.meta_len.into(), self.payload_len.into())
    }
}

/// A segment on disk.
#[derive(Debug, Clone)]
struct Segment {
    name: String,
    /// Its length.
    bytes: u64,
    /// What of it takes no room on the disk: see `hollow`.
    hollow_bytes: u64,
    /// Records in it that are pending or not yet synced. At zero a synced checkpoint lets it go.
    live: u64,
}

/// The segment that is written to.
struct Active {
    number: SegmentNo,
    file: Arc<dyn StoreFile>,
    key: SegmentKey,
    /// Where the next record begins; always the segment's length.
    end: u64,
}

/// Which place all records before are covered by something: a sync, or the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Position {
    segment: SegmentNo,
    offset: u64,
}

/// The durable log. See the crate's documentation for what holds.
pub struct Log {
    id: [u8; 16],
    options: Options,
    store: Arc<dyn Store>,
    _lock: StoreLock,
    files: OpenFiles,
    quarantine: Quarantine,
    index: IndexKeeper,
    stats: Stats,

    segments: BTreeMap<SegmentNo, Segment>,
    bytes_on_disk: u64,
    /// The highest number that any file of a segment ever had.
    last_segment: SegmentNo,
    active: Option<Active>,
    scratch: Vec<u8>,

    /// Synced and not acknowledged.
    pending: BTreeMap<u64, Location>,
    pending_bytes: u64,
    /// Discarded; given back to the disk when a checkpoint says so.
    discarded: Vec<Location>,
    /// The file system takes parts of files back, as far as it is known.
    can_punch: bool,
    /// Appended behind `synced`, in order.
    unsynced: VecDeque<(u64, Location)>,
    /// `sent <= synced <= next`; what is below the first pending one is acked.
    sent: u64,
    synced: u64,
    next: u64,

    /// Files with writes that no sync has begun to cover.
    dirty: Vec<Arc<dyn StoreFile>>,
    dir_dirty: bool,
    /// Everything written before is durable.
    synced_position: Position,
    sync_under_way: bool,
    checkpoint_under_way: bool,
    voids: Voids,
    /// How many were synced, and the bytes of the newest one's record.
    checkpoints: u32,
    checkpoint_bytes: u64,
}

impl Log {
    /// The log's identity: 16 random bytes, made with the directory.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Acknowledges a record, in any order; true if it was pending. Durable with the next checkpoint: a crash before it makes the record
    /// pending again.
    pub fn ack(&mut self, seq: Seq) -> bool {
        let Some(location) = self.pending.remove(&seq.0) else { return false };
        self.pending_bytes -= location.bytes();
        self.drop_live(location.segment);
        self.index.note_acked(seq);
        self.sent = self.sent.max(seq.0 + 1);
        true
    }

    /// Notes that a synced record was handed out; raises the `sent` cursor to behind it, never past `synced`.
    pub fn mark_sent(&mut self, seq: Seq) {
        self.sent = self.sent.max(seq.0.saturating_add(1).min(self.synced));
    }

    /// Synced and not acknowledged records, ascending: seq, and bytes of meta and payload.
    pub fn pending(&self) -> impl DoubleEndedIterator<Item = (Seq, u64)> + '_ {
        self.pending_from(Seq(0))
    }

    /// As [`Log::pending`], from `seq` on.
    pub fn pending_from(&self, seq: Seq) -> impl DoubleEndedIterator<Item = (Seq, u64)> + '_ {
        self.pending.range(seq.0..).map(|(&seq, location)| (Seq(seq), location.bytes()))
    }

    /// The lowest seq that is synced and not acknowledged.
    #[must_use]
    pub fn first_pending(&self) -> Option<Seq> {
        self.pending.first_key_value().map(|(&seq, _)| Seq(seq))
    }

    /// How many records are synced and not acknowledged.
    #[must_use]
    pub fn pending_records(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Bytes of meta and payload of all pending records.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// The seq that the next record gets.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        Seq(self.next)
    }

    /// Bytes that all segments take on the disk.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.bytes_on_disk
    }

    /// How far the log is.
    #[must_use]
    pub fn cursors(&self) -> Cursors {
        let acked = self.first_pending().map_or(self.synced, |first| first.0);
        let cursors = Cursors { acked: Seq(acked), sent: Seq(self.sent.max(acked)), synced: Seq(self.synced), appended: Seq(self.next) };
        debug_assert!(cursors.acked <= cursors.sent && cursors.sent <= cursors.synced && cursors.synced <= cursors.appended, "{cursors:?}");
        cursors
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            segments: self.segments.len() as u64,
            quarantined_bytes: self.quarantine.bytes(),
            index_failure: self.index.failure().map(str::to_owned),
            ..self.stats.clone()
        }
    }

    fn header(&self, number: SegmentNo, base: Seq) -> SegmentHeader {
        SegmentHeader { log_id: self.id, number, base }
    }

    /// What a record of a kind says that is written now.
    fn stamp(&self, kind: Kind) -> Stamp {
        let (seq, synced) = (Seq(self.next), Seq(self.synced_beyond_doubt()));
        match kind {
            // It says itself what was given up, and it is only written when all else is synced.
            Kind::Checkpoint => Stamp { seq, synced: Seq(self.synced), checkpoints: self.checkpoints.saturating_add(1) },
            Kind::Data => Stamp { seq, synced, checkpoints: self.checkpoints },
            // All checkpoints before it with a higher number are given up; not the one that is just being synced.
            Kind::Void => Stamp { seq, synced, checkpoints: self.checkpoints.saturating_add(u32::from(self.checkpoint_under_way)) },
        }
    }

    /// Every seq below is durable, or given up in a durable void.
    fn synced_beyond_doubt(&self) -> u64 {
        self.voids.unsaved_from().map_or(self.synced, |first| first.min(self.synced))
    }

    fn drop_live(&mut self, number: SegmentNo) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.live = segment.live.saturating_sub(1);
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("place", &self.store.place()).field("cursors", &self.cursors()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
