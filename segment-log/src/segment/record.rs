//! One record: header, meta, payload, padding. The layout is in the parent's table.

use std::ops::Range;

use federation_proto::identity::Seq;

use super::{MAX_SEQ, Part, SegmentKey, u32_at, u64_at};

/// Bytes of a record's header, and so of the smallest record.
pub(crate) const RECORD_HEADER_BYTES: usize = 48;

pub(super) const MAGIC: [u8; 4] = *b"TRec";
pub(super) const ALIGN: u64 = 8;

/// What a disk gives back at least.
const BLOCK_BYTES: u64 = 4096;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data = 1,
    Checkpoint = 2,
    Void = 3,
}

/// What every record says about the log at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) seq: Seq,
    pub(crate) synced: Seq,
    pub(crate) checkpoints: u32,
}

/// A record's header that passed its checks at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    pub(crate) stamp: Stamp,
    pub(crate) meta_len: u32,
    pub(crate) payload_len: u32,
    meta_crc: u32,
    payload_crc: u32,
}

impl RecordHeader {
    /// Reads the header of the record at `offset`; `None` if there is none.
    pub(crate) fn decode(bytes: &[u8], key: SegmentKey, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let crc = crc32c::crc32c_append(key.seed(offset, Part::Header), &bytes[..44]);
        if bytes[..4] != MAGIC || u32_at(bytes, 44)? != crc {
            return None;
        }
        let kind = match bytes[4] {
            1 => Kind::Data,
            2 => Kind::Checkpoint,
            3 => Kind::Void,
            _ => return None,
        };
        let stamp = Stamp { seq: Seq(u64_at(bytes, 8)?), synced: Seq(u64_at(bytes, 16)?), checkpoints: u32_at(bytes, 40)? };
        if stamp.seq > MAX_SEQ || stamp.synced > MAX_SEQ {
            return None;
        }
        Some(Self {
            kind,
            stamp,
            meta_len: u32_at(bytes, 24)?,
            payload_len: u32_at(bytes, 28)?,
            meta_crc: u32_at(bytes, 32)?,
            payload_crc: u32_at(bytes, 36)?,
        })
    }

    /// Bytes from the header's first to the padding's last.
    pub(crate) fn total_bytes(&self) -> u64 {
        record_bytes(self.meta_len.into(), self.payload_len.into())
    }

    /// Are these the meta and payload of the record at `offset`?
    pub(crate) fn is_whole(&self, key: SegmentKey, offset: u64, meta: &[u8], payload: &[u8]) -> bool {
        self.meta_is(crc32c::crc32c_append(key.seed(offset, Part::Meta), meta))
            && self.payload_is(crc32c::crc32c_append(key.seed(offset, Part::Payload), payload))
    }

    pub(crate) fn meta_is(&self, crc: u32) -> bool {
        self.meta_crc == crc
    }

    pub(crate) fn payload_is(&self, crc: u32) -> bool {
        self.payload_crc == crc
    }
}

/// Bytes that a record takes on disk.
pub(crate) fn record_bytes(meta: u64, payload: u64) -> u64 {
    (RECORD_HEADER_BYTES as u64 + meta + payload).next_multiple_of(ALIGN)
}

/// The part of a record at `offset` that is given back to the disk when the record is discarded: the whole blocks of its payload. Header
/// and meta stay, so that a scan knows what stood there. Empty for a small record.
pub(crate) fn hollow_part(offset: u64, meta: u32, payload: u32) -> Range<u64> {
    let start = offset + RECORD_HEADER_BYTES as u64 + u64::from(meta);
    let end = (start + u64::from(payload)) / BLOCK_BYTES * BLOCK_BYTES;
    let start = start.next_multiple_of(BLOCK_BYTES);
    start..end.max(start)
}

/// Appends the record that shall stand at `offset` to `out`. The caller has checked that both lengths fit.
pub(crate) fn encode_record(out: &mut Vec<u8>, key: SegmentKey, offset: u64, kind: Kind, stamp: Stamp, meta: &[u8], payload: &[u8]) {
    let start = out.len();
    let len = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    out.extend_from_slice(&stamp.seq.0.to_le_bytes());
    out.extend_from_slice(&stamp.synced.0.to_le_bytes());
    out.extend_from_slice(&len(meta));
    out.extend_from_slice(&len(payload));
    out.extend_from_slice(&crc32c::crc32c_append(key.seed(offset, Part::Meta), meta).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c_append(key.seed(offset, Part::Payload), payload).to_le_bytes());
    out.extend_from_slice(&stamp.checkpoints.to_le_bytes());
    let crc = crc32c::crc32c_append(key.seed(offset, Part::Header), &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(meta);
    out.extend_from_slice(payload);
    let padded = start + record_bytes(meta.len() as u64, payload.len() as u64) as usize;
    out.resize(padded, 0);
}
