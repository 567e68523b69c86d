use proptest::prelude::*;

use super::*;

const SEGMENT: u64 = 1000;

fn held(seq: u64, class: Class, segment: u32, alone_bytes: u64) -> Held {
    Held { seq: Seq(seq), class, bytes: 100, footprint: Footprint { segment: SegmentNo(segment), alone_bytes } }
}

fn segment(number: u32, live: u64) -> SegmentUse {
    SegmentUse { segment: SegmentNo(number), bytes: SEGMENT, live }
}

fn seqs(gone: &[Seq]) -> Vec<u64> {
    gone.iter().map(|seq| seq.0).collect()
}

/// Of mixed segments the oldest of the lowest class go, one by one, and no more than is needed; the next class only when none is left.
#[test]
fn the_oldest_of_the_lowest_class_go_first() {
    let classes = [Class::High, Class::Low, Class::Medium, Class::Low, Class::High, Class::Low];
    let all = || (1..).zip(classes).map(|(seq, class)| held(seq, class, 1 + (seq > 3) as u32, 90)).collect::<Vec<_>>();
    let segments = [segment(1, 3), segment(2, 3)];
    assert_eq!(seqs(&for_room(all(), segments, 0)), [0; 0]);
    assert_eq!(seqs(&for_room(all(), segments, 90)), [2]);
    assert_eq!(seqs(&for_room(all(), segments, 91)), [2, 4]);
    assert_eq!(seqs(&for_room(all(), segments, 300)), [2, 4, 6, 3]);
    // The first segment is empty with 1, and goes as a whole.
    assert_eq!(seqs(&for_room(all(), segments, 1000)), [2, 4, 6, 3, 1]);
}

/// Where only whole segments come back, a segment without anything of a higher class goes before an older one that has some, and nothing
/// is given up that frees nothing.
#[test]
fn whole_segments_where_parts_do_not_come_back() {
    let all = || vec![held(1, Class::Low, 1, 0), held(2, Class::High, 1, 0), held(3, Class::Low, 2, 0), held(4, Class::Low, 3, 0)];
    let segments = [segment(1, 2), segment(2, 1), segment(3, 2)];
    assert_eq!(seqs(&for_room(all(), segments, 1)), [3]);
    assert_eq!(seqs(&for_room(all(), segments, SEGMENT + 1)), [3, 1, 2], "the third segment has a record that may not go");
    assert_eq!(seqs(&for_room(all(), segments, 9 * SEGMENT)), [3, 1, 2]);
}

/// What was acknowledged already frees its segment without help.
#[test]
fn dead_segments_count() {
    assert_eq!(for_room(vec![held(5, Class::Low, 2, 90)], [segment(1, 0), segment(2, 1)], SEGMENT), []);
}

/// A tenant beyond its share loses its oldest, lowest class first, down to the share.
#[test]
fn a_tenants_own_oldest() {
    let own = vec![held(1, Class::High, 1, 0), held(7, Class::Low, 1, 0), held(3, Class::Low, 1, 0)];
    assert_eq!(seqs(&of_tenant(own.clone(), 0)), [0; 0]);
    assert_eq!(seqs(&of_tenant(own.clone(), 101)), [3, 7]);
    assert_eq!(seqs(&of_tenant(own, 1000)), [3, 7, 1]);
}

/// The room kept free is within half of the budget, however fast records come.
#[test]
fn room_is_bounded() {
    assert_eq!(room_bytes(8 << 30, 64 << 20, 6 << 20, 0), (64 << 20) + (6 << 20));
    assert_eq!(room_bytes(4 << 20, 1 << 20, 6 << 20, 1 << 30), 2 << 20);
}

proptest! {
    /// Enough comes back whenever there is enough; no batch goes twice; never more than one batch or segment beyond the need; and no
    /// batch goes by itself while an older one of its class or one of a lower class that would give something back stays.
    #[test]
    fn enough_and_no_more(
        batches in proptest::collection::vec((0usize..3, 0u64..2, 0u32..6), 1..60),
        needed in 0u64..8000,
    ) {
        let mut held_all: Vec<Held> = Vec::new();
        let mut sorted = batches;
        sorted.sort_by_key(|(_, _, segment)| *segment);
        for (seq, (class, alone, segment)) in (1u64..).zip(sorted) {
            held_all.push(held(seq, Class::ALL[class], segment, alone * 90));
        }
        let live = |number: u32| held_all.iter().filter(|batch| batch.footprint.segment.0 == number).count() as u64;
        let segments: Vec<SegmentUse> = (0..6).filter(|&number| live(number) > 0).map(|number| segment(number, live(number))).collect();
        let gone = for_room(held_all.clone(), segments.clone(), needed);
        let is_gone = |batch: &&Held| gone.contains(&batch.seq);
        prop_assert_eq!(gone.len(), held_all.iter().filter(is_gone).count());
        let freed: u64 = segments.iter().map(|segment| {
            let of = || held_all.iter().filter(|batch| batch.footprint.segment == segment.segment);
            if of().all(|batch| is_gone(&batch)) { SEGMENT } else { of().filter(is_gone).map(|batch| batch.footprint.alone_bytes).sum() }
        }).sum();
        let most: u64 = SEGMENT * segments.len() as u64;
        prop_assert!(freed >= needed.min(most), "{freed} of {needed}");
        prop_assert!(freed < needed + SEGMENT + 90);
        let lowest_kept = held_all.iter().filter(|batch| !is_gone(batch) && batch.footprint.alone_bytes > 0).map(rank).min();
        if let (Some(kept), Some(last)) = (lowest_kept, held_all.iter().filter(|batch| is_gone(batch) && batch.footprint.alone_bytes > 0).map(rank).max())
            && last > kept {
            // Only with a whole segment.
            let segment = held_all.iter().find(|batch| rank(batch) == last).unwrap().footprint.segment;
            prop_assert!(held_all.iter().filter(|batch| batch.footprint.segment == segment).all(|batch| is_gone(&batch)));
        }
    }
}
