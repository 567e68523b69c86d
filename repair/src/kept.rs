//! Batches that are kept as files for a person to look at, after the ledger has counted them: what a router refused for good, at an edge.
//!
//! `<spool id>-<seq>.batch`: header and payload, as on the wire. What else lies in the directory is named and left alone.
//! Memory: 200 bytes for each file, and one file while it is exported.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use federation_proto::header::{BatchHeader, MAX_HEADER_LEN};
use serde_json::json;
use service::terminal::{Table, bytes, plain, seconds};

use crate::dropping::Sum;
use crate::{RepairError, Selection};

/// How the files end.
pub const SUFFIX: &str = "batch";

/// Lists them.
#[derive(Debug, Args)]
pub struct Ls {
    /// One JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct KeptBatch {
    /// The file.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: BatchHeader,
    /// All of the file.
    pub bytes: u64,
    header_len: usize,
}

/// What lies there.
#[derive(Debug, Default)]
pub struct Kept {
    /// By spool and number.
    pub batches: Vec<KeptBatch>,
    /// Files that are none.
    pub strangers: Vec<PathBuf>,
}

impl Kept {
    /// Looks into `dir`; one that is not there holds nothing. Blocks.
    ///
    /// # Errors
    /// [`RepairError::Unreadable`].
    pub fn at(dir: &Path) -> Result<Self, RepairError> {
        let failed = |error: io::Error| RepairError::Unreadable(format!("{}: cannot be read: {error}", dir.display()));
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            entries => entries.map_err(failed)?,
        };
        let mut kept = Self::default();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            match KeptBatch::at(&path) {
                Some(batch) => kept.batches.push(batch),
                None => kept.strangers.push(path),
            }
        }
        kept.batches.sort_by_key(|batch| (batch.header.id.spool.0, batch.header.id.seq));
        kept.strangers.sort();
        Ok(kept)
    }

    /// Leaves out what is not selected.
    #[must_use]
    pub fn narrowed(mut self, selection: &Selection, now: u64) -> Self {
        self.batches.retain(|batch| selection.matches(batch.header.id.seq, &batch.header, now));
        self
    }

    /// What is there, by tenant, signal and class.
    #[must_use]
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        self.batches.iter().for_each(|batch| sum.add(&batch.header));
        sum
    }

    /// Removes the files. Nothing in the ledger changes: they were counted when they were put there.
    ///
    /// # Errors
    /// [`RepairError::Unreadable`]: some may be gone.
    pub fn remove(&self) -> Result<(), RepairError> {
        for KeptBatch { path, .. } in &self.batches {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(RepairError::Unreadable(format!("{}: cannot be removed: {error}", path.display())));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The list, for a person or a program.
    #[must_use]
    pub fn page(&self, json: bool, now: u64) -> String {
        if json {
            let line = |batch: &KeptBatch| {
                let BatchHeader { id, tenant, signal, class, rows, .. } = &batch.header;
                json!({"id": id.to_string(), "seq": id.seq, "tenant": tenant, "signal": signal, "class": class, "rows": rows,
                    "newest_unix_nano": batch.header.newest_unix_nano, "bytes": batch.bytes, "file": batch.path})
            };
            let batches: Vec<_> = self.batches.iter().map(line).collect();
            return format!("{:#}\n", json!({"batches": batches, "strangers": self.strangers}));
        }
        let mut table = Table::new(&["seq", "tenant", "signal", "class", "rows", "bytes", "newest"]);
        for KeptBatch { header, bytes: size, .. } in &self.batches {
            let newest = header.newest_unix_nano / 1_000_000_000;
            table.row([
                header.id.seq.to_string(),
                header.tenant.to_string(),
                header.signal.to_string(),
                header.class.to_string(),
                header.rows.to_string(),
                bytes(*size),
                if newest == 0 { "-".to_owned() } else { format!("{} ago", seconds(now.saturating_sub(newest))) },
            ]);
        }
        let mut page = if self.batches.is_empty() { String::new() } else { format!("{table}\n") };
        let (sum, size) = (self.sum(), self.batches.iter().map(|batch| batch.bytes).sum());
        page += &format!("{} batches, {} rows, {}; counted as dropped when they were refused\n", sum.batches(), sum.rows(), bytes(size));
        for path in &self.strangers {
            page += &format!("{}: no batch; left alone\n", plain(&path.display().to_string()));
        }
        page
    }
}

impl KeptBatch {
    fn at(path: &Path) -> Option<Self> {
        if path.extension()? != SUFFIX {
            return None;
        }
        let file = fs::File::open(path).ok()?;
        let bytes = file.metadata().ok()?.len();
        let mut start = Vec::with_capacity(MAX_HEADER_LEN);
        file.take(MAX_HEADER_LEN as u64).read_to_end(&mut start).ok()?;
        let (header, header_len) = BatchHeader::decode(&start).ok()?;
        Some(Self { path: path.to_owned(), header, bytes, header_len })
    }

    /// Its payload, checked.
    ///
    /// # Errors
    /// One line.
    pub fn payload(&self) -> Result<Vec<u8>, String> {
        let mut content = fs::read(&self.path).map_err(|error| error.to_string())?;
        let payload = content.split_off(self.header_len.min(content.len()));
        if self.header.matches(&payload) { Ok(payload) } else { Err("the payload does not match its header".to_owned()) }
    }
}
