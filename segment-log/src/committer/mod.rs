//! stub
#![allow(clippy::todo, unused_variables, dead_code, missing_docs)]
use std::time::Duration;
use bytes::Bytes;
use federation_proto::identity::Seq;
use crate::{AppendError, CheckpointError, Log};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitterOptions {
    /// Bytes of records that may wait; past it `AppendError::Busy`.
    pub queue_bytes: u64,
    /// How long a group may wait for company, at most 2 ms; zero: only while the fsync before it runs.
    pub max_wait: Duration,
    /// Name of the thread.
    pub name: String,
}
impl Default for CommitterOptions {
    fn default() -> Self {
        Self { queue_bytes: 64 << 20, max_wait: Duration::ZERO, name: "segment-log".to_owned() }
    }
}
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitterStats {}

/// A handle; the last one dropped closes.
#[derive(Clone)]
pub struct Committer {}

impl Committer {
    pub fn start(log: Log, options: CommitterOptions) -> Self {
        todo!()
    }
    /// `done` is called exactly once: from the committer's thread after the fsync, or at once from the caller's with `Busy`, `TooLarge` or `Closed`.
    /// It must not block, nor call `checkpoint` or `close`.
    pub fn append(&self, meta: Vec<u8>, payload: Bytes, done: impl FnOnce(Result<Seq, AppendError>) + Send + 'static) {
        todo!()
    }
    /// Short: under the lock.
    pub fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        todo!()
    }
    /// Blocks the caller; `state` runs when everything appended is synced and every `done` was called.
    /// # Errors
    /// stub
    pub fn checkpoint(&self, state: impl FnOnce(&mut Log) -> Vec<u8> + Send) -> Result<(), CheckpointError> {
        todo!()
    }
    /// Commits what waits, ends the thread and joins it; later appends answer `Closed`, `with` and `checkpoint` go on working.
    pub fn close(&self) {
        todo!()
    }
    pub fn stats(&self) -> CommitterStats {
        todo!()
    }
}
