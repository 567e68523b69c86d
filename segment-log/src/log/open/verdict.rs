//! What a gap means: a loss, or what a power cut leaves.
//!
//! Proof that a stretch had been synced is any seq at or behind it that something intact calls synced. Without proof it is called torn:
//! nobody was told that it was stored, or nothing but the disk itself remembers. So it is with checkpoints, which later records count.

use std::ops::Range;

use super::super::DamageKind;
use super::Checkpoint;
use super::sweep::{Findings, Gap};
use crate::segment::{Kind, Unreadable};

/// What the gaps come to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Seqs that were never promised and may stand in a gap: given up.
    pub(super) voids: Vec<Range<u64>>,
    /// Synced and unacknowledged records lost.
    pub(super) lost_records: u64,
}

/// What is no longer pending: given up in a void, or acknowledged in the checkpoint.
#[derive(Clone, Copy)]
struct Done<'a> {
    voids: &'a [Range<u64>],
    checkpoint: Option<&'a Checkpoint>,
}

impl Done<'_> {
    /// Is `seq` done, and up to which seq at least does the same hold of all?
    fn at(&self, seq: u64) -> (bool, u64) {
        let mut end = u64::MAX;
        for void in self.voids {
            if void.contains(&seq) {
                return (true, void.end);
            }
            if void.start > seq {
                end = end.min(void.start);
            }
        }
        let Some(checkpoint) = self.checkpoint.filter(|checkpoint| seq < checkpoint.seq) else { return (false, end) };
        let (acked, until) = checkpoint.acked.stretch(seq);
        let until = until.unwrap_or(u64::MAX).min(checkpoint.seq);
        if acked { (true, until) } else { (false, end.min(until)) }
    }

    /// How many of `seqs` are not done. By stretches: a damaged name can make a gap of more seqs than can be looked at one by one.
    fn left_of(&self, mut seqs: Range<u64>) -> u64 {
        let mut left = 0;
        while !seqs.is_empty() {
            let (done, until) = self.at(seqs.start);
            let until = until.min(seqs.end);
            left += if done { 0 } else { until - seqs.start };
            seqs.start = until;
        }
        left
    }
}

impl Findings {
    /// Says of each gap what it is, and forgets records that are acknowledged or were given up.
    pub(super) fn judge(&mut self, checkpoint: Option<&Checkpoint>) -> Verdict {
        let mut verdict = Verdict::default();
        let voids = std::mem::take(&mut self.voids);
        let done = Done { voids: &voids, checkpoint };
        let mut gaps = std::mem::take(&mut self.gaps);
        let newest = checkpoint.map(|checkpoint| (checkpoint.location.segment, u64::from(checkpoint.location.offset)));
        // A later record counts a checkpoint that is not there.
        let checkpoint_lost = self.checkpoints_synced > checkpoint.map_or(0, |checkpoint| checkpoint.number);
        for gap in &mut gaps {
            let promised = gap.seqs.start..gap.seqs.end.min(self.synced);
            let mut lost = done.left_of(promised);
            if gap.found.bytes == 0 && checkpoint_lost {
                // A segment that is gone was let go by the checkpoint that is gone.
                lost = 0;
            }
            verdict.lost_records += lost;
            let behind_newest = newest < Some((gap.segment, gap.found.offset));
            gap.kind = self.kind_of(gap, lost, checkpoint_lost && behind_newest);
            let unpromised = gap.seqs.start.max(self.synced)..gap.seqs.end;
            if (Done { checkpoint: None, ..done }).left_of(unpromised.clone()) > 0 {
                verdict.voids.push(unpromised);
            }
        }
        gaps.retain(|gap| gap.found.bytes > 0 || gap.kind != DamageKind::Torn);
        self.gaps = gaps;
        self.records.retain(|&seq, _| !done.at(seq).0);
        self.voids = voids;
        self.miss_hollow(&mut verdict);
        verdict
    }

    /// A record that was discarded, while the checkpoint that says so is gone: its payload is lost.
    fn miss_hollow(&mut self, verdict: &mut Verdict) {
        for seq in std::mem::take(&mut self.hollow) {
            let Some(location) = self.records.remove(&seq) else { continue };
            let offset = u64::from(location.offset);
            let found = Unreadable { offset, bytes: location.end() - offset, header: None, meta: None };
            self.gaps.push(Gap { segment: location.segment, found, seqs: seq..seq + 1, kind: DamageKind::Records });
            verdict.lost_records += 1;
        }
    }

    /// `checkpoint_lost`: the checkpoint that is missing may have been here.
    fn kind_of(&self, gap: &Gap, lost: u64, checkpoint_lost: bool) -> DamageKind {
        match gap.found.header {
            Some(header) if header.kind == Kind::Checkpoint && header.stamp.checkpoints <= self.checkpoints_synced && checkpoint_lost => {
                DamageKind::Checkpoint
            }
            None if lost == 0 && gap.found.bytes > 0 && checkpoint_lost => DamageKind::Checkpoint,
            _ if lost == 0 => DamageKind::Torn,
            _ if self.husks.contains(&gap.segment) => DamageKind::Segment,
            _ => DamageKind::Records,
        }
    }
}
