//! What the spool's checkpoint keeps, and the steps from "consumed" to "gone from the inbox".
//!
//! 1. [`Custody::snapshot`], under the spool's lock with everything appended synced: the state goes into the spool's checkpoint.
//! 2. After that is on disk: the snapshot's completed entries are acked in the inbox (not before: an entry that the inbox forgets must
//!    be counted and consumed in a state that survives). If it failed, [`Custody::keep`] takes them back.
//! 3. The inbox's checkpoint makes the acks durable and removes files; then [`Custody::inbox_trimmed`] forgets what lies below.

use std::collections::BTreeSet;
use std::time::Duration;

use federation_proto::identity::Seq;
use federation_proto::intervals::Intervals;
use federation_proto::ledger::{EdgeTerms, Ledger};
use prost::Message;

use super::consumed::Consumed;
use super::sources::{LogId, PartOf};
use super::{Custody, Wire};
use crate::spool::{Ages, Mark};

/// A state for the spool's checkpoint, and what may be acked in the inbox once that is on disk.
#[derive(Debug)]
pub struct Snapshot {
    /// The state.
    pub state: Vec<u8>,
    /// Inbox entries that are whole in synced batches.
    pub completed: Vec<Seq>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredState {
    #[prost(bytes = "vec", tag = "1")]
    inbox: Vec<u8>,
    #[prost(uint64, tag = "2")]
    counted: u64,
    #[prost(bytes = "vec", tag = "3")]
    ledger: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    whole: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    partial: Vec<StoredPart>,
    #[prost(message, optional, tag = "6")]
    wire: Option<StoredWire>,
    #[prost(uint64, repeated, tag = "7")]
    untaken: Vec<u64>,
    #[prost(bool, tag = "8")]
    uneven: bool,
    #[prost(message, optional, tag = "9")]
    ages: Option<StoredAges>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredAges {
    #[prost(uint64, tag = "1")]
    counted_ms: u64,
    #[prost(uint64, tag = "2")]
    wall: u64,
    #[prost(uint64, repeated, tag = "3")]
    at_ms: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    next: Vec<u64>,
}

impl StoredAges {
    fn of(ages: &Ages) -> Self {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            counted_ms: millis(ages.counted),
            wall: ages.wall,
            at_ms: ages.marks.iter().map(|mark| millis(mark.at)).collect(),
            next: ages.marks.iter().map(|mark| mark.next.0).collect(),
        }
    }

    fn restore(self) -> Ages {
        let marks = self.at_ms.iter().zip(&self.next).map(|(&at, &next)| Mark { at: Duration::from_millis(at), next: Seq(next) });
        Ages::restored(Duration::from_millis(self.counted_ms), self.wall, marks.collect())
    }
}

#[derive(Clone, PartialEq, Message)]
struct StoredPart {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(uint32, tag = "2")]
    start: u32,
    #[prost(uint32, tag = "3")]
    end: u32,
    #[prost(uint32, tag = "4")]
    of: u32,
}

#[derive(Clone, PartialEq, Message)]
struct StoredWire {
    #[prost(uint64, tag = "1")]
    bytes_sent: u64,
    #[prost(uint64, tag = "2")]
    batches: u64,
    #[prost(uint64, tag = "3")]
    payload_bytes: u64,
    #[prost(uint64, tag = "4")]
    raw_bytes: u64,
}

/// A checkpoint's state, read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) inbox: LogId,
    pub(super) counted: Seq,
    pub(super) ledger: Ledger<EdgeTerms>,
    pub(super) consumed: Consumed,
    pub(super) wire: Wire,
    pub(super) untaken: BTreeSet<Seq>,
    pub(super) uneven: bool,
    pub(super) ages: Ages,
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let (whole, parts) = self.consumed.parts();
        let mut whole_bytes = Vec::new();
        whole.encode(&mut whole_bytes);
        let wire = &self.wire;
        StoredState {
            inbox: self.inbox.to_vec(),
            counted: self.counted.0,
            ledger: self.ledger.encode(),
            whole: whole_bytes,
            partial: parts
                .into_iter()
                .map(|part| StoredPart { seq: part.seq.0, start: part.rows.start, end: part.rows.end, of: part.of })
                .collect(),
            wire: Some(StoredWire {
                bytes_sent: wire.bytes_sent,
                batches: wire.batches,
                payload_bytes: wire.payload_bytes,
                raw_bytes: wire.raw_bytes,
            }),
            untaken: self.untaken.iter().map(|seq| seq.0).collect(),
            uneven: self.uneven,
            ages: Some(StoredAges::of(&self.ages)),
        }
        .encode_to_vec()
    }

    /// Reads what a snapshot wrote; none when it is something else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = StoredState::decode(bytes).ok()?;
        let (whole, _) = Intervals::decode(&stored.whole).ok()?;
        let parts: Vec<PartOf> =
            stored.partial.iter().map(|part| PartOf { seq: Seq(part.seq), rows: part.start..part.end, of: part.of }).collect();
        let wire = stored.wire.unwrap_or_default();
        Some(Self {
            inbox: stored.inbox.try_into().ok()?,
            counted: Seq(stored.counted),
            ledger: Ledger::decode(&stored.ledger).ok()?,
            consumed: Consumed::from_parts(whole, &parts),
            wire: Wire { bytes_sent: wire.bytes_sent, batches: wire.batches, payload_bytes: wire.payload_bytes, raw_bytes: wire.raw_bytes },
            untaken: stored.untaken.into_iter().map(Seq).collect(),
            uneven: stored.uneven,
            ages: stored.ages.unwrap_or_default().restore(),
        })
    }
}

impl Custody {
    /// Did anything happen since the last snapshot?
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.changed || !self.completed.is_empty()
    }

    /// The state as of now, for the spool's checkpoint. Requests that are not on disk are left out: after a crash they were never
    /// received.
    pub fn snapshot(&mut self) -> Snapshot {
        let mut ledger = self.ledger.clone();
        for ((tenant, signal), queued) in &self.queued {
            ledger.account(tenant, *signal).received -= queued.requests;
        }
        self.changed = false;
        let state = State {
            inbox: self.inbox,
            counted: self.counted,
            ledger,
            consumed: self.consumed.clone(),
            wire: self.wire,
            untaken: self.untaken.clone(),
            uneven: self.uneven,
            ages: self.ages.clone(),
        };
        Snapshot { state: state.encode(), completed: std::mem::take(&mut self.completed) }
    }

    /// The checkpoint did not get to disk: the next one must carry its completed entries.
    pub fn keep(&mut self, completed: Vec<Seq>) {
        self.changed = true;
        self.completed.extend(completed);
    }

    /// The state for the inbox's checkpoint: hashes of recent requests.
    #[must_use]
    pub fn recent_state(&self) -> Vec<u8> {
        self.recent.encode()
    }

    /// The inbox has forgotten everything below `first` for good.
    pub fn inbox_trimmed(&mut self, first: Seq) {
        self.consumed.raise_floor(first);
    }
}

#[cfg(test)]
mod tests {
    use federation_proto::identity::{Signal, TenantId};

    use super::*;

    /// Every part of the state comes back; noise does not.
    #[test]
    fn round_trip() {
        let mut state = State {
            inbox: [3; 16],
            counted: Seq(88),
            wire: Wire { bytes_sent: 1, batches: 2, payload_bytes: 3, raw_bytes: 4 },
            untaken: [Seq(5), Seq(70)].into(),
            uneven: true,
            ages: Ages::restored(Duration::from_secs(9), 7, [Mark { at: Duration::from_secs(3), next: Seq(4) }].into()),
            ..State::default()
        };
        state.consumed.add_whole(Seq(9));
        state.consumed.add_part(&PartOf { seq: Seq(11), rows: 2..4, of: 7 });
        state.consumed.add_part(&PartOf { seq: Seq(11), rows: 5..6, of: 7 });
        state.ledger.account(&TenantId::new("acme").unwrap(), Signal::Logs).received = 12;
        assert_eq!(State::decode(&state.encode()), Some(state));
        assert_eq!(State::decode(b"noise"), None);
    }
}
