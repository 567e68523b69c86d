//! Looking changes nothing and sees what is there, whoever else is at work.

use std::path::Path;
use std::sync::Arc;

use super::plain::{filled, open};
use super::world::{options, payload};
use crate::*;

fn look(store: &SimStore) -> Inspection {
    Inspection::of(&(Arc::new(store.clone()) as Arc<dyn Store>)).unwrap()
}

fn seqs(inspection: &Inspection, acked: bool) -> Vec<u64> {
    inspection.records().filter(|record| record.acked == acked).map(|record| record.seq.0).collect()
}

/// What is pending and what the checkpoint calls done is told apart, and records are read as they were written.
#[test]
fn records_are_seen_with_their_state() {
    let store = SimStore::new(1);
    let mut log = filled(&store, &MemoryIndex::new(), 5);
    log.ack(Seq(2));
    log.checkpoint(b"state").unwrap();
    log.ack(Seq(3));
    let seen = look(&store);
    assert_eq!(seen.id(), Some(log.id()));
    assert_eq!((seqs(&seen, false), seqs(&seen, true)), (vec![1, 3, 4, 5], vec![2]), "an ack that no checkpoint has is not seen");
    assert_eq!(seen.read(Seq(4)).unwrap(), log.read(Seq(4)).unwrap());
    assert_eq!(seen.meta(Seq(2)).unwrap(), 2_u64.to_le_bytes().as_slice());
    assert!(matches!(seen.read(Seq(9)), Err(ReadError::NotPending(_))));
    assert_eq!(seen.damaged(), []);
}

/// Damage is seen where it is and stays where it is; what an open would find, a look finds.
#[test]
fn damage_is_shown_and_left_alone() {
    let store = SimStore::new(1);
    drop(filled(&store, &MemoryIndex::new(), 20));
    let names: Vec<String> = store.list().unwrap().into_iter().map(|entry| entry.name).filter(|name| name.ends_with(".seg")).collect();
    store.flip_bit(&names[0], 128 + 3 * 256 + 60, 5);
    let (listing, content) = (store.list().unwrap(), store.content(&names[0]));
    let seen = look(&store);
    assert_eq!(seqs(&seen, false), (1..=20).filter(|&seq| seq != 4).collect::<Vec<_>>());
    let [damage] = seen.damaged() else { panic!("{:?}", seen.damaged()) };
    assert_eq!((damage.kind, damage.seqs.clone()), (DamageKind::Records, Seq(4)..Seq(5)));
    assert_eq!((store.list().unwrap(), store.content(&names[0])), (listing, content), "nothing was put aside");
    let (_, recovery) = open(&store, &MemoryIndex::new(), options());
    assert_eq!(recovery.damaged.iter().map(|found| (found.offset, found.bytes)).collect::<Vec<_>>(), [(damage.offset, damage.bytes)]);
}

/// Every file of a directory, with its content and when it was written.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push((path.clone(), std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap()));
        }
    }
    all.sort();
    all
}

/// On a real directory a look writes nothing, needs no lock, and creates nothing where there is no log.
#[test]
fn a_look_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("spool");
    assert!(matches!(Inspection::open(&place), Err(OpenError::Io { .. })));
    assert!(!place.exists());
    let store = FileStore::new(&place).unwrap();
    let (mut log, _) = Log::open(Arc::new(store), Box::new(MemoryIndex::new()), options()).unwrap();
    log.append(b"m", b"one").unwrap();
    log.sync().unwrap();
    let before = files(dir.path());
    let seen = Inspection::open(&place).unwrap();
    assert_eq!(seen.read(Seq(1)).unwrap().payload, b"one".as_slice(), "though the log has the lock");
    assert_eq!(files(dir.path()), before);
}

/// Beside a writer that appends, acks and removes segments, every look succeeds, finds no damage, and each record it reads is right.
#[test]
fn a_look_beside_a_writer_finds_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::new(dir.path()).unwrap();
    let roomy = Options { budget_bytes: 1 << 20, ..options() };
    let (mut log, _) = Log::open(Arc::new(store), Box::new(MemoryIndex::new()), roomy).unwrap();
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            for id in 1..=200u64 {
                let seq = log.append(&id.to_le_bytes(), &payload(id, 200)).unwrap();
                log.sync().unwrap();
                if id % 20 == 0 {
                    (seq.0 - 19..seq.0).for_each(|seq| assert!(log.ack(Seq(seq))));
                    log.checkpoint(b"s").unwrap();
                }
            }
        });
        let mut read = 0;
        while !writer.is_finished() || read == 0 {
            let seen = Inspection::open(dir.path()).unwrap();
            let lost: Vec<_> = seen.damaged().iter().filter(|damage| damage.kind != DamageKind::Torn).collect();
            assert_eq!(lost, [] as [&Damage; 0]);
            for record in seen.records() {
                // Its segment may be gone since; what is read is right.
                if let Ok(found) = seen.read(record.seq) {
                    assert_eq!(found.payload, payload(record.seq.0, 200));
                    read += 1;
                }
            }
        }
    });
}
