//! What a log does when nothing goes wrong.

use std::sync::Arc;

use federation_proto::intervals::Intervals;

use super::world::{options, payload};
use crate::*;

pub(super) fn open(store: &SimStore, index: &MemoryIndex, options: Options) -> (Log, Recovery) {
    Log::open(Arc::new(store.clone()), Box::new(index.clone()), options).unwrap()
}

/// A log with records 1..=n of 200 bytes, each synced by itself.
pub(super) fn filled(store: &SimStore, index: &MemoryIndex, records: u64) -> Log {
    let mut log = open(store, index, options()).0;
    for id in 1..=records {
        assert_eq!(log.append(&id.to_le_bytes(), &payload(id, 200)).unwrap(), Seq(id));
        log.sync().unwrap();
    }
    log
}

pub(super) fn pending(log: &Log) -> Vec<u64> {
    log.pending().map(|(seq, _)| seq.0).collect()
}

/// Records are pending once synced, are read as they were written, in any order and number, until they are acked.
#[test]
fn records_go_from_appended_to_synced_to_acked() {
    let mut log = open(&SimStore::new(1), &MemoryIndex::new(), options()).0;
    let first = log.append(b"m1", b"one").unwrap();
    let second = log.append(b"", b"").unwrap();
    assert_eq!(pending(&log), [0; 0]);
    assert!(matches!(log.read(first), Err(ReadError::NotPending(_))));
    assert!(!log.ack(first), "not synced yet");
    assert_eq!(log.sync().unwrap(), second.next());
    assert_eq!(log.pending().collect::<Vec<_>>(), [(first, 5), (second, 0)]);
    assert_eq!(log.read(first).unwrap(), Record { meta: b"m1".as_slice().into(), payload: b"one".as_slice().into() });
    assert_eq!(log.read_meta(first).unwrap(), b"m1".as_slice());
    assert_eq!(log.read(second).unwrap().payload, b"".as_slice());
    log.mark_sent(second);
    assert_eq!(log.cursors(), Cursors { acked: first, sent: second.next(), synced: second.next(), appended: second.next() });
    assert!(log.ack(second));
    assert_eq!(log.cursors().acked, first, "out of order");
    assert!(log.ack(first));
    assert_eq!((log.cursors().acked, log.first_pending(), log.pending_bytes()), (second.next(), None, 0));
}

/// A clean reopen goes on in the same segment with the next seq, keeps what was not acked, and gives the caller's state with what came
/// after it.
#[test]
fn reopen_goes_on() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = filled(&store, &index, 5);
    let id = log.id();
    log.ack(Seq(2));
    log.checkpoint(b"state").unwrap();
    log.append(b"", b"six").unwrap();
    log.sync().unwrap();
    log.ack(Seq(1));
    drop(log);
    let (mut log, recovery) = open(&store, &index, options());
    assert_eq!((log.id(), recovery.state.as_deref(), recovery.index_rebuilt), (id, Some(b"state".as_slice()), None));
    assert_eq!((recovery.after_checkpoint, recovery.damaged), (vec![Seq(6)], vec![]));
    assert_eq!(pending(&log), [1, 3, 4, 5, 6], "an ack behind the last checkpoint is forgotten");
    assert_eq!((log.append(b"", b"").unwrap(), log.stats().segments), (Seq(7), 1));
}

/// Segments whose records are all acked go with a checkpoint, whichever they are; the newest checkpoint stays.
#[test]
fn acked_segments_go() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = filled(&store, &index, 60);
    assert!(log.stats().segments >= 5);
    let before = log.bytes_on_disk();
    (1..=60).filter(|&seq| seq != 3 && seq != 30).for_each(|seq| assert!(log.ack(Seq(seq))));
    log.checkpoint(b"s").unwrap();
    assert_eq!(log.stats().segments, 3, "two with a record, and the active one");
    assert!(log.bytes_on_disk() < before / 2);
    log.ack(Seq(3));
    log.ack(Seq(30));
    log.checkpoint(b"t").unwrap();
    assert_eq!(log.stats().segments, 1);
    drop(log);
    let (log, recovery) = open(&store, &MemoryIndex::new(), options());
    assert_eq!((recovery.state.unwrap(), pending(&log), log.next_seq()), (b"t".to_vec(), vec![], Seq(61)));
}

/// At the budget `append` refuses with the numbers, checkpoints go on without end and without passing it, and acks make room again.
#[test]
fn budget_holds() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = open(&store, &index, options()).0;
    let state = [7; 600];
    log.checkpoint(&state).unwrap();
    let full = loop {
        match log.append(b"", &[1; 500]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let AppendError::Full { needed_bytes, used_bytes, budget_bytes } = full else { panic!("{full}") };
    assert!(used_bytes + needed_bytes > budget_bytes && used_bytes > budget_bytes / 2, "{full}");
    log.sync().unwrap();
    for _ in 0..200 {
        log.checkpoint(&state).unwrap();
        assert!(log.bytes_on_disk() <= budget_bytes, "{} B", log.bytes_on_disk());
    }
    let all = pending(&log);
    all.iter().for_each(|&seq| assert!(log.ack(Seq(seq))));
    log.checkpoint(&state).unwrap();
    assert!(log.bytes_on_disk() < 3 << 10, "{} B", log.bytes_on_disk());
    log.append(b"", &[1; 500]).unwrap();
}

/// What cannot be kept is refused with the limit, and nothing is written.
#[test]
fn limits_are_told() {
    let store = SimStore::new(1);
    let mut log = open(&store, &MemoryIndex::new(), options()).0;
    let before = store.operations();
    let error = log.append(&[0; 8], &[0; 8 << 10]).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { bytes: 8200, limit_bytes: 8192 }), "{error}");
    assert_eq!(store.operations(), before);
    assert_eq!(log.append(&[], &[0; 8 << 10]).unwrap(), Seq(1), "larger than a segment, but a record");
    for bad in [
        Options { segment_bytes: 100, ..options() },
        Options { segment_bytes: 4 << 30, budget_bytes: 8 << 30, ..options() },
        Options { budget_bytes: 1 << 10, ..options() },
        Options { max_record_bytes: u32::MAX, ..options() },
    ] {
        let opened = Log::open(Arc::new(SimStore::new(1)), Box::new(MemoryIndex::new()), bad);
        assert!(matches!(opened, Err(OpenError::Options(_))), "{bad:?}");
    }
}

/// A ticket covers what was appended before it and no more; there is one at a time; a checkpoint waits until all is synced.
#[test]
fn a_ticket_covers_what_came_before_it() {
    let mut log = open(&SimStore::new(1), &MemoryIndex::new(), options()).0;
    assert!(log.begin_sync().is_none(), "nothing to sync");
    log.append(b"", b"1").unwrap();
    let ticket = log.begin_sync().unwrap();
    log.append(b"", b"2").unwrap();
    assert!(log.begin_sync().is_none(), "one at a time");
    assert_eq!(log.sync().unwrap_err().source.kind(), std::io::ErrorKind::WouldBlock);
    assert!(matches!(log.begin_checkpoint(b""), Err(CheckpointError::Unsynced { .. })));
    assert_eq!(log.finish_sync(ticket.run()).unwrap(), Seq(2));
    assert_eq!(pending(&log), [1]);
    assert!(matches!(log.begin_checkpoint(b""), Err(CheckpointError::Unsynced { synced: Seq(2), appended: Seq(3) })));
    assert_eq!(log.sync().unwrap(), Seq(3));
    let ticket = log.begin_checkpoint(b"s").unwrap();
    log.finish_sync(ticket.run()).unwrap();
    assert_eq!(log.stats().checkpoints_total, 1);
}

/// A record found before its segment was removed is still read.
#[test]
fn a_prepared_read_outlives_its_segment() {
    let mut log = filled(&SimStore::new(1), &MemoryIndex::new(), 40);
    let read = log.prepare_read(Seq(1)).unwrap();
    (1..=40).for_each(|seq| assert!(log.ack(Seq(seq))));
    log.checkpoint(b"").unwrap();
    assert_eq!(log.stats().segments, 1);
    assert_eq!(read.run().unwrap().payload, payload(1, 200));
}

/// One log has a store at a time, and the message says what to do.
#[test]
fn a_second_log_is_refused() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let log = open(&store, &index, options()).0;
    let error = Log::open(Arc::new(store.clone()), Box::new(MemoryIndex::new()), options()).unwrap_err();
    assert!(error.to_string().contains("another directory"), "{error}");
    drop(log);
    open(&store, &index, options());
}

/// The set that a checkpoint stores is the set of everything not pending, as `Intervals` reads it.
#[test]
fn acked_set_is_what_is_not_pending() {
    let mut log = filled(&SimStore::new(1), &MemoryIndex::new(), 20);
    for seq in [1, 2, 5, 7, 8, 9, 20] {
        log.ack(Seq(seq));
        let bytes = log.encode_acked();
        let (acked, used) = Intervals::decode(&bytes).unwrap();
        assert_eq!(used, bytes.len());
        assert!((0..21).all(|seq| acked.contains(seq) != log.pending.contains_key(&seq)), "after {seq}");
    }
    while let Some(seq) = log.first_pending() {
        log.ack(seq);
    }
    assert_eq!(Intervals::decode(&log.encode_acked()).unwrap().0, Intervals::below(21));
}

/// The bound that the crate states: a pending record's entry has 24 bytes.
#[test]
fn a_pending_record_is_small() {
    assert_eq!(size_of::<(u64, super::super::Location)>(), 24);
}
