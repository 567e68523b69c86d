//! From what was found to a log that goes on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use federation_proto::identity::Seq;

use super::super::files::OpenFiles;
use super::super::indexing::IndexKeeper;
use super::super::quarantine::{Quarantine, Stretch};
use super::super::voids::Voids;
use super::super::{Active, Damage, DamageKind, Location, Log, Options, Position, Recovery, Segment, Stats};
use super::survey::{Survey, Surveyed};
use super::sweep::Findings;
use super::verdict::Verdict;
use super::{Checkpoint, FIRST_SEQ, open_error};
use crate::error::OpenError;
use crate::index::Index;
use crate::mutation::{self, Mutation};
use crate::segment::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentKey, SegmentNo, write_again};
use crate::store::{Store, StoreLock};

/// Everything that was found.
pub(super) struct Opening {
    pub(super) id: [u8; 16],
    pub(super) store: Arc<dyn Store>,
    pub(super) lock: StoreLock,
    pub(super) options: Options,
    pub(super) survey: Survey,
    pub(super) quarantine: Quarantine,
    pub(super) index: IndexKeeper,
    pub(super) findings: Findings,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) index_rebuilt: Option<String>,
}

/// A log in a directory in which no segment says whose it is.
pub(super) fn create(
    store: Arc<dyn Store>,
    lock: StoreLock,
    index: Box<dyn Index>,
    options: Options,
    survey: Survey,
    quarantine: Quarantine,
) -> Result<(Log, Recovery), OpenError> {
    let id = store.entropy().map_err(|error| open_error(&*store, "get random bytes", error))?;
    let husks: Vec<SegmentNo> = survey.segments.keys().copied().collect();
    let index_rebuilt = (!husks.is_empty()).then(|| "no segment has a readable header: this is a new log".to_owned());
    let findings = Findings { husks, ..Findings::default() };
    let index = IndexKeeper::new(index);
    let opening = Opening { id, store, lock, options, survey, quarantine, index, findings, checkpoint: None, index_rebuilt };
    let store = Arc::clone(&opening.store);
    let (mut log, recovery) = opening.settle()?;
    if log.active.is_none() {
        log.open_segment().map_err(|(doing, source)| OpenError::Io { place: store.place(), doing: doing.to_owned(), source })?;
        log.sync().map_err(|error| OpenError::Io {
            place: store.place(),
            doing: "sync the first segment".to_owned(),
            source: error.source,
        })?;
    }
    Ok((log, recovery))
}

impl Opening {
    pub(super) fn settle(mut self) -> Result<(Log, Recovery), OpenError> {
        let mut recovery = Recovery { index_rebuilt: self.index_rebuilt.take(), ..Recovery::default() };
        let behind_last = self.findings.records.last_key_value().map_or(0, |(&seq, _)| seq + 1);
        self.findings.next = self.findings.next.max(behind_last);
        let proven = self.findings.proven();
        let verdict = self.findings.judge(self.checkpoint.as_ref());
        let missing = self.note_missing_segments(&mut recovery);
        self.put_gaps_aside(&mut recovery);
        self.clear_husks(&mut recovery);
        recovery.aliens = std::mem::take(&mut self.survey.aliens);
        self.make_durable(proven)?;
        let first_new = self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq);
        recovery.after_checkpoint = self.findings.records.range(first_new..).map(|(&seq, _)| Seq(seq)).collect();
        recovery.state = self.checkpoint.as_mut().map(|checkpoint| std::mem::take(&mut checkpoint.state));
        let real = recovery.damaged.iter().filter(|damage| damage.kind != DamageKind::Torn).count() as u64;
        let stats = Stats {
            damages_total: real,
            damaged_records_total: verdict.lost_records + missing,
            refused_bytes: self.findings.refused_bytes,
            ..Stats::default()
        };
        if real > 0 {
            tracing::error!(
                place = self.store.place(),
                damages = real,
                records = stats.damaged_records_total,
                "damage found; see quarantine/"
            );
        }
        Ok((self.into_log(verdict, stats, recovery.index_rebuilt.is_some()), recovery))
    }

    /// Records whose segment is gone although nothing said that they were acknowledged. Gives how many.
    fn note_missing_segments(&mut self, recovery: &mut Recovery) -> u64 {
        let mut missing: BTreeMap<SegmentNo, (u64, u64, u64, u64)> = BTreeMap::new();
        self.findings.records.retain(|&seq, location| {
            let there = self.survey.segments.contains_key(&location.segment);
            if !there {
                let (_, end, bytes, records) = missing.entry(location.segment).or_insert((seq, seq, 0, 0));
                *end = seq + 1;
                *bytes += location.end() - u64::from(location.offset);
                *records += 1;
            }
            there
        });
        for (&segment, &(start, end, bytes, _)) in missing.iter().take(Recovery::MAX_DAMAGED) {
            let seqs = Seq(start)..Seq(end);
            recovery.damaged.push(Damage { kind: DamageKind::Segment, segment, offset: 0, bytes, seqs, meta: None, quarantined: None });
        }
        missing.values().map(|&(_, _, _, records)| records).sum()
    }

    fn put_gaps_aside(&mut self, recovery: &mut Recovery) {
        for gap in std::mem::take(&mut self.findings.gaps) {
            if recovery.damaged.len() >= Recovery::MAX_DAMAGED {
                break;
            }
            let Some(segment) = self.survey.segments.get(&gap.segment) else { continue };
            let (offset, bytes) = (gap.found.offset, gap.found.bytes);
            let mut quarantined = None;
            // A husk is moved as a whole.
            if !self.findings.husks.contains(&gap.segment)
                && let Ok(file) = self.store.open(&segment.name)
            {
                let stretch = Stretch { file: &*file, segment: gap.segment, offset, bytes, torn: gap.kind == DamageKind::Torn };
                quarantined = self.quarantine.copy(&*self.store, &stretch);
            }
            let seqs = Seq(gap.seqs.start)..Seq(gap.seqs.end);
            recovery.damaged.push(Damage { kind: gap.kind, segment: gap.segment, offset, bytes, seqs, meta: gap.found.meta, quarantined });
        }
    }

    /// Segments with a damaged header in which no record was found: what a creation leaves that a power cut interrupted, or worse. Those
    /// that can have held records are moved to the quarantine.
    fn clear_husks(&mut self, recovery: &mut Recovery) {
        for number in std::mem::take(&mut self.findings.husks) {
            let Some(Surveyed { name, bytes, base, .. }) = self.survey.segments.remove(&number) else { continue };
            if bytes <= SEGMENT_HEADER_BYTES {
                let _ = self.store.remove(&name);
                continue;
            }
            let quarantined = self.quarantine.take(&*self.store, &name, bytes);
            if quarantined.is_none() {
                self.survey.aliens.push(name);
            }
            match recovery.damaged.iter_mut().find(|damage| damage.segment == number) {
                Some(damage) => damage.quarantined = quarantined,
                None => {
                    let seqs = Seq(base)..Seq(base + bytes / RECORD_HEADER_BYTES as u64);
                    recovery.damaged.push(Damage {
                        kind: DamageKind::Segment,
                        segment: number,
                        offset: 0,
                        bytes,
                        seqs,
                        meta: None,
                        quarantined,
                    });
                }
            }
        }
    }

    /// What was found may be in the cache alone: it is synced before anyone is told of it. What nothing proves to be durable is written once
    /// more first, since an fsync that fails, in the life before or at a start before this one, is told once: the kernel calls the pages
    /// clean that it could not write, and the next fsync succeeds without them.
    fn make_durable(&self, proven: Position) -> Result<(), OpenError> {
        let swept = self.findings.swept.iter().filter_map(|number| Some((*number, self.survey.segments.get(number)?)));
        for (number, segment) in swept {
            let unproven = if number > proven.segment { 0 } else { proven.offset };
            let synced = self.store.open(&segment.name).and_then(|file| {
                if number >= proven.segment {
                    write_again(&*file, unproven..segment.bytes)?;
                }
                file.sync()
            });
            synced.map_err(|error| open_error(&*self.store, format!("sync {}", segment.name), error))?;
        }
        self.store.sync_dir().map_err(|error| open_error(&*self.store, "sync the directory", error))
    }

    fn into_log(mut self, verdict: Verdict, stats: Stats, rebuild: bool) -> Log {
        if rebuild && mutation::is(Mutation::SeqReused) {
            self.findings.next = self.findings.records.last_key_value().map_or(0, |(&seq, _)| seq + 1);
        }
        let active = if verdict.voids.is_empty() { self.reopen_last() } else { None };
        let mut voids = Voids::default();
        verdict.voids.into_iter().for_each(|seqs| voids.add(seqs));
        let next = self.findings.next.max(FIRST_SEQ);
        let records = std::mem::take(&mut self.findings.records);
        let mut segments = BTreeMap::new();
        for (number, Surveyed { name, bytes, disk_bytes, .. }) in self.survey.segments {
            segments.insert(number, Segment { name, bytes, hollow_bytes: bytes.saturating_sub(disk_bytes), live: 0 });
        }
        for location in records.values() {
            if let Some(segment) = segments.get_mut(&location.segment) {
                segment.live += 1;
            }
        }
        let checkpoint = self.checkpoint.as_ref().map(|checkpoint| checkpoint.location);
        let mut log = Log {
            id: self.id,
            options: self.options,
            store: self.store,
            _lock: self.lock,
            files: OpenFiles::default(),
            quarantine: self.quarantine,
            index: self.index,
            stats,
            bytes_on_disk: segments.values().map(|segment| segment.bytes - segment.hollow_bytes).sum(),
            segments,
            last_segment: self.survey.last_segment,
            active,
            scratch: Vec::new(),
            pending_bytes: records.values().map(Location::bytes).sum(),
            pending: records,
            discarded: Vec::new(),
            can_punch: true,
            unsynced: VecDeque::new(),
            sent: 0,
            synced: next,
            next,
            dirty: Vec::new(),
            dir_dirty: false,
            synced_position: Position::default(),
            sync_under_way: false,
            checkpoint_under_way: false,
            voids,
            checkpoints: self.findings.checkpoints_synced.max(self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.number)),
            checkpoint_bytes: checkpoint.map_or(0, |location| location.end() - u64::from(location.offset)),
        };
        log.synced_position = log.position();
        log.go_on();
        log.refresh_index(&self.findings, checkpoint, rebuild);
        log
    }

    /// The last segment, if nothing but whole records is in it and the next seq follows them.
    fn reopen_last(&self) -> Option<Active> {
        let last = self.findings.last.filter(|last| last.clean && last.next == self.findings.next)?;
        let segment = self.survey.segments.get(&last.segment)?;
        if last.segment != self.survey.last_segment || segment.bytes >= self.options.segment_bytes {
            return None;
        }
        let file = self.store.open(&segment.name).ok()?;
        Some(Active { number: last.segment, file, key: SegmentKey::new(&self.id, last.segment), end: segment.bytes })
    }
}

impl Log {
    /// Opens a new segment if the last one will not do. A disk that is full must not keep the log from opening: the next append tries
    /// again.
    fn go_on(&mut self) {
        if self.active.is_some() {
            return;
        }
        if let Err((doing, error)) = self.open_segment() {
            tracing::warn!(place = self.store.place(), doing, %error, "no segment could be opened; the next append tries again");
            return;
        }
        if let Err(error) = self.sync() {
            tracing::warn!(place = self.store.place(), %error, "the new segment could not be synced; the next append opens another");
        }
    }

    fn refresh_index(&mut self, findings: &Findings, checkpoint: Option<Location>, rebuild: bool) {
        let frontier = self.frontier(self.position());
        if rebuild || !self.index.is_loaded() {
            return self.index.rebuild(&self.pending, checkpoint, frontier);
        }
        let put: Vec<_> = findings.swept_records.iter().filter_map(|seq| Some((Seq(*seq), *self.pending.get(seq)?))).collect();
        let remove = findings.indexed.iter().filter(|seq| !self.pending.contains_key(seq)).map(|&seq| Seq(seq)).collect();
        self.index.amend(&put, remove, checkpoint, frontier);
    }
}
