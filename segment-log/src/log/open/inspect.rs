//! What a log's directory holds, read and nothing else: for an operator who looks, whether or not the log's process runs.
//!
//! The segments alone are read, by the same sweep and verdict as at an open, and nothing is repaired, locked, synced or put aside; the
//! index is not looked at. A writer may be at work meanwhile: a segment that it removes makes the look begin again, and damage counts only
//! if a second look finds the same, as a record that is half written when it is seen is whole a moment later. What is seen is some
//! moment's truth; acknowledgements since the newest checkpoint are not in the files, so that such a record shows as pending.
//!
//! Memory: 48 bytes for each record in the segments.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use federation_proto::identity::Seq;

use super::super::read::PendingRead;
use super::super::{Damage, DamageKind, Location, Record};
use super::open_error;
use super::survey::Survey;
use super::sweep::Findings;
use crate::error::{OpenError, ReadError};
use crate::segment::{SegmentKey, SegmentNo};
use crate::store::{ReadOnlyStore, Store};

/// Looks before one that a writer disturbs is given up.
const LOOKS: usize = 8;

/// What was there. See the module.
pub struct Inspection {
    store: Arc<dyn Store>,
    id: Option<[u8; 16]>,
    segments: BTreeMap<SegmentNo, (String, u64)>,
    records: BTreeMap<u64, Location>,
    acked: BTreeSet<u64>,
    damaged: Vec<Damage>,
    aliens: Vec<String>,
}

/// One record in the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// Its number.
    pub seq: Seq,
    /// Where it lies.
    pub segment: SegmentNo,
    /// First byte in the segment.
    pub offset: u64,
    /// Bytes of its payload.
    pub payload_bytes: u32,
    /// The newest checkpoint says that it is done with.
    pub acked: bool,
}

impl Inspection {
    /// Looks at the log in `dir`.
    ///
    /// # Errors
    /// [`OpenError::Io`] if it cannot be read (a directory that is not there among them), [`OpenError::NewerFormat`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::of(&(Arc::new(ReadOnlyStore::new(dir)) as Arc<dyn Store>))
    }

    /// Looks at the log in any store, of which only `list` and `open` are used, and of files only reads.
    ///
    /// # Errors
    /// As [`Inspection::open`].
    pub fn of(store: &Arc<dyn Store>) -> Result<Self, OpenError> {
        let mut before: Option<Vec<Damage>> = None;
        for look in 1.. {
            let seen = match Self::once(store) {
                Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && look < LOOKS && store.list().is_ok() => {
                    continue;
                }
                seen => seen?,
            };
            let lost: Vec<Damage> = seen.damaged.iter().filter(|damage| damage.kind != DamageKind::Torn).cloned().collect();
            if lost.is_empty() || look >= LOOKS || before.as_ref() == Some(&lost) {
                return Ok(seen);
            }
            before = Some(lost);
        }
        Err(open_error(&**store, "read its segments", io::ErrorKind::Other.into()))
    }

    fn once(store: &Arc<dyn Store>) -> Result<Self, OpenError> {
        let listing = store.list().map_err(|error| open_error(&**store, "list the directory", error))?;
        let survey = Survey::of(&**store, &listing)?;
        let segments = survey.segments.iter().map(|(&number, segment)| (number, (segment.name.clone(), segment.bytes))).collect();
        let mut seen = Self {
            store: Arc::clone(store),
            id: survey.log_id,
            segments,
            records: BTreeMap::new(),
            acked: BTreeSet::new(),
            damaged: Vec::new(),
            aliens: survey.aliens.clone(),
        };
        let Some(id) = survey.log_id else { return Ok(seen) };
        let mut findings = Findings::default();
        findings.sweep(&**store, &survey, &id, None)?;
        let checkpoint = findings.newest_checkpoint(&**store, &survey, &id);
        let mut all = std::mem::take(&mut findings.records);
        findings.records.clone_from(&all);
        findings.judge(checkpoint.as_ref());
        all.retain(|seq, _| !findings.voids.iter().any(|seqs| seqs.contains(seq)));
        // Without its payload, and not done with: lost.
        all.retain(|seq, _| findings.records.contains_key(seq) || !findings.gaps.iter().any(|gap| gap.is_of(*seq)));
        seen.acked = all.keys().copied().filter(|seq| !findings.records.contains_key(seq)).collect();
        seen.records = all;
        seen.damaged = findings
            .gaps
            .into_iter()
            .map(|gap| Damage {
                kind: gap.kind,
                segment: gap.segment,
                offset: gap.found.offset,
                bytes: gap.found.bytes,
                seqs: Seq(gap.seqs.start)..Seq(gap.seqs.end),
                meta: gap.found.meta,
                quarantined: None,
            })
            .collect();
        Ok(seen)
    }

    /// The log's identity; `None` if no segment tells.
    #[must_use]
    pub fn id(&self) -> Option<[u8; 16]> {
        self.id
    }

    /// Every whole record that the segments hold and that was not given up, by its number.
    pub fn records(&self) -> impl Iterator<Item = Inspected> + '_ {
        self.records.iter().map(|(&seq, location)| Inspected {
            seq: Seq(seq),
            segment: location.segment,
            offset: location.offset.into(),
            payload_bytes: location.payload_len,
            acked: self.acked.contains(&seq),
        })
    }

    /// What cannot be read, in the order of the files; at most 4,096. [`DamageKind::Torn`] is no loss: what a writer is writing now, or what
    /// a crash left.
    #[must_use]
    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    /// Files that are not this log's.
    #[must_use]
    pub fn aliens(&self) -> &[String] {
        &self.aliens
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.segments.values().map(|(_, bytes)| bytes).sum()
    }

    /// A record's meta.
    ///
    /// # Errors
    /// [`ReadError`]: among others when a writer has removed the segment since.
    pub fn meta(&self, seq: Seq) -> Result<Bytes, ReadError> {
        self.find(seq)?.meta()
    }

    /// A record.
    ///
    /// # Errors
    /// As [`Inspection::meta`].
    pub fn read(&self, seq: Seq) -> Result<Record, ReadError> {
        self.find(seq)?.run()
    }

    fn find(&self, seq: Seq) -> Result<PendingRead, ReadError> {
        let missing = ReadError::NotPending(seq);
        let (Some(&location), Some(id)) = (self.records.get(&seq.0), self.id) else { return Err(missing) };
        let (name, _) = self.segments.get(&location.segment).ok_or(missing)?;
        let file = self.store.open(name).map_err(|error| ReadError::Io { seq, segment: location.segment, source: Arc::new(error) })?;
        Ok(PendingRead { seq, location, key: SegmentKey::new(&id, location.segment), file })
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspection").field("place", &self.store.place()).field("records", &self.records.len()).finish_non_exhaustive()
    }
}
