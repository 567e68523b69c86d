//! What a load found, for a person or for a machine.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::run::Ended;
use super::tally::Tally;

/// The load's result. As JSON: one object.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Rows sent; repeated ones count once.
    pub sent: u64,
    /// Rows acknowledged.
    pub acknowledged: u64,
    /// Rows refused, by gRPC code, HTTP status or what failed; a repeated request counts each time.
    pub refused: BTreeMap<String, u64>,
    /// Requests sent, and how often one was repeated.
    pub requests: u64,
    /// How often one was repeated.
    pub retries: u64,
    /// Rows acknowledged a second.
    pub rows_per_s: f64,
    /// How long it took, to the last answer.
    pub seconds: f64,
    /// From a request's time to its OK, milliseconds.
    pub ack_p50_ms: f64,
    /// 90 %.
    pub ack_p90_ms: f64,
    /// 99 %.
    pub ack_p99_ms: f64,
    /// The longest.
    pub ack_max_ms: f64,
    /// OTLP bytes of a row, before compression.
    pub otlp_bytes_per_row: f64,
    /// What this program took itself: CPU microseconds for each row sent.
    pub own_cpu_us_per_row: f64,
}

impl Report {
    /// Of a load that has ended.
    #[must_use]
    pub fn new(ended: &Ended, tally: &Tally) -> Self {
        let answers = tally.answers();
        let percentile = |share| answers.latencies.percentile_ms(share);
        let (sent, acknowledged) = (tally.sent_rows(), tally.acknowledged_rows());
        Self {
            sent,
            acknowledged,
            requests: tally.requests(),
            retries: tally.retries(),
            rows_per_s: acknowledged as f64 / ended.took.as_secs_f64().max(1e-9),
            seconds: ended.took.as_secs_f64(),
            ack_p50_ms: percentile(0.5),
            ack_p90_ms: percentile(0.9),
            ack_p99_ms: percentile(0.99),
            ack_max_ms: answers.latencies.max_ms(),
            otlp_bytes_per_row: ended.otlp_bytes_per_row,
            own_cpu_us_per_row: ended.own_cpu.as_secs_f64() * 1e6 / sent.max(1) as f64,
            refused: answers.refused,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sent          {:>12} rows in {} requests, {} repeated", self.sent, self.requests, self.retries)?;
        writeln!(f, "acknowledged  {:>12} rows", self.acknowledged)?;
        for (code, rows) in &self.refused {
            writeln!(f, "refused       {rows:>12} rows: {code}")?;
        }
        writeln!(f, "rate          {:>12.0} rows/s over {:.1} s", self.rows_per_s, self.seconds)?;
        let [p50, p90, p99, max] = [self.ack_p50_ms, self.ack_p90_ms, self.ack_p99_ms, self.ack_max_ms];
        writeln!(f, "latency       {p50:>12.2} ms p50, {p90:.2} p90, {p99:.2} p99, {max:.2} max")?;
        write!(f, "a row         {:>12.1} bytes of OTLP; {:.2} us of this program's CPU", self.otlp_bytes_per_row, self.own_cpu_us_per_row)
    }
}
