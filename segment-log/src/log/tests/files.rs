//! Real files and sled.

use std::path::Path;
use std::sync::Arc;

use super::plain::pending;
use super::world::{options, payload};
use crate::*;

fn open(dir: &Path) -> Result<(Log, Recovery), OpenError> {
    let store = FileStore::new(dir.join("log")).unwrap();
    Log::open(Arc::new(store), Box::new(SledIndex::new(dir.join("index"))), options())
}

fn lived(dir: &Path) -> Vec<u64> {
    let mut log = open(dir).unwrap().0;
    for id in 1..=40_u64 {
        log.append(&id.to_le_bytes(), &payload(id, 300)).unwrap();
    }
    log.sync().unwrap();
    (1..=20).for_each(|seq| assert!(log.ack(Seq(seq))));
    log.checkpoint(b"state").unwrap();
    log.append(b"", b"behind").unwrap();
    log.sync().unwrap();
    pending(&log)
}

fn check(dir: &Path, expected: &[u64]) -> Option<String> {
    let (log, recovery) = open(dir).unwrap();
    assert_eq!(pending(&log), expected);
    assert_eq!((recovery.state.as_deref(), recovery.after_checkpoint), (Some(b"state".as_slice()), vec![Seq(41)]));
    assert_eq!(recovery.damaged, []);
    for &seq in &expected[..expected.len() - 1] {
        assert_eq!(log.read(Seq(seq)).unwrap().payload, payload(seq, 300));
    }
    recovery.index_rebuilt
}

/// On real files, with and without its index, a log gives back what it was given; and sled is used, not made anew each time.
#[test]
fn a_log_on_files_reopens() {
    let dir = tempfile::tempdir().unwrap();
    let expected = lived(dir.path());
    assert_eq!(check(dir.path(), &expected), None);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(check(dir.path(), &expected).as_deref(), Some("there is none"));
    assert_eq!(check(dir.path(), &expected), None);
}

/// A damaged sled is removed and made anew.
#[test]
fn a_damaged_sled_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let expected = lived(dir.path());
    for file in ["conf", "db"] {
        std::fs::write(dir.path().join("index").join(file), [0xA5; 300]).unwrap();
        assert!(check(dir.path(), &expected).is_some(), "{file}");
        assert_eq!(check(dir.path(), &expected), None);
    }
}

/// A directory that is not sled's is never removed, whatever a configuration says; the log works without an index.
#[test]
fn a_foreign_directory_is_not_taken_for_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    std::fs::create_dir(&index).unwrap();
    std::fs::write(index.join("precious"), b"data").unwrap();
    std::fs::write(index.join("conf"), b"not sled's").unwrap();
    let expected = lived(dir.path());
    assert!(open(dir.path()).unwrap().0.stats().index_failure.unwrap().contains("precious"));
    check(dir.path(), &expected);
    assert_eq!(std::fs::read(index.join("precious")).unwrap(), b"data");
}

/// The second of two processes (here: two opens, each with its own file handle) is refused with the directory's path, and disturbs neither
/// log nor index.
#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let expected = lived(dir.path());
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }) && error.to_string().contains(&*dir.path().to_string_lossy()), "{error}");
    drop(first);
    assert_eq!(check(dir.path(), &expected), None);
}
