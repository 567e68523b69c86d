//! `tributary-router`: parses, builds, runs and drains. The rest is the library.

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use central_router::cli::{Cli, Command, ConfigFile};
use central_router::config::Config;
use central_router::edges::Edges;
use clap::Parser;
use federation_proto::frame::ALPN;
use service::config::ByteSize;
use service::shutdown::Shutdown;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    execute(Cli::parse()).unwrap_or_else(|error| service::exit_code(Err::<(), _>(error)))
}

fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(file) => run(&file)?,
        Command::Check(file) => return Ok(service::check_code(check(&file.config))),
        Command::Query(query) => query.execute()?,
        Command::Pki(pki) => print!("{}", pki.execute()?),
        Command::Edges(edges) => return ask(edges.execute()),
        Command::Ledger(ledger) => return ask(ledger.execute()),
        Command::Journal(journal) => return ask(journal.execute()),
        Command::Tail(tail) => return ask(tail.execute()),
    }
    Ok(ExitCode::SUCCESS)
}

fn run(file: &ConfigFile) -> anyhow::Result<()> {
    let config = Config::load(&file.config)?;
    service::observe::init_tracing(file.log_json);
    let runtime = Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
        Ok(central_router::run(config, shutdown).await?)
    });
    // A disk that hangs in a blocking task must not keep the process beyond its drain.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

fn ask<E: Into<anyhow::Error>>(question: impl Future<Output = Result<ExitCode, E>>) -> anyhow::Result<ExitCode> {
    Builder::new_current_thread().enable_all().build()?.block_on(question).map_err(Into::into)
}

fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    service::tls::install_provider();
    config.tls.server_config(&[ALPN]).context("tls")?;
    central_router::check_dates(&config).context("tls")?;
    let edges = Edges::load(&config.edges)?;
    for (name, tier) in &config.tiers {
        tier.verify().with_context(|| format!("tiers.{name}"))?;
    }
    let (edges, tiers, credit) = (edges.edges.len(), config.tiers.len(), ByteSize(config.credit));
    println!("{}: ok; edges allowed: {edges}; tiers: {tiers}; credit of each edge: {credit}", path.display());
    Ok(())
}
