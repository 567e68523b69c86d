//! Strings as patterns with numbers: `10.2.166.21`, `u-018758`, `took 35 ms`. Addresses, ids and messages made of a few texts with digits
//! in them are mostly digits, and zstd needs half as many bits again for decimal digits as there is in them. So each run of digits
//! stands in a column of integers, and what is left, a *pattern*, in a dictionary.
//!
//! In a pattern one byte, a *mark*, stands for each number: 0 for one written without leading zeros; else how many digits it has, 2 to 9 as
//! 1 to 8 and 10 to 18 as 14 to 22. A string in which such a byte occurs has no pattern; tab and the ends of lines are none. A longer run of
//! digits is several numbers; beyond [`MAX_NUMBERS`] digits stay in the pattern.

use super::dictionary::Dictionary;
use super::streams::{Kind, Streams};

/// Numbers of one string.
pub(crate) const MAX_NUMBERS: usize = 16;
/// Digits of one number: ten to this power fits 64 bits.
const MAX_DIGITS: usize = 18;
/// Strings that tell whether the rest is worth the work, and the patterns that they may have.
const SAMPLE: usize = 64;
const SAMPLE_PATTERNS: usize = 16;
/// Rows to a pattern, at least: fewer, and the dictionary eats up what the numbers save.
const ROWS_PER_PATTERN: usize = 16;
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

/// Takes a string apart; false if it has no pattern.
fn split(string: &[u8], pattern: &mut Vec<u8>, mut number: impl FnMut(usize, u64)) -> bool {
    pattern.clear();
    let (mut at, mut literal, mut numbers) = (0, 0, 0);
    while let Some(&byte) = string.get(at) {
        if !byte.is_ascii_digit() || numbers == MAX_NUMBERS {
            if mark(byte).is_some() {
                return false;
            }
            at += 1;
            continue;
        }
        pattern.extend_from_slice(&string[literal..at]);
        let mut value = 0u64;
        let run = string[at..].iter().take(MAX_DIGITS).take_while(|byte| byte.is_ascii_digit());
        let digits = run.map(|digit| value = 10 * value + u64::from(digit - b'0')).count();
        pattern.push(if byte == b'0' && digits > 1 { fixed(digits) } else { 0 });
        number(numbers, value);
        numbers += 1;
        at += digits;
        literal = at;
    }
    pattern.extend_from_slice(&string[literal..]);
    true
}

/// The strings of a column, taken apart.
#[derive(Default)]
pub(crate) struct Patterns {
    patterns: Dictionary,
    codes: Vec<u32>,
    /// The first number of each string that has one, the second, and so on.
    numbers: Vec<Vec<u64>>,
}

impl Patterns {
    /// `None` if they are better left as they are.
    pub(crate) fn of<'a>(strings: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Self> {
        let sample = Self::within(strings.clone().take(SAMPLE), SAMPLE_PATTERNS)?;
        if sample.codes.len() < SAMPLE || sample.numbers.is_empty() {
            return None;
        }
        let rows = strings.clone().count();
        Self::within(strings, (rows / ROWS_PER_PATTERN).max(SAMPLE_PATTERNS))
    }

    fn within<'a>(strings: impl Iterator<Item = &'a [u8]>, most: usize) -> Option<Self> {
        let mut found = Self::default();
        let (mut pattern, mut last) = (Vec::new(), (Vec::new(), None));
        for string in strings {
            let numbers = &mut found.numbers;
            let whole = split(string, &mut pattern, |place, value| {
                if place == numbers.len() {
                    numbers.push(Vec::new());
                }
                numbers[place].push(value);
            });
            if !whole {
                return None;
            }
            // Rows that resemble one another stand together.
            let code = match last {
                (ref before, Some(code)) if *before == pattern => code,
                _ => found.patterns.code(&pattern),
            };
            last.0.clone_from(&pattern);
            last.1 = Some(code);
            found.codes.push(code);
            if found.patterns.len() > most {
                return None;
            }
        }
        Some(found)
    }

    /// Writes the patterns, a code per row, and the numbers place by place.
    pub(crate) fn emit(&self, out: &mut Streams) {
        out.number(self.patterns.len() as u64);
        out.blobs(self.patterns.values(), Kind::Text);
        out.ints(self.codes.iter().map(|&code| u64::from(code)), 0);
        for numbers in &self.numbers {
            out.ints(numbers.iter().copied(), NOISE);
        }
    }
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
        split(string, &mut pattern, |place, value| {
            assert_eq!(place, numbers.len());
            numbers.push(value);
        })
        .then(|| {
            assert_eq!(pattern.iter().filter(|byte| mark(**byte).is_some()).count(), numbers.len());
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

    /// Columns of few patterns are taken apart; those without numbers, of too many patterns, or too short to tell are not.
    #[test]
    fn only_what_pays_is_taken_apart() {
        let is_taken = |string: &dyn Fn(usize) -> String, rows: usize| {
            let strings: Vec<String> = (0..rows).map(string).collect();
            Patterns::of(strings.iter().map(String::as_bytes)).is_some()
        };
        assert!(is_taken(&|n| format!("10.{}.{}.7", n % 256, n % 9), 100));
        assert!(is_taken(&|n| format!("u-{n:06}"), 1000));
        assert!(!is_taken(&|n| format!("u-{n:06}"), 63), "too short");
        assert!(!is_taken(&|_| "abc".to_owned(), 100), "no number");
        assert!(!is_taken(&|n| format!("{:x}", n * 0x9e37_79b9), 1000), "as many patterns as rows");
        assert!(!is_taken(&|n| format!("{}{n}", ["a", "b"][n / 900].repeat(if n < 900 { 1 } else { n })), 1000), "it shows late");
        assert!(!is_taken(&|n| format!("\u{1}{n}"), 100), "a mark in the text");
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
