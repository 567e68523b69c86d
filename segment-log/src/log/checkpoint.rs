//! Checkpoints: what is acknowledged, and what the caller knows, at one seq; and the removal of what nobody needs.
//!
//! A checkpoint is never trusted over data that was not synced before it: it can only begin when everything appended is synced. Its seq
//! says which records its state includes: all below, none at or above.
//!
//! Checkpoints are not refused for the budget, since only they free space. Near it each goes into a segment of its own, which the next one
//! lets go, so that they take the room of three at most, out of the reserve that `append` leaves.

use federation_proto::identity::Seq;

use super::append::Failure;
use super::sync::SyncTicket;
use super::{Location, Log, Position};
use crate::error::CheckpointError;
use crate::mutation::{self, Mutation};
use crate::segment::{Kind, SEGMENT_HEADER_BYTES, SegmentNo, record_bytes};

/// The most that acked set and state can have together.
const MAX_CHECKPOINT_BYTES: u64 = 1 << 30;

/// What follows when a checkpoint is synced.
pub(super) struct Burial {
    location: Location,
    /// It includes all seqs below.
    seq: u64,
    /// Segments in which everything was acknowledged, according to it.
    dead: Vec<SegmentNo>,
    /// So many of the discarded records it includes.
    discarded: usize,
}

impl Log {
    /// Syncs everything, then writes and syncs the acked set with `state`, then removes segments in which everything was acknowledged.
    ///
    /// # Errors
    /// The checkpoint before stays in force. After [`CheckpointError::Sync`] records may have been given up.
    pub fn checkpoint(&mut self, state: &[u8]) -> Result<(), CheckpointError> {
        self.sync()?;
        let ticket = self.begin_checkpoint(state)?;
        self.finish_sync(ticket.run())?;
        Ok(())
    }

    /// The first half of a checkpoint, for a driver that does not want to hold a lock while the disk works: everything appended must be
    /// synced, and [`Log::finish_sync`] is the second half.
    ///
    /// # Errors
    /// [`CheckpointError::Unsynced`]; or the record cannot be written.
    pub fn begin_checkpoint(&mut self, state: &[u8]) -> Result<SyncTicket, CheckpointError> {
        let unsynced = CheckpointError::Unsynced { synced: Seq(self.synced), appended: Seq(self.next) };
        if (self.sync_under_way || self.synced < self.next) && !mutation::is(Mutation::CheckpointNewerThanItsData) {
            return Err(unsynced);
        }
        let acked = self.encode_acked();
        let bytes = acked.len() as u64 + state.len() as u64;
        if bytes > MAX_CHECKPOINT_BYTES {
            return Err(CheckpointError::TooLarge { bytes, limit_bytes: MAX_CHECKPOINT_BYTES });
        }
        let on_disk = record_bytes(acked.len() as u64, state.len() as u64);
        let location = self.write_checkpoint(on_disk, &acked, state).map_err(|(doing, source)| CheckpointError::Io { doing, source })?;
        let dead =
            self.segments.iter().filter(|(number, segment)| segment.live == 0 && **number != location.segment).map(|(&number, _)| number);
        let burial = Burial { location, seq: self.next, dead: dead.collect(), discarded: self.discarded.len() };
        let ticket = self.begin_sync().ok_or(unsynced)?;
        self.index.begin_checkpoint();
        self.checkpoint_under_way = true;
        Ok(ticket.with_burial(burial))
    }

    fn write_checkpoint(&mut self, on_disk: u64, acked: &[u8], state: &[u8]) -> Result<Location, Failure> {
        let alone = on_disk + SEGMENT_HEADER_BYTES;
        let holds_records = self.active.as_ref().is_some_and(|active| active.end > SEGMENT_HEADER_BYTES);
        if holds_records && self.bytes_on_disk + 3 * alone > self.options.budget_bytes {
            self.open_segment()?;
        } else {
            self.make_room(on_disk)?;
        }
        self.write_record(Kind::Checkpoint, acked, state)
    }

    /// All seqs below `next` that are not pending, as `Intervals` encodes a set: floor, count, then (first, last) of each range above the
    /// floor.
    pub(super) fn encode_acked(&self) -> Vec<u8> {
        let mut pending = self.pending.keys().copied();
        let mut after = pending.next().unwrap_or(self.next);
        let mut encoded = after.to_le_bytes().to_vec();
        encoded.extend_from_slice(&[0; 4]);
        let mut ranges = 0_u32;
        for seq in pending.chain([self.next]) {
            if seq > after + 1 {
                encoded.extend_from_slice(&(after + 1).to_le_bytes());
                encoded.extend_from_slice(&(seq - 1).to_le_bytes());
                ranges += 1;
            }
            after = seq;
        }
        encoded[8..12].copy_from_slice(&ranges.to_le_bytes());
        encoded
    }

    /// The checkpoint is durable: it is in force, and what it lets go goes.
    pub(super) fn bury(&mut self, burial: Burial, position: Position) {
        self.stats.checkpoints_total += 1;
        self.checkpoint_bytes = burial.location.end() - u64::from(burial.location.offset);
        self.checkpoints = self.checkpoints.saturating_add(1);
        self.voids.bury(burial.seq);
        self.index.note_checkpoint(burial.location, &self.pending, self.frontier(position));
        // The directory is not synced for it. A power cut may bring the segments back: this checkpoint says that nothing in them is
        // wanted. Little comes back, since a new segment syncs the directory before anything in it counts.
        for number in burial.dead {
            self.remove_segment(number);
        }
        self.hollow_out(burial.discarded);
    }

    pub(super) fn remove_segment(&mut self, number: SegmentNo) {
        let Some(segment) = self.segments.get(&number) else { return };
        // First, so that the store's is the last descriptor.
        self.files.forget(number);
        if let Err(error) = self.store.remove(&segment.name)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(place = self.store.place(), segment = segment.name, %error, "cannot remove a segment; trying again with the next checkpoint");
            self.stats.removal_failures_total += 1;
            return;
        }
        self.bytes_on_disk = self.bytes_on_disk.saturating_sub(segment.bytes.saturating_sub(segment.hollow_bytes));
        self.segments.remove(&number);
        self.stats.segments_removed_total += 1;
    }
}
