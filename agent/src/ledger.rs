//! What became of every event and every row, counted where it happens.
//!
//! Rows, per signal: `built = exported + dropped(reason) + queued`, `queued` counted from the queue itself.
//! Events, per probe: `sent` by the kernel's side = `drained` + what still lies in the ring; of the drained, `malformed` were
//! no events and `over_bound` found the probe at its bound. `ring_full`, `no_start`, `no_slot` and `skipped` never became
//! events: see `loader::KernelCounts`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::export::Signal;
use crate::loader::KernelCounts;
use crate::outbox::{DropReason, Dropped};

/// Rows of one signal.
#[derive(Clone, Debug, Default)]
pub struct RowCounts {
    /// Rows put into requests.
    pub built: u64,
    /// Rows that the edge has.
    pub exported: u64,
    /// Rows given up.
    pub dropped: BTreeMap<DropReason, u64>,
}

/// Events of one probe.
#[derive(Clone, Debug, Default)]
pub struct EventCounts {
    /// Whether all of its programs run.
    pub up: bool,
    /// What does not, and why.
    pub missing: Vec<String>,
    /// Events read from the ring.
    pub drained: u64,
    /// Of these, no events at all.
    pub malformed: u64,
    /// Of these, those that found the probe at its bound.
    pub over_bound: u64,
    /// As last read.
    pub kernel: KernelCounts,
}

/// The counts.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    metrics: RowCounts,
    logs: RowCounts,
    probes: BTreeMap<&'static str, EventCounts>,
}

impl Ledger {
    /// Rows of a signal.
    pub fn rows(&mut self, signal: Signal) -> &mut RowCounts {
        match signal {
            Signal::Metrics => &mut self.metrics,
            Signal::Logs => &mut self.logs,
        }
    }

    /// Events of a probe.
    pub fn probe(&mut self, name: &'static str) -> &mut EventCounts {
        self.probes.entry(name).or_default()
    }

    /// Rows given up.
    pub fn drop_rows(&mut self, dropped: Dropped) {
        *self.rows(dropped.signal).dropped.entry(dropped.reason).or_default() += dropped.rows;
    }

    /// For `/ledger`; `queued` gives the rows of a signal that lie in the queue now.
    pub fn to_json(&self, queued: impl Fn(Signal) -> u64) -> Value {
        let rows = |signal, counts: &RowCounts| {
            let dropped: BTreeMap<_, _> = counts.dropped.iter().map(|(reason, rows)| (reason.as_str(), rows)).collect();
            json!({"built": counts.built, "exported": counts.exported, "dropped": dropped, "queued": queued(signal)})
        };
        let probe = |counts: &EventCounts| {
            let KernelCounts { sent, ring_full, no_start, no_slot, skipped } = counts.kernel;
            json!({
                "up": counts.up,
                "missing": counts.missing,
                "sent": sent,
                "drained": counts.drained,
                "malformed": counts.malformed,
                "over_bound": counts.over_bound,
                "lost": {"ring_full": ring_full, "no_start": no_start, "no_slot": no_slot, "skipped": skipped},
            })
        };
        json!({
            "rows": {"metrics": rows(Signal::Metrics, &self.metrics), "logs": rows(Signal::Logs, &self.logs)},
            "probes": self.probes.iter().map(|(name, counts)| (*name, probe(counts))).collect::<BTreeMap<_, _>>(),
        })
    }
}
