//! `fsck`: every range that cannot be read, and what was lost in it, by tenant, signal, rows and time where the record's meta is left.
//!
//! Only what was promised is a loss. What a crash left behind the last sync, and what the log is done with, is told apart (`torn`).

use clap::Args;
use federation_proto::header::BatchHeader;
use segment_log::{Damage, DamageKind};
use serde_json::{Value, json};
use service::terminal::{bytes, plain, seconds};

use crate::{Look, RepairError};

/// Below the options in `--help`.
pub const HELP: &str = "Without --repair it looks and changes nothing, beside a running process too. --repair does what a start does, with the \
process stopped: damaged ranges are put aside in quarantine/, their rows are counted as dropped (damaged), and the index is made anew.\n\
Exit codes: 0 nothing is damaged, or it was repaired; 1 it cannot be read (the line says why); 2 wrong configuration; 3 something is damaged.";

/// `fsck`.
#[derive(Debug, Args)]
pub struct Fsck {
    /// Put aside what is damaged, and count it; the process must be stopped.
    #[arg(long)]
    pub repair: bool,
    /// One JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    value: Value,
    lines: Vec<String>,
    well: bool,
}

impl Report {
    /// Of a log. `now` is Unix seconds.
    ///
    /// # Errors
    /// [`RepairError::Unreadable`] if its directory cannot be listed.
    pub fn of(look: &Look, now: u64) -> Result<Self, RepairError> {
        let (mut batches, mut rows, mut strangers) = (0_u64, 0_u64, Vec::new());
        for batch in look.batches(false) {
            match batch.header {
                Some(header) => {
                    batches += 1;
                    rows += u64::from(header.rows);
                }
                None => strangers.push(batch.record.seq),
            }
        }
        let lost: Vec<(&Damage, Option<BatchHeader>)> = look.lost().collect();
        let torn: Vec<&Damage> = look.seen.damaged().iter().filter(|damage| damage.kind == DamageKind::Torn).collect();
        let quarantine = quarantine(look)?;
        let mut lines: Vec<String> = lost.iter().map(|(damage, header)| line(damage, header.as_ref(), now)).collect();
        lines.extend(strangers.iter().map(|seq| format!("record {seq}: whole, and no batch of this version: put aside at the next start")));
        lines.extend(torn.iter().map(|damage| {
            format!(
                "segment {}: {} at byte {} were never promised, or are done with: no loss",
                damage.segment,
                bytes(damage.bytes),
                damage.offset
            )
        }));
        lines.extend(quarantine.iter().map(|(name, size)| format!("{}: put aside earlier, {}", plain(name), bytes(*size))));
        lines.extend(look.seen.aliens().iter().map(|name| format!("{}: not of this {}; left alone", plain(name), look.owner.noun)));
        let well = lost.is_empty() && strangers.is_empty();
        let noun = look.owner.noun;
        let id = look.id().map_or_else(|| format!("a {noun} without a readable segment"), |id| format!("{noun} {id}"));
        lines.push(match well {
            true => format!("{id}: {batches} batches, {rows} rows, all whole"),
            false => format!(
                "{id}: {batches} batches, {rows} rows are whole; {} places are DAMAGED; {} {noun} fsck --repair puts them aside and counts them, as the next start does",
                lost.len() + strangers.len(),
                look.owner.program
            ),
        });
        let value = json!({
            "id": look.id(),
            "ok": well,
            "disk_bytes": look.seen.bytes_on_disk(),
            "whole": {"batches": batches, "rows": rows},
            "damaged": lost.iter().map(|(damage, header)| place(damage, header.as_ref())).collect::<Vec<_>>(),
            "no_batch": strangers,
            "torn": torn.iter().map(|damage| place(damage, None)).collect::<Vec<_>>(),
            "quarantine": quarantine.iter().map(|(file, bytes)| json!({"file": file, "bytes": bytes})).collect::<Vec<_>>(),
            "aliens": look.seen.aliens(),
        });
        Ok(Self { value, lines, well })
    }

    /// Is nothing damaged?
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.well
    }

    /// The answer for a person, or for a program with what else is to be said.
    #[must_use]
    pub fn page(&self, as_json: bool, repaired: Option<Value>) -> String {
        if as_json {
            let mut value = self.value.clone();
            if let Some(repaired) = repaired {
                value["repaired"] = repaired;
            }
            return format!("{value:#}\n");
        }
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

fn place(damage: &Damage, header: Option<&BatchHeader>) -> Value {
    let mut value = json!({
        "kind": format!("{:?}", damage.kind).to_lowercase(),
        "segment": damage.segment.0,
        "offset": damage.offset,
        "bytes": damage.bytes,
        "first_seq": damage.seqs.start,
        "end_seq": damage.seqs.end,
    });
    if let Some(header) = header {
        value["tenant"] = json!(header.tenant);
        value["signal"] = json!(header.signal);
        value["class"] = json!(header.class);
        value["rows"] = json!(header.rows);
        value["oldest_unix_nano"] = json!(header.oldest_unix_nano);
        value["newest_unix_nano"] = json!(header.newest_unix_nano);
    }
    value
}

fn line(damage: &Damage, header: Option<&BatchHeader>, now: u64) -> String {
    let what = match (damage.kind, header) {
        (DamageKind::Checkpoint, _) => "a checkpoint: what was acknowledged since the one before may be sent or delivered again".to_owned(),
        (_, Some(header)) => {
            let age = |nanos: u64| if nanos == 0 { "?".to_owned() } else { seconds(now.saturating_sub(nanos / 1_000_000_000)) };
            let (oldest, newest) = (age(header.oldest_unix_nano), age(header.newest_unix_nano));
            format!(
                "record {}: tenant {}, {}, {} rows, from {oldest} to {newest} ago",
                damage.seqs.start, header.tenant, header.signal, header.rows
            )
        }
        (_, None) if damage.seqs.is_empty() => "no record".to_owned(),
        (_, None) => format!("records {} to {}: whose they were cannot be read", damage.seqs.start, damage.seqs.end.0.saturating_sub(1)),
    };
    format!("segment {}, byte {}, {}: DAMAGED: {what}", damage.segment, damage.offset, bytes(damage.bytes))
}

/// Name and size of what was put aside.
fn quarantine(look: &Look) -> Result<Vec<(String, u64)>, RepairError> {
    use segment_log::Store;
    let store = segment_log::ReadOnlyStore::new(look.dir());
    let listing = store.list().map_err(|error| RepairError::Unreadable(format!("{}: {error}", look.dir().display())))?;
    Ok(listing.into_iter().filter(|entry| entry.name.starts_with("quarantine/")).map(|entry| (entry.name, entry.bytes)).collect())
}
