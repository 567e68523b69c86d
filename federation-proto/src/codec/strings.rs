//! A column of strings that chooses its form: a dictionary with codes, patterns with numbers, or plain.
//!
//! | form | structure | columns |
//! |---|---|---|
//! | plain | 0 | lengths, bytes |
//! | patterns (see [`patterns`](super::patterns)) | 1, number of distinct patterns | their lengths, their bytes, a code per row; the first numbers of the rows that have one, the second ones, … |
//! | dictionary | 1 + number of distinct strings, of which there is one at least | their lengths, their bytes, a code per row |
//!
//! Each batch's form follows from the share of distinct strings in it. A column with too many distinct ones is not even interned in the
//! batches after, and tried again now and then.

use super::dictionary::Dictionary;
use super::patterns::Patterns;
use super::source::{Sources, Span};
use super::streams::{Kind, Streams};

/// The numbers that tell the form. Those above are one more than a dictionary's length.
pub(crate) const PLAIN: u64 = 0;
pub(crate) const PATTERNS: u64 = 1;

/// Beyond this share of distinct strings, in percent, a column is better off plain.
const PLAIN_PERCENT: usize = 25;
/// Rows below which a batch does not tell what the next one will be like.
const MIN_ROWS: usize = 64;
/// Batches after which a plain column is interned again, to see whether it still has to be plain.
const RETRY: u32 = 64;

/// Writes strings by their codes in `dictionary`, in whichever form is smaller.
pub(crate) fn emit(dictionary: &Dictionary, codes: impl Iterator<Item = u32> + Clone, kind: Kind, out: &mut Streams) {
    let rows = codes.clone().count();
    if rows == 0 || is_plain(dictionary.len(), rows) && dictionary.len() > 1 {
        emit_plain(dictionary, codes, kind, out);
    } else {
        out.number(PATTERNS + dictionary.len() as u64);
        out.blobs(dictionary.values(), kind);
        out.ints(codes.map(u64::from), 0);
    }
}

/// Writes strings by their codes in `dictionary`, row by row.
pub(crate) fn emit_plain(dictionary: &Dictionary, codes: impl Iterator<Item = u32> + Clone, kind: Kind, out: &mut Streams) {
    out.number(PLAIN);
    out.blobs(codes.map(|code| dictionary.value(code)), kind);
}

fn is_plain(distinct: usize, rows: usize) -> bool {
    distinct * 100 > rows * PLAIN_PERCENT
}

/// Strings of one attribute column: takes them in one by one, gives a slot for each, writes them by their slots.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    dictionary: Dictionary,
    /// This batch's slots are places in `spans` rather than codes.
    plain: bool,
    spans: Vec<Span>,
    patterns: Patterns,
    /// Batches since the column became plain.
    age: u32,
    rows: usize,
}

impl Strings {
    /// Starts a batch: its form is decided by the one before.
    pub(crate) fn begin(&mut self) {
        if self.plain {
            self.age += 1;
            self.plain = !self.age.is_multiple_of(RETRY);
        } else if self.rows >= MIN_ROWS && is_plain(self.dictionary.len(), self.rows) {
            self.plain = true;
            self.age = 0;
            // Its memory too: there may be thousands of such columns.
            self.dictionary = Dictionary::default();
        }
        self.dictionary.begin();
        self.spans.clear();
        if self.plain {
            self.patterns.begin();
        }
        self.rows = 0;
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.dictionary.held_bytes() + self.patterns.held_bytes() + self.spans.capacity() * size_of::<Span>()
    }

    /// Are the strings of this batch interned?
    #[cfg(test)]
    pub(crate) fn is_interned(&self) -> bool {
        !self.plain
    }

    /// Takes in one string, which stands `at` bytes into the sources.
    #[inline]
    pub(crate) fn push(&mut self, string: &[u8], at: usize) -> u64 {
        self.rows += 1;
        if !self.plain {
            return u64::from(self.dictionary.code(string));
        }
        self.patterns.push(string);
        self.spans.push(Span::new(at, string.len()));
        self.spans.len() as u64 - 1
    }

    /// The string behind a slot of this batch.
    pub(crate) fn get<'a>(&'a self, slot: u64, sources: &Sources<'a>) -> &'a [u8] {
        if self.plain { sources.get(self.spans[slot as usize]) } else { self.dictionary.value(slot as u32) }
    }

    /// Writes the strings behind these slots, each of which [`Strings::push`] gave once in this batch.
    pub(crate) fn emit(&self, slots: &[u64], sources: &Sources<'_>, out: &mut Streams) {
        if self.plain && self.rows >= MIN_ROWS && self.patterns.pay() {
            out.number(PATTERNS);
            self.patterns.emit(slots, out);
        } else if self.plain {
            out.number(PLAIN);
            out.blobs(slots.iter().map(|&slot| self.get(slot, sources)), Kind::Text);
        } else if slots.len() == self.rows {
            emit(&self.dictionary, slots.iter().map(|&slot| slot as u32), Kind::Text, out);
        } else {
            // Some of the strings went elsewhere with their rows: they are not written here a second time.
            let mut again = Dictionary::default();
            let codes: Vec<u32> = slots.iter().map(|&slot| again.code(self.dictionary.value(slot as u32))).collect();
            emit(&again, codes.iter().copied(), Kind::Text, out);
        }
    }
}
