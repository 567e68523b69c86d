//! `tributary-edge`: parses, builds, runs, drains. Everything else is in the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use edge_gateway::Config;
use service::observe;
use service::shutdown::Shutdown;

/// Takes OTLP from senders nearby, keeps it on disk, ships it to a router in columns.
///
/// Exit codes: 0 after a drain (SIGTERM, SIGINT), 1 when it cannot start, 2 when the configuration is wrong.
#[derive(Parser)]
#[command(
    name = "tributary-edge",
    version,
    after_help = "Any key can be set from the environment: TRIBUTARY_EDGE__SHIP__LINK_CAP=4MiB/s\nThe log filter is TRIBUTARY_LOG, for example info,edge_gateway=debug"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT, then drain within the configured deadline.
    Run(File),
    /// Check the configuration and the certificates it names, and say what is wrong with them.
    Check(File),
}

#[derive(clap::Args)]
struct File {
    /// The configuration (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    service::exit_code(start(Cli::parse().command))
}

fn start(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(file) => {
            edge_gateway::check(&Config::load(&file.config)?)?;
            println!("{}: good", file.config.display());
            Ok(())
        }
        Command::Run(file) => {
            let config = Config::load(&file.config)?;
            observe::init_tracing(config.log_json);
            observe::install_metrics();
            service::tls::install_provider();
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
                let shutdown = Shutdown::on_signals()?;
                Ok(edge_gateway::run(config, shutdown).await?)
            })
        }
    }
}
