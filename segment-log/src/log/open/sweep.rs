//! Reads segments and notes every record that passes its checks, and every gap between them with the seqs that may have been in it.
//!
//! Memory: 24 bytes per record in a B-tree and 8 in a list, and at most 4,096 gaps; further ones are only counted.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::super::indexing::Frontier;
use super::super::{DamageKind, Location, Position};
use super::survey::{Survey, Surveyed};
use super::{Checkpoint, open_error};
use crate::error::OpenError;
use crate::segment::{
    Found, Kind, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, Scanner, SegmentKey, SegmentNo, Unreadable, is_hollow,
    read_around_errors, u64_at,
};
use crate::store::{Store, StoreFile};

const MAX_GAPS: usize = 4096;
/// Checkpoints remembered, should the newest not be readable a second time.
const MAX_CHECKPOINTS: usize = 8;

/// A stretch without a whole record.
pub(super) struct Gap {
    pub(super) segment: SegmentNo,
    pub(super) found: Unreadable,
    /// Data records that were or may have been in it.
    pub(super) seqs: Range<u64>,
    /// Set by the verdict.
    pub(super) kind: DamageKind,
}

impl Gap {
    /// Is it that record's loss?
    pub(super) fn is_of(&self, seq: u64) -> bool {
        self.kind == DamageKind::Records && self.seqs == (seq..seq + 1)
    }
}

/// How a segment ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) segment: SegmentNo,
    /// The seq that its next record would have had.
    pub(super) next: u64,
    /// Its last byte is a record's last.
    pub(super) clean: bool,
}

/// What the segments say.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) records: BTreeMap<u64, Location>,
    /// Those without their payload.
    pub(super) hollow: Vec<u64>,
    /// Those that the index knew.
    pub(super) indexed: Vec<u64>,
    /// Those that it did not.
    pub(super) swept_records: Vec<u64>,
    pub(super) checkpoints: Vec<(Location, u32)>,
    pub(super) voids: Vec<Range<u64>>,
    pub(super) gaps: Vec<Gap>,
    pub(super) gaps_total: u64,
    /// No seq from here on was ever used.
    pub(super) next: u64,
    /// Every seq below is known to have been synced.
    pub(super) synced: u64,
    /// So many checkpoints are known to have been synced.
    pub(super) checkpoints_synced: u32,
    /// Segments read, in order.
    pub(super) swept: Vec<SegmentNo>,
    /// Where the reading began: what stands before is durable.
    pub(super) begun: Position,
    pub(super) last: Option<Ending>,
    /// Segments with a damaged header in which no record was found.
    pub(super) husks: Vec<SegmentNo>,
    pub(super) refused_bytes: u64,
}

impl Findings {
    /// Reads all segments from where the index ends on.
    pub(super) fn sweep(&mut self, store: &dyn Store, survey: &Survey, id: &[u8; 16], from: Option<&Frontier>) -> Result<(), OpenError> {
        let position = from.map_or(Position::default(), |frontier| frontier.position);
        self.begun = position;
        for (&number, segment) in survey.segments.range(position.segment..) {
            let covered = from.filter(|_| number == position.segment);
            let (start, expected) = match covered {
                Some(frontier) => (position.offset, frontier.next),
                None if segment.whole => (SEGMENT_HEADER_BYTES, segment.base),
                // A creation that failed: the segment before may have gone on.
                None => (SEGMENT_HEADER_BYTES, segment.base.max(self.next)),
            };
            let file = store.open(&segment.name).map_err(|error| open_error(store, format!("open {}", segment.name), error))?;
            let mut pass = Pass {
                number,
                key: SegmentKey::new(id, number),
                expected,
                open: None,
                clean: covered.is_none_or(|frontier| frontier.open),
                records: 0,
            };
            let refused = pass.run(&*file, start, segment.bytes, self);
            if refused > 0 && refused >= segment.bytes.saturating_sub(start) {
                return Err(open_error(store, format!("read {}", segment.name), io::Error::other("every read failed")));
            }
            self.refused_bytes += refused;
            self.conclude(pass, segment, survey.next_base(number));
        }
        Ok(())
    }

    /// Seqs go on where the next segment begins; behind the last one there can have been as many records as have room in what cannot be
    /// read.
    fn conclude(&mut self, mut pass: Pass, segment: &Surveyed, next_base: Option<u64>) {
        let unreadable = pass.open.as_ref().map_or(0, |gap| gap.bytes);
        let end = next_base.unwrap_or(pass.expected + unreadable / RECORD_HEADER_BYTES as u64).max(pass.expected);
        if pass.open.is_none() && pass.expected < end {
            // The end of the file is gone, with whole records in it, or a segment between the two: a gap of no bytes.
            pass.open = Some(Unreadable { offset: segment.bytes, bytes: 0, header: None, meta: None });
        }
        pass.close(end, self);
        self.next = self.next.max(end);
        self.swept.push(pass.number);
        if !segment.whole && pass.records == 0 {
            self.husks.push(pass.number);
        }
        self.last = Some(Ending { segment: pass.number, next: end, clean: pass.clean && segment.whole });
    }

    /// What stands before is durable: something intact calls it synced. Of what stands behind nobody knows. Before [`Findings::judge`], which
    /// forgets records.
    pub(super) fn proven(&self) -> Position {
        let last = self.records.range(..self.synced).next_back();
        let end = last.map(|(_, location)| Position { segment: location.segment, offset: location.end() });
        end.unwrap_or_default().max(self.begun)
    }

    /// The newest checkpoint that can be read.
    pub(super) fn newest_checkpoint(&self, store: &dyn Store, survey: &Survey, id: &[u8; 16]) -> Option<Checkpoint> {
        self.checkpoints.iter().rev().find_map(|&(location, _)| survey.read_checkpoint(store, id, location))
    }

    fn note_gap(&mut self, segment: SegmentNo, found: Unreadable, seqs: Range<u64>) {
        self.gaps_total += 1;
        if self.gaps.len() < MAX_GAPS {
            self.gaps.push(Gap { segment, found, seqs, kind: DamageKind::Torn });
        }
    }
}

/// The reading of one segment.
struct Pass {
    number: SegmentNo,
    key: SegmentKey,
    /// The seq of the next data record.
    expected: u64,
    /// A gap that waits for the next known seq.
    open: Option<Unreadable>,
    clean: bool,
    records: u64,
}

impl Pass {
    fn run(&mut self, file: &dyn StoreFile, start: u64, size: u64, findings: &mut Findings) -> u64 {
        let mut scanner = Scanner::new(file, self.key, start, size);
        while let Some(found) = scanner.next() {
            match found {
                Found::Record { offset, header } => {
                    self.records += 1;
                    self.clean = true;
                    self.note_header(&header, findings);
                    self.note_record(file, offset, &header, findings);
                }
                Found::Unreadable(gap) => {
                    if is_hollow(file, &gap)
                        && let Some(header) = gap.header
                    {
                        self.records += 1;
                        self.clean = true;
                        self.note_header(&header, findings);
                        findings.hollow.push(header.stamp.seq.0);
                        self.note_record(file, gap.offset, &header, findings);
                        continue;
                    }
                    self.clean = false;
                    match gap.header {
                        Some(header) => {
                            self.note_header(&header, findings);
                            findings.note_gap(self.number, gap, header.stamp.seq.0..self.expected);
                        }
                        None => self.open = Some(gap),
                    }
                }
            }
        }
        scanner.refused_bytes
    }

    /// A whole header tells which seq is here, and so what was in the gap before it.
    fn note_header(&mut self, header: &RecordHeader, findings: &mut Findings) {
        let stamp = header.stamp;
        self.close(stamp.seq.0, findings);
        self.expected = stamp.seq.0 + u64::from(header.kind == Kind::Data);
        // A checkpoint says what was synced if it is whole. Its own number, and the one in a void, may be of a checkpoint that never was.
        if header.kind != Kind::Checkpoint {
            findings.synced = findings.synced.max(stamp.synced.0);
        }
        if header.kind == Kind::Data {
            findings.checkpoints_synced = findings.checkpoints_synced.max(stamp.checkpoints);
        }
    }

    fn close(&mut self, next: u64, findings: &mut Findings) {
        if let Some(gap) = self.open.take() {
            findings.note_gap(self.number, gap, self.expected..next.max(self.expected));
        }
    }

    fn note_record(&mut self, file: &dyn StoreFile, offset: u64, header: &RecordHeader, findings: &mut Findings) {
        let Ok(offset) = u32::try_from(offset) else { return };
        let location = Location { segment: self.number, offset, meta_len: header.meta_len, payload_len: header.payload_len };
        match header.kind {
            Kind::Data => {
                if findings.records.insert(header.stamp.seq.0, location).is_none() {
                    findings.swept_records.push(header.stamp.seq.0);
                }
            }
            Kind::Checkpoint => {
                findings.synced = findings.synced.max(header.stamp.seq.0);
                findings.checkpoints.push((location, header.stamp.checkpoints));
                if findings.checkpoints.len() > MAX_CHECKPOINTS {
                    findings.checkpoints.remove(0);
                }
            }
            Kind::Void => {
                findings.checkpoints.retain(|&(_, number)| number <= header.stamp.checkpoints);
                findings.voids.extend(read_voids(file, location));
            }
        }
    }
}

/// The stretches in a void record that was found whole.
fn read_voids(file: &dyn StoreFile, location: Location) -> Vec<Range<u64>> {
    let mut meta = vec![0; location.meta_len as usize];
    read_around_errors(file, &mut meta, u64::from(location.offset) + RECORD_HEADER_BYTES as u64);
    meta.chunks_exact(16).filter_map(|pair| Some(u64_at(pair, 0)?..u64_at(pair, 8)?)).collect()
}
