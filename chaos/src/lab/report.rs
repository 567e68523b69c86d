//! What a scenario came to, for a person or for a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::detour::Detoured;
use super::net::WireBytes;
use super::scenario::Scenario;
use crate::verify::Verdict;

const MIB: f64 = (1 << 20) as f64;

/// The result. As JSON: one object; `lab all --json` is a list of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Which scenario.
    pub scenario: String,
    /// Did everything hold?
    pub ok: bool,
    /// What did not.
    pub breaches: Vec<String>,
    /// Records acknowledged, found once, lost, doubled; and those that lie at both routers.
    #[serde(flatten)]
    pub total: Verdict,
    /// Rows that the edges' ledgers count as dropped, with a reason each.
    pub dropped_counted: u64,
    /// Acknowledged spans and log records that the second tier's endpoint never took; only where a scenario has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_at_collector: Option<u64>,
    /// Rows that edges sent whole to one router and then, without a verdict, to another: at most so many may lie at both.
    pub sent_twice: u64,
    /// How long data stood still for longer than could be helped: from the end of the last fault until every edge was told of a batch that
    /// it is on a router's journal, or [`Outcome::detour_s`] if that is longer. -1: it never moved.
    pub recovery_s: f64,
    /// From the end of the last fault until every edge was told so of a batch that was made since then: -1 if that was not waited for.
    pub fresh_s: f64,
    /// From the beginning of a fault that edges go round until every edge that it hits was told of a batch by the other way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detour_s: Option<f64>,
    /// Of the rows that senders were told OK for in the first half of such a fault: the share that was in a tier before it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_meanwhile_percent: Option<f64>,
    /// From the end of the last fault until every edge was back at the router that it prefers, over QUIC; where it had gone round one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_s: Option<f64>,
    /// From the end of the last fault until nothing that waited during it was on an edge's disk.
    pub drained_s: f64,
    /// Peak of resident memory of the largest process, in MiB.
    pub rss_mib: f64,
    /// The same of each process.
    pub rss_mib_of: BTreeMap<String, f64>,
    /// Bytes on the edges' links, Ethernet frames and all.
    pub wire_bytes: WireBytes,
    /// Seconds in all.
    pub took_s: f64,
    /// Where logs and tiers lie; they are gone after a clean run unless the folder was named.
    pub dir: PathBuf,
}

/// What was measured, to be judged.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) total: Verdict,
    pub(super) dropped_counted: u64,
    pub(super) missing_at_collector: Option<u64>,
    pub(super) queued: u64,
    pub(super) unbalanced: Vec<String>,
    pub(super) sent: u64,
    pub(super) sent_twice: u64,
    pub(super) detours: Vec<Detoured>,
    pub(super) recovered: Recovered,
    pub(super) peaks: BTreeMap<String, u64>,
    pub(super) wire_bytes: WireBytes,
    pub(super) took: Duration,
    pub(super) dir: PathBuf,
}

/// Times from the end of the last fault; none: never.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recovered {
    pub(super) moved: Option<Duration>,
    pub(super) fresh: Option<Duration>,
    pub(super) drained: Option<Duration>,
    pub(super) home: Option<Duration>,
}

impl Measured {
    /// Compares it with what must hold.
    pub(super) fn judge(self, scenario: &Scenario) -> Outcome {
        let breaches = self.breaches(scenario);
        let seconds = |time: Option<Duration>| time.map_or(-1.0, |time| time.as_secs_f64());
        let rss_mib_of: BTreeMap<String, f64> = self.peaks.into_iter().map(|(name, bytes)| (name, bytes as f64 / MIB)).collect();
        let went_round = !self.detours.is_empty();
        let (detour, arrived) = slowest(&self.detours);
        let longest = self.recovered.moved.zip(detour).map(|(moved, detour)| moved.max(detour));
        Outcome {
            scenario: scenario.name.clone(),
            ok: breaches.is_empty(),
            breaches,
            total: self.total,
            dropped_counted: self.dropped_counted,
            missing_at_collector: self.missing_at_collector,
            sent_twice: self.sent_twice,
            recovery_s: seconds(longest),
            fresh_s: seconds(self.recovered.fresh),
            detour_s: went_round.then(|| seconds(detour)),
            arrived_meanwhile_percent: went_round.then_some(arrived),
            home_s: went_round.then(|| seconds(self.recovered.home)),
            drained_s: seconds(self.recovered.drained),
            rss_mib: rss_mib_of.values().copied().fold(0.0, f64::max),
            rss_mib_of,
            wire_bytes: self.wire_bytes,
            took_s: self.took.as_secs_f64(),
            dir: self.dir,
        }
    }

    fn breaches(&self, scenario: &Scenario) -> Vec<String> {
        let (expect, total) = (&scenario.expect, &self.total);
        let mut breaches = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                breaches.push(what);
            }
        };
        let forgiven = if expect.lost_if_counted { self.dropped_counted } else { 0 };
        must(total.acknowledged > 0, "nothing was acknowledged".to_owned());
        let share = total.acknowledged as f64 * 100.0 / self.sent.max(1) as f64;
        must(
            share >= expect.acknowledged_percent,
            format!("{share:.1} % of what was sent was acknowledged, not {} %", expect.acknowledged_percent),
        );
        must(total.lost <= forgiven, format!("{} acknowledged rows lost, {forgiven} counted as dropped", total.lost));
        must(total.doubled == 0, format!("{} rows doubled", total.doubled));
        must(
            total.possibly_doubled <= self.sent_twice,
            format!("{} rows at both routers, but edges count {} as sent to both", total.possibly_doubled, self.sent_twice),
        );
        must(
            self.missing_at_collector.unwrap_or(0) == 0,
            format!("{:?} acknowledged rows never came to the second tier", self.missing_at_collector),
        );
        must(self.queued == 0, format!("{} rows are still queued", self.queued));
        must(self.unbalanced.is_empty(), format!("ledgers of {} do not balance", self.unbalanced.join(", ")));
        let (detour, arrived) = slowest(&self.detours);
        let Recovered { moved, fresh, drained, home } = self.recovered;
        for (what, took, bound) in [
            ("after the last fault data moved", moved, Some(expect.recovery)),
            ("after the last fault what came since was at a router", fresh, expect.fresh),
            ("after the last fault spools were empty", drained, Some(expect.drained)),
            ("after the last fault every edge was home", home, expect.home),
            ("after a fault began data went round it", detour, expect.detour),
        ] {
            let told = took.map_or("never".to_owned(), |took| format!("in {:.1} s", took.as_secs_f64()));
            let holds = bound.is_none_or(|bound| took.is_some_and(|took| took <= bound.as_duration()));
            must(holds, format!("{what} {told}, expected within {}", bound.unwrap_or_default()));
        }
        let least = expect.meanwhile_percent.unwrap_or_default();
        must(
            arrived >= least,
            format!("{arrived:.1} % of what was acknowledged in the first half of a fault had arrived before its end, not {least} %"),
        );
        for (name, &bytes) in &self.peaks {
            must(
                bytes <= expect.rss.as_u64(),
                format!("{name} had {:.0} MiB resident, expected at most {}", bytes as f64 / MIB, expect.rss),
            );
        }
        breaches
    }
}

/// Of all detours: the slowest (none: one never was), and the least that had arrived, in percent.
fn slowest(detours: &[Detoured]) -> (Option<Duration>, f64) {
    let took = detours.iter().try_fold(Duration::ZERO, |most, detour| detour.took.map(|took| most.max(took)));
    (took, detours.iter().map(|detour| detour.arrived_percent).fold(100.0, f64::min))
}

impl Outcome {
    /// Of a scenario that did not come to its end.
    pub(super) fn of_error(scenario: &Scenario, error: &std::io::Error, dir: &Path) -> Self {
        Self {
            scenario: scenario.name.clone(),
            ok: false,
            breaches: vec![error.to_string()],
            total: Verdict::default(),
            dropped_counted: 0,
            missing_at_collector: None,
            sent_twice: 0,
            recovery_s: -1.0,
            fresh_s: -1.0,
            detour_s: None,
            arrived_meanwhile_percent: None,
            home_s: None,
            drained_s: -1.0,
            rss_mib: 0.0,
            rss_mib_of: BTreeMap::new(),
            wire_bytes: WireBytes::default(),
            took_s: 0.0,
            dir: dir.to_owned(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { acknowledged, found_once, lost, doubled, possibly_doubled, .. } = self.total;
        let rss = self.rss_mib_of.iter().map(|(name, mib)| format!("{name} {mib:.0}")).collect::<Vec<_>>().join(", ");
        writeln!(f, "{:<24}{}", self.scenario, if self.ok { "ok" } else { "FAILED" })?;
        writeln!(
            f,
            "  acknowledged {acknowledged}, found once {found_once}, lost {lost}, doubled {doubled}, possibly doubled {possibly_doubled} (sent twice {})",
            self.sent_twice
        )?;
        writeln!(f, "  recovery {:.1} s, spools empty {:.1} s after the last fault", self.recovery_s, self.drained_s)?;
        if let (Some(detour), Some(arrived), Some(home)) = (self.detour_s, self.arrived_meanwhile_percent, self.home_s) {
            writeln!(f, "  went round in {detour:.1} s, {arrived:.1} % had arrived before the fault ended, home again in {home:.1} s")?;
        }
        write!(f, "  wire {} bytes up, {} down; RSS MiB: {rss}; took {:.0} s", self.wire_bytes.up, self.wire_bytes.down, self.took_s)?;
        for breach in &self.breaches {
            write!(f, "\n  BREACH: {breach}")?;
        }
        if !self.ok {
            write!(f, "\n  logs: {}", self.dir.join("logs").display())?;
        }
        Ok(())
    }
}
