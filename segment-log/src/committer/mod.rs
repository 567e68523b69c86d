//! A thread that appends and syncs in groups: while one fsync runs, the next group gathers. Or, for a simulation, the same rounds done
//! by hand: [`Committer::by_hand`].
//!
//! `done` is called after the fsync, never before: what a caller tells the outside world from it is on disk. The log's lock is held to
//! append and to finish, not while the disk works; a *turn* lock is held from a group's first append to its last `done`, and a checkpoint
//! takes it, so that its state includes what every `done` so far did and nothing else.
//!
//! Bounds: `queue_bytes` of records waiting (meta, payload, 64 bytes each), and as much in the group that is being written.

mod hand;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use federation_proto::identity::Seq;
use parking_lot::{Mutex, MutexGuard};

use self::queue::{Done, Item, Queue};
use crate::error::{AppendError, CheckpointError};
use crate::log::Log;
use crate::mutation::{self, Mutation};

pub use self::hand::Hand;

/// The longest that a group may wait for company.
const MAX_WAIT: Duration = Duration::from_millis(2);

/// What bounds a committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitterOptions {
    /// Bytes of records that may wait; past it `AppendError::Busy`. One record is always taken when none waits.
    pub queue_bytes: u64,
    /// How long a group may wait for company before its fsync, at most 2 ms. Zero: groups form only while the fsync before them runs, which
    /// is right under load and gives the lowest latency without it.
    pub max_wait: Duration,
    /// Name of the thread.
    pub name: String,
}

impl Default for CommitterOptions {
    fn default() -> Self {
        Self { queue_bytes: 64 << 20, max_wait: Duration::ZERO, name: "segment-log".to_owned() }
    }
}

/// Counters since the start and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitterStats {
    /// Groups committed, each with one fsync.
    pub groups_total: u64,
    /// Records in them.
    pub records_total: u64,
    /// Records refused with `Busy`.
    pub busy_total: u64,
    /// Calls of `done` that panicked; the others were called all the same.
    pub panics_total: u64,
    /// Bytes waiting now.
    pub queued_bytes: u64,
}

/// A handle on a log and the thread that commits to it. The last handle dropped closes it as [`Committer::close`] does; the log, and its
/// directory's lock, go with it.
#[derive(Clone)]
pub struct Committer {
    thread: Arc<Thread>,
}

/// Joins when the last handle goes.
struct Thread {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
    /// There is no thread: rounds are done by hand.
    by_hand: bool,
}

struct Shared {
    log: Mutex<Log>,
    /// Held from a group's first append to its last `done`, and by a checkpoint.
    turn: Mutex<()>,
    queue: Queue,
    /// By hand: the group that was appended and is not synced.
    open: Mutex<Option<Vec<(Seq, Done)>>>,
    max_wait: Duration,
    groups_total: AtomicU64,
    records_total: AtomicU64,
    panics_total: AtomicU64,
}

impl Committer {
    /// Starts the thread. Should the system refuse one, every append answers `Closed`, and the reason is logged.
    #[must_use]
    pub fn start(log: Log, options: CommitterOptions) -> Self {
        let shared = Arc::new(Shared::new(log, &options));
        let worker = Arc::clone(&shared);
        let handle = std::thread::Builder::new().name(options.name).spawn(move || worker.run());
        let handle = handle.inspect_err(|error| tracing::error!(%error, "cannot start the committer's thread: nothing can be stored")).ok();
        if handle.is_none() {
            fail(shared.queue.close_and_drain(), &shared.panics_total);
        }
        Self { thread: Arc::new(Thread { shared, handle: Mutex::new(handle), by_hand: false }) }
    }

    /// Without a thread: [`Hand`] does its rounds. [`Committer::checkpoint`] and [`Committer::close`] do what waits themselves first, on
    /// the caller's thread.
    #[must_use]
    pub fn by_hand(log: Log, options: &CommitterOptions) -> (Self, Hand) {
        let shared = Arc::new(Shared::new(log, options));
        let hand = Hand::new(Arc::clone(&shared));
        (Self { thread: Arc::new(Thread { shared, handle: Mutex::new(None), by_hand: true }) }, hand)
    }

    /// Appends a record. `done` is called exactly once: after the fsync, from the committer's thread; or with `Busy` or `Closed` from the
    /// caller's, before this returns. It must be short, and must not call [`Committer::checkpoint`] or [`Committer::close`].
    pub fn append(&self, meta: Vec<u8>, payload: Bytes, done: impl FnOnce(Result<Seq, AppendError>) + Send + 'static) {
        let item = Item { meta, payload, done: Box::new(done) };
        if let Err((item, error)) = self.shared().queue.push(item) {
            (item.done)(Err(error));
        }
    }

    /// Runs something short on the log, under its lock: ack, read, pending. Groups are not held up by it but for its own time.
    pub fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        work(&mut self.shared().log.lock())
    }

    /// Takes a checkpoint between two groups: `state` runs when everything appended is synced and every `done` was called, and says what
    /// the checkpoint holds. Blocks the caller for two fsyncs at most; acks and reads go on meanwhile.
    ///
    /// # Errors
    /// As [`Log::checkpoint`].
    pub fn checkpoint(&self, state: impl FnOnce(&mut Log) -> Vec<u8> + Send) -> Result<(), CheckpointError> {
        let turn = self.shared().turn.lock();
        if self.thread.by_hand && !mutation::is(Mutation::CheckpointNewerThanItsData) {
            self.shared().finish_open();
        }
        let result = self.checkpoint_in_turn(state);
        MutexGuard::unlock_fair(turn);
        result
    }

    fn checkpoint_in_turn(&self, state: impl FnOnce(&mut Log) -> Vec<u8>) -> Result<(), CheckpointError> {
        let ticket = {
            let mut log = self.shared().log.lock();
            // Someone may have appended through `with`.
            if !mutation::is(Mutation::CheckpointNewerThanItsData) {
                log.sync()?;
            }
            let state = state(&mut log);
            log.begin_checkpoint(&state)?
        };
        let done = ticket.run();
        self.shared().log.lock().finish_sync(done)?;
        Ok(())
    }

    /// Commits what waits, ends the thread and joins it. Later appends answer `Closed`; [`Committer::with`] and [`Committer::checkpoint`]
    /// go on working.
    pub fn close(&self) {
        self.thread.close();
    }

    /// Does its thread still run? When not, and nobody closed it, it panicked or was never given: every append answers `Closed`.
    #[must_use]
    pub fn is_running(&self) -> bool {
        if self.thread.by_hand {
            return !self.shared().queue.is_closed();
        }
        self.thread.handle.lock().as_ref().is_some_and(|handle| !handle.is_finished())
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> CommitterStats {
        let shared = self.shared();
        CommitterStats {
            groups_total: shared.groups_total.load(Ordering::Relaxed),
            records_total: shared.records_total.load(Ordering::Relaxed),
            busy_total: shared.queue.busy_total(),
            panics_total: shared.panics_total.load(Ordering::Relaxed),
            queued_bytes: shared.queue.queued_bytes(),
        }
    }

    fn shared(&self) -> &Shared {
        &self.thread.shared
    }
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Thread {
    fn close(&self) {
        self.shared.queue.close();
        if self.by_hand {
            // A `done` that drops the last handle runs in a round, which does the rest.
            let Some(_turn) = self.shared.turn.try_lock() else { return };
            self.shared.finish_open();
            return self.shared.commit(self.shared.queue.take());
        }
        let mut handle = self.handle.lock();
        // A `done` that drops the last handle runs on the thread itself, which ends after it.
        if handle.as_ref().is_some_and(|handle| handle.thread().id() == std::thread::current().id()) {
            return;
        }
        if let Some(handle) = handle.take()
            && handle.join().is_err()
        {
            tracing::error!("the committer's thread panicked");
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.close();
    }
}

/// Should the thread end by a panic, nobody waits for it for ever.
struct CloseOnExit<'a>(&'a Shared);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        fail(self.0.queue.close_and_drain(), &self.0.panics_total);
    }
}

impl Shared {
    fn new(log: Log, options: &CommitterOptions) -> Self {
        Self {
            log: Mutex::new(log),
            turn: Mutex::new(()),
            queue: Queue::new(options.queue_bytes),
            open: Mutex::new(None),
            max_wait: options.max_wait.min(MAX_WAIT),
            groups_total: AtomicU64::new(0),
            records_total: AtomicU64::new(0),
            panics_total: AtomicU64::new(0),
        }
    }

    fn run(&self) {
        let _close = CloseOnExit(self);
        while self.queue.wait(self.max_wait) {
            let turn = self.turn.lock();
            self.commit(self.queue.take());
            MutexGuard::unlock_fair(turn);
        }
    }

    /// One round: appends a group, syncs it and tells everyone.
    fn commit(&self, group: Vec<Item>) {
        if !group.is_empty() {
            let waiting = self.append_group(group);
            self.sync_group(waiting);
        }
    }

    /// The first half of a round. Who is refused hears it here.
    fn append_group(&self, group: Vec<Item>) -> Waiting<'_> {
        let mut waiting = Waiting { dones: Vec::with_capacity(group.len()), panics_total: &self.panics_total };
        let mut refused = Vec::new();
        {
            let mut log = self.log.lock();
            for Item { meta, payload, done } in group {
                match log.append(&meta, &payload) {
                    Ok(seq) => waiting.dones.push((seq, done)),
                    Err(error) => refused.push((done, error)),
                }
            }
        }
        for (done, error) in refused {
            call(done, Err(error), &self.panics_total);
        }
        waiting
    }

    /// The second half: the fsync, without the log's lock, and then who waits for it.
    fn sync_group(&self, waiting: Waiting<'_>) {
        let ticket = self.log.lock().begin_sync();
        let result = match ticket.map(|ticket| ticket.run()) {
            Some(done) => self.log.lock().finish_sync(done).map(|_| ()),
            None => self.log.lock().sync().map(|_| ()),
        };
        self.groups_total.fetch_add(1, Ordering::Relaxed);
        self.records_total.fetch_add(waiting.dones.len() as u64, Ordering::Relaxed);
        waiting.tell(&result.map_err(AppendError::Sync));
    }
}

/// Who waits for the fsync. Dropped untold, by a panic, they hear `Closed`.
struct Waiting<'a> {
    dones: Vec<(Seq, Done)>,
    panics_total: &'a AtomicU64,
}

impl Waiting<'_> {
    fn tell(mut self, result: &Result<(), AppendError>) {
        for (seq, done) in std::mem::take(&mut self.dones) {
            call(done, result.clone().map(|()| seq), self.panics_total);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for (_, done) in std::mem::take(&mut self.dones) {
            call(done, Err(AppendError::Closed), self.panics_total);
        }
    }
}

fn fail(items: Vec<Item>, panics_total: &AtomicU64) {
    for item in items {
        call(item.done, Err(AppendError::Closed), panics_total);
    }
}

/// A panic in a `done` is its owner's bug: counted, logged, and no reason to leave the others without an answer.
fn call(done: Done, result: Result<Seq, AppendError>, panics_total: &AtomicU64) {
    if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
        panics_total.fetch_add(1, Ordering::Relaxed);
        tracing::error!("a callback of the committer panicked; its record's fate stands");
    }
}

#[cfg(test)]
mod tests;
