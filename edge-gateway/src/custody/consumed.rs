//! Which inbox rows are in synced batches (or were dropped for a stated reason): each row is made into a batch once, also across a
//! crash. An entry is acked in the inbox when all its rows are here.
//!
//! Bounds: whole entries are ranges above a floor that follows the inbox's own; partial ones are at most the entries that were cut
//! in two and are still in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use federation_proto::identity::Seq;
use federation_proto::intervals::Intervals;

use super::sources::{PartOf, Sources};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Partial {
    of: u32,
    /// Disjoint, not touching, ascending.
    rows: Vec<Range<u32>>,
}

/// The set of consumed rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumed {
    whole: Intervals,
    partial: BTreeMap<u64, Partial>,
}

impl Consumed {
    /// All rows of the entry are consumed; false when they were.
    pub fn add_whole(&mut self, seq: Seq) -> bool {
        self.partial.remove(&seq.0);
        self.whole.insert(seq.0)
    }

    /// Some rows are consumed; true when that completed the entry.
    pub fn add_part(&mut self, part: &PartOf) -> bool {
        if self.whole.contains(part.seq.0) {
            return false;
        }
        let partial = self.partial.entry(part.seq.0).or_insert_with(|| Partial { of: part.of, rows: Vec::new() });
        merge(&mut partial.rows, part.rows.clone());
        let complete = matches!(partial.rows.as_slice(), [all] if all.start == 0 && all.end >= partial.of);
        complete && self.add_whole(part.seq)
    }

    /// Everything that a batch was made of; gives back the entries that this completed.
    pub fn add(&mut self, sources: &Sources) -> Vec<Seq> {
        let whole = sources.whole.iter().cloned().flatten().map(Seq).filter(|seq| self.whole.insert(seq.0)).collect::<Vec<_>>();
        let parts = sources.partial.iter().filter(|part| self.add_part(part)).map(|part| part.seq).collect::<Vec<_>>();
        [whole, parts].concat()
    }

    /// Are all rows of the entry consumed?
    #[must_use]
    pub fn is_whole(&self, seq: Seq) -> bool {
        self.whole.contains(seq.0)
    }

    /// Rows of an entry of `of` rows that are not consumed.
    #[must_use]
    pub fn missing(&self, seq: Seq, of: u32) -> Vec<Range<u32>> {
        if self.whole.contains(seq.0) {
            return Vec::new();
        }
        let mut missing = Vec::new();
        let mut at = 0;
        for rows in self.partial.get(&seq.0).map_or(&[][..], |partial| &partial.rows) {
            if rows.start > at {
                missing.push(at..rows.start);
            }
            at = rows.end;
        }
        if at < of {
            missing.push(at..of);
        }
        missing
    }

    /// The inbox has forgotten everything below `floor` for good.
    pub fn raise_floor(&mut self, floor: Seq) {
        self.whole.raise_floor(floor.0);
        self.partial = self.partial.split_off(&floor.0);
    }

    /// Whole ranges and partial entries that are remembered.
    #[must_use]
    pub fn size(&self) -> usize {
        self.whole.ranges() + self.partial.len()
    }

    /// The set as numbers, for a checkpoint: whole entries, and one item per consumed row range of a partial one.
    #[must_use]
    pub fn parts(&self) -> (&Intervals, Vec<PartOf>) {
        let parts = self
            .partial
            .iter()
            .flat_map(|(&seq, partial)| partial.rows.iter().map(move |rows| PartOf { seq: Seq(seq), rows: rows.clone(), of: partial.of }));
        (&self.whole, parts.collect())
    }

    /// The set that [`Consumed::parts`] came from.
    #[must_use]
    pub fn from_parts(whole: Intervals, parts: &[PartOf]) -> Self {
        let mut set = Self { whole, partial: BTreeMap::new() };
        for part in parts {
            set.add_part(part);
        }
        set
    }
}

/// Adds a range to a sorted list of disjoint ones, joining what touches.
fn merge(ranges: &mut Vec<Range<u32>>, new: Range<u32>) {
    if new.is_empty() {
        return;
    }
    let from = ranges.partition_point(|range| range.end < new.start);
    let to = ranges.partition_point(|range| range.start <= new.end);
    let start = ranges.get(from).filter(|_| from < to).map_or(new.start, |first| first.start.min(new.start));
    let end = ranges[from..to].last().map_or(new.end, |last| last.end.max(new.end));
    ranges.splice(from..to, std::iter::once(start..end));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const OF: u32 = 40;

    proptest! {
        /// Against a plain set of (entry, row): what is missing is what was not added, and an entry completes once.
        #[test]
        fn as_a_set_of_rows(adds in proptest::collection::vec((0u64..4, 0u32..OF, 1u32..20), 0..60)) {
            let mut consumed = Consumed::default();
            let mut model = BTreeSet::new();
            for (seq, start, len) in adds {
                let rows = start..(start + len).min(OF);
                let was = (0..OF).all(|row| model.contains(&(seq, row)));
                model.extend(rows.clone().map(|row| (seq, row)));
                let is = (0..OF).all(|row| model.contains(&(seq, row)));
                prop_assert_eq!(consumed.add_part(&PartOf { seq: Seq(seq), rows, of: OF }), is && !was);
                let (whole, parts) = consumed.parts();
                prop_assert_eq!(&Consumed::from_parts(whole.clone(), &parts), &consumed);
            }
            for seq in 0..4 {
                let missing: Vec<u32> = consumed.missing(Seq(seq), OF).into_iter().flatten().collect();
                let expected: Vec<u32> = (0..OF).filter(|row| !model.contains(&(seq, *row))).collect();
                prop_assert_eq!(missing.is_empty(), consumed.is_whole(Seq(seq)));
                prop_assert_eq!(missing, expected);
            }
        }
    }

    /// What the inbox forgot is forgotten here, and counts as consumed.
    #[test]
    fn the_floor_forgets() {
        let mut consumed = Consumed::default();
        consumed.add_part(&PartOf { seq: Seq(3), rows: 0..1, of: 2 });
        consumed.add_whole(Seq(5));
        consumed.raise_floor(Seq(5));
        assert_eq!((consumed.size(), consumed.is_whole(Seq(5)), consumed.is_whole(Seq(6))), (0, true, false));
    }
}
