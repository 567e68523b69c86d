//! Batches that do not decode, kept for a person: `<data_dir>/quarantine/<journal id>-<seq>.batch`, header then payload as they came.
//!
//! Bounded by [`MAX_BYTES`] in all; past that a batch is counted and not kept. The same batch met again replaces itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// Bytes kept.
pub const MAX_BYTES: u64 = 256 << 20;

/// See the module.
#[derive(Debug)]
pub struct Quarantine {
    dir: PathBuf,
    writing: Mutex<()>,
}

impl Quarantine {
    /// The quarantine below `data_dir`; the directory is made when it is needed.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("quarantine"), writing: Mutex::new(()) }
    }

    /// Keeps a batch.
    ///
    /// # Errors
    /// What the system says, or that the bound is reached.
    pub fn keep(&self, journal: [u8; 16], seq: u64, header: &[u8], payload: &[u8]) -> io::Result<PathBuf> {
        let _one_at_a_time = self.writing.lock();
        fs::create_dir_all(&self.dir)?;
        let path = self.dir.join(format!("{:032x}-{seq}.batch", u128::from_be_bytes(journal)));
        let mut used = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path() != path {
                used += entry.metadata()?.len();
            }
        }
        if used + (header.len() + payload.len()) as u64 > MAX_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{} holds {used} bytes: its bound is {MAX_BYTES}; look at it and empty it", self.dir.display()),
            ));
        }
        fs::write(&path, [header, payload].concat())?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch kept is there byte for byte, once however often it is met, and the bound holds.
    #[test]
    fn keeps_once_and_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(dir.path());
        for _ in 0..2 {
            let path = quarantine.keep([1; 16], 7, b"header", b"payload").unwrap();
            assert_eq!(fs::read(path).unwrap(), b"headerpayload");
        }
        assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
        fs::File::create(dir.path().join("quarantine/huge")).unwrap().set_len(MAX_BYTES).unwrap();
        assert_eq!(quarantine.keep([1; 16], 8, b"h", b"p").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
