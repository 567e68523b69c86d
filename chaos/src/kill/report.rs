//! What the matrix found, for a person or for a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use federation_proto::identity::Signal;
use serde::Serialize;
use serde_json::Value;

use super::plan::Victim;
use crate::verify::Verdict;

/// The result. As JSON: one object; the totals of [`Verdict`] stand at its top.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Totals over all signals of the load.
    #[serde(flatten)]
    pub total: Verdict,
    /// The same by signal.
    pub signals: BTreeMap<Signal, Verdict>,
    /// Connects in the agent's requests that the edge acknowledged.
    pub connects: Verdict,
    /// Did the agent's kernel programs run?
    pub agent_probes: bool,
    /// SIGKILLs in all.
    pub kills: u64,
    /// By process: kills, and how it came back.
    pub processes: BTreeMap<Victim, Recovery>,
    /// Requests that were sent again.
    pub retried_requests: u64,
    /// The parts' own ledgers.
    pub ledgers: BTreeMap<String, Value>,
    /// Do all ledgers balance?
    pub ledgers_balance: bool,
    /// Rows still queued when the time for draining was over.
    pub queued: u64,
    /// The run's seed.
    pub seed: u64,
    /// Seconds in all.
    pub took_s: f64,
    /// Where the files lie; they are gone after a clean run unless the folder was named.
    pub dir: PathBuf,
    /// The command that asks for this run again.
    pub replay: String,
}

/// How one process took it.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Recovery {
    /// SIGKILLs it got.
    pub kills: u64,
    /// Of those, together with another process.
    pub in_pairs: u64,
    /// Of those, while it was starting.
    pub during_recovery: u64,
    /// From its last start until it said that it is ready: the middle one.
    pub ready_p50_ms: f64,
    /// The longest.
    pub ready_max_ms: f64,
    /// From its last start until data had moved through it: the middle one.
    pub moving_p50_ms: f64,
    /// The longest.
    pub moving_max_ms: f64,
    /// The most memory that it ever had resident.
    pub rss_max_mib: f64,
    #[serde(skip)]
    pub(super) ready: Vec<Duration>,
    #[serde(skip)]
    pub(super) moving: Vec<Duration>,
    #[serde(skip)]
    pub(super) rss_bytes: u64,
}

impl Recovery {
    /// Makes the figures of what was measured.
    pub(super) fn finish(&mut self) {
        (self.ready_p50_ms, self.ready_max_ms) = middle_and_most(&mut self.ready);
        (self.moving_p50_ms, self.moving_max_ms) = middle_and_most(&mut self.moving);
        self.rss_max_mib = self.rss_bytes as f64 / f64::from(1 << 20);
    }
}

fn middle_and_most(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    (ms(times.get(times.len() / 2)), ms(times.last()))
}

impl Report {
    /// Nothing lost, nothing doubled, everything drained, every ledger balanced, and something sent and killed at all.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let sent = self.total.acknowledged > 0 && self.kills > 0;
        sent && self.total.is_clean() && self.connects.is_clean() && self.ledgers_balance && self.queued == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10}{:>14}{:>12}{:>8}{:>9}{:>16}", "", "acknowledged", "found once", "lost", "doubled", "unacknowledged")?;
        let rows = self.signals.iter().map(|(signal, verdict)| (signal.as_str(), verdict));
        for (name, verdict) in rows.chain([("all", &self.total), ("connects", &self.connects)]) {
            let Verdict { acknowledged, found_once, lost, doubled, unacknowledged, .. } = verdict;
            writeln!(f, "{name:<10}{acknowledged:>14}{found_once:>12}{lost:>8}{doubled:>9}{unacknowledged:>16}")?;
        }
        if !self.agent_probes {
            writeln!(f, "(the agent ran without its kernel programs: it had no connects to tell of)")?;
        }
        writeln!(
            f,
            "\n{:<10}{:>6}{:>9}{:>10}{:>19}{:>20}{:>10}",
            "", "kills", "in pairs", "starting", "ready p50/max", "moving p50/max", "RSS max"
        )?;
        for (victim, of) in &self.processes {
            let ready = format!("{:.0}/{:.0} ms", of.ready_p50_ms, of.ready_max_ms);
            let moving = format!("{:.0}/{:.0} ms", of.moving_p50_ms, of.moving_max_ms);
            let name = victim.as_str();
            write!(f, "{name:<10}{:>6}{:>9}{:>10}{ready:>19}{moving:>20}", of.kills, of.in_pairs, of.during_recovery)?;
            writeln!(f, "{:>6.0} MiB", of.rss_max_mib)?;
        }
        writeln!(f, "\nretried         {} requests", self.retried_requests)?;
        let queued = if self.queued > 0 { format!("; {} rows are still queued", self.queued) } else { String::new() };
        writeln!(f, "ledgers         {}{queued}", if self.ledgers_balance { "balance" } else { "DO NOT BALANCE" })?;
        writeln!(f, "took            {:.1} s, seed {}", self.took_s, self.seed)?;
        if self.is_clean() {
            return write!(f, "verdict         {} kills: nothing lost, nothing doubled, all ledgers balance", self.kills);
        }
        writeln!(f, "files           {}", self.dir.display())?;
        writeln!(f, "again           {}", self.replay)?;
        write!(f, "verdict         NOT CLEAN: see above")
    }
}
