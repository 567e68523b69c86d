//! Opening both logs and what stands on them.
//!
//! A damaged record never keeps an edge from starting: it is counted, put aside, and told of in the log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use federation_proto::identity::{Signal, SpoolId, TenantId};
use parking_lot::Mutex;
use segment_log::{
    Committer, CommitterOptions, Damage, DamageKind, FileStore, Index, Log, MemoryIndex, OpenError, Options, Recovery, SledIndex, Store,
};
use service::admin::Readiness;
use service::shutdown::Shutdown;
use tokio::sync::Notify;

use super::alive::Alive;
use super::bounds::Bounds;
use super::{Parts, RunError, SharedCustody};
use crate::config::Config;
use crate::custody::{Custody, Recovered, Settings, recover};
use crate::encoder::{EncoderPool, OnStored};
use crate::ingest::Memory;
use crate::link::{LinkStatus, Rejected, Shared};
use crate::shipper::{Item, Limits, LinkCap, Shipper};

/// Streams open for writing, per class.
const STREAMS: usize = 4;
/// A sent batch without a verdict for this long is sent again.
const VERDICT: Duration = Duration::from_secs(30);
/// What a record may be beyond the body or batch in it, in bytes: its meta.
const META_BYTES: u64 = 1 << 20;

/// A log that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// The directory cannot be made.
    #[error("{}: cannot be created: {error}; check data_dir", path.display())]
    Dir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The log says why.
    #[error("{what}: {error}")]
    Log {
        /// `inbox` or `spool`.
        what: &'static str,
        /// What it says.
        error: OpenError,
    },
}

/// The inbox behind its committer.
#[derive(Clone)]
pub(crate) struct Inbox {
    pub(crate) committer: Committer,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbox")
    }
}

/// What the disk may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budgets {
    pub(crate) inbox_bytes: u64,
    pub(crate) inbox_segment_bytes: u64,
    pub(crate) spool_bytes: u64,
    /// Room that a stalled spool must have before it is tried again.
    pub(crate) spool_margin_bytes: u64,
    /// Room that the inbox must have to count as taking requests.
    pub(crate) inbox_margin_bytes: u64,
}

/// Where a log lies, and its index.
pub struct Disk {
    /// Its segments.
    pub store: Arc<dyn Store>,
    /// Its index.
    pub index: Box<dyn Index>,
}

/// Where both logs of an edge lie.
pub struct Disks {
    /// The inbox.
    pub inbox: Disk,
    /// The spool.
    pub spool: Disk,
}

impl Disks {
    fn of(config: &Config) -> Result<Self, OpenLogError> {
        let files = |name: &str| {
            let path = config.data_dir.join(name);
            let store = FileStore::new(&path).map_err(|error| OpenLogError::Dir { path, error })?;
            Ok::<Arc<dyn Store>, OpenLogError>(Arc::new(store))
        };
        let spool_index = Box::new(SledIndex::new(config.data_dir.join("spool-index")));
        Ok(Self {
            spool: Disk { store: files("spool")?, index: spool_index },
            inbox: Disk { store: files("inbox")?, index: Box::new(MemoryIndex::new()) },
        })
    }
}

/// What is started on the logs once they are open: threads, or hands.
pub(super) trait Driver {
    /// A sent batch without a verdict for this long is sent again.
    fn verdict(&self) -> Duration {
        VERDICT
    }
    fn committer(&mut self, log: Log, options: CommitterOptions) -> Committer;
    fn encoders(
        &mut self,
        custody: SharedCustody,
        spool: Committer,
        on_stored: OnStored,
        alive: &dyn Fn() -> Alive,
    ) -> io::Result<EncoderPool>;
}

/// Threads.
struct Threads {
    workers: usize,
}

impl Driver for Threads {
    fn committer(&mut self, log: Log, options: CommitterOptions) -> Committer {
        Committer::start(log, options)
    }

    fn encoders(
        &mut self,
        custody: SharedCustody,
        spool: Committer,
        on_stored: OnStored,
        alive: &dyn Fn() -> Alive,
    ) -> io::Result<EncoderPool> {
        EncoderPool::start(self.workers, custody, spool, on_stored, alive)
    }
}

/// Opens everything that lies on disk, and starts the threads that work on it. Blocks.
pub(super) fn open(config: &Config) -> Result<Parts, RunError> {
    open_on(config, Disks::of(config)?, &mut Threads { workers: config.workers })
}

/// Both logs, open, and what was found in them.
pub(super) struct Logs {
    pub(super) custody: Custody,
    pub(super) inbox: Log,
    pub(super) spool: Log,
    /// Batches to ship, oldest first.
    pub(super) items: Vec<Item>,
    pub(super) lost: Vec<(TenantId, Signal, u64)>,
    /// Ranges put aside.
    pub(super) put_aside: usize,
    /// Records that the disk refuses to read.
    pub(super) unread: usize,
}

/// Opens the logs of a configuration, and nothing else. Blocks.
pub(super) fn open_logs(config: &Config) -> Result<Logs, RunError> {
    logs_on(config, Disks::of(config)?)
}

/// Opens an edge's logs on these disks, and starts what works on them.
pub(super) fn open_on(config: &Config, disks: Disks, driver: &mut dyn Driver) -> Result<Parts, RunError> {
    let Logs { custody, inbox, spool, items, .. } = logs_on(config, disks)?;
    let limits = Limits { in_flight_batches: config.ship.in_flight, streams: STREAMS, verdict: driver.verdict() };
    let mut shipper = Shipper::new(limits, LinkCap::new(config.ship.link_cap), spool.cursors().acked);
    for item in items {
        shipper.add_old(item);
    }
    start(config, Arc::new(Mutex::new(custody)), (inbox, spool), shipper, driver)
}

fn logs_on(config: &Config, disks: Disks) -> Result<Logs, RunError> {
    let most = |body: u64| u32::try_from(2 * body + META_BYTES).unwrap_or(u32::MAX);
    let inbox_options = Options {
        segment_bytes: config.inbox.segment_bytes,
        budget_bytes: config.inbox.budget_bytes,
        max_record_bytes: most(config.receive.max_request_bytes as u64),
        ..Options::default()
    };
    let spool_options = Options {
        segment_bytes: config.spool.segment_bytes,
        budget_bytes: config.spool.budget_bytes,
        max_record_bytes: most(config.batch.raw_bytes.max(config.receive.max_request_bytes as u64)),
        ..Options::default()
    };
    let (mut spool, spool_found) = open_log("spool", disks.spool, spool_options)?;
    let (inbox, inbox_found) = open_log("inbox", disks.inbox, inbox_options)?;
    // The inbox's is in memory, so it is made anew by every start.
    if let Some(why) = &spool_found.index_rebuilt {
        tracing::warn!(log = "spool", why, "index rebuilt from the segments");
    }
    let settings = Settings { batch: config.batch, recent: config.inbox.recent, identities: config.identities.clone() };
    let Recovered { custody, items, bad_batches, unread, lost } = recover(settings, (&inbox, &inbox_found), (&spool, &spool_found));
    let is_loss = |damage: &&Damage| damage.kind != DamageKind::Torn;
    let damaged = [&inbox_found, &spool_found].into_iter().map(|found| found.damaged.iter().filter(is_loss).count()).sum::<usize>();
    let put_aside = damaged + bad_batches.len();
    for seq in bad_batches {
        tracing::error!(batch = %seq, "a batch in the spool cannot be read: put aside");
        spool.quarantine(seq);
    }
    if unread > 0 {
        tracing::error!(records = unread, "the disk refuses to read records; they are left alone until the next start: check it");
    }
    for (tenant, signal, rows) in &lost {
        tracing::error!(%tenant, %signal, rows, "the disk lost rows: counted as dropped (damaged)");
    }
    tracing::info!(batches = items.len(), inbox = inbox.pending().count(), "logs are open");
    Ok(Logs { custody, inbox, spool, items, lost, put_aside, unread })
}

fn start(
    config: &Config,
    custody: SharedCustody,
    (inbox, spool): (Log, Log),
    shipper: Shipper,
    driver: &mut dyn Driver,
) -> Result<Parts, RunError> {
    let spool_id = SpoolId(spool.id());
    let mut committer = |log, name: &str, max_wait| {
        driver.committer(log, CommitterOptions { max_wait, name: name.to_owned(), ..CommitterOptions::default() })
    };
    let spool = committer(spool, "edge-spool", Duration::ZERO);
    let inbox = Inbox { committer: committer(inbox, "edge-inbox", config.inbox.commit_wait) };
    let link = Arc::new(Shared {
        custody: Arc::clone(&custody),
        spool: spool.clone(),
        spool_id,
        shipper: Mutex::new(shipper),
        wake: Notify::new(),
        acked: Notify::new(),
        status: Mutex::new(LinkStatus::default()),
        rejected: Rejected::new(Rejected::dir(&config.data_dir), config.spool.rejected_bytes),
    });
    let for_stored = Arc::clone(&link);
    let on_stored = Box::new(move |item| {
        for_stored.shipper.lock().add(item);
        for_stored.wake.notify_one();
    });
    let (readiness, closing) = (Readiness::new(), Shutdown::new());
    let alive = || Alive::new(&readiness, "encoders", &closing);
    let encoders = driver.encoders(custody, spool, on_stored, &alive).map_err(RunError::Threads)?;
    let budgets = Budgets {
        inbox_bytes: config.inbox.budget_bytes,
        inbox_segment_bytes: config.inbox.segment_bytes,
        spool_bytes: config.spool.budget_bytes,
        spool_margin_bytes: config.batch.raw_bytes.min(config.spool.budget_bytes / 8),
        inbox_margin_bytes: config.inbox.segment_bytes.min(config.receive.max_request_bytes as u64),
    };
    let memory = Memory::new(config.receive.memory_bytes, config.receive.wait);
    let bounds = Bounds { spool: config.spool.clone(), batch_bytes: config.batch.raw_bytes };
    Ok(Parts { link, inbox, encoders, memory, readiness, budgets, bounds, closing })
}

fn open_log(what: &'static str, disk: Disk, options: Options) -> Result<(Log, Recovery), OpenLogError> {
    let (log, found) = Log::open(disk.store, disk.index, options).map_err(|error| OpenLogError::Log { what, error })?;
    for damage in &found.damaged {
        tracing::warn!(
            log = what,
            kind = ?damage.kind,
            segment = %damage.segment,
            offset = damage.offset,
            bytes = damage.bytes,
            records = ?damage.seqs,
            kept_as = damage.quarantined,
            "damage found"
        );
    }
    Ok((log, found))
}

/// Spreads the reconnects of edges that start together.
pub(super) fn seed() -> u64 {
    use ring::rand::SecureRandom;
    let mut seed = [0; 8];
    if ring::rand::SystemRandom::new().fill(&mut seed).is_err() {
        tracing::warn!("no randomness: reconnects are not spread");
    }
    u64::from_le_bytes(seed)
}
