//! A thread that encodes what it is handed. It may lose the processor at any point and for long, since it gives way to all others, so nobody
//! waits for it: between it and the clerk lies one [`Place`], whose lock it takes for moments and the clerk only tries; both wait by parking.
//! It knows nothing of the account and the logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Instant;

use federation_proto::codec::Encoder;
use federation_proto::identity::SpoolId;
use parking_lot::Mutex;

use super::{Bell, Packed, pack};
use crate::batcher::Closed;
use crate::custody::LogId;

/// A batch that somebody is to encode.
pub(super) struct Job {
    pub(super) closed: Closed,
    /// When it was handed out.
    pub(super) since: Instant,
}

/// What a worker is handed.
pub(super) struct Task {
    pub(super) job: Arc<Job>,
    pub(super) encoder: Box<Encoder>,
}

/// What it makes of it.
pub(super) struct Outcome {
    pub(super) encoder: Box<Encoder>,
    pub(super) packed: Packed,
}

/// How it stands with a worker.
enum Place {
    Free,
    Todo(Task),
    AtWork,
    Done(Outcome),
    /// The thread is gone.
    Ended,
}

struct Desk {
    place: Mutex<Place>,
    dismissed: AtomicBool,
}

/// What the clerk sees at a look.
pub(super) enum Look {
    Nothing,
    Done(Outcome),
    Ended,
}

/// The clerk's end. Dropped, it lets the thread end after what it is at.
pub(super) struct Worker {
    desk: Arc<Desk>,
    thread: Thread,
}

/// The worker's own end.
pub(super) struct Seat {
    desk: Arc<Desk>,
    bell: Arc<Bell>,
    ids: (LogId, SpoolId),
}

impl Seat {
    pub(super) fn new(bell: Arc<Bell>, ids: (LogId, SpoolId)) -> Self {
        let desk = Desk { place: Mutex::new(Place::Free), dismissed: AtomicBool::new(false) };
        Self { desk: Arc::new(desk), bell, ids }
    }

    /// The clerk's end, before [`Seat::run`] is given to its thread: [`Hand::of`] that thread.
    pub(super) fn hand(&self) -> Hand {
        Hand(Arc::clone(&self.desk))
    }

    /// Encodes until it is dismissed.
    pub(super) fn run(self) {
        while !self.desk.dismissed.load(Ordering::Acquire) {
            match self.next() {
                Some(task) => self.encode(task),
                None => std::thread::park(),
            }
        }
    }

    /// What it was handed.
    pub(super) fn next(&self) -> Option<Task> {
        let mut place = self.desk.place.lock();
        match std::mem::replace(&mut *place, Place::AtWork) {
            Place::Todo(task) => Some(task),
            other => {
                *place = other;
                None
            }
        }
    }

    pub(super) fn encode(&self, task: Task) {
        let Task { job, mut encoder } = task;
        let packed = pack(&mut encoder, &job.closed, self.ids.0, self.ids.1);
        // Before the result is there: the clerk is the last to hold the bodies.
        drop(job);
        *self.desk.place.lock() = Place::Done(Outcome { encoder, packed });
        self.bell.ring();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.desk.place.lock() = Place::Ended;
        self.bell.ring();
    }
}

/// The clerk's end of a worker whose thread does not run yet.
pub(super) struct Hand(Arc<Desk>);

impl Hand {
    /// Its thread runs.
    pub(super) fn of(self, thread: Thread) -> Worker {
        Worker { desk: self.0, thread }
    }
}

impl Worker {
    /// Hands it a task, or gives it back: it is not free, or at a moment of its own.
    pub(super) fn give(&self, task: Task) -> Result<(), Box<Task>> {
        let Some(mut place) = self.desk.place.try_lock() else { return Err(Box::new(task)) };
        if !matches!(*place, Place::Free) {
            return Err(Box::new(task));
        }
        *place = Place::Todo(task);
        drop(place);
        self.thread.unpark();
        Ok(())
    }

    /// What it has made, if anything.
    pub(super) fn look(&self) -> Look {
        let Some(mut place) = self.desk.place.try_lock() else { return Look::Nothing };
        match std::mem::replace(&mut *place, Place::Free) {
            Place::Done(outcome) => Look::Done(outcome),
            Place::Ended => {
                *place = Place::Ended;
                Look::Ended
            }
            other => {
                *place = other;
                Look::Nothing
            }
        }
    }

    /// Takes back what it has not begun.
    pub(super) fn take_back(&self) -> Option<Task> {
        let mut place = self.desk.place.try_lock()?;
        match std::mem::replace(&mut *place, Place::Free) {
            Place::Todo(task) => Some(task),
            other => {
                *place = other;
                None
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.desk.dismissed.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
