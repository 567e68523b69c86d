//! Interning byte strings: each distinct one gets the next code of the batch.
//!
//! Entries and hash table outlive a batch, since batches resemble one another; a code belongs to one batch. Bounded: a dictionary that has
//! grown beyond its caps forgets everything when the next batch begins. Hashes are keyed by a random seed, so that a sender cannot collide them on purpose.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Entries that may outlive a batch.
const MAX_ENTRIES: usize = 1 << 17;
/// Bytes of strings that may outlive a batch.
const MAX_BYTES: usize = 4 << 20;

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    end: u32,
    /// The batch in which `code` was given.
    batch: u32,
    code: u32,
}

/// A set of byte strings with dense codes per batch, in order of first use.
#[derive(Debug)]
pub(crate) struct Dictionary {
    /// Upper half of the hash and entry number + 1; 0 = free. Its length is a power of two, at least twice the entries.
    table: Vec<u64>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// Entry of each code of this batch.
    codes: Vec<u32>,
    batch: u32,
    seed: u64,
}

impl Default for Dictionary {
    fn default() -> Self {
        let seed = RandomState::new().build_hasher().finish();
        Self { table: Vec::new(), entries: Vec::new(), bytes: Vec::new(), codes: Vec::new(), batch: 1, seed }
    }
}

impl Dictionary {
    /// Starts a batch: no codes are given yet.
    pub(crate) fn begin(&mut self) {
        self.codes.clear();
        if self.entries.len() > MAX_ENTRIES || self.bytes.len() > MAX_BYTES || self.batch == u32::MAX {
            self.forget();
        }
        self.batch += 1;
    }

    /// Forgets all entries, for strings that do not come again in the next batch; keeps the memory.
    pub(crate) fn forget(&mut self) {
        self.table.clear();
        self.entries.clear();
        self.bytes.clear();
        self.codes.clear();
        self.batch = 1;
    }

    /// The random seed of its hashes.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Bytes of memory held, used or not.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.table.capacity() * size_of::<u64>()
            + self.codes.capacity() * size_of::<u32>()
    }

    /// Distinct strings of this batch.
    pub(crate) fn len(&self) -> usize {
        self.codes.len()
    }

    /// The string's code. Codes count from 0; a code equal to the `len()` before is new in this batch.
    #[inline]
    pub(crate) fn code(&mut self, string: &[u8]) -> u32 {
        if self.table.len() < 2 * (self.entries.len() + 1) {
            self.grow();
        }
        let hash = hash(string, self.seed);
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.table[at];
            if slot == 0 {
                break;
            }
            if slot >> 32 == hash >> 32 {
                let number = slot as u32 - 1;
                let entry = &mut self.entries[number as usize];
                if equal(&self.bytes[entry.start as usize..entry.end as usize], string) {
                    if entry.batch != self.batch {
                        entry.batch = self.batch;
                        entry.code = self.codes.len() as u32;
                        self.codes.push(number);
                    }
                    return entry.code;
                }
            }
            at = (at + 1) & mask;
        }
        self.insert(string, hash, at)
    }

    #[inline(never)]
    fn insert(&mut self, string: &[u8], hash: u64, at: usize) -> u32 {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(string);
        let code = self.codes.len() as u32;
        self.codes.push(self.entries.len() as u32);
        self.entries.push(Entry { start, end: self.bytes.len() as u32, batch: self.batch, code });
        self.table[at] = hash >> 32 << 32 | self.entries.len() as u64;
        code
    }

    #[cold]
    fn grow(&mut self) {
        let len = (4 * (self.entries.len() + 1)).next_power_of_two().max(16);
        self.table.clear();
        self.table.resize(len, 0);
        for (number, entry) in self.entries.iter().enumerate() {
            let hash = hash(&self.bytes[entry.start as usize..entry.end as usize], self.seed);
            let mut at = hash as usize & (len - 1);
            while self.table[at] != 0 {
                at = (at + 1) & (len - 1);
            }
            self.table[at] = hash >> 32 << 32 | (number as u64 + 1);
        }
    }

    /// The string behind a code of this batch; empty for a code that was not given.
    #[inline]
    pub(crate) fn value(&self, code: u32) -> &[u8] {
        let entry = self.codes.get(code as usize).and_then(|&number| self.entries.get(number as usize));
        entry.map_or(&[], |entry| &self.bytes[entry.start as usize..entry.end as usize])
    }

    /// The strings of this batch, in order of their codes.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.codes.len() as u32).map(|code| self.value(code))
    }
}

/// Whether two strings are the same; for short ones cheaper than a call of `memcmp`.
#[inline]
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let ((eights, rest), (other_eights, other_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    if let (Some(last), Some(other)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        return last == other && eights.iter().zip(other_eights).all(|(eight, other)| eight == other);
    }
    match (rest.first_chunk::<4>(), rest.last_chunk::<4>(), other_rest.first_chunk::<4>(), other_rest.last_chunk::<4>()) {
        (Some(first), Some(last), Some(other_first), Some(other_last)) => first == other_first && last == other_last,
        _ => rest.iter().zip(other_rest).all(|(byte, other)| byte == other),
    }
}

/// A hash of two numbers that nobody who does not know the seed can collide.
#[inline]
pub(crate) fn hash_pair(a: u64, b: u64, seed: u64) -> u64 {
    fold(fold(a ^ seed, ODD ^ seed.rotate_left(32)) ^ b, ODD)
}

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// A hash by folded multiplication, eight bytes at a time; the last eight overlap what went before.
#[inline]
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(ODD);
    let tail = if let Some(last) = bytes.last_chunk::<8>() {
        let (chunks, _) = bytes.as_chunks::<8>();
        for chunk in chunks {
            state = fold(u64::from_le_bytes(*chunk) ^ state, ODD ^ seed.rotate_left(32));
        }
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
    } else {
        bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))
    };
    fold(tail ^ state, ODD)
}
