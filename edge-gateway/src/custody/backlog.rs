//! Inbox rows that are in no batch and not in memory: what a crash left, and what was let go because the spool was full. They are
//! read back from the inbox, oldest first, when memory and spool have room.
//!
//! Bounds: whole entries are ranges; row ranges only of entries that were cut in two.

use std::collections::BTreeMap;
use std::ops::Range;

use federation_proto::identity::Seq;

/// Rows of one entry to read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// All of them.
    All,
    /// These: ascending, disjoint.
    These(Vec<Range<u32>>),
}

/// The set of rows to read back.
#[derive(Debug, Default)]
pub struct Backlog {
    /// First to last, inclusive.
    whole: BTreeMap<u64, u64>,
    partial: BTreeMap<u64, Vec<Range<u32>>>,
}

impl Backlog {
    /// All rows of an entry.
    pub fn add_whole(&mut self, seq: Seq) {
        let (mut first, mut last) = (seq.0, seq.0);
        if let Some((&before, &end)) = self.whole.range(..=seq.0).next_back() {
            if end >= seq.0 {
                return;
            }
            if end + 1 == seq.0 {
                first = before;
            }
        }
        if let Some(end) = self.whole.remove(&(seq.0.saturating_add(1))) {
            last = end;
        }
        self.whole.insert(first, last);
    }

    /// Some rows of an entry of `of` rows.
    pub fn add(&mut self, seq: Seq, rows: Range<u32>, of: u32) {
        if rows == (0..of) {
            return self.add_whole(seq);
        }
        let ranges = self.partial.entry(seq.0).or_default();
        let at = ranges.partition_point(|range| range.start < rows.start);
        ranges.insert(at, rows);
    }

    /// Takes out the oldest entry.
    pub fn pop(&mut self) -> Option<(Seq, Rows)> {
        let whole = self.whole.first_key_value().map(|(&first, &last)| (first, last));
        let partial = self.partial.first_key_value().map(|(&seq, _)| seq);
        match (whole, partial) {
            (Some((first, last)), partial) if partial.is_none_or(|seq| first < seq) => {
                self.whole.remove(&first);
                if first < last {
                    self.whole.insert(first + 1, last);
                }
                Some((Seq(first), Rows::All))
            }
            (_, Some(_)) => self.partial.pop_first().map(|(seq, rows)| (Seq(seq), Rows::These(rows))),
            _ => None,
        }
    }

    /// Puts back what [`Backlog::pop`] gave.
    pub fn put_back(&mut self, seq: Seq, rows: Rows) {
        match rows {
            Rows::All => self.add_whole(seq),
            Rows::These(ranges) => {
                self.partial.insert(seq.0, ranges);
            }
        }
    }

    /// Is nothing left to read back?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.partial.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Entries come out once each, oldest first, with the rows that were put in.
        #[test]
        fn oldest_first(whole in proptest::collection::btree_set(0u64..60, 0..40), cut in proptest::collection::btree_set(60u64..90, 0..10)) {
            let mut backlog = Backlog::default();
            for &seq in whole.iter().rev() {
                backlog.add(Seq(seq), 0..9, 9);
                backlog.add_whole(Seq(seq));
            }
            for &seq in &cut {
                backlog.add(Seq(seq), 5..7, 9);
                backlog.add(Seq(seq), 0..2, 9);
            }
            let mut seen = BTreeSet::new();
            while let Some((seq, rows)) = backlog.pop() {
                let expected = if whole.contains(&seq.0) { Rows::All } else { Rows::These(vec![0..2, 5..7]) };
                prop_assert_eq!(rows, expected);
                prop_assert!(seen.last().is_none_or(|last| *last < seq.0) && seen.insert(seq.0));
            }
            prop_assert!(backlog.is_empty());
            prop_assert_eq!(seen, whole.union(&cut).copied().collect::<BTreeSet<_>>());
        }
    }
}
