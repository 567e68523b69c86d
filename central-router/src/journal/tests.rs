//! Power cuts at every write of the journal: what was acked is there once, whatever the edge sends again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::mpsc;

use federation_proto::ledger::Terms;
use segment_log::{MemoryIndex, SimStore};

use super::book::{Admit, UnitLimits};
use super::*;
use crate::testing::{batch_id, header};
use crate::tier::local::manifest::{Manifest, unfinished};

const BATCHES: u64 = 10;
const ROWS: u64 = 10;
const UNIT: UnitLimits = UnitLimits { rows: 3 * ROWS, raw_bytes: u64::MAX };
const OPTIONS: JournalOptions = JournalOptions { budget: 64 << 20, segment: 4096, max_batch: 4096, queue: 1 << 20 };

/// The power is off.
#[derive(Debug)]
struct Off;

/// What lives on other machines, or other disks: it survives the router's power cut.
#[derive(Default)]
struct World {
    /// Batches that the edge has an ack for.
    acked: BTreeSet<u64>,
    /// What the tier holds, by unit.
    tier: BTreeMap<RangeInclusiveKey, Vec<u64>>,
    /// The tier's newest manifest.
    manifest: Option<Manifest>,
}

type RangeInclusiveKey = (u64, u64);

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8; 300 + 40 * seq as usize]
}

fn open(store: &SimStore) -> Result<Journal, JournalError> {
    Journal::on_store(Arc::new(store.clone()), Box::new(MemoryIndex::new()), &OPTIONS, &["t".to_owned()]).map(|(journal, _)| journal)
}

/// The edge sends a batch, as the session and the listener take it.
fn send(journal: &Journal, world: &mut World, seq: u64) -> Result<(), Off> {
    let header = header(1, seq, &payload(seq));
    let admitted = {
        let mut book = journal.book();
        let admitted = book.judge(&header);
        if admitted == Admit::Fresh {
            book.reserve(&header);
        }
        admitted
    };
    match admitted {
        Admit::Duplicate => {}
        Admit::Fresh => {
            let (answer, answered) = mpsc::sync_channel(1);
            journal.append(header, payload(seq).into(), move |result| answer.send(result.is_ok()).unwrap());
            if !answered.recv().unwrap() {
                return Err(Off);
            }
        }
        other => panic!("{other:?}"),
    }
    world.acked.insert(seq);
    Ok(())
}

/// One unit, as the consumer and the local tier write it. False when nothing waits.
fn deliver(journal: &Journal, world: &mut World) -> Result<bool, Off> {
    let cursor = journal.book().cursor(0).unwrap().0;
    let begun = unfinished(world.manifest.as_ref(), cursor);
    if let Some(below) = begun.delivered_below {
        let range = cursor..=below - 1;
        let plan = journal.book().plan_range(range.clone());
        settle(journal, &plan, &range)?;
    }
    let plan = match begun.redo {
        Some(range) => Some(journal.book().plan_range(range)),
        None => journal.book().plan(0, UNIT),
    };
    let Some(plan) = plan else { return Ok(false) };
    world.manifest = Some(Manifest::new(journal.id(), &plan.range, Vec::new()));
    let mut seqs = Vec::new();
    for batch in &plan.batches {
        let record = journal.read(batch.seq).map_err(|_| Off)?;
        let (header, _) = BatchHeader::decode(&record.meta).unwrap();
        assert_eq!(record.payload, payload(header.id.seq.0), "a record was given back wrong");
        seqs.push(header.id.seq.0);
    }
    world.tier.insert((*plan.range.start(), *plan.range.end()), seqs);
    settle(journal, &plan, &plan.range.clone())?;
    Ok(true)
}

fn settle(journal: &Journal, plan: &book::Plan, range: &RangeInclusive<u64>) -> Result<(), Off> {
    let mut outcome = Ledger::<TierTerms>::default();
    for batch in &plan.batches {
        outcome.account(&batch.tenant, batch.signal).delivered += batch.rows;
    }
    journal.settle(0, Seq(*range.end()), &outcome).map_err(|_| Off)
}

/// A scripted run: batches in a shuffled order, units and checkpoints in between, a floor that rises.
fn script(journal: &Journal, world: &mut World) -> Result<(), Off> {
    for at in 0..BATCHES {
        send(journal, world, (at * 7) % BATCHES)?;
        if at % 4 == 3 {
            deliver(journal, world)?;
        }
        if at % 5 == 2 {
            journal.checkpoint().map_err(|_| Off)?;
        }
        if at == 6 {
            let lowest_unacked = (0..BATCHES).find(|seq| !world.acked.contains(seq)).unwrap_or(BATCHES);
            journal.book().dedup_mut().raise_floor(batch_id(1, 0).spool, lowest_unacked);
        }
    }
    Ok(())
}

/// After the power is back the edge sends everything again that it has no ack for, and some that it has; the tier takes all there is.
fn aftermath(journal: &Journal, world: &mut World) -> Result<(), Off> {
    for seq in 0..BATCHES {
        send(journal, world, seq)?;
    }
    while deliver(journal, world)? {}
    Ok(())
}

/// How often each batch is in the tier.
fn found(world: &World) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for seq in world.tier.values().flatten() {
        *found.entry(*seq).or_default() += 1;
    }
    found
}

fn check(journal: &Journal, world: &World, context: &str) {
    let once: BTreeMap<u64, usize> = (0..BATCHES).map(|seq| (seq, 1)).collect();
    assert_eq!(found(world), once, "{context}: {:?}", world.tier);
    for tier in journal.book().tiers() {
        for (_, _, terms) in tier.ledger.iter() {
            assert!(terms.balanced(0), "{context}: {terms:?}");
            assert_eq!(terms.journalled, BATCHES * ROWS, "{context}");
        }
    }
}

fn operations() -> u64 {
    let store = SimStore::new(1);
    let journal = open(&store).unwrap();
    script(&journal, &mut World::default()).unwrap();
    journal.close().unwrap();
    store.operations()
}

/// The power is cut at every write of a scripted run, and what unsynced writes leave differs by seed: each batch is in the tier once,
/// acked or not before the cut, and the ledger balances.
#[test]
fn a_power_cut_at_any_write_loses_and_doubles_nothing() {
    for cut in 1..=operations() {
        for seed in 0..4 {
            let context = format!("cut at {cut}, seed {seed}");
            let mut world = World::default();
            let store = SimStore::new(1);
            store.crash_at(cut);
            if let Ok(journal) = open(&store) {
                let _ = script(&journal, &mut world).and_then(|()| journal.checkpoint().map_err(|_| Off));
                let _ = journal.close();
            }
            let store = store.restart(seed);
            let journal = open(&store).unwrap_or_else(|error| panic!("{context}: {error}"));
            aftermath(&journal, &mut world).unwrap_or_else(|Off| panic!("{context}: no progress after the power was back"));
            check(&journal, &world, &context);
        }
    }
}

/// The power is cut a second time while the router recovers from the first cut.
#[test]
fn a_second_cut_during_recovery_changes_nothing() {
    for first in (1..=operations()).step_by(5) {
        for second in 1..12 {
            let context = format!("cut at {first}, then at {second}");
            let mut world = World::default();
            let store = SimStore::new(1);
            store.crash_at(first);
            if let Ok(journal) = open(&store) {
                let _ = script(&journal, &mut world);
                let _ = journal.close();
            }
            let store = store.restart(first);
            store.crash_at(second);
            if let Ok(journal) = open(&store) {
                let _ = aftermath(&journal, &mut world);
                let _ = journal.close();
            }
            let store = store.restart(second);
            let journal = open(&store).unwrap_or_else(|error| panic!("{context}: {error}"));
            aftermath(&journal, &mut world).unwrap_or_else(|Off| panic!("{context}: no progress after the power was back"));
            check(&journal, &world, &context);
        }
    }
}

/// A disk whose fsync does nothing loses acked batches, and this test sees it: the tests above would notice an ack before its fsync.
#[test]
fn a_disk_that_lies_is_noticed() {
    let mut lost = 0;
    for cut in 1..=operations() {
        let mut world = World::default();
        let store = SimStore::new(1);
        store.set_lies(segment_log::store::Lies { sync: true, sync_dir: true });
        store.crash_at(cut);
        if let Ok(journal) = open(&store) {
            let _ = script(&journal, &mut world);
            let _ = journal.close();
        }
        let acked = std::mem::take(&mut world.acked);
        let Ok(journal) = open(&store.restart(cut)) else { continue };
        while let Ok(true) = deliver(&journal, &mut world) {}
        let found = found(&world);
        lost += acked.iter().filter(|seq| !found.contains_key(seq)).count();
    }
    assert!(lost > 0);
}

/// A damaged record costs that record: the others are delivered, and the ledger charges exactly its rows to the damage.
#[test]
fn a_damaged_record_costs_itself() {
    let store = SimStore::new(1);
    let mut world = World::default();
    let journal = open(&store).unwrap();
    for seq in 0..4 {
        send(&journal, &mut world, seq).unwrap();
    }
    journal.close().unwrap();
    let name = store.list().unwrap().into_iter().map(|entry| entry.name).find(|name| {
        let needle = payload(2);
        store.content(name).is_some_and(|content| content.windows(needle.len()).any(|window| window == needle))
    });
    let name = name.expect("a segment with the payload in the clear");
    let content = store.content(&name).unwrap();
    let at = content.windows(300).position(|window| window == &payload(2)[..300]).unwrap();
    let store = store.restart(0);
    store.flip_bit(&name, at as u64 + 10, 3);
    let journal = open(&store).unwrap();
    for seq in 0..4 {
        send(&journal, &mut world, seq).unwrap();
    }
    while deliver_what_reads(&journal, &mut world) {}
    assert_eq!(found(&world).into_keys().collect::<Vec<_>>(), [0, 1, 3]);
    let book = journal.book();
    let tier = book.tiers().next().unwrap();
    for (_, _, terms) in tier.ledger.iter() {
        assert_eq!(terms.dropped.get(&federation_proto::ledger::Reason::Damaged), Some(&ROWS), "{terms:?}");
        assert!(terms.balanced(0), "{terms:?}");
    }
}

/// As the consumer does: what does not read is counted and passed over.
fn deliver_what_reads(journal: &Journal, world: &mut World) -> bool {
    let Some(plan) = journal.book().plan(0, UNIT) else { return false };
    let mut outcome = Ledger::<TierTerms>::default();
    for batch in &plan.batches {
        let account = outcome.account(&batch.tenant, batch.signal);
        match journal.read(batch.seq) {
            Ok(record) => {
                let (header, _) = BatchHeader::decode(&record.meta).unwrap();
                world.tier.entry((batch.seq.0, batch.seq.0)).or_default().push(header.id.seq.0);
                account.delivered += batch.rows;
            }
            Err(_) => {
                journal.quarantine(batch.seq);
                *account.dropped.entry(federation_proto::ledger::Reason::Damaged).or_default() += batch.rows;
            }
        }
    }
    journal.settle(0, Seq(*plan.range.end()), &outcome).unwrap();
    true
}

/// What the log refuses once, for the room that it keeps for checkpoints, is refused on the header from then on: its payload does not
/// cross the link again and again. When a tier has made room it is taken.
#[test]
fn what_the_log_refuses_is_refused_on_the_header() {
    let options = JournalOptions { budget: 64 << 10, ..OPTIONS };
    let (journal, _) = Journal::on_store(Arc::new(SimStore::new(1)), Box::new(MemoryIndex::new()), &options, &["t".to_owned()]).unwrap();
    let refused = (0..).map(|seq| header(1, seq, b"small")).find(|header| {
        journal.measure();
        assert_eq!(journal.book().judge(header), Admit::Fresh, "this test needs the log to refuse first");
        let (answer, answered) = mpsc::sync_channel(1);
        journal.append(header.clone(), Bytes::from_static(b"small"), move |result| answer.send(result).unwrap());
        matches!(answered.recv().unwrap(), Err(AppendError::Full { .. }))
    });
    let refused = refused.unwrap();
    assert_eq!(journal.book().judge(&refused), Admit::Full);
    let plan = journal.book().plan(0, UnitLimits { rows: u64::MAX, raw_bytes: u64::MAX }).unwrap();
    settle(&journal, &plan, &plan.range).unwrap();
    assert_eq!(journal.book().judge(&refused), Admit::Fresh);
}

/// A disk that refuses a read of the start once costs nothing: what was acked is delivered, and nothing is counted as damaged.
#[test]
fn a_read_that_fails_once_at_a_start_is_no_damage() {
    let mut met = 0;
    for nth in 1..12 {
        let store = SimStore::new(1);
        let mut world = World::default();
        let journal = open(&store).unwrap();
        for seq in 0..4 {
            send(&journal, &mut world, seq).unwrap();
        }
        drop(journal);
        let store = store.kill();
        store.fail_read_at(nth);
        let journal = open(&store).unwrap();
        met += u64::from(store.reads() >= nth);
        // A read that the start did not come to.
        store.heal();
        while deliver(&journal, &mut world).unwrap() {}
        assert_eq!(found(&world).into_keys().collect::<Vec<_>>(), [0, 1, 2, 3], "read {nth}");
        let book = journal.book();
        assert!(book.tiers().all(|tier| tier.ledger.iter().all(|(_, _, terms)| terms.dropped.is_empty())), "read {nth}");
    }
    assert!(met >= 5, "starts in which a read failed: {met}");
}
