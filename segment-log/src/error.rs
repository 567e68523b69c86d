//! What can go wrong, each with what to do next. All errors can be cloned: one failed fsync is told to every record that waited for it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use federation_proto::identity::Seq;

use crate::segment::SegmentNo;

/// The directory cannot be opened as a log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// An option that no log can keep.
    #[error("{0}")]
    Options(String),
    /// Another log (of this process or another one) has the directory.
    #[error("{place} is in use by another process: stop that process, or give this one another directory")]
    Locked {
        /// Where the log is.
        place: String,
    },
    /// A segment was written by a newer version of this program.
    #[error("{place}: {name} has format version {version}, which this version does not know: run the newer version, or move the file away")]
    NewerFormat {
        /// Where the log is.
        place: String,
        /// The segment.
        name: String,
        /// Its version.
        version: u32,
    },
    /// Files cannot be read or written at all (a damaged record is no such case: it never blocks the start).
    #[error("{place}: cannot {doing}: {source}; check that the directory is writable and its disk is healthy and not full")]
    Io {
        /// Where the log is.
        place: String,
        /// What was tried.
        doing: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

/// A record was not appended, or not made durable. It is not in the log, nor will it be after a restart once any later record is synced.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The log has reached its budget.
    #[error(
        "log full: {needed_bytes} B more on top of {used_bytes} B would pass the budget of {budget_bytes} B; \
         acknowledge records and take a checkpoint, or raise the budget"
    )]
    Full {
        /// Bytes that the record takes on disk, with the reserve kept for checkpoints.
        needed_bytes: u64,
        /// Bytes on disk now.
        used_bytes: u64,
        /// `Options::budget_bytes`.
        budget_bytes: u64,
    },
    /// The record is larger than the log takes. Trying again cannot help.
    #[error("record of {bytes} B is larger than the limit of {limit_bytes} B; split it, or raise max_record_bytes")]
    TooLarge {
        /// Bytes of meta and payload.
        bytes: u64,
        /// `Options::max_record_bytes`.
        limit_bytes: u64,
    },
    /// The disk refused the write. The log stays usable.
    #[error("cannot {doing}: {source}; the record was not stored, try again later")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The fsync that the record waited for failed.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// Committer: the queue in front of the disk is full.
    #[error("{queued_bytes} B wait for the disk, the limit is {limit_bytes} B; try again later")]
    Busy {
        /// Bytes waiting.
        queued_bytes: u64,
        /// `CommitterOptions::queue_bytes`.
        limit_bytes: u64,
    },
    /// Committer: closed, or its thread could not run.
    #[error("the log is closed")]
    Closed,
}

/// An fsync failed: what it covered is given up and will not be reported as stored, now or after a restart (see
/// [`crate::Log::finish_sync`]).
#[derive(Debug, Clone, thiserror::Error)]
#[error("fsync failed: {source}; records {}..{} were not stored", failed.start, failed.end)]
pub struct SyncError {
    /// The records given up; the end is exclusive. Empty if only a checkpoint was waiting.
    pub failed: Range<Seq>,
    /// What the system said.
    pub source: Arc<io::Error>,
}

/// A checkpoint was not taken; the one before it stays in force.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckpointError {
    /// The data before it, or the checkpoint itself, could not be synced.
    #[error("checkpoint: {0}")]
    Sync(#[from] SyncError),
    /// [`crate::Log::begin_checkpoint`] needs everything appended to be synced first.
    #[error("checkpoint: records from {synced} to {appended} are not synced; sync first")]
    Unsynced {
        /// Everything below is synced.
        synced: Seq,
        /// Everything below is appended.
        appended: Seq,
    },
    /// State and acked set do not fit a record.
    #[error("checkpoint of {bytes} B is larger than {limit_bytes} B; keep less state in it")]
    TooLarge {
        /// Bytes of state and acked set.
        bytes: u64,
        /// The most a checkpoint may have.
        limit_bytes: u64,
    },
    /// The disk refused the write.
    #[error("checkpoint: cannot {doing}: {source}; the checkpoint before stays in force, try again later")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Committer: closed.
    #[error("the log is closed")]
    Closed,
}

/// A record cannot be given back. Never a part of one, never a wrong one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Never appended, given up, or acknowledged.
    #[error("record {0} is not pending")]
    NotPending(Seq),
    /// What is on disk is not what was written. [`crate::Log::quarantine`] puts the record aside.
    #[error("record {seq} in segment {segment} at byte {offset} is damaged: {what}")]
    Damaged {
        /// Which record.
        seq: Seq,
        /// Its segment.
        segment: SegmentNo,
        /// Where its header begins.
        offset: u64,
        /// Which check failed.
        what: &'static str,
    },
    /// The disk refused the read.
    #[error("record {seq} in segment {segment}: cannot read: {source}")]
    Io {
        /// Which record.
        seq: Seq,
        /// Its segment.
        segment: SegmentNo,
        /// What the system said.
        source: Arc<io::Error>,
    },
}
