//! A tree of files in memory that can lose power at any step, for tests and simulation.
//!
//! After [`SimDisk::restart`] only what was synced is there: bytes by [`DiskFile::sync`], names by [`Disk::sync_dir`]. A real disk may
//! keep more; with `lucky` it keeps everything, so that a test can try both.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile};

#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    steps: u64,
    power_until: Option<u64>,
}

/// See the module. Clones share the disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// The power goes at the step with this number (from 0): it and all later ones fail and change nothing.
    pub fn cut_power_at(&self, step: u64) {
        let mut state = self.0.lock();
        state.power_until = Some(state.steps + step);
    }

    /// Steps taken so far: how many places there are for a power cut.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.lock().steps
    }

    /// Is the next step one that fails?
    #[must_use]
    pub fn is_off(&self) -> bool {
        let state = self.0.lock();
        state.power_until.is_some_and(|until| state.steps >= until)
    }

    /// Power is back. What was not synced is gone, or with `lucky` all there.
    pub fn restart(&self, lucky: bool) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        state.power_until = None;
        if lucky {
            return;
        }
        state.names = state.durable_names.clone();
        for inode in &mut state.inodes {
            inode.content.clone_from(&inode.durable);
        }
    }

    /// All files and their content.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.0.lock();
        state.names.iter().map(|(path, &inode)| (path.clone(), state.inodes[inode].content.clone())).collect()
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        if self.power_until.is_some_and(|until| self.steps >= until) {
            return Err(io::Error::other("the power is off"));
        }
        self.steps += 1;
        Ok(())
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl io::Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        state.step()?;
        state.inodes[self.inode].content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.step()?;
        let inode = &mut state.inodes[self.inode];
        inode.durable.clone_from(&inode.content);
        Ok(())
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        self.0.lock().step()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.step()?;
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        let inode = state.inode(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.names.remove(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut guard = self.0.lock();
        guard.step()?;
        let state = &mut *guard;
        let here = |path: &PathBuf| path.parent() == Some(dir);
        state.durable_names.retain(|path, _| !here(path));
        state.durable_names.extend(state.names.iter().filter(|(path, _)| here(path)).map(|(path, &inode)| (path.clone(), inode)));
        Ok(())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        let content = &state.inodes[state.inode(path)?].content;
        if content.len() as u64 > limit {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        Ok(content.clone())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let here = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }
}
