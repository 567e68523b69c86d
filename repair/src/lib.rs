//! What a person does with a log of batches that is in trouble, the same for the edge's spool and the router's journal.
//!
//! | Module | Command | |
//! |---|---|---|
//! | [`ls`] | `ls` | what lies there, batch by batch |
//! | [`fsck`] | `fsck` | what cannot be read, and whose it was |
//! | [`export`] | `export` | batches into files |
//! | [`select`] | `drop`, `export` | which batches are meant |
//! | [`dropping`] | `drop` | what would go; and the note of what went |
//! | [`kept`] | | batches that are kept as files, after the ledger has counted them |
//! | [`command`] | all | the command line, and where the part's own work goes in |
//!
//! All of them read the segment files, which hold the truth, and never take the log's lock: they work beside a running process, on a
//! stopped one, and on a copy of its directory. What changes a log (`drop`, `fsck --repair`) is done by the part that owns it, since only
//! that knows its ledger; it is in the part's crate.
//!
//! Memory: what [`Inspection`] takes, and 200 bytes for each batch that is listed.

pub mod command;
pub mod dropping;
pub mod export;
pub mod fsck;
pub mod kept;
pub mod ls;
pub mod select;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use federation_proto::header::BatchHeader;
use federation_proto::identity::Seq;
use segment_log::{Damage, DamageKind, Inspected, Inspection, OpenError};
use service::config::ConfigError;

pub use command::{Command, Part};
pub use select::Selection;

/// Exit code: something is damaged, or does not add up.
pub use service::EXIT_NOT_WELL;

/// Whose log it is.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// `spool` or `journal`.
    pub noun: &'static str,
    /// `edge` or `router`.
    pub part: &'static str,
    /// `tributary-edge`.
    pub program: &'static str,
    /// The batch's header in a record's meta, with its id; the arguments are the log's id and the record's number.
    pub header: fn([u8; 16], Seq, &[u8]) -> Option<BatchHeader>,
}

/// Why there is no answer; one line with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// No log there.
    #[error("{}: is not there: no {part} has run with this data_dir; check --config, or give the {part}'s data_dir with --data-dir", dir.display())]
    Missing {
        /// Where it was looked for.
        dir: PathBuf,
        /// Whose it would be.
        part: &'static str,
    },
    /// It cannot be read, or only by a newer version.
    #[error("{0}")]
    Unreadable(String),
    /// A file cannot be written.
    #[error("{}: {error}; give another directory with --out", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The configuration.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// It was not done; why.
    #[error("{0}")]
    Refused(String),
    /// The answer cannot be written.
    #[error("standard output: {0}")]
    Print(#[from] std::io::Error),
}

impl From<ConfigError> for RepairError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// A log that was looked at.
#[derive(Debug)]
pub struct Look {
    /// Whose it is.
    pub owner: Owner,
    /// What is there.
    pub seen: Inspection,
    /// Batches that the other side refused for good, as far as the part has kept them.
    pub refused: BTreeSet<Seq>,
    dir: PathBuf,
}

/// One whole batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its record.
    pub record: Inspected,
    /// What it says of itself; none if that is not a batch's.
    pub header: Option<BatchHeader>,
}

impl Look {
    /// Looks at the log in `dir`. Blocks; reads all of it.
    ///
    /// # Errors
    /// [`RepairError::Missing`], [`RepairError::Unreadable`].
    pub fn at(dir: &Path, owner: Owner) -> Result<Self, RepairError> {
        if !dir.is_dir() {
            return Err(RepairError::Missing { dir: dir.to_owned(), part: owner.part });
        }
        let seen = Inspection::open(dir).map_err(|error| match error {
            OpenError::Io { place, doing, source } => {
                let remedy = format!("run this as a user who may read the {}'s files", owner.part);
                RepairError::Unreadable(format!("{place}: cannot {doing}: {source}; {remedy}"))
            }
            error => RepairError::Unreadable(error.to_string()),
        })?;
        Ok(Self { owner, seen, refused: BTreeSet::new(), dir: dir.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The log's id in hexadecimal, if a segment says it.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        self.seen.id().map(|id| format!("{:032x}", u128::from_be_bytes(id)))
    }

    /// Every whole batch, by its number; one that the log is done with only if `all`.
    pub fn batches(&self, all: bool) -> impl Iterator<Item = Batch> + '_ {
        let wanted = move |record: &Inspected| all || !record.acked;
        self.seen.records().filter(wanted).map(|record| Batch { record, header: self.header(record.seq) })
    }

    fn header(&self, seq: Seq) -> Option<BatchHeader> {
        let meta = self.seen.meta(seq).ok()?;
        (self.owner.header)(self.seen.id()?, seq, &meta)
    }

    /// What was promised and cannot be read, with the header where that is left.
    pub fn lost(&self) -> impl Iterator<Item = (&Damage, Option<BatchHeader>)> {
        let lost = self.seen.damaged().iter().filter(|damage| damage.kind != DamageKind::Torn);
        lost.map(|damage| (damage, self.header_of(damage)))
    }

    fn header_of(&self, damage: &Damage) -> Option<BatchHeader> {
        (self.owner.header)(self.seen.id()?, damage.seqs.start, damage.meta.as_deref()?)
    }
}

#[cfg(test)]
mod tests;
