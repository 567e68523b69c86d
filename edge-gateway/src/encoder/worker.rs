//! A thread that encodes what it is handed. It may lose the processor at any point and for long, since it gives way to all others, so it
//! holds nothing meanwhile that anybody waits for: it is handed batches, and hands results back, through queues that are never full and
//! that nobody waits at; both sides wait by parking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::Thread;
use std::time::Instant;

use federation_proto::codec::Encoder;

use super::clerk::DEPTH;
use super::{Packed, Shared};
use crate::batcher::Closed;

/// A batch in a worker's hands.
pub(super) struct Job {
    pub(super) closed: Closed,
    /// When it was handed out.
    pub(super) since: Instant,
    /// The clerk has encoded it itself: what the worker makes of it is not wanted. Set by the clerk alone.
    pub(super) settled: AtomicBool,
}

impl Job {
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }
}

/// What a worker is handed.
pub(super) struct Task {
    pub(super) job: Arc<Job>,
    pub(super) encoder: Box<Encoder>,
}

/// What comes back; nothing packed when it was settled before the worker began.
pub(super) struct Done {
    pub(super) worker: usize,
    pub(super) job: Arc<Job>,
    pub(super) encoder: Box<Encoder>,
    pub(super) packed: Option<Packed>,
}

/// The clerk's end of the queue to a worker whose thread does not run yet.
pub(super) struct Hand {
    number: usize,
    tasks: SyncSender<Task>,
}

/// The clerk's end of a worker.
pub(super) struct Worker {
    number: usize,
    tasks: SyncSender<Task>,
    thread: Thread,
}

/// The worker's own end.
pub(super) struct Work {
    number: usize,
    tasks: Receiver<Task>,
    results: SyncSender<Done>,
    shared: Arc<Shared>,
}

/// The queue of results of so many workers.
pub(super) fn results(workers: usize) -> (SyncSender<Done>, Receiver<Done>) {
    sync_channel(workers * DEPTH)
}

/// Both ends of one worker.
pub(super) fn pair(number: usize, results: SyncSender<Done>, shared: Arc<Shared>) -> (Hand, Work) {
    let (sender, tasks) = sync_channel(DEPTH);
    (Hand { number, tasks: sender }, Work { number, tasks, results, shared })
}

impl Hand {
    /// Its thread runs.
    pub(super) fn of(self, thread: Thread) -> Worker {
        Worker { number: self.number, tasks: self.tasks, thread }
    }
}

impl Worker {
    /// Its results bear it.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Hands it a task, or gives it back: the worker has ended.
    pub(super) fn give(&self, task: Task) -> Result<(), Task> {
        self.tasks.try_send(task).map_err(|error| match error {
            TrySendError::Full(task) | TrySendError::Disconnected(task) => task,
        })?;
        self.thread.unpark();
        Ok(())
    }

    /// Lets it end when it has done what it was handed.
    pub(super) fn dismiss(self) {
        drop(self.tasks);
        self.thread.unpark();
    }
}

impl Work {
    pub(super) fn run(self) {
        loop {
            match self.tasks.try_recv() {
                Ok(task) => self.encode(task),
                Err(TryRecvError::Empty) => std::thread::park(),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn encode(&self, task: Task) {
        let Task { job, mut encoder } = task;
        let packed = (!job.is_settled()).then(|| self.shared.pack(&mut encoder, &job.closed));
        self.give_back(Done { worker: self.number, job, encoder, packed });
    }

    /// Its place in the queue was kept for it; nobody is there when the edge stops.
    pub(super) fn give_back(&self, done: Done) {
        let _ = self.results.try_send(done);
        self.shared.ring();
    }

    /// What it would do next.
    #[cfg(test)]
    pub(super) fn next(&self) -> Option<Task> {
        self.tasks.try_recv().ok()
    }
}
