//! `tributary-edge spool`: the batches on an edge's disk, for the operator who has the files.
//!
//! What looks is the crate `repair`'s, and never takes the spool's lock; so it works beside a running edge, on a stopped one, and on a copy
//! of its directory. What changes something asks the running edge, or takes both logs' locks and does what a start does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use federation_proto::identity::Seq;
use repair::dropping::{self, Answer};
use repair::ls::Progress;
use repair::{Look, export, fsck, ls};
use serde_json::{Value, json};
use service::admin::client::{AskError, Client};
use service::{EXIT_NOT_WELL, operator, terminal};

use super::CommandError;
use crate::clock;
use crate::config::Config;
use crate::run::Offline;
use crate::run::status::DROP;
use crate::spool::OWNER;

const LS: &str = "States: pending; sent (on its way, or without the router's verdict: known while the edge runs); acked (the router has it, \
its disk space is not given back yet; shown with --all); damaged.\n\
Exit codes: 0; 1 the spool cannot be read; 2 wrong configuration; 3 something in it is damaged.\n\n\
Examples:\n  tributary-edge spool ls --config edge.yaml\n  tributary-edge spool ls --data-dir /var/lib/tributary-edge --json | jq '.batches[].rows'";

/// `spool`.
#[derive(Debug, Subcommand)]
pub enum Spool {
    /// List the batches in the spool; works with the edge stopped and running, and changes nothing.
    #[command(after_help = LS)]
    Ls(At<ls::Ls>),
    /// Find what cannot be read, and say whose it was; with --repair put it aside and count it.
    #[command(after_help = fsck::HELP)]
    Fsck(At<fsck::Fsck>),
    /// Write batches to files.
    #[command(after_help = export::HELP)]
    Export(At<export::Export>),
    /// Drop batches, counted; says what would go unless --apply is given.
    #[command(after_help = dropping::HELP)]
    Drop(At<dropping::Drop>),
}

/// What is asked, and of which spool.
#[derive(Debug, Args)]
pub struct At<W: Args> {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    what: W,
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

    /// The configuration, for what changes something.
    fn config(&self) -> Result<Config, CommandError> {
        let (_, config) = self.find()?;
        config.ok_or_else(|| CommandError::Spool("--data-dir is for looking: give --config to change something".to_owned()))
    }

    fn look(&self) -> Result<(Look, Option<Config>), CommandError> {
        let (dir, config) = self.find()?;
        Ok((Look::at(&dir, OWNER)?, config))
    }
}

impl Spool {
    /// Does it.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn execute(self) -> Result<ExitCode, CommandError> {
        let now = clock::unix_seconds();
        let (text, well) = match self {
            Self::Ls(At { place, what: ls }) => {
                let (look, config) = place.look()?;
                let progress = match config {
                    Some(config) => progress(&Client::new(config.admin), &look).await,
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
                drop.check().map_err(CommandError::Spool)?;
                let answer = match drop.apply {
                    true => apply(&place.config()?, &drop, now).await?,
                    false => Answer { dropped: drop.plan(&place.look()?.0, now), on_their_way: 0 },
                };
                (drop.page(&answer.dropped, answer.on_their_way), true)
            }
        };
        terminal::print(&text)?;
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_WELL) })
    }
}

/// How far the router is, if the edge runs, and this is its spool.
async fn progress(client: &Client, look: &Look) -> Option<Progress> {
    let said = client.json("/spool").await.ok()?;
    if said["spool_id"].as_str() != look.id().as_deref() {
        return None;
    }
    let sent = said["sent"].as_array()?.iter().filter_map(Value::as_u64).map(Seq).collect();
    Some(Progress { floor: Seq(said["floor"].as_u64()?), sent })
}

fn check(place: &Place, fsck: &fsck::Fsck, now: u64) -> Result<(String, bool), CommandError> {
    let report = fsck::Report::of(&place.look()?.0, now)?;
    if !fsck.repair {
        return Ok((report.page(fsck.json, None), report.is_well()));
    }
    let offline = Offline::open(&place.config()?).map_err(|error| CommandError::Spool(error.to_string()))?;
    let lost: Vec<Value> =
        offline.lost.iter().map(|(tenant, signal, rows)| json!({"tenant": tenant, "signal": signal, "rows": rows})).collect();
    let (put_aside, unread, rows) = (offline.put_aside, offline.unread, offline.lost.iter().map(|(_, _, rows)| rows).sum::<u64>());
    offline.close().map_err(|error| CommandError::Spool(format!("nothing was repaired: {error}")))?;
    let mut text = report.page(fsck.json, Some(json!({"put_aside": put_aside, "unread": unread, "lost": lost})));
    if !fsck.json {
        text += &format!("repaired: {put_aside} damaged places of spool and inbox put aside, {rows} rows counted as dropped (damaged)\n");
        if unread > 0 {
            text += &format!("{unread} records cannot be read now and are left alone: check the disk\n");
        }
    }
    Ok((text, unread == 0))
}

/// Asks the running edge; if none runs, does it here.
async fn apply(config: &Config, drop: &dropping::Drop, now: u64) -> Result<Answer, CommandError> {
    let client = Client::new(config.admin);
    match client.get("/healthz").await {
        Err(AskError::Unreachable { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => {
            let token = operator::read(&config.data_dir).map_err(CommandError::Spool)?;
            let request = dropping::Request { selection: drop.selection.clone(), reason: drop.reason.clone() };
            let answer = client.with_token(&token).post(DROP, &json!(request)).await?;
            return serde_json::from_value(answer).map_err(|error| CommandError::Spool(format!("the edge's answer: {error}")));
        }
    }
    let failed = |error: &dyn std::fmt::Display| CommandError::Spool(format!("nothing was dropped: {error}"));
    let mut offline = Offline::open(config).map_err(|error| failed(&error))?;
    let dropped = offline.drop(&drop.selection, now);
    offline.close().map_err(|error| failed(&error))?;
    dropping::note(&config.data_dir, now, &drop.selection, &drop.reason, &dropped)?;
    Ok(Answer { dropped, on_their_way: 0 })
}
