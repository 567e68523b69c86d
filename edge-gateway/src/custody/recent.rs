//! Hashes of recent requests. A sender that missed our OK sends the same body again: it gets the OK once more and the rows are not
//! taken twice. Only what is on disk answers OK; the twin of a request that is still on its way there waits for it.
//!
//! Bounds: the hashes remembered are a fixed number, the oldest goes first; those on their way are as many as requests in memory.

use std::collections::{HashSet, VecDeque};

use crate::inbox::BodyHash;

/// Whether a body was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Never, or too long ago.
    No,
    /// Its twin is on its way to disk.
    OnItsWay,
    /// It is on disk.
    OnDisk,
}

/// The hashes.
#[derive(Debug, Default)]
pub struct Recent {
    limit: usize,
    known: HashSet<BodyHash>,
    order: VecDeque<BodyHash>,
    on_their_way: HashSet<BodyHash>,
}

impl Recent {
    /// Remembers at most `limit`.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Has this body been seen?
    #[must_use]
    pub fn seen(&self, hash: BodyHash) -> Seen {
        if self.known.contains(&hash) {
            Seen::OnDisk
        } else if self.on_their_way.contains(&hash) {
            Seen::OnItsWay
        } else {
            Seen::No
        }
    }

    /// It is on its way to disk.
    pub fn begin(&mut self, hash: BodyHash) {
        self.on_their_way.insert(hash);
    }

    /// It did not get there.
    pub fn forget(&mut self, hash: BodyHash) {
        self.on_their_way.remove(&hash);
    }

    /// It is on disk.
    pub fn settle(&mut self, hash: BodyHash) {
        self.on_their_way.remove(&hash);
        if self.limit == 0 || !self.known.insert(hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The hashes on disk, oldest first, 16 bytes each: what the inbox's checkpoint keeps.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.order.iter().flat_map(|hash| hash.0.to_le_bytes()).collect()
    }

    /// Adds what [`Recent::encode`] wrote; trailing bytes are ignored.
    pub fn restore(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks_exact(16) {
            if let Ok(hash) = <[u8; 16]>::try_from(chunk) {
                self.settle(BodyHash(u128::from_le_bytes(hash)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OK is repeated only for what is on disk; what failed is taken as new; the oldest is forgotten first, also over a restart.
    #[test]
    fn only_what_is_on_disk_is_known() {
        let mut recent = Recent::new(2);
        let [a, b, c] = [1, 2, 3].map(BodyHash);
        recent.begin(a);
        assert_eq!(recent.seen(a), Seen::OnItsWay);
        recent.forget(a);
        assert_eq!(recent.seen(a), Seen::No);
        for hash in [a, b, b, c] {
            recent.begin(hash);
            recent.settle(hash);
        }
        let mut again = Recent::new(2);
        again.restore(&recent.encode());
        for recent in [recent, again] {
            assert_eq!([a, b, c].map(|hash| recent.seen(hash)), [Seen::No, Seen::OnDisk, Seen::OnDisk]);
        }
    }
}
