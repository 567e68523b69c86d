//! Which batches are on the journal already: per spool a set of ids above the floor that its edge declares.
//!
//! An id below the floor is judged a duplicate: the edge said that nothing below is outstanding, so what still arrives is late.
//! The floor never falls.
//!
//! A spool belongs to the edge that declared it first: another edge that knew its id could else raise its floor, and have its batches
//! acked unread. It passes on when its owner is taken off the allow-list (an edge that was renamed keeps its disk). The owner is as
//! durable as the checkpoint: after a crash before one, a spool new since belongs to whoever declares it first again.
//!
//! Bounds and what happens at them:
//! - [`Bounds::spools`] spools, [`Bounds::spools_per_edge`] of one edge. The next one evicts the spool (of that edge, at its bound) that
//!   was used longest ago and has no connection; when all have one, the newcomer is refused. What an evicted spool had journalled above
//!   its floor is forgotten: a retry of it would be doubled. Evictions are counted (`tributary_router_dedup_evictions_total`).
//! - [`Bounds::ranges_per_spool`] and [`Bounds::ranges`] in all. An id that would open one more range is told to come again; ids that
//!   touch a known range still pass, so the set closes its gaps and shrinks. Nothing is forgotten. Spools that took them all do not stop
//!   the others: each has `ranges / spools` whatever the others hold, so that there are at most twice [`Bounds::ranges`].
//!
//! Encoding, little-endian: version `u8` = 2, count `u32`, then per spool: id 16, last use `u64`, owner (length `u8`, 0 for none known,
//! and name), [`Intervals`]. Version 1 had no owners; it is still read.

use std::collections::HashMap;

use federation_proto::identity::{BatchId, EdgeName, SpoolId};
use federation_proto::intervals::Intervals;
use segment_log::mutation::{self, Mutation};

const VERSION: u8 = 2;
/// Without owners.
const VERSION_1: u8 = 1;

/// How much the sets may hold. A range costs about 48 bytes of memory and 16 of every checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Spools remembered.
    pub spools: usize,
    /// Spools remembered of one edge: its own, those it had before, and those it took over.
    pub spools_per_edge: usize,
    /// Ranges above the floor of one spool.
    pub ranges_per_spool: usize,
    /// Ranges above the floors of all spools.
    pub ranges: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { spools: 1024, spools_per_edge: 64, ranges_per_spool: 65_536, ranges: 262_144 }
    }
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Never journalled.
    New,
    /// Journalled, or below the floor.
    Duplicate,
    /// Never journalled, and there is no room to remember it now.
    Crowded,
}

/// Why an edge may not ship from a spool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolRefused {
    /// All spools have a connection and there is no room for one more.
    #[error("all {0} remembered spools are connected; this router cannot keep another one's ids")]
    TooMany(usize),
    /// It belongs to another edge.
    #[error("spool {spool} belongs to edge {owner}: if its disk was handed over, take {owner} off the allow-list first")]
    Foreign {
        /// The spool.
        spool: SpoolId,
        /// The edge that declared it first.
        owner: EdgeName,
    },
}

/// Bytes that are no dedup state of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dedup state: {0}")]
pub struct InvalidDedup(String);

#[derive(Debug, Default)]
struct Spool {
    ids: Intervals,
    last_use: u64,
    connections: u32,
    owner: Option<EdgeName>,
}

/// The sets of all spools.
#[derive(Debug, Default)]
pub struct Dedup {
    bounds: Bounds,
    spools: HashMap<SpoolId, Spool>,
    ranges: usize,
    uses: u64,
    evicted: u64,
    bindings: u64,
}

impl Dedup {
    /// Empty sets with these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// What is known of `id`.
    #[must_use]
    pub fn judge(&self, id: BatchId) -> Seen {
        let Some(spool) = self.spools.get(&id.spool) else { return Seen::New };
        let seq = id.seq.0;
        let is_below = seq < spool.ids.floor() && mutation::is(Mutation::FloorIgnored);
        if spool.ids.contains(seq) && !is_below {
            return Seen::Duplicate;
        }
        let touches = seq == spool.ids.floor() || (seq > 0 && spool.ids.contains(seq - 1)) || spool.ids.contains(seq.saturating_add(1));
        let (own, share) = (spool.ids.ranges(), self.bounds.ranges / self.bounds.spools.max(1));
        let full = own >= self.bounds.ranges_per_spool || (self.ranges >= self.bounds.ranges && own >= share);
        if full && !touches { Seen::Crowded } else { Seen::New }
    }

    /// `id` is on the journal. False when it was known.
    pub fn insert(&mut self, id: BatchId) -> bool {
        self.make_room_for(id.spool, None);
        self.on_spool(id.spool, |spool| spool.ids.insert(id.seq.0))
    }

    /// `edge` has connected, ships from `spool`, and says that nothing below `floor` is outstanding. `is_listed` says which edges are on
    /// the allow-list. Gives what was seen of the spool: a number above every one that was journalled, and not below its floor.
    ///
    /// # Errors
    /// [`SpoolRefused`]: nothing is changed then.
    pub fn connect(
        &mut self,
        edge: &EdgeName,
        spool: SpoolId,
        floor: u64,
        is_listed: impl Fn(&EdgeName) -> bool,
    ) -> Result<u64, SpoolRefused> {
        let owner = self.spools.get(&spool).and_then(|known| known.owner.as_ref());
        if let Some(owner) = owner.filter(|owner| *owner != edge && is_listed(owner)) {
            return Err(SpoolRefused::Foreign { spool, owner: owner.clone() });
        }
        let is_new = owner != Some(edge);
        if !self.make_room_for(spool, Some(edge)) {
            return Err(SpoolRefused::TooMany(self.bounds.spools.min(self.bounds.spools_per_edge)));
        }
        self.bindings += u64::from(is_new);
        Ok(self.on_spool(spool, |state| {
            state.owner = Some(edge.clone());
            state.connections += 1;
            let seen = state.ids.end();
            state.ids.raise_floor(floor);
            seen
        }))
    }

    /// A connection that shipped from `spool` is gone.
    pub fn disconnect(&mut self, spool: SpoolId) {
        if let Some(state) = self.spools.get_mut(&spool) {
            state.connections = state.connections.saturating_sub(1);
        }
    }

    /// Nothing below `floor` is outstanding from `spool`. A lower floor than before changes nothing; an unknown spool neither.
    pub fn raise_floor(&mut self, spool: SpoolId, floor: u64) {
        if self.spools.contains_key(&spool) {
            self.on_spool(spool, |state| state.ids.raise_floor(floor));
        }
    }

    /// How often a spool was given an owner since this was made: changes when a checkpoint has something to keep.
    #[must_use]
    pub fn bindings(&self) -> u64 {
        self.bindings
    }

    /// Spools remembered.
    #[must_use]
    pub fn spools(&self) -> usize {
        self.spools.len()
    }

    /// Ranges remembered above all floors.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.ranges
    }

    /// Spools forgotten to make room for others since this was made.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn on_spool<R>(&mut self, id: SpoolId, change: impl FnOnce(&mut Spool) -> R) -> R {
        self.uses += 1;
        let spool = self.spools.entry(id).or_default();
        spool.last_use = self.uses;
        let before = spool.ids.ranges();
        let result = change(spool);
        self.ranges = self.ranges + spool.ids.ranges() - before;
        result
    }

    /// False when `id` is new, there is no room (for one of `edge`) and nothing to evict.
    fn make_room_for(&mut self, id: SpoolId, edge: Option<&EdgeName>) -> bool {
        if self.spools.contains_key(&id) {
            return true;
        }
        let is_of_edge = |spool: &Spool| edge.is_some() && spool.owner.as_ref() == edge;
        let edge_is_full = self.spools.values().filter(|spool| is_of_edge(spool)).count() >= self.bounds.spools_per_edge;
        if !edge_is_full && self.spools.len() < self.bounds.spools {
            return true;
        }
        let idle = self.spools.iter().filter(|(_, spool)| spool.connections == 0 && (!edge_is_full || is_of_edge(spool)));
        let longest = idle.min_by_key(|(_, spool)| spool.last_use).map(|(&id, _)| id);
        let Some(gone) = longest.and_then(|id| self.spools.remove(&id)) else { return false };
        self.ranges -= gone.ids.ranges();
        self.evicted += 1;
        true
    }

    /// Appends the encoding (see the module).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&(self.spools.len() as u32).to_le_bytes());
        let mut spools: Vec<_> = self.spools.iter().collect();
        spools.sort_unstable_by_key(|(id, _)| **id);
        for (id, spool) in spools {
            out.extend_from_slice(&id.0);
            out.extend_from_slice(&spool.last_use.to_le_bytes());
            let owner = spool.owner.as_ref().map_or("", EdgeName::as_str);
            out.push(owner.len() as u8);
            out.extend_from_slice(owner.as_bytes());
            spool.ids.encode(out);
        }
    }

    /// Reads what [`Dedup::encode`] wrote at the start of `bytes` and says how many bytes it took.
    ///
    /// # Errors
    /// [`InvalidDedup`] when cut short or of another version.
    pub fn decode(bytes: &[u8], bounds: Bounds) -> Result<(Self, usize), InvalidDedup> {
        let short = || InvalidDedup("cut short".to_owned());
        let (&version, rest) = bytes.split_first().ok_or_else(short)?;
        if ![VERSION, VERSION_1].contains(&version) {
            return Err(InvalidDedup(format!("version {version}: expected {VERSION_1} or {VERSION}")));
        }
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let mut dedup = Self::new(bounds);
        for _ in 0..u32::from_le_bytes(*count) {
            let (id, after) = rest.split_first_chunk::<16>().ok_or_else(short)?;
            let (last_use, after) = after.split_first_chunk::<8>().ok_or_else(short)?;
            let last_use = u64::from_le_bytes(*last_use);
            let (owner, after) = if version == VERSION_1 { (None, after) } else { owner(after)? };
            let (ids, used) = Intervals::decode(after).map_err(|e| InvalidDedup(e.to_string()))?;
            rest = &after[used..];
            dedup.ranges += ids.ranges();
            dedup.uses = dedup.uses.max(last_use);
            dedup.spools.insert(SpoolId(*id), Spool { ids, last_use, connections: 0, owner });
        }
        Ok((dedup, bytes.len() - rest.len()))
    }
}

/// The owner at the start of `bytes`, and what follows it.
fn owner(bytes: &[u8]) -> Result<(Option<EdgeName>, &[u8]), InvalidDedup> {
    let short = || InvalidDedup("cut short".to_owned());
    let (&len, rest) = bytes.split_first().ok_or_else(short)?;
    let (name, rest) = rest.split_at_checked(usize::from(len)).ok_or_else(short)?;
    if name.is_empty() {
        return Ok((None, rest));
    }
    let name = EdgeName::new(&String::from_utf8_lossy(name)).map_err(|error| InvalidDedup(format!("owner: {error}")))?;
    Ok((Some(name), rest))
}

#[cfg(test)]
mod tests;
