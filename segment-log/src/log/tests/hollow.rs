//! Discarded records give their bytes back, once a checkpoint says that they are done with, and cost nothing else.

use std::sync::Arc;

use super::plain::{open, pending};
use super::world::payload;
use crate::*;

const BYTES: usize = 20_000;

fn options() -> Options {
    Options { segment_bytes: 128 << 10, budget_bytes: 2 << 20, max_record_bytes: 64 << 10, quarantine_bytes: 1 << 20 }
}

fn append(log: &mut Log, ids: std::ops::RangeInclusive<u64>) {
    for id in ids {
        log.append(&id.to_le_bytes(), &payload(id, BYTES)).unwrap();
    }
    log.sync().unwrap();
}

fn assert_readable(log: &Log) {
    for (seq, _) in log.pending() {
        assert_eq!(log.read(seq).unwrap().payload, payload(seq.0, BYTES), "{seq}");
    }
}

/// Records between others give disk back with the checkpoint that has them, not before; a start without an index finds the rest whole
/// and no damage, and what is discarded stays so.
#[test]
fn discarded_bytes_come_back_with_the_checkpoint() {
    let store = SimStore::new(1);
    let mut log = open(&store, &MemoryIndex::new(), options()).0;
    append(&mut log, 1..=20);
    let before = log.bytes_on_disk();
    for seq in (2..=20).step_by(2) {
        assert!(log.discard(Seq(seq)));
        assert!(!log.discard(Seq(seq)), "once");
    }
    assert_eq!(log.bytes_on_disk(), before, "a crash would bring them back");
    log.checkpoint(b"s").unwrap();
    let freed = before - log.bytes_on_disk();
    assert!(freed >= 10 * (BYTES as u64 - 8192) - 4096, "{freed}");
    assert_readable(&log);
    drop(log);
    let (log, recovery) = open(&store, &MemoryIndex::new(), options());
    assert_eq!((recovery.damaged, pending(&log)), (vec![], (1..=20).step_by(2).collect::<Vec<_>>()));
    assert_readable(&log);
    let seen = Inspection::of(&(Arc::new(store) as Arc<dyn Store>)).unwrap();
    assert!(seen.damaged().is_empty() && seen.records().filter(|record| !record.acked).count() == 10);
}

/// Wherever the power goes while records are discarded, each is either pending and whole or gone, and no other is touched.
#[test]
fn power_cuts_while_discarding() {
    for cut in 0..60 {
        let store = SimStore::new(cut);
        let mut log = open(&store, &MemoryIndex::new(), options()).0;
        append(&mut log, 1..=12);
        log.checkpoint(b"1").unwrap();
        store.crash_at(store.operations() + cut);
        for round in 0..3 {
            (1 + round..=12).step_by(3).for_each(|seq| {
                log.discard(Seq(seq));
            });
            let _ = log.checkpoint(b"2");
        }
        drop(log);
        let store = store.restart(cut);
        let (log, recovery) = open(&store, &MemoryIndex::new(), options());
        assert_eq!(recovery.damaged.iter().filter(|damage| damage.kind != DamageKind::Torn).count(), 0, "cut {cut}");
        assert_readable(&log);
    }
}

/// Without the checkpoint that has it, a hollow record is a loss that is told, not one that is found when it is read.
#[test]
fn a_hollow_record_without_its_checkpoint_is_damage() {
    let store = SimStore::new(1);
    let mut log = open(&store, &MemoryIndex::new(), options()).0;
    append(&mut log, 1..=4);
    log.checkpoint(b"1").unwrap();
    let names = |store: &SimStore| store.list().unwrap().into_iter().map(|entry| (entry.name, entry.bytes)).collect::<Vec<_>>();
    let (name, checkpoint_at) = names(&store).pop().unwrap();
    log.discard(Seq(2));
    log.checkpoint(b"2").unwrap();
    drop(log);
    store.flip_bit(&name, checkpoint_at + 10, 1);
    let seen = Inspection::of(&(Arc::new(store.clone()) as Arc<dyn Store>)).unwrap();
    assert_eq!(seen.records().map(|record| record.seq.0).collect::<Vec<_>>(), [1, 3, 4]);
    let (log, recovery) = open(&store, &MemoryIndex::new(), options());
    assert_eq!(pending(&log), [1, 3, 4]);
    let lost: Vec<_> = recovery.damaged.iter().filter(|damage| damage.kind == DamageKind::Records).map(|lost| lost.seqs.clone()).collect();
    assert_eq!((lost, log.stats().damaged_records_total), (vec![Seq(2)..Seq(3)], 1));
}

/// On a real file system the blocks are free afterwards, and a log that is opened again knows that they are.
#[test]
fn the_file_system_gets_blocks_back() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Log::open(Arc::new(FileStore::new(dir.path()).unwrap()), Box::new(MemoryIndex::new()), options()).unwrap().0;
    let mut log = open();
    append(&mut log, 1..=6);
    for seq in [1, 3, 5] {
        log.discard(Seq(seq));
    }
    log.checkpoint(b"s").unwrap();
    let stats = log.stats();
    assert!(stats.hollowed_bytes_total > 3 * (BYTES as u64 - 8192), "{stats:?}");
    let known = log.bytes_on_disk();
    drop(log);
    let log = open();
    assert!(log.bytes_on_disk() <= known + 4 * 4096, "{} {known}", log.bytes_on_disk());
    assert_readable(&log);
}
