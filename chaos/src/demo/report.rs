//! What the demo found, for a person or for a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use federation_proto::identity::Signal;
use serde::Serialize;
use serde_json::Value;

use crate::stand::ledger;
use crate::verify::Verdict;

/// The demo's result. As JSON: one object; the totals of [`Verdict`] stand at its top.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Totals over all signals.
    #[serde(flatten)]
    pub total: Verdict,
    /// The same by signal.
    pub signals: BTreeMap<Signal, Verdict>,
    /// UDP payload bytes from the edges to the router, as the links counted them: handshakes, retransmissions, control and all.
    pub wire_bytes: u64,
    /// UDP payload bytes back.
    pub wire_bytes_down: u64,
    /// What the acknowledged records weigh as OTLP compressed with zstd 3 in requests as large as our batches, without framing.
    pub otlp_zstd_bytes: u64,
    /// What they weigh as OTLP protobuf.
    pub otlp_bytes: u64,
    /// Requests that senders had to repeat.
    pub retried_requests: u64,
    /// Datagrams lost in the cut.
    pub datagrams_lost: u64,
    /// What the agent's kernel programs saw of the demo's own HTTP connects.
    pub connects: Connects,
    /// The parts' own ledgers.
    pub ledgers: BTreeMap<String, Value>,
    /// Do all ledgers balance?
    pub ledgers_balance: bool,
    /// Seconds from the start until all parts were ready, and in all.
    pub ready_after_s: f64,
    /// Seconds in all.
    pub took_s: f64,
    /// Where the files lie.
    pub dir: PathBuf,
}

/// Connects made, and connects in the agent's data in Parquet.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Connects {
    /// Made by the demo's HTTP client.
    pub made: u64,
    /// Told of by the agent.
    pub seen_by_agent: u64,
}

impl Report {
    /// Nothing lost, nothing doubled, every ledger balanced, and something sent at all.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.total.is_clean() && self.total.acknowledged > 0 && self.ledgers_balance
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10}{:>14}{:>12}{:>8}{:>9}", "", "acknowledged", "found once", "lost", "doubled")?;
        let rows = self.signals.iter().map(|(signal, verdict)| (signal.as_str(), verdict));
        for (name, verdict) in rows.chain([("all", &self.total)]) {
            writeln!(f, "{name:<10}{:>14}{:>12}{:>8}{:>9}", verdict.acknowledged, verdict.found_once, verdict.lost, verdict.doubled)?;
        }
        writeln!(f)?;
        for (place, ledger) in &self.ledgers {
            writeln!(f, "ledger of {place}")?;
            write_ledger(f, ledger)?;
        }
        writeln!(f, "\non the wire     {:>12} bytes up, {} down (UDP payload, all of it)", self.wire_bytes, self.wire_bytes_down)?;
        let times = self.otlp_zstd_bytes as f64 / self.wire_bytes.max(1) as f64;
        writeln!(f, "as OTLP+zstd-3  {:>12} bytes, {times:.2} times as much", self.otlp_zstd_bytes)?;
        writeln!(f, "as OTLP         {:>12} bytes", self.otlp_bytes)?;
        writeln!(f, "HTTP connects   {:>12} made, {} in the agent's data", self.connects.made, self.connects.seen_by_agent)?;
        writeln!(f, "retried         {:>12} requests; {} datagrams lost in the cut", self.retried_requests, self.datagrams_lost)?;
        writeln!(f, "took            {:>11.1} s, ready after {:.1} s", self.took_s, self.ready_after_s)?;
        writeln!(f, "\nfiles           {}", self.dir.display())?;
        let verdict = if self.is_clean() { "nothing lost, nothing doubled, all ledgers balance" } else { "NOT CLEAN: see above" };
        write!(f, "verdict         {verdict}")
    }
}

/// One line a tenant and signal, with every counter that is not zero.
fn write_ledger(f: &mut fmt::Formatter<'_>, ledger: &Value) -> fmt::Result {
    for account in ledger::accounts(ledger) {
        let text = |key: &str| account.get(key).and_then(Value::as_str).unwrap_or("-");
        write!(f, "  {:<10}{:<9}", text("tenant"), text("signal"))?;
        for (key, value) in account.as_object().into_iter().flatten() {
            match value {
                Value::Number(rows) if rows.as_u64() != Some(0) => write!(f, " {key} {rows}")?,
                Value::Object(reasons) => {
                    for (reason, rows) in reasons.iter().filter(|(_, rows)| rows.as_u64() != Some(0)) {
                        write!(f, " {key}({reason}) {rows}")?;
                    }
                }
                Value::Bool(false) => write!(f, " NOT {key}")?,
                _ => {}
            }
        }
        writeln!(f)?;
    }
    Ok(())
}
