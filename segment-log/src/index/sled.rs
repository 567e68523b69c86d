//! The index in sled.
//!
//! sled's `flush` is no fsync, and its files may be cut or damaged by a power cut; it may even panic on them. Nothing is lost with it:
//! entries carry checksums, the marker counts them, and what sled lost is scanned again. So it is never flushed on purpose (its own thread
//! writes twice a second), a panic in it is an error like any other, and a store that is damaged or has outgrown its bound is removed.
//!
//! Keys: seq as `u64` big-endian, value 24 bytes; the marker under `m`. Memory: an 8 MiB cache, and what the changes of one step leave: each
//! copies its leaf, and the old one is freed only when sled's threads have entered it often enough (crossbeam-epoch: up to 512 objects with
//! each 128th entry of a thread, and a step of any size is one). So a step is followed by a read for each of its changes; without them
//! 120,960 entries, written in steps of 4,096, left 320 MiB. Disk: at most 64 MiB plus 1 KiB per entry, checked when the log loads it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use federation_proto::identity::Seq;

use super::{Index, IndexError, IndexUpdate, IndexValue};

const MARKER_KEY: &[u8] = b"m";
const CACHE_BYTES: u64 = 8 << 20;
const DISK_BYTES_BASE: u64 = 64 << 20;
const DISK_BYTES_PER_ENTRY: u64 = 1 << 10;
/// How often a lock that is held is tried again, and the pause between: 1 s in all.
const LOCK_TRIES: usize = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The index in a directory of sled's, which belongs to it alone: it may be removed at any time.
pub struct SledIndex {
    path: PathBuf,
    db: Option<sled::Db>,
}

impl SledIndex {
    /// The index at `path`. Nothing is opened or created before the log, holding its lock, loads it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), db: None }
    }

    /// The log's own lock keeps others out, so a lock that is held is that of a sled which is closing: its threads let go of it a
    /// little after the last handle is dropped.
    #[expect(clippy::disallowed_methods, reason = "sled tells nobody when it has closed; at most 1 s, at a start")]
    fn open(&mut self) -> Result<(), IndexError> {
        let config = sled::Config::new().path(&self.path).cache_capacity(CACHE_BYTES);
        let open = || {
            let closing = |opened: &sled::Result<sled::Db>| opened.as_ref().is_err_and(is_locked);
            let mut opened = config.open();
            for _ in 0..LOCK_TRIES {
                if !closing(&opened) {
                    break;
                }
                std::thread::sleep(LOCK_PAUSE);
                opened = config.open();
            }
            opened
        };
        self.db = Some(guarded("open", open)?);
        Ok(())
    }

    /// Before the directory is removed: is there nothing in it but what sled makes?
    fn check_is_ours(&self) -> Result<(), IndexError> {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !(matches!(&*name, "conf" | "db" | "blobs") || name.starts_with("snap.")) {
                return Err(IndexError(format!(
                    "{} holds {name}, which is not sled's: give the index a directory of its own",
                    self.path.display()
                )));
            }
        }
        Ok(())
    }

    fn db(&self) -> Result<&sled::Db, IndexError> {
        self.db.as_ref().ok_or_else(|| IndexError("sled is not open".to_owned()))
    }
}

impl std::fmt::Debug for SledIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledIndex").field("path", &self.path).finish_non_exhaustive()
    }
}

/// sled tells of a lock that is held by its text alone.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// Runs a call into sled; its error or its panic is ours to report.
fn guarded<T>(doing: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(IndexError(format!("sled {doing}: {error}"))),
        Err(_) => Err(IndexError(format!("sled {doing}: panicked"))),
    }
}

impl Index for SledIndex {
    fn load(&mut self, visit: &mut dyn FnMut(Seq, IndexValue)) -> Result<Option<Vec<u8>>, IndexError> {
        self.open()?;
        let db = self.db()?;
        let (marker, entries) = guarded("read", || {
            let mut marker = None;
            let mut entries = 0_u64;
            for item in db.iter() {
                let (key, value) = item?;
                match (<[u8; 8]>::try_from(&*key), IndexValue::try_from(&*value)) {
                    (Ok(seq), Ok(value)) => visit(Seq(u64::from_be_bytes(seq)), value),
                    _ if *key == *MARKER_KEY => marker = Some(value.to_vec()),
                    _ => return Err(sled::Error::Unsupported("an entry that is not ours".to_owned())),
                }
                entries += 1;
            }
            Ok((marker, entries))
        })?;
        let disk_bytes = guarded("measure", || db.size_on_disk())?;
        if disk_bytes > DISK_BYTES_BASE + entries * DISK_BYTES_PER_ENTRY {
            return Err(IndexError(format!("sled grew to {disk_bytes} B for {entries} entries")));
        }
        Ok(marker)
    }

    fn clear(&mut self) -> Result<(), IndexError> {
        if let Some(db) = self.db.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(db)));
        }
        self.check_is_ours()?;
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(IndexError(format!("cannot remove {}: {error}", self.path.display())));
            }
            _ => {}
        }
        self.open()
    }

    fn update(&mut self, update: IndexUpdate<'_>) -> Result<(), IndexError> {
        let db = self.db()?;
        let mut batch = sled::Batch::default();
        for seq in update.remove {
            batch.remove(&seq.0.to_be_bytes());
        }
        for (seq, value) in update.put {
            batch.insert(&seq.0.to_be_bytes(), value.as_slice());
        }
        batch.insert(MARKER_KEY, update.marker);
        guarded("write", || {
            db.apply_batch(batch)?;
            // See the module: nothing is wanted of these but that they enter sled.
            for _ in 0..update.remove.len() + update.put.len() {
                db.get(MARKER_KEY)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock that is held is told from every other trouble, for it alone is waited for.
    #[test]
    fn a_held_lock_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let config = sled::Config::new().path(dir.path());
        let holder = config.open().unwrap();
        assert!(is_locked(&config.open().unwrap_err()));
        drop(holder);
        let elsewhere = sled::Config::new().path("/proc/none");
        assert!(!is_locked(&elsewhere.open().unwrap_err()));
    }

    /// An index opens once the one before it has let go of the lock, however late that is within the wait.
    #[test]
    fn an_index_waits_for_the_one_that_closes() {
        let dir = tempfile::tempdir().unwrap();
        let holder = sled::Config::new().path(dir.path()).open().unwrap();
        let (begun, begins) = std::sync::mpsc::sync_channel(1);
        let closing = std::thread::spawn(move || {
            begins.recv().unwrap();
            drop(holder);
        });
        let mut index = SledIndex::new(dir.path());
        begun.send(()).unwrap();
        index.open().unwrap();
        closing.join().unwrap();
    }
}
