//! Who hands batches to workers and takes what they made of them to the spool; and encodes when workers cannot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Shared;
use super::worker::{Done, Job, Task, Worker};
use crate::clock;

/// Batches in a worker's hands: one at work, and one that it finds when it is done.
pub(super) const DEPTH: usize = 2;
/// Batches waiting that no worker has room for from which on the clerk encodes too: receivers that use up every core must not starve the
/// workers until memory is full.
const RELIEF_FROM: usize = 2;
/// A worker that has had a batch for so long does not get the processor: the clerk does not wait for it.
pub(super) const LATE: Duration = Duration::from_millis(500);

/// A worker and what it has in hand, oldest first.
struct Station {
    worker: Worker,
    in_hand: VecDeque<Arc<Job>>,
}

impl Station {
    /// Has it had a batch for too long, done by the clerk since or not?
    fn is_late(&self, now: Instant) -> bool {
        self.in_hand.front().is_some_and(|job| job.since + LATE <= now)
    }

    fn takes(&self, now: Instant) -> bool {
        self.in_hand.len() < DEPTH && !self.is_late(now)
    }
}

pub(super) struct Clerk {
    shared: Arc<Shared>,
    stations: Vec<Station>,
    results: Receiver<Done>,
}

impl Clerk {
    pub(super) fn new(shared: Arc<Shared>, workers: Vec<Worker>, results: Receiver<Done>) -> Self {
        let stations = workers.into_iter().map(|worker| Station { worker, in_hand: VecDeque::with_capacity(DEPTH) }).collect();
        Self { shared, stations, results }
    }

    /// Works until the pool is closed.
    pub(super) fn run(mut self) {
        // Before the first look, so that nothing that comes after it goes unheard.
        let _ = self.shared.clerk.set(std::thread::current());
        while !self.shared.work.lock().closed {
            while let Ok(done) = self.results.try_recv() {
                self.take_back(done);
            }
            let now = clock::now();
            self.hand_out(now);
            if !self.helps(now) {
                match self.next_late() {
                    Some(late) => std::thread::park_timeout(late.saturating_duration_since(clock::now())),
                    None => std::thread::park(),
                }
            }
        }
        for station in self.stations {
            station.worker.dismiss();
        }
    }

    fn take_back(&mut self, done: Done) {
        let Done { worker, job, encoder, packed } = done;
        if let Some(station) = self.stations.iter_mut().find(|station| station.worker.number() == worker) {
            station.in_hand.retain(|held| !Arc::ptr_eq(held, &job));
        }
        self.shared.keep_encoder(&job.closed.key, *encoder);
        match packed {
            Some(packed) if !job.is_settled() => self.shared.store(&job.closed.key, packed),
            Some(_) => metrics::counter!("tributary_edge_encoded_twice_total").increment(1),
            None => {}
        }
    }

    /// As many batches as workers have room for: the emptiest first.
    fn hand_out(&mut self, now: Instant) {
        while let Some(at) = self.emptiest(now) {
            let Some(closed) = self.shared.work.lock().next(1) else { return };
            if self.shared.lets_go(&closed) {
                continue;
            }
            let encoder = Box::new(self.shared.take_encoder(&closed.key));
            let job = Arc::new(Job { closed, since: now, settled: AtomicBool::new(false) });
            let Some(station) = self.stations.get_mut(at) else { return };
            if station.worker.give(Task { job: Arc::clone(&job), encoder }).is_err() {
                tracing::error!("an encoder thread has ended; the clerk does its work");
                self.stations.remove(at).in_hand.iter().for_each(|held| self.do_instead(held));
                return self.do_instead(&job);
            }
            station.in_hand.push_back(job);
        }
    }

    fn emptiest(&self, now: Instant) -> Option<usize> {
        let with_room = self.stations.iter().enumerate().filter(|(_, station)| station.takes(now));
        with_room.min_by_key(|(_, station)| station.in_hand.len()).map(|(at, _)| at)
    }

    /// Encodes one batch, if workers do not get to it.
    fn helps(&mut self, now: Instant) -> bool {
        let late = self.unsettled().find(|job| job.since + LATE <= now).map(Arc::clone);
        if let Some(job) = late {
            self.do_instead(&job);
            return true;
        }
        let least = if self.stations.iter().all(|station| station.is_late(now)) { 1 } else { RELIEF_FROM };
        let next = self.shared.work.lock().next(least);
        next.inspect(|closed| self.shared.work_on(closed)).is_some()
    }

    /// Encodes what a worker has in hand.
    fn do_instead(&self, job: &Job) {
        if job.is_settled() {
            return;
        }
        job.settled.store(true, Ordering::Relaxed);
        self.shared.work_on(&job.closed);
    }

    fn unsettled(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.stations.iter().flat_map(|station| &station.in_hand).filter(|job| !job.is_settled())
    }

    /// When a worker will have had a batch for too long.
    fn next_late(&self) -> Option<Instant> {
        self.unsettled().map(|job| job.since + LATE).min()
    }
}
