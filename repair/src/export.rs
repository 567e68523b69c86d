//! `export`: whole batches into files, one each, for another router, another tool, or safe keeping.
//!
//! | `--format` | File | Content |
//! |---|---|---|
//! | `batch` | `<spool id>-<seq>.batch` | header and payload, as on the wire |
//! | `otlp` | `<spool id>-<seq>.<signal>.pb` | an Export request in protobuf, for any receiver of OTLP: `curl --data-binary @FILE -H 'content-type: application/x-protobuf'` |
//!
//! A file appears whole: it is written under another name and renamed. Memory: one batch, decoded.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use federation_proto::codec::{DecodeLimits, Decoder};
use federation_proto::header::BatchHeader;
use serde_json::json;

use crate::kept::Kept;
use crate::{Look, RepairError, Selection};

/// Below the options in `--help`.
pub const HELP: &str = "Works beside the running process and changes nothing in its data. Batches that it is done with are left out.\n\
Exit codes: 0; 1 it cannot be read or written; 2 wrong configuration; 3 some batches could not be exported.";

/// `export`.
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    /// Which batches; all that are not done with, if nothing is selected.
    pub selection: Selection,
    /// Where to write; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Batch)]
    pub format: Format,
    /// One JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Header and payload, as on the wire.
    Batch,
    /// An OTLP Export request in protobuf.
    Otlp,
}

/// What was exported.
#[derive(Debug, Default)]
pub struct Exported {
    batches: u64,
    rows: u64,
    bytes: u64,
    failed: Vec<String>,
}

impl Exported {
    /// Was everything exported?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }
}

impl Export {
    /// Does it for a log. Blocks.
    ///
    /// # Errors
    /// [`RepairError::Write`]; a batch that cannot be read is none, see [`Exported::is_whole`].
    pub fn run(&self, look: &Look, now: u64) -> Result<Exported, RepairError> {
        let mut exported = self.begin()?;
        for batch in look.batches(false) {
            let seq = batch.record.seq;
            match batch.header {
                None => exported.failed.push(format!("record {seq}: no batch's header")),
                Some(header) if self.selection.matches(seq, &header, now) => {
                    let payload = look.seen.read(seq).map(|record| record.payload).map_err(|error| error.to_string());
                    self.add(&mut exported, &header, payload)?;
                }
                Some(_) => {}
            }
        }
        Ok(exported)
    }

    /// Does it for batches that are kept as files. Blocks.
    ///
    /// # Errors
    /// As [`Export::run`].
    pub fn run_kept(&self, kept: &Kept) -> Result<Exported, RepairError> {
        let mut exported = self.begin()?;
        for batch in &kept.batches {
            self.add(&mut exported, &batch.header, batch.payload())?;
        }
        Ok(exported)
    }

    fn begin(&self) -> Result<Exported, RepairError> {
        fs::create_dir_all(&self.out).map_err(|error| RepairError::Write { path: self.out.clone(), error })?;
        Ok(Exported::default())
    }

    fn add(&self, exported: &mut Exported, header: &BatchHeader, payload: Result<impl AsRef<[u8]>, String>) -> Result<(), RepairError> {
        match payload.and_then(|payload| self.content(header, payload.as_ref())) {
            Ok((name, parts)) => {
                let path = self.out.join(name);
                exported.bytes += write(&path, &parts).map_err(|error| RepairError::Write { path, error })?;
                exported.batches += 1;
                exported.rows += u64::from(header.rows);
            }
            Err(why) => exported.failed.push(format!("record {}: {why}", header.id.seq)),
        }
        Ok(())
    }

    fn content(&self, header: &BatchHeader, payload: &[u8]) -> Result<(String, Vec<Vec<u8>>), String> {
        let stem = format!("{}-{}", header.id.spool, header.id.seq);
        match self.format {
            Format::Batch => Ok((format!("{stem}.batch"), vec![header.encode(), payload.to_vec()])),
            Format::Otlp => {
                let columns = Decoder::decode(header.signal, header.encoding, payload, &DecodeLimits::default());
                let columns = columns.map_err(|error| format!("does not decode: {error}; --format batch exports it as it is"))?;
                Ok((format!("{stem}.{}.pb", header.signal), vec![columns.to_otlp()]))
            }
        }
    }

    /// The answer.
    #[must_use]
    pub fn page(&self, exported: &Exported) -> String {
        let Exported { batches, rows, bytes, failed } = exported;
        if self.json {
            return format!("{:#}\n", json!({"out": self.out, "batches": batches, "rows": rows, "bytes": bytes, "failed": failed}));
        }
        let mut page: String = failed.iter().map(|line| format!("{line}\n")).collect();
        page += &format!("{}: {batches} batches, {rows} rows, {}\n", self.out.display(), service::terminal::bytes(*bytes));
        page
    }
}

fn write(path: &Path, parts: &[Vec<u8>]) -> io::Result<u64> {
    let unfinished = path.with_extension("tmp");
    let mut file = File::create(&unfinished)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_data()?;
    fs::rename(&unfinished, path)?;
    Ok(parts.iter().map(|part| part.len() as u64).sum())
}
