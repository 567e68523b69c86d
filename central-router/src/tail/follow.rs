//! One tail at work: waits for batches of its tenant, reads and decodes them, gives lines to its reader.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use federation_proto::codec::Decoder;
use federation_proto::header::BatchHeader;
use federation_proto::identity::TenantId;
use serde_json::json;
use service::shutdown::Shutdown;
use tokio::sync::{Semaphore, mpsc};

use super::row::Row;
use super::{Filter, MAX_RENDERED_BYTES, ROUND};
use crate::journal::Journal;
use crate::journal::book::Planned;
use crate::journal::recent::Watch;
use crate::tier::load::{likely, survive};

/// Lines on their way to the reader.
pub(super) type Sink = mpsc::Sender<Result<Bytes, std::convert::Infallible>>;

/// The reader is gone, or has all it asked for.
struct Over;

/// See the module.
pub(super) struct Follow {
    pub(super) journal: Journal,
    /// One decode at a time in the whole router.
    pub(super) decoding: Arc<Semaphore>,
    pub(super) shutdown: Shutdown,
    pub(super) tenant: TenantId,
    pub(super) filter: Arc<Filter>,
    pub(super) watch: Watch,
    /// Records that are still to be shown; none: no limit.
    pub(super) left: Option<u64>,
    pub(super) sink: Sink,
}

/// What one batch gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) lines: Vec<u8>,
    pub(super) shown: u64,
    pub(super) filtered: u64,
    pub(super) skipped: u64,
}

impl Follow {
    /// Until the reader goes, has what it asked for, or the round is over.
    pub(super) async fn run(mut self) {
        match self.round().await {
            Ok(()) | Err(Over) => {}
        }
    }

    async fn round(&mut self) -> Result<(), Over> {
        let deadline = tokio::time::Instant::now() + ROUND;
        self.say(&json!({ "tailing": self.tenant })).await?;
        let mut arrivals = self.journal.arrivals();
        while tokio::time::Instant::now() < deadline {
            arrivals.mark_unchanged();
            if self.show_next().await? {
                continue;
            }
            tokio::select! {
                changed = arrivals.changed() => changed.map_err(|_| Over)?,
                () = self.sink.closed() => return Err(Over),
                () = self.shutdown.requested() => return Err(Over),
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
        let resume = self.watch.to_string();
        self.say(&json!({ "resume": resume })).await
    }

    async fn say(&self, line: &serde_json::Value) -> Result<(), Over> {
        self.sink.send(Ok(format!("{line}\n").into())).await.map_err(|_| Over)
    }

    /// Shows what came since the last look, up to one batch. False: nothing did.
    async fn show_next(&mut self) -> Result<bool, Over> {
        let seen = self.journal.book().watched(&self.tenant, self.filter.signals(), &mut self.watch, 1);
        self.skip(seen.missed).await?;
        for batch in &seen.batches {
            let rendered = self.read(batch).await;
            count(&rendered);
            if !rendered.lines.is_empty() {
                self.sink.send(Ok(rendered.lines.into())).await.map_err(|_| Over)?;
            }
            self.skip(rendered.skipped).await?;
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(rendered.shown);
                if *left == 0 {
                    return Err(Over);
                }
            }
        }
        Ok(!seen.batches.is_empty())
    }

    async fn skip(&self, rows: u64) -> Result<(), Over> {
        if rows == 0 {
            return Ok(());
        }
        metrics::counter!("tributary_router_tail_rows_total", "outcome" => "skipped").increment(rows);
        self.say(&json!({ "skipped": rows })).await
    }

    /// One batch, on a thread that may block. As long as it took, no other tail decodes.
    async fn read(&self, batch: &Planned) -> Rendered {
        let all = Rendered { skipped: batch.rows, ..Rendered::default() };
        let Ok(turn) = Arc::clone(&self.decoding).acquire_owned().await else { return all };
        let (journal, filter, wanted, left) = (self.journal.clone(), Arc::clone(&self.filter), batch.clone(), self.left);
        let began = now();
        let read = tokio::task::spawn_blocking(move || survive(|| render(&journal, &filter, &wanted, left)));
        let rendered = match read.await {
            Ok(Ok(rendered)) => rendered,
            Ok(Err(why)) => {
                tracing::debug!(seq = batch.seq.0, why, "tail: a batch is not shown");
                all
            }
            Err(_) => all,
        };
        let took = now().saturating_duration_since(began);
        tokio::spawn(async move {
            tokio::time::sleep(took).await;
            drop(turn);
        });
        rendered
    }
}

fn count(rendered: &Rendered) {
    metrics::counter!("tributary_router_tail_rows_total", "outcome" => "shown").increment(rendered.shown);
    metrics::counter!("tributary_router_tail_rows_total", "outcome" => "filtered").increment(rendered.filtered);
}

/// The batch's records that `filter` shows. A batch that takes more memory than its header makes likely is not decoded for this.
fn render(journal: &Journal, filter: &Filter, batch: &Planned, left: Option<u64>) -> Result<Rendered, String> {
    let record = journal.read(batch.seq).map_err(|error| error.to_string())?;
    let (header, _) = BatchHeader::decode(&record.meta).map_err(|error| error.to_string())?;
    if header.tenant != batch.tenant {
        return Err("its record is another tenant's".to_owned());
    }
    let columns = Decoder::decode(header.signal, header.encoding, &record.payload, &likely(&header)).map_err(|error| error.to_string())?;
    let mut rendered = Rendered::default();
    for row in 0..columns.rows() {
        if left.is_some_and(|left| rendered.shown >= left) {
            break;
        }
        let row = Row::of(&columns, row);
        if !filter.shows(&row) {
            rendered.filtered += 1;
            continue;
        }
        let line = format!("{}\n", row.to_json());
        if rendered.lines.len() + line.len() > MAX_RENDERED_BYTES {
            rendered.skipped += 1;
            continue;
        }
        rendered.lines.extend_from_slice(line.as_bytes());
        rendered.shown += 1;
    }
    Ok(rendered)
}

#[expect(clippy::disallowed_methods, reason = "driver: a decode is followed by as long a pause")]
fn now() -> Instant {
    Instant::now()
}
