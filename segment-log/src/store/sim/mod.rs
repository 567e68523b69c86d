//! stub
#![allow(clippy::todo, unused_variables, dead_code, missing_docs)]
use std::io;
use std::sync::Arc;
use super::{Store, StoreEntry, StoreFile, StoreLock};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writes and creations fail with `StorageFull`; half of the bytes are written.
    Full,
    /// The operation fails with EIO; a write may have been done in part, a sync's data may be lost.
    Io,
}

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct SimStore {}

impl SimStore {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        todo!()
    }
    /// Every operation from the n-th write-like one on (1 is the first: write, truncate, sync, create, remove, rename, dir sync) fails; the n-th
    /// itself may have happened.
    pub fn crash_at(&self, n: u64) {
        todo!()
    }
    /// Write-like operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        todo!()
    }
    /// The n-th write-like operation fails with this.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        todo!()
    }
    /// Bytes that the disk holds; `u64::MAX`: no bound.
    pub fn set_capacity(&self, bytes: u64) {
        todo!()
    }
    /// Power cut: the disk as the next start sees it; `seed` chooses what was lost, torn and reordered. The old store fails from now on.
    #[must_use]
    pub fn restart(&self, seed: u64) -> Self {
        todo!()
    }
    /// Process kill: the next start sees everything written.
    #[must_use]
    pub fn kill(&self) -> Self {
        todo!()
    }
    /// Flips one bit of a file, in what is durable.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        todo!()
    }
    /// Was this error made by `crash_at` or after `restart`?
    #[must_use]
    pub fn is_power_cut(error: &io::Error) -> bool {
        todo!()
    }
}

impl Store for SimStore {
    fn place(&self) -> String {
        todo!()
    }
    fn entropy(&self) -> io::Result<[u8; 16]> {
        todo!()
    }
    fn lock(&self) -> io::Result<StoreLock> {
        todo!()
    }
    fn list(&self) -> io::Result<Vec<StoreEntry>> {
        todo!()
    }
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        todo!()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        todo!()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        todo!()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        todo!()
    }
    fn sync_dir(&self) -> io::Result<()> {
        todo!()
    }
}
