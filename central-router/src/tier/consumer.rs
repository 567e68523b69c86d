//! One tier's reader of the journal: takes runs of records from its cursor, decodes them, has the tier write them, moves the cursor.
//!
//! What decides is apart, in [`course`]: what is next, when a unit is due, how long to wait after a refusal. The loop around it reads,
//! decodes on a blocking thread, and never gives up: a tier that is down keeps its cursor and its records stay on the journal.
//!
//! A record that is damaged or does not decode is counted, put aside, and passed over. So is a unit whose write panics
//! [`MAX_PANICS`] times: what panics once may be a state of the tier, what panics each time is a fault that the unit meets.

pub mod course;

use std::sync::Arc;
use std::time::{Duration, Instant};

use federation_proto::identity::Seq;
use federation_proto::ledger::{Ledger, TierTerms};
use service::admin::Readiness;
use service::shutdown::Shutdown;
use service::supervise::{self, survive};

pub use self::course::{Act, Backoff, Course, Due, Pacer};
use super::load::{Cut, Loaded, load};
use super::{Delivered, Tier, Unit, Write};
use crate::journal::Journal;
use crate::journal::book::Plan;
use crate::quarantine::Quarantine;

/// Panics of the tier while it writes one unit, after which the unit is put aside.
pub const MAX_PANICS: u32 = 3;
/// How often a unit that grows is looked at.
const LOOK: Duration = Duration::from_millis(50);

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
        let mut course = Course::new(self.index);
        let mut arrivals = self.journal.arrivals();
        loop {
            arrivals.mark_unchanged();
            let (pace, flush) = (self.tier.pace(), self.flush.is_requested());
            let act = course.next(now(), &self.journal.book(), &pace, flush);
            let done = match act {
                Act::Recall(cursor) => self.tier.unfinished(cursor).map(|unfinished| course.recalled(&self.journal.book(), unfinished)),
                Act::Load(plan, cut) => match self.load(plan, cut).await {
                    Ok(Some(loaded)) => {
                        course.loaded(loaded);
                        Ok(())
                    }
                    Ok(None) => return,
                    Err(error) => Err(error),
                },
                Act::Write(unit) => {
                    let written = survive(self.tier.write(unit)).await;
                    if let Err(panic) = &written {
                        supervise::count(&format!("tier_{}_write", self.name), panic);
                    }
                    course.wrote(now(), written).map(|wrote| self.count(wrote))
                }
                Act::PutAside(unit) => {
                    self.put_aside(&unit).await;
                    self.count(course.put_aside(now()));
                    Ok(())
                }
                Act::Settle(range, outcome) => self.settle(Seq(*range.end()), outcome).await.map(|()| {
                    course.settled();
                    self.moves(Ok(()));
                }),
                Act::Wait(at) => {
                    self.sleep(at.saturating_duration_since(now()).min(LOOK)).await;
                    Ok(())
                }
                Act::Idle => {
                    self.moves(Ok(()));
                    tokio::select! {
                        _ = arrivals.changed() => {}
                        () = self.flush.requested() => {}
                    }
                    Ok(())
                }
                Act::Stop => return,
            };
            if let Err(error) = done {
                self.refused(&mut course, &error);
            }
        }
    }

    /// Says that the tier does not move, and has it tried again.
    fn refused(&self, course: &mut Course, error: &Write) {
        let wait = course.failed(now(), error, random(), self.flush.is_requested());
        self.moves(Err(&error.to_string()));
        metrics::counter!("tributary_router_tier_retries_total", "tier" => self.name.clone()).increment(1);
        tracing::warn!(tier = self.name, %error, ?wait, "waiting");
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

    fn count(&self, wrote: Option<(Delivered, Duration)>) {
        let Some((outcome, took)) = wrote else { return };
        let tier = || self.name.clone();
        metrics::histogram!("tributary_router_tier_write_seconds", "tier" => tier()).record(took.as_secs_f64());
        for (_, signal, terms) in outcome.iter() {
            metrics::counter!("tributary_router_tier_rows_total", "tier" => tier(), "signal" => signal.as_str()).increment(terms.delivered);
            for (reason, &rows) in &terms.rejected {
                metrics::counter!("tributary_router_rejected_rows_total", "tier" => tier(), "reason" => reason.as_str()).increment(rows);
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

    /// Moves the cursor, durably.
    async fn settle(&self, last: Seq, outcome: Arc<Ledger<TierTerms>>) -> Result<(), Write> {
        let (journal, index) = (self.journal.clone(), self.index);
        let why = match tokio::task::spawn_blocking(move || journal.settle(index, last, &outcome)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(Write::Retry { after: Duration::ZERO, why: format!("the cursor could not be moved: {why}") })
    }

    /// Reads and decodes a unit on a blocking thread; `None` when the runtime is going down.
    async fn load(&self, plan: Arc<Plan>, cut: Cut) -> Result<Option<Loaded>, Write> {
        let (journal, quarantine) = (self.journal.clone(), Arc::clone(&self.quarantine));
        let why = match tokio::task::spawn_blocking(move || load(&journal, &quarantine, &plan, cut)).await {
            Ok(Ok(loaded)) => return Ok(Some(loaded)),
            Ok(Err(error)) => error.to_string(),
            Err(error) if error.is_cancelled() => return Ok(None),
            Err(error) => error.to_string(),
        };
        Err(Write::Retry { after: Duration::ZERO, why: format!("the journal cannot be read: {why}") })
    }
}

/// Driver: reads the runtime's clock for the course.
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
