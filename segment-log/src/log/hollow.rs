//! Records that their owner discards, and the disk that they give back.
//!
//! A segment goes when everything in it is acknowledged; an owner that drops some records by a rule of its own (the oldest of the lowest
//! class, one tenant's) would wait long for that, since what it keeps lies between them. So the payload of a record that was *discarded*
//! goes back to the disk by itself, where the file system can take back a part of a file: after the checkpoint that says that the record
//! is done with is durable, and never before. The record becomes hollow: a scan still knows it by its header and meta.
//!
//! **Arithmetic.** A record with a payload of P bytes gives back the whole blocks of 4,096 bytes in it: more than P - 8,192 bytes, and
//! nothing below that. The rest goes with its segment. Memory: 16 bytes for each one discarded since the last checkpoint.
//!
//! A crash between that checkpoint and the holes leaves them unmade: the disk comes back with the segment.

use std::io;

use federation_proto::identity::Seq;

use super::{Location, Log};
use crate::segment::{SegmentNo, hollow_part};

/// What a pending record takes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Where it lies.
    pub segment: SegmentNo,
    /// Bytes that come back if it alone is discarded, after the next checkpoint. 0 if it is small, or the file system takes only whole
    /// files back.
    pub alone_bytes: u64,
}

/// What a segment takes on the disk, and by how many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentUse {
    /// Its number.
    pub segment: SegmentNo,
    /// Bytes that come back when all its records are acknowledged or discarded, after the next checkpoint.
    pub bytes: u64,
    /// Records in it that are pending or not yet synced.
    pub live: u64,
}

impl Location {
    /// Bytes that it gives back by itself.
    fn hollow_bytes(&self) -> u64 {
        let part = hollow_part(self.offset.into(), self.meta_len, self.payload_len);
        part.end - part.start
    }
}

impl Log {
    /// Acknowledges a record whose payload nobody will read again; true if it was pending. As [`Log::ack`]; with the next checkpoint its
    /// bytes also go back to the disk, where that is possible.
    pub fn discard(&mut self, seq: Seq) -> bool {
        let location = self.pending.get(&seq.0).copied();
        let discarded = self.ack(seq);
        self.discarded.extend(location.filter(|location| discarded && self.can_punch && location.hollow_bytes() > 0));
        discarded
    }

    /// What a pending record takes on the disk.
    #[must_use]
    pub fn footprint(&self, seq: Seq) -> Option<Footprint> {
        let location = self.pending.get(&seq.0)?;
        Some(Footprint { segment: location.segment, alone_bytes: if self.can_punch { location.hollow_bytes() } else { 0 } })
    }

    /// The segments that can go, the oldest first: all but the one that is written to.
    pub fn closed_segments(&self) -> impl Iterator<Item = SegmentUse> + '_ {
        let active = self.active.as_ref().map(|active| active.number);
        self.segments.iter().filter(move |(number, _)| Some(**number) != active).map(|(&segment, about)| SegmentUse {
            segment,
            bytes: about.bytes.saturating_sub(about.hollow_bytes),
            live: about.live,
        })
    }

    /// The first `records` discarded ones are done with for good.
    pub(super) fn hollow_out(&mut self, records: usize) {
        let records = records.min(self.discarded.len());
        for location in self.discarded.drain(..records).collect::<Vec<_>>() {
            if !self.can_punch || !self.segments.contains_key(&location.segment) {
                continue;
            }
            let part = hollow_part(location.offset.into(), location.meta_len, location.payload_len);
            let bytes = part.end - part.start;
            match self.file_of(location).and_then(|file| file.punch(part.start, bytes)) {
                Ok(()) => {
                    self.bytes_on_disk = self.bytes_on_disk.saturating_sub(bytes);
                    self.stats.hollowed_bytes_total += bytes;
                    if let Some(segment) = self.segments.get_mut(&location.segment) {
                        segment.hollow_bytes += bytes;
                    }
                }
                Err(error) => self.note_unpunched(&error),
            }
        }
    }

    fn note_unpunched(&mut self, error: &io::Error) {
        self.can_punch = error.kind() != io::ErrorKind::Unsupported;
        tracing::warn!(place = self.store.place(), %error, "a dropped record's bytes stay on the disk until its whole segment goes");
    }
}
