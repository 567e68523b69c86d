//! Unix sockets: who may have the path, and whose file is removed.
//!
//! A file at the path is replaced only if it is a socket that nobody listens on, as a killed process leaves it. The socket gets its mode
//! before it gets its name, so that nobody connects in between whom the mode would not let. At the end the file is removed if it is
//! still ours.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::config::Mode;

/// The socket's file; removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn id(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::id(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "receiver: the socket's file stays behind");
        }
    }
}

/// Listens at `path`.
///
/// # Errors
/// What stands at the path, or what the system said.
pub(super) fn listen(path: &Path, mode: Mode) -> io::Result<(UnixListener, SocketFile)> {
    check_free(path)?;
    let unnamed = path.with_added_extension("new");
    if unnamed.try_exists()? {
        check_free(&unnamed)?;
        fs::remove_file(&unnamed)?;
    }
    let listener = UnixListener::bind(&unnamed)?;
    let named = fs::set_permissions(&unnamed, Permissions::from_mode(mode.0)).and_then(|()| fs::rename(&unnamed, path));
    if let Err(error) = named {
        let _ = fs::remove_file(&unnamed);
        return Err(error);
    }
    Ok((listener, SocketFile { path: path.to_owned(), id: SocketFile::id(path)? }))
}

/// Nothing is there, or a socket that nobody listens on.
fn check_free(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: Mode = Mode(0o620);

    /// A file that a killed process left is taken over; the new one has its mode, and goes with its owner.
    #[tokio::test]
    async fn a_left_over_socket_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("otlp.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (listener, file) = listen(&path, MODE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE.0);
        UnixStream::connect(&path).unwrap();
        listener.accept().await.unwrap();
        drop((listener, file));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// What somebody listens on, and what is no socket, stays as it is.
    #[tokio::test]
    async fn nothing_of_others_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("otlp.sock");
        let (listener, file) = listen(&path, MODE).unwrap();
        assert_eq!(listen(&path, MODE).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop((listener, file));
        assert_eq!(fs::read(&path).unwrap(), b"mine", "another's file is not removed at the end");
        assert_eq!(listen(&path, MODE).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
