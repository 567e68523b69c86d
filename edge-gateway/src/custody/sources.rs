//! Which inbox entries, or which rows of them, a spool record was made of. Stands in the record's meta behind the batch header, so
//! that one write makes the batch durable and its sources consumed.
//!
//! Format: 16 bytes inbox log id; then LEB128 numbers: count of whole ranges, and for each the gap to the range before and its
//! length less one; count of partial entries, and for each seq, first row, rows, rows of the entry. A batch of ten thousand
//! one-row requests costs it 2 to 3 bytes per request at worst.

use std::ops::{Range, RangeInclusive};

use federation_proto::identity::Seq;

use crate::batcher::Arrival;

/// The 16 random bytes of a log's directory.
pub type LogId = [u8; 16];

/// Some rows of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOf {
    /// The inbox entry.
    pub seq: Seq,
    /// Which rows.
    pub rows: Range<u32>,
    /// Rows in the whole entry.
    pub of: u32,
}

/// What a batch was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The inbox that the numbers belong to.
    pub inbox: LogId,
    /// Entries all of whose rows are in the batch: ascending, disjoint.
    pub whole: Vec<RangeInclusive<u64>>,
    /// The others.
    pub partial: Vec<PartOf>,
}

/// Bytes that are not a list of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sources of a spool record: {0}")]
pub struct InvalidSources(&'static str);

impl Sources {
    /// The sources of a batch with these parts.
    #[must_use]
    pub fn of(inbox: LogId, parts: &[Arrival]) -> Self {
        let is_whole = |part: &&Arrival| part.rows == (0..part.of);
        let mut seqs: Vec<u64> = parts.iter().filter(is_whole).map(|part| part.source.0).collect();
        seqs.sort_unstable();
        let mut whole: Vec<RangeInclusive<u64>> = Vec::new();
        for seq in seqs {
            match whole.last_mut() {
                Some(range) if *range.end() + 1 == seq => *range = *range.start()..=seq,
                _ => whole.push(seq..=seq),
            }
        }
        let part_of = |part: &Arrival| PartOf { seq: part.source, rows: part.rows.clone(), of: part.of };
        Self { inbox, whole, partial: parts.iter().filter(|part| !is_whole(part)).map(part_of).collect() }
    }

    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.inbox);
        put(out, self.whole.len() as u64);
        let mut at = 0;
        for range in &self.whole {
            put(out, range.start() - at);
            put(out, range.end() - range.start());
            at = *range.end();
        }
        put(out, self.partial.len() as u64);
        for part in &self.partial {
            put(out, part.seq.0);
            for number in [part.rows.start, part.rows.end - part.rows.start, part.of] {
                put(out, u64::from(number));
            }
        }
    }

    /// Reads what [`Sources::encode`] wrote; all of `bytes`.
    ///
    /// # Errors
    /// [`InvalidSources`]; counts are checked against the bytes at hand before anything is allocated.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidSources> {
        let (inbox, mut rest) = bytes.split_first_chunk::<16>().ok_or(InvalidSources("cut short"))?;
        let count = take_count(&mut rest, 2)?;
        let mut whole = Vec::with_capacity(count);
        let mut at = 0u64;
        for _ in 0..count {
            let first = at.checked_add(take(&mut rest)?).ok_or(InvalidSources("a number overflows"))?;
            at = first.checked_add(take(&mut rest)?).ok_or(InvalidSources("a number overflows"))?;
            whole.push(first..=at);
        }
        let count = take_count(&mut rest, 4)?;
        let mut partial = Vec::with_capacity(count);
        for _ in 0..count {
            partial.push(take_part(&mut rest)?);
        }
        if rest.is_empty() { Ok(Self { inbox: *inbox, whole, partial }) } else { Err(InvalidSources("bytes left over")) }
    }
}

fn take_part(rest: &mut &[u8]) -> Result<PartOf, InvalidSources> {
    let seq = Seq(take(rest)?);
    let mut row = || take(rest).and_then(|n| u32::try_from(n).map_err(|_| InvalidSources("a row number overflows")));
    let (start, len, of) = (row()?, row()?, row()?);
    let end = start.checked_add(len).filter(|end| *end <= of && len > 0).ok_or(InvalidSources("rows outside their entry"))?;
    Ok(PartOf { seq, rows: start..end, of })
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64, InvalidSources> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or(InvalidSources("cut short"))?;
        *rest = tail;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(InvalidSources("a number of more than ten bytes"))
}

/// A count of things that take at least `least` bytes each.
fn take_count(rest: &mut &[u8], least: usize) -> Result<usize, InvalidSources> {
    let count = usize::try_from(take(rest)?).unwrap_or(usize::MAX);
    if count <= rest.len() / least { Ok(count) } else { Err(InvalidSources("a count beyond the bytes at hand")) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn arrival(source: u64, rows: Range<u32>, of: u32) -> Arrival {
        Arrival { source: Seq(source), rows, of, body: Bytes::new() }
    }

    proptest! {
        /// What is written is read, and each part is there once.
        #[test]
        fn round_trip(seqs in proptest::collection::btree_set(0u64..400, 0..60), big in 1u64..1 << 60, cut in 1u32..1000) {
            let mut parts: Vec<Arrival> = seqs.iter().rev().map(|&seq| arrival(seq, 0..3, 3)).collect();
            parts.push(arrival(1000 + big, cut..cut + 5, cut + 9));
            let sources = Sources::of([7; 16], &parts);
            let mut bytes = Vec::new();
            sources.encode(&mut bytes);
            prop_assert_eq!(Sources::decode(&bytes), Ok(sources.clone()));
            prop_assert_eq!(sources.whole.into_iter().flatten().collect::<Vec<_>>(), seqs.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(sources.partial, vec![PartOf { seq: Seq(1000 + big), rows: cut..cut + 5, of: cut + 9 }]);
        }

        /// Noise is an error or a list, never a panic or a large allocation.
        #[test]
        fn noise(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Sources::decode(&bytes);
        }
    }

    /// Entries in a row cost a few bytes in all.
    #[test]
    fn runs_are_short() {
        let parts: Vec<Arrival> = (5_000..15_000).map(|seq| arrival(seq, 0..1, 1)).collect();
        let mut bytes = Vec::new();
        Sources::of([0; 16], &parts).encode(&mut bytes);
        assert!(bytes.len() < 24, "{} bytes", bytes.len());
    }
}
