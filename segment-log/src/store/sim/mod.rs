//! A disk in memory that behaves as badly as a disk may, repeatably.
//!
//! It keeps what is durable apart from what is only written: per file the writes since the last `sync`, per directory the names since the
//! last `sync_dir`. A power cut keeps any of them, in any order, whole, in part or by sectors of 512 bytes, as a seed says. Write-like
//! operations (write, truncate, sync, create, remove, rename, directory sync) are numbered from 1, so that a test can cut the power at each
//! of them, and let any of them fail.
//!
//! Memory: everything written since the start or restart, twice.

mod disk;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use self::disk::{Disk, PowerCut};
use super::{Store, StoreEntry, StoreFile, StoreLock};

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `StorageFull`; half of a write's bytes were written.
    Full,
    /// EIO. A write was done in part; what a sync should have made durable is lost in part, even if a later one succeeds.
    Io,
}

/// What a lying disk says it did and did not: the proof that tests notice a missing fsync.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lies {
    /// `StoreFile::sync` does nothing.
    pub sync: bool,
    /// `Store::sync_dir` does nothing.
    pub sync_dir: bool,
}

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct SimStore {
    disk: Arc<Mutex<Disk>>,
}

impl SimStore {
    /// An empty disk. The seed decides the identities it gives and how failing writes are torn.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(Disk::new(seed))
    }

    fn with(disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Cuts the power at the n-th write-like operation (from 1, counted from the start or restart): it and all after it fail; it may have
    /// happened.
    pub fn crash_at(&self, n: u64) {
        self.disk.lock().crash_at = Some(n);
    }

    /// Has the power been cut?
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.disk.lock().crashed
    }

    /// Write-like operations since the start or restart.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Reads since the start or restart.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.disk.lock().reads
    }

    /// The n-th write-like operation fails.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        self.disk.lock().faults.insert(n, fault);
    }

    /// The n-th read (from 1) fails with EIO.
    pub fn fail_read_at(&self, n: u64) {
        self.disk.lock().read_faults.insert(n);
    }

    /// Reads that touch these bytes of a file fail with EIO, always.
    pub fn set_bad(&self, name: &str, bytes: Range<u64>) {
        self.disk.lock().bad.push((name.to_owned(), bytes));
    }

    /// Bytes that the disk holds; writes past it fail with `StorageFull`. `u64::MAX`, as at first: no bound.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk.lock().capacity = bytes;
    }

    /// Everything that was to fail and has not yet works again, and there is room again. What is damaged stays so.
    pub fn heal(&self) {
        let mut disk = self.disk.lock();
        (disk.crash_at, disk.capacity) = (None, u64::MAX);
        disk.faults.clear();
        disk.read_faults.clear();
        disk.bad.clear();
    }

    /// From now on, also after restarts, syncs may lie.
    pub fn set_lies(&self, lies: Lies) {
        self.disk.lock().lies = lies;
    }

    /// Cuts the power now, if it is not cut yet, and gives the disk as the next start sees it; `seed` chooses what was lost, torn and
    /// reordered.
    #[must_use]
    pub fn restart(&self, seed: u64) -> Self {
        Self::with(self.disk.lock().restart(seed))
    }

    /// Kills the process: the next start sees everything that was written; what was not synced can still be lost by a later power cut.
    #[must_use]
    pub fn kill(&self) -> Self {
        Self::with(self.disk.lock().kill())
    }

    /// Flips a bit (0..8) of what is on the disk; nothing happens outside of the file.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        self.disk.lock().edit(name, |bytes| {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= 1 << (bit % 8);
            }
        });
    }

    /// Cuts a file on the disk, as a broken file system might.
    pub fn cut(&self, name: &str, bytes: u64) {
        self.disk.lock().edit(name, |content| content.truncate(bytes as usize));
    }

    /// Puts a file there, durably, in place of what had its name.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.disk.lock().put(name, bytes);
    }

    /// What a file holds now.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.disk.lock().content(name)
    }

    /// Is this what a store says after its power was cut?
    #[must_use]
    pub fn is_power_cut(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<PowerCut>())
    }
}

impl std::fmt::Debug for SimStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimStore").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

/// Gives the lock back when dropped.
struct Unlock(Arc<Mutex<Disk>>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.lock().locked = false;
    }
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    inode: usize,
}

impl Store for SimStore {
    fn place(&self) -> String {
        "simulated disk".to_owned()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        Ok(self.disk.lock().entropy())
    }

    fn lock(&self) -> io::Result<StoreLock> {
        let mut disk = self.disk.lock();
        disk.alive()?;
        if disk.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        disk.locked = true;
        Ok(StoreLock::new(Unlock(Arc::clone(&self.disk))))
    }

    fn list(&self) -> io::Result<Vec<StoreEntry>> {
        self.disk.lock().list()
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let inode = self.disk.lock().create_new(name)?;
        Ok(Arc::new(SimFile { disk: Arc::clone(&self.disk), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let inode = self.disk.lock().open(name)?;
        Ok(Arc::new(SimFile { disk: Arc::clone(&self.disk), inode }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.lock().remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.lock().rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.lock().sync_dir()
    }
}

impl StoreFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.lock().write_at(self.inode, bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.lock().read_at(self.inode, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.disk.lock().size(self.inode)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.lock().truncate(self.inode, bytes)
    }

    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.write_at(&vec![0; bytes as usize], offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().sync(self.inode)
    }
}

#[cfg(test)]
mod tests;
