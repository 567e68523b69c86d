//! The local tier: Parquet files by tenant, table, day and hour, in a directory.
//!
//! `<path>/tenant=acme/table=otel_traces/day=2026-11-22/hour=15/<journal id>-<first seq>-<last seq>.parquet`, ZSTD, sorted by time.
//!
//! Each row once, whatever crashes: a unit is a run of journal records, and its files are named after that run. In this order:
//! 1. the unit's [`manifest`] is written, durably; 2. each file is written beside its place, synced, renamed, its directory synced;
//! 3. the journal's cursor moves, durably. After a crash before 3 the manifest makes the next unit exactly the same run, whose files
//!    replace those left. Readers see whole files only (`*.parquet`; what is being written ends in `.tmp`).
//!
//! Memory: one unit decoded (`flush_bytes` of raw data, or one batch if that is more), and of one file at a time
//! [`CHUNK_ROWS`] rows or [`CHUNK_BYTES`] as Arrow and one row group encoded ([`ROW_GROUP_BYTES`]).

pub mod disk;
pub mod manifest;
pub mod partition;
pub mod tables;
mod weight;
mod writer;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use federation_proto::ledger::Reason;
use parquet::basic::ZstdLevel;
use schemars::JsonSchema;
use serde::Deserialize;
use service::config::{ByteSize, Invalid, Span};
use service::supervise;
use tokio::task::JoinError;

use self::disk::{Disk, DiskFile, OsDisk};
use self::manifest::{Manifest, Manifests};
use self::partition::{Partition, RowRef};
use self::tables::Table;
pub use self::writer::{CHUNK_BYTES, CHUNK_ROWS, ROW_GROUP_BYTES};
use self::writer::{WriteError, WriteRows};
use super::{Delivered, Pace, Tier, TierOpenError, Unfinished, Unit, UnitBatch, Write, Writing};
use crate::journal::book::UnitLimits;

/// The least wait after the disk failed.
const RETRY_DISK: Duration = Duration::from_secs(1);

/// `tiers.<name>.local` in the configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// The directory; made when it is not there.
    pub path: PathBuf,
    /// A unit is written at the latest this long after its first batch came. Shorter means fresher and smaller files.
    /// 10ms to 1h.
    #[serde(default = "default_flush_interval")]
    pub flush_interval: Span,
    /// A unit is written at once when it has this many raw bytes; 64KiB to 4GiB.
    #[serde(default = "default_flush_bytes")]
    pub flush_bytes: ByteSize,
    /// A unit is written at once when it has this many rows; 1 to 100000000.
    #[serde(default = "default_flush_rows")]
    pub flush_rows: u64,
    /// ZSTD level of the files, 1 to 22.
    #[serde(default = "default_zstd_level")]
    pub zstd_level: i32,
}

fn default_flush_interval() -> Span {
    Span(Duration::from_secs(5))
}

fn default_flush_bytes() -> ByteSize {
    ByteSize(64 << 20)
}

fn default_flush_rows() -> u64 {
    500_000
}

fn default_zstd_level() -> i32 {
    3
}

impl LocalConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// The key, what is wrong, what is expected.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.path.as_os_str().is_empty() {
            return Err(Invalid::new("path", "is empty: expected a directory such as /var/lib/tributary/parquet"));
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&self.flush_interval.0) {
            return Err(Invalid::new("flush_interval", format!("{}: expected 10ms to 1h", self.flush_interval)));
        }
        if !(64 << 10..=4 << 30).contains(&self.flush_bytes.0) {
            return Err(Invalid::new("flush_bytes", format!("{}: expected 64KiB to 4GiB", self.flush_bytes)));
        }
        if !(1..=100_000_000).contains(&self.flush_rows) {
            return Err(Invalid::new("flush_rows", format!("{}: expected 1 to 100000000", self.flush_rows)));
        }
        ZstdLevel::try_new(self.zstd_level).map_err(|_| Invalid::new("zstd_level", format!("{}: expected 1 to 22", self.zstd_level)))?;
        Ok(())
    }
}

/// See the module.
pub struct LocalTier {
    shared: Arc<Shared>,
    pace: Pace,
}

/// What a write on a blocking thread needs.
struct Shared {
    disk: Box<dyn Disk>,
    path: PathBuf,
    journal: [u8; 16],
    level: ZstdLevel,
    /// What writes a file: [`writer::write`], but for tests of its faults.
    write_with: WriteRows,
}

impl LocalTier {
    /// Opens the tier on its directory.
    ///
    /// # Errors
    /// [`TierOpenError`] when the directory cannot be made.
    pub fn open(config: &LocalConfig, journal: [u8; 16]) -> Result<Self, TierOpenError> {
        Self::on_disk(Box::<OsDisk>::default(), config, journal)
    }

    /// Opens the tier on any disk.
    ///
    /// # Errors
    /// As [`LocalTier::open`].
    pub fn on_disk(disk: Box<dyn Disk>, config: &LocalConfig, journal: [u8; 16]) -> Result<Self, TierOpenError> {
        let failed = |problem: String| TierOpenError { place: config.path.display().to_string(), problem };
        disk.make_dir(&config.path)
            .map_err(|error| failed(format!("cannot be made: {error}; set `path` to a directory that this user may write")))?;
        let level = ZstdLevel::try_new(config.zstd_level).map_err(|error| failed(error.to_string()))?;
        let limits = UnitLimits { rows: config.flush_rows, raw_bytes: config.flush_bytes.0 };
        let shared = Shared { disk, path: config.path.clone(), journal, level, write_with: writer::write };
        Ok(Self { shared: Arc::new(shared), pace: Pace { interval: config.flush_interval.0, limits } })
    }

    /// Writes a unit on this thread.
    ///
    /// # Errors
    /// See [`Write`].
    pub fn write_now(&self, unit: &Unit) -> Result<Delivered, Write> {
        self.shared.write(unit)
    }
}

impl Tier for LocalTier {
    fn pace(&self) -> Pace {
        self.pace
    }

    fn unfinished(&mut self, cursor: u64) -> Result<Unfinished, Write> {
        let newest = self.shared.manifests().newest().map_err(|error| disk_failed(&self.shared.path, &error))?;
        Ok(manifest::unfinished(newest.as_ref(), cursor))
    }

    fn write(&mut self, unit: Arc<Unit>) -> Writing<'_> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || shared.write(&unit)).await.map_err(JoinError::try_into_panic) {
                Ok(written) => written,
                // For the consumer to count.
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                Err(Err(error)) => Err(Write::Retry { after: RETRY_DISK, why: format!("the writer failed: {error}") }),
            }
        })
    }
}

impl Shared {
    fn manifests(&self) -> Manifests<'_> {
        Manifests::new(self.disk.as_ref(), &self.path, self.journal)
    }

    fn write(&self, unit: &Unit) -> Result<Delivered, Write> {
        let files = partition::partition(unit);
        let name = format!("{}.parquet", unit.name());
        let paths: Vec<PathBuf> = files.keys().map(|partition| partition.dir().join(&name)).collect();
        self.declare(unit, paths).map_err(|error| disk_failed(&self.path, &error))?;
        let mut delivered = Delivered::default();
        for (partition, rows) in &files {
            let unwritable = self.write_file(partition, rows, &unit.batches, &name)?;
            for row in rows {
                let batch = &unit.batches[row.batch as usize];
                let terms = delivered.account(&batch.tenant, batch.signal);
                if unwritable.contains(&row.batch) {
                    *terms.rejected.entry(Reason::Unwritable).or_default() += 1;
                } else {
                    terms.delivered += 1;
                }
            }
        }
        metrics::counter!("tributary_router_local_files_total").increment(files.len() as u64);
        Ok(delivered)
    }

    /// Makes the manifest durable, and removes files that an earlier attempt at the same unit made and this one does not.
    fn declare(&self, unit: &Unit, files: Vec<PathBuf>) -> io::Result<()> {
        let manifests = self.manifests();
        let before = manifests.newest()?.filter(|before| (before.first, before.last) == (*unit.range.start(), *unit.range.end()));
        let stale: Vec<PathBuf> =
            before.map_or(Vec::new(), |before| before.files.into_iter().filter(|file| !files.contains(file)).collect());
        for file in stale {
            let path = self.path.join(file);
            self.disk.remove(&path)?;
            self.disk.sync_dir(path.parent().unwrap_or(&self.path))?;
        }
        manifests.write(&Manifest::new(self.journal, &unit.range, files))
    }

    /// Writes one file. What cannot be written costs no more than the batches that it is in: they are left out, and given back.
    fn write_file(&self, partition: &Partition, rows: &[RowRef], batches: &[UnitBatch], name: &str) -> Result<BTreeSet<u32>, Write> {
        let path = self.path.join(partition.dir()).join(name);
        let mut left_out = BTreeSet::new();
        loop {
            let rest: Vec<RowRef> = rows.iter().filter(|row| !left_out.contains(&row.batch)).copied().collect();
            if rest.is_empty() {
                return Ok(left_out);
            }
            let why = match self.try_file(&path, partition.table, &rest, batches) {
                Ok(()) => return Ok(left_out),
                Err(WriteError::Disk(error)) => return Err(disk_failed(&path, &error)),
                Err(WriteError::Data(why)) => why,
            };
            let mut faulty: BTreeSet<u32> = rest.iter().map(|row| row.batch).collect();
            let all = faulty.len();
            faulty.retain(|&batch| self.is_faulty(partition.table, &rest, batches, batch));
            if faulty.is_empty() {
                // Each is well alone, together they are not: no batch is to blame, and none gets in.
                faulty = rest.iter().map(|row| row.batch).collect();
            }
            tracing::error!(path = %path.display(), why, batches = faulty.len(), of = all, "batches that cannot be written are left out");
            left_out.extend(faulty);
        }
    }

    fn is_faulty(&self, table: Table, rows: &[RowRef], batches: &[UnitBatch], batch: u32) -> bool {
        let own: Vec<RowRef> = rows.iter().filter(|row| row.batch == batch).copied().collect();
        self.write_rows(Box::new(Nowhere), table, &own, batches).is_err()
    }

    fn try_file(&self, path: &Path, table: Table, rows: &[RowRef], batches: &[UnitBatch]) -> Result<(), WriteError> {
        let dir = path.parent().unwrap_or(&self.path);
        let beside = path.with_extension("parquet.tmp");
        self.disk.make_dir(dir)?;
        self.write_rows(self.disk.create(&beside)?, table, rows, batches)?;
        self.disk.rename(&beside, path)?;
        Ok(self.disk.sync_dir(dir)?)
    }

    /// A panic of the writer is a fault of the rows, as any other that trying again does not mend.
    fn write_rows(&self, file: Box<dyn DiskFile>, table: Table, rows: &[RowRef], batches: &[UnitBatch]) -> Result<(), WriteError> {
        let write = || (self.write_with)(file, table, rows, batches, self.level);
        supervise::survive_now(write).unwrap_or_else(|panic| {
            supervise::count("local_writer", &panic);
            Err(WriteError::Data(panic.to_string()))
        })
    }
}

/// Takes everything and keeps nothing: to see whether rows can be written at all.
struct Nowhere;

impl io::Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Nowhere {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn disk_failed(path: &Path, error: &io::Error) -> Write {
    Write::Retry { after: RETRY_DISK, why: format!("{}: {error}", path.display()) }
}

/// Declares this module's metrics.
pub fn describe_metrics() {
    metrics::describe_counter!("tributary_router_local_files_total", metrics::Unit::Count, "Parquet files written");
}

#[cfg(test)]
mod tests;
