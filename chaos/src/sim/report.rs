//! What a run of seeds says, for people and as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::world::{Outcome, Size};

/// Failing seeds listed one by one; further ones are only counted.
const MAX_LISTED: usize = 20;

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Seeds run.
    seeds: u64,
    /// Of them failed.
    failed: u64,
    /// Seeds a minute of one core's time.
    seeds_per_min: f64,
    /// Batches that came into spools, in all.
    batches: u64,
    /// The fewest of one seed.
    least_batches: u64,
    /// Rows whose senders were told OK, in all.
    acknowledged: u64,
    /// Faults, in all.
    faults: u64,
    /// The first that failed.
    failures: Vec<Failed>,
    #[serde(skip)]
    since: Duration,
}

/// A seed that failed.
#[derive(Debug, Clone, Serialize)]
struct Failed {
    seed: u64,
    why: String,
    /// The one command that repeats it.
    replay: String,
}

impl Report {
    /// Nothing was run yet; the processor's time is `since`.
    #[must_use]
    pub fn new(since: Duration) -> Self {
        Self {
            seeds: 0,
            failed: 0,
            seeds_per_min: 0.0,
            batches: 0,
            least_batches: u64::MAX,
            acknowledged: 0,
            faults: 0,
            failures: Vec::new(),
            since,
        }
    }

    /// A seed was run.
    pub fn add(&mut self, seed: u64, size: Size, outcome: &Outcome) {
        self.seeds += 1;
        self.batches += outcome.batches;
        self.least_batches = self.least_batches.min(outcome.batches);
        self.acknowledged += outcome.acknowledged;
        self.faults += outcome.faults;
        if let Some(failure) = &outcome.failure {
            self.failed += 1;
            if self.failures.len() < MAX_LISTED {
                let damage = if size.damage { " --damage" } else { "" };
                let replay = format!("tributary-chaos sim --seeds 1 --seed {seed} --batches {}{damage}", size.batches);
                self.failures.push(Failed { seed, why: failure.to_string(), replay });
            }
        }
    }

    /// Tells the last events of a seed that failed.
    pub fn tell(&self, seed: u64, outcome: &Outcome) {
        if self.failures.len() >= MAX_LISTED {
            return;
        }
        for line in &outcome.lines {
            eprintln!("{line}");
        }
        let why = outcome.failure.as_ref().map_or_else(|| "nothing, the second time".to_owned(), ToString::to_string);
        eprintln!("seed {seed}: {why}");
    }

    /// All were run; the processor's time is `now`.
    pub fn finish(&mut self, now: Duration) {
        let took = now.saturating_sub(self.since).as_secs_f64();
        self.seeds_per_min = if took > 0.0 { (self.seeds as f64 * 60.0 / took).round() } else { 0.0 };
    }

    /// Seeds that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Seeds run.
    #[must_use]
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failed in &self.failures {
            writeln!(f, "seed {} failed: {}\n  again: {}", failed.seed, failed.why, failed.replay)?;
        }
        let Self { seeds, failed, seeds_per_min, batches, acknowledged, faults, .. } = self;
        write!(
            f,
            "{seeds} seeds, {failed} failed; {batches} batches, {acknowledged} acknowledged rows, {faults} faults; {seeds_per_min} seeds a minute of one core"
        )
    }
}
