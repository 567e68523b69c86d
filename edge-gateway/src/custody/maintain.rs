//! The steps of a checkpoint over both logs, in the one order that loses nothing; see [`super::checkpoint`].

use federation_proto::identity::Seq;
use parking_lot::Mutex;
use segment_log::{CheckpointError, Committer, Log};

use super::Custody;

/// A log that can be checkpointed: behind its committer's thread, or bare where a simulation drives it.
pub trait Checkpointed {
    /// Runs `state` when everything appended is synced and told, and makes what it gives the log's checkpoint.
    ///
    /// # Errors
    /// The checkpoint before stays in force.
    fn checkpoint(&self, state: &mut (dyn FnMut(&mut Log) -> Vec<u8> + Send)) -> Result<(), CheckpointError>;
    /// Short work under the log's lock.
    fn with(&self, work: &mut dyn FnMut(&mut Log));
}

impl Checkpointed for Committer {
    fn checkpoint(&self, state: &mut (dyn FnMut(&mut Log) -> Vec<u8> + Send)) -> Result<(), CheckpointError> {
        Self::checkpoint(self, state)
    }

    fn with(&self, work: &mut dyn FnMut(&mut Log)) {
        Self::with(self, work);
    }
}

impl Checkpointed for Mutex<Log> {
    fn checkpoint(&self, state: &mut (dyn FnMut(&mut Log) -> Vec<u8> + Send)) -> Result<(), CheckpointError> {
        let mut log = self.lock();
        log.sync()?;
        let state = state(&mut log);
        log.checkpoint(&state)
    }

    fn with(&self, work: &mut dyn FnMut(&mut Log)) {
        work(&mut self.lock());
    }
}

/// What a checkpoint of the spool made certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolKept {
    /// Entries that were acked in the inbox for it.
    pub completed: usize,
    /// Batches below are gone from the spool, across any crash: what a router may be told as the floor.
    pub settled: Seq,
}

/// The spool's checkpoint; then, since that says that they were counted and consumed, the acks of completed entries in the inbox.
///
/// # Errors
/// What the spool says; the inbox is then left as it is.
pub fn checkpoint_spool(
    custody: &Mutex<Custody>,
    spool: &impl Checkpointed,
    inbox: &impl Checkpointed,
) -> Result<SpoolKept, CheckpointError> {
    let (mut completed, mut settled) = (Vec::new(), Seq(0));
    let taken = spool.checkpoint(&mut |log| {
        settled = log.cursors().acked;
        let snapshot = custody.lock().snapshot();
        completed = snapshot.completed;
        snapshot.state
    });
    if let Err(error) = taken {
        custody.lock().keep(completed);
        return Err(error);
    }
    inbox.with(&mut |log| {
        for seq in &completed {
            log.ack(*seq);
        }
    });
    Ok(SpoolKept { completed: completed.len(), settled })
}

/// The inbox's checkpoint: makes its acks durable, gives back its disk, and lets the custody forget what is gone.
///
/// # Errors
/// What the inbox says; nothing is forgotten then.
pub fn checkpoint_inbox(custody: &Mutex<Custody>, inbox: &impl Checkpointed) -> Result<(), CheckpointError> {
    let mut acked = Seq(0);
    inbox.checkpoint(&mut |log| {
        acked = log.cursors().acked;
        custody.lock().recent_state()
    })?;
    custody.lock().inbox_trimmed(acked);
    Ok(())
}
