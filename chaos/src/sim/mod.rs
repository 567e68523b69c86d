//! Seeded simulation: the product's own logs, account, batcher, encoders, shipper, conversations, session, admission, dedup, journal and
//! consumers, on simulated clock, network and disks, without threads. See [`faults`] for what goes wrong and [`check`] for what must hold.
//!
//! ```text
//! senders ──▶ edge: inbox ─▶ batcher ─▶ spool ══▶ router: intake ─▶ journal ─▶ course ─▶ tier
//!              SimStore          SimStore   network       SimStore              map of units
//! ```
//!
//! The same seed gives the same run, bit for bit. A failing seed is run once more with its events written down, and told with the one
//! command that repeats it.

pub mod check;
pub mod clockwork;
pub mod edge;
pub mod event;
pub mod faults;
pub mod network;
pub mod report;
pub mod router;
pub mod sender;
pub mod tier;
pub mod world;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use self::report::Report;
use self::world::{Outcome, Size, World};
use crate::clock;

/// `tributary-chaos sim`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub seeds: u64,
    /// The first seed; default: a random one, which the report tells.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Batches that come into the spools before the faults of a seed stop.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub batches: u64,
    /// Let bits flip on disks, in one seed of six. Such seeds are known to fail: a checkpoint that is damaged is not yet made good.
    #[arg(long)]
    pub damage: bool,
    /// Lines of a failing seed's last events.
    #[arg(long, default_value_t = 60)]
    pub lines: usize,
    /// A fault put into the product on purpose; needs a build with `--features mutations`.
    #[arg(long)]
    pub mutation: Option<String>,
    /// Print one JSON object to standard output; progress stays on standard error.
    #[arg(long)]
    pub json: bool,
}

/// Runs a seed.
#[must_use]
pub fn run_seed(seed: u64, size: Size, lines: Option<usize>) -> Outcome {
    World::new(seed, size, lines).run()
}

/// The seeds, until the first that fails if `stop_at_first`.
#[must_use]
pub fn run_seeds(seeds: impl Iterator<Item = u64>, size: Size, lines: usize, stop_at_first: bool) -> Report {
    let mut report = Report::new(clock::cpu());
    for seed in seeds {
        let outcome = run_seed(seed, size, None);
        let failed = outcome.failure.is_some();
        report.add(seed, size, &outcome);
        if failed {
            report.tell(seed, &run_seed(seed, size, Some(lines)));
            if stop_at_first {
                break;
            }
        }
    }
    report.finish(clock::cpu());
    report
}

/// The command.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    if let Err(why) = set_mutation(args.mutation.as_deref()) {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    let first = args.seed.unwrap_or_else(|| clock::unix_nano() >> 8 & 0xFFFF_FFFF);
    eprintln!("seeds {first} to {}", first + args.seeds - 1);
    let report =
        run_seeds(first..first + args.seeds, Size { batches: args.batches, damage: args.damage }, args.lines, args.mutation.is_some());
    if args.json {
        println!("{}", report.json());
    }
    eprintln!("{report}");
    if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(feature = "mutations")]
fn set_mutation(name: Option<&str>) -> Result<(), String> {
    use segment_log::mutation::{self, Mutation};
    let Some(name) = name else { return Ok(()) };
    let all: Vec<&str> = Mutation::ALL.iter().map(|mutation| mutation.name()).collect();
    let found = Mutation::ALL.into_iter().find(|mutation| mutation.name() == name);
    let found = found.ok_or_else(|| format!("no mutation {name}: expected one of {}", all.join(", ")))?;
    mutation::set(Some(found));
    Ok(())
}

#[cfg(not(feature = "mutations"))]
fn set_mutation(name: Option<&str>) -> Result<(), String> {
    match name {
        None => Ok(()),
        Some(name) => {
            Err(format!("this build has no faults on purpose: cargo run --release -p chaos --features mutations -- sim --mutation {name}"))
        }
    }
}
