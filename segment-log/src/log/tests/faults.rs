//! A disk that fails while the log runs.

use std::sync::Arc;

use super::plain::{filled, open, pending};
use super::world::{options, payload};
use crate::*;

fn next_operation(store: &SimStore) -> u64 {
    store.operations() + 1
}

/// Records whose fsync failed are never reported stored and never come back, though the disk kept their bytes and a later fsync succeeds;
/// the log goes on.
#[test]
fn a_failed_fsync_is_final() {
    for seed in 0..32 {
        let (store, index) = (SimStore::new(seed), MemoryIndex::new());
        let mut log = filled(&store, &index, 3);
        log.append(b"", b"lost 4").unwrap();
        log.append(b"", b"lost 5").unwrap();
        let ticket = log.begin_sync().unwrap();
        log.append(b"", b"lost 6").unwrap();
        store.fail_at(next_operation(&store), Fault::Io);
        let error = log.finish_sync(ticket.run()).unwrap_err();
        assert_eq!(error.failed, Seq(4)..Seq(7), "those appended since are in the same file");
        assert_eq!((log.sync().unwrap(), pending(&log)), (Seq(7), vec![1, 2, 3]));
        assert_eq!(log.append(b"", b"kept").unwrap(), Seq(7));
        log.sync().unwrap();
        drop(log);
        let store = if seed % 2 == 0 { store.kill() } else { store.restart(seed) };
        let (log, recovery) = open(&store, &MemoryIndex::new(), options());
        assert_eq!((pending(&log), recovery.after_checkpoint.len()), (vec![1, 2, 3, 7], 4), "seed {seed}");
    }
}

/// A failed fsync of the directory is one too: a file whose name may be gone holds nothing.
#[test]
fn a_failed_directory_fsync_is_final() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = filled(&store, &index, 1);
    while log.stats().segments == 1 {
        log.append(b"", &[0; 900]).unwrap();
    }
    // Two files, then the directory.
    store.fail_at(store.operations() + 3, Fault::Io);
    assert_eq!(log.sync().unwrap_err().failed.start, Seq(2));
    let seq = log.append(b"", b"kept").unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(pending(&open(&store.restart(3), &MemoryIndex::new(), options()).0), [1, seq.0]);
}

/// A write that finds no room costs its record; what it left is cut off, and the next one that fits is appended in its place.
#[test]
fn a_full_disk_costs_the_record() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = filled(&store, &index, 3);
    let used = log.bytes_on_disk();
    store.set_capacity(used + 100);
    let error = log.append(b"", &[1; 200]).unwrap_err();
    assert!(matches!(&error, AppendError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull), "{error}");
    assert_eq!(log.bytes_on_disk(), used);
    assert_eq!(log.append(b"", &[2; 20]).unwrap(), Seq(4));
    store.set_capacity(u64::MAX);
    assert_eq!(log.append(b"", &[1; 200]).unwrap(), Seq(5));
    log.sync().unwrap();
    drop(log);
    let (log, recovery) = open(&store.restart(1), &MemoryIndex::new(), options());
    assert_eq!((pending(&log), recovery.damaged), (vec![1, 2, 3, 4, 5], vec![]));
}

/// If what a failed write left cannot even be cut off, its segment is sealed and its seq skipped: nobody may find the record there later.
#[test]
fn a_write_that_cannot_be_undone_seals_the_segment() {
    for seed in 0..16 {
        let (store, index) = (SimStore::new(seed), MemoryIndex::new());
        let mut log = filled(&store, &index, 3);
        store.fail_at(next_operation(&store), Fault::Io);
        store.fail_at(next_operation(&store) + 1, Fault::Io);
        log.append(b"", b"failed").unwrap_err();
        assert_eq!((log.append(b"", b"kept").unwrap(), log.stats().segments), (Seq(5), 2));
        log.sync().unwrap();
        drop(log);
        let (log, recovery) = open(&store.kill(), &MemoryIndex::new(), options());
        assert_eq!(pending(&log), [1, 2, 3, 5], "seed {seed}");
        assert!(recovery.damaged.iter().all(|damage| damage.kind == DamageKind::Torn), "{recovery:?}");
    }
}

/// A log opens on a full disk, gives back what it has, takes acks, and takes records again when there is room.
#[test]
fn a_full_disk_does_not_keep_the_log_from_opening() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 10));
    let last = store.list().unwrap().pop().unwrap();
    store.cut(&last.name, last.bytes - 3);
    store.set_capacity(0);
    let store = store.kill();
    let (mut log, _) = open(&store, &index, options());
    assert_eq!(pending(&log), (1..=9).collect::<Vec<_>>());
    log.append(b"", b"x").unwrap_err();
    assert!(log.ack(Seq(1)));
    log.checkpoint(b"").unwrap_err();
    store.set_capacity(u64::MAX);
    assert!(log.append(b"", b"x").unwrap() > Seq(10));
    log.checkpoint(b"").unwrap();
    drop(log);
    assert_eq!(pending(&open(&store, &index, options()).0).len(), 9);
}

/// A checkpoint whose fsync fails is not in force, and the segments that it would let go stay.
#[test]
fn a_failed_checkpoint_removes_nothing() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = filled(&store, &index, 30);
    log.checkpoint(b"first").unwrap();
    (1..=30).for_each(|seq| assert!(log.ack(Seq(seq))));
    store.fail_at(next_operation(&store) + 1, Fault::Io);
    let error = log.checkpoint(b"second").unwrap_err();
    assert!(matches!(&error, CheckpointError::Sync(sync) if sync.failed.is_empty()), "{error}");
    assert_eq!((log.stats().segments_removed_total, log.stats().checkpoints_total), (0, 1));
    log.checkpoint(b"third").unwrap();
    assert_eq!(log.stats().segments, 1);
    drop(log);
    assert_eq!(open(&store.restart(9), &index, options()).1.state.unwrap(), b"third");
}

/// Whatever fails at a start, an fsync among others, what a start after it finds outlives a power cut, though the disk tells of a failed
/// fsync once only and calls the next one a success.
#[test]
fn what_a_start_finds_is_on_the_disk_though_an_fsync_failed_before() {
    for (seed, operation) in (0..16).flat_map(|seed| (1..6).map(move |operation| (seed, operation))) {
        let (store, index) = (SimStore::new(seed), MemoryIndex::new());
        let mut log = filled(&store, &index, 3);
        log.append(b"", &payload(4, 2000)).unwrap();
        log.append(b"", &payload(5, 2000)).unwrap();
        drop(log);
        let store = store.kill();
        store.fail_at(operation, Fault::Io);
        drop(Log::open(Arc::new(store.clone()), Box::new(index.clone()), options()));
        store.heal();
        let (log, _) = open(&store, &index, options());
        let found = pending(&log);
        assert_eq!(found, [1, 2, 3, 4, 5]);
        drop(log);
        assert_eq!(pending(&open(&store.restart(seed), &index, options()).0), found, "seed {seed}, operation {operation}");
    }
}

/// What the disk refuses at the open is told with the place and what to check.
#[test]
fn a_disk_that_cannot_be_synced_is_an_error() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 1));
    let store = store.kill();
    store.fail_at(1, Fault::Io);
    let error = Log::open(Arc::new(store), Box::new(index), options()).unwrap_err();
    assert!(error.to_string().contains("cannot sync 0000000001") && error.to_string().contains("writable"), "{error}");
}
