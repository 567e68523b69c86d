//! One tier's reader of the journal: takes runs of records from its cursor, decodes them, has the tier write them, moves the cursor.
//!
//! What decides is apart: [`Pacer`] when a unit is due, [`Backoff`] how long to wait after a refusal. The loop around them reads,
//! decodes on a blocking thread, and never gives up: a tier that is down keeps its cursor and its records stay on the journal.
//!
//! A record that is damaged or does not decode is counted, put aside, and passed over. So is a unit whose write panics
//! [`MAX_PANICS`] times: what panics once may be a state of the tier, what panics each time is a fault that the unit meets.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use federation_proto::identity::Seq;
use federation_proto::ledger::{Ledger, Reason, TierTerms};
use service::admin::Readiness;
use service::shutdown::Shutdown;

use super::load::{Cut, Loaded, load};
use super::{Delivered, Pace, Tier, Unfinished, Unit, Write};
use crate::journal::Journal;
use crate::journal::book::{Plan, Planned};
use crate::quarantine::Quarantine;
use crate::supervise::{self, survive};

/// Panics of the tier while it writes one unit, after which the unit is put aside.
pub const MAX_PANICS: u32 = 3;
/// How often a unit that grows is looked at.
const LOOK: Duration = Duration::from_millis(50);

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
    const FIRST: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(30);

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

/// See the module.
pub struct Consumer {
    /// The tier's index in the book.
    pub index: usize,
    /// The tier's name.
    pub name: String,
    /// The tier.
    pub tier: Box<dyn Tier>,
    /// What it reads.
    pub journal: Journal,
    /// Where what does not decode is put.
    pub quarantine: Arc<Quarantine>,
    /// Where it says whether it moves.
    pub readiness: Readiness,
    /// When requested, what waits is written at once and the consumer ends.
    pub flush: Shutdown,
}

impl Consumer {
    /// Runs until a flush is requested and nothing waits, or the tier refuses during the flush.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut pacer = Pacer::default();
        let mut arrivals = self.journal.arrivals();
        if !self.finish_what_was_begun(&mut backoff).await {
            return;
        }
        loop {
            arrivals.mark_unchanged();
            let flush = self.flush.is_requested();
            let pace = self.tier.pace();
            let plan = self.journal.book().plan(self.index, pace.limits);
            match (pacer.look(now(), plan.as_ref(), &pace, flush), plan) {
                (Due::Now, Some(plan)) => {
                    pacer.taken();
                    if !self.deliver(plan, Cut::BehindHeavy, &mut backoff).await {
                        return;
                    }
                }
                (Due::At(due), _) => self.sleep(due.saturating_duration_since(now()).min(LOOK)).await,
                (Due::Idle | Due::Now, _) => {
                    self.moves(Ok(()));
                    if flush {
                        return;
                    }
                    tokio::select! {
                        _ = arrivals.changed() => {}
                        () = self.flush.requested() => {}
                    }
                }
            }
        }
    }

    /// Waits, but not beyond the request to flush.
    async fn sleep(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.flush.requested() => {}
        }
    }

    fn moves(&self, state: Result<(), &str>) {
        self.readiness.set(&format!("tier_{}", self.name), state);
    }

    /// What a crash interrupted comes first, as exactly the unit it was. False: stop.
    async fn finish_what_was_begun(&mut self, backoff: &mut Backoff) -> bool {
        let cursor = self.journal.book().cursor(self.index).map_or(0, |cursor| cursor.0);
        let unfinished = loop {
            match self.tier.unfinished(cursor) {
                Ok(unfinished) => break unfinished,
                Err(error) => {
                    if !self.wait_after(backoff, &error).await {
                        return false;
                    }
                }
            }
        };
        let unfinished = self.within_the_journal(unfinished);
        if let Some(below) = unfinished.delivered_below {
            tracing::warn!(
                tier = self.name,
                cursor,
                below,
                "the journal's checkpoint is older than the tier's manifest: what it delivered is not written again"
            );
            let plan = self.journal.book().plan_range(cursor..=below.saturating_sub(1));
            let outcome = headers_as(&plan.batches, |terms, rows| terms.delivered += rows);
            if !self.settle(&plan.range, outcome, backoff).await {
                return false;
            }
        }
        match unfinished.redo {
            None => true,
            Some(range) => {
                let plan = self.journal.book().plan_range(range);
                self.deliver(plan, Cut::Never, backoff).await
            }
        }
    }

    /// A journal that was put back to an older copy knows less than its tier: what the tier says about records that are not there (yet)
    /// is not about the records that will have these numbers.
    fn within_the_journal(&self, unfinished: Unfinished) -> Unfinished {
        let applied = self.journal.book().applied().0;
        let ahead = unfinished.redo.as_ref().is_some_and(|redo| *redo.end() >= applied);
        if !ahead && unfinished.delivered_below.is_none_or(|below| below <= applied) {
            return unfinished;
        }
        tracing::error!(
            tier = self.name,
            applied,
            ?unfinished,
            "the tier remembers records that this journal never had: was its directory put back from a copy?"
        );
        Unfinished::default()
    }

    /// Writes a unit, however long it takes, and moves the cursor. False: stop.
    async fn deliver(&mut self, plan: Plan, cut: Cut, backoff: &mut Backoff) -> bool {
        let Some(loaded) = self.load(plan, cut, backoff).await else { return false };
        let started = now();
        let Some(mut outcome) = self.write(&loaded.unit, backoff).await else { return false };
        outcome.add(&loaded.outcome);
        backoff.reset();
        let tier = || self.name.clone();
        metrics::histogram!("tributary_router_tier_write_seconds", "tier" => tier())
            .record(now().saturating_duration_since(started).as_secs_f64());
        for (_, signal, terms) in outcome.iter() {
            metrics::counter!("tributary_router_tier_rows_total", "tier" => tier(), "signal" => signal.as_str()).increment(terms.delivered);
            for (reason, &rows) in &terms.rejected {
                metrics::counter!("tributary_router_rejected_rows_total", "tier" => tier(), "reason" => reason.as_str()).increment(rows);
            }
        }
        self.settle(&loaded.unit.range, outcome, backoff).await
    }

    /// Has the tier write a unit, however long it takes, and says what became of it. `None`: stop.
    async fn write(&mut self, unit: &Arc<Unit>, backoff: &mut Backoff) -> Option<Delivered> {
        let mut panics = 0;
        loop {
            let error = match survive(self.tier.write(Arc::clone(unit))).await {
                Ok(Ok(delivered)) => return Some(delivered),
                Ok(Err(Write::Reject { reason, why })) => {
                    tracing::error!(tier = self.name, unit = unit.name(), why, "a unit was refused for good");
                    return Some(rejected(unit, reason));
                }
                Ok(Err(error)) => error,
                Err(panic) => {
                    supervise::count(&format!("tier_{}_write", self.name), &panic);
                    panics += 1;
                    if panics >= MAX_PANICS {
                        self.put_aside(unit).await;
                        return Some(rejected(unit, Reason::Unwritable));
                    }
                    Write::Retry { after: Duration::ZERO, why: panic.to_string() }
                }
            };
            if !self.wait_after(backoff, &error).await {
                return None;
            }
        }
    }

    /// Keeps the batches of a unit that cannot be written for a person.
    async fn put_aside(&self, unit: &Arc<Unit>) {
        let (journal, quarantine, kept) = (self.journal.clone(), Arc::clone(&self.quarantine), Arc::clone(unit));
        let keep = move || {
            let keep = |seq: u64| {
                let record = journal.read(Seq(seq)).map_err(|error| error.to_string())?;
                quarantine.keep(journal.id(), seq, &record.meta, &record.payload).map_err(|error| error.to_string())
            };
            kept.batches.iter().map(|batch| keep(batch.seq)).collect::<Result<Vec<_>, String>>()
        };
        let tier = &self.name;
        match tokio::task::spawn_blocking(keep).await {
            Ok(Ok(_)) => tracing::error!(tier, unit = unit.name(), "a unit that cannot be written is in the quarantine"),
            Ok(Err(why)) => tracing::error!(tier, unit = unit.name(), why, "a unit that cannot be written is not all in the quarantine"),
            Err(error) => tracing::error!(tier, unit = unit.name(), %error, "a unit that cannot be written is not in the quarantine"),
        }
    }

    /// Moves the cursor, durably. False: stop.
    async fn settle(&self, range: &RangeInclusive<u64>, outcome: Ledger<TierTerms>, backoff: &mut Backoff) -> bool {
        let outcome = Arc::new(outcome);
        loop {
            let (journal, outcome, index, last) = (self.journal.clone(), Arc::clone(&outcome), self.index, Seq(*range.end()));
            let settled = tokio::task::spawn_blocking(move || journal.settle(index, last, &outcome)).await;
            let why = match settled {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            let error = Write::Retry { after: Duration::ZERO, why: format!("the cursor could not be moved: {why}") };
            if !self.wait_after(backoff, &error).await {
                return false;
            }
        }
        backoff.reset();
        self.moves(Ok(()));
        true
    }

    /// Waits as the refusal asks. False when a flush was requested: then the records stay on the journal for the next start.
    async fn wait_after(&self, backoff: &mut Backoff, error: &Write) -> bool {
        let after = match error {
            Write::Retry { after, .. } => *after,
            Write::Reject { .. } => Duration::ZERO,
        };
        let wait = backoff.next_wait(after, random());
        self.moves(Err(&error.to_string()));
        metrics::counter!("tributary_router_tier_retries_total", "tier" => self.name.clone()).increment(1);
        tracing::warn!(tier = self.name, %error, ?wait, "waiting");
        if self.flush.is_requested() {
            return false;
        }
        self.sleep(wait).await;
        true
    }

    /// Reads and decodes a unit on a blocking thread; `None` when a flush was requested or the runtime is going down.
    async fn load(&self, plan: Plan, cut: Cut, backoff: &mut Backoff) -> Option<Loaded> {
        let plan = Arc::new(plan);
        loop {
            let (journal, quarantine, plan) = (self.journal.clone(), Arc::clone(&self.quarantine), Arc::clone(&plan));
            let why = match tokio::task::spawn_blocking(move || load(&journal, &quarantine, &plan, cut)).await {
                Ok(Ok(loaded)) => return Some(loaded),
                Ok(Err(error)) => error.to_string(),
                Err(error) if error.is_cancelled() => return None,
                Err(error) => error.to_string(),
            };
            let error = Write::Retry { after: Duration::ZERO, why: format!("the journal cannot be read: {why}") };
            if !self.wait_after(backoff, &error).await {
                return None;
            }
        }
    }
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

/// Driver: reads the runtime's clock for the pacer.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// In 0..1. Jitter needs no more than that tiers do not march in step.
fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0u8) >> 11) as f64 / (1u64 << 53) as f64
}

/// Declares this module's metrics.
pub fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_histogram};
    describe_histogram!(
        "tributary_router_tier_write_seconds",
        Unit::Seconds,
        "Time from a decoded unit to the tier's confirmation, retries included, by tier"
    );
    describe_counter!("tributary_router_tier_rows_total", Unit::Count, "Rows that a tier confirmed, by tier and signal");
    describe_counter!("tributary_router_tier_retries_total", Unit::Count, "Writes that a tier refused and that are tried again, by tier");
    describe_counter!("tributary_router_rejected_rows_total", Unit::Count, "Rows that a tier refused for good, by tier and reason");
    describe_counter!("tributary_router_dropped_rows_total", Unit::Count, "Rows that could not be offered to a tier, by reason");
}

#[cfg(test)]
mod tests;
