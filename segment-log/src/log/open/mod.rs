//! What a directory says, after whatever happened to it.
//!
//! 1. **Survey**: which files are segments of this log (by their headers), which are not ours.
//! 2. **Index**: if it is whole, of this log, and not newer than the segments, the sweep begins where it ends; else at the beginning, and
//!    the index is made anew.
//! 3. **Sweep**: every record that passes its checks counts, also behind a hole: it was written by us, and whether it had been synced no
//!    longer matters, since nothing is reported before everything found is synced (step 5). What passes no check is a gap.
//! 4. **Verdict**: a gap is damage if a record, checkpoint or index says that what was there had been synced; else a power cut may have
//!    left it. Both are copied aside. Seqs that may have been in the gap are never used again.
//! 5. **Settle**: write again what nothing proves to be durable, fsync what was swept, go on in the last segment if it ends cleanly, else in
//!    a new one, and bring the index up to date.
//!
//! Nothing here deletes a record: segments go with the next checkpoint. No damage keeps the log from opening; a disk that cannot be read or
//! written at all does, and so does a segment of a newer format.

mod inspect;
mod settle;
mod survey;
mod sweep;
mod verdict;

use std::io;
use std::sync::Arc;

use federation_proto::intervals::Intervals;

pub use self::inspect::{Inspected, Inspection};
use self::survey::Survey;
use self::sweep::Findings;
use super::indexing::IndexKeeper;
use super::quarantine::Quarantine;
use super::{Location, Log, Options, Recovery};
use crate::error::OpenError;
use crate::index::Index;
use crate::mutation::{self, Mutation};
use crate::segment::{Kind, RECORD_HEADER_BYTES, RecordHeader, SegmentKey, read_around_errors};
use crate::store::Store;

/// The first record's seq. Zero is kept for "none".
const FIRST_SEQ: u64 = 1;

/// The newest trustworthy checkpoint.
struct Checkpoint {
    location: Location,
    /// Includes all seqs below.
    seq: u64,
    /// The how-manieth it is.
    number: u32,
    acked: Intervals,
    state: Vec<u8>,
}

impl Log {
    /// Opens the log in a store, or creates it in an empty one, and says what was found.
    ///
    /// # Errors
    /// [`OpenError::Options`]; [`OpenError::Locked`] if another log has the store; [`OpenError::Io`] if files cannot be read or synced at
    /// all; [`OpenError::NewerFormat`]. Damage is no error: see [`Recovery::damaged`].
    pub fn open(store: Arc<dyn Store>, index: Box<dyn Index>, options: Options) -> Result<(Self, Recovery), OpenError> {
        options.check().map_err(OpenError::Options)?;
        let lock = store.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked { place: store.place() },
            _ => open_error(&*store, "take the lock file", error),
        })?;
        let listing = store.list().map_err(|error| open_error(&*store, "list the directory", error))?;
        let survey = Survey::of(&*store, &listing)?;
        let quarantine = Quarantine::new(&listing, options.quarantine_bytes);
        let Some(id) = survey.log_id else {
            return settle::create(store, lock, index, options, survey, quarantine);
        };
        let mut index = IndexKeeper::new(index);
        let (findings, checkpoint, index_rebuilt) = find(&*store, &survey, &mut index, &id)?;
        settle::Opening { id, store, lock, options, survey, quarantine, index, findings, checkpoint, index_rebuilt }.settle()
    }
}

fn open_error(store: &dyn Store, doing: impl Into<String>, error: io::Error) -> OpenError {
    OpenError::Io { place: store.place(), doing: doing.into(), source: Arc::new(error) }
}

/// Sweeps from where the index ends, or everything if the index will not do; then says why.
fn find(
    store: &dyn Store,
    survey: &Survey,
    index: &mut IndexKeeper,
    id: &[u8; 16],
) -> Result<(Findings, Option<Checkpoint>, Option<String>), OpenError> {
    let reason = match find_by_index(store, survey, index, id)? {
        Ok((findings, checkpoint)) => return Ok((findings, checkpoint, None)),
        Err(reason) => reason,
    };
    tracing::info!(place = store.place(), reason, "index is made anew from the segments");
    let mut findings = Findings::default();
    findings.sweep(store, survey, id, None)?;
    let checkpoint = findings.newest_checkpoint(store, survey, id);
    Ok((findings, checkpoint, Some(reason)))
}

type Found = (Findings, Option<Checkpoint>);

/// What index and the rest of the segments say; the inner error is why the index will not do.
fn find_by_index(store: &dyn Store, survey: &Survey, index: &mut IndexKeeper, id: &[u8; 16]) -> Result<Result<Found, String>, OpenError> {
    let loaded = match index.load(id) {
        Ok(loaded) => loaded,
        Err(reason) => return Ok(Err(reason)),
    };
    let marker = loaded.marker;
    if let Err(reason) = survey.agrees_with(&marker, &loaded.records) {
        return Ok(Err(reason));
    }
    if let Some((&seq, location)) = loaded.records.last_key_value()
        && survey.segments.contains_key(&location.segment)
        && survey.read_header(store, id, *location).is_none_or(|header| header.stamp.seq.0 != seq)
    {
        return Ok(Err(format!("record {seq} is not where it says")));
    }
    let indexed = loaded.records.keys().copied().collect();
    let mut findings =
        Findings { records: loaded.records, indexed, next: marker.frontier.next, synced: marker.frontier.synced, ..Findings::default() };
    findings.sweep(store, survey, id, Some(&marker.frontier))?;
    let mut checkpoint = findings.newest_checkpoint(store, survey, id);
    if checkpoint.is_none()
        && let Some(location) = marker.checkpoint
    {
        checkpoint = survey.read_checkpoint(store, id, location);
        if checkpoint.is_none() {
            return Ok(Err("the checkpoint that it names cannot be read".to_owned()));
        }
    }
    Ok(Ok((findings, checkpoint)))
}

impl Survey {
    /// The header of the record at a location, checked.
    fn read_header(&self, store: &dyn Store, id: &[u8; 16], location: Location) -> Option<RecordHeader> {
        let bytes = self.read(store, location, RECORD_HEADER_BYTES as u64)?;
        RecordHeader::decode(&bytes, SegmentKey::new(id, location.segment), location.offset.into())
    }

    /// The checkpoint at a location, if it is whole, and was written when everything before it was synced.
    fn read_checkpoint(&self, store: &dyn Store, id: &[u8; 16], location: Location) -> Option<Checkpoint> {
        let header = self.read_header(store, id, location)?;
        let is_ahead = header.stamp.synced != header.stamp.seq && !mutation::is(Mutation::CheckpointNewerThanItsData);
        if header.kind != Kind::Checkpoint || is_ahead {
            return None;
        }
        let bytes = self.read(store, location, RECORD_HEADER_BYTES as u64 + location.bytes())?;
        let (meta, state) = bytes.get(RECORD_HEADER_BYTES..)?.split_at_checked(header.meta_len as usize)?;
        if !header.is_whole(SegmentKey::new(id, location.segment), location.offset.into(), meta, state) {
            return None;
        }
        let (acked, _) = Intervals::decode(meta).ok()?;
        Some(Checkpoint { location, seq: header.stamp.seq.0, number: header.stamp.checkpoints, acked, state: state.to_vec() })
    }

    /// Up to `bytes` of what stands at a location; `None` if the segment does not have them.
    fn read(&self, store: &dyn Store, location: Location, bytes: u64) -> Option<Vec<u8>> {
        let segment = self.segments.get(&location.segment)?;
        if u64::from(location.offset) + bytes > segment.bytes {
            return None;
        }
        let file = store.open(&segment.name).ok()?;
        let mut buffer = vec![0; bytes as usize];
        read_around_errors(&*file, &mut buffer, location.offset.into());
        Some(buffer)
    }
}
