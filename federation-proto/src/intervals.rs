//! A set of `u64` kept as ranges above a floor: ids journalled, entries consumed, batches acked.
//!
//! Everything below the floor is in the set. Ids come nearly in order, so a set of millions is a handful of ranges; what an
//! adversary could blow up is the number of ranges, so [`Intervals::ranges`] is there for its owner to bound.
//!
//! Encoding, little-endian: floor `u64`, count `u32`, then count pairs of first and last `u64`, ascending, neither touching nor
//! overlapping each other or the floor.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Everything below `floor`, and the ranges above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals {
    floor: u64,
    /// First to last, inclusive; disjoint, not adjacent, all above the floor.
    ranges: BTreeMap<u64, u64>,
}

/// Bytes that are not a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a set of intervals: {0}")]
pub struct InvalidIntervals(&'static str);

impl Intervals {
    /// The set of all numbers below `floor`.
    #[must_use]
    pub fn below(floor: u64) -> Self {
        Self { floor, ranges: BTreeMap::new() }
    }

    /// The lowest number that may be absent.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// One above the highest number in the set; the floor when there is none above it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(self.floor, |(_, &last)| last + 1)
    }

    /// Is `n` in the set?
    #[must_use]
    pub fn contains(&self, n: u64) -> bool {
        n < self.floor || self.ranges.range(..=n).next_back().is_some_and(|(_, &last)| n <= last)
    }

    /// Is `n` in the set, and which is the first number above it of which the other is true? `None`: of all above it the same holds.
    #[must_use]
    pub fn stretch(&self, n: u64) -> (bool, Option<u64>) {
        if n < self.floor {
            return (true, Some(self.floor));
        }
        match self.ranges.range(..=n).next_back() {
            Some((_, &last)) if n <= last => (true, Some(last + 1)),
            _ => (false, self.ranges.range(n..).next().map(|(&first, _)| first)),
        }
    }

    /// Adds `n`; false when it was there. `u64::MAX` cannot be added: a floor above it could not be stated.
    pub fn insert(&mut self, n: u64) -> bool {
        if n == u64::MAX || self.contains(n) {
            return false;
        }
        let mut first = n;
        let mut last = n;
        if let Some((&before, &end)) = self.ranges.range(..n).next_back()
            && end + 1 == n
        {
            first = before;
        }
        if let Some(end) = self.ranges.remove(&(n + 1)) {
            last = end;
        }
        self.ranges.insert(first, last);
        self.settle();
        true
    }

    /// Puts everything below `floor` into the set. Never lowers it.
    pub fn raise_floor(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        while let Some((&first, &last)) = self.ranges.first_key_value()
            && first < self.floor
        {
            self.ranges.remove(&first);
            self.floor = self.floor.max(last + 1);
        }
        self.settle();
    }

    /// A range that begins at the floor becomes part of it.
    fn settle(&mut self) {
        while let Some(last) = self.ranges.remove(&self.floor) {
            self.floor = last + 1;
        }
    }

    /// The ranges above the floor, ascending.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.ranges.iter().map(|(&first, &last)| first..=last)
    }

    /// How many ranges stand above the floor: what memory and encoding cost (about 48 and 16 bytes each).
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Appends the encoding (see the module).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.floor.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.ranges.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (first, last) in self.ranges.iter().take(u32::MAX as usize) {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&last.to_le_bytes());
        }
    }

    /// Reads a set at the start of `bytes` and says how many bytes it took.
    ///
    /// # Errors
    /// [`InvalidIntervals`] when cut short, or not as [`Intervals::encode`] writes it.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), InvalidIntervals> {
        let word = |at: usize| -> Result<u64, InvalidIntervals> {
            let chunk = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>).ok_or(InvalidIntervals("cut short"))?;
            Ok(u64::from_le_bytes(*chunk))
        };
        let floor = word(0)?;
        let count = bytes.get(8..).and_then(<[u8]>::first_chunk::<4>).ok_or(InvalidIntervals("cut short"))?;
        let count = u32::from_le_bytes(*count) as usize;
        let mut set = Self::below(floor);
        let mut at = 12;
        let mut previous = None;
        for _ in 0..count {
            let (first, last) = (word(at)?, word(at + 8)?);
            let apart = previous.map_or(first > floor, |end: u64| first > end + 1);
            if !apart || first > last || last == u64::MAX {
                return Err(InvalidIntervals("ranges overlap, touch or are out of order"));
            }
            set.ranges.insert(first, last);
            previous = Some(last);
            at += 16;
        }
        Ok((set, at))
    }
}

impl Extend<u64> for Intervals {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, numbers: T) {
        for n in numbers {
            self.insert(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Behaves as a plain set, whatever the order of inserts and floors, and survives its encoding.
        #[test]
        fn is_a_set(ops in proptest::collection::vec((any::<bool>(), 0u64..80), 0..120)) {
            let mut set = Intervals::default();
            let mut model = BTreeSet::new();
            for (is_floor, n) in ops {
                if is_floor && n % 7 == 0 {
                    set.raise_floor(n / 2);
                    model.extend(0..n / 2);
                } else {
                    prop_assert_eq!(set.insert(n), model.insert(n));
                }
                for probe in 0..90 {
                    prop_assert_eq!(set.contains(probe), model.contains(&probe), "{}", probe);
                }
                prop_assert!(!set.contains(set.floor()));
                prop_assert_eq!(set.end(), model.last().map_or(0, |last| last + 1));
                let mut bytes = Vec::new();
                set.encode(&mut bytes);
                bytes.push(9);
                prop_assert_eq!(Intervals::decode(&bytes), Ok((set.clone(), bytes.len() - 1)));
            }
            for probe in 0..90 {
                let changes = (probe..90).find(|n| model.contains(n) != model.contains(&probe));
                prop_assert_eq!(set.stretch(probe), (model.contains(&probe), changes), "{}", probe);
            }
        }

        /// Bytes of no set are an error or a well-formed set, never a panic.
        #[test]
        fn noise(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok((set, used)) = Intervals::decode(&bytes) {
                let mut again = Vec::new();
                set.encode(&mut again);
                prop_assert_eq!(&again[..], &bytes[..used]);
            }
        }
    }
}
