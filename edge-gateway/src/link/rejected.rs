//! Batches that a router refused for good: their rows are counted as dropped, their bytes are kept for a person to look at, as
//! `data_dir/rejected/<spool id>-<seq>.batch` (header and payload, as on the wire), up to a number of bytes; past it they are only
//! counted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use federation_proto::identity::BatchId;
use parking_lot::{Mutex, MutexGuard};

/// The directory.
#[derive(Debug, Clone)]
pub struct Rejected {
    dir: PathBuf,
    budget_bytes: u64,
    turn: Arc<Mutex<()>>,
}

impl Rejected {
    /// At most `budget_bytes` in `dir`, which is created when needed.
    #[must_use]
    pub fn new(dir: PathBuf, budget_bytes: u64) -> Self {
        Self { dir, budget_bytes, turn: Arc::default() }
    }

    /// Where an edge has it.
    #[must_use]
    pub fn dir(data_dir: &Path) -> PathBuf {
        data_dir.join("rejected")
    }

    /// For who keeps one: one at a time.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Keeps a batch, durably; false when there is no room.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&self, id: BatchId, header: &[u8], payload: &[u8]) -> io::Result<bool> {
        if self.budget_bytes == 0 {
            return Ok(false);
        }
        fs::create_dir_all(&self.dir)?;
        if self.used_bytes()? + header.len() as u64 + payload.len() as u64 > self.budget_bytes {
            return Ok(false);
        }
        let name = format!("{}-{}.batch", id.spool, id.seq);
        let unfinished = self.dir.join(format!("{name}.tmp"));
        let mut file = File::create(&unfinished)?;
        file.write_all(header)?;
        file.write_all(payload)?;
        file.sync_data()?;
        fs::rename(&unfinished, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(true)
    }

    fn used_bytes(&self) -> io::Result<u64> {
        let size = |entry: io::Result<fs::DirEntry>| match entry?.metadata() {
            // Dropped by an operator meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            about => about.map(|about| about.len()),
        };
        fs::read_dir(&self.dir)?.map(size).sum()
    }
}

#[cfg(test)]
mod tests {
    use federation_proto::identity::{Seq, SpoolId};

    use super::*;

    /// What is refused is kept as it was on the wire, until the budget is used up; then it is not, and nothing else goes.
    #[test]
    fn kept_up_to_the_budget() {
        let dir = tempfile::tempdir().unwrap();
        let rejected = Rejected::new(dir.path().join("rejected"), 25);
        let id = |seq| BatchId { spool: SpoolId([1; 16]), seq: Seq(seq) };
        assert!(rejected.keep(id(1), b"head", b"payload").unwrap());
        assert!(rejected.keep(id(2), b"head", b"payload").unwrap());
        assert!(!rejected.keep(id(3), b"head", b"payload").unwrap());
        let first = fs::read(dir.path().join("rejected").join(format!("{}-1.batch", SpoolId([1; 16])))).unwrap();
        assert_eq!(first, b"headpayload");
        assert_eq!(fs::read_dir(dir.path().join("rejected")).unwrap().count(), 2);
    }
}
