//! The demo: a CA, a router, two edges in two regions and an agent as real processes; a real workload; a cut link and a `kill -9`;
//! then the count of every record that a sender logged as acknowledged.
//!
//! ```text
//! senders ──OTLP──▶ edge-west ══relay══▶ router ──▶ Parquet     the relay of edge-west is cut for a while
//! agent   ──OTLP──▶     "                  ▲
//! senders ──OTLP──▶ edge-east ══relay══════┘                    edge-east is killed with -9 and started again
//! ```

pub mod baseline;
pub mod federation;
pub mod report;
pub mod sender;
pub mod traffic;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use federation::Federation;
use report::{Connects, Report};

use crate::clock;
use crate::progress::Progress;
use crate::stand::layout::Layout;
use crate::stand::ledger;
use crate::verify::{self, Verdict};

const DRAIN_DEADLINE: Duration = Duration::from_secs(60);
const DOWN_FOR: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the senders send.
    pub sending: Duration,
    /// Spans a second and sender.
    pub spans_per_s: u32,
    /// One JSON object on standard output.
    pub json: bool,
    /// Where all files go.
    pub dir: Option<PathBuf>,
    /// Seed of the telemetry.
    pub seed: u64,
}

/// Runs the demo, prints its report, and tells by the exit code whether it is clean.
#[must_use]
pub fn main(options: &Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run(options)) {
        Ok(report) => {
            let text = if options.json { serde_json::to_string_pretty(&report).unwrap_or_default() } else { report.to_string() };
            println!("{text}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("demo: {error}");
    ExitCode::FAILURE
}

/// Runs it to the end.
///
/// # Errors
/// When a part does not start, ends by itself, or does not drain: the message says where its log lies.
pub async fn run(options: &Options) -> io::Result<Report> {
    let began = Instant::now();
    let dir = options.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("tributary-demo-{:x}", clock::unix_nano() / 1000)));
    let layout = Layout::create(&dir)?;
    let progress = Progress::new(began);
    progress.say(&format!("files go to {}", layout.dir.display()));
    let mut federation = Federation::start(&layout, options, &progress).await?;
    let ready_after_s = began.elapsed().as_secs_f64();
    break_things(&mut federation, options.sending, &progress).await?;
    let made = federation.stop_senders().await?;
    let ledgers = federation.drain(&progress, DRAIN_DEADLINE).await?;
    let ended = federation.stop(&progress).await?;

    progress.say("looking for every acknowledged id in Parquet");
    let signals = verify::verify(&layout.tier(), &ended.ack_logs)?;
    let total = Verdict::sum(signals.values());
    let ours = verify::tier::connects(&layout.tier(), made.traffic_port)?.into_iter().filter(|connects| connects.pid == std::process::id());
    let seen_by_agent = ours.map(|connects| connects.count).sum();
    let ledgers_balance = ledgers.values().all(ledger::balances);
    Ok(Report {
        total,
        signals,
        wire_bytes: ended.carried.up_bytes,
        wire_bytes_down: ended.carried.down_bytes,
        otlp_zstd_bytes: made.otlp_zstd_bytes,
        otlp_bytes: made.otlp_bytes,
        retried_requests: made.retried,
        datagrams_lost: ended.carried.lost,
        connects: Connects { made: made.connects, seen_by_agent },
        ledgers,
        ledgers_balance,
        ready_after_s,
        took_s: began.elapsed().as_secs_f64(),
        dir: layout.dir,
    })
}

/// The timeline, in shares of the sending time: cut at 20 %, mend at 45 %, kill at 60 %, restart two seconds later.
async fn break_things(federation: &mut Federation, sending: Duration, progress: &Progress) -> io::Result<()> {
    let began = Instant::now();
    let at = |share: f64| began + sending.mul_f64(share);
    federation.watch_until(at(0.20), progress).await?;
    progress.say("cutting the link of edge-west");
    federation.cut_west(true);
    federation.watch_until(at(0.45), progress).await?;
    progress.say("mending the link of edge-west");
    federation.cut_west(false);
    federation.watch_until(at(0.60), progress).await?;
    progress.say("kill -9 of edge-east");
    federation.kill_east().await?;
    federation.watch_until(Instant::now() + DOWN_FOR, progress).await?;
    progress.say("starting edge-east again");
    federation.restart_east()?;
    federation.watch_until(at(1.0), progress).await
}
