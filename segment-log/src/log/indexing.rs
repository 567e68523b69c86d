//! Keeps the index a copy of what is synced and not buried by a checkpoint, and knows a good copy from another.
//!
//! **Entry**, 24 bytes: segment, offset, meta length, payload length, zero (`u32` each), CRC32C of log id, seq and those. **Marker**:
//! version, log id, next seq, synced seq, position (segment, offset) up to which the index knows all, whether that segment is open,
//! location of the newest checkpoint (zeros: none), number of entries, a digest of their seqs, CRC32C. Number and digest show a lost or
//! alien entry, the CRCs a damaged one.

use std::collections::BTreeMap;

use federation_proto::identity::Seq;

use super::{Location, Position};
use crate::index::{Index, IndexError, IndexUpdate, IndexValue};
use crate::segment::{SegmentNo, bytes_at, u32_at, u64_at};

const VERSION: u32 = 1;
const MARKER_BYTES: usize = 88;
/// Entries written in one step when the index is made anew: few, since an index may keep in memory what a step replaces until it is over.
const CHUNK: usize = 256;

/// How far the index goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frontier {
    pub(super) log_id: [u8; 16],
    /// All records before are in the index, or were acknowledged or given up.
    pub(super) position: Position,
    /// The seq of the first record behind it.
    pub(super) next: u64,
    /// Every seq below is durable, or given up in a durable void.
    pub(super) synced: u64,
    /// The segment at the position takes more records.
    pub(super) open: bool,
}

/// What the index says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) frontier: Frontier,
    pub(super) checkpoint: Option<Location>,
    pub(super) entries: u64,
    pub(super) digest: u64,
}

impl Marker {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MARKER_BYTES);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.frontier.log_id);
        out.extend_from_slice(&self.frontier.next.to_le_bytes());
        out.extend_from_slice(&self.frontier.synced.to_le_bytes());
        out.extend_from_slice(&self.frontier.position.segment.0.to_le_bytes());
        out.extend_from_slice(&self.frontier.position.offset.to_le_bytes());
        out.extend_from_slice(&u32::from(self.frontier.open).to_le_bytes());
        out.extend_from_slice(&self.checkpoint.as_ref().map_or([0; 16], encode_location));
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.extend_from_slice(&self.digest.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != MARKER_BYTES || u32_at(bytes, 0)? != VERSION || u32_at(bytes, 84)? != crc32c::crc32c(&bytes[..84]) {
            return None;
        }
        let checkpoint = decode_location(&bytes[52..68])?;
        Some(Self {
            frontier: Frontier {
                log_id: bytes_at(bytes, 4)?,
                next: u64_at(bytes, 20)?,
                synced: u64_at(bytes, 28)?,
                position: Position { segment: SegmentNo(u32_at(bytes, 36)?), offset: u64_at(bytes, 40)? },
                open: u32_at(bytes, 48)? == 1,
            },
            checkpoint: (checkpoint.offset > 0).then_some(checkpoint),
            entries: u64_at(bytes, 68)?,
            digest: u64_at(bytes, 76)?,
        })
    }
}

fn encode_location(location: &Location) -> [u8; 16] {
    let mut out = [0; 16];
    out[..4].copy_from_slice(&location.segment.0.to_le_bytes());
    out[4..8].copy_from_slice(&location.offset.to_le_bytes());
    out[8..12].copy_from_slice(&location.meta_len.to_le_bytes());
    out[12..].copy_from_slice(&location.payload_len.to_le_bytes());
    out
}

fn decode_location(bytes: &[u8]) -> Option<Location> {
    Some(Location {
        segment: SegmentNo(u32_at(bytes, 0)?),
        offset: u32_at(bytes, 4)?,
        meta_len: u32_at(bytes, 8)?,
        payload_len: u32_at(bytes, 12)?,
    })
}

fn entry_crc(log_id: &[u8; 16], seq: Seq, value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(log_id), &seq.0.to_le_bytes()), value)
}

fn encode_entry(log_id: &[u8; 16], seq: Seq, location: &Location) -> IndexValue {
    let mut value = IndexValue::default();
    value[..16].copy_from_slice(&encode_location(location));
    let crc = entry_crc(log_id, seq, &value[..20]);
    value[20..].copy_from_slice(&crc.to_le_bytes());
    value
}

/// The location in an entry; `None` if it is not one of this log for this seq.
fn decode_entry(log_id: &[u8; 16], seq: Seq, value: &IndexValue) -> Option<Location> {
    (u32_at(value, 20)? == entry_crc(log_id, seq, &value[..20])).then(|| decode_location(value))?
}

/// One seq's part of the digest: xor of all is the digest. The mix is splitmix64's.
fn mix(seq: u64) -> u64 {
    let mut z = seq.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The index and what is in it.
pub(super) struct IndexKeeper {
    index: Box<dyn Index>,
    loaded: bool,
    failure: Option<String>,
    entries: u64,
    digest: u64,
    checkpoint: Option<Location>,
    /// Acknowledged since the last checkpoint, and so still in the index: 8 bytes each.
    acked: Vec<Seq>,
    /// The first of them that the checkpoint under way does not include: it was acknowledged while that was on its way to the disk.
    later: usize,
    /// Something was acknowledged since the checkpoint under way began, and it is not known what: the index was set aside.
    missed: bool,
}

/// What a good index gave.
pub(super) struct Loaded {
    pub(super) marker: Marker,
    pub(super) records: BTreeMap<u64, Location>,
}

impl IndexKeeper {
    pub(super) fn new(index: Box<dyn Index>) -> Self {
        Self { index, loaded: false, failure: None, entries: 0, digest: 0, checkpoint: None, acked: Vec::new(), later: 0, missed: false }
    }

    /// Why the index is set aside.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Did [`IndexKeeper::load`] find a whole one?
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// What the index holds, if it is whole and of this log; else why it is not.
    pub(super) fn load(&mut self, log_id: &[u8; 16]) -> Result<Loaded, String> {
        let mut records = BTreeMap::new();
        let (mut entries, mut digest, mut bad) = (0, 0, 0_u64);
        let marker = self
            .index
            .load(&mut |seq, value| match decode_entry(log_id, seq, &value) {
                Some(location) => {
                    records.insert(seq.0, location);
                    entries += 1;
                    digest ^= mix(seq.0);
                }
                None => bad += 1,
            })
            .map_err(|error| error.to_string())?;
        let Some(marker) = marker else { return Err("there is none".to_owned()) };
        let Some(marker) = Marker::decode(&marker) else { return Err("its marker is damaged or of another version".to_owned()) };
        if marker.frontier.log_id != *log_id {
            return Err("it is another log's".to_owned());
        }
        if marker.frontier.synced < marker.frontier.next {
            return Err("seqs were given up that no segment tells of yet".to_owned());
        }
        if bad > 0 || marker.entries != entries || marker.digest != digest {
            return Err(format!("it is damaged: {bad} bad entries, {entries} good ones of {}", marker.entries));
        }
        (self.entries, self.digest, self.checkpoint) = (entries, digest, marker.checkpoint);
        self.loaded = true;
        Ok(Loaded { marker, records })
    }

    /// Brings a loaded index up to date after an open.
    pub(super) fn amend(&mut self, put: &[(Seq, Location)], remove: Vec<Seq>, checkpoint: Option<Location>, frontier: Frontier) {
        self.checkpoint = checkpoint;
        self.acked = remove;
        self.write(put, frontier);
    }

    /// Makes the index anew.
    pub(super) fn rebuild(&mut self, records: &BTreeMap<u64, Location>, checkpoint: Option<Location>, frontier: Frontier) {
        (self.entries, self.digest, self.checkpoint) = (0, 0, checkpoint);
        self.acked.clear();
        self.failure = None;
        if let Err(error) = self.refill(&frontier.log_id, records) {
            return self.set_aside(error);
        }
        self.write(&[], frontier);
    }

    /// All entries, under a marker that is none: until the real one is written the index counts as damaged.
    fn refill(&mut self, log_id: &[u8; 16], records: &BTreeMap<u64, Location>) -> Result<(), IndexError> {
        self.index.clear()?;
        let mut chunk = Vec::with_capacity(CHUNK.min(records.len()));
        for (&seq, location) in records {
            chunk.push((Seq(seq), encode_entry(log_id, Seq(seq), location)));
            self.entries += 1;
            self.digest ^= mix(seq);
            if chunk.len() == CHUNK {
                self.index.update(IndexUpdate { put: &chunk, remove: &[], marker: &[] })?;
                chunk.clear();
            }
        }
        self.index.update(IndexUpdate { put: &chunk, remove: &[], marker: &[] })
    }

    pub(super) fn note_acked(&mut self, seq: Seq) {
        if self.failure.is_none() {
            self.acked.push(seq);
        } else {
            self.missed = true;
        }
    }

    /// A checkpoint begins: it includes what is acknowledged now, and nothing that comes before it is durable.
    pub(super) fn begin_checkpoint(&mut self) {
        self.later = self.acked.len();
        self.missed = false;
    }

    /// Records that are durable now.
    pub(super) fn note_synced(&mut self, records: &[(Seq, Location)], frontier: Frontier) {
        if self.failure.is_none() && !records.is_empty() {
            let acked = std::mem::take(&mut self.acked);
            self.write(records, frontier);
            self.acked = acked;
        }
    }

    /// A checkpoint is durable: what it includes of what was acknowledged may go. An index that was set aside gets another chance, unless
    /// it would lack what was acknowledged later: after a crash that is pending again.
    pub(super) fn note_checkpoint(&mut self, checkpoint: Location, pending: &BTreeMap<u64, Location>, frontier: Frontier) {
        if self.failure.is_some() {
            if !self.missed {
                self.rebuild(pending, Some(checkpoint), frontier);
            }
            return;
        }
        self.checkpoint = Some(checkpoint);
        let later = self.acked.split_off(self.later.min(self.acked.len()));
        self.write(&[], frontier);
        if self.failure.is_none() {
            self.acked = later;
        }
    }

    /// Adds `put`, removes what was acknowledged, and writes the marker.
    fn write(&mut self, put: &[(Seq, Location)], frontier: Frontier) {
        let remove = std::mem::take(&mut self.acked);
        for (seq, _) in put {
            self.entries += 1;
            self.digest ^= mix(seq.0);
        }
        for seq in &remove {
            self.entries -= 1;
            self.digest ^= mix(seq.0);
        }
        let marker = Marker { frontier, checkpoint: self.checkpoint, entries: self.entries, digest: self.digest }.encode();
        let put: Vec<_> = put.iter().map(|(seq, location)| (*seq, encode_entry(&frontier.log_id, *seq, location))).collect();
        if let Err(error) = self.index.update(IndexUpdate { put: &put, remove: &remove, marker: &marker }) {
            self.set_aside(error);
        }
    }

    fn set_aside(&mut self, error: IndexError) {
        tracing::warn!(%error, "index set aside until the next checkpoint; the log works without it");
        self.failure = Some(error.0);
        self.acked = Vec::new();
    }
}
