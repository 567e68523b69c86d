//! Simulated tiers: the product's [`Course`] decides and its loader decodes; the destination is a map of units that outlives the router, with
//! the newest manifest beside it as the local tier keeps it. A unit is written in three steps, between which a router may die: manifest,
//! files, confirmation.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use central_router::journal::Journal;
use central_router::journal::book::UnitLimits;
use central_router::quarantine::Quarantine;
use central_router::tier::consumer::{Act, Course};
use central_router::tier::load::load;
use central_router::tier::local::manifest::{Manifest, unfinished};
use central_router::tier::{Delivered, Pace, Unit, Write};
use federation_proto::columns::Columns;
use federation_proto::identity::Seq;

use super::clockwork::Clockwork;
use super::event::{Event, RouterTask};

const PACE: Pace = Pace { interval: Duration::from_millis(200), limits: UnitLimits { rows: 120, raw_bytes: 64 << 10 } };

/// Where a tier writes to.
#[derive(Debug, Default)]
pub struct Destination {
    manifest: Option<Manifest>,
    /// The ids of the rows of each unit, by its first and last record.
    pub units: BTreeMap<(u64, u64), Vec<u64>>,
    /// It refuses until then.
    pub refuses_until: Duration,
    /// It takes so much longer until then.
    pub drags: (Duration, Duration),
}

/// A tier's consumer in one life of a router.
pub struct Reader {
    tier: usize,
    course: Course,
    writing: Option<Arc<Unit>>,
    /// Idle since this much had arrived.
    idle: Option<Seq>,
}

impl Reader {
    /// That of the tier with this number.
    #[must_use]
    pub fn new(tier: usize) -> Self {
        Self { tier, course: Course::new(tier), writing: None, idle: None }
    }

    /// Does it wait for what has arrived? Then it waits no more.
    pub fn wakes_at(&mut self, arrived: Seq) -> bool {
        self.idle.take_if(|idle| *idle != arrived).is_some()
    }

    /// Goes on until there is something to wait for.
    pub fn look(
        &mut self,
        clockwork: &mut Clockwork,
        now: Instant,
        journal: &Journal,
        quarantine: &Quarantine,
        destination: &mut Destination,
        (router, life, skew): (usize, u64, Duration),
    ) {
        let tier = self.tier;
        let again = |clockwork: &mut Clockwork, wait, task| clockwork.after(wait, Event::Router(router, life, task));
        while self.writing.is_none() {
            let act = self.course.next(now, &journal.book(), &PACE, false);
            let failed = match act {
                Act::Recall(cursor) => {
                    let found = unfinished(destination.manifest.as_ref(), cursor);
                    clockwork.note(|| format!("router {router}: tier {tier} at {cursor}, {found:?}"));
                    self.course.recalled(&journal.book(), found);
                    None
                }
                Act::Load(plan, cut) => match load(journal, quarantine, &plan, cut) {
                    Ok(loaded) => {
                        self.course.loaded(loaded);
                        None
                    }
                    Err(error) => Some(Write::Retry { after: Duration::ZERO, why: error.to_string() }),
                },
                Act::Write(_) if clockwork.now() < destination.refuses_until => {
                    let refusal = Write::Retry { after: Duration::from_millis(100), why: "refused".to_owned() };
                    self.course.wrote(now, Ok(Err(refusal))).err()
                }
                Act::Write(unit) => {
                    // A manifest is durable before any file of its unit.
                    destination.manifest = Some(Manifest::new(journal.id(), &unit.range, Vec::new()));
                    self.writing = Some(unit);
                    let slow = if clockwork.now() < destination.drags.1 { destination.drags.0 } else { Duration::ZERO };
                    let wait = clockwork.between(Duration::from_micros(100), Duration::from_millis(10)) + slow;
                    again(clockwork, wait, RouterTask::Files(tier));
                    None
                }
                Act::PutAside(_) => {
                    self.course.put_aside(now);
                    None
                }
                Act::Settle(range, outcome) => match journal.settle(tier, Seq(*range.end()), &outcome) {
                    Ok(()) => {
                        self.course.settled();
                        None
                    }
                    Err(error) => Some(Write::Retry { after: Duration::ZERO, why: error.to_string() }),
                },
                Act::Wait(at) => {
                    let wait = clockwork.until(at, skew).min(Duration::from_millis(50)).max(Duration::from_millis(1));
                    return again(clockwork, wait, RouterTask::Tier(tier));
                }
                Act::Idle => {
                    self.idle = Some(journal.book().applied());
                    return;
                }
                Act::Stop => return,
            };
            if let Some(error) = failed {
                clockwork.note(|| format!("router {router}: tier {tier}: {error}"));
                let random = clockwork.rng.below(1000) as f64 / 1000.0;
                self.course.failed(now, &error, random, false);
            }
        }
    }

    /// The files of the unit are there, in place of those of an earlier attempt at it.
    pub fn files(&mut self, clockwork: &mut Clockwork, destination: &mut Destination, (router, life): (usize, u64)) {
        let Some(unit) = &self.writing else { return };
        let ids: Vec<u64> = unit.batches.iter().flat_map(|batch| ids(&batch.columns)).collect();
        let (tier, range) = (self.tier, unit.range.clone());
        clockwork.note(|| format!("router {router}: tier {tier} has unit {range:?}, {} rows", ids.len()));
        destination.units.insert(key(&unit.range), ids);
        let wait = clockwork.between(Duration::from_micros(100), Duration::from_millis(10));
        clockwork.after(wait, Event::Router(router, life, RouterTask::Confirm(tier)));
    }

    /// The destination says that it has the unit.
    pub fn confirm(&mut self, now: Instant) {
        let Some(unit) = self.writing.take() else { return };
        let mut delivered = Delivered::default();
        for batch in &unit.batches {
            delivered.account(&batch.tenant, batch.signal).delivered += batch.columns.rows() as u64;
        }
        let _ = self.course.wrote(now, Ok(Ok(delivered)));
    }
}

fn key(range: &RangeInclusive<u64>) -> (u64, u64) {
    (*range.start(), *range.end())
}

fn ids(columns: &Columns) -> Vec<u64> {
    match columns {
        Columns::Logs(logs) => (0..logs.len()).map(|row| logs.time(row)).collect(),
        Columns::Traces(_) | Columns::Metrics(_) => Vec::new(),
    }
}
