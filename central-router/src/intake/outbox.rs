//! What waits to be said on a connection's control stream: acks coalesced into ranges, nacks, a goodbye.
//!
//! Bounds: acks wait as ids, 8 bytes each, at most one per batch within the credit; at most [`MAX_NACKS`] nacks: a peer that does not
//! read them while it goes on sending is cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use federation_proto::control::{Ack, GoAway, Nack, NackReason, RouterMessage, SeqRange};
use federation_proto::identity::{BatchId, SpoolId};

/// Nacks that may wait.
pub const MAX_NACKS: usize = 4_096;
/// Ack ids that may wait: duplicates are acked without taking credit.
const MAX_ACKS: usize = 65_536;
/// Ranges in one Ack: keeps it below the cap of a control frame.
const MAX_RANGES: usize = 8_192;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    acks: BTreeMap<SpoolId, Vec<u64>>,
    ack_count: usize,
    nacks: Vec<Nack>,
    others: Vec<RouterMessage>,
    closed: bool,
}

/// The peer does not read what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unread;

impl Outbox {
    /// The batch is on the journal.
    pub(super) fn ack(&mut self, id: BatchId) -> Result<(), Unread> {
        if self.ack_count >= MAX_ACKS {
            return Err(Unread);
        }
        self.ack_count += 1;
        self.acks.entry(id.spool).or_default().push(id.seq.0);
        Ok(())
    }

    /// The batch is not.
    pub(super) fn nack(&mut self, id: BatchId, reason: NackReason, retry_after: Duration, message: String) -> Result<(), Unread> {
        if self.nacks.len() >= MAX_NACKS {
            return Err(Unread);
        }
        let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        self.nacks.push(Nack { spool: id.spool.0.to_vec(), seq: id.seq.0, reason: reason.into(), retry_after_ms, message });
        Ok(())
    }

    /// Any other message; there are few.
    pub(super) fn say(&mut self, message: impl Into<RouterMessage>) {
        self.others.push(message.into());
    }

    /// The router leaves.
    pub(super) fn go_away(&mut self, deadline: Duration) {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.say(GoAway { deadline_ms, message: "the router is stopping".to_owned() });
    }

    /// Nothing more will be said.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Would [`Outbox::take`] give something, or the end?
    pub(super) fn has_word(&self) -> bool {
        self.closed || self.ack_count > 0 || !self.nacks.is_empty() || !self.others.is_empty()
    }

    /// What to write next, in order; `None` when closed and all was taken.
    pub(super) fn take(&mut self) -> Option<Vec<RouterMessage>> {
        let mut messages = std::mem::take(&mut self.others);
        for (spool, seqs) in std::mem::take(&mut self.acks) {
            for ranges in ranges(seqs).chunks(MAX_RANGES) {
                messages.push(Ack { spool: spool.0.to_vec(), ranges: ranges.to_vec() }.into());
            }
        }
        self.ack_count = 0;
        messages.extend(std::mem::take(&mut self.nacks).into_iter().map(RouterMessage::from));
        (!messages.is_empty() || !self.closed).then_some(messages)
    }
}

/// The ranges that hold exactly these numbers.
fn ranges(mut seqs: Vec<u64>) -> Vec<SeqRange> {
    seqs.sort_unstable();
    let mut ranges: Vec<SeqRange> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some(range) if seq <= range.last.saturating_add(1) => range.last = range.last.max(seq),
            _ => ranges.push(SeqRange { first: seq, last: seq }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Ranges ack what was journalled and nothing else, however the ids came.
        #[test]
        fn ranges_are_exact(seqs in proptest::collection::vec(prop_oneof![0u64..50, Just(u64::MAX), Just(u64::MAX - 1)], 0..60)) {
            let expected: BTreeSet<u64> = seqs.iter().copied().collect();
            let ranges = ranges(seqs);
            let held: BTreeSet<u64> = ranges.iter().flat_map(|range| range.first..=range.last).collect();
            prop_assert_eq!(held, expected);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        }
    }
}
