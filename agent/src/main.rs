//! `tributary-agent`: parse, run, drain. Everything else is in the library.

use std::process::ExitCode;

use agent::Config;
use agent::cli::{Arguments, Command, Options};
use agent::config::Mode;
use anyhow::Context;
use clap::Parser;
use service::shutdown::Shutdown;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(options) => run(&options),
        Command::Check(options) => check(&options),
    };
    service::exit_code(result)
}

fn run(options: &Options) -> anyhow::Result<()> {
    let config = Config::read(&options.config)?;
    service::observe::init_tracing(options.log_json);
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
