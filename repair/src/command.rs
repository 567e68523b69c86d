//! The command line: the same four commands for either part's log, and where the part's own work goes in.

use std::fmt::Debug;
use std::future::Future;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use service::config::ConfigError;
use service::{EXIT_NOT_WELL, terminal};

use crate::dropping::{self, Answer, Drop};
use crate::export::{self, Export};
use crate::fsck::{self, Fsck};
use crate::ls::{self, Ls, Progress};
use crate::{Look, Owner, RepairError};

/// What only the part that owns a log can do with it.
pub trait Part: Debug + Clone + Send + Sync + 'static {
    /// Its configuration.
    type Config: Send + Sync;
    /// Its log, which lies in `data_dir` under [`Owner::noun`].
    const OWNER: Owner;
    /// The environment variable that may name the configuration.
    const CONFIG_ENV: &'static str;
    /// Below the options of `ls --help`, before what is the same for all: what a batch that is done with may have become.
    const DONE: &'static str;
    /// Below the options of `drop --help`, before what is the same for all; ends with a line break, or is empty.
    const DROP: &'static str;

    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ConfigError`].
    fn load(path: &Path) -> Result<Self::Config, ConfigError>;

    /// Where everything of the part lies.
    fn data_dir(config: &Self::Config) -> &Path;

    /// Unix seconds.
    fn now() -> u64;

    /// How far the other side is, if the part runs, and this is its log.
    fn progress(config: &Self::Config, look: &Look) -> impl Future<Output = Option<Progress>>;

    /// Notes in the look what the part's other files say of batches.
    fn complete(_look: &mut Look, _data_dir: &Path) {}

    /// Does what a start does, with the part stopped.
    ///
    /// # Errors
    /// One line.
    fn repair(config: &Self::Config) -> Result<Repaired, String>;

    /// Drops what is selected.
    ///
    /// # Errors
    /// Nothing was dropped.
    fn apply(config: &Self::Config, drop: &Drop, now: u64) -> impl Future<Output = Result<Answer, RepairError>>;
}

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// For programs.
    pub value: Value,
    /// For a person: whole lines.
    pub text: String,
    /// Nothing is left to be done.
    pub well: bool,
}

/// What can be done with a part's log.
#[derive(Debug, Subcommand)]
pub enum Command<P: Part> {
    /// List its batches; works beside the running process and with it stopped, and changes nothing.
    #[command(after_help = ls::help(&P::OWNER, P::DONE))]
    Ls(At<P, Ls>),
    /// Find what cannot be read, and say whose it was; with --repair put it aside and count it.
    #[command(after_help = fsck::HELP)]
    Fsck(At<P, Fsck>),
    /// Write batches to files.
    #[command(after_help = export::HELP)]
    Export(At<P, Export>),
    /// Drop batches, counted; says what would go unless --apply is given.
    #[command(after_help = format!("{}{}", P::DROP, dropping::HELP))]
    Drop(At<P, Drop>),
}

/// What is asked, and of which directory.
#[derive(Debug, Args)]
pub struct At<P: Part, W: Args> {
    /// Which directory.
    #[command(flatten)]
    pub place: Place<P>,
    /// What is asked.
    #[command(flatten)]
    pub what: W,
}

/// Which directory.
#[derive(Debug, Clone, Args)]
pub struct Place<P: Part> {
    /// The configuration: its `data_dir` is read, and the process is asked how far it is, should it run.
    #[arg(long, value_name = "FILE", env = P::CONFIG_ENV, required_unless_present = "data_dir")]
    config: Option<PathBuf>,
    /// The data directory, or a copy of it, instead of a configuration.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[arg(skip)]
    part: PhantomData<P>,
}

impl<P: Part> Place<P> {
    /// The configuration, for what changes something.
    ///
    /// # Errors
    /// [`RepairError::Config`]; or there is only a directory.
    pub fn config(&self) -> Result<P::Config, RepairError> {
        match (&self.data_dir, &self.config) {
            (None, Some(path)) => Ok(P::load(path)?),
            _ => Err(RepairError::Refused("--data-dir is for looking: give --config to change something".to_owned())),
        }
    }

    /// The data directory, and the configuration if it was found by that.
    ///
    /// # Errors
    /// [`RepairError::Config`].
    pub fn find(&self) -> Result<(PathBuf, Option<P::Config>), RepairError> {
        match &self.data_dir {
            Some(data_dir) => Ok((data_dir.clone(), None)),
            None => self.config().map(|config| (P::data_dir(&config).to_owned(), Some(config))),
        }
    }

    fn look(&self) -> Result<(Look, Option<P::Config>), RepairError> {
        let (data_dir, config) = self.find()?;
        let mut look = Look::at(&data_dir.join(P::OWNER.noun), P::OWNER)?;
        P::complete(&mut look, &data_dir);
        Ok((look, config))
    }
}

impl<P: Part> Command<P> {
    /// Does it, and prints the answer.
    ///
    /// # Errors
    /// [`RepairError`].
    pub async fn execute(self) -> Result<ExitCode, RepairError> {
        let now = P::now();
        let (text, well) = match self {
            Self::Ls(At { place, what: ls }) => {
                let (look, config) = place.look()?;
                let progress = match config {
                    Some(config) => P::progress(&config, &look).await,
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
                drop.check().map_err(RepairError::Refused)?;
                let answer = match drop.apply {
                    true => P::apply(&place.config()?, &drop, now).await?,
                    false => Answer { dropped: drop.plan(&place.look()?.0, now), on_their_way: 0 },
                };
                (drop.page(&answer.dropped, answer.on_their_way), true)
            }
        };
        answer(&text, well)
    }
}

/// Prints an answer; the exit code says whether it is a good one.
///
/// # Errors
/// [`RepairError::Print`].
pub fn answer(text: &str, well: bool) -> Result<ExitCode, RepairError> {
    terminal::print(text)?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_WELL) })
}

fn check<P: Part>(place: &Place<P>, fsck: &Fsck, now: u64) -> Result<(String, bool), RepairError> {
    let report = fsck::Report::of(&place.look()?.0, now)?;
    if !fsck.repair {
        return Ok((report.page(fsck.json, None), report.is_well()));
    }
    let repaired = P::repair(&place.config()?).map_err(|error| RepairError::Refused(format!("nothing was repaired: {error}")))?;
    let mut text = report.page(fsck.json, Some(repaired.value));
    if !fsck.json {
        text += &repaired.text;
    }
    Ok((text, repaired.well))
}
