//! `ls`: what lies in the log, batch by batch.
//!
//! The list is made from the segment files. A running process may be asked besides for what only it knows: which batches are on their way,
//! and which have been done with since the newest checkpoint (at most about a second ago). With the process stopped such a batch shows
//! as pending, and is sent again; the other side knows its id.

use std::collections::BTreeSet;

use clap::Args;
use federation_proto::header::BatchHeader;
use federation_proto::identity::{Class, Seq, Signal, TenantId};
use segment_log::DamageKind;
use serde::Serialize;
use serde_json::json;
use service::terminal::{self, Table, bytes, seconds};

use crate::{Batch, Look, Owner};

/// Below the options in `--help`; `done` says what a batch that is done with may have become.
#[must_use]
pub fn help(owner: &Owner, done: &str) -> String {
    let Owner { noun, part, program, .. } = owner;
    format!(
        "States: pending; sent (on its way, or without a verdict: known while the {part} runs); done ({done}; its disk space is not given \
         back yet; shown with --all); refused (done: a router refused it for good, and it is kept in data_dir/rejected); damaged.\n\
         Exit codes: 0; 1 the {noun} cannot be read; 2 wrong configuration; 3 something in it is damaged.\n\n\
         Examples:\n  {program} {noun} ls --config {part}.yaml\n  \
         {program} {noun} ls --data-dir /var/lib/tributary/{part} --json | jq '.batches[].rows'"
    )
}

/// `ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Also batches that are done with and whose disk space is not given back yet.
    #[arg(long)]
    pub all: bool,
    /// One JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// What only the running process knows.
#[derive(Debug, Default)]
pub struct Progress {
    /// Every batch below has left the log.
    pub floor: Seq,
    /// Batches on their way, or without a verdict.
    pub sent: BTreeSet<Seq>,
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Pending,
    Sent,
    /// Acknowledged, or given up and counted: the files do not say which.
    Done,
    /// Done, since the other side does not take it.
    Refused,
    Damaged,
}

impl State {
    fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Refused)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Damaged => "DAMAGED",
        }
    }
}

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    /// The batch's id; none if its header cannot be read.
    id: Option<String>,
    seq: Seq,
    state: State,
    #[serde(flatten)]
    about: Option<About>,
    /// Payload bytes.
    bytes: u64,
    segment: u32,
    offset: u64,
}

/// What its header says.
#[derive(Debug, Serialize)]
struct About {
    tenant: TenantId,
    signal: Signal,
    class: Class,
    rows: u32,
    oldest_unix_nano: u64,
    newest_unix_nano: u64,
}

impl From<BatchHeader> for About {
    fn from(header: BatchHeader) -> Self {
        Self {
            tenant: header.tenant,
            signal: header.signal,
            class: header.class,
            rows: header.rows,
            oldest_unix_nano: header.oldest_unix_nano,
            newest_unix_nano: header.newest_unix_nano,
        }
    }
}

impl Ls {
    /// The answer, and whether nothing is damaged. `now` is Unix seconds.
    #[must_use]
    pub fn page(&self, look: &Look, progress: Option<&Progress>, now: u64) -> (String, bool) {
        let mut lines: Vec<Line> = look.batches(true).map(|batch| line(batch, look, progress)).collect();
        lines.extend(damaged(look));
        lines.sort_by_key(|line| line.seq);
        let well = lines.iter().all(|line| line.state != State::Damaged);
        let hidden = if self.all { 0 } else { lines.extract_if(.., |line| line.state.is_over()).count() };
        let text = if self.json {
            let (id, running) = (format!("{}_id", look.owner.noun), format!("{}_running", look.owner.part));
            let mut value = json!({"disk_bytes": look.seen.bytes_on_disk(), "batches": lines});
            value[id] = json!(look.id());
            value[running] = json!(progress.is_some());
            format!("{value:#}\n")
        } else {
            page(&lines, look, hidden, progress.is_some(), now)
        };
        (text, well)
    }
}

fn line(batch: Batch, look: &Look, progress: Option<&Progress>) -> Line {
    let Batch { record, header } = batch;
    let state = match (&header, progress) {
        _ if record.acked && look.refused.contains(&record.seq) => State::Refused,
        _ if record.acked => State::Done,
        // Its record was whole when it was listed: a running process may have let it go since.
        (None, Some(progress)) if record.seq < progress.floor => State::Done,
        (None, _) => State::Damaged,
        (_, Some(progress)) if progress.sent.contains(&record.seq) => State::Sent,
        (_, Some(progress)) if record.seq < progress.floor => State::Done,
        _ => State::Pending,
    };
    Line {
        id: header.as_ref().map(|header| header.id.to_string()),
        seq: record.seq,
        state,
        about: header.map(About::from),
        bytes: record.payload_bytes.into(),
        segment: record.segment.0,
        offset: record.offset,
    }
}

/// Batches that were promised and cannot be read: one line for each damaged place.
fn damaged(look: &Look) -> impl Iterator<Item = Line> {
    let lost = look.lost().filter(|(damage, _)| matches!(damage.kind, DamageKind::Records | DamageKind::Segment));
    lost.map(|(damage, header)| Line {
        id: header.as_ref().map(|header| header.id.to_string()),
        seq: damage.seqs.start,
        state: State::Damaged,
        about: header.map(About::from),
        bytes: damage.bytes,
        segment: damage.segment.0,
        offset: damage.offset,
    })
}

fn page(lines: &[Line], look: &Look, hidden: usize, running: bool, now: u64) -> String {
    let mut out = String::new();
    if !lines.is_empty() {
        let mut table = Table::new(&["seq", "tenant", "signal", "class", "rows", "bytes", "oldest", "newest", "state"]);
        for line in lines {
            table.row(cells(line, now));
        }
        out = format!("{table}\n");
    }
    let (noun, part) = (look.owner.noun, look.owner.part);
    let rows: u64 = lines.iter().filter_map(|line| line.about.as_ref()).map(|about| u64::from(about.rows)).sum();
    let payload: u64 = lines.iter().map(|line| line.bytes).sum();
    let id = look.id().map_or_else(|| format!("a {noun} without a readable segment"), |id| format!("{noun} {id}"));
    out += &format!("{id}: {} batches, {rows} rows, {}; {} on disk", lines.len(), bytes(payload), bytes(look.seen.bytes_on_disk()));
    if hidden > 0 {
        out += &format!("; {hidden} that are done with not shown (--all)");
    }
    out += &match running {
        true => format!("; the {part} runs\n"),
        false => format!("; the {part} was not asked or does not run: what is on its way is not known\n"),
    };
    for damage in look.seen.damaged().iter().filter(|damage| damage.kind == DamageKind::Torn && damage.bytes > 0) {
        out += &format!(
            "segment {}: {} at byte {} are no whole record and no loss: a write under way, one that a crash cut off, or one that is done with\n",
            damage.segment,
            bytes(damage.bytes),
            damage.offset
        );
    }
    for alien in look.seen.aliens() {
        out += &format!("{}: not of this {noun}; left alone\n", terminal::plain(alien));
    }
    out
}

fn cells(line: &Line, now: u64) -> [String; 9] {
    let unknown = || "?".to_owned();
    let age = |nanos: u64| if nanos == 0 { "-".to_owned() } else { format!("{} ago", seconds(now.saturating_sub(nanos / 1_000_000_000))) };
    let about = line.about.as_ref();
    [
        line.seq.to_string(),
        about.map_or_else(unknown, |about| about.tenant.to_string()),
        about.map_or_else(unknown, |about| about.signal.to_string()),
        about.map_or_else(unknown, |about| about.class.to_string()),
        about.map_or_else(unknown, |about| about.rows.to_string()),
        bytes(line.bytes),
        about.map_or_else(unknown, |about| age(about.oldest_unix_nano)),
        about.map_or_else(unknown, |about| age(about.newest_unix_nano)),
        line.state.as_str().to_owned(),
    ]
}
