//! The kill matrix: `kill -9` of each process in turn under load, then the count of every record that a sender logged as acknowledged.
//!
//! ```text
//! senders ──OTLP──▶ edge ══relay══▶ router ──▶ Parquet       each is killed at seeded moments and started again on its disk;
//! agent ─▶ witness ──▶ "                                     a share of the kills hits edge and router at once, or a process
//!                                                            that is just starting
//! ```
//!
//! Senders repeat what got no answer, with the same bytes, as SDKs do. A record that got no OK may be in the tier or not, but never
//! twice. What the agent had not sent when it was killed is gone; what the edge said OK to is judged as any other record.

mod matrix;
pub mod plan;
pub mod report;
pub mod witness;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use matrix::{Matrix, Remains};
use plan::{Shares, Victim};
use report::Report;

use crate::clock;
use crate::progress::Progress;
use crate::stand::layout::Layout;
use crate::stand::ledger;
use crate::verify::{self, Verdict, tier};

const DRAIN_DEADLINE: Duration = Duration::from_secs(90);

/// Which processes are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Process {
    /// The edge.
    Edge,
    /// The router.
    Router,
    /// The agent.
    Agent,
    /// Each in turn.
    All,
}

impl Process {
    fn victims(self) -> &'static [Victim] {
        match self {
            Self::Edge => &[Victim::Edge],
            Self::Router => &[Victim::Router],
            Self::Agent => &[Victim::Agent],
            Self::All => &Victim::ALL,
        }
    }
}

/// `tributary-chaos kill`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How often each process has its turn.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub times: u32,
    /// Which process.
    #[arg(long, value_enum, default_value_t = Process::All)]
    pub process: Process,
    /// Percent of the turns of edge and router in which both are killed at once.
    #[arg(long, value_name = "PERCENT", default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub pairs: u64,
    /// Percent of the turns in which the process is killed again within 100 ms of its start.
    #[arg(long, value_name = "PERCENT", default_value_t = 25, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub during_recovery: u64,
    /// Seed of the moments and the telemetry; default: a new one, which the report tells.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Rows a second: spans, log records and data points together.
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub rate: u64,
    /// New or empty folder for all files; kept afterwards. Default: a new one in the system's temporary folder, kept when anything is wrong.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Print one JSON object to standard output; progress stays on standard error.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    fn replay(&self, seed: u64) -> String {
        let Self { times, pairs, during_recovery, rate, .. } = self;
        let process = self.process.victims();
        let process = if process.len() == 1 { process[0].as_str() } else { "all" };
        format!(
            "tributary-chaos kill --seed {seed} --times {times} --process {process} --rate {rate} --pairs {pairs} --during-recovery {during_recovery}"
        )
    }
}

/// Runs the matrix and prints its report; succeeds only when it is clean.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let seed = args.seed.unwrap_or_else(|| clock::unix_nano() / 1000);
    let default = || std::env::temp_dir().join(format!("tributary-kill-{seed:x}-{:x}", std::process::id()));
    let dir = args.dir.clone().unwrap_or_else(default);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run(args, seed, &dir))) {
        Ok(report) => {
            let text = if args.json { serde_json::to_string_pretty(&report).unwrap_or_default() } else { report.to_string() };
            println!("{text}");
            if !report.is_clean() {
                eprintln!("kill: not clean: files are in {}; the same again: {}", dir.display(), report.replay);
                return ExitCode::FAILURE;
            }
            if args.dir.is_none()
                && let Err(error) = std::fs::remove_dir_all(&dir)
            {
                eprintln!("kill: {}: {error}", dir.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("kill: {error}\nkill: files are in {}; the same again: {}", dir.display(), args.replay(seed));
            ExitCode::FAILURE
        }
    }
}

/// Runs it to the end.
///
/// # Errors
/// When a part does not start or ends by itself, when data does not move again after a kill, or a sender gives up.
pub async fn run(args: &Args, seed: u64, dir: &std::path::Path) -> io::Result<Report> {
    let began = Instant::now();
    let layout = Layout::create(dir)?;
    let progress = Progress::new(began);
    progress.say(&format!("seed {seed}; files go to {}", layout.dir.display()));
    let mut matrix = Matrix::start(&layout, seed, args.rate, &progress).await?;
    let shares = Shares { pairs: args.pairs, during_recovery: args.during_recovery };
    let strikes = plan::plan(seed, args.times, args.process.victims(), shares);
    for (nth, strike) in strikes.iter().enumerate() {
        matrix.strike(strike).await?;
        let whom = strike.whom.iter().map(|victim| victim.as_str()).collect::<Vec<_>>().join(" and ");
        let again = strike.again.map_or(String::new(), |again| format!(", again {} ms after the start", again.as_millis()));
        let acknowledged = matrix.acknowledged();
        progress.say(&format!("{}/{}: kill -9 of {whom}{again}; {acknowledged} rows acknowledged", nth + 1, strikes.len()));
    }
    progress.say("senders stop; waiting until edge and tier are empty");
    let remains = matrix.finish(DRAIN_DEADLINE).await?;
    progress.say("looking for every acknowledged id in Parquet");
    let mut report = judge(&layout, remains)?;
    (report.seed, report.replay, report.took_s) = (seed, args.replay(seed), began.elapsed().as_secs_f64());
    Ok(report)
}

fn judge(layout: &Layout, remains: Remains) -> io::Result<Report> {
    let signals = verify::verify(&layout.tier(), &remains.ack_logs)?;
    let found = tier::connects(&layout.tier(), remains.port)?;
    let found = found.iter().map(|connects| ((connects.pid, connects.time_unix_nano), connects.count));
    Ok(Report {
        total: Verdict::sum(signals.values()),
        signals,
        connects: verify::of_counts(&remains.connects, found),
        agent_probes: remains.probes,
        kills: remains.recoveries.values().map(|recovery| recovery.kills).sum(),
        processes: remains.recoveries,
        retried_requests: remains.retried,
        ledgers_balance: remains.ledgers.values().all(ledger::balances),
        queued: remains.ledgers.values().map(ledger::queued).sum(),
        ledgers: remains.ledgers,
        seed: 0,
        took_s: 0.0,
        dir: layout.dir.clone(),
        replay: String::new(),
    })
}
