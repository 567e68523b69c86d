//! What a log is told, and what it tells.

use std::ops::Range;

use bytes::Bytes;
use federation_proto::identity::Seq;

use crate::segment::{SEGMENT_HEADER_BYTES, SegmentNo};

const MAX_SEGMENT_BYTES: u64 = 2 << 30;
const MAX_RECORD_BYTES: u32 = 1 << 30;

/// What bounds a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A segment is closed when the next record would take it past this many bytes; only a record larger than that makes a larger segment.
    /// At most 2 GiB.
    pub segment_bytes: u64,
    /// Bytes in segments at which `append` answers `Full`. Space comes back by whole segments, so that less than about four of them is not
    /// sensible. A part is kept back for checkpoints (four times the newest one), which are never refused for the budget: only if they grow
    /// past that share at once can the log pass its budget, by at most two checkpoints; or if a crash brings back what had been cut off or
    /// removed, by that.
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

impl Options {
    /// Says which option no log can keep.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(2 * SEGMENT_HEADER_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            return Err(format!("segment_bytes is {}: expected {} B to 2 GiB", self.segment_bytes, 2 * SEGMENT_HEADER_BYTES));
        }
        if self.max_record_bytes > MAX_RECORD_BYTES {
            return Err(format!("max_record_bytes is {}: expected at most 1 GiB", self.max_record_bytes));
        }
        if self.budget_bytes < self.segment_bytes {
            return Err(format!("budget_bytes is {}: expected at least segment_bytes, {}", self.budget_bytes, self.segment_bytes));
        }
        Ok(())
    }
}

/// What an open found.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// What the caller gave to the newest trustworthy checkpoint. `None`: there is none.
    pub state: Option<Vec<u8>>,
    /// Intact records behind that checkpoint (all, if there is none), ascending, for the caller to replay. All are pending, synced and
    /// readable; those that were acknowledged since that checkpoint are among them.
    pub after_checkpoint: Vec<Seq>,
    /// What could not be read, in the order of the files; at most [`Recovery::MAX_DAMAGED`]. Only kinds other than [`DamageKind::Torn`] are
    /// a loss.
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
    /// Nothing that anyone was told is stored: what a power cut or a failed write leaves behind the last sync, or what was acknowledged
    /// since.
    Torn,
    /// Records that had been synced and not acknowledged.
    Records,
    /// A checkpoint. If it was the newest, an older one is in force: acknowledged records may be pending again.
    Checkpoint,
    /// A whole segment: its header, or the file is gone.
    Segment,
}

/// Bytes that could not be read as what they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What kind of damage.
    pub kind: DamageKind,
    /// In which segment.
    pub segment: SegmentNo,
    /// Where in the segment, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The records that were there, or at the end of a segment: may have been.
    pub seqs: Range<Seq>,
    /// The record's meta, if that part is intact (at most 64 KiB).
    pub meta: Option<Vec<u8>>,
    /// The file that the bytes were put aside in; `None`: the quarantine is full, or they were all zeros.
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
    /// Everything below is acknowledged (or given up, or was lost to damage).
    pub acked: Seq,
    /// Nothing at or above was handed out; see [`crate::Log::mark_sent`].
    pub sent: Seq,
    /// Everything below is durable (or given up).
    pub synced: Seq,
    /// The next record's seq.
    pub appended: Seq,
}

/// Counters since the open and gauges, for the owner's metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records appended.
    pub appended_records_total: u64,
    /// Bytes of meta and payload appended.
    pub appended_bytes_total: u64,
    /// Syncs that succeeded.
    pub syncs_total: u64,
    /// Syncs that failed.
    pub sync_failures_total: u64,
    /// Writes and creations that failed.
    pub write_failures_total: u64,
    /// Records given up after a failed sync.
    pub given_up_records_total: u64,
    /// Checkpoints taken.
    pub checkpoints_total: u64,
    /// Segments created.
    pub segments_created_total: u64,
    /// Segments removed.
    pub segments_removed_total: u64,
    /// Bytes of discarded records that went back to the disk before their segment did.
    pub hollowed_bytes_total: u64,
    /// Removals that failed; they are tried again with the next checkpoint.
    pub removal_failures_total: u64,
    /// Damages of any kind but torn, found at the open or put aside since.
    pub damages_total: u64,
    /// Records lost in them, as far as it is known.
    pub damaged_records_total: u64,
    /// Bytes that the disk refused to read at the open.
    pub refused_bytes: u64,
    /// Bytes in quarantine.
    pub quarantined_bytes: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Why the index is set aside; `None`: it is in use. The log works without it, and the next open takes longer.
    pub index_failure: Option<String>,
}
