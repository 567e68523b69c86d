//! `tributary-edge rejected`: batches that a router refused for good. Their rows are counted as dropped with the router's reason; the
//! batches are kept in `data_dir/rejected`, within `spool.rejected`, until somebody has looked. Nothing of this takes a lock: the edge only
//! ever adds files there.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use repair::RepairError;
use repair::command::{At, Part, answer};
use repair::dropping::{self, Drop};
use repair::export::{self, Export};
use repair::kept::{self, Kept};

use super::spool::Edge;
use crate::config::Config;
use crate::link;

const DROP: &str = "Without --apply it only says what would go. What goes is lost: export it first. The ledger stays as it is, since the rows \
were counted as dropped when the router refused them; it is noted in data_dir/drops.jsonl.\n\
Exit codes: 0; 1 it cannot be done, or nothing is selected; 2 wrong configuration.";

/// `rejected`.
#[derive(Debug, Subcommand)]
pub enum Rejected {
    /// List the batches that are kept.
    #[command(after_help = "Example: tributary-edge rejected ls --config edge.yaml")]
    Ls(At<Edge, kept::Ls>),
    /// Write batches to files elsewhere, as on the wire or as OTLP.
    #[command(after_help = export::HELP)]
    Export(At<Edge, Export>),
    /// Remove batches; says what would go unless --apply is given.
    #[command(after_help = DROP)]
    Drop(At<Edge, Drop>),
}

/// What is there.
fn kept(data_dir: &Path) -> Result<Kept, RepairError> {
    Kept::at(&link::Rejected::dir(data_dir))
}

impl Rejected {
    /// Does it, and prints the answer.
    ///
    /// # Errors
    /// [`RepairError`].
    pub fn execute(self) -> Result<ExitCode, RepairError> {
        let now = Edge::now();
        match self {
            Self::Ls(At { place, what }) => answer(&kept(&place.find()?.0)?.page(what.json, now), true),
            Self::Export(At { place, what: export }) => {
                let exported = export.run_kept(&kept(&place.find()?.0)?.narrowed(&export.selection, now))?;
                answer(&export.page(&exported), exported.is_whole())
            }
            Self::Drop(At { place, what: drop }) => {
                drop.check().map_err(RepairError::Refused)?;
                let data_dir = place.find()?.0;
                let meant = kept(&data_dir)?.narrowed(&drop.selection, now);
                if drop.apply {
                    let Config { data_dir, .. } = place.config()?;
                    meant.remove()?;
                    dropping::note(&data_dir, now, &drop.selection, &drop.reason, &meant.sum())?;
                }
                answer(&drop.page(&meant.sum(), 0), true)
            }
        }
    }
}
