//! Faults put into the product on purpose, one at a time, to prove that the simulation would find them.
//!
//! Compiled only with the feature `mutations`, which nothing but `chaos --features mutations` turns on; without it [`is`] is a constant
//! `false` and costs nothing. The fault is a thread's own: simulations on other threads run without it.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The inbox says that a request is on disk without an fsync.
    NoSyncBeforeOk,
    /// A new segment's name is never synced.
    NoDirectorySync,
    /// The journal says that a batch is on disk without an fsync.
    NoSyncBeforeAck,
    /// A batch is acked when it is handed to the journal.
    AckBeforeAppend,
    /// A router that starts again knows none of the ids that its checkpoint kept.
    DedupForgottenOnRestart,
    /// An id below its spool's floor is taken for a new one.
    FloorIgnored,
    /// A request leaves the inbox before the batch that it went into is synced.
    InboxRemovedEarly,
    /// A tier's cursor moves before the tier confirmed.
    CursorBeforeConfirmation,
    /// An index that is made anew does not know which seqs were used.
    SeqReused,
    /// A record that was written in part is taken for whole.
    TornTailAccepted,
    /// A refusal counts as an ack.
    NackIsAck,
    /// A checkpoint is written and believed though what it speaks of is not synced.
    CheckpointNewerThanItsData,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NoSyncBeforeOk,
        Self::NoDirectorySync,
        Self::NoSyncBeforeAck,
        Self::AckBeforeAppend,
        Self::DedupForgottenOnRestart,
        Self::FloorIgnored,
        Self::InboxRemovedEarly,
        Self::CursorBeforeConfirmation,
        Self::SeqReused,
        Self::TornTailAccepted,
        Self::NackIsAck,
        Self::CheckpointNewerThanItsData,
    ];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSyncBeforeOk => "no-sync-before-ok",
            Self::NoDirectorySync => "no-directory-sync",
            Self::NoSyncBeforeAck => "no-sync-before-ack",
            Self::AckBeforeAppend => "ack-before-append",
            Self::DedupForgottenOnRestart => "dedup-forgotten-on-restart",
            Self::FloorIgnored => "floor-ignored",
            Self::InboxRemovedEarly => "inbox-removed-early",
            Self::CursorBeforeConfirmation => "cursor-before-confirmation",
            Self::SeqReused => "seq-reused",
            Self::TornTailAccepted => "torn-tail-accepted",
            Self::NackIsAck => "nack-is-ack",
            Self::CheckpointNewerThanItsData => "checkpoint-newer-than-its-data",
        }
    }
}

#[cfg(feature = "mutations")]
thread_local! {
    static CURRENT: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Is this fault on, on this thread?
#[cfg(feature = "mutations")]
#[must_use]
pub fn is(mutation: Mutation) -> bool {
    CURRENT.get() == Some(mutation)
}

/// Is this fault on? Never, in a build without the feature.
#[cfg(not(feature = "mutations"))]
#[must_use]
#[inline(always)]
pub const fn is(_: Mutation) -> bool {
    false
}

/// Turns a fault on, on this thread, in place of what was on before.
#[cfg(feature = "mutations")]
pub fn set(mutation: Option<Mutation>) {
    CURRENT.set(mutation);
}
