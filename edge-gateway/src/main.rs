//! `tributary-edge`: parses, builds, runs, drains. Everything else is in the library.

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;
use edge_gateway::Config;
use edge_gateway::cli::{Cli, Command, File};
use service::observe;
use service::shutdown::Shutdown;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    start(Cli::parse().command).unwrap_or_else(|error| service::exit_code(Err::<(), _>(error)))
}

fn start(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(file) => Ok(service::check_code(check(&file))),
        Command::Run(file) => run(&file),
        Command::Status(status) => ask(status.execute()),
        Command::Spool(spool) => ask(spool.execute()),
        Command::Rejected(rejected) => Ok(rejected.execute()?),
    }
}

fn check(file: &File) -> anyhow::Result<()> {
    edge_gateway::check(&Config::load(&file.config)?)?;
    println!("{}: ok", file.config.display());
    Ok(())
}

fn run(file: &File) -> anyhow::Result<ExitCode> {
    let config = Config::load(&file.config)?;
    observe::init_tracing(config.log_json);
    observe::install_metrics();
    service::tls::install_provider();
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        edge_gateway::run(config, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn ask<E: Into<anyhow::Error>>(question: impl Future<Output = Result<ExitCode, E>>) -> anyhow::Result<ExitCode> {
    Builder::new_current_thread().enable_all().build()?.block_on(question).map_err(Into::into)
}
