//! What a scenario came to, for a person or for a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// From the end of the last fault until every edge was told of a batch that it is on a router's journal.
    pub recovery_s: f64,
    /// From the end of the last fault until every edge was told so of a batch that was made since then: -1 if that was not waited for.
    pub fresh_s: f64,
    /// From the end of the last fault until nothing that waited during it was on an edge's disk.
    pub drained_s: f64,
    /// Peak of resident memory, by process, in MiB.
    pub rss_mib: BTreeMap<String, f64>,
    /// Bytes on the edges' links, Ethernet frames and all.
    pub wire_bytes: WireBytes,
    /// Seconds in all.
    pub took_s: f64,
    /// Where logs and tiers lie; they are gone after a clean run unless the folder was named.
    pub dir: PathBuf,
}

/// How long it took from the end of the last fault, at the slowest edge: until data moved, until what came since then was at a router,
/// until nothing waited.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct After {
    pub(super) recovery: Option<Duration>,
    pub(super) fresh: Option<Duration>,
    pub(super) drained: Option<Duration>,
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
    pub(super) after: After,
    pub(super) peaks: BTreeMap<String, u64>,
    pub(super) wire_bytes: WireBytes,
    pub(super) took: Duration,
    pub(super) dir: PathBuf,
}

impl Measured {
    /// Compares it with what must hold.
    pub(super) fn judge(self, scenario: &Scenario) -> Outcome {
        let breaches = self.breaches(scenario);
        let seconds = |time: Option<Duration>| time.map_or(-1.0, |time| time.as_secs_f64());
        Outcome {
            scenario: scenario.name.clone(),
            ok: breaches.is_empty(),
            breaches,
            total: self.total,
            dropped_counted: self.dropped_counted,
            missing_at_collector: self.missing_at_collector,
            recovery_s: seconds(self.after.recovery),
            fresh_s: seconds(self.after.fresh),
            drained_s: seconds(self.after.drained),
            rss_mib: self.peaks.into_iter().map(|(name, bytes)| (name, bytes as f64 / MIB)).collect(),
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
        let most = expect.possibly_doubled;
        must(total.possibly_doubled <= most, format!("{} rows at both routers, at most {most} expected", total.possibly_doubled));
        must(
            self.missing_at_collector.unwrap_or(0) == 0,
            format!("{:?} acknowledged rows never came to the second tier", self.missing_at_collector),
        );
        must(self.queued == 0, format!("{} rows are still queued", self.queued));
        must(self.unbalanced.is_empty(), format!("ledgers of {} do not balance", self.unbalanced.join(", ")));
        let After { recovery, fresh, drained } = self.after;
        let fresh = expect.fresh.map(|bound| ("what came after it was at a router", fresh, bound));
        let others = [("data moved", recovery, expect.recovery), ("spools were empty", drained, expect.drained)];
        for (what, took, bound) in others.into_iter().chain(fresh) {
            let told = took.map_or("never".to_owned(), |took| format!("{:.1} s after the last fault", took.as_secs_f64()));
            must(took.is_some_and(|took| took <= bound.as_duration()), format!("{what} {told}, expected within {bound}"));
        }
        for (name, &bytes) in &self.peaks {
            must(
                bytes <= expect.rss.as_u64(),
                format!("{name} had {:.0} MiB resident, expected at most {}", bytes as f64 / MIB, expect.rss),
            );
        }
        breaches
    }
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
            recovery_s: -1.0,
            fresh_s: -1.0,
            drained_s: -1.0,
            rss_mib: BTreeMap::new(),
            wire_bytes: WireBytes::default(),
            took_s: 0.0,
            dir: dir.to_owned(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { acknowledged, found_once, lost, doubled, possibly_doubled, .. } = self.total;
        let rss = self.rss_mib.iter().map(|(name, mib)| format!("{name} {mib:.0}")).collect::<Vec<_>>().join(", ");
        writeln!(f, "{:<24}{}", self.scenario, if self.ok { "ok" } else { "FAILED" })?;
        writeln!(
            f,
            "  acknowledged {acknowledged}, found once {found_once}, lost {lost}, doubled {doubled}, possibly doubled {possibly_doubled}"
        )?;
        writeln!(f, "  recovery {:.1} s, spools empty {:.1} s after the last fault", self.recovery_s, self.drained_s)?;
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
