//! Where segments lie: a flat directory of files plus a `quarantine/` beside them.
//!
//! The traits are as small as the log's needs and as honest as a disk: a write is durable after [`StoreFile::sync`] and not before, the
//! *name* of a new, renamed or removed file after [`Store::sync_dir`] and not before. [`FileStore`] is a directory, [`ReadOnlyStore`] one
//! that is only looked at; [`SimStore`] is memory that can lose power at any write.
//!
//! Names are relative to the directory: `<file>` or `quarantine/<file>`.

mod file;
mod read_only;
mod removal;
mod sim;

use std::any::Any;
use std::io;
use std::sync::Arc;

pub use file::FileStore;
pub use read_only::ReadOnlyStore;
pub use sim::{Fault, Lies, SimStore};

/// A file of a [`Store`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreEntry {
    /// Its name, relative to the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What of it takes room on the disk: less than its length where [`StoreFile::punch`] gave some back.
    pub disk_bytes: u64,
}

/// Holds a store for one log; given back when dropped.
pub struct StoreLock(#[expect(dead_code, reason = "held for its Drop")] Box<dyn Any + Send + Sync>);

impl StoreLock {
    /// `guard` gives the store back when dropped.
    #[must_use]
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl std::fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreLock")
    }
}

/// A directory of files.
pub trait Store: Send + Sync {
    /// For messages: the path.
    fn place(&self) -> String;

    /// 16 random bytes: the identity of a log created here.
    ///
    /// # Errors
    /// The system has no randomness.
    fn entropy(&self) -> io::Result<[u8; 16]>;

    /// Takes the directory for one log.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another log has it; else what the system says.
    fn lock(&self) -> io::Result<StoreLock>;

    /// All files, those in `quarantine/` included; other directories are not looked into.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<StoreEntry>>;

    /// Creates a file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]; else what the system says.
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn StoreFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]; else what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>>;

    /// Removes a name. A file that is open stays readable.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name. A crash leaves the old name or the new one.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes all creations, removals and renames so far durable.
    ///
    /// # Errors
    /// What the system says; then none of them may be relied upon.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One file of a [`Store`].
pub trait StoreFile: Send + Sync {
    /// Writes all of `bytes` at `offset`. Not durable before [`StoreFile::sync`].
    ///
    /// # Errors
    /// What the system says; any part of `bytes` may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes from `offset` on; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Bytes in the file.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file. Not durable before [`StoreFile::sync`].
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Gives the blocks of a part of the file back to the disk; the part reads as zeros from then on, and the length stays. `offset` and
    /// `bytes` are multiples of 4,096.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the file system cannot do that; else what the system says.
    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let _ = (offset, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes everything written and truncated so far durable.
    ///
    /// # Errors
    /// What the system says. What was not yet durable may be lost then, even if a later call succeeds.
    fn sync(&self) -> io::Result<()>;
}
