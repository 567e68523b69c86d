//! What an edge does by the clock: closing batches by age, reading the backlog, checkpoints, and saying how it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use federation_proto::identity::Seq;
use parking_lot::Mutex;
use segment_log::{CheckpointError, Committer, ReadError};
use service::shutdown::Shutdown;
use tokio::task::JoinSet;

use super::Parts;
use super::alive::Alive;
use super::bounds::Pace;
use crate::clock;
use crate::config::Config;
use crate::custody::{Custody, Rows, checkpoint_inbox, checkpoint_spool};
use crate::inbox::{Entry, InvalidEntry};
use crate::ingest::Ingest;

const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// The inbox's checkpoint gives disk back; it is taken when that much is to be had, or after this time.
const TRIM_EVERY: Duration = Duration::from_secs(30);
const TRIM_SEGMENTS: u64 = 2;
/// How often an empty backlog is looked at.
const BACKLOG_PAUSE: Duration = Duration::from_millis(200);
/// A spool filled beyond this, in hundredths of its budget, with no router, is no place to send to.
const NEARLY_FULL_PERCENT: u64 = 90;

/// Starts the tasks; they end with `working`.
pub(super) fn start(parts: &Arc<Parts>, ingest: &Ingest, config: &Config, working: &Shutdown) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let resolution = (config.batch.age / 20).clamp(Duration::from_millis(10), Duration::from_millis(250));
    let alive = |name: &str| Alive::new(&parts.readiness, name, working);
    tasks.spawn(alive("batch_closing").hold(close_by_age(Arc::clone(parts), resolution, working.clone())));
    tasks.spawn(alive("backlog").hold(read_backlog(Arc::clone(parts), working.clone())));
    tasks.spawn(alive("maintenance").hold(maintain(Arc::clone(parts), ingest.clone(), working.clone())));
    tasks
}

async fn close_by_age(parts: Arc<Parts>, resolution: Duration, working: Shutdown) {
    let mut tick = tokio::time::interval(resolution);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let closed = parts.link.custody.lock().due(clock::now());
                parts.encoders.submit(closed);
            }
            () = working.requested() => return,
        }
    }
}

async fn read_backlog(parts: Arc<Parts>, working: Shutdown) {
    let reading = async {
        loop {
            let next = parts.link.custody.lock().next_backlog();
            match next {
                Some((seq, rows)) => read_one(&parts, seq, rows).await,
                None => tokio::time::sleep(BACKLOG_PAUSE).await,
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = working.requested() => {}
    }
}

/// Reads one entry back, with memory claimed as for a request.
async fn read_one(parts: &Arc<Parts>, seq: Seq, rows: Rows) {
    let read_at = match parts.look_at(seq) {
        Ok(entry) => {
            let Ok(claim) = parts.memory.claim_patiently(entry.body_len as usize).await else {
                return unreadable(parts, seq, &rows, Some(&entry));
            };
            let (inbox, for_read) = (parts.inbox.committer.clone(), entry.clone());
            let read = tokio::task::spawn_blocking(move || open(&inbox, seq, &for_read)).await;
            parts.was_read(clock::now(), (seq, rows), &entry, read.unwrap_or(Err(Unreadable::Ever)).map(|body| claim.hold(body)))
        }
        Err(error) => parts.not_looked_at((seq, rows), error),
    };
    if !read_at {
        tokio::time::sleep(CHECKPOINT_EVERY).await;
    }
}

impl Parts {
    /// What the inbox says of an entry.
    fn look_at(&self, seq: Seq) -> Result<Entry, Unreadable> {
        match self.inbox.committer.with(|log| log.read_meta(seq)).map(|meta| Entry::decode(&meta)) {
            Ok(Ok(entry)) => Ok(entry),
            Err(ReadError::Io { source, .. }) => Err(Unreadable::Now(source)),
            Ok(Err(_)) | Err(_) => Err(Unreadable::Ever),
        }
    }

    /// It says nothing, now or ever. False: later.
    fn not_looked_at(&self, (seq, rows): (Seq, Rows), error: Unreadable) -> bool {
        match error {
            Unreadable::Now(error) => self.not_now(seq, rows, &error),
            Unreadable::Ever => {
                unreadable(self, seq, &rows, None);
                true
            }
        }
    }

    /// The entry was read, or not. False: later.
    fn was_read(&self, now: Instant, (seq, rows): (Seq, Rows), entry: &Entry, read: Result<Bytes, Unreadable>) -> bool {
        match read {
            Ok(body) => {
                let closed = self.link.custody.lock().read_back(now, seq, rows, entry, &body);
                self.encoders.submit(closed);
                true
            }
            Err(Unreadable::Now(error)) => self.not_now(seq, rows, &error),
            Err(Unreadable::Ever) => {
                unreadable(self, seq, &rows, Some(entry));
                true
            }
        }
    }

    fn not_now(&self, seq: Seq, rows: Rows, error: &std::io::Error) -> bool {
        tracing::error!(entry = %seq, %error, "inbox: cannot read now");
        self.link.custody.lock().not_read(seq, rows);
        false
    }

    /// Reads the oldest entry of the backlog on this thread; false when there is none, or none now.
    pub(super) fn read_backlog(&self, now: Instant) -> bool {
        let next = self.link.custody.lock().next_backlog();
        let Some((seq, rows)) = next else { return false };
        match self.look_at(seq) {
            Ok(entry) => {
                let read = open(&self.inbox.committer, seq, &entry);
                self.was_read(now, (seq, rows), &entry, read)
            }
            Err(error) => self.not_looked_at((seq, rows), error),
        }
    }
}

enum Unreadable {
    Now(Arc<std::io::Error>),
    Ever,
}

impl From<InvalidEntry> for Unreadable {
    fn from(_: InvalidEntry) -> Self {
        Self::Ever
    }
}

fn open(inbox: &Committer, seq: Seq, entry: &Entry) -> Result<Bytes, Unreadable> {
    let record = inbox.with(|log| log.prepare_read(seq)).and_then(|read| read.run()).map_err(|error| match error {
        ReadError::Io { source, .. } => Unreadable::Now(source),
        _ => Unreadable::Ever,
    })?;
    Ok(entry.open(&record.payload)?)
}

fn unreadable(parts: &Parts, seq: Seq, rows: &Rows, entry: Option<&Entry>) {
    tracing::error!(entry = %seq, tenant = entry.map(|entry| entry.tenant.as_str()), "a request in the inbox cannot be read: its rows are dropped");
    parts.link.custody.lock().unreadable(seq, rows, entry);
}

/// The checkpoint of both logs: the spool's first.
///
/// # Errors
/// What the first of them says.
pub(super) fn checkpoint(custody: &Mutex<Custody>, spool: &Committer, inbox: &Committer) -> Result<(), CheckpointError> {
    checkpoint_spool(custody, spool, inbox)?;
    checkpoint_inbox(custody, inbox)
}

async fn maintain(parts: Arc<Parts>, ingest: Ingest, working: Shutdown) {
    let mut tick = tokio::time::interval(CHECKPOINT_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut trim = Trim::new(clock::now());
    let mut pace = Pace::of(&parts);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = working.requested() => return,
        }
        let (worker, disk_refuses) = (Arc::clone(&parts), ingest.disk_refuses());
        let done = tokio::task::spawn_blocking(move || {
            worker.keep_bounds(clock::now(), clock::unix_seconds(), &mut pace);
            worker.take_checkpoints(clock::now(), &mut trim);
            // Before a stalled spool is tried again: one whose disk fails would always look well right after.
            worker.say_how_it_is(disk_refuses);
            worker.resume();
            (trim, pace)
        });
        match done.await {
            Ok(state) => (trim, pace) = state,
            Err(_) => return tracing::error!("maintenance panicked; no more checkpoints are taken"),
        }
    }
}

/// When the inbox was last trimmed, and entries acked in it since.
pub(super) struct Trim {
    acked: usize,
    last: Instant,
}

impl Trim {
    pub(super) fn new(now: Instant) -> Self {
        Self { acked: 0, last: now }
    }
}

impl Parts {
    pub(super) fn take_checkpoints(&self, now: Instant, trim: &mut Trim) {
        let (custody, spool, inbox) = (&self.link.custody, &self.link.spool, &self.inbox.committer);
        if custody.lock().has_changed() {
            match checkpoint_spool(custody, spool, inbox) {
                Ok(kept) => {
                    trim.acked += kept.completed;
                    self.link.shipper.lock().settled(kept.settled);
                }
                Err(error) => return tracing::error!(%error, "spool: no checkpoint; the next is tried in a second"),
            }
        }
        let to_be_had = inbox.with(|log| log.bytes_on_disk().saturating_sub(log.pending_bytes()));
        let worth_it = to_be_had >= TRIM_SEGMENTS * self.budgets.inbox_segment_bytes;
        if trim.acked == 0 || !(worth_it || now - trim.last >= TRIM_EVERY) {
            return;
        }
        match checkpoint_inbox(custody, inbox) {
            Ok(()) => *trim = Trim { acked: 0, last: now },
            Err(error) => tracing::error!(%error, "inbox: no checkpoint; the next is tried in a second"),
        }
    }

    /// A spool that took nothing is tried again when it has room for a batch.
    pub(super) fn resume(&self) {
        let used = self.link.spool.with(|log| log.bytes_on_disk());
        let mut custody = self.link.custody.lock();
        if custody.is_stalled() && used + self.budgets.spool_margin_bytes <= self.budgets.spool_bytes {
            tracing::info!("spool: trying again");
            custody.resume();
        }
    }

    fn say_how_it_is(&self, disk_refuses: bool) {
        let spool_bytes = self.link.spool.with(|log| log.bytes_on_disk());
        let inbox_bytes = self.inbox.committer.with(|log| log.bytes_on_disk());
        let depth = self.link.shipper.lock().depth();
        let connected = self.link.status.lock().connected;
        let (stalled, open_bytes) = {
            let custody = self.link.custody.lock();
            (custody.is_stalled(), custody.open_bytes())
        };
        metrics::gauge!("tributary_edge_spool_bytes").set(spool_bytes as f64);
        metrics::gauge!("tributary_edge_inbox_bytes").set(inbox_bytes as f64);
        metrics::gauge!("tributary_edge_queued_batches").set(depth.batches as f64);
        metrics::gauge!("tributary_edge_queued_bytes").set(depth.bytes as f64);
        metrics::gauge!("tributary_edge_in_flight_bytes").set(depth.in_flight_bytes as f64);
        metrics::gauge!("tributary_edge_open_batch_bytes").set(open_bytes as f64);
        metrics::gauge!("tributary_edge_free_memory_bytes").set(self.memory.free_bytes() as f64);
        let full = inbox_bytes + self.budgets.inbox_margin_bytes > self.budgets.inbox_bytes;
        const DEAD: &str = "its thread has ended (the log says why): restart the edge";
        let inbox = match (disk_refuses, full) {
            _ if !self.inbox.committer.is_running() => Err(DEAD),
            (true, _) => Err("its disk fails: requests are refused"),
            (false, true) => Err("at its budget (inbox.budget): requests are refused"),
            (false, false) => Ok(()),
        };
        self.readiness.set("inbox", inbox);
        let spool = match stalled {
            _ if !self.link.spool.is_running() => Err(DEAD),
            true => Err("takes no batch (full, or its disk fails): requests stay in the inbox"),
            false => Ok(()),
        };
        self.readiness.set("spool", spool);
        let nearly_full = spool_bytes / 100 >= self.budgets.spool_bytes / 10_000 * NEARLY_FULL_PERCENT;
        let cut_off = !connected && nearly_full;
        self.readiness.set("way_out", if cut_off { Err("no router, and the spool is nearly full") } else { Ok(()) });
    }
}
