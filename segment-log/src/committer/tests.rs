use std::collections::BTreeSet;
use std::sync::mpsc;

use super::*;
use crate::{Fault, MemoryIndex, Options, Recovery, SimStore};

fn options() -> Options {
    Options { segment_bytes: 64 << 10, budget_bytes: 4 << 20, max_record_bytes: 64 << 10, quarantine_bytes: 0 }
}

fn open(store: &SimStore) -> (Log, Recovery) {
    Log::open(Arc::new(store.clone()), Box::new(MemoryIndex::new()), options()).unwrap()
}

fn start(store: &SimStore, queue_bytes: u64) -> Committer {
    Committer::start(open(store).0, CommitterOptions { queue_bytes, ..CommitterOptions::default() })
}

type Answers = mpsc::Receiver<Result<Seq, AppendError>>;

fn append(committer: &Committer, count: usize, payload: &'static [u8]) -> Answers {
    let (sender, answers) = mpsc::sync_channel(count);
    for _ in 0..count {
        let sender = sender.clone();
        committer.append(b"m".to_vec(), Bytes::from_static(payload), move |result| sender.send(result).unwrap());
    }
    answers
}

/// Every record that was answered with a seq is there after a power cut, whatever was lost.
#[test]
fn an_answer_means_that_the_record_is_durable() {
    for seed in 0..8 {
        let store = SimStore::new(seed);
        let committer = start(&store, 1 << 20);
        let answered: Vec<Seq> = append(&committer, 50, b"payload").iter().map(Result::unwrap).collect();
        assert_eq!(answered, (1..=50).map(Seq).collect::<Vec<_>>());
        let after = open(&store.restart(seed)).0;
        assert_eq!(after.pending().map(|(seq, _)| seq).collect::<Vec<_>>(), answered);
    }
}

/// What gathers while the disk is busy is one group with one fsync.
#[test]
fn records_are_committed_in_groups() {
    let committer = start(&SimStore::new(1), 1 << 20);
    let answers = committer.with(|_| append(&committer, 100, b"x"));
    assert_eq!(answers.iter().filter(Result::is_ok).count(), 100);
    let stats = committer.stats();
    assert!(stats.groups_total <= 2 && stats.records_total == 100, "{stats:?}");
}

/// A full queue refuses at once and keeps its bound.
#[test]
fn a_full_queue_is_busy() {
    let committer = start(&SimStore::new(1), 1000);
    // The thread may take one group and then waits for the log, which is held here.
    let answers = committer.with(|_| append(&committer, 40, &[0; 135]));
    let (stored, refused): (Vec<_>, Vec<_>) = answers.iter().partition(Result::is_ok);
    assert!((5..=10).contains(&stored.len()), "{} stored", stored.len());
    assert!(refused.iter().all(|answer| matches!(answer, Err(AppendError::Busy { limit_bytes: 1000, .. }))));
    assert_eq!(committer.stats().busy_total, refused.len() as u64);
}

/// Who waits for an fsync that fails is told so, and the next record is stored.
#[test]
fn a_failed_fsync_is_told_to_all_that_waited() {
    let store = SimStore::new(1);
    let committer = start(&store, 1 << 20);
    let answers = committer.with(|_| {
        (1..=200).for_each(|n| store.fail_at(store.operations() + n, Fault::Io));
        append(&committer, 20, b"x")
    });
    assert!(answers.iter().all(|answer| answer.is_err()));
    // The faults that are left are used up by further failures.
    while append(&committer, 1, b"y").recv().unwrap().is_err() {}
    let seq = append(&committer, 1, b"z").recv().unwrap().unwrap();
    committer.with(|log| assert_eq!(log.read(seq).unwrap().payload, b"z".as_slice()));
}

/// A callback that panics is counted; the others are called, and the thread lives.
#[test]
fn a_panicking_callback_harms_nobody() {
    let committer = start(&SimStore::new(1), 1 << 20);
    let answers = committer.with(|_| {
        committer.append(Vec::new(), Bytes::new(), |_| std::panic::resume_unwind(Box::new("bug")));
        append(&committer, 3, b"x")
    });
    assert_eq!(answers.iter().filter(Result::is_ok).count(), 3);
    assert!(append(&committer, 1, b"x").recv().unwrap().is_ok());
    assert_eq!(committer.stats().panics_total, 1);
}

/// The state of a checkpoint is what the callbacks did until then: with the records behind it, it makes each record once, whenever it is
/// taken.
#[test]
fn a_checkpoint_includes_what_was_answered_and_no_more() {
    let store = SimStore::new(3);
    let committer = start(&store, 1 << 20);
    let counted = Arc::new(Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (sender, answers) = mpsc::sync_channel(60);
                for _ in 0..60 {
                    let (counted, sender) = (Arc::clone(&counted), sender.clone());
                    committer.append(Vec::new(), Bytes::from_static(b"x"), move |seq| {
                        counted.lock().insert(seq.unwrap().0);
                        sender.send(()).unwrap();
                    });
                }
                drop(sender);
                assert_eq!(answers.iter().count(), 60);
            });
        }
        for _ in 0..10 {
            committer.checkpoint(|_| counted.lock().iter().flat_map(|seq| seq.to_le_bytes()).collect()).unwrap();
            let (_, recovery) = open(&store_as_it_is(&store));
            let mut all: Vec<u64> =
                recovery.state.unwrap().chunks_exact(8).map(|seq| u64::from_le_bytes(seq.try_into().unwrap())).collect();
            all.extend(recovery.after_checkpoint.iter().map(|seq| seq.0));
            assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
        }
    });
    assert_eq!(committer.with(|log| log.pending_records()), 180);
}

/// A copy of the files, as a kill would leave them.
fn store_as_it_is(store: &SimStore) -> SimStore {
    let copy = SimStore::new(9);
    for entry in crate::Store::list(store).unwrap() {
        if let Some(content) = store.content(&entry.name) {
            copy.put(&entry.name, &content);
        }
    }
    copy
}

/// Closing commits what waits; after it appends answer `Closed`, and acks and checkpoints still work. The directory is free when the last
/// handle is gone.
#[test]
fn close_commits_what_waits() {
    let store = SimStore::new(1);
    let committer = start(&store, 1 << 20);
    let other = committer.clone();
    let answers = committer.with(|_| append(&committer, 10, b"x"));
    committer.close();
    committer.close();
    assert_eq!(answers.iter().filter(Result::is_ok).count(), 10);
    assert!(matches!(append(&other, 1, b"x").recv().unwrap(), Err(AppendError::Closed)));
    assert!(other.with(|log| log.ack(Seq(1))));
    other.checkpoint(|_| b"s".to_vec()).unwrap();
    drop((committer, other));
    assert_eq!(open(&store).0.pending_records(), 9);
}

/// Handles that are dropped without a close lose nothing that waits.
#[test]
fn dropping_the_last_handle_closes() {
    let store = SimStore::new(1);
    let committer = start(&store, 1 << 20);
    let answers = committer.with(|_| append(&committer, 10, b"x"));
    drop(committer);
    assert_eq!(answers.iter().filter(Result::is_ok).count(), 10);
    assert_eq!(open(&store).0.pending_records(), 10);
}

/// By hand nobody is told before the second half of a round; a checkpoint does what is open first, and a hand that goes leaves nobody
/// without an answer.
#[test]
fn by_hand_a_round_has_two_halves() {
    let store = SimStore::new(1);
    let (committer, hand) = Committer::by_hand(open(&store).0, &CommitterOptions::default());
    let first = append(&committer, 1, b"a");
    assert!(first.try_recv().is_err() && !hand.is_idle());
    hand.begin();
    assert!(first.try_recv().is_err() && hand.is_open());
    let second = append(&committer, 1, b"b");
    committer.checkpoint(|log| log.next_seq().0.to_le_bytes().to_vec()).unwrap();
    assert_eq!((first.try_recv().unwrap().unwrap(), second.try_recv().is_err()), (Seq(1), true));
    hand.begin();
    drop(hand);
    assert!(matches!(second.try_recv().unwrap(), Err(AppendError::Closed)));
    assert!(matches!(append(&committer, 1, b"c").try_recv().unwrap(), Err(AppendError::Closed)));
}

/// By hand, what waits at the close is on disk after it.
#[test]
fn by_hand_close_does_what_waits() {
    let (committer, hand) = Committer::by_hand(open(&SimStore::new(1)).0, &CommitterOptions::default());
    let answers = append(&committer, 2, b"a");
    hand.begin();
    let more = append(&committer, 1, b"b");
    committer.close();
    assert_eq!((answers.iter().count(), more.recv().unwrap().unwrap(), committer.is_running()), (2, Seq(3), false));
}
