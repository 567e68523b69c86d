//! Twice of what an edge can take: it must take as much as before, refuse or delay the rest, and need no more memory for it.
//!
//! One edge on a core of its own. First as fast as it answers: its peak, and the memory that goes with it. Then a schedule of twice that
//! rate on [`MORE_CONNECTIONS`] times the connections, so that there are always more requests than it can have in hand. Peak memory is the
//! kernel's mark, reset between the two. What is refused is not repeated. Bounds: the load's; ten minutes to drain, twice.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::edge::Alone;
use super::report::{mib, us_per_row};
use super::{Args, Cores, Report};
use crate::load::{MAX_CONNECTIONS, Shape};
use crate::usage;

/// So much more than the peak is sent.
const TIMES: f64 = 2.0;
const MORE_CONNECTIONS: u64 = 8;
/// Longest measurement of the peak.
const PEAK: Duration = Duration::from_secs(20);
/// What must hold: of the peak, in percent.
const LEAST_GOODPUT_PERCENT: f64 = 95.0;
/// And of the memory before.
const MOST_MEMORY: f64 = 1.2;

/// The overload beside the peak. Rates and memory of the overload itself are the report's.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Overload {
    /// Rows a second that left the edge when it was asked as fast as it answered.
    pub peak_rows_per_s: f64,
    /// Rows a second that the schedule had.
    pub offered_rows_per_s: f64,
    /// Rows a second under overload, in percent of the peak.
    pub goodput_percent: f64,
    /// Peak of resident memory at the peak.
    pub steady_rss_mib: f64,
    /// Peak of resident memory under overload, as a multiple of that.
    pub rss_times: f64,
}

impl Overload {
    /// Does what must hold?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.goodput_percent >= LEAST_GOODPUT_PERCENT && self.rss_times <= MOST_MEMORY
    }
}

pub(super) async fn measure(args: &Args, layout: &super::Layout, cores: &Cores) -> io::Result<Report> {
    let mut edge = Alone::start(layout, cores).await?;
    let at_peak = Args { shape: Shape { rate: None, ..args.shape.clone() }, ..args.clone() };
    let peak = edge.load(&at_peak, args.measuring().min(PEAK)).await?;
    edge.drained(peak.rows).await?;
    let steady_rss = usage::peak_memory(edge.pid)?;

    usage::forget_peak_memory(edge.pid)?;
    let cpu_before = usage::cpu_time(edge.pid)?;
    let offered = (peak.passed_per_s * TIMES).max(1.0);
    let connections = (args.shape.connections * MORE_CONNECTIONS).min(MAX_CONNECTIONS);
    let shape = Shape { rate: Some(offered as u64), connections, seed: args.shape.seed.wrapping_add(1), ..args.shape.clone() };
    let over = edge.load(&Args { shape, ..args.clone() }, args.measuring()).await?;
    let drain = edge.drained(peak.rows + over.rows).await?;
    let (cpu, rss) = (usage::cpu_time(edge.pid)?.saturating_sub(cpu_before), usage::peak_memory(edge.pid)?);
    edge.stop().await?;
    let mut report = Report {
        measured: format!("an edge on core {:?} under {TIMES} times its peak; load and sink on {:?}", cores.part, cores.own),
        rows: over.rows,
        rows_per_s: over.passed_per_s,
        acknowledged_per_s: over.acknowledged_per_s,
        cpu_us_per_row: us_per_row(cpu, over.rows),
        cpu_share: over.cpu_share,
        rss_mib: mib(rss),
        otlp_bytes_per_row: over.otlp_bytes_per_row,
        drain_s: Some(drain.as_secs_f64()),
        own_cpu_us_per_row: us_per_row(over.own_cpu, over.rows),
        overload: Some(Overload {
            peak_rows_per_s: peak.passed_per_s,
            offered_rows_per_s: offered,
            goodput_percent: over.passed_per_s * 100.0 / peak.passed_per_s.max(1.0),
            steady_rss_mib: mib(steady_rss),
            rss_times: rss as f64 / steady_rss.max(1) as f64,
        }),
        ..Report::default()
    };
    report.answers(over.answers);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Less goodput or more memory than allowed fails, each by itself.
    #[test]
    fn both_limits_count() {
        let well =
            Overload { peak_rows_per_s: 100.0, offered_rows_per_s: 200.0, goodput_percent: 95.0, steady_rss_mib: 100.0, rss_times: 1.2 };
        assert!(well.holds());
        assert!(!Overload { goodput_percent: 94.9, ..well }.holds());
        assert!(!Overload { rss_times: 1.21, ..well }.holds());
    }
}
