//! The files under the local tier, as a trait: a directory tree ([`OsDisk`]), and memory that loses power at any step ([`SimDisk`]).
//!
//! As honest as a disk: bytes are durable after [`DiskFile::sync`], names after [`Disk::sync_dir`] of their directory, not before.

mod os;
mod sim;

use std::io;
use std::path::Path;

pub use os::OsDisk;
pub use sim::SimDisk;

/// A file being written.
pub trait DiskFile: io::Write + Send {
    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&mut self) -> io::Result<()>;
}

/// A tree of files.
pub trait Disk: Send + Sync {
    /// Makes `dir` and its parents, durably.
    ///
    /// # Errors
    /// What the system says.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates `path`, or empties it.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of what had it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name; one that is not there is no error.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable as they are.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The file's content, at most `limit` bytes.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::InvalidData`] when it is longer.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Names of the files in `dir`; none when it is not there.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
}
