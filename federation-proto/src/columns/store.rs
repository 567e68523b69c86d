//! How decoded columns lie in memory. The decoder checks every index, length and character border once, when it builds them; reading a
//! row that exists can then not panic. A row beyond the length is the caller's mistake and panics, as with a slice.

/// A column of 64-bit integers: one value for all rows, or an offset of as few bytes as the range needs over a base (wrapping).
#[derive(Debug, Clone)]
pub(crate) enum Ints {
    Const { value: u64, len: usize },
    Bytes { base: u64, values: Vec<u8> },
    Words { base: u64, values: Vec<u32> },
    Longs(Vec<u64>),
}

impl Ints {
    pub(crate) fn len(&self) -> usize {
        match self {
            Ints::Const { len, .. } => *len,
            Ints::Bytes { values, .. } => values.len(),
            Ints::Words { values, .. } => values.len(),
            Ints::Longs(values) => values.len(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> u64 {
        match self {
            Ints::Const { value, len } => {
                assert!(row < *len, "row {row} of {len}");
                *value
            }
            Ints::Bytes { base, values } => base.wrapping_add(u64::from(values[row])),
            Ints::Words { base, values } => base.wrapping_add(u64::from(values[row])),
            Ints::Longs(values) => values[row],
        }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        (0..self.len()).map(|row| self.get(row))
    }
}

impl Default for Ints {
    fn default() -> Self {
        Ints::Const { value: 0, len: 0 }
    }
}

/// Where each of `len` values starts and ends in something contiguous.
#[derive(Debug, Clone)]
pub(crate) enum Offsets {
    /// All of the same length.
    Stride { stride: usize, len: usize },
    /// `len + 1` rising positions.
    Ends(Vec<u32>),
}

impl Offsets {
    pub(crate) fn len(&self) -> usize {
        match self {
            Offsets::Stride { len, .. } => *len,
            Offsets::Ends(ends) => ends.len().saturating_sub(1),
        }
    }

    #[inline]
    pub(crate) fn range(&self, row: usize) -> std::ops::Range<usize> {
        match self {
            Offsets::Stride { stride, len } => {
                assert!(row < *len, "row {row} of {len}");
                row * stride..(row + 1) * stride
            }
            Offsets::Ends(ends) => ends[row] as usize..ends[row + 1] as usize,
        }
    }

    /// Length of what they divide.
    pub(crate) fn total(&self) -> usize {
        match self {
            Offsets::Stride { stride, len } => stride * len,
            Offsets::Ends(ends) => ends.last().map_or(0, |&end| end as usize),
        }
    }
}

impl Default for Offsets {
    fn default() -> Self {
        Offsets::Stride { stride: 0, len: 0 }
    }
}

/// Byte strings, row by row or as codes into distinct ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blobs {
    pub(crate) data: Vec<u8>,
    pub(crate) values: Offsets,
    pub(crate) codes: Option<Ints>,
}

impl Blobs {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        let value = self.codes.as_ref().map_or(row, |codes| codes.get(row) as usize);
        self.data.get(self.values.range(value)).unwrap_or_default()
    }
}

/// As [`Blobs`], but UTF-8; each value lies on character borders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strs {
    pub(crate) data: String,
    pub(crate) values: Offsets,
    pub(crate) codes: Option<Ints>,
}

impl Strs {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> &str {
        let value = self.codes.as_ref().map_or(row, |codes| codes.get(row) as usize);
        self.data.get(self.values.range(value)).unwrap_or_default()
    }
}

/// Values that some rows do not have: `at` gives the value's place among those there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sparse {
    pub(crate) at: Places,
    pub(crate) values: Ints,
}

impl Sparse {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<u64> {
        self.at.get(row).map(|place| self.values.get(place))
    }
}

/// Which rows have something, and its place among those that do.
#[derive(Debug, Clone)]
pub(crate) enum Places {
    /// All rows have it, or none.
    Every { len: usize, have: bool },
    /// Place, or [`NOWHERE`].
    Some(Vec<u32>),
}

/// No place.
pub(crate) const NOWHERE: u32 = u32::MAX;

impl Places {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<usize> {
        match self {
            Places::Every { len, have } => {
                assert!(row < *len, "row {row} of {len}");
                have.then_some(row)
            }
            Places::Some(places) => Some(places[row]).filter(|&p| p != NOWHERE).map(|p| p as usize),
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Places::Every { len: 0, have: false }
    }
}
