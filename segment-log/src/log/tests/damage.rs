//! What is broken on the disk costs itself and nothing else.

use std::sync::Arc;

use super::plain::{filled, open, pending};
use super::world::{options, payload};
use crate::*;

const RECORD: u64 = 256;

fn segment_name(store: &SimStore, n: usize) -> String {
    store.list().unwrap().iter().filter(|entry| entry.name.ends_with(".seg") && !entry.name.contains('/')).nth(n).unwrap().name.clone()
}

fn real(recovery: &Recovery) -> Vec<&Damage> {
    recovery.damaged.iter().filter(|damage| damage.kind != DamageKind::Torn).collect()
}

/// A flipped bit in the middle costs exactly its record: counted, its bytes put aside, its meta told if that part is whole.
#[test]
fn a_flipped_bit_costs_one_record() {
    for at in [0, 9, 30, 47, 50, 56, 100, 255] {
        let (store, index) = (SimStore::new(1), MemoryIndex::new());
        drop(filled(&store, &index, 20));
        store.flip_bit(&segment_name(&store, 0), 128 + 3 * RECORD + at, 5);
        let before = store.content(&segment_name(&store, 0)).unwrap();
        let (mut log, recovery) = open(&store, &MemoryIndex::new(), options());
        assert_eq!(pending(&log), (1..=20).filter(|&seq| seq != 4).collect::<Vec<_>>(), "byte {at}");
        let [damage] = real(&recovery)[..] else { panic!("byte {at}: {:?}", recovery.damaged) };
        assert_eq!((damage.kind, damage.offset, damage.bytes), (DamageKind::Records, 128 + 3 * RECORD, RECORD));
        assert_eq!(damage.seqs, Seq(4)..Seq(5));
        assert_eq!(damage.meta.is_some(), at >= 56, "byte {at}");
        let aside = store.content(damage.quarantined.as_ref().unwrap()).unwrap();
        assert_eq!(aside, before[(128 + 3 * RECORD) as usize..(128 + 4 * RECORD) as usize]);
        assert_eq!((log.stats().damages_total, log.stats().damaged_records_total, log.stats().quarantined_bytes), (1, 1, RECORD));
        assert_eq!(log.append(b"", b"").unwrap(), Seq(21));
    }
}

/// Damage in what the index covers is found when it is read: the record is refused, put aside on request, and gone after the next
/// checkpoint.
#[test]
fn damage_found_by_reading_can_be_put_aside() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 5));
    store.flip_bit(&segment_name(&store, 0), 128 + 2 * RECORD + 80, 0);
    let (mut log, recovery) = open(&store, &index, options());
    assert_eq!((recovery.index_rebuilt, recovery.damaged), (None, vec![]));
    let error = log.read(Seq(3)).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { what: "payload CRC", offset: 640, .. }), "{error}");
    assert_eq!(log.read_meta(Seq(3)).unwrap(), 3_u64.to_le_bytes().as_slice());
    let damage = log.quarantine(Seq(3)).unwrap();
    assert_eq!((damage.seqs, damage.bytes), (Seq(3)..Seq(4), RECORD));
    assert!(store.content(&damage.quarantined.unwrap()).is_some());
    assert_eq!((pending(&log), log.quarantine(Seq(3))), (vec![1, 2, 4, 5], None));
}

/// Without its last records a log does not use their seqs again, though nothing but their damaged bytes tells of them.
#[test]
fn seqs_in_a_damaged_tail_are_not_used_again() {
    for record in 0..6 {
        let (store, index) = (SimStore::new(1), MemoryIndex::new());
        drop(filled(&store, &index, 6));
        for n in record..6 {
            store.flip_bit(&segment_name(&store, 0), 128 + n * RECORD + 2, 0);
        }
        let (mut log, _) = open(&store, &MemoryIndex::new(), options());
        assert_eq!(pending(&log), (1..=record).collect::<Vec<_>>());
        let seq = log.append(b"", b"new").unwrap();
        assert!(seq > Seq(6), "{seq} was used");
        log.sync().unwrap();
        drop(log);
        let (log, recovery) = open(&store, &MemoryIndex::new(), options());
        assert_eq!((log.read(seq).unwrap().payload, log.next_seq()), (b"new".as_slice().into(), seq.next()));
        assert_eq!(real(&recovery), Vec::<&Damage>::new(), "what was once called torn stays so");
    }
}

/// A damaged newest checkpoint is noticed, an older one is in force, and nothing unacked is lost.
#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    for at in [3, 60] {
        let (store, index) = (SimStore::new(1), MemoryIndex::new());
        let mut log = filled(&store, &index, 3);
        log.checkpoint(b"old").unwrap();
        log.ack(Seq(1));
        let end = log.bytes_on_disk();
        log.checkpoint(b"new").unwrap();
        log.append(b"", b"").unwrap();
        log.sync().unwrap();
        drop(log);
        store.flip_bit(&segment_name(&store, 0), end + at, 0);
        let (log, recovery) = open(&store, &MemoryIndex::new(), options());
        assert_eq!((recovery.state.as_deref(), recovery.after_checkpoint.as_slice()), (Some(b"old".as_slice()), [Seq(4)].as_slice()));
        assert_eq!(pending(&log), [1, 2, 3, 4]);
        assert_eq!(real(&recovery).iter().map(|damage| damage.kind).collect::<Vec<_>>(), [DamageKind::Checkpoint], "byte {at}");
    }
}

/// A segment without a readable header keeps its records, as long as another one says whose they are.
#[test]
fn a_lost_segment_header_costs_nothing() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 30));
    let name = segment_name(&store, 1);
    store.flip_bit(&name, 20, 0);
    store.flip_bit(&name, 84, 0);
    let (mut log, recovery) = open(&store, &index, options());
    assert_eq!(pending(&log), (1..=30).collect::<Vec<_>>());
    assert!(recovery.index_rebuilt.unwrap().contains("damaged header"));
    (1..=30).for_each(|seq| assert!(log.read(Seq(seq)).is_ok() && log.ack(Seq(seq))));
    log.checkpoint(b"").unwrap();
    assert_eq!(log.stats().segments, 1);
}

/// If no header at all can be read, the files are put aside and a log with a new id begins: an id is never used for two logs.
#[test]
fn without_any_header_a_new_log_begins() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let log = filled(&store, &index, 3);
    let id = log.id();
    drop(log);
    let name = segment_name(&store, 0);
    store.flip_bit(&name, 20, 0);
    store.flip_bit(&name, 84, 0);
    let (mut log, recovery) = open(&store, &index, options());
    assert_ne!(log.id(), id);
    assert_eq!((recovery.damaged[0].kind, pending(&log)), (DamageKind::Segment, vec![]));
    assert_eq!(recovery.damaged[0].quarantined.as_deref(), Some(format!("quarantine/{name}").as_str()));
    log.append(b"", b"first").unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(pending(&open(&store, &index, options()).0), [1]);
}

/// Files that are not ours are reported, and neither read nor touched: other names, other logs' segments, copies under another number.
#[test]
fn aliens_are_left_alone() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 30));
    let other = SimStore::new(2);
    drop(filled(&other, &MemoryIndex::new(), 1));
    let foreign = "0000000099-00000000000000000001.seg";
    let number = "0000000099";
    let foreign_bytes = {
        // A segment of another log with a number of its own.
        let mut bytes = Vec::new();
        let id = open(&other, &MemoryIndex::new(), options()).0.id();
        bytes.extend(segment::SegmentHeader { log_id: id, number: SegmentNo(99), base: Seq(1) }.encode());
        bytes
    };
    store.put(foreign, &foreign_bytes);
    let copy = "0000000055-00000000000000000001.seg";
    store.put(copy, &store.content(&segment_name(&store, 0)).unwrap());
    store.put("notes.txt", b"hello");
    let before: Vec<_> = [foreign, copy, "notes.txt"].map(|name| store.content(name)).into();
    let (mut log, recovery) = open(&store, &MemoryIndex::new(), options());
    let mut aliens = recovery.aliens.clone();
    aliens.sort();
    assert_eq!(aliens, [copy, foreign, "notes.txt"]);
    assert_eq!(pending(&log), (1..=30).collect::<Vec<_>>());
    while log.stats().segments_created_total == 0 {
        log.append(b"", &[0; 900]).unwrap();
    }
    assert!(
        store.list().unwrap().iter().any(|entry| entry.name > format!("{number}~") && entry.name.starts_with("00000001")),
        "a number is not used twice"
    );
    assert_eq!(before, [foreign, copy, "notes.txt"].map(|name| store.content(name)));
}

/// A file whose name claims a number or a seq that no log gets to is an alien: it uses up neither.
#[test]
fn impossible_names_are_aliens() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 30));
    let names = ["0000000099-18446744073709551615.seg", "4294967295-00000000000000000001.seg"];
    names.iter().for_each(|name| store.put(name, &[7; 500]));
    let (mut log, recovery) = open(&store, &MemoryIndex::new(), options());
    assert_eq!((recovery.aliens.as_slice(), pending(&log)), (names.map(str::to_owned).as_slice(), (1..=30).collect()));
    while log.stats().segments_created_total == 0 {
        assert!(log.append(b"", &[0; 900]).unwrap() < Seq(100));
    }
}

/// A stray file with a segment's number hides neither that segment nor, by the seq that it claims, the records of those behind it.
#[test]
fn stray_names_hide_no_records() {
    for stray in ["0000000002-00000000000000000000.seg", "0000000002-00000000000000000246.seg"] {
        for remove in [false, true] {
            let (store, index) = (SimStore::new(1), MemoryIndex::new());
            drop(filled(&store, &index, 40));
            if remove {
                store.remove(&segment_name(&store, 1)).unwrap();
            }
            store.put(stray, &[7; 500]);
            let (mut log, _) = open(&store, &MemoryIndex::new(), options());
            let found = pending(&log);
            assert_eq!(found.len(), if remove { 40 - 11 } else { 40 }, "{stray}");
            let seq = log.append(b"", b"new").unwrap();
            assert!(seq > Seq(40), "{seq} is used twice");
            log.sync().unwrap();
            drop(log);
            let (log, _) = open(&store, &MemoryIndex::new(), options());
            assert_eq!(pending(&log), [&found[..], &[seq.0]].concat(), "{stray}");
        }
    }
}

/// A name that makes a gap of more seqs than can be looked at one by one does not keep the log from opening, nor are those seqs used.
#[test]
fn a_gap_of_any_size_is_judged_at_once() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 30));
    store.put("0000000099-04000000000000000000.seg", &[7; 500]);
    let (mut log, _) = open(&store, &MemoryIndex::new(), options());
    assert_eq!(pending(&log), (1..=30).collect::<Vec<_>>());
    assert!(log.append(b"", b"").unwrap() > Seq(4_000_000_000_000_000_000));
    log.sync().unwrap();
    log.checkpoint(b"").unwrap();
    log.append(b"", b"").unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(pending(&open(&store, &MemoryIndex::new(), options()).0).len(), 32);
}

/// A segment that is shorter than it was loses what was cut off, and the index, which knows better, is not believed about it.
#[test]
fn a_cut_segment_loses_what_was_cut() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 30));
    let name = segment_name(&store, 0);
    store.cut(&name, 128 + 2 * RECORD + 100);
    let (log, recovery) = open(&store, &index, options());
    assert!(recovery.index_rebuilt.unwrap().contains("shorter"));
    assert_eq!(pending(&log)[..4], [1, 2, 12, 13]);
    assert_eq!(log.next_seq(), Seq(31));
}

/// A segment that is gone is reported by an index that knew its records.
#[test]
fn a_missing_segment_is_reported() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 30));
    store.remove(&segment_name(&store, 0)).unwrap();
    let (log, recovery) = open(&store, &index, options());
    let [damage] = real(&recovery)[..] else { panic!("{recovery:?}") };
    assert_eq!((damage.kind, damage.segment, damage.seqs.start), (DamageKind::Segment, SegmentNo(1), Seq(1)));
    assert_eq!(log.stats().damaged_records_total, 30 - log.pending_records());
}

/// Sectors that the disk will not read cost the records in them; a disk that reads nothing at all is no damage but an error.
#[test]
fn unreadable_sectors_cost_their_records() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    let big = Options { segment_bytes: 64 << 10, budget_bytes: 1 << 20, ..options() };
    let mut log = open(&store, &index, big).0;
    for id in 1..=100 {
        log.append(b"12345678", &payload(id, 200)).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    let name = segment_name(&store, 0);
    store.set_bad(&name, 8192..8200);
    let (log, recovery) = open(&store, &MemoryIndex::new(), big);
    let lost = 100 - log.pending_records();
    assert!((16..=18).contains(&lost), "{lost} records in one block of 4 KiB and beside it");
    assert_eq!((real(&recovery)[0].kind, log.stats().refused_bytes), (DamageKind::Records, 4096));
    drop(log);
    let store = store.kill();
    store.set_bad(&name, 128..1 << 20);
    let error = Log::open(Arc::new(store), Box::new(MemoryIndex::new()), big).unwrap_err();
    assert!(error.to_string().contains("read 0000000001"), "{error}");
}

/// A single failed read at the open costs nothing: it is tried again.
#[test]
fn one_failed_read_costs_nothing() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 30));
    for n in 1..12 {
        let store = store.kill();
        store.fail_read_at(n);
        let (log, recovery) = open(&store, &MemoryIndex::new(), options());
        assert_eq!((pending(&log).len(), recovery.damaged), (30, vec![]), "read {n}");
    }
}

/// The quarantine has a bound: past it damage is counted, not kept; and looking twice does not fill it twice.
#[test]
fn quarantine_is_bounded() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 30));
    for n in [1, 3, 5, 7] {
        store.flip_bit(&segment_name(&store, 0), 128 + n * RECORD + 100, 0);
    }
    let small = Options { quarantine_bytes: 3 * RECORD, ..options() };
    for _ in 0..2 {
        let (log, recovery) = open(&store, &MemoryIndex::new(), small);
        assert_eq!((log.stats().damages_total, log.stats().quarantined_bytes), (4, 3 * RECORD));
        assert_eq!(real(&recovery).iter().filter(|damage| damage.quarantined.is_some()).count(), 3);
    }
}

/// A segment of a newer format is neither read wrongly nor put aside: the start says what to run.
#[test]
fn a_newer_format_is_not_touched() {
    let (store, index) = (SimStore::new(1), MemoryIndex::new());
    drop(filled(&store, &index, 1));
    let name = segment_name(&store, 0);
    let mut newer = store.content(&name).unwrap();
    for copy in newer[..128].chunks_exact_mut(64) {
        copy[8] = 9;
        let crc = crc32c::crc32c(&copy[..60]);
        copy[60..].copy_from_slice(&crc.to_le_bytes());
    }
    store.put(&name, &newer);
    let error = Log::open(Arc::new(store.clone()), Box::new(index), options()).unwrap_err();
    assert!(error.to_string().contains("version 9") && error.to_string().contains("run the newer version"), "{error}");
    assert_eq!(store.content(&name).unwrap(), newer);
}
