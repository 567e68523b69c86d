//! A log on a simulated disk, with a caller that counts records as edge and router do, and an oracle that remembers what was promised.
//!
//! Every record has an id of its own. The caller's state is the set of ids it has seen synced; it goes into checkpoints, and after a crash
//! the caller starts from the recovered state and replays what came after. The oracle fails a run if anything promised is lost, comes
//! twice, or comes back changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::*;

/// What a run does.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A record with a payload of so many bytes.
    Append(usize),
    Sync,
    /// The n-th pending record, modulo how many there are.
    Ack(usize),
    Checkpoint,
    /// The disk fails once, so many operations from now.
    Fail(u64, Fault),
    /// So many bytes more fit on the disk, until the next `Roomy`.
    Tight(u64),
    Roomy,
    PowerCut(u64),
    Kill,
    /// The next open finds no index, or an old one.
    LoseIndex,
    OldIndex,
}

pub(super) fn options() -> Options {
    Options { segment_bytes: 3 << 10, budget_bytes: 24 << 10, max_record_bytes: 8 << 10, quarantine_bytes: 1 << 20 }
}

pub(super) struct World {
    pub(super) store: SimStore,
    pub(super) index: MemoryIndex,
    old_index: MemoryIndex,
    pub(super) log: Option<Log>,
    options: Options,
    /// Ids that the caller has counted.
    counted: BTreeSet<u64>,
    next_id: u64,
    /// Ids by seq: sync was reported, or recovery showed it.
    promised: BTreeMap<u64, u64>,
    /// Appended, nothing promised.
    hoped: BTreeMap<u64, u64>,
    /// Given up after a failed sync. Must not come back once something later is synced.
    given_up: BTreeMap<u64, u64>,
    /// Appends that failed, by the seq that they would have had. The same holds for them.
    failed: Vec<(u64, u64)>,
    dead: BTreeMap<u64, u64>,
    acked: BTreeSet<u64>,
    /// Acked before a checkpoint that was reported.
    buried: BTreeSet<u64>,
    /// The budget; past it if a crash brought more back than that.
    most_bytes: u64,
}

pub(super) type Check = Result<(), String>;

pub(super) fn payload(id: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (id.wrapping_mul(0x9E37_79B9).wrapping_add(n as u64 * 31) >> 3) as u8).collect()
}

fn meta(id: u64, bytes: usize) -> Vec<u8> {
    [id.to_le_bytes(), (bytes as u64).to_le_bytes()].concat()
}

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(broken()) }
}

/// The id of a record that is as it was written.
fn id_of(record: &Record) -> Result<u64, String> {
    let word = |at: usize| record.meta.get(at..at + 8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    let (Some(id), Some(bytes)) = (word(0), word(8)) else { return Err("meta is cut".into()) };
    ensure(record.payload == payload(id, bytes as usize), || format!("record {id} comes back changed"))?;
    Ok(id)
}

impl World {
    pub(super) fn new(store: SimStore) -> Self {
        Self {
            store,
            index: MemoryIndex::new(),
            old_index: MemoryIndex::new(),
            log: None,
            options: options(),
            counted: BTreeSet::new(),
            next_id: 1,
            promised: BTreeMap::new(),
            hoped: BTreeMap::new(),
            given_up: BTreeMap::new(),
            failed: Vec::new(),
            dead: BTreeMap::new(),
            acked: BTreeSet::new(),
            buried: BTreeSet::new(),
            most_bytes: 0,
        }
    }

    /// Opens the log and holds what it found against what was promised. `Ok` without a log: the disk failed the open, as it was told to.
    pub(super) fn open(&mut self) -> Check {
        let opened = Log::open(Arc::new(self.store.clone()), Box::new(self.index.clone()), self.options);
        let (log, recovery) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Io { .. }) => return Ok(()),
            Err(error) => return Err(format!("open: {error}")),
        };
        if self.store.is_crashed() {
            return Ok(());
        }
        let over = log.bytes_on_disk() + (2 << 10) > self.options.budget_bytes;
        self.most_bytes = if over { log.bytes_on_disk() + (4 << 10) } else { self.options.budget_bytes };
        self.check_recovery(&log, &recovery)?;
        self.log = Some(log);
        self.check_bounds()
    }

    fn check_recovery(&mut self, log: &Log, recovery: &Recovery) -> Check {
        let mut found = BTreeMap::new();
        for (seq, _) in log.pending() {
            found.insert(seq.0, id_of(&log.read(seq).map_err(|error| error.to_string())?)?);
        }
        for (seq, id) in &self.promised {
            match found.get(seq) {
                Some(other) => {
                    ensure(other == id, || format!("seq {seq} was {id} and is {other}: used twice"))?;
                    ensure(!self.buried.contains(seq), || format!("seq {seq} was acked in a checkpoint and is pending again"))?;
                }
                None => ensure(self.acked.contains(seq), || format!("seq {seq} was promised and is lost"))?,
            }
        }
        for (seq, id) in &found {
            let known = [&self.promised, &self.hoped, &self.given_up].iter().any(|map| map.get(seq) == Some(id))
                || self.failed.contains(&(*seq, *id));
            ensure(known, || format!("seq {seq} (record {id}) must not be there; dead: {}", self.dead.contains_key(seq)))?;
        }
        self.replay(&found, recovery)?;
        let highest = self.promised.keys().chain(found.keys()).max().copied().unwrap_or(0);
        ensure(log.next_seq().0 > highest, || format!("next seq {} would be used twice", log.next_seq()))?;
        let real: Vec<&Damage> = recovery.damaged.iter().filter(|damage| damage.kind != DamageKind::Torn).collect();
        ensure(real.is_empty(), || format!("a power cut is called damage: {real:?}"))?;
        let after: BTreeSet<u64> = recovery.after_checkpoint.iter().map(|seq| seq.0).collect();
        ensure(after.iter().all(|seq| found.contains_key(seq)), || "a record to replay is not pending".into())?;
        self.failed.clear();
        for (seq, id) in self.hoped.iter().chain(&self.given_up).filter(|(seq, _)| !found.contains_key(seq)) {
            self.dead.insert(*seq, *id);
        }
        self.hoped.clear();
        self.given_up.clear();
        self.acked.retain(|seq| !found.contains_key(seq));
        self.promised.extend(found);
        Ok(())
    }

    /// State and replay give each record once, and no promised one is missing.
    fn replay(&mut self, found: &BTreeMap<u64, u64>, recovery: &Recovery) -> Check {
        self.counted.clear();
        for id in recovery.state.as_deref().unwrap_or_default().chunks_exact(8) {
            self.counted.insert(u64::from_le_bytes(id.try_into().unwrap()));
        }
        for seq in &recovery.after_checkpoint {
            let id = found.get(&seq.0).ok_or_else(|| format!("seq {seq} to be replayed is not pending"))?;
            ensure(self.counted.insert(*id), || format!("record {id} counts twice: in the state and after the checkpoint"))?;
        }
        for id in self.promised.values() {
            ensure(self.counted.contains(id), || format!("record {id} was promised and is not counted"))?;
        }
        let real: BTreeSet<u64> = self.promised.values().chain(found.values()).copied().collect();
        ensure(self.counted.is_subset(&real), || "the state counts a record that is not there: its data was not synced first".into())
    }

    pub(super) fn check_bounds(&self) -> Check {
        let Some(log) = &self.log else { return Ok(()) };
        let cursors = log.cursors();
        let ordered = cursors.acked <= cursors.sent && cursors.sent <= cursors.synced && cursors.synced <= cursors.appended;
        ensure(ordered, || format!("{cursors:?}"))?;
        ensure(log.bytes_on_disk() <= self.most_bytes, || format!("{} B on disk", log.bytes_on_disk()))?;
        let pending: u64 = log.pending().map(|(_, bytes)| bytes).sum();
        ensure(pending == log.pending_bytes(), || "pending bytes are miscounted".into())?;
        let Ok(listing) = self.store.list() else { return Ok(()) };
        let on_disk: u64 = listing.iter().filter(|entry| !entry.name.contains('/')).map(|entry| entry.bytes).sum();
        ensure(on_disk <= log.bytes_on_disk(), || format!("{on_disk} B on disk, the log thinks {}", log.bytes_on_disk()))
    }

    /// Does one thing. Errors of the disk are part of the game; broken promises are not.
    pub(super) fn step(&mut self, op: &Op) -> Check {
        match *op {
            Op::Append(bytes) => self.append(bytes),
            Op::Sync => self.sync(),
            Op::Ack(n) => self.ack(n),
            Op::Checkpoint => self.checkpoint(),
            Op::Fail(after, fault) => {
                self.store.fail_at(self.store.operations() + 1 + after, fault);
                Ok(())
            }
            Op::Tight(bytes) => {
                let used: u64 = self.store.list().map_or(0, |listing| listing.iter().map(|entry| entry.bytes).sum());
                self.store.set_capacity(used + bytes);
                Ok(())
            }
            Op::Roomy => {
                self.store.set_capacity(u64::MAX);
                Ok(())
            }
            Op::PowerCut(seed) => self.power_cut(seed),
            // A disk that failed an fsync and then would neither cut nor write leaves lies in the cache that only a power cut ends.
            Op::Kill if !self.given_up.is_empty() && self.log.as_ref().is_some_and(|log| log.stats().write_failures_total > 0) => {
                self.power_cut(1)
            }
            Op::Kill => {
                self.log = None;
                self.store = self.store.kill();
                self.open_or_cut()
            }
            Op::LoseIndex => {
                self.index = MemoryIndex::new();
                Ok(())
            }
            Op::OldIndex => {
                self.index = std::mem::replace(&mut self.old_index, self.index.snapshot());
                Ok(())
            }
        }?;
        self.check_bounds()
    }

    pub(super) fn power_cut(&mut self, seed: u64) -> Check {
        self.log = None;
        self.store = self.store.restart(seed);
        self.open_or_cut()
    }

    /// An open that failed because the disk was told to fail is tried again after a power cut: a kill would leave the cache's lies.
    fn open_or_cut(&mut self) -> Check {
        self.open()?;
        let mut seed = 0;
        while self.log.is_none() {
            seed += 1;
            ensure(seed < 20, || "never opens again".into())?;
            self.store.set_capacity(u64::MAX);
            self.store = self.store.restart(seed);
            self.open()?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: usize) -> Check {
        let id = self.next_id;
        self.next_id += 1;
        let Some(log) = &mut self.log else { return Ok(()) };
        let next = log.next_seq().0;
        match log.append(&meta(id, bytes), &payload(id, bytes)) {
            Ok(seq) => {
                let used = self.promised.contains_key(&seq.0) || self.hoped.contains_key(&seq.0) || self.given_up.contains_key(&seq.0);
                ensure(!used, || format!("seq {seq} is used twice"))?;
                self.hoped.insert(seq.0, id);
                Ok(())
            }
            Err(AppendError::Full { .. }) => {
                for n in 0..4 {
                    self.ack(n)?;
                }
                self.checkpoint()
            }
            Err(_) => {
                self.failed.push((next, id));
                Ok(())
            }
        }
    }

    fn sync(&mut self) -> Check {
        let Some(log) = &mut self.log else { return Ok(()) };
        match log.sync() {
            Ok(synced) => {
                self.promise(synced.0);
                ensure(self.hoped.is_empty(), || "sync leaves something unsynced".into())
            }
            Err(error) => self.give_up(&error),
        }
    }

    /// Everything below `synced` that was not given up is promised from now on.
    fn promise(&mut self, synced: u64) {
        let late = self.hoped.split_off(&synced);
        let now = std::mem::replace(&mut self.hoped, late);
        if let Some(last) = now.keys().next_back() {
            self.dead.append(&mut self.given_up);
            self.failed.retain(|(seq, _)| seq > last);
        }
        self.counted.extend(now.values());
        self.promised.extend(now);
    }

    fn give_up(&mut self, error: &SyncError) -> Check {
        self.promise(error.failed.start.0);
        let covers = self.hoped.keys().all(|seq| error.failed.contains(&Seq(*seq)));
        ensure(covers, || format!("{error} does not name all of {:?}", self.hoped))?;
        self.given_up.append(&mut self.hoped);
        Ok(())
    }

    fn ack(&mut self, n: usize) -> Check {
        let Some(log) = &mut self.log else { return Ok(()) };
        let pending = log.pending().count();
        let nth = log.pending().nth(n % pending.max(1));
        if let Some((seq, _)) = nth {
            log.mark_sent(seq);
            ensure(log.ack(seq) && !log.ack(seq), || format!("ack of {seq}"))?;
            ensure(matches!(log.read(seq), Err(ReadError::NotPending(_))), || format!("{seq} is read after its ack"))?;
            self.acked.insert(seq.0);
        }
        Ok(())
    }

    /// The state includes what was appended and not synced: the checkpoint has to see to that first.
    fn checkpoint(&mut self) -> Check {
        let Some(log) = &mut self.log else { return Ok(()) };
        let state: Vec<u8> = self.counted.iter().chain(self.hoped.values()).flat_map(|id| id.to_le_bytes()).collect();
        let outcome = log.checkpoint(&state);
        let synced = log.cursors().synced.0;
        match outcome {
            Ok(()) => {
                self.promise(synced);
                self.buried = self.acked.clone();
            }
            Err(CheckpointError::Sync(error)) => self.give_up(&error)?,
            Err(_) => self.promise(synced),
        }
        ensure(self.hoped.is_empty(), || "a checkpoint leaves something unsynced".into())
    }
}

/// The same numbers each time: what a scripted run does.
pub(super) fn script(seed: u64, steps: usize) -> Vec<Op> {
    let mut x = seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1;
    let mut next = move |bound: u64| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) % bound
    };
    let mut ops = Vec::new();
    while ops.len() < steps {
        ops.push(match next(20) {
            0..=10 => Op::Append(next(900) as usize),
            11..=14 => Op::Sync,
            15..=17 => Op::Ack(next(3) as usize),
            _ => Op::Checkpoint,
        });
    }
    ops
}
