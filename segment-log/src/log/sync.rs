//! Fsync in two halves: `begin_sync` says what to sync, the ticket does it without the log, `finish_sync` draws the conclusions.
//!
//! A failed fsync is final. The kernel may call the pages clean that it could not write, and the next fsync of that file may succeed
//! without them; so everything not yet synced is given up, its seqs are voided (written into the next segment before anything else, and
//! buried by the next checkpoint), and the segment is sealed.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use federation_proto::identity::Seq;

use super::checkpoint::Burial;
use super::indexing::Frontier;
use super::{Log, Position};
use crate::error::SyncError;
use crate::segment::SegmentNo;
use crate::store::{Store, StoreFile};

/// What to sync. Run it, on any thread, and give the result to [`Log::finish_sync`]; until then the log begins no other sync.
#[must_use = "a ticket that is not run and finished leaves its records unsynced for ever"]
pub struct SyncTicket {
    files: Vec<Arc<dyn StoreFile>>,
    dir: Option<Arc<dyn Store>>,
    /// The sync covers all seqs below.
    upto: u64,
    /// Where the log ended.
    position: Position,
    /// Which voids it makes durable.
    voids: u64,
    burial: Option<Burial>,
}

/// A ticket that was run.
#[must_use = "give it to Log::finish_sync"]
pub struct SyncDone {
    ticket: SyncTicket,
    result: io::Result<()>,
}

impl SyncTicket {
    /// Waits for the disk.
    pub fn run(self) -> SyncDone {
        let files = self.files.iter().try_for_each(|file| file.sync());
        let result = files.and_then(|()| self.dir.as_ref().map_or(Ok(()), |dir| dir.sync_dir()));
        SyncDone { ticket: self, result }
    }

    pub(super) fn with_burial(mut self, burial: Burial) -> Self {
        self.burial = Some(burial);
        self
    }
}

impl Log {
    /// Makes everything appended durable and gives the `synced` cursor.
    ///
    /// # Errors
    /// As [`Log::finish_sync`]; [`io::ErrorKind::WouldBlock`] and nothing given up if a ticket is out.
    pub fn sync(&mut self) -> Result<Seq, SyncError> {
        if self.sync_under_way {
            let source = Arc::new(io::Error::new(io::ErrorKind::WouldBlock, "another sync is under way"));
            return Err(SyncError { failed: Seq(self.synced)..Seq(self.synced), source });
        }
        match self.begin_sync() {
            Some(ticket) => self.finish_sync(ticket.run()),
            None => Ok(Seq(self.synced)),
        }
    }

    /// What to sync so that everything appended until now is durable; `None` if nothing is to be done or another sync is under way.
    pub fn begin_sync(&mut self) -> Option<SyncTicket> {
        if self.sync_under_way || (self.dirty.is_empty() && !self.dir_dirty) {
            return None;
        }
        self.sync_under_way = true;
        Some(SyncTicket {
            files: std::mem::take(&mut self.dirty),
            dir: std::mem::take(&mut self.dir_dirty).then(|| Arc::clone(&self.store)),
            upto: self.next,
            position: self.position(),
            voids: self.voids.written(),
            burial: None,
        })
    }

    /// What the index is told it covers.
    pub(super) fn frontier(&self, position: Position) -> Frontier {
        let open = self.active.as_ref().is_some_and(|active| active.number == position.segment);
        Frontier { log_id: self.id, position, next: self.synced, synced: self.synced_beyond_doubt(), open }
    }

    /// Where the log ends: everything written lies before. It is a place in a file that exists, for the number of one that could not be
    /// created is given again after a restart.
    pub(super) fn position(&self) -> Position {
        match (&self.active, self.segments.last_key_value()) {
            (Some(active), _) => Position { segment: active.number, offset: active.end },
            (None, Some((&segment, last))) => Position { segment, offset: last.bytes },
            (None, None) => Position::default(),
        }
    }

    /// Takes a ticket back and gives the `synced` cursor. What it covered is pending from now on; if it was a checkpoint's, the checkpoint
    /// is in force.
    ///
    /// # Errors
    /// The fsync failed: all records that were not synced are given up (also those appended since the ticket was made) and will not be
    /// there after a restart once any later record is synced. The log stays usable, in a new segment.
    pub fn finish_sync(&mut self, done: SyncDone) -> Result<Seq, SyncError> {
        let SyncDone { ticket, result } = done;
        self.sync_under_way = false;
        self.checkpoint_under_way = false;
        if let Err(error) = result {
            if ticket.burial.is_some() {
                self.voids.add_checkpoint();
            }
            return Err(self.give_up(error, ticket.dir.is_some()));
        }
        let mut synced = Vec::new();
        while let Some(&(seq, location)) = self.unsynced.front()
            && seq < ticket.upto
        {
            self.unsynced.pop_front();
            self.pending.insert(seq, location);
            self.pending_bytes += location.bytes();
            synced.push((Seq(seq), location));
        }
        self.synced = self.synced.max(ticket.upto);
        self.synced_position = ticket.position;
        self.voids.note_synced(ticket.voids);
        self.stats.syncs_total += 1;
        self.index.note_synced(&synced, self.frontier(ticket.position));
        if let Some(burial) = ticket.burial {
            self.bury(burial, ticket.position);
        }
        Ok(Seq(self.synced))
    }

    fn give_up(&mut self, error: io::Error, dir: bool) -> SyncError {
        let failed: Range<u64> = self.synced..self.next;
        self.voids.add(failed.clone());
        self.stats.sync_failures_total += 1;
        self.stats.given_up_records_total += self.unsynced.len() as u64;
        for (_, location) in std::mem::take(&mut self.unsynced) {
            self.drop_live(location.segment);
        }
        self.synced = self.next;
        self.active = None;
        self.dirty.clear();
        self.take_back();
        self.dir_dirty |= dir;
        tracing::error!(place = self.store.place(), %error, first = failed.start, end = failed.end, "fsync failed: records given up, going on in a new segment");
        SyncError { failed: Seq(failed.start)..Seq(failed.end), source: Arc::new(error) }
    }

    /// Takes back what was written behind the last sync, as far as the disk lets us: segments begun since are removed, the one before is
    /// cut. Then begins a segment that says what was given up. Either is enough to keep a start after a kill from taking the cache's word
    /// for the disk's.
    fn take_back(&mut self) {
        let from = self.synced_position;
        let begun: Vec<SegmentNo> =
            self.segments.range(from.segment..).map(|(&number, _)| number).filter(|&number| number > from.segment).collect();
        for number in begun {
            self.remove_segment(number);
        }
        if let Some(segment) = self.segments.get_mut(&from.segment)
            && segment.bytes > from.offset
        {
            match self.store.open(&segment.name).and_then(|file| file.truncate(from.offset)) {
                Ok(()) => {
                    self.bytes_on_disk -= segment.bytes - from.offset;
                    segment.bytes = from.offset;
                }
                Err(_) => self.stats.write_failures_total += 1,
            }
        }
        // If this fails too, the next append tries again.
        let _ = self.open_segment();
    }
}
