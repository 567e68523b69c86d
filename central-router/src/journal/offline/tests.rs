//! The journal while the router is stopped: dropping, and what a start makes of a directory that is not as it was left. Each obstacle has
//! a test of its name: the router starts with all that is whole, or says exactly why it cannot.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;

use federation_proto::identity::Seq;
use federation_proto::ledger::Terms;
use segment_log::{MemoryIndex, OpenError, ReadOnlyStore};

use super::*;
use crate::journal::Journal;
use crate::journal::book::{Admit, UnitLimits};
use crate::testing::header;

const OPTIONS: JournalOptions = JournalOptions { budget: 64 << 20, segment: 4096, max_batch: 4096, queue: 1 << 20 };
const BATCHES: u64 = 20;

fn tiers() -> Vec<String> {
    vec!["one".to_owned(), "two".to_owned()]
}

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8; 500]
}

fn send(journal: &Journal, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let (answer, answered) = mpsc::sync_channel(1);
        journal.append(header(1, seq, &payload(seq)), payload(seq).into(), move |result| answer.send(result.is_ok()).unwrap());
        assert!(answered.recv().unwrap());
    }
}

/// A journal of 20 batches that no tier has written.
fn lived(dir: &Path) {
    let (journal, _) = Journal::open(dir, &OPTIONS, &tiers()).unwrap();
    send(&journal, 1..=BATCHES);
    journal.close().unwrap();
}

/// What a start finds: batches that wait for the first tier, and its notes.
fn start(dir: &Path) -> (u64, Vec<String>) {
    let (journal, opened) = Journal::open(dir, &OPTIONS, &tiers()).unwrap();
    for tier in journal.book().tiers() {
        for (tenant, signal, terms) in tier.ledger.iter() {
            let queued = tier.queued.get(&(tenant.clone(), signal)).copied().unwrap_or(0);
            assert!(terms.balanced(queued), "{terms:?} with {queued}");
        }
    }
    let plan = journal.book().plan(0, UnitLimits { rows: u64::MAX, raw_bytes: u64::MAX });
    let whole = plan.map_or(0, |plan| plan.batches.iter().filter(|batch| journal.read(batch.seq).is_ok()).count() as u64);
    journal.close().unwrap();
    (whole, opened.notes)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    segments.sort();
    segments
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => assert!(fs::copy(&path, &to).is_ok()),
        }
    }
}

fn selection(seqs: (u64, u64)) -> Selection {
    Selection { seqs: Some(seqs), ..Selection::default() }
}

/// Dropped batches are counted at each tier that had not seen them, once, and are neither delivered nor taken again.
#[test]
fn what_is_dropped_is_counted_and_stays_known() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let mut offline = Offline::open(dir.path(), &OPTIONS, &tiers()).unwrap();
    assert_eq!(offline.drop(&selection((3, 5)), 0).batches(), 3);
    assert_eq!(offline.drop(&selection((5, 6)), 0).batches(), 1, "once");
    offline.close().unwrap();
    assert_eq!(start(dir.path()).0, BATCHES - 4);
    let (journal, _) = Journal::open(dir.path(), &OPTIONS, &tiers()).unwrap();
    for tier in journal.book().tiers() {
        let (_, _, terms) = tier.ledger.iter().next().unwrap();
        assert_eq!((terms.journalled, &terms.dropped), (10 * BATCHES, &[(Reason::Operator, 40)].into()));
    }
    assert_eq!(journal.book().judge(&header(1, 4, &payload(4))), Admit::Duplicate, "an edge that sends it again gets its ack");
}

/// Without the checkpoint nothing has happened.
#[test]
fn a_drop_that_is_not_closed_is_none() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let mut offline = Offline::open(dir.path(), &OPTIONS, &tiers()).unwrap();
    assert_eq!(offline.drop(&selection((1, 9)), 0).batches(), 9);
    drop(offline);
    assert_eq!(start(dir.path()).0, BATCHES);
}

/// A running router keeps its journal: the message says who has it and what to do.
#[test]
fn a_running_router_is_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let (_journal, _) = Journal::open(dir.path(), &OPTIONS, &tiers()).unwrap();
    let error = Offline::open(dir.path(), &OPTIONS, &tiers()).unwrap_err().to_string();
    assert!(error.contains("in use by another process: stop that process") && error.contains(dir.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_missing_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (whole, notes) = start(dir.path());
    assert_eq!((whole, notes.iter().filter(|note| note.contains("the index was made anew")).count()), (BATCHES, 1), "{notes:?}");
}

#[test]
fn a_damaged_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    for file in files(&dir.path().join("index")) {
        fs::write(file, b"noise").unwrap();
    }
    assert_eq!(start(dir.path()).0, BATCHES);
}

#[test]
fn a_foreign_index_is_made_anew() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    lived(dir.path());
    lived(other.path());
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy(&other.path().join("index"), &dir.path().join("index"));
    let (whole, notes) = start(dir.path());
    assert!(whole == BATCHES && notes.iter().any(|note| note.contains("another log's")), "{notes:?}");
}

/// An index that knows more than the segments, which were put back to an older copy.
#[test]
fn a_newer_index_is_made_anew() {
    let (dir, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    lived(dir.path());
    copy(dir.path(), old.path());
    let (journal, _) = Journal::open(dir.path(), &OPTIONS, &tiers()).unwrap();
    send(&journal, BATCHES + 1..=2 * BATCHES);
    journal.close().unwrap();
    fs::remove_dir_all(old.path().join("index")).unwrap();
    copy(&dir.path().join("index"), &old.path().join("index"));
    let (whole, notes) = start(old.path());
    assert!(whole == BATCHES && notes.iter().any(|note| note.contains("newer than the segments")), "{notes:?}");
}

/// An end of a segment that is gone costs the records in it, named, and no start.
#[test]
fn a_truncated_segment_costs_its_end() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let first = segments(dir.path()).remove(0);
    let file = fs::OpenOptions::new().write(true).open(first).unwrap();
    file.set_len(file.metadata().unwrap().len() - 700).unwrap();
    let (whole, notes) = start(dir.path());
    assert!((BATCHES - 3..BATCHES).contains(&whole), "{whole}");
    assert!(notes.iter().any(|note| note.contains("damaged")), "{notes:?}");
    assert_eq!(start(dir.path()).0, whole, "and costs it once");
}

#[test]
fn an_alien_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let name = "0000000099-00000000000000000777.seg.bak";
    fs::write(dir.path().join(name), b"mine").unwrap();
    let (whole, notes) = start(dir.path());
    assert!(whole == BATCHES && notes.iter().any(|note| note.contains(name) && note.contains("left alone")), "{notes:?}");
    assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"mine");
}

/// A disk that takes no write: the router does not start, and says what it tried where.
#[test]
fn a_read_only_disk_says_so() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let store = Arc::new(ReadOnlyStore::new(dir.path()));
    let error = Journal::on_store(store, Box::new(MemoryIndex::new()), &OPTIONS, &tiers()).err().unwrap();
    assert!(matches!(error, JournalError::Log(OpenError::Io { .. })));
    let text = error.to_string();
    for expected in [dir.path().to_str().unwrap(), "take the lock file", "check that the directory is writable"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// A segment of a later version: the router does not start, names the file and the version, and what to run; nothing is touched.
#[test]
fn a_segment_of_a_newer_format_says_what_to_run() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let first = segments(dir.path()).remove(0);
    let mut content = fs::read(&first).unwrap();
    for at in [0, 64] {
        content[at + 8] = 9;
        let crc = crc32c::crc32c(&content[at..at + 60]).to_le_bytes();
        content[at + 60..at + 64].copy_from_slice(&crc);
    }
    fs::write(&first, &content).unwrap();
    let error = Journal::open(dir.path(), &OPTIONS, &tiers()).err().unwrap().to_string();
    for expected in [first.file_name().unwrap().to_str().unwrap(), "format version 9", "run the newer version"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert_eq!(fs::read(&first).unwrap(), content);
}

/// A record that is damaged where it lies is put aside and counted by the repair, and a look after it finds nothing more to do.
#[test]
fn what_is_damaged_is_repaired_once() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let owner = crate::journal::OWNER;
    let look = repair::Look::at(dir.path(), owner).unwrap();
    let record = look.seen.records().find(|record| record.seq == Seq(7)).unwrap();
    let path =
        segments(dir.path()).into_iter().find(|path| path.to_str().unwrap().contains(&format!("{:010}-", record.segment.0))).unwrap();
    let mut content = fs::read(&path).unwrap();
    content[record.offset as usize + 300] ^= 1;
    fs::write(&path, content).unwrap();
    let report = || repair::fsck::Report::of(&repair::Look::at(dir.path(), owner).unwrap(), 0).unwrap();
    assert!(!report().is_well() && report().page(false, None).contains("record 7: tenant acme, logs, 10 rows"));
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    Offline::open(dir.path(), &OPTIONS, &tiers()).unwrap().close().unwrap();
    assert!(report().is_well(), "{}", report().page(false, None));
    assert_eq!(start(dir.path()).0, BATCHES - 1);
    let (journal, _) = Journal::open(dir.path(), &OPTIONS, &tiers()).unwrap();
    let book = journal.book();
    let dropped = book.tiers().next().unwrap().ledger.iter().next().unwrap().2.dropped.clone();
    assert_eq!(dropped, [(Reason::Damaged, 10)].into());
}
