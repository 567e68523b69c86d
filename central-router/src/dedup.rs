//! Which batches are on the journal already: per spool a set of ids above the floor that its edge declares.
//!
//! An id below the floor is judged a duplicate: the edge said that nothing below is outstanding, so what still arrives is late.
//! The floor never falls.
//!
//! Bounds and what happens at them:
//! - [`Bounds::spools`] spools. The next one evicts the spool that was used longest ago and has no connection; when all have one,
//!   the newcomer is refused. What an evicted spool had journalled above its floor is forgotten: a retry of it would be doubled.
//!   Evictions are counted (`tributary_router_dedup_evictions_total`).
//! - [`Bounds::ranges_per_spool`] and [`Bounds::ranges`] in all. An id that would open one more range is told to come again; ids that
//!   touch a known range still pass, so the set closes its gaps and shrinks. Nothing is forgotten. Spools that took them all do not stop
//!   the others: each has `ranges / spools` whatever the others hold, so that there are at most twice [`Bounds::ranges`].
//!
//! Encoding, little-endian: version `u8` = 1, count `u32`, then per spool: id 16, last use `u64`, [`Intervals`].

use std::collections::HashMap;

use federation_proto::identity::{BatchId, SpoolId};
use federation_proto::intervals::Intervals;

const VERSION: u8 = 1;

/// How much the sets may hold. A range costs about 48 bytes of memory and 16 of every checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Spools remembered.
    pub spools: usize,
    /// Ranges above the floor of one spool.
    pub ranges_per_spool: usize,
    /// Ranges above the floors of all spools.
    pub ranges: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { spools: 1024, ranges_per_spool: 65_536, ranges: 262_144 }
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

/// All spools have a connection and there is no room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {0} remembered spools are connected; this router cannot keep another one's ids")]
pub struct TooManySpools(pub usize);

/// Bytes that are no dedup state of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dedup state: {0}")]
pub struct InvalidDedup(String);

#[derive(Debug, Default)]
struct Spool {
    ids: Intervals,
    last_use: u64,
    connections: u32,
}

/// The sets of all spools.
#[derive(Debug, Default)]
pub struct Dedup {
    bounds: Bounds,
    spools: HashMap<SpoolId, Spool>,
    ranges: usize,
    uses: u64,
    evicted: u64,
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
        if spool.ids.contains(seq) {
            return Seen::Duplicate;
        }
        let touches = seq == spool.ids.floor() || (seq > 0 && spool.ids.contains(seq - 1)) || spool.ids.contains(seq.saturating_add(1));
        let (own, share) = (spool.ids.ranges(), self.bounds.ranges / self.bounds.spools.max(1));
        let full = own >= self.bounds.ranges_per_spool || (self.ranges >= self.bounds.ranges && own >= share);
        if full && !touches { Seen::Crowded } else { Seen::New }
    }

    /// `id` is on the journal. False when it was known.
    pub fn insert(&mut self, id: BatchId) -> bool {
        self.make_room_for(id.spool);
        self.on_spool(id.spool, |ids| ids.insert(id.seq.0))
    }

    /// An edge that ships from `spool` has connected and says that nothing below `floor` is outstanding.
    ///
    /// # Errors
    /// [`TooManySpools`] when the spool is new, the sets are full and every known spool is connected.
    pub fn connect(&mut self, spool: SpoolId, floor: u64) -> Result<(), TooManySpools> {
        if !self.make_room_for(spool) {
            return Err(TooManySpools(self.bounds.spools));
        }
        self.on_spool(spool, |ids| ids.raise_floor(floor));
        if let Some(state) = self.spools.get_mut(&spool) {
            state.connections += 1;
        }
        Ok(())
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
            self.on_spool(spool, |ids| ids.raise_floor(floor));
        }
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

    fn on_spool<R>(&mut self, id: SpoolId, change: impl FnOnce(&mut Intervals) -> R) -> R {
        self.uses += 1;
        let spool = self.spools.entry(id).or_default();
        spool.last_use = self.uses;
        let before = spool.ids.ranges();
        let result = change(&mut spool.ids);
        self.ranges = self.ranges + spool.ids.ranges() - before;
        result
    }

    /// False when `id` is new, there is no room and nothing to evict.
    fn make_room_for(&mut self, id: SpoolId) -> bool {
        if self.spools.contains_key(&id) || self.spools.len() < self.bounds.spools {
            return true;
        }
        let idle =
            self.spools.iter().filter(|(_, spool)| spool.connections == 0).min_by_key(|(_, spool)| spool.last_use).map(|(&id, _)| id);
        let Some(gone) = idle.and_then(|idle| self.spools.remove(&idle)) else { return false };
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
        if version != VERSION {
            return Err(InvalidDedup(format!("version {version}: expected {VERSION}")));
        }
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let mut dedup = Self::new(bounds);
        for _ in 0..u32::from_le_bytes(*count) {
            let (id, after) = rest.split_first_chunk::<16>().ok_or_else(short)?;
            let (last_use, after) = after.split_first_chunk::<8>().ok_or_else(short)?;
            let last_use = u64::from_le_bytes(*last_use);
            let (ids, used) = Intervals::decode(after).map_err(|e| InvalidDedup(e.to_string()))?;
            rest = &after[used..];
            dedup.ranges += ids.ranges();
            dedup.uses = dedup.uses.max(last_use);
            dedup.spools.insert(SpoolId(*id), Spool { ids, last_use, connections: 0 });
        }
        Ok((dedup, bytes.len() - rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use federation_proto::identity::Seq;
    use proptest::prelude::*;

    use super::*;

    fn id(spool: u8, seq: u64) -> BatchId {
        BatchId { spool: SpoolId([spool; 16]), seq: Seq(seq) }
    }

    proptest! {
        /// Within its bounds it is a set of ids per spool in which all below the highest floor ever declared are present, and a
        /// restart in the middle changes nothing.
        #[test]
        fn is_a_set_above_a_floor(ops in proptest::collection::vec((0u8..3, 0u8..4, 0u64..60), 0..150)) {
            let mut dedup = Dedup::new(Bounds::default());
            let mut ids: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
            let mut floors: BTreeMap<u8, u64> = BTreeMap::new();
            for (spool, op, n) in ops {
                match op {
                    0 => {
                        dedup.connect(SpoolId([spool; 16]), n / 2).unwrap();
                        let floor = floors.entry(spool).or_default();
                        *floor = (*floor).max(n / 2);
                    }
                    1 => {
                        let mut bytes = Vec::new();
                        dedup.encode(&mut bytes);
                        let (again, used) = Dedup::decode(&bytes, Bounds::default()).unwrap();
                        prop_assert_eq!((used, again.ranges()), (bytes.len(), dedup.ranges()));
                        dedup = again;
                    }
                    _ => {
                        let known = n < floors.get(&spool).copied().unwrap_or(0) || ids.get(&spool).is_some_and(|s| s.contains(&n));
                        prop_assert_eq!(dedup.insert(id(spool, n)), !known);
                        ids.entry(spool).or_default().insert(n);
                    }
                }
                for probe in 0..60 {
                    let known = probe < floors.get(&spool).copied().unwrap_or(0) || ids.get(&spool).is_some_and(|s| s.contains(&probe));
                    prop_assert_eq!(dedup.judge(id(spool, probe)) == Seen::Duplicate, known);
                }
            }
        }

        /// No bytes panic or make more than they hold.
        #[test]
        fn noise(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok((dedup, used)) = Dedup::decode(&bytes, Bounds::default()) {
                prop_assert!(used <= bytes.len());
                prop_assert!(dedup.spools() * 36 <= bytes.len());
            }
        }
    }

    /// A floor that falls (an edge restored from an old disk image) does not make journalled ids new.
    #[test]
    fn the_floor_never_falls() {
        let mut dedup = Dedup::new(Bounds::default());
        dedup.connect(SpoolId([1; 16]), 50).unwrap();
        dedup.connect(SpoolId([1; 16]), 10).unwrap();
        dedup.raise_floor(SpoolId([1; 16]), 3);
        assert_eq!(dedup.judge(id(1, 49)), Seen::Duplicate);
        assert_eq!(dedup.judge(id(1, 50)), Seen::New);
    }

    /// At the bound of ranges an id that opens a range waits, one that closes a gap passes, and nothing is forgotten.
    #[test]
    fn at_the_bound_of_ranges_nothing_is_forgotten() {
        let mut dedup = Dedup::new(Bounds { ranges_per_spool: 2, ..Bounds::default() });
        for seq in [10, 20] {
            assert!(dedup.insert(id(1, seq)));
        }
        assert_eq!(dedup.judge(id(1, 30)), Seen::Crowded);
        assert_eq!(dedup.judge(id(1, 11)), Seen::New);
        assert_eq!(dedup.judge(id(1, 19)), Seen::New);
        assert_eq!(dedup.judge(id(1, 10)), Seen::Duplicate);
        assert_eq!(dedup.judge(id(1, 0)), Seen::New, "touches the floor: takes no range");
        dedup.raise_floor(SpoolId([1; 16]), 15);
        assert_eq!(dedup.judge(id(1, 30)), Seen::New);
    }

    /// A spool that takes all ranges there are leaves every other spool its share.
    #[test]
    fn a_spool_full_of_gaps_stops_no_other() {
        let mut dedup = Dedup::new(Bounds { spools: 2, ranges_per_spool: 100, ranges: 4 });
        for seq in [10, 20, 30, 40] {
            assert!(dedup.insert(id(1, seq)));
        }
        assert_eq!(dedup.judge(id(1, 50)), Seen::Crowded);
        for seq in [10, 20] {
            assert_eq!(dedup.judge(id(2, seq)), Seen::New);
            assert!(dedup.insert(id(2, seq)));
        }
        assert_eq!(dedup.judge(id(2, 30)), Seen::Crowded, "its share and no more");
    }

    /// The spool that goes at the bound is the one used longest ago without a connection; connected ones are never forgotten.
    #[test]
    fn connected_spools_are_not_evicted() {
        let mut dedup = Dedup::new(Bounds { spools: 2, ..Bounds::default() });
        dedup.connect(SpoolId([1; 16]), 5).unwrap();
        dedup.connect(SpoolId([2; 16]), 5).unwrap();
        assert_eq!(dedup.connect(SpoolId([3; 16]), 5), Err(TooManySpools(2)));
        dedup.disconnect(SpoolId([2; 16]));
        dedup.connect(SpoolId([3; 16]), 5).unwrap();
        assert_eq!(dedup.judge(id(1, 4)), Seen::Duplicate);
        assert_eq!(dedup.judge(id(2, 4)), Seen::New);
        assert_eq!(dedup.evicted(), 1);
    }
}
