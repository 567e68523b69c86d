//! `drop`: what would go, and the note of what went.
//!
//! Nothing goes without `--apply`. What goes is counted in the ledger as dropped (`operator`), together with its ack; who did it and why is
//! a line of JSON in `<data_dir>/drops.jsonl`, at most [`MAX_NOTES_BYTES`] of them and as many in `drops.jsonl.old`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use federation_proto::header::BatchHeader;
use federation_proto::identity::{Class, Signal, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::terminal::Table;

use crate::{Look, RepairError, Selection};

/// Notes kept in one file.
pub const MAX_NOTES_BYTES: u64 = 1 << 20;
const NOTES: &str = "drops.jsonl";

/// Below the options in `--help`.
pub const HELP: &str = "Without --apply it only says what would go. What goes is lost: export it first. It is counted in the ledger as \
dropped (operator), and noted in data_dir/drops.jsonl.\n\
Exit codes: 0; 1 it cannot be done, or nothing is selected; 2 wrong configuration.";

/// `drop`.
#[derive(Debug, Args)]
pub struct Drop {
    #[command(flatten)]
    /// Which batches.
    pub selection: Selection,
    /// Why, for whoever asks later.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Do it.
    #[arg(long)]
    pub apply: bool,
    /// One JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

impl Drop {
    /// What is wrong with the command line.
    ///
    /// # Errors
    /// One line: no selection, no reason.
    pub fn check(&self) -> Result<(), String> {
        if self.selection.is_empty() {
            return Err("nothing is selected: give --tenant, --signal, --class, --seqs or --older-than".to_owned());
        }
        if self.reason.trim().is_empty() {
            return Err("--reason is empty: say why, for whoever asks later".to_owned());
        }
        Ok(())
    }

    /// What would go.
    #[must_use]
    pub fn plan(&self, look: &Look, now: u64) -> Sum {
        let mut sum = Sum::default();
        for batch in look.batches(false) {
            if let Some(header) = batch.header.filter(|header| self.selection.matches(batch.record.seq, header, now)) {
                sum.add(&header);
            }
        }
        sum
    }

    /// The answer for a person or a program.
    #[must_use]
    pub fn page(&self, sum: &Sum, on_their_way: u64) -> String {
        if self.json {
            let value = json!({"applied": self.apply, "reason": self.reason, "batches": sum.batches(), "rows": sum.rows(),
                "on_their_way": on_their_way, "dropped": sum.lines});
            return format!("{value:#}\n");
        }
        let mut table = Table::new(&["tenant", "signal", "class", "batches", "rows"]);
        for line in &sum.lines {
            table.row([
                line.tenant.to_string(),
                line.signal.to_string(),
                line.class.to_string(),
                line.batches.to_string(),
                line.rows.to_string(),
            ]);
        }
        let (batches, rows) = (sum.batches(), sum.rows());
        let mut page = if sum.lines.is_empty() { String::new() } else { format!("{table}\n") };
        page += &match self.apply {
            true => format!("dropped: {batches} batches, {rows} rows\n"),
            false => format!("would drop {batches} batches, {rows} rows; nothing was changed: repeat with --apply to do it\n"),
        };
        if on_their_way > 0 {
            page += &format!("{on_their_way} more are on their way to a router and stay: repeat it when they came back\n");
        }
        page
    }
}

/// What a running process is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which batches.
    pub selection: Selection,
    /// Why.
    pub reason: String,
}

/// What it did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Answer {
    /// What went.
    pub dropped: Sum,
    /// Batches that stay, since they are on their way to a router.
    pub on_their_way: u64,
}

/// Batches by whose they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// One for each tenant, signal and class.
    pub lines: Vec<Line>,
}

/// Batches of one tenant, signal and class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Whose.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: Signal,
    /// Quality of service.
    pub class: Class,
    /// How many batches.
    pub batches: u64,
    /// Their rows.
    pub rows: u64,
}

impl Sum {
    /// Counts a batch.
    pub fn add(&mut self, header: &BatchHeader) {
        self.add_rows(&header.tenant, header.signal, header.class, header.rows.into());
    }

    /// Counts a batch of so many rows.
    pub fn add_rows(&mut self, tenant: &TenantId, signal: Signal, class: Class, rows: u64) {
        let of = |line: &&mut Line| (&line.tenant, line.signal, line.class) == (tenant, signal, class);
        match self.lines.iter_mut().find(of) {
            Some(line) => {
                line.batches += 1;
                line.rows += rows;
            }
            None => self.lines.push(Line { tenant: tenant.clone(), signal, class, batches: 1, rows }),
        }
    }

    /// All batches.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.lines.iter().map(|line| line.batches).sum()
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.lines.iter().map(|line| line.rows).sum()
    }
}

/// Writes down who dropped what and why. `now` is Unix seconds.
///
/// # Errors
/// The file cannot be written.
pub fn note(data_dir: &Path, now: u64, selection: &Selection, reason: &str, sum: &Sum) -> Result<(), RepairError> {
    let path = data_dir.join(NOTES);
    let line = json!({"unix_seconds": now, "reason": reason, "selection": selection, "dropped": sum.lines});
    append(&path, &line.to_string()).map_err(|error| RepairError::Write { path, error })
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|about| about.len() > MAX_NOTES_BYTES) {
        fs::rename(path, path.with_extension("jsonl.old"))?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{line}")?;
    file.sync_data()
}
