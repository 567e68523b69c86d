//! `tributary-edge spool ls`: what lies in the spool, batch by batch.
//!
//! The list is made from the segment files. A running edge is asked besides for what only it knows: which batches are on their way, and
//! which the router has acknowledged since the newest checkpoint (at most about a second ago). With the edge stopped such a batch shows
//! as pending, and the edge will send it again; the router knows its id.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use federation_proto::identity::{BatchId, Class, Seq, Signal, SpoolId, TenantId};
use segment_log::{DamageKind, Inspected, Inspection};
use serde::Serialize;
use serde_json::{Value, json};
use service::EXIT_NOT_WELL;
use service::admin::client::Client;
use service::terminal::{self, Table, bytes, seconds};

use super::{Place, inspect};
use crate::cli::CommandError;
use crate::clock;
use crate::spool::Stored;

/// Below the options in `--help`.
pub const HELP: &str = "States: pending; sent (on its way, or without the router's verdict: known while the edge runs); acked (the router has it, \
its disk space is not given back yet; shown with --all); damaged.\n\
Exit codes: 0; 1 the spool cannot be read; 2 wrong configuration; 3 something in it is damaged.\n\n\
Examples:\n  tributary-edge spool ls --config edge.yaml\n  tributary-edge spool ls --data-dir /var/lib/tributary-edge --json | jq '.batches[].rows'";

/// `spool ls`.
#[derive(Debug, Args)]
pub struct Ls {
    #[command(flatten)]
    place: Place,
    /// Also batches that the router has acknowledged and whose disk space is not given back yet.
    #[arg(long)]
    all: bool,
    /// One JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Pending,
    Sent,
    Acked,
    Damaged,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Acked => "acked",
            Self::Damaged => "DAMAGED",
        }
    }
}

/// One batch.
#[derive(Debug, Serialize)]
struct Batch {
    id: String,
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

/// What only the running edge knows.
#[derive(Debug, Default)]
struct Progress {
    floor: Seq,
    sent: BTreeSet<Seq>,
}

impl Ls {
    pub(super) async fn execute(self) -> Result<ExitCode, CommandError> {
        let (dir, config) = self.place.find()?;
        let seen = inspect(&dir)?;
        let spool = SpoolId(seen.id().unwrap_or_default());
        let progress = match config {
            Some(config) => ask(&Client::new(config.admin), spool).await,
            None => None,
        };
        let mut batches: Vec<Batch> = seen.records().map(|record| batch(&seen, spool, &record, progress.as_ref())).collect();
        batches.extend(damaged(&seen, spool));
        batches.sort_by_key(|batch| batch.seq);
        let well = batches.iter().all(|batch| batch.state != State::Damaged);
        let hidden = if self.all { 0 } else { batches.extract_if(.., |batch| batch.state == State::Acked).count() };
        let text = if self.json {
            let spool = if seen.id().is_some() { Value::String(spool.to_string()) } else { Value::Null };
            format!(
                "{:#}\n",
                json!({"spool_id": spool, "edge_running": progress.is_some(), "disk_bytes": seen.bytes_on_disk(), "batches": batches})
            )
        } else {
            page(&batches, &seen, hidden, progress.is_some(), clock::unix_seconds())
        };
        terminal::print(&text)?;
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_WELL) })
    }
}

/// How far the router is, if the edge runs, and this is its spool.
async fn ask(client: &Client, spool: SpoolId) -> Option<Progress> {
    let said = client.json("/spool").await.ok()?;
    if said["spool_id"] != spool.to_string() {
        return None;
    }
    let sent = said["sent"].as_array()?.iter().filter_map(Value::as_u64).map(Seq).collect();
    Some(Progress { floor: Seq(said["floor"].as_u64()?), sent })
}

fn batch(seen: &Inspection, spool: SpoolId, record: &Inspected, progress: Option<&Progress>) -> Batch {
    let stored = seen.meta(record.seq).ok().and_then(|meta| Stored::decode(&meta).ok());
    let state = match (&stored, progress) {
        _ if record.acked => State::Acked,
        // Its record was whole when it was listed: a running edge may have let it go since.
        (None, Some(progress)) if record.seq < progress.floor => State::Acked,
        (None, _) => State::Damaged,
        (_, Some(progress)) if progress.sent.contains(&record.seq) => State::Sent,
        (_, Some(progress)) if record.seq < progress.floor => State::Acked,
        _ => State::Pending,
    };
    let about = stored.map(|stored| About {
        tenant: stored.header.tenant,
        signal: stored.header.signal,
        class: stored.header.class,
        rows: stored.header.rows,
        oldest_unix_nano: stored.header.oldest_unix_nano,
        newest_unix_nano: stored.header.newest_unix_nano,
    });
    Batch {
        id: id(spool, record.seq),
        seq: record.seq,
        state,
        about,
        bytes: record.payload_bytes.into(),
        segment: record.segment.0,
        offset: record.offset,
    }
}

fn id(spool: SpoolId, seq: Seq) -> String {
    BatchId { spool, seq }.to_string()
}

/// Batches that were promised and cannot be read: one line for each damaged place.
fn damaged(seen: &Inspection, spool: SpoolId) -> Vec<Batch> {
    let lost = seen.damaged().iter().filter(|damage| matches!(damage.kind, DamageKind::Records | DamageKind::Segment));
    lost.map(|damage| {
        let header = damage.meta.as_deref().and_then(|meta| Stored::decode(meta).ok()).map(|stored| stored.header);
        Batch {
            id: id(spool, damage.seqs.start),
            seq: damage.seqs.start,
            state: State::Damaged,
            about: header.map(|header| About {
                tenant: header.tenant,
                signal: header.signal,
                class: header.class,
                rows: header.rows,
                oldest_unix_nano: header.oldest_unix_nano,
                newest_unix_nano: header.newest_unix_nano,
            }),
            bytes: damage.bytes,
            segment: damage.segment.0,
            offset: damage.offset,
        }
    })
    .collect()
}

fn page(batches: &[Batch], seen: &Inspection, hidden: usize, running: bool, now: u64) -> String {
    let mut out = String::new();
    if !batches.is_empty() {
        let mut table = Table::new(&["seq", "tenant", "signal", "class", "rows", "bytes", "oldest", "newest", "state"]);
        for batch in batches {
            table.row(cells(batch, now));
        }
        out = format!("{table}\n");
    }
    let rows: u64 = batches.iter().filter_map(|batch| batch.about.as_ref()).map(|about| u64::from(about.rows)).sum();
    let payload: u64 = batches.iter().map(|batch| batch.bytes).sum();
    let id = seen.id().map_or_else(|| "a spool without a readable segment".to_owned(), |id| format!("spool {}", SpoolId(id)));
    out += &format!("{id}: {} batches, {rows} rows, {}; {} on disk", batches.len(), bytes(payload), bytes(seen.bytes_on_disk()));
    if hidden > 0 {
        out += &format!("; {hidden} acknowledged ones not shown (--all)");
    }
    out += if running { "; the edge runs\n" } else { "; the edge was not asked or does not run: what is on its way is not known\n" };
    for damage in seen.damaged().iter().filter(|damage| damage.kind == DamageKind::Torn && damage.bytes > 0) {
        out += &format!(
            "segment {}: {} at byte {} are no whole record and were never promised: a write under way, or one that a crash cut off\n",
            damage.segment,
            bytes(damage.bytes),
            damage.offset
        );
    }
    for alien in seen.aliens() {
        out += &format!("{}: not of this spool; left alone\n", terminal::plain(alien));
    }
    out
}

fn cells(batch: &Batch, now: u64) -> [String; 9] {
    let unknown = || "?".to_owned();
    let age = |nanos: u64| if nanos == 0 { "-".to_owned() } else { format!("{} ago", seconds(now.saturating_sub(nanos / 1_000_000_000))) };
    let about = batch.about.as_ref();
    [
        batch.seq.to_string(),
        about.map_or_else(unknown, |about| about.tenant.to_string()),
        about.map_or_else(unknown, |about| about.signal.to_string()),
        about.map_or_else(unknown, |about| about.class.to_string()),
        about.map_or_else(unknown, |about| about.rows.to_string()),
        bytes(batch.bytes),
        about.map_or_else(unknown, |about| age(about.oldest_unix_nano)),
        about.map_or_else(unknown, |about| age(about.newest_unix_nano)),
        batch.state.as_str().to_owned(),
    ]
}
