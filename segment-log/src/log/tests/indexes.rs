//! The index is a copy: with a good one an open is quick, with any other it is right.

use super::plain::{filled, open, pending};
use super::world::options;
use crate::*;

/// A log with acked and unacked records over several segments, a checkpoint, and records behind it.
fn lived(store: &SimStore, index: &MemoryIndex) -> Vec<u64> {
    let mut log = filled(store, index, 30);
    (1..25).filter(|seq| seq % 3 != 0).for_each(|seq| assert!(log.ack(Seq(seq))));
    log.checkpoint(b"state").unwrap();
    log.append(b"", b"behind").unwrap();
    log.sync().unwrap();
    pending(&log)
}

/// Opens a copy of the store and compares with what is right.
fn reopen(store: &SimStore, index: &MemoryIndex, expected: &[u64]) -> Option<String> {
    let (log, recovery) = open(&store.kill(), index, options());
    assert_eq!(pending(&log), expected);
    assert_eq!((recovery.state.as_deref(), recovery.after_checkpoint.as_slice()), (Some(b"state".as_slice()), [Seq(31)].as_slice()));
    assert_eq!((recovery.damaged, log.next_seq()), (vec![], Seq(32)));
    assert!(log.pending().all(|(seq, _)| log.read(seq).is_ok()));
    drop(log);
    // Whatever it was, it is right again.
    let (log, recovery) = open(&store.kill().kill(), index, options());
    assert_eq!((pending(&log).as_slice(), recovery.index_rebuilt), (expected, None));
    drop(log);
    recovery.state.map(drop).and(None)
}

fn rebuilt(store: &SimStore, index: &MemoryIndex) -> Option<String> {
    open(&store.kill(), &index.snapshot(), options()).1.index_rebuilt
}

/// With its index a log opens without reading the segments again, but for a header or two in each.
#[test]
fn a_good_index_saves_the_scan() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let expected = lived(&store, &index);
    let with = store.kill();
    assert_eq!(open(&with, &index, options()).1.index_rebuilt, None);
    let without = with.kill();
    assert!(open(&without, &MemoryIndex::new(), options()).1.index_rebuilt.is_some());
    assert!(with.reads() < without.reads(), "{} and {} reads", with.reads(), without.reads());
    assert_eq!(pending(&open(&without.kill(), &index, options()).0), expected);
}

/// Missing, failing, damaged, incomplete, foreign: each is noticed, named, and made anew; what is pending is the same.
#[test]
fn a_bad_index_is_made_anew() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let expected = lived(&store, &index);
    let foreign = MemoryIndex::new();
    lived(&SimStore::new(2), &foreign);
    let flipped = index.snapshot();
    flipped.flip_bit(Seq(3), 40);
    let forgetful = index.snapshot();
    forgetful.forget(Seq(6));
    for (bad, reason) in [(MemoryIndex::new(), "there is none"), (flipped, "damaged"), (forgetful, "damaged"), (foreign, "another log's")] {
        let said = rebuilt(&store, &bad).unwrap();
        assert!(said.contains(reason), "{said}");
        reopen(&store, &bad, &expected);
    }
}

/// An index whose last writes were lost is used as far as it goes.
#[test]
fn an_older_index_is_caught_up() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = filled(&store, &index, 10);
    let older = index.snapshot();
    for id in 11..=30 {
        log.append(&[], &super::world::payload(id, 200)).unwrap();
    }
    log.sync().unwrap();
    let middle = index.snapshot();
    (1..25).filter(|seq| seq % 3 != 0).for_each(|seq| assert!(log.ack(Seq(seq))));
    log.checkpoint(b"state").unwrap();
    log.append(b"", b"behind").unwrap();
    log.sync().unwrap();
    let expected = pending(&log);
    drop(log);
    for old in [older, middle] {
        assert_eq!(rebuilt(&store, &old), None);
        reopen(&store, &old, &expected);
    }
}

/// An index that knows more than the segments (they were put back from a backup) is not believed.
#[test]
fn a_newer_index_is_not_believed() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 3));
    let backup = store.kill();
    let store = backup.kill();
    let mut log = open(&store, &index, options()).0;
    for _ in 0..20 {
        log.append(b"", &[0; 300]).unwrap();
    }
    log.sync().unwrap();
    drop(log);
    let names: Vec<_> = store.list().unwrap().into_iter().map(|entry| entry.name).collect();
    for name in &names[1..] {
        store.remove(name).unwrap();
    }
    store.cut(&names[0], 128 + 3 * 256);
    let (log, recovery) = open(&store, &index, options());
    assert!(recovery.index_rebuilt.unwrap().contains("newer"));
    assert_eq!(pending(&log), [1, 2, 3]);
}

/// An index that fails while the log runs is set aside and reported, the log works on, and the next checkpoint brings it back.
#[test]
fn a_failing_index_stops_nothing() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = filled(&store, &index, 3);
    index.set_failing(Some("no space"));
    for seq in 4..8 {
        log.append(b"", b"x").unwrap();
        log.sync().unwrap();
        assert!(log.read(Seq(seq)).is_ok() && log.ack(Seq(seq - 3)));
    }
    assert_eq!(log.stats().index_failure.as_deref(), Some("no space"));
    log.checkpoint(b"a").unwrap();
    assert_eq!(log.stats().index_failure.as_deref(), Some("no space"));
    index.set_failing(None);
    log.checkpoint(b"b").unwrap();
    assert_eq!((log.stats().index_failure, index.entries()), (None, 3));
    drop(log);
    let (log, recovery) = open(&store, &index, options());
    assert_eq!((pending(&log), recovery.index_rebuilt), (vec![5, 6, 7], None));
}

/// The index does not grow with what was acked.
#[test]
fn the_index_forgets_what_was_acked() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let mut log = open(&store, &index, options()).0;
    for round in 0..50_u64 {
        let seq = log.append(b"", &[0; 300]).unwrap();
        log.sync().unwrap();
        log.ack(seq);
        if round % 10 == 9 {
            log.checkpoint(b"").unwrap();
            assert_eq!(index.entries(), 0);
        }
    }
}

/// A log that acknowledged record 1 before a checkpoint and record 2 while that was on its way to the disk; `out_of_order`: the index
/// failed shortly before.
fn acked_meanwhile(index: &MemoryIndex, out_of_order: bool) -> (SimStore, Log) {
    let store = SimStore::new(1);
    let mut log = filled(&store, index, 5);
    assert!(log.ack(Seq(1)));
    if out_of_order {
        index.set_failing(Some("no space"));
        log.append(b"", b"x").unwrap();
        log.sync().unwrap();
        index.set_failing(None);
    }
    let ticket = log.begin_checkpoint(b"without 2").unwrap();
    assert!(log.ack(Seq(2)));
    log.finish_sync(ticket.run()).unwrap();
    (store, log)
}

/// What is acknowledged while a checkpoint is on its way to the disk is in the next one: after a crash it is pending again, with the index
/// as without it, since the checkpoint's state knows nothing of it.
#[test]
fn an_ack_during_a_checkpoint_is_not_in_it() {
    for (out_of_order, kept) in [(false, true), (false, false), (true, true), (true, false)] {
        let index = MemoryIndex::new();
        let (store, log) = acked_meanwhile(&index, out_of_order);
        let next = log.next_seq().0;
        let index = if kept { index } else { MemoryIndex::new() };
        let (log, recovery) = open(&store.kill(), &index, options());
        assert_eq!(recovery.state.as_deref(), Some(b"without 2".as_slice()));
        assert_eq!(pending(&log), (2..next).collect::<Vec<_>>(), "out of order {out_of_order}, kept {kept}");
    }
}

/// The next checkpoint has it, and brings an index back that was out of order.
#[test]
fn an_ack_during_a_checkpoint_is_in_the_next() {
    for out_of_order in [false, true] {
        let index = MemoryIndex::new();
        let (store, mut log) = acked_meanwhile(&index, out_of_order);
        log.checkpoint(b"with 2").unwrap();
        assert_eq!(log.stats().index_failure, None);
        let next = log.next_seq().0;
        let (log, recovery) = open(&store.kill(), &index, options());
        assert_eq!((pending(&log), recovery.index_rebuilt), ((3..next).collect(), None));
    }
}
