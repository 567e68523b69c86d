//! `tributary-agent`: parse, run, drain. Everything else is in the library.

use std::path::PathBuf;
use std::process::ExitCode;

use agent::Config;
use agent::config::Mode;
use anyhow::Context;
use clap::{Parser, Subcommand};
use service::shutdown::Shutdown;

/// Sees TCP connects and processes by eBPF and sends them as OpenTelemetry to the edge.
#[derive(Parser)]
#[command(name = "tributary-agent", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs until SIGTERM or SIGINT.
    #[command(after_help = "Example: tributary-agent run --config /etc/tributary/agent.yaml")]
    Run(Options),
    /// Reads the configuration and says which probes this machine permits.
    #[command(after_help = "Example: tributary-agent check --config /etc/tributary/agent.yaml")]
    Check(Options),
}

#[derive(clap::Args)]
struct Options {
    /// The configuration; TRIBUTARY_AGENT__SECTION__KEY=value overrides it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Logs one JSON object per line.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(options) => run(&options),
        Command::Check(options) => check(&options),
    };
    service::exit_code(result)
}

fn run(options: &Options) -> anyhow::Result<()> {
    let config = Config::read(&options.config)?;
    service::observe::init_tracing(options.json);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("cannot watch for signals")?;
        Ok(agent::run(config, shutdown).await?)
    })
}

fn check(options: &Options) -> anyhow::Result<()> {
    let config = Config::read(&options.config)?;
    let mut wanting = false;
    for (probe, mode, missing) in agent::check(&config) {
        if missing.is_empty() {
            println!("probe {probe}: runs here");
        }
        for missing in &missing {
            println!("{missing}");
        }
        wanting |= mode == Mode::On && !missing.is_empty();
    }
    anyhow::ensure!(!wanting, "a probe that must run (probes.*: on) cannot: see above, or set it to auto");
    Ok(())
}
