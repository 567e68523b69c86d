//! The lab: real processes on hosts of their own, joined by slow links, while things break; then every acknowledged record is counted.
//!
//! ```text
//!                   west, east: edge clusters          r1, r2: routers, each with its journal and tier
//! senders ──OTLP──▶ kvm: a KVM host        ══ 10 Mbit/s ══▶ wan ══▶ r1 ──▶ Parquet
//!  (no fault here)                          delay, loss, cuts    └▶ r2 ──▶ Parquet
//! ```
//!
//! Scenarios are files ([`scenario`]). Hosts are network namespaces inside a [`sandbox`], out of which nothing comes and in which nothing
//! remains. Bounds: `--jobs` scenarios at a time; a load of at most [`scenario::MAX_SECONDS`]; every wait has a deadline.

mod collector;
mod command;
mod damage;
mod detour;
mod disk;
mod net;
mod plant;
pub mod relay;
pub mod report;
mod run;
mod sandbox;
pub mod scenario;
pub mod site;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use service::shutdown::Shutdown;
use tokio::time::Instant;

use crate::clock;
use crate::progress::Progress;
use report::Outcome;
use scenario::{Scenario, library};

/// Shown below the options.
pub const HELP: &str = "\
Examples:
  tributary-chaos lab list                       what there is
  sudo tributary-chaos lab link-cut              one scenario
  sudo tributary-chaos lab all --quick --jobs 4  those that have a quick form
  sudo tributary-chaos lab all --json            everything, as one list
  sudo tributary-chaos lab my-scenario.yaml      one of your own; the form is described in chaos/src/lab/scenario/mod.rs
Needs root, and the programs ip, tc, nft, ethtool, unshare and setpriv. Everything happens in namespaces that end with the command:
the machine's own network is not touched, and nothing is left behind however it ends.";

/// `tributary-chaos lab`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A scenario's name, `all`, `list`, or the path of a scenario file.
    pub scenario: String,
    /// Only scenarios with a quick form, and those shortened.
    #[arg(long)]
    pub quick: bool,
    /// Print JSON to standard output (`all`: a list); progress stays on standard error.
    #[arg(long)]
    pub json: bool,
    /// New or empty folder for all files; kept afterwards. Default: one in the system's temporary folder, kept when anything is wrong.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Seed of the telemetry; default: a new one.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Scenarios at once, each in a sandbox of its own: quicker, and worse for times and memory.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub jobs: u16,
    /// Told by the lab to itself.
    #[arg(long, hide = true)]
    pub inside: bool,
}

/// Runs it; succeeds only when all that must hold did.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match start(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> io::Result<ExitCode> {
    if args.scenario == "list" {
        for scenario in library::all().map_err(io::Error::other)? {
            let quick = if scenario.quick.is_some() { "quick" } else { "" };
            println!("{:<24}{:>5} s  {quick:<6} {}", scenario.name, scenario.load.seconds, scenario.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let scenarios = chosen(args).map_err(io::Error::other)?;
    let seed = args.seed.unwrap_or_else(|| clock::unix_nano() / 1000);
    let default = || std::env::temp_dir().join(format!("tributary-lab-{seed:x}"));
    let dir = args.dir.clone().unwrap_or_else(default);
    match scenarios.first() {
        Some(scenario) if args.inside => inside(scenario, seed, &dir),
        _ => outside(args, &scenarios, seed, &dir),
    }
}

fn chosen(args: &Args) -> Result<Vec<Scenario>, service::config::ConfigError> {
    let found = if args.scenario == "all" { library::all()? } else { vec![library::find(&args.scenario)?] };
    let quick = |scenario: Scenario| scenario.quick.map(|factor| scenario.scaled(factor));
    Ok(if args.quick { found.into_iter().filter_map(quick).collect() } else { found })
}

/// Runs the scenarios, each in a sandbox of its own, and prints what they came to.
fn outside(args: &Args, scenarios: &[Scenario], seed: u64, dir: &Path) -> io::Result<ExitCode> {
    sandbox::check()?;
    eprintln!("lab: seed {seed}; files go to {}", dir.display());
    // The longest first, so that none is left over at the end.
    let mut order: Vec<usize> = (0..scenarios.len()).collect();
    order.sort_by_key(|&nth| std::cmp::Reverse(scenarios[nth].load.seconds));
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some(&nth) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let scenario = &scenarios[nth];
            // A path stays one; a name of the library finds itself.
            let name = if args.scenario == "all" { &scenario.name } else { &args.scenario };
            let place = dir.join(&scenario.name);
            let outcome = sandbox::run(name, args.quick, seed, &place).unwrap_or_else(|error| Outcome::of_error(scenario, &error, &place));
            if !args.json {
                println!("{outcome}");
            }
            if outcome.ok && args.dir.is_none() {
                // What cannot be removed stays in the system's temporary folder.
                drop(std::fs::remove_dir_all(&place));
            }
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(nth, outcome);
        }
    };
    std::thread::scope(|threads| (0..args.jobs).for_each(|_| drop(threads.spawn(work))));
    let outcomes: Vec<Outcome> = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    if args.json {
        let text =
            if args.scenario == "all" { serde_json::to_string_pretty(&outcomes) } else { serde_json::to_string_pretty(&outcomes.first()) };
        println!("{}", text.unwrap_or_default());
    }
    let ok = !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.ok);
    if ok && args.dir.is_none() {
        drop(std::fs::remove_dir_all(dir));
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// In the sandbox: one scenario, and its outcome as JSON.
fn inside(scenario: &Scenario, seed: u64, place: &Path) -> io::Result<ExitCode> {
    sandbox::furnish()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let progress = Progress::new(Instant::now());
    let outcome = runtime.block_on(async {
        let stop = Shutdown::on_signals()?;
        tokio::select! {
            ended = run::run(scenario, seed, place, &progress) => ended,
            () = stop.requested() => Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
        }
    });
    let outcome = outcome.unwrap_or_else(|error| Outcome::of_error(scenario, &error, place));
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(ExitCode::SUCCESS)
}
