//! `tributary-chaos`: the demo, and the parts that it starts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chaos::demo::{self, Options};
use chaos::part::{self, Role};
use clap::{Parser, Subcommand};

/// A whole Tributary federation on this machine.
#[derive(Parser)]
#[command(name = "tributary-chaos", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a router, two edges and an agent; cut a link, kill an edge with -9; then count every acknowledged record.
    ///
    /// Needs no privileges and only loopback. With CAP_BPF and CAP_PERFMON (as root) the agent also sees the demo's HTTP connects.
    /// Exits 0 only when nothing was lost, nothing doubled, and every ledger balances.
    Demo {
        /// How long the senders send, in seconds (10 to 3600). Building up, draining and counting come on top.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=3600))]
        seconds: u64,
        /// Spans a second and sender; half as many log records and a quarter as many data points go with them.
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(40..=100_000))]
        rate: u32,
        /// Print one JSON object to standard output; progress stays on standard error.
        #[arg(long)]
        json: bool,
        /// New or empty folder for all files; kept afterwards. Default: a new one in the system's temporary folder.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Seed of the telemetry.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Run one part in this process, as its own binary would (the demo starts these).
    #[command(hide = true)]
    Part {
        /// Which.
        role: Role,
        /// Its configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo { seconds, rate, json, dir, seed } => {
            demo::main(&Options { sending: Duration::from_secs(seconds), spans_per_s: rate, json, dir, seed })
        }
        Command::Part { role, config } => part::main(role, &config),
    }
}
