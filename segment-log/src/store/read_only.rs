//! A directory that is only looked at: no lock, no file created, opened for writing or renamed. Safe beside a log that is written.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::list_files;
use super::removal::share;
use super::{Store, StoreEntry, StoreFile, StoreLock};

/// See the module.
#[derive(Debug)]
pub struct ReadOnlyStore {
    dir: PathBuf,
}

impl ReadOnlyStore {
    /// The directory, which is read when it is asked for something.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "opened for reading only")
}

impl Store for ReadOnlyStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        Err(refused())
    }

    fn lock(&self) -> io::Result<StoreLock> {
        Err(refused())
    }

    fn list(&self) -> io::Result<Vec<StoreEntry>> {
        list_files(&self.dir)
    }

    fn create_new(&self, _: &str) -> io::Result<Arc<dyn StoreFile>> {
        Err(refused())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let file: File = OpenOptions::new().read(true).open(self.dir.join(name))?;
        share(&file)?;
        Ok(Arc::new(file))
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Err(refused())
    }
}
