//! Seqs and checkpoints that were given up: after a failed fsync, or because they may have been in what a power cut tore. Should their
//! bytes be found after another crash, they are no records.
//!
//! Every new segment begins with them, until a checkpoint buries them (its set of what is not pending includes them). Until one of those
//! writes is synced, no record may claim that they are dealt with: after a crash their absence would pass for damage.

use std::ops::Range;

/// 16 bytes per stretch; neighbours are one.
#[derive(Debug, Default)]
pub(super) struct Voids {
    seqs: Vec<Range<u64>>,
    /// A checkpoint was given up too.
    checkpoint: bool,
    /// The lowest that is in no synced record.
    unsaved_from: Option<u64>,
    /// Counts additions.
    version: u64,
    /// The version that a segment begins with.
    written: u64,
}

impl Voids {
    pub(super) fn add(&mut self, seqs: Range<u64>) {
        if seqs.is_empty() {
            return;
        }
        self.version += 1;
        self.unsaved_from = Some(self.unsaved_from.map_or(seqs.start, |first| first.min(seqs.start)));
        match self.seqs.last_mut() {
            Some(last) if last.end == seqs.start => last.end = seqs.end,
            _ => self.seqs.push(seqs),
        }
    }

    /// A checkpoint was written whose fsync failed: it must not come into force later.
    pub(super) fn add_checkpoint(&mut self) {
        self.checkpoint = true;
        self.version += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seqs.is_empty() && !self.checkpoint
    }

    pub(super) fn stretches(&self) -> usize {
        self.seqs.len()
    }

    pub(super) fn unsaved_from(&self) -> Option<u64> {
        self.unsaved_from
    }

    /// Pairs of first and end, for a void record.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.seqs.iter().flat_map(|seqs| [seqs.start.to_le_bytes(), seqs.end.to_le_bytes()]).flatten().collect()
    }

    /// A segment was begun with them.
    pub(super) fn note_written(&mut self) {
        self.written = self.version;
    }

    /// What a sync that begins now makes durable, for [`Voids::note_synced`].
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn note_synced(&mut self, written: u64) {
        if written == self.version {
            self.unsaved_from = None;
        }
    }

    /// A checkpoint that speaks for all seqs below `seq` is synced.
    pub(super) fn bury(&mut self, seq: u64) {
        self.seqs.retain(|seqs| seqs.end > seq);
        self.checkpoint = false;
        if self.seqs.is_empty() {
            self.unsaved_from = None;
        }
    }
}
