//! Small disks: a host's data on a file system of its own of a few MiB, in memory, which can be filled up by something else.
//!
//! A real file system with a real ENOSPC; its fsync is quick, which no scenario that uses it measures.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::command::run_words;

const BALLAST: &str = "ballast";
/// The name by which the lab knows its mounts.
const DEVICE: &str = "tributary-lab";
const CHUNK: usize = 64 << 10;

/// A mounted small disk; goes with the lab's mount namespace.
#[derive(Debug)]
pub(super) struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one of that many bytes at `place`.
    pub(super) fn mount(place: &Path, bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(place)?;
        let text = place.to_str().ok_or_else(|| io::Error::other("the folder's name is not UTF-8"))?;
        run_words(&["mount", "-t", "tmpfs", "-o", &format!("size={bytes}"), DEVICE, text])?;
        Ok(Self { place: place.to_owned() })
    }

    /// Takes all the space that is left, as a neighbour's log does.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut ballast = File::options().create(true).append(true).open(self.place.join(BALLAST))?;
        loop {
            match ballast.write_all(&[0; CHUNK]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives it back.
    pub(super) fn empty(&self) -> io::Result<()> {
        std::fs::remove_file(self.place.join(BALLAST))
    }
}
