//! What a tier's consumer does next, decided: no journal is read here, nothing is written, time is an argument.
//!
//! [`Course::next`] says what to do, and the driver answers with the method of that name: `Recall` with [`Course::recalled`], and so on. One
//! thing is under way at a time; what fails is done again after a wait.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use federation_proto::ledger::{Ledger, Reason, TierTerms};
use segment_log::mutation::{self, Mutation};
use service::supervise::Panicked;

use super::MAX_PANICS;
use crate::journal::book::{Book, Plan, Planned};
use crate::tier::load::{Cut, Loaded};
use crate::tier::{Delivered, Pace, Unfinished, Unit, Write};

/// When the next unit is due.
#[derive(Debug, Default)]
pub struct Pacer {
    waiting_since: Option<Instant>,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing waits.
    Idle,
    /// Look again then at the latest.
    At(Instant),
    /// Write.
    Now,
}

impl Pacer {
    /// What to do with `plan`. A flush makes everything due.
    pub fn look(&mut self, now: Instant, plan: Option<&Plan>, pace: &Pace, flush: bool) -> Due {
        let Some(plan) = plan else {
            self.waiting_since = None;
            return Due::Idle;
        };
        let due = *self.waiting_since.get_or_insert(now) + pace.interval;
        if flush || plan.full || now >= due { Due::Now } else { Due::At(due) }
    }

    /// A unit was taken: what waits now has waited since `now`.
    pub fn taken(&mut self) {
        self.waiting_since = None;
    }
}

/// How long to wait after refusals: doubled each time, with jitter, and never less than the tier asks for.
#[derive(Debug, Default)]
pub struct Backoff {
    refusals: u32,
}

impl Backoff {
    pub(super) const FIRST: Duration = Duration::from_millis(500);
    pub(super) const MOST: Duration = Duration::from_secs(30);

    /// The wait after one more refusal; `random` in 0..1 spreads it over a quarter.
    pub fn next_wait(&mut self, at_least: Duration, random: f64) -> Duration {
        let doubled = Self::FIRST.saturating_mul(1 << self.refusals.min(10)).min(Self::MOST);
        self.refusals = self.refusals.saturating_add(1);
        doubled.mul_f64(1.0 + random.clamp(0.0, 1.0) / 4.0).max(at_least)
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.refusals = 0;
    }
}

/// What to do now.
#[derive(Debug)]
pub enum Act {
    /// Ask the tier what a crash interrupted, seen from this cursor.
    Recall(u64),
    /// Read and decode the records of a plan.
    Load(Arc<Plan>, Cut),
    /// Have the tier write a unit.
    Write(Arc<Unit>),
    /// Keep the batches of a unit at which the tier panics for a person; then ask again.
    PutAside(Arc<Unit>),
    /// Move the cursor to behind the range, durably.
    Settle(RangeInclusive<u64>, Arc<Ledger<TierTerms>>),
    /// Nothing before then, unless a flush is requested or something arrives.
    Wait(Instant),
    /// Nothing until something arrives or a flush is requested.
    Idle,
    /// The end.
    Stop,
}

/// What is under way.
enum State {
    Recalling,
    Looking,
    Loading(Arc<Plan>, Cut),
    Writing { loaded: Loaded, panics: u32, since: Option<Instant> },
    PuttingAside { loaded: Loaded },
    Settling { range: RangeInclusive<u64>, outcome: Arc<Ledger<TierTerms>>, then: Box<State> },
    Stopped,
}

/// See the module.
pub struct Course {
    tier: usize,
    state: State,
    backoff: Backoff,
    pacer: Pacer,
    retry_at: Option<Instant>,
}

impl Course {
    /// That of the tier with this index in the book.
    #[must_use]
    pub fn new(tier: usize) -> Self {
        Self { tier, state: State::Recalling, backoff: Backoff::default(), pacer: Pacer::default(), retry_at: None }
    }

    /// What to do now. A flush makes everything due, and ends it when nothing waits or the tier refuses.
    pub fn next(&mut self, now: Instant, book: &Book, pace: &Pace, flush: bool) -> Act {
        match self.retry_at {
            Some(at) if now < at && !flush => return Act::Wait(at),
            _ => self.retry_at = None,
        }
        if matches!(self.state, State::Looking) {
            let plan = book.plan(self.tier, pace.limits);
            match (self.pacer.look(now, plan.as_ref(), pace, flush), plan) {
                (Due::Now, Some(plan)) => {
                    self.pacer.taken();
                    self.state = State::Loading(Arc::new(plan), Cut::BehindHeavy);
                }
                (Due::At(due), _) => return Act::Wait(due),
                (Due::Idle | Due::Now, _) if flush => self.state = State::Stopped,
                (Due::Idle | Due::Now, _) => return Act::Idle,
            }
        }
        match &mut self.state {
            State::Recalling => Act::Recall(book.cursor(self.tier).map_or(0, |cursor| cursor.0)),
            State::Loading(plan, cut) => Act::Load(Arc::clone(plan), *cut),
            State::Writing { loaded, since, .. } => {
                since.get_or_insert(now);
                Act::Write(Arc::clone(&loaded.unit))
            }
            State::PuttingAside { loaded } => Act::PutAside(Arc::clone(&loaded.unit)),
            State::Settling { range, outcome, .. } => Act::Settle(range.clone(), Arc::clone(outcome)),
            State::Looking | State::Stopped => Act::Stop,
        }
    }

    /// What a crash interrupted comes first, as exactly the unit it was.
    pub fn recalled(&mut self, book: &Book, unfinished: Unfinished) {
        let cursor = book.cursor(self.tier).map_or(0, |cursor| cursor.0);
        let unfinished = within_the_journal(book, unfinished);
        let redo = match unfinished.redo {
            None => State::Looking,
            Some(range) => State::Loading(Arc::new(book.plan_range(range)), Cut::Never),
        };
        self.state = match unfinished.delivered_below {
            None => redo,
            Some(below) => {
                tracing::warn!(
                    tier = self.tier,
                    cursor,
                    below,
                    "the journal's checkpoint is older than the tier's manifest: what it delivered is not written again"
                );
                let plan = book.plan_range(cursor..=below.saturating_sub(1));
                let outcome = headers_as(&plan.batches, |terms, rows| terms.delivered += rows);
                State::Settling { range: plan.range, outcome: Arc::new(outcome), then: Box::new(redo) }
            }
        };
    }

    /// The unit is in memory.
    pub fn loaded(&mut self, loaded: Loaded) {
        let writing = |loaded| State::Writing { loaded, panics: 0, since: None };
        self.state = match std::mem::replace(&mut self.state, State::Looking) {
            State::Loading(plan, _) if mutation::is(Mutation::CursorBeforeConfirmation) => {
                let outcome = headers_as(&plan.batches, |terms, rows| terms.delivered += rows);
                State::Settling { range: plan.range.clone(), outcome: Arc::new(outcome), then: Box::new(writing(loaded)) }
            }
            _ => writing(loaded),
        };
    }

    /// What became of the write. Gives what there is to count, and how long it took.
    ///
    /// # Errors
    /// It is to be tried again: say so to [`Course::failed`].
    pub fn wrote(
        &mut self,
        now: Instant,
        written: Result<Result<Delivered, Write>, Panicked>,
    ) -> Result<Option<(Delivered, Duration)>, Write> {
        let State::Writing { loaded, panics, .. } = &mut self.state else { return Ok(None) };
        let outcome = match written {
            Ok(Ok(delivered)) => delivered,
            Ok(Err(Write::Reject { reason, why })) => {
                tracing::error!(tier = self.tier, unit = loaded.unit.name(), why, "a unit was refused for good");
                rejected(&loaded.unit, reason)
            }
            Ok(Err(error)) => return Err(error),
            Err(panic) => {
                *panics += 1;
                if *panics < MAX_PANICS {
                    return Err(Write::Retry { after: Duration::ZERO, why: panic.to_string() });
                }
                if let State::Writing { loaded, .. } = std::mem::replace(&mut self.state, State::Looking) {
                    self.state = State::PuttingAside { loaded };
                }
                return Ok(None);
            }
        };
        Ok(Some(self.confirmed(now, outcome)))
    }

    /// The unit at which the tier panics is kept for a person, or cannot be.
    pub fn put_aside(&mut self, now: Instant) -> Option<(Delivered, Duration)> {
        let State::PuttingAside { loaded } = &self.state else { return None };
        let outcome = rejected(&loaded.unit, Reason::Unwritable);
        Some(self.confirmed(now, outcome))
    }

    fn confirmed(&mut self, now: Instant, mut outcome: Delivered) -> (Delivered, Duration) {
        let (loaded, since) = match std::mem::replace(&mut self.state, State::Looking) {
            State::Writing { loaded, since, .. } => (loaded, since),
            State::PuttingAside { loaded } => (loaded, None),
            _ => return (outcome, Duration::ZERO),
        };
        outcome.add(&loaded.outcome);
        self.backoff.reset();
        if !mutation::is(Mutation::CursorBeforeConfirmation) {
            let then = Box::new(State::Looking);
            self.state = State::Settling { range: loaded.unit.range.clone(), outcome: Arc::new(outcome.clone()), then };
        }
        (outcome, since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)))
    }

    /// The cursor has moved.
    pub fn settled(&mut self) {
        if let State::Settling { then, .. } = std::mem::replace(&mut self.state, State::Looking) {
            self.state = *then;
        }
        self.backoff.reset();
    }

    /// What was to be done could not be: again, after the wait that this gives. During a flush there is no again: what waits stays on the
    /// journal for the next start. `random` in 0..1 spreads the waits.
    pub fn failed(&mut self, now: Instant, error: &Write, random: f64, flush: bool) -> Duration {
        let after = match error {
            Write::Retry { after, .. } => *after,
            Write::Reject { .. } => Duration::ZERO,
        };
        let wait = self.backoff.next_wait(after, random);
        if flush {
            self.state = State::Stopped;
        } else {
            self.retry_at = Some(now + wait);
        }
        wait
    }

    /// The end, whatever is under way.
    pub fn stop(&mut self) {
        self.state = State::Stopped;
    }
}

/// A journal that was put back to an older copy knows less than its tier: what the tier says about records that are not there (yet)
/// is not about the records that will have these numbers.
fn within_the_journal(book: &Book, unfinished: Unfinished) -> Unfinished {
    let applied = book.applied().0;
    let ahead = unfinished.redo.as_ref().is_some_and(|redo| *redo.end() >= applied);
    if !ahead && unfinished.delivered_below.is_none_or(|below| below <= applied) {
        return unfinished;
    }
    tracing::error!(
        applied,
        ?unfinished,
        "the tier remembers records that this journal never had: was its directory put back from a copy?"
    );
    Unfinished::default()
}

fn rejected(unit: &Unit, reason: Reason) -> Delivered {
    let mut outcome = Delivered::default();
    for batch in &unit.batches {
        *outcome.account(&batch.tenant, batch.signal).rejected.entry(reason).or_default() += batch.columns.rows() as u64;
    }
    outcome
}

fn headers_as(batches: &[Planned], count: impl Fn(&mut TierTerms, u64)) -> Ledger<TierTerms> {
    let mut outcome = Ledger::default();
    for planned in batches {
        count(outcome.account(&planned.tenant, planned.signal), planned.rows);
    }
    outcome
}
