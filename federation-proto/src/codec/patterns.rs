//! Strings as patterns with numbers: `10.2.166.21`, `u-018758`, `took 35 ms`. Addresses, ids and messages made of a few texts with digits
//! in them are mostly digits, and zstd needs half as many bits again for decimal digits as there is in them. So each run of digits
//! stands in a column of integers, and what is left, a *pattern*, in a dictionary.
//!
//! In a pattern one byte, a *mark*, stands for each number: 0 for one written without leading zeros; else how many digits it has, 2 to 9 as
//! 1 to 8 and 10 to 18 as 14 to 22. A string in which such a byte occurs has no pattern; tab and the ends of lines are none. A longer run of
//! digits is several numbers; beyond [`MAX_NUMBERS`] digits stay in the pattern.

use super::dictionary::{Dictionary, equal};
use super::streams::{Kind, Streams};

/// Numbers of one string.
pub(crate) const MAX_NUMBERS: usize = 16;
/// Digits of one number: ten to this power fits 64 bits.
const MAX_DIGITS: usize = 18;
/// A column may have so many patterns however short it is,
const FREE_PATTERNS: usize = 16;
/// and one more for so many rows: with more, the dictionary eats up what the numbers save.
const ROWS_PER_PATTERN: usize = 16;
/// Batches after which a column is tried again that had too many patterns.
const RETRY: u32 = 64;
/// The lowest byte planes of numbers that go with the near-random bytes.
const NOISE: usize = 1;

/// The mark of a number of `digits` digits, of which the first may be a zero.
fn fixed(digits: usize) -> u8 {
    (if digits < 10 { digits - 1 } else { digits + 4 }) as u8
}

/// The digits that a mark stands for, 0 for as many as the number needs; `None` for a byte that is no mark.
#[inline]
pub(crate) fn mark(byte: u8) -> Option<usize> {
    match byte {
        0 => Some(0),
        1..=8 => Some(usize::from(byte) + 1),
        14..=22 => Some(usize::from(byte) - 4),
        _ => None,
    }
}

/// Takes a string apart; false if it has no pattern. Then what was added to `numbers` is of no use.
#[inline]
fn split(string: &[u8], pattern: &mut Vec<u8>, numbers: &mut Vec<u64>) -> bool {
    pattern.clear();
    let most = numbers.len() + MAX_NUMBERS;
    let (mut at, mut literal) = (0, 0);
    while let Some(&byte) = string.get(at) {
        if !byte.is_ascii_digit() || numbers.len() == most {
            if mark(byte).is_some() {
                return false;
            }
            at += 1;
            continue;
        }
        pattern.extend_from_slice(&string[literal..at]);
        let (start, mut value) = (at, 0u64);
        while let Some(digit @ b'0'..=b'9') = string.get(at)
            && at - start < MAX_DIGITS
        {
            value = 10 * value + u64::from(digit - b'0');
            at += 1;
        }
        let digits = at - start;
        pattern.push(if byte == b'0' && digits > 1 { fixed(digits) } else { 0 });
        numbers.push(value);
        literal = at;
    }
    pattern.extend_from_slice(&string[literal..]);
    true
}

/// The strings of a column of one batch, taken apart as they come, while they are still in the cache.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    patterns: Dictionary,
    /// Pattern and first number of each string.
    rows: Vec<(u32, u32)>,
    numbers: Vec<u64>,
    /// This column has too many patterns, or text that has none; since so many batches.
    given_up: Option<u32>,
    scratch: Vec<u8>,
    /// The pattern of the string before, and its code.
    last: (Vec<u8>, u32),
}

impl Patterns {
    /// Starts a batch.
    pub(crate) fn begin(&mut self) {
        self.given_up = self.given_up.map(|batches| batches + 1).filter(|&batches| batches < RETRY);
        self.patterns.begin();
        self.rows.clear();
        self.numbers.clear();
    }

    /// Bytes of memory held, used or not.
    pub(crate) fn held_bytes(&self) -> usize {
        self.patterns.held_bytes() + self.rows.capacity() * size_of::<(u32, u32)>() + self.numbers.capacity() * size_of::<u64>()
    }

    /// Takes in the next string.
    #[inline]
    pub(crate) fn push(&mut self, string: &[u8]) {
        if self.given_up.is_some() {
            return;
        }
        let first = self.numbers.len() as u32;
        if !split(string, &mut self.scratch, &mut self.numbers) {
            return self.give_up();
        }
        // Strings of one pattern often come in a row.
        if self.rows.is_empty() || !equal(&self.last.0, &self.scratch) {
            self.last = (self.scratch.clone(), self.patterns.code(&self.scratch));
        }
        self.rows.push((self.last.1, first));
        if self.patterns.len() > FREE_PATTERNS + self.rows.len() / ROWS_PER_PATTERN {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        // Its memory too: there may be thousands of such columns.
        *self = Self { given_up: Some(0), ..Self::default() };
    }

    /// Have all strings of this batch patterns, few enough, and numbers in them?
    pub(crate) fn pay(&self) -> bool {
        self.given_up.is_none() && !self.numbers.is_empty()
    }

    /// Writes the patterns, a code per row, and the numbers place by place; rows by the order in which they came in, from 0.
    pub(crate) fn emit(&self, rows: &[u64], out: &mut Streams) {
        out.number(self.patterns.len() as u64);
        out.blobs(self.patterns.values(), Kind::Text);
        let rows = || rows.iter().map(|&row| self.rows[row as usize]);
        out.ints(rows().map(|(code, _)| u64::from(code)), 0);
        let marks: Vec<usize> = self.patterns.values().map(marks).collect();
        for place in 0..marks.iter().copied().max().unwrap_or(0) {
            let having = rows().filter(|(code, _)| marks[*code as usize] > place);
            out.ints(having.map(|(_, first)| self.numbers[first as usize + place]), NOISE);
        }
    }
}

/// Numbers in the strings of a pattern.
pub(crate) fn marks(pattern: &[u8]) -> usize {
    pattern.iter().filter(|&&byte| mark(byte).is_some()).count()
}

/// Reads the numbers row by row: of each place the next one.
pub(crate) struct Cursor<'a> {
    places: Vec<std::slice::Iter<'a, u64>>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(numbers: &'a [Vec<u64>]) -> Self {
        Self { places: numbers.iter().map(|place| place.iter()).collect() }
    }

    /// The numbers of the next row, which has `marks` of them.
    pub(crate) fn row(&mut self, marks: usize) -> impl Iterator<Item = u64> {
        self.places.iter_mut().take(marks).map_while(|place| place.next().copied())
    }
}

/// Decimal digits of a number, at least one.
fn digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Bytes of the string of this pattern and these numbers; `None` if a number has more digits than its mark, or is missing.
pub(crate) fn joined_len(pattern: &[u8], mut numbers: impl Iterator<Item = u64>) -> Option<usize> {
    let mut len = 0;
    for &byte in pattern {
        len += match mark(byte) {
            None => 1,
            Some(width) => {
                let digits = digits(numbers.next()?);
                if width == 0 { digits } else { Some(width).filter(|width| digits <= *width)? }
            }
        };
    }
    Some(len)
}

/// Appends the string of this pattern and these numbers, for which [`joined_len`] gave a length.
pub(crate) fn join(pattern: &[u8], mut numbers: impl Iterator<Item = u64>, out: &mut Vec<u8>) {
    for &byte in pattern {
        match mark(byte) {
            None => out.push(byte),
            Some(width) => {
                let mut value = numbers.next().unwrap_or_default();
                let start = out.len();
                out.resize(start + width.max(digits(value)), b'0');
                for digit in out[start..].iter_mut().rev() {
                    *digit = b'0' + (value % 10) as u8;
                    value /= 10;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(string: &[u8]) -> Option<Vec<u8>> {
        let (mut pattern, mut numbers) = (Vec::new(), Vec::new());
        split(string, &mut pattern, &mut numbers).then(|| {
            assert_eq!(marks(&pattern), numbers.len());
            assert_eq!(joined_len(&pattern, numbers.iter().copied()), Some(string.len()));
            let mut out = b"before".to_vec();
            join(&pattern, numbers.into_iter(), &mut out);
            out.split_off(6)
        })
    }

    proptest! {
        /// A string that has a pattern comes back as it was: leading zeros, runs of any length, more numbers than there may be.
        #[test]
        fn round_trip(string in "(\u{e9}|a|0|00|1|7|\\.|\t|\n|[0-9]{1,40}){0,40}") {
            prop_assert_eq!(there_and_back(string.as_bytes()), Some(string.into_bytes()));
        }

        /// Any bytes: they come back, or have no pattern because one of them is a mark.
        #[test]
        fn any_bytes(string in proptest::collection::vec(any::<u8>(), 0..60)) {
            let back = there_and_back(&string);
            prop_assert!(back.as_ref() == Some(&string) || back.is_none() && string.iter().any(|byte| mark(*byte).is_some()));
        }
    }

    /// Each number of digits has a mark of its own, and nothing that text is made of is one.
    #[test]
    fn marks_differ() {
        for width in 2..=MAX_DIGITS {
            assert_eq!(mark(fixed(width)), Some(width));
        }
        assert!(b"\t\n\r \x1b~".iter().chain(&(0x80..=0xff).collect::<Vec<u8>>()).all(|byte| mark(*byte).is_none()));
    }

    /// Columns of few patterns are taken apart; those without numbers or of too many patterns are not, and are not tried in the batches
    /// that follow, but later.
    #[test]
    fn only_what_pays_is_taken_apart() {
        let pays = |string: &dyn Fn(usize) -> String, rows: usize| {
            let mut patterns = Patterns::default();
            (0..rows).for_each(|row| patterns.push(string(row).as_bytes()));
            patterns.pay()
        };
        assert!(pays(&|n| format!("10.{}.{}.7", n % 256, n % 9), 100));
        assert!(pays(&|n| format!("u-{n:06}"), 1000));
        assert!(!pays(&|_| "abc".to_owned(), 100), "no number");
        assert!(!pays(&|n| format!("{:x}", n * 0x9e37_79b9), 1000), "as many patterns as rows");
        assert!(!pays(&|n| format!("{}{n}", "b".repeat(n.saturating_sub(900))), 1000), "it shows late");
        assert!(!pays(&|n| format!("\u{1}{n}"), 100), "a mark in the text");
        let mut patterns = Patterns::default();
        let tried = (0..130).filter(|_| {
            patterns.begin();
            patterns.push(b"7");
            let tried = patterns.pay();
            patterns.push(b"\0");
            tried
        });
        assert_eq!(tried.count(), 3, "the first, and one in about 64 after");
    }

    /// A number that is not there, or has more digits than its place, is no string.
    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(joined_len(&[b'a', 0], [].into_iter()), None);
        assert_eq!(joined_len(&[fixed(3)], [1000].into_iter()), None);
        assert_eq!(joined_len(&[fixed(3)], [999].into_iter()), Some(3));
        assert_eq!(joined_len(&[0], [u64::MAX].into_iter()), Some(20));
    }
}
