//! Records into the active segment.
//!
//! A write that fails costs its record and nothing else: what it left is cut off again, and if that fails too the segment is sealed and the
//! next record opens a new one. Whatever skips a seq opens a new segment (the format relies on it).

use std::io;
use std::sync::Arc;

use federation_proto::identity::Seq;

use super::{Active, Location, Log, Segment};
use crate::error::AppendError;
use crate::segment::{Kind, MAX_SEQ, SEGMENT_HEADER_BYTES, SegmentNo, encode_record, record_bytes};

/// The reserve for checkpoints, in multiples of the newest one: see [`Log::begin_checkpoint`].
const RESERVED_CHECKPOINTS: u64 = 4;
/// What a checkpoint is taken for while none is known, unless the budget is tiny.
const FIRST_CHECKPOINT_BYTES: u64 = 4096;
/// A scratch buffer larger than this is not kept.
const SCRATCH_BYTES: usize = 1 << 20;
/// Separate stretches of given-up seqs that are remembered; beyond, the disk is not worth writing to until a checkpoint succeeds.
const MAX_VOIDS: usize = 4096;

/// What failed, and how.
pub(super) type Failure = (&'static str, Arc<io::Error>);

impl Log {
    /// Appends a record. It is durable when a sync begun after this has succeeded, and not before.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`], [`AppendError::Full`] at the budget, [`AppendError::Io`] if the disk refuses. The log stays usable in all
    /// cases.
    pub fn append(&mut self, meta: &[u8], payload: &[u8]) -> Result<Seq, AppendError> {
        let bytes = meta.len() as u64 + payload.len() as u64;
        if bytes > u64::from(self.options.max_record_bytes) {
            return Err(AppendError::TooLarge { bytes, limit_bytes: self.options.max_record_bytes.into() });
        }
        let on_disk = record_bytes(meta.len() as u64, payload.len() as u64);
        self.check_budget(on_disk)?;
        self.make_room(on_disk).map_err(io_error)?;
        let seq = self.next;
        if seq > MAX_SEQ.0 {
            return Err(io_error(("number a record", Arc::new(io::Error::other("no seqs left")))));
        }
        let location = self.write_record(Kind::Data, meta, payload).map_err(io_error)?;
        self.next += 1;
        self.unsynced.push_back((seq, location));
        if let Some(segment) = self.segments.get_mut(&location.segment) {
            segment.live += 1;
        }
        self.stats.appended_records_total += 1;
        self.stats.appended_bytes_total += bytes;
        Ok(Seq(seq))
    }

    fn check_budget(&self, on_disk: u64) -> Result<(), AppendError> {
        let header = if self.fits(on_disk) { 0 } else { SEGMENT_HEADER_BYTES };
        let needed_bytes = on_disk + header + self.reserve_bytes();
        if self.bytes_on_disk + needed_bytes > self.options.budget_bytes {
            return Err(AppendError::Full { needed_bytes, used_bytes: self.bytes_on_disk, budget_bytes: self.options.budget_bytes });
        }
        Ok(())
    }

    /// What is kept back for checkpoints.
    fn reserve_bytes(&self) -> u64 {
        let checkpoint = self.checkpoint_bytes.max(FIRST_CHECKPOINT_BYTES.min(self.options.budget_bytes / 64));
        RESERVED_CHECKPOINTS * (checkpoint + SEGMENT_HEADER_BYTES)
    }

    /// Bytes that records may still take within the budget.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.options.budget_bytes.saturating_sub(self.bytes_on_disk + self.reserve_bytes())
    }

    /// Does a record go into the active segment? One that fits no segment goes into an empty one.
    fn fits(&self, on_disk: u64) -> bool {
        let fits = |active: &Active| active.end + on_disk <= self.options.segment_bytes || active.end == SEGMENT_HEADER_BYTES;
        self.active.as_ref().is_some_and(fits)
    }

    /// Opens a new segment if the active one has no room.
    pub(super) fn make_room(&mut self, on_disk: u64) -> Result<(), Failure> {
        if self.fits(on_disk) { Ok(()) } else { self.open_segment() }
    }

    /// Creates a segment and makes it the active one; what was given up since the last checkpoint is written first.
    pub(super) fn open_segment(&mut self) -> Result<(), Failure> {
        if self.voids.stretches() > MAX_VOIDS {
            return Err(("open a segment", Arc::new(io::Error::other("too many failed syncs since the last checkpoint"))));
        }
        let number = SegmentNo(
            self.last_segment.0.checked_add(1).ok_or_else(|| ("number a segment", Arc::new(io::Error::other("no numbers left"))))?,
        );
        self.last_segment = number;
        let header = self.header(number, Seq(self.next));
        let key = header.key();
        let mut start = header.encode();
        if !self.voids.is_empty() {
            encode_record(&mut start, key, SEGMENT_HEADER_BYTES, Kind::Void, self.stamp(Kind::Void), &self.voids.encode(), &[]);
        }
        let name = header.file_name();
        self.dir_dirty = true;
        let file = self.store.create_new(&name).map_err(|error| self.write_failed("create a segment", error))?;
        if let Err(error) = file.write_at(&start, 0) {
            // Without a header it is nothing; should it stay, the next checkpoint removes it.
            if self.store.remove(&name).is_err() {
                self.segments.insert(number, Segment { name, bytes: 0, hollow_bytes: 0, live: 0 });
                self.grow(number, file.size().unwrap_or(start.len() as u64));
            }
            return Err(self.write_failed("write a segment's header", error));
        }
        let end = start.len() as u64;
        self.voids.note_written();
        self.dirty.push(Arc::clone(&file));
        self.segments.insert(number, Segment { name, bytes: end, hollow_bytes: 0, live: 0 });
        self.bytes_on_disk += end;
        self.active = Some(Active { number, file, key, end });
        self.stats.segments_created_total += 1;
        Ok(())
    }

    /// Writes a record at the active segment's end. [`Log::make_room`] came before.
    pub(super) fn write_record(&mut self, kind: Kind, meta: &[u8], payload: &[u8]) -> Result<Location, Failure> {
        let stamp = self.stamp(kind);
        let Some(active) = self.active.as_mut() else {
            return Err(("write a record", Arc::new(io::Error::other("no segment is open"))));
        };
        self.scratch.clear();
        encode_record(&mut self.scratch, active.key, active.end, kind, stamp, meta, payload);
        let on_disk = self.scratch.len() as u64;
        let (number, file, start) = (active.number, Arc::clone(&active.file), active.end);
        let written = file.write_at(&self.scratch, start);
        self.scratch.shrink_to(SCRATCH_BYTES);
        if !self.dirty.iter().any(|dirty| Arc::ptr_eq(dirty, &file)) {
            self.dirty.push(Arc::clone(&file));
        }
        if let Err(error) = written {
            if file.truncate(start).is_err() {
                self.seal_torn(kind, on_disk);
            }
            return Err(self.write_failed("write a record", error));
        }
        active.end += on_disk;
        self.grow(number, on_disk);
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Location { segment: number, offset: small(start), meta_len: small(meta.len() as u64), payload_len: small(payload.len() as u64) })
    }

    /// A failed write could not be cut off: nothing more goes into this segment, and the record that may stand there counts as given up.
    fn seal_torn(&mut self, kind: Kind, on_disk: u64) {
        let Some(active) = self.active.take() else { return };
        let bytes = active.file.size().unwrap_or(active.end + on_disk);
        self.grow(active.number, bytes.saturating_sub(active.end));
        if kind == Kind::Checkpoint {
            self.voids.add_checkpoint();
        }
        if kind == Kind::Data {
            self.voids.add(self.next..self.next + 1);
            self.next += 1;
            if self.unsynced.is_empty() && !self.sync_under_way {
                self.synced = self.next;
            }
        }
    }

    fn grow(&mut self, number: SegmentNo, bytes: u64) {
        self.bytes_on_disk += bytes;
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.bytes += bytes;
        }
    }

    fn write_failed(&mut self, doing: &'static str, error: io::Error) -> Failure {
        self.stats.write_failures_total += 1;
        (doing, Arc::new(error))
    }
}

fn io_error((doing, source): Failure) -> AppendError {
    AppendError::Io { doing, source }
}
