//! A directory tree of the operating system.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{Disk, DiskFile};

/// Directories remembered as durable; past it they are synced again, which costs time but nothing else.
const MAX_SETTLED: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub struct OsDisk {
    /// Directories whose entry this process has synced. One that merely exists may have been made by a process that was killed before
    /// it synced the parent: a power cut would take it away with all that was put into it since.
    settled: Mutex<BTreeSet<PathBuf>>,
}

struct OsFile(File);

impl io::Write for OsFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DiskFile for OsFile {
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn not_found_is_fine<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}

impl Disk for OsDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || self.settled.lock().contains(dir) {
            return Ok(());
        }
        let parent = dir.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let existed = dir.is_dir();
        if let Some(parent) = parent.filter(|parent| *parent != dir) {
            self.make_dir(parent)?;
            match fs::create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !existed => return Err(error),
                _ => {}
            }
            match self.sync_dir(parent) {
                // Above the tier's own directories there may be some that are not ours to open, nor to make durable.
                Err(error) if existed && error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        let mut settled = self.settled.lock();
        if settled.len() >= MAX_SETTLED {
            settled.clear();
        }
        settled.insert(dir.to_owned());
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile(File::create(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        not_found_is_fine(fs::remove_file(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit} bytes")));
        }
        Ok(content)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories are made with all above them; one that exists already, or a relative one, is no error.
    #[test]
    fn makes_directories() {
        let root = tempfile::tempdir().unwrap();
        let disk = OsDisk::default();
        let dir = root.path().join("tenant=acme/table=otel_logs/day=2026-01-01");
        for _ in 0..2 {
            disk.make_dir(&dir).unwrap();
            assert!(dir.is_dir());
        }
        OsDisk::default().make_dir(&dir).unwrap();
        disk.make_dir(Path::new(".")).unwrap();
        fs::write(root.path().join("file"), "x").unwrap();
        assert!(disk.make_dir(&root.path().join("file/below")).is_err());
        assert!(disk.settled.lock().contains(&dir) && disk.settled.lock().contains(root.path()));
    }
}
