//! Gives back the blocks of removed files, in slices.
//!
//! A file system frees 64 MiB in some 20 ms (ext4), and who syncs meanwhile waits for its journal: fsyncs of 1 ms were seen to take 30. Cut
//! off in slices of [`SLICE_BYTES`] with a pause between, it holds up nobody.
//!
//! A file that is open stays readable although its name is gone, so nothing is cut off one that somebody else has open: whoever opens a
//! file shares a lock on it ([`share`]), and it is cut only under that lock held alone. Else its blocks go with the last descriptor.
//!
//! Bounds: [`QUEUED_FILES`] wait, of which the log no longer counts the bytes; past it, a file is freed at once by who removes it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

const SLICE_BYTES: u64 = 8 << 20;
/// 800 MiB/s in all: more than a log writes.
const PAUSE: Duration = Duration::from_millis(10);
const QUEUED_FILES: usize = 8;

/// Takes part in the lock of a file just opened.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] for a file that was removed and is being cut.
pub(super) fn share(file: &File) -> io::Result<()> {
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::NotFound.into()),
        // A file system without locks: the file is never held alone either.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// The thread that frees a directory's removed files; started with the first of them.
#[derive(Debug)]
pub(super) struct Remover {
    dir: PathBuf,
    queue: OnceLock<Option<SyncSender<File>>>,
}

impl Remover {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, queue: OnceLock::new() }
    }

    /// A descriptor of a file whose name was just removed.
    pub(super) fn free(&self, file: File) {
        let queue = self.queue.get_or_init(|| start(self.dir.clone()));
        if let Some(queue) = queue {
            // What it does not take is closed here.
            drop(queue.try_send(file));
        }
    }
}

fn start(dir: PathBuf) -> Option<SyncSender<File>> {
    let (queue, files) = sync_channel(QUEUED_FILES);
    let work = move || files.iter().for_each(|file| drop(cut(&dir, &file)));
    let thread = std::thread::Builder::new().name("segment-removal".to_owned()).spawn(work);
    thread.ok().map(|_| queue)
}

/// Cuts a file down to a slice; closing it frees that.
///
/// # Errors
/// Somebody else has it open, or the system says no: the rest goes with the last descriptor.
#[expect(clippy::disallowed_methods, reason = "the pause is the purpose: others' fsyncs come between")]
fn cut(dir: &Path, file: &File) -> io::Result<()> {
    file.try_lock().map_err(io::Error::from)?;
    // A power cut may bring the name back until now; then with all that it names.
    File::open(dir)?.sync_all()?;
    let mut left = file.metadata()?.len();
    while left > SLICE_BYTES {
        left -= SLICE_BYTES;
        file.set_len(left)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn removed(dir: &Path) -> (File, File) {
        let path = dir.join("segment");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(3 * SLICE_BYTES).unwrap();
        let last = File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        (file, last)
    }

    /// A removed file that somebody still reads keeps every byte; once nobody does, it is cut.
    #[test]
    fn only_what_nobody_reads_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let (reader, last) = removed(dir.path());
        share(&reader).unwrap();
        cut(dir.path(), &last).unwrap_err();
        assert_eq!(reader.read_at(&mut [1], 3 * SLICE_BYTES - 1).unwrap(), 1);
        drop(reader);
        cut(dir.path(), &last).unwrap();
        assert_eq!(last.metadata().unwrap().len(), SLICE_BYTES);
    }

    /// Who opens a file that is being cut is told that it is gone, not given what is left of it.
    #[test]
    fn what_is_being_cut_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (late, last) = removed(dir.path());
        cut(dir.path(), &last).unwrap();
        assert_eq!(share(&late).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
