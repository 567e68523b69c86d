//! What a bench measured, for a person or for a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::machine::Machine;
use super::overload::Overload;
use crate::load::tally::Answers;
use crate::verify::Verdict;

const MIB: f64 = 1024.0 * 1024.0;

/// The bench's result. As JSON: one object.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What was measured, against what.
    pub measured: String,
    /// Rows acknowledged in all, those while warming up included.
    pub rows: u64,
    /// Rows a second that were acknowledged and also left the part again; on one core, or as `measured` says.
    pub rows_per_s: f64,
    /// Rows acknowledged a second: more than `rows_per_s` when a queue grew.
    pub acknowledged_per_s: f64,
    /// CPU (user and system) for each row, until all rows had left the part.
    pub cpu_us_per_row: f64,
    /// How much of its core the part used on average under load, 0 to 1; well below 1 without `--rate`, something else was the limit.
    pub cpu_share: f64,
    /// Peak of resident memory.
    pub rss_mib: f64,
    /// From a request's (router: a batch's) time to its acknowledgement.
    pub ack_p50_ms: f64,
    /// 90 %.
    pub ack_p90_ms: f64,
    /// 99 %.
    pub ack_p99_ms: f64,
    /// The longest.
    pub ack_max_ms: f64,
    /// UDP payload bytes towards the router, all of them, for each row.
    pub wire_bytes_per_row: Option<f64>,
    /// The same rows as OTLP with zstd 3 in requests of 10,000 rows, without framing.
    pub otlp_zstd_bytes_per_row: f64,
    /// The same rows as OTLP.
    pub otlp_bytes_per_row: f64,
    /// Rows refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// How long the part needed after the load's end until it was empty.
    pub drain_s: Option<f64>,
    /// CPU of this process (load, sink, relay) for each row.
    pub own_cpu_us_per_row: f64,
    /// What the machine did besides, where the part has its own core and its disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// What overload did, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overload: Option<Overload>,
    /// By part, where several were measured.
    pub parts: BTreeMap<&'static str, PartCost>,
    /// What became of every acknowledged row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What one part of several took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PartCost {
    /// CPU for each row.
    pub cpu_us_per_row: f64,
    /// Peak of resident memory.
    pub rss_mib: f64,
}

/// Bytes as MiB.
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// Microseconds for each of so many rows.
pub(super) fn us_per_row(time: Duration, rows: u64) -> f64 {
    time.as_secs_f64() * 1e6 / rows.max(1) as f64
}

impl Report {
    /// Fills in latencies and refusals.
    pub(super) fn answers(&mut self, answers: Answers) {
        self.ack_p50_ms = answers.latencies.percentile_ms(0.5);
        self.ack_p90_ms = answers.latencies.percentile_ms(0.9);
        self.ack_p99_ms = answers.latencies.percentile_ms(0.99);
        self.ack_max_ms = answers.latencies.max_ms();
        self.refused = answers.refused;
    }

    /// Something was acknowledged, where it was looked for all of it was there once, and overload changed nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rows > 0
            && self.overload.is_none_or(|overload| overload.holds())
            && self.verdict.is_none_or(|verdict| verdict.is_clean() && verdict.acknowledged == self.rows)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.measured)?;
        writeln!(f, "rows            {:>12}", self.rows)?;
        writeln!(f, "rate            {:>12.0} rows/s; {:.0} acknowledged", self.rows_per_s, self.acknowledged_per_s)?;
        writeln!(f, "cpu             {:>12.3} us/row, {:.0} % of a core", self.cpu_us_per_row, self.cpu_share * 100.0)?;
        writeln!(f, "memory          {:>12.1} MiB at its peak", self.rss_mib)?;
        let [p50, p90, p99, max] = [self.ack_p50_ms, self.ack_p90_ms, self.ack_p99_ms, self.ack_max_ms];
        writeln!(f, "acknowledged in {p50:>12.2} ms p50, {p90:.2} p90, {p99:.2} p99, {max:.2} max")?;
        if let Some(bytes) = self.wire_bytes_per_row {
            writeln!(f, "on the wire     {bytes:>12.2} bytes/row, {:.2} times less", self.otlp_zstd_bytes_per_row / bytes.max(1e-9))?;
        }
        if let Some(machine) = self.machine {
            let Machine { sync_p50_ms, sync_p99_ms, sync_max_ms, .. } = machine;
            let [others, stolen] = [machine.others_share, machine.stolen_share].map(|share| share * 100.0);
            writeln!(
                f,
                "the disk alone  {sync_p50_ms:>12.2} ms p50, {sync_p99_ms:.2} p99, {sync_max_ms:.2} max for a request's bytes and a sync"
            )?;
            writeln!(f, "the part's core {others:>12.1} % taken by others (the kernel's threads included), {stolen:.1} % by other guests")?;
        }
        if let Some(Overload { peak_rows_per_s, offered_rows_per_s, goodput_percent, steady_rss_mib, rss_times }) = self.overload {
            writeln!(
                f,
                "overload        {offered_rows_per_s:>12.0} rows/s offered; goodput {goodput_percent:.1} % of {peak_rows_per_s:.0}"
            )?;
            writeln!(f, "memory then     {rss_times:>12.2} times the {steady_rss_mib:.1} MiB at the peak")?;
        }
        writeln!(f, "as OTLP+zstd-3  {:>12.2} bytes/row; as OTLP {:.1}", self.otlp_zstd_bytes_per_row, self.otlp_bytes_per_row)?;
        for (code, rows) in &self.refused {
            writeln!(f, "refused         {rows:>12} rows: {code}")?;
        }
        for (part, cost) in &self.parts {
            writeln!(f, "{part:<16}{:>12.3} us/row, {:.1} MiB", cost.cpu_us_per_row, cost.rss_mib)?;
        }
        if let Some(seconds) = self.drain_s {
            writeln!(f, "empty after     {seconds:>12.1} s")?;
        }
        if let Some(Verdict { found_once, lost, doubled, .. }) = self.verdict {
            writeln!(f, "verdict         {found_once:>12} found once, {lost} lost, {doubled} doubled")?;
        }
        write!(f, "the bench       {:>12.3} us/row of its own", self.own_cpu_us_per_row)
    }
}
