use std::collections::{BTreeMap, BTreeSet};

use federation_proto::identity::Seq;
use proptest::prelude::*;

use super::*;

fn edge(name: &str) -> EdgeName {
    EdgeName::new(name).unwrap()
}

fn id(spool: u8, seq: u64) -> BatchId {
    BatchId { spool: SpoolId([spool; 16]), seq: Seq(seq) }
}

proptest! {
    /// Within its bounds it is a set of ids per spool in which all below the highest floor ever declared are present, and a
    /// restart in the middle changes nothing.
    #[test]
    fn is_a_set_above_a_floor(ops in proptest::collection::vec((0u8..3, 0u8..4, 0u64..60), 0..150)) {
        let mut dedup = Dedup::new(Bounds::default());
        let mut ids: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
        let mut floors: BTreeMap<u8, u64> = BTreeMap::new();
        for (spool, op, n) in ops {
            match op {
                0 => {
                    dedup.connect(&edge("eu"), SpoolId([spool; 16]), n / 2, |_| true).unwrap();
                    let floor = floors.entry(spool).or_default();
                    *floor = (*floor).max(n / 2);
                }
                1 => {
                    let mut bytes = Vec::new();
                    dedup.encode(&mut bytes);
                    let (again, used) = Dedup::decode(&bytes, Bounds::default()).unwrap();
                    prop_assert_eq!((used, again.ranges()), (bytes.len(), dedup.ranges()));
                    dedup = again;
                }
                _ => {
                    let known = n < floors.get(&spool).copied().unwrap_or(0) || ids.get(&spool).is_some_and(|s| s.contains(&n));
                    prop_assert_eq!(dedup.insert(id(spool, n)), !known);
                    ids.entry(spool).or_default().insert(n);
                }
            }
            for probe in 0..60 {
                let known = probe < floors.get(&spool).copied().unwrap_or(0) || ids.get(&spool).is_some_and(|s| s.contains(&probe));
                prop_assert_eq!(dedup.judge(id(spool, probe)) == Seen::Duplicate, known);
            }
        }
    }

    /// No bytes panic or make more than they hold.
    #[test]
    fn noise(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok((dedup, used)) = Dedup::decode(&bytes, Bounds::default()) {
            prop_assert!(used <= bytes.len());
            prop_assert!(dedup.spools() * 36 <= bytes.len());
        }
    }
}

/// A floor that falls (an edge restored from an old disk image) does not make journalled ids new.
#[test]
fn the_floor_never_falls() {
    let mut dedup = Dedup::new(Bounds::default());
    dedup.connect(&edge("eu"), SpoolId([1; 16]), 50, |_| true).unwrap();
    dedup.connect(&edge("eu"), SpoolId([1; 16]), 10, |_| true).unwrap();
    dedup.raise_floor(SpoolId([1; 16]), 3);
    assert_eq!(dedup.judge(id(1, 49)), Seen::Duplicate);
    assert_eq!(dedup.judge(id(1, 50)), Seen::New);
}

/// At the bound of ranges an id that opens a range waits, one that closes a gap passes, and nothing is forgotten.
#[test]
fn at_the_bound_of_ranges_nothing_is_forgotten() {
    let mut dedup = Dedup::new(Bounds { ranges_per_spool: 2, ..Bounds::default() });
    for seq in [10, 20] {
        assert!(dedup.insert(id(1, seq)));
    }
    assert_eq!(dedup.judge(id(1, 30)), Seen::Crowded);
    assert_eq!(dedup.judge(id(1, 11)), Seen::New);
    assert_eq!(dedup.judge(id(1, 19)), Seen::New);
    assert_eq!(dedup.judge(id(1, 10)), Seen::Duplicate);
    assert_eq!(dedup.judge(id(1, 0)), Seen::New, "touches the floor: takes no range");
    dedup.raise_floor(SpoolId([1; 16]), 15);
    assert_eq!(dedup.judge(id(1, 30)), Seen::New);
}

/// A spool that takes all ranges there are leaves every other spool its share.
#[test]
fn a_spool_full_of_gaps_stops_no_other() {
    let mut dedup = Dedup::new(Bounds { spools: 2, ranges_per_spool: 100, ranges: 4, ..Bounds::default() });
    for seq in [10, 20, 30, 40] {
        assert!(dedup.insert(id(1, seq)));
    }
    assert_eq!(dedup.judge(id(1, 50)), Seen::Crowded);
    for seq in [10, 20] {
        assert_eq!(dedup.judge(id(2, seq)), Seen::New);
        assert!(dedup.insert(id(2, seq)));
    }
    assert_eq!(dedup.judge(id(2, 30)), Seen::Crowded, "its share and no more");
}

/// The spool that goes at the bound is the one used longest ago without a connection; connected ones are never forgotten.
#[test]
fn connected_spools_are_not_evicted() {
    let mut dedup = Dedup::new(Bounds { spools: 2, ..Bounds::default() });
    dedup.connect(&edge("eu"), SpoolId([1; 16]), 5, |_| true).unwrap();
    dedup.connect(&edge("eu"), SpoolId([2; 16]), 5, |_| true).unwrap();
    assert_eq!(dedup.connect(&edge("eu"), SpoolId([3; 16]), 5, |_| true), Err(SpoolRefused::TooMany(2)));
    dedup.disconnect(SpoolId([2; 16]));
    dedup.connect(&edge("eu"), SpoolId([3; 16]), 5, |_| true).unwrap();
    assert_eq!(dedup.judge(id(1, 4)), Seen::Duplicate);
    assert_eq!(dedup.judge(id(2, 4)), Seen::New);
    assert_eq!(dedup.evicted(), 1);
}

fn reopened(dedup: &Dedup) -> Dedup {
    let mut bytes = Vec::new();
    dedup.encode(&mut bytes);
    Dedup::decode(&bytes, Bounds::default()).unwrap().0
}

/// An edge that knows another's spool id can neither ship from it nor raise its floor, across restarts too; an owner that is taken off
/// the list lets go of it.
#[test]
fn a_spool_belongs_to_one_edge() {
    let mut dedup = Dedup::default();
    let (eu, us, spool) = (edge("eu"), edge("us"), SpoolId([1; 16]));
    dedup.connect(&eu, spool, 5, |_| true).unwrap();
    for mut dedup in [reopened(&dedup), dedup] {
        assert_eq!(dedup.connect(&us, spool, 1_000, |_| true), Err(SpoolRefused::Foreign { spool, owner: eu.clone() }));
        assert_eq!(dedup.judge(id(1, 5)), Seen::New, "a stranger raised the floor");
        dedup.connect(&us, spool, 6, |listed| *listed != eu).unwrap();
        assert_eq!(dedup.connect(&eu, spool, 6, |_| true), Err(SpoolRefused::Foreign { spool, owner: us.clone() }));
    }
}

/// An edge learns above which number its spool may name batches, whatever floor it declares.
#[test]
fn an_edge_learns_what_was_seen_of_its_spool() {
    let mut dedup = Dedup::default();
    let spool = SpoolId([1; 16]);
    assert_eq!(dedup.connect(&edge("eu"), spool, 3, |_| true), Ok(0), "new here");
    dedup.insert(id(1, 3));
    dedup.insert(id(1, 90));
    assert_eq!(reopened(&dedup).connect(&edge("eu"), spool, 2, |_| true), Ok(91));
}

/// However many spools an edge makes up, it takes no other edge's place.
#[test]
fn an_edge_evicts_only_its_own() {
    let mut dedup = Dedup::new(Bounds { spools_per_edge: 2, ..Bounds::default() });
    dedup.connect(&edge("us"), SpoolId([100; 16]), 7, |_| true).unwrap();
    dedup.disconnect(SpoolId([100; 16]));
    for n in 0..50 {
        dedup.connect(&edge("eu"), SpoolId([n; 16]), 0, |_| true).unwrap();
        dedup.disconnect(SpoolId([n; 16]));
    }
    assert_eq!((dedup.spools(), dedup.evicted()), (3, 48));
    assert_eq!(dedup.judge(id(100, 6)), Seen::Duplicate);
}

/// State that a version without owners wrote is read: its spools are whoever's declares them first.
#[test]
fn version_1_is_still_read() {
    let mut ids = Intervals::below(4);
    ids.insert(9);
    let mut bytes = vec![VERSION_1];
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&[1; 16]);
    bytes.extend_from_slice(&77u64.to_le_bytes());
    ids.encode(&mut bytes);
    let (mut dedup, used) = Dedup::decode(&bytes, Bounds::default()).unwrap();
    assert_eq!(used, bytes.len());
    assert_eq!(dedup.connect(&edge("eu"), SpoolId([1; 16]), 0, |_| true), Ok(10));
    assert_eq!((dedup.judge(id(1, 9)), dedup.judge(id(1, 5))), (Seen::Duplicate, Seen::New));
    assert!(dedup.connect(&edge("us"), SpoolId([1; 16]), 0, |_| true).is_err());
}
