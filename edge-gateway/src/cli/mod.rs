//! The command line of `tributary-edge`: what can be asked, and of whom.
//!
//! `run` and `check` are for the service; `status`, `spool` and `rejected` for a person. Of those only `drop --apply` and `spool fsck
//! --repair` change anything.

pub mod rejected;
pub mod spool;
pub mod status;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use service::admin::client::{AskError, Client, DEFAULT_ADDR};
use service::config::ConfigError;

use crate::config::Config;

/// Takes OTLP from senders nearby, keeps it on disk, ships it to a router in columns.
///
///   tributary-edge check --config edge.yaml
///   tributary-edge run --config edge.yaml
///   tributary-edge status --config edge.yaml
///   tributary-edge spool ls --config edge.yaml
///   tributary-edge spool fsck --config edge.yaml
///
/// Any key can be set from the environment: TRIBUTARY_EDGE__SHIP__LINK_CAP=4MiB/s. The log filter is
/// TRIBUTARY_LOG, for example info,edge_gateway=debug.
///
/// Exit codes: 0 done, or drained after SIGTERM or SIGINT; 1 it cannot start, or what was asked
/// cannot be had; 2 the configuration or the command line is wrong, or `check` found something wrong in
/// the files it names; 3 the answer is there and is not a good one (not ready, damaged).
#[derive(Debug, Parser)]
#[command(name = "tributary-edge", version, verbatim_doc_comment)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until SIGTERM or SIGINT, then drain within the configured deadline.
    #[command(after_help = "Example: tributary-edge run --config /etc/tributary/edge.yaml")]
    Run(File),
    /// Check the configuration and the certificates it names, and say what is wrong with them; touches nothing else.
    #[command(after_help = "Example: tributary-edge check --config /etc/tributary/edge.yaml")]
    Check(File),
    /// Ask the running edge how it is: ready or why not, its router, its disk, and where every row went.
    #[command(after_help = status::HELP)]
    Status(status::Status),
    /// The spool, the batches that wait on this edge's disk: look into it, find damage, export, drop.
    #[command(subcommand)]
    Spool(spool::Spool),
    /// The batches that a router refused for good, kept for a person to look at: list, export, remove.
    #[command(subcommand)]
    Rejected(rejected::Rejected),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct File {
    /// The configuration (YAML).
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_EDGE_CONFIG")]
    pub config: PathBuf,
}

/// Which edge is asked.
#[derive(Debug, Clone, Args)]
pub struct Asked {
    /// The edge's configuration: its `admin.listen` is asked.
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_EDGE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The address of its admin endpoint, instead of a configuration. Without either: 127.0.0.1:9464.
    #[arg(long, value_name = "ADDR:PORT")]
    pub admin: Option<SocketAddr>,
}

impl Asked {
    /// The endpoint.
    ///
    /// # Errors
    /// [`CommandError::Config`].
    pub fn client(&self) -> Result<Client, CommandError> {
        let addr = match (self.admin, &self.config) {
            (Some(addr), _) => addr,
            (None, Some(path)) => Config::load(path).map_err(CommandError::Config)?.admin,
            (None, None) => DEFAULT_ADDR,
        };
        Ok(Client::new(addr))
    }
}

/// Why a command has no answer; one line with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// The edge does not answer, or not as one does.
    #[error("{}", .0.with_remedy("edge"))]
    Ask(#[from] AskError),
    /// The answer cannot be written.
    #[error("standard output: {0}")]
    Print(#[from] std::io::Error),
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
