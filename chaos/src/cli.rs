//! The command line of `tributary-chaos`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::demo::{self, Options};
use crate::part::{self, Role};
use crate::{ask, bench, dev, kill, lab, load, look, reference, sim, verify};

/// A whole Tributary federation on this machine.
#[derive(Debug, Parser)]
#[command(name = "tributary-chaos", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an edge and a router with one tenant until Ctrl-C: the shortest way to try it.
    #[command(after_help = dev::HELP)]
    Dev(dev::Args),
    /// Show the newest records that lie in a local tier, without SQL.
    #[command(after_help = look::HELP)]
    Look(look::Args),
    /// Ask an edge, as `tributary-edge status` and `tributary-edge spool` do.
    #[command(subcommand, after_help = "Example: tributary-chaos edge status --config DIR/config/edge.yaml")]
    Edge(ask::Edge),
    /// Ask a router, as `tributary-router edges`, `ledger` and `tail` do.
    #[command(subcommand, after_help = "Example: tributary-chaos router tail --config DIR/config/router.yaml --tenant dev")]
    Router(ask::Router),
    /// Run a router, two edges and an agent; cut a link, kill an edge with -9; then count every acknowledged record.
    ///
    /// Needs no privileges and only loopback. With CAP_BPF and CAP_PERFMON (as root) the agent also sees the demo's HTTP connects.
    /// Exits 0 only when nothing was lost, nothing doubled, and every ledger balances.
    #[command(after_help = "Example: tributary-chaos demo --seconds 60 --json")]
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
    /// Send OTLP to any endpoint, and say what was acknowledged, how fast, and at what cost.
    ///
    /// Stops by itself. Exits 0 when anything was acknowledged.
    #[command(after_help = "Example: tributary-chaos load --endpoint http://127.0.0.1:4317 --signal mixed --rate 1000/s --seconds 30")]
    Load(load::Args),
    /// Look for every acknowledged record in the local tier, by id.
    ///
    /// Exits 0 only when each is there exactly once.
    #[command(after_help = "Example: tributary-chaos verify --tier data/tier --ack-log acks --tenant acme --json")]
    Verify(verify::Args),
    /// Kill each process with -9 in turn, under load, and look for every acknowledged record.
    ///
    /// Needs no privileges and only loopback; about four seconds a kill. As root the agent's kernel programs run too. Exits 0 only when
    /// nothing was lost, nothing doubled, and every ledger balances; else the files are kept and the command to repeat it is told.
    Kill(kill::Args),
    /// Break the network, processes, disks, clocks and certificates of a federation on hosts of its own, and count every record.
    ///
    /// Needs root. Exits 0 only when nothing acknowledged was lost or doubled and everything else held that the scenario expects.
    #[command(after_help = lab::HELP)]
    Lab(lab::Args),
    /// A wire with delay and loss (the lab starts these).
    #[command(hide = true)]
    LabRelay(lab::relay::Args),
    /// Run a simulated federation through faults that seeds choose, and judge each by what its senders were told.
    ///
    /// One thread, no sockets, no files. Exits 0 only when no seed lost or doubled an acknowledged row, broke a bound or a ledger, or stood
    /// still after its faults had stopped; else the command that repeats the seed is told.
    #[command(after_help = "Example: tributary-chaos sim --seeds 500 --seed 1 --json")]
    Sim(sim::Args),
    /// Measure one part, or the whole path, under load: cost per row, rate, memory, latency, bytes on the wire.
    ///
    /// The part runs as a process of its own on one core, the load on another. Needs a release build to mean anything.
    #[command(after_help = "Example: tributary-chaos bench path --json")]
    Bench(bench::Args),
    /// Write docs/metrics.md, docs/config.md and docs/schema from the code, or compare them with it (for who works on the code).
    #[command(after_help = "Example: cargo reference --check")]
    Reference(reference::Args),
    /// Run one part in this process, as its own binary would (demo and bench start these).
    #[command(hide = true)]
    Part {
        /// Which.
        role: Role,
        /// Its configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

impl Cli {
    /// Does what was asked.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Demo { seconds, rate, json, dir, seed } => {
                demo::main(&Options { sending: Duration::from_secs(seconds), spans_per_s: rate, json, dir, seed })
            }
            Command::Dev(args) => dev::main(&args),
            Command::Look(args) => look::main(&args),
            Command::Edge(question) => ask::edge(question),
            Command::Router(question) => ask::router(question),
            Command::Load(args) => load::main(&args),
            Command::Verify(args) => verify::main(&args),
            Command::Kill(args) => kill::main(&args),
            Command::Lab(args) => lab::main(&args),
            Command::LabRelay(args) => lab::relay::main(&args),
            Command::Sim(args) => sim::main(&args),
            Command::Bench(args) => bench::main(&args),
            Command::Reference(args) => reference::main(&args),
            Command::Part { role, config } => part::main(role, &config),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// No two options clash, and every default is one that is taken.
    #[test]
    fn the_command_line_is_whole() {
        Cli::command().debug_assert();
    }
}
