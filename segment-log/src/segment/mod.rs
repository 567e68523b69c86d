//! The format on disk, version 1. All integers little-endian, all records aligned to 8 bytes.
//!
//! **File name**: `<segment, 10 digits>-<base seq, 20 digits>.seg`.
//!
//! **Segment header**, 64 bytes, written twice (at 0 and at 64), so that one damaged copy costs nothing. Records begin at byte 128.
//!
//! | Bytes | Field |
//! |---|---|
//! | 0..8 | magic `TRIBSEG\0` |
//! | 8..12 | version, 1 |
//! | 12..16 | zero |
//! | 16..32 | log id: 16 random bytes, the same in all segments of a log |
//! | 32..36 | segment number |
//! | 36..40 | zero |
//! | 40..48 | base seq: what the segment's first data record has |
//! | 48..60 | zero |
//! | 60..64 | CRC32C of bytes 0..60 |
//!
//! **Record**: header of 48 bytes, meta, payload, zeros up to the next multiple of 8.
//!
//! | Bytes | Field |
//! |---|---|
//! | 0..4 | magic `TRec` |
//! | 4 | kind: 1 data, 2 checkpoint, 3 void |
//! | 5..8 | zero |
//! | 8..16 | seq of a data record; of another kind: the seq that the next data record gets |
//! | 16..24 | synced: every seq below was durable, or given up in a durable void, when this was written |
//! | 24..28 | meta length |
//! | 28..32 | payload length |
//! | 32..36 | CRC32C of meta |
//! | 36..40 | CRC32C of payload |
//! | 40..44 | checkpoints: how many had been synced when this was written; of a checkpoint: its number; of a void: the highest that stands |
//! | 44..48 | CRC32C of bytes 0..44 |
//!
//! A checkpoint's meta is the set of seqs that are not pending (`federation_proto::intervals`), its payload the caller's state. A void's
//! meta is a list of (first, end) pairs of seqs that were given up after a failed fsync or lost unsynced in a crash: should their bytes
//! come back, they are no records; nor are checkpoints before it that have a higher number than it tells.
//!
//! A record that its owner discarded may be **hollow**: its header and meta as they were, and zeros in the whole blocks of its payload,
//! which went back to the disk after a checkpoint said that it is acknowledged.
//!
//! # Why it is so
//! - Each record CRC is seeded with log id, segment number, offset and part. So bytes of another log, another file or another place are
//!   never taken for a record: neither stale blocks nor a record that a sender put into its payload, since it cannot know the random log
//!   id.
//! - Within a segment data records have consecutive seqs: whatever skips a seq opens a new segment. So between two intact records it is
//!   known which are missing, and behind the last one at most `unreadable bytes / 48` can have been, which keeps seqs from being used
//!   twice.
//! - `synced` and `checkpoints` tell damage from what a power cut leaves: a hole whose seqs a later record calls synced was damaged,
//!   another was never promised; a checkpoint that a later record counts and that is not there was damaged.
//! - Meta has a CRC of its own: it is read alone, and may still tell what was lost when the payload is damaged.

mod record;
mod scan;

use std::fmt;

use federation_proto::identity::Seq;

pub(crate) use record::{Kind, RECORD_HEADER_BYTES, RecordHeader, Stamp, encode_record, hollow_part, record_bytes};
pub(crate) use scan::{Found, PATIENT_READS, Scanner, Unreadable, is_hollow, read_around_errors, write_again};

/// Bytes before the first record: two copies of the segment header.
pub const SEGMENT_HEADER_BYTES: u64 = 2 * HEADER_COPY_BYTES as u64;

const HEADER_COPY_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"TRIBSEG\0";
const VERSION: u32 = 1;
const SUFFIX: &str = ".seg";

/// Highest seq that a log gets to, and that is believed of a record or a name: no log lives to see it, and what is added to one never
/// overflows.
pub(crate) const MAX_SEQ: Seq = Seq(1 << 62);
/// Highest segment number that is believed of a name: a stray file does not use the numbers up.
pub(crate) const MAX_SEGMENT: SegmentNo = SegmentNo(1 << 31);

/// Number of a segment within its log. Only grows; a number is never used for two files that hold anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNo(pub u32);

impl fmt::Display for SegmentNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: [u8; 16],
    pub(crate) number: SegmentNo,
    pub(crate) base: Seq,
}

/// Why a header does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Neither copy is whole.
    Unreadable,
    /// Whole, but of a version that this program does not know.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = [0; HEADER_COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC);
        copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
        copy[16..32].copy_from_slice(&self.log_id);
        copy[32..36].copy_from_slice(&self.number.0.to_le_bytes());
        copy[40..48].copy_from_slice(&self.base.0.to_le_bytes());
        let crc = crc32c::crc32c(&copy[..60]);
        copy[60..].copy_from_slice(&crc.to_le_bytes());
        [copy, copy].concat()
    }

    /// From the first bytes of a file, however few.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let mut fault = HeaderFault::Unreadable;
        for copy in bytes.chunks_exact(HEADER_COPY_BYTES).take(2) {
            let (Some(magic), Some(version), Some(crc)) = (bytes_at::<8>(copy, 0), u32_at(copy, 8), u32_at(copy, 60)) else { continue };
            if magic != MAGIC || crc != crc32c::crc32c(&copy[..60]) {
                continue;
            }
            if version != VERSION {
                fault = HeaderFault::Version(version);
                continue;
            }
            if let (Some(log_id), Some(number), Some(base)) = (bytes_at::<16>(copy, 16), u32_at(copy, 32), u64_at(copy, 40)) {
                return Ok(Self { log_id, number: SegmentNo(number), base: Seq(base) });
            }
        }
        Err(fault)
    }

    pub(crate) fn file_name(&self) -> String {
        format!("{:010}-{:020}{SUFFIX}", self.number.0, self.base.0)
    }

    pub(crate) fn key(&self) -> SegmentKey {
        SegmentKey::new(&self.log_id, self.number)
    }
}

/// Number and base seq in a segment's name; `None` if no segment of ours is called so.
pub(crate) fn parse_file_name(name: &str) -> Option<(SegmentNo, Seq)> {
    let (number, base) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let digits = |text: &str, width: usize| text.len() == width && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(number, 10) || !digits(base, 20) {
        return None;
    }
    let (number, base) = (SegmentNo(number.parse().ok()?), Seq(base.parse().ok()?));
    (number <= MAX_SEGMENT && base <= MAX_SEQ).then_some((number, base))
}

/// What the CRCs of one segment's records are seeded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentKey(u32);

/// The three checked parts of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Header = 1,
    Meta = 2,
    Payload = 3,
}

impl SegmentKey {
    pub(crate) fn new(log_id: &[u8; 16], number: SegmentNo) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(log_id), &number.0.to_le_bytes()))
    }

    /// The CRC to append a part of the record at `offset` to.
    pub(crate) fn seed(self, offset: u64, part: Part) -> u32 {
        let mut place = [part as u8; 9];
        place[..8].copy_from_slice(&offset.to_le_bytes());
        crc32c::crc32c_append(self.0, &place)
    }
}

pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
