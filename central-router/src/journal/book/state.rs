//! The book as the journal's checkpoint keeps it: protobuf with a version, so that a later version can read it.

use std::collections::{HashMap, VecDeque};

use federation_proto::identity::Seq;
use federation_proto::ledger::Ledger;
use prost::Message;
use segment_log::mutation::{self, Mutation};

use super::{Book, Duplicates, Recent, TierBook};
use crate::dedup::{Bounds, Dedup};

pub(super) const VERSION: u32 = 1;

/// State bytes that are not a book of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal state: {0}")]
pub struct InvalidBook(String);

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredBook {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(uint64, tag = "2")]
    applied: u64,
    #[prost(bytes = "vec", tag = "3")]
    dedup: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    tiers: Vec<StoredTier>,
    #[prost(uint64, tag = "5")]
    duplicate_batches: u64,
    #[prost(uint64, tag = "6")]
    duplicate_rows: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredTier {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    cursor: u64,
    #[prost(bytes = "vec", tag = "3")]
    ledger: Vec<u8>,
}

impl Book {
    /// A book for these tiers over a journal that may hold `budget` bytes, as `state` (of the newest checkpoint) left it. A tier that
    /// the state does not know starts at `first`, the oldest record still there. Gives the names and undelivered rows of tiers that
    /// the state knows and the configuration does not: they no longer hold records back.
    ///
    /// # Errors
    /// [`InvalidBook`] when the state is of another version or damaged.
    pub fn open(state: Option<&[u8]>, tiers: &[String], first: Seq, budget: u64) -> Result<(Self, Vec<String>), InvalidBook> {
        let stored = match state {
            None => StoredBook { version: VERSION, applied: first.0, ..StoredBook::default() },
            Some(bytes) => StoredBook::decode(bytes).map_err(|e| InvalidBook(e.to_string()))?,
        };
        if stored.version != VERSION {
            return Err(InvalidBook(format!("version {}: expected {VERSION}", stored.version)));
        }
        let dedup = if stored.dedup.is_empty() || mutation::is(Mutation::DedupForgottenOnRestart) {
            Dedup::new(Bounds::default())
        } else {
            Dedup::decode(&stored.dedup, Bounds::default()).map_err(|e| InvalidBook(e.to_string()))?.0
        };
        let mut known: HashMap<String, StoredTier> = stored.tiers.into_iter().map(|tier| (tier.name.clone(), tier)).collect();
        let mut books = Vec::with_capacity(tiers.len());
        for name in tiers {
            books.push(match known.remove(name) {
                None => TierBook { name: name.clone(), cursor: first, ledger: Ledger::default(), new: true },
                Some(tier) => {
                    let ledger = Ledger::decode(&tier.ledger).map_err(|e| InvalidBook(format!("tier {name}: {e}")))?;
                    TierBook { name: name.clone(), cursor: Seq(tier.cursor), ledger, new: false }
                }
            });
        }
        let book = Self {
            dedup,
            in_flight: HashMap::new(),
            in_flight_bytes: 0,
            stored_bytes: 0,
            reserved_bytes: 0,
            budget,
            queue: VecDeque::new(),
            accounts: Vec::new(),
            account_of: HashMap::new(),
            tiers: books,
            applied: Seq(stored.applied),
            duplicates: Duplicates { batches: stored.duplicate_batches, rows: stored.duplicate_rows },
            recent: Recent::default(),
        };
        Ok((book, known.into_keys().collect()))
    }

    /// The state for a checkpoint.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut dedup = Vec::new();
        self.dedup.encode(&mut dedup);
        let tiers =
            self.tiers.iter().map(|tier| StoredTier { name: tier.name.clone(), cursor: tier.cursor.0, ledger: tier.ledger.encode() });
        StoredBook {
            version: VERSION,
            applied: self.applied.0,
            dedup,
            tiers: tiers.collect(),
            duplicate_batches: self.duplicates.batches,
            duplicate_rows: self.duplicates.rows,
        }
        .encode_to_vec()
    }
}
