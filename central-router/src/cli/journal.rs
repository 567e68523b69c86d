//! `tributary-router journal`: the batches that the router has acknowledged and some tier has not written, for the operator who has the
//! files.
//!
//! What looks is the crate `repair`'s, and never takes the journal's lock; so it works beside a running router, on a stopped one, and on a
//! copy of its directory. What changes something takes the lock and does what a start does, so that the router has to be stopped: a tier
//! may be writing any batch of a running one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use federation_proto::identity::Seq;
use repair::dropping;
use repair::ls::Progress;
use repair::{Look, export, fsck, ls};
use serde_json::json;
use service::admin::client::Client;
use service::{EXIT_NOT_WELL, terminal};

use super::{CommandError, unix_seconds};
use crate::config::Config;
use crate::journal::{JournalOptions, OWNER, Offline};

const LS: &str = "States: pending (some tier has not written it); acked (all have, its disk space is not given back yet; shown with --all); damaged.\n\
Exit codes: 0; 1 the journal cannot be read; 2 wrong configuration; 3 something in it is damaged.\n\n\
Examples:\n  tributary-router journal ls --config router.yaml\n  tributary-router journal ls --data-dir /var/lib/tributary/router --json | jq '.batches[].rows'";

/// `journal`.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// List the batches on the journal; works with the router stopped and running, and changes nothing.
    #[command(after_help = LS)]
    Ls(At<ls::Ls>),
    /// Find what cannot be read, and say whose it was; with --repair put it aside and count it.
    #[command(after_help = fsck::HELP)]
    Fsck(At<fsck::Fsck>),
    /// Write batches to files.
    #[command(after_help = export::HELP)]
    Export(At<export::Export>),
    /// Drop batches that some tier has not written, counted; the router must be stopped. Says what would go unless --apply is given.
    #[command(after_help = dropping::HELP)]
    Drop(At<dropping::Drop>),
}

/// What is asked, and of which journal.
#[derive(Debug, Args)]
pub struct At<W: Args> {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    what: W,
}

/// Which journal.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The router's configuration: its `data_dir` is read, and the router is asked how far its tiers are, should it run.
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_ROUTER_CONFIG", required_unless_present = "data_dir")]
    config: Option<PathBuf>,
    /// The router's data directory, or a copy of it, instead of a configuration.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    fn look(&self) -> Result<(Look, Option<Config>), CommandError> {
        let (data_dir, config) = match (&self.data_dir, &self.config) {
            (Some(data_dir), _) => (data_dir.clone(), None),
            (None, _) => self.config().map(|config| (config.data_dir.clone(), Some(config)))?,
        };
        Ok((Look::at(&data_dir.join("journal"), OWNER)?, config))
    }

    /// The configuration, for what changes something.
    fn config(&self) -> Result<Config, CommandError> {
        match (&self.data_dir, &self.config) {
            (None, Some(path)) => Config::load(path).map_err(CommandError::Config),
            _ => Err(CommandError::Other("--data-dir is for looking: give --config to change something".to_owned())),
        }
    }
}

impl JournalCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn execute(self) -> Result<ExitCode, CommandError> {
        let now = unix_seconds();
        let (text, well) = match self {
            Self::Ls(At { place, what: ls }) => {
                let (look, config) = place.look()?;
                let progress = match config {
                    Some(config) => progress(&Client::new(config.admin.addr()), &look).await,
                    None => None,
                };
                ls.page(&look, progress.as_ref(), now)
            }
            Self::Fsck(At { place, what: fsck }) => check(&place, &fsck, now)?,
            Self::Export(At { place, what: export }) => {
                let exported = export.run(&place.look()?.0, now)?;
                (export.page(&exported), exported.is_whole())
            }
            Self::Drop(At { place, what: drop }) => {
                drop.check().map_err(CommandError::Other)?;
                let dropped = if drop.apply { apply(&place.config()?, &drop, now)? } else { drop.plan(&place.look()?.0, now) };
                (drop.page(&dropped, 0), true)
            }
        };
        terminal::print(&text)?;
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_WELL) })
    }
}

/// How far the tiers are, if the router runs, and this is its journal.
async fn progress(client: &Client, look: &Look) -> Option<Progress> {
    let said = client.json("/ledger").await.ok()?;
    if said["journal"]["id"].as_str() != look.id().as_deref() {
        return None;
    }
    let floor = said["tiers"].as_array()?.iter().filter_map(|tier| tier["cursor"].as_u64()).min()?;
    Some(Progress { floor: Seq(floor), ..Progress::default() })
}

fn offline(config: &Config) -> Result<Offline, String> {
    let tiers: Vec<String> = config.tiers.iter().map(|(name, _)| name.clone()).collect();
    Offline::open(&config.data_dir.join("journal"), &JournalOptions::of(config), &tiers).map_err(|error| error.to_string())
}

fn check(place: &Place, fsck: &fsck::Fsck, now: u64) -> Result<(String, bool), CommandError> {
    let report = fsck::Report::of(&place.look()?.0, now)?;
    if !fsck.repair {
        return Ok((report.page(fsck.json, None), report.is_well()));
    }
    let failed = |error: &dyn std::fmt::Display| CommandError::Other(format!("nothing was repaired: {error}"));
    let offline = offline(&place.config()?).map_err(|error| failed(&error))?;
    let notes = offline.opened.notes.clone();
    offline.close().map_err(|error| failed(&error))?;
    let mut text = report.page(fsck.json, Some(json!({"notes": notes})));
    if !fsck.json {
        text += &notes.iter().map(|note| format!("{note}\n")).collect::<String>();
        text += "repaired: what is damaged is put aside, and its rows are counted as dropped (damaged) at each tier\n";
    }
    Ok((text, true))
}

fn apply(config: &Config, drop: &dropping::Drop, now: u64) -> Result<dropping::Sum, CommandError> {
    let failed = |error: &dyn std::fmt::Display| CommandError::Other(format!("nothing was dropped: {error}"));
    let mut offline = offline(config).map_err(|error| failed(&error))?;
    let dropped = offline.drop(&drop.selection, now);
    offline.close().map_err(|error| failed(&error))?;
    dropping::note(&config.data_dir, now, &drop.selection, &drop.reason, &dropped)?;
    Ok(dropped)
}
