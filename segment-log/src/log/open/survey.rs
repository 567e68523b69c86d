//! Which files are what. A segment is ours if its header has our log id and agrees with its name; a segment whose header is damaged is
//! judged by its name and, in the sweep, by whether records in it pass checks that only ours can pass.

use std::collections::BTreeMap;

use super::super::indexing::Marker;
use super::super::quarantine::PREFIX;
use super::super::{Location, Position};
use super::open_error;
use crate::error::OpenError;
use crate::segment::{HeaderFault, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentNo, parse_file_name, read_around_errors};
use crate::store::{Store, StoreEntry};

/// A segment before its records are read.
pub(super) struct Surveyed {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// What of it takes room on the disk.
    pub(super) disk_bytes: u64,
    pub(super) base: u64,
    /// Its header is whole (both copies are there, and one can be read).
    pub(super) whole: bool,
}

/// What lies in the directory.
pub(super) struct Survey {
    /// Whose segments they are; `None`: no header says.
    pub(super) log_id: Option<[u8; 16]>,
    /// Ours, or ours by name.
    pub(super) segments: BTreeMap<SegmentNo, Surveyed>,
    pub(super) aliens: Vec<String>,
    /// The highest number in any name, so that none is used twice.
    pub(super) last_segment: SegmentNo,
}

impl Survey {
    pub(super) fn of(store: &dyn Store, listing: &[StoreEntry]) -> Result<Self, OpenError> {
        let mut survey = Self { log_id: None, segments: BTreeMap::new(), aliens: Vec::new(), last_segment: SegmentNo(0) };
        let mut headers = BTreeMap::new();
        for entry in listing {
            let ours = parse_file_name(entry.name.strip_prefix(PREFIX).unwrap_or(&entry.name));
            if let Some((number, _)) = ours {
                survey.last_segment = survey.last_segment.max(number);
            }
            if entry.name.starts_with(PREFIX) {
                continue;
            }
            let Some((number, base)) = ours else {
                survey.aliens.push(entry.name.clone());
                continue;
            };
            let header = read_segment_header(store, entry)?;
            // Of two files with one number it is the one whose header says so: a stray name does not hide a segment.
            let taken = survey.segments.get(&number).is_some_and(|other: &Surveyed| other.whole || header.is_none());
            if taken || header.is_some_and(|header| (header.number, header.base) != (number, base)) {
                survey.aliens.push(entry.name.clone());
                continue;
            }
            if let Some(header) = header {
                headers.insert(number, header.log_id);
            }
            let surveyed = Surveyed {
                name: entry.name.clone(),
                bytes: entry.bytes,
                disk_bytes: entry.disk_bytes,
                base: base.0,
                whole: header.is_some() && entry.bytes >= SEGMENT_HEADER_BYTES,
            };
            survey.aliens.extend(survey.segments.insert(number, surveyed).map(|other| other.name));
        }
        survey.elect(&headers);
        Ok(survey)
    }

    /// The log is whose most segments are, the oldest one deciding a draw; others are aliens.
    fn elect(&mut self, headers: &BTreeMap<SegmentNo, [u8; 16]>) {
        let mut votes: Vec<([u8; 16], usize)> = Vec::new();
        for id in headers.values() {
            match votes.iter_mut().find(|(voted, _)| voted == id) {
                Some((_, count)) => *count += 1,
                None => votes.push((*id, 1)),
            }
        }
        let most = votes.iter().map(|&(_, count)| count).max();
        self.log_id = votes.iter().find(|&&(_, count)| Some(count) == most).map(|&(id, _)| id);
        let foreign = headers.iter().filter(|(_, id)| Some(**id) != self.log_id).map(|(&number, _)| number);
        for number in foreign.collect::<Vec<_>>() {
            self.aliens.extend(self.segments.remove(&number).map(|segment| segment.name));
        }
    }

    /// Can the index be a copy of these segments, be it an old one? Else why not.
    pub(super) fn agrees_with(&self, marker: &Marker, records: &BTreeMap<u64, Location>) -> Result<(), String> {
        if let Some(segment) = self.segments.values().find(|segment| !segment.whole) {
            return Err(format!("{} has a damaged header", segment.name));
        }
        let Position { segment, offset } = marker.frontier.position;
        let known = match self.segments.get(&segment) {
            Some(covered) => offset <= covered.bytes,
            None => self.segments.range(segment..).next().is_some(),
        };
        if !known {
            return Err(format!("it is newer than the segments: it knows segment {segment} up to byte {offset}"));
        }
        let beyond = |location: &&Location| self.segments.get(&location.segment).is_some_and(|segment| location.end() > segment.bytes);
        match records.values().find(beyond) {
            Some(location) => Err(format!("segment {} is shorter than it says", location.segment)),
            None => Ok(()),
        }
    }

    /// Where the seqs of the segments after this one begin: those in this one end there. The lowest of all, should one have a wrong name.
    pub(super) fn next_base(&self, number: SegmentNo) -> Option<u64> {
        self.segments.range(number..).filter(|(other, _)| **other > number).map(|(_, segment)| segment.base).min()
    }
}

/// `None`: neither copy can be read.
fn read_segment_header(store: &dyn Store, entry: &StoreEntry) -> Result<Option<SegmentHeader>, OpenError> {
    let file = store.open(&entry.name).map_err(|error| open_error(store, format!("open {}", entry.name), error))?;
    let mut bytes = vec![0; entry.bytes.min(SEGMENT_HEADER_BYTES) as usize];
    read_around_errors(&*file, &mut bytes, 0);
    match SegmentHeader::decode(&bytes) {
        Ok(header) => Ok(Some(header)),
        Err(HeaderFault::Unreadable) => Ok(None),
        Err(HeaderFault::Version(version)) => Err(OpenError::NewerFormat { place: store.place(), name: entry.name.clone(), version }),
    }
}
