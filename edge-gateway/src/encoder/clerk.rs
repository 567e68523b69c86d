//! Who hands batches to workers and takes what they made of them to the spool. It encodes nothing itself while there is a relief worker, so
//! that a worker that is done gets its next batch at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::worker::{Job, Look, Outcome, Task, Worker};
use crate::batcher::Closed;
use crate::clock;

/// Batches waiting from which on the relief worker encodes too: receivers that use up every core must not starve the others until memory
/// is full.
const RELIEF_FROM: usize = 3;
/// A worker that has had a batch for so long does not get the processor: nobody waits for it.
pub(super) const LATE: Duration = Duration::from_millis(500);

/// A worker and what it has in hand.
struct Station {
    worker: Worker,
    job: Option<Arc<Job>>,
    /// Another does the job in hand: what comes of it here is thrown away.
    given_up: bool,
    ended: bool,
}

impl Station {
    fn of(worker: Worker) -> Self {
        Self { worker, job: None, given_up: false, ended: false }
    }

    fn is_free(&self) -> bool {
        self.job.is_none() && !self.ended
    }

    /// When it will have had its batch for too long.
    fn late_at(&self) -> Option<Instant> {
        self.job.as_ref().map(|job| job.since + LATE)
    }

    /// Does it not get the processor?
    fn is_late(&self, now: Instant) -> bool {
        self.ended || self.late_at().is_some_and(|late| late <= now)
    }
}

pub(super) struct Clerk {
    shared: Arc<Shared>,
    stations: Vec<Station>,
    /// Of normal priority, for what the others do not get to.
    relief: Station,
    /// Given up elsewhere: at most one for each station.
    wanting: VecDeque<Arc<Job>>,
}

impl Clerk {
    pub(super) fn new(shared: Arc<Shared>, workers: Vec<Worker>, relief: Worker) -> Self {
        let stations = workers.into_iter().map(Station::of).collect();
        Self { shared, stations, relief: Station::of(relief), wanting: VecDeque::new() }
    }

    /// Works until the pool is closed.
    pub(super) fn run(mut self) {
        // Before the first look, so that nothing that comes after it goes unheard.
        self.shared.bell.is_mine();
        while !self.shared.work.lock().closed {
            self.collect();
            let now = clock::now();
            self.give_up_late(now);
            self.hand_out(now);
            self.relieve(now);
            let unsettled = self.stations.iter().filter(|station| !station.given_up);
            match unsettled.filter_map(Station::late_at).min() {
                Some(late) => std::thread::park_timeout(late.saturating_duration_since(clock::now())),
                None => std::thread::park(),
            }
        }
    }

    /// What workers are done with.
    fn collect(&mut self) {
        for station in self.stations.iter_mut().chain([&mut self.relief]) {
            match station.worker.look() {
                Look::Nothing => {}
                Look::Done(Outcome { encoder, packed }) => {
                    let (job, given_up) = (station.job.take(), std::mem::take(&mut station.given_up));
                    let Some(job) = job else { continue };
                    self.shared.keep_encoder(&job.closed.key, *encoder);
                    if given_up {
                        metrics::counter!("tributary_edge_encoded_twice_total").increment(1);
                    } else {
                        self.shared.store(&job.closed.key, packed);
                    }
                }
                Look::Ended => {
                    station.ended = true;
                    let job = station.job.take().filter(|_| !station.given_up);
                    self.wanting.extend(job);
                }
            }
        }
    }

    fn give_up_late(&mut self, now: Instant) {
        for station in self.stations.iter_mut().filter(|station| !station.given_up && station.late_at().is_some_and(|late| late <= now)) {
            self.wanting.extend(station.job.clone());
            match station.worker.take_back() {
                Some(Task { job, encoder }) => {
                    self.shared.keep_encoder(&job.closed.key, *encoder);
                    station.job = None;
                }
                None => station.given_up = true,
            }
        }
    }

    /// As many batches as workers are free.
    fn hand_out(&mut self, now: Instant) {
        for station in self.stations.iter_mut().filter(|station| station.is_free()) {
            let Some(job) = next(&self.shared, 1, now) else { return };
            if !give(&self.shared, station, &job) {
                self.wanting.push_back(job);
            }
        }
    }

    /// What is wanted from elsewhere, or one of too many that wait.
    fn relieve(&mut self, now: Instant) {
        while self.relief.is_free() || self.relief.ended {
            let least = if self.stations.iter().all(|station| station.is_late(now)) { 1 } else { RELIEF_FROM };
            let Some(job) = self.wanting.pop_front().or_else(|| next(&self.shared, least, now)) else { return };
            if !give(&self.shared, &mut self.relief, &job) {
                self.shared.work_on(&job.closed);
            }
        }
    }
}

/// The next batch that is worth its encoding, if so many wait.
fn next(shared: &Shared, least: usize, now: Instant) -> Option<Arc<Job>> {
    loop {
        let closed: Closed = shared.work.lock().next(least)?;
        if !shared.lets_go(&closed) {
            return Some(Arc::new(Job { closed, since: now }));
        }
    }
}

fn give(shared: &Shared, station: &mut Station, job: &Arc<Job>) -> bool {
    let encoder = Box::new(shared.take_encoder(&job.closed.key));
    let given = station.worker.give(Task { job: Arc::clone(job), encoder });
    match given {
        Ok(()) => station.job = Some(Arc::clone(job)),
        Err(task) => shared.keep_encoder(&job.closed.key, *task.encoder),
    }
    station.job.is_some()
}
