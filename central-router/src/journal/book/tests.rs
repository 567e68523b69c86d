use federation_proto::ledger::Terms;
use proptest::prelude::*;

use super::*;
use crate::testing::{header, tenant};

const BUDGET: u64 = 1 << 30;
const ALL: UnitLimits = UnitLimits { rows: u64::MAX, raw_bytes: u64::MAX };

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&n| n.to_owned()).collect()
}

fn fresh(tiers: &[&str]) -> Book {
    Book::open(None, &names(tiers), Seq(0), BUDGET).unwrap().0
}

fn delivered(plan: &Plan) -> Ledger<TierTerms> {
    let mut outcome = Ledger::<TierTerms>::default();
    for batch in &plan.batches {
        outcome.account(&batch.tenant, batch.signal).delivered += batch.rows;
    }
    outcome
}

fn balanced(book: &Book) -> bool {
    book.tiers().all(|tier| tier.ledger.iter().all(|(t, s, terms)| terms.balanced(tier.queued.get(&(t.clone(), s)).copied().unwrap_or(0))))
}

proptest! {
    /// Whatever two tiers do at their own pace, with restarts from any checkpoint in between (records behind it are replayed): every
    /// batch is planned for each tier exactly once, the ledger balances, and only what both are done with is let go.
    #[test]
    fn each_tier_sees_each_batch_once(ops in proptest::collection::vec((0u8..5, 1u64..40), 1..80)) {
        let tiers = names(&["a", "b"]);
        let mut book = fresh(&["a", "b"]);
        let mut log: Vec<BatchHeader> = Vec::new();
        let mut seen = [Vec::new(), Vec::new()];
        let mut let_go = 0;
        for (op, n) in ops {
            match op {
                0 | 1 => {
                    let header = header(1, log.len() as u64, b"p");
                    prop_assert_eq!(book.judge(&header), Admit::Fresh);
                    book.reserve(&header);
                    prop_assert_eq!(book.judge(&header), Admit::Twin);
                    book.journalled(Seq(log.len() as u64), &header);
                    prop_assert_eq!(book.judge(&header), Admit::Duplicate);
                    log.push(header);
                }
                2 | 3 => {
                    let tier = usize::from(op - 2);
                    if let Some(plan) = book.plan(tier, UnitLimits { rows: n, raw_bytes: u64::MAX }) {
                        prop_assert!(plan.rows <= n.max(10), "a unit is within its limit, or one batch");
                        seen[tier].extend(plan.batches.iter().map(|batch| batch.seq.0));
                        let freed = book.settle(tier, Seq(*plan.range.end()), &delivered(&plan));
                        if let Some(freed) = freed {
                            prop_assert_eq!(*freed.start(), let_go);
                            let_go = freed.end() + 1;
                        }
                        prop_assert_eq!(let_go, book.lowest_cursor().0);
                    }
                }
                _ => {
                    // The checkpoint covers some of the records; the others are counted again.
                    let state = book.encode();
                    let covered = book.applied().0;
                    let mut again = Book::open(Some(&state), &tiers, Seq(let_go), BUDGET).unwrap().0;
                    for (seq, header) in log.iter().enumerate().skip(let_go as usize) {
                        if (seq as u64) < covered { again.requeue(Seq(seq as u64), header) } else { again.journalled(Seq(seq as u64), header) }
                    }
                    book = again;
                }
            }
            prop_assert!(balanced(&book));
        }
        for (tier, seen) in seen.iter_mut().enumerate() {
            if let Some(plan) = book.plan(tier, ALL) {
                seen.extend(plan.batches.iter().map(|batch| batch.seq.0));
            }
            prop_assert_eq!(&*seen, &(0..log.len() as u64).collect::<Vec<_>>());
        }
    }
}

/// A record behind the checkpoint is counted once, though replay and the journal's answer both bring it.
#[test]
fn counting_is_idempotent() {
    let mut book = fresh(&["a"]);
    book.journalled(Seq(0), &header(1, 0, b"p"));
    book.journalled(Seq(0), &header(1, 0, b"p"));
    let tier = book.tiers().next().unwrap();
    assert_eq!(tier.ledger.iter().map(|(_, _, terms)| terms.journalled).sum::<u64>(), 10);
    assert_eq!(tier.queued[&(tenant("acme"), Signal::Logs)], 10);
}

/// A tier that is new to the journal starts with what is still there and accounts for exactly that; one that is gone is named.
#[test]
fn tiers_come_and_go() {
    let mut book = fresh(&["old"]);
    for seq in 0..4 {
        book.journalled(Seq(seq), &header(1, seq, b"p"));
    }
    let first = book.plan(0, UnitLimits { rows: 20, raw_bytes: u64::MAX }).unwrap();
    book.settle(0, Seq(*first.range.end()), &delivered(&first));
    let (mut book, gone) = Book::open(Some(&book.encode()), &names(&["new"]), Seq(2), BUDGET).unwrap();
    for seq in 2..4 {
        book.requeue(Seq(seq), &header(1, seq, b"p"));
    }
    assert_eq!(gone, ["old"]);
    assert_eq!(book.plan(0, ALL).unwrap().range, 2..=3);
    assert!(balanced(&book));
    assert_eq!(book.tiers().next().unwrap().ledger.iter().next().unwrap().2.journalled, 20);
}

/// Rows that damage took show in the ledger as damaged; a difference without damage is left to show.
#[test]
fn damage_is_charged_only_when_it_was_reported() {
    let mut book = fresh(&["a"]);
    for seq in 0..3 {
        book.journalled(Seq(seq), &header(1, seq, b"p"));
    }
    let mut book = Book::open(Some(&book.encode()), &names(&["a"]), Seq(0), BUDGET).unwrap().0;
    book.requeue(Seq(0), &header(1, 0, b"p"));
    book.requeue(Seq(2), &header(1, 2, b"p"));
    assert!(!balanced(&book));
    book.charge_damage();
    assert!(balanced(&book));
    let tier = book.tiers().next().unwrap();
    assert_eq!(tier.ledger.iter().next().unwrap().2.dropped[&Reason::Damaged], 10);
}

/// However small batches are, a unit holds a bounded number of them.
#[test]
fn a_unit_holds_a_bounded_number_of_batches() {
    let mut book = fresh(&["a"]);
    for seq in 0..=MAX_UNIT_BATCHES as u64 {
        book.journalled(Seq(seq), &BatchHeader { rows: 0, raw_bytes: 0, ..header(1, seq, b"") });
    }
    let plan = book.plan(0, ALL).unwrap();
    assert_eq!((plan.batches.len(), plan.full), (MAX_UNIT_BATCHES, true));
}

/// At its budget the journal is full for new batches, not for acks of what is there.
#[test]
fn the_budget_bounds_new_batches() {
    let mut book = Book::open(None, &names(&["a"]), Seq(0), 100).unwrap().0;
    let known = header(1, 0, &[0; 60]);
    book.reserve(&known);
    assert_eq!(book.judge(&header(1, 1, &[0; 60])), Admit::Full, "what is on its way counts");
    book.journalled(Seq(0), &known);
    book.set_stored_bytes(90);
    assert_eq!(book.judge(&header(1, 1, &[0; 60])), Admit::Full);
    assert_eq!(book.judge(&known), Admit::Duplicate);
    book.set_stored_bytes(0);
    assert_eq!(book.judge(&header(1, 1, &[0; 60])), Admit::Fresh);
}

/// A state of another version, or no state, is refused with words, not with a panic.
#[test]
fn a_foreign_state_is_refused() {
    let mut foreign = fresh(&["a"]).encode();
    assert_eq!(foreign[..2], [0x08, 1], "the version comes first");
    foreign[1] = 2;
    assert!(Book::open(Some(&foreign), &[], Seq(0), 1).unwrap_err().to_string().contains("version 2"));
    for noise in [&b"\xff\xff\xff"[..], b"\x1a\x01x"] {
        assert!(Book::open(Some(noise), &[], Seq(0), 1).is_err());
    }
}
