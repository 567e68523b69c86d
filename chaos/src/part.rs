//! The program in the part of another: `tributary-chaos part edge --config F` runs what `tributary-edge run --config F` runs.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use service::shutdown::Shutdown;

/// Which binary's library to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// `tributary-router`
    Router,
    /// `tributary-edge`
    Edge,
    /// `tributary-agent`
    Agent,
}

impl Role {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Edge => "edge",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Runs the part until it is told to stop, as its own binary does.
#[must_use]
pub fn main(role: Role, config: &Path) -> ExitCode {
    service::exit_code(run(role, config))
}

fn run(role: Role, config: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    service::observe::init_tracing(false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        Role::Router => {
            let config = central_router::config::Config::load(config)?;
            runtime.block_on(async { Ok(central_router::run(config, Shutdown::on_signals()?).await?) })
        }
        Role::Edge => {
            let config = edge_gateway::Config::load(config)?;
            runtime.block_on(async { Ok(edge_gateway::run(config, Shutdown::on_signals()?).await?) })
        }
        Role::Agent => {
            let config = agent::Config::read(config)?;
            runtime.block_on(async { Ok(agent::run(config, Shutdown::on_signals()?).await?) })
        }
    }
}
