//! Files that appear whole or not at all: written beside their place, synced, renamed. Keys are readable by their owner alone from
//! the first byte on.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::PkiError;

/// Who may read a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    /// Everybody.
    Public,
    /// Its owner.
    Secret,
}

pub(super) fn refuse_existing(paths: &[&std::path::PathBuf], force: bool) -> Result<(), PkiError> {
    match paths.iter().find(|path| path.exists()) {
        Some(path) if !force => Err(PkiError::Exists((*path).clone())),
        _ => Ok(()),
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), PkiError> {
    fs::create_dir_all(dir).map_err(|error| PkiError::Io { path: dir.to_owned(), error })
}

pub(super) fn write(path: &Path, content: &[u8], access: Access) -> Result<(), PkiError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let result = write_beside(beside, path, content, access);
    if result.is_err() {
        // Best effort: what matters is that `path` is untouched.
        let _ = fs::remove_file(beside);
    }
    result.map_err(|error| PkiError::Io { path: path.to_owned(), error })
}

fn write_beside(beside: &Path, path: &Path, content: &[u8], access: Access) -> std::io::Result<()> {
    let mode = match access {
        Access::Public => 0o644,
        Access::Secret => 0o600,
    };
    // A leftover of a killed run may have other rights.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
