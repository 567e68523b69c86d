//! What may lie twice. Two routers with journals of their own cannot know of each other: a batch that one had in whole when its connection
//! was lost may be on its journal, and then goes to the other. Such batches are counted as they go.

use federation_proto::identity::Seq;
use serde::Serialize;

use super::cap::CHUNK_BYTES;
use super::{Entry, Shipper, State};

/// What went to another journal than one that may have it too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Doubtful {
    /// Batches.
    pub possibly_doubled_batches: u64,
    /// Their rows.
    pub possibly_doubled_rows: u64,
}

impl Entry {
    /// May a router have every byte of it, so that it may have put it on its journal?
    fn may_be_whole(&self) -> bool {
        match self.state {
            State::Sent { .. } => true,
            State::Sending { written, busy, .. } => busy && self.item.wire_bytes - written <= CHUNK_BYTES.1,
            State::Ready | State::Held(_) => false,
        }
    }
}

impl Shipper {
    /// Where batches go from now on, by any number that journals do not share.
    pub fn goes_to(&mut self, journal: u64) {
        self.journal = journal;
    }

    /// Batches that may lie on two journals, since the process started.
    #[must_use]
    pub fn doubtful(&self) -> Doubtful {
        self.doubtful
    }

    /// The connection is gone, and with it the verdicts.
    pub(super) fn doubt(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.may_be_whole()) {
            entry.may_be_on = Some(self.journal);
        }
    }

    /// The batch goes to the router that we are connected to.
    pub(super) fn count_doubt(&mut self, seq: Seq) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        if entry.may_be_on.is_some_and(|journal| journal != self.journal) {
            entry.may_be_on = None;
            self.doubtful.possibly_doubled_batches += 1;
            self.doubtful.possibly_doubled_rows += u64::from(entry.item.rows);
        }
    }
}
