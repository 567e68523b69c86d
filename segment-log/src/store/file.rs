//! A directory on a disk. `sync` is `fdatasync` (it covers the length), `sync_dir` an fsync of the directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::removal::{Remover, share};
use super::{Store, StoreEntry, StoreFile, StoreLock};

const LOCK_FILE: &str = "lock";
const QUARANTINE: &str = "quarantine";

/// A directory on a disk.
#[derive(Debug)]
pub struct FileStore {
    dir: PathBuf,
    remover: Remover,
}

impl FileStore {
    /// The store in `dir`, which is created (durably: its parent is synced) if it is not there.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn new(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        if !dir.is_dir() {
            create_durably(&dir)?;
        }
        fs::create_dir_all(dir.join(QUARANTINE))?;
        Ok(Self { remover: Remover::new(dir.clone()), dir })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Creates a directory and those above it, and makes their names durable.
fn create_durably(dir: &Path) -> io::Result<()> {
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        create_durably(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// The files of a store's directory; one without a quarantine has none in it.
pub(super) fn list_files(dir: &Path) -> io::Result<Vec<StoreEntry>> {
    let mut entries = Vec::new();
    for (dir, prefix) in [(dir.to_owned(), ""), (dir.join(QUARANTINE), "quarantine/")] {
        let found = match fs::read_dir(dir) {
            Err(error) if !prefix.is_empty() && error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        for entry in found {
            let entry = entry?;
            let about = match entry.metadata() {
                // Removed by another process between the two.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                about => about?,
            };
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if about.is_file() && name != LOCK_FILE {
                // A file system may count what it has allocated ahead.
                let disk_bytes = about.len().min(about.blocks().saturating_mul(512));
                entries.push(StoreEntry { name, bytes: about.len(), disk_bytes });
            }
        }
    }
    entries.sort();
    Ok(entries)
}

impl Store for FileStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn lock(&self) -> io::Result<StoreLock> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.dir.join(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => Ok(StoreLock::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<StoreEntry>> {
        list_files(&self.dir)
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.dir.join(name))?;
        share(&file)?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.dir.join(name))?;
        share(&file)?;
        Ok(Arc::new(file))
    }

    /// Returns when the name is gone; its blocks, and the directory's sync, are for a thread that nobody waits for.
    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.dir.join(name);
        let last = OpenOptions::new().write(true).open(&path);
        fs::remove_file(path)?;
        if let Ok(last) = last {
            self.remover.free(last);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()?;
        File::open(self.dir.join(QUARANTINE))?.sync_all()
    }
}

impl StoreFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match FileExt::read_at(self, &mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        fallocate(self, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, bytes).map_err(|error| match error {
            Errno::OPNOTSUPP | Errno::NOSYS => io::ErrorKind::Unsupported.into(),
            error => error.into(),
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
