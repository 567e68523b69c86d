//! `tributary-edge spool`: the batches on an edge's disk, for the operator who has the files. Each command is one file here.
//!
//! They read the spool's segment files, which hold the truth, and never take its lock; so they work beside a running edge, on a stopped
//! one, and on a copy of its directory.

pub mod ls;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use segment_log::{Inspection, OpenError};

use super::CommandError;
use crate::config::Config;

/// `spool`.
#[derive(Debug, Subcommand)]
pub enum Spool {
    /// List the batches in the spool; works with the edge stopped and running, and changes nothing.
    #[command(after_help = ls::HELP)]
    Ls(ls::Ls),
}

impl Spool {
    /// Does it.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn execute(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Ls(ls) => ls.execute().await,
        }
    }
}

/// Which spool.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The edge's configuration: its `data_dir` is read, and the edge is asked how far the router is, should it run.
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_EDGE_CONFIG", required_unless_present = "data_dir")]
    config: Option<PathBuf>,
    /// The edge's data directory, or a copy of it, instead of a configuration.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    /// The spool's directory, and the configuration if it was found by that.
    fn find(&self) -> Result<(PathBuf, Option<Config>), CommandError> {
        let (data_dir, config) = match (&self.data_dir, &self.config) {
            (Some(data_dir), _) => (data_dir.clone(), None),
            (None, Some(path)) => {
                let config = Config::load(path).map_err(CommandError::Config)?;
                (config.data_dir.clone(), Some(config))
            }
            (None, None) => return Err(CommandError::Spool("no spool: give --config or --data-dir".to_owned())),
        };
        Ok((data_dir.join("spool"), config))
    }
}

/// Looks at the spool in `dir`. Blocks.
fn inspect(dir: &std::path::Path) -> Result<Inspection, CommandError> {
    if !dir.is_dir() {
        let why = "is not there: no edge has run with this data_dir; check --config, or give the edge's data_dir with --data-dir";
        return Err(CommandError::Spool(format!("{}: {why}", dir.display())));
    }
    Inspection::open(dir).map_err(|error| match error {
        OpenError::Io { place, doing, source } => {
            CommandError::Spool(format!("{place}: cannot {doing}: {source}; run this as a user who may read the edge's files"))
        }
        error => CommandError::Spool(error.to_string()),
    })
}
