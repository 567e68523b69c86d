//! A load with a look at everything when the warm-up is over and when the load ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::WARM_UP;
use super::machine::Ticks;
use crate::load::tally::{Answers, Tally};
use crate::load::{self, Plan};
use crate::usage;

/// How a part stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    /// CPU time so far.
    pub(super) cpu: Duration,
    /// Rows that have left it again, where that is known.
    pub(super) passed: Option<u64>,
    /// Its cores, where it has its own.
    pub(super) ticks: Ticks,
}

/// What a load did, and what the part took for it.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Rows acknowledged, warm-up included.
    pub(super) rows: u64,
    /// In the window.
    pub(super) acknowledged_per_s: f64,
    /// In the window; of those acknowledged when nobody knows what passed.
    pub(super) passed_per_s: f64,
    /// In the window.
    pub(super) cpu_share: f64,
    /// CPU time before the load.
    pub(super) cpu_before: Duration,
    /// CPU and rows within the window: for parts whose draining cannot be seen.
    pub(super) window: (Duration, u64),
    /// The part's cores when the window opened and when it closed, and the time between.
    pub(super) ticks: (Ticks, Ticks, Duration),
    pub(super) own_cpu: Duration,
    pub(super) answers: Answers,
    pub(super) otlp_bytes_per_row: f64,
    pub(super) began: Instant,
}

/// Runs the load for warm-up and measuring time; `look` asks how the part stands.
pub(super) async fn load(mut plan: Plan, measuring: Duration, look: impl Fn() -> io::Result<Look>) -> io::Result<Loaded> {
    plan.most = WARM_UP + measuring;
    let tally = Arc::new(Tally::default());
    let (began, own_before, before) = (Instant::now(), usage::own_cpu_time(), look()?);
    let running = tokio::spawn(load::run(plan, Arc::clone(&tally), None));
    sleep(WARM_UP).await;
    tally.forget_latencies();
    let (opened, rows_at_open, at_open) = (Instant::now(), tally.acknowledged_rows(), look()?);
    let measured = async {
        sleep(measuring).await;
        Ok::<_, io::Error>((opened.elapsed(), tally.acknowledged_rows(), look()?))
    };
    let (ended, measured) = tokio::join!(running, measured);
    let (ended, (window, rows_at_close, at_close)) = (ended.map_err(io::Error::other)??, measured?);
    let (acknowledged, cpu) = (rows_at_close - rows_at_open, at_close.cpu.saturating_sub(at_open.cpu));
    let passed = at_close.passed.zip(at_open.passed).map(|(close, open)| close - open);
    let per_s = |rows: u64| rows as f64 / window.as_secs_f64();
    Ok(Loaded {
        rows: tally.acknowledged_rows(),
        acknowledged_per_s: per_s(acknowledged),
        passed_per_s: per_s(passed.unwrap_or(acknowledged).min(acknowledged)),
        cpu_share: cpu.as_secs_f64() / window.as_secs_f64(),
        cpu_before: before.cpu,
        window: (cpu, acknowledged),
        ticks: (at_open.ticks, at_close.ticks, window),
        own_cpu: usage::own_cpu_time().saturating_sub(own_before),
        answers: tally.answers(),
        otlp_bytes_per_row: ended.otlp_bytes_per_row,
        began,
    })
}
