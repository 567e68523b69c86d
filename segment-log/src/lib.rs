//! The durable log of batches: segment files hold the truth, an index makes them quick. The edge's inbox and spool and the router's journal
//! are each one.
//!
//! | Module | What it is |
//! |---|---|
//! | [`segment`] | The format on disk, how records are checked and found |
//! | [`log`] | [`Log`]: append, sync, read, ack, checkpoint; opening after a crash |
//! | [`store`] | Where segments lie: [`FileStore`], and [`SimStore`] that loses power |
//! | [`index`] | Where is what: [`SledIndex`], [`MemoryIndex`]; only ever a copy |
//! | [`committer`] | [`Committer`]: a thread that appends and syncs in groups; [`Hand`] does the same without a thread |
//!
//! # What holds
//! - `acked ≤ sent ≤ synced ≤ appended`, as exclusive bounds ([`Cursors`]).
//! - A record is returned whole and right or not at all: every read checks its CRCs.
//! - What was reported synced survives a power cut; what was not may survive or not, each record for itself, and is judged only by what is
//!   found.
//! - A seq is never used for two records that anyone was told of.
//! - A checkpoint is never trusted over data that was not synced before it.
//! - A damaged record costs that record: counted, put aside, and never a reason not to start.
//!
//! # Bounds
//! Disk: `Options::budget_bytes` for segments, `Options::quarantine_bytes` beside them, and the index's own bound. Memory: about 60 bytes
//! for each record that is pending (24 bytes in a B-tree, nodes half full at worst) and 8 for each one acknowledged since the last
//! checkpoint; 32 open files; one record while it is written or read. [`Committer`]: `queue_bytes` waiting, as much again being written.

pub mod committer;
pub mod error;
pub mod index;
pub mod log;
#[doc(hidden)]
pub mod mutation;
pub mod segment;
pub mod store;

pub use committer::{Committer, CommitterOptions, CommitterStats, Hand};
pub use error::{AppendError, CheckpointError, OpenError, ReadError, SyncError};
pub use federation_proto::identity::Seq;
pub use index::{Index, IndexError, IndexUpdate, IndexValue, MemoryIndex, SledIndex};
pub use log::{
    Cursors, Damage, DamageKind, Footprint, Inspected, Inspection, Log, Options, PendingRead, Record, Recovery, SegmentUse, Stats,
    SyncDone, SyncTicket,
};
pub use segment::SegmentNo;
pub use store::{Fault, FileStore, Lies, ReadOnlyStore, SimStore, Store, StoreEntry, StoreFile, StoreLock};
