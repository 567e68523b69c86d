//! What goes over the link next. Decides only: the driver (`link`) has the connection, the streams and the clock.
//!
//! A batch is `ready`, `held` (the router said when to come back), `sending` (its stream is open), or `sent` (waiting for the
//! verdict). Only the router's ack takes it out. Losing the connection makes everything ready again; ids stay, so the router knows
//! the ones it has.
//!
//! **Invariants.** Only what the spool has on disk is added here, in the order of `seq`. [`Shipper::floor`] is never above a batch
//! that is still here, nor above one that a crash would bring back: a router takes what comes from below it for a late copy and acks
//! it, so a batch that it refused for good, or that the disk could not read for a while, would count as shipped. Bytes on their way never exceed the router's credit, nor batches [`Limits::in_flight_batches`].
//!
//! **Order.** Class before class, within a class what is fresh before the backlog, which has its share, and in each of these lanes the
//! oldest first over all tenants that are not held back ([`order`]); chunks of what is being sent compete under the same order, so a high
//! batch overtakes a low one in the middle. [`Shipper::pick`] is the one place that a fairer scheduler replaces: it has ready batches by
//! class and tenant.
//!
//! Bounds: one small record per batch in the spool, so bounded by the spool's budget.

mod backoff;
mod cap;
mod doubtful;
mod moves;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use federation_proto::identity::{Class, Seq, Signal, TenantId};

pub use backoff::{Backoff, Jitter};
pub use cap::LinkCap;
pub use doubtful::Doubtful;

use self::order::{Order, Waiting};

/// Bounds of what is on its way.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Batches sent or being sent and not acknowledged.
    pub in_flight_batches: usize,
    /// Streams open for writing, per class.
    pub streams: usize,
    /// A batch without a verdict for this long after its delivery is sent again; the router's dedup makes that harmless.
    pub verdict: Duration,
}

/// A batch that the spool has on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its number in the spool.
    pub seq: Seq,
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: Signal,
    /// Quality of service.
    pub class: Class,
    /// Rows in it.
    pub rows: u32,
    /// Header and payload bytes.
    pub wire_bytes: u64,
    /// Payload bytes.
    pub payload_bytes: u64,
    /// OTLP bytes that became it.
    pub raw_bytes: u64,
    /// Its oldest record, Unix nanoseconds; 0 when none has a time.
    pub oldest_unix_nano: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Held(Instant),
    Sending {
        attempt: u64,
        written: u64,
        busy: bool,
    },
    /// Without `until` the transport has not delivered all of it.
    Sent {
        attempt: u64,
        until: Option<Instant>,
    },
}

impl State {
    fn is_on_its_way(self) -> bool {
        matches!(self, Self::Sending { .. } | Self::Sent { .. })
    }
}

#[derive(Debug)]
struct Entry {
    item: Item,
    state: State,
    /// It has been on its way, or may have been before a restart.
    was_sent: bool,
    /// The journal that it may be on: a router had all of it, and its verdict was lost.
    may_be_on: Option<u64>,
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes of the batch's header and payload to its stream, then call [`Shipper::written`].
    Write(Chunk),
    /// The router does not take a batch of this size: it must be removed.
    TooLarge(Seq),
    /// Nothing until then, or until something happens.
    Wait(Option<Instant>),
}

/// A piece of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The batch.
    pub seq: Seq,
    /// Tells apart the streams of one batch that is sent more than once.
    pub attempt: u64,
    /// First byte. 0 opens the stream.
    pub from: u64,
    /// Bytes.
    pub len: u64,
    /// Nothing follows: finish the stream.
    pub last: bool,
}

/// What waits and what is on its way, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Batches on disk that no router acknowledged.
    pub batches: u64,
    /// Their header and payload bytes.
    pub bytes: u64,
    /// Bytes sent or being sent.
    pub in_flight_bytes: u64,
}

/// Ready batches of one class, by tenant.
type Ready = BTreeMap<TenantId, Waiting>;

/// The core of the shipper.
#[derive(Debug)]
pub struct Shipper {
    limits: Limits,
    cap: LinkCap,
    entries: BTreeMap<Seq, Entry>,
    bytes: u64,
    tenant_bytes: BTreeMap<TenantId, u64>,
    ready: BTreeMap<Class, Ready>,
    order: Order,
    held: BTreeSet<(Instant, Seq)>,
    tenants_held: BTreeMap<TenantId, Instant>,
    sending: BTreeSet<(Class, Seq)>,
    /// Delivered, by the time at which the verdict is overdue.
    sent: BTreeSet<(Instant, Seq)>,
    /// Sent and not delivered.
    undelivered: usize,
    in_flight_bytes: u64,
    /// What the router allows on its way; none while there is no connection.
    credit: Option<u64>,
    /// The largest payload that it takes, in bytes.
    max_payload_bytes: u64,
    /// Nothing below is outstanding, on disk either.
    settled: Seq,
    /// Streams ever begun.
    attempts: u64,
    /// Of the router that we are connected to, or were last.
    journal: u64,
    doubtful: Doubtful,
}

impl Shipper {
    /// Nothing to ship yet; what is below `settled` never will be: see [`Shipper::settled`].
    #[must_use]
    pub fn new(limits: Limits, cap: LinkCap, settled: Seq) -> Self {
        Self {
            limits,
            cap,
            entries: BTreeMap::new(),
            bytes: 0,
            tenant_bytes: BTreeMap::new(),
            ready: BTreeMap::new(),
            order: Order::default(),
            held: BTreeSet::new(),
            tenants_held: BTreeMap::new(),
            sending: BTreeSet::new(),
            sent: BTreeSet::new(),
            undelivered: 0,
            in_flight_bytes: 0,
            credit: None,
            max_payload_bytes: u64::MAX,
            settled,
            attempts: 0,
            journal: 0,
            doubtful: Doubtful::default(),
        }
    }

    /// A batch that is on disk. Batches come in the order of `seq`; one that was added before is not added again.
    pub fn add(&mut self, item: Item) {
        self.insert(item, false);
    }

    /// As [`Shipper::add`], of one that was on disk when the process started: it may have been sent before.
    pub fn add_old(&mut self, item: Item) {
        self.insert(item, true);
    }

    fn insert(&mut self, item: Item, was_sent: bool) {
        if self.entries.contains_key(&item.seq) {
            return;
        }
        self.bytes += item.wire_bytes;
        match self.tenant_bytes.get_mut(&item.tenant) {
            Some(bytes) => *bytes += item.wire_bytes,
            None => drop(self.tenant_bytes.insert(item.tenant.clone(), item.wire_bytes)),
        }
        let seq = item.seq;
        self.order.added(seq);
        self.entries.insert(seq, Entry { item, state: State::Ready, was_sent, may_be_on: None });
        self.make_ready(seq);
    }

    /// Batches below `end` that are not on their way, oldest first.
    pub fn idle(&self, end: Seq) -> impl Iterator<Item = &Item> {
        self.entries.range(..end).filter(|(_, entry)| !entry.state.is_on_its_way()).map(|(_, entry)| &entry.item)
    }

    /// The batch dies for want of room or time, unless it is on its way by now. Says whether a router may have it all the same: it was
    /// sent once, and the verdict was lost.
    pub fn give_up(&mut self, seq: Seq) -> Option<(Item, bool)> {
        let entry = self.entries.get(&seq).filter(|entry| !entry.state.is_on_its_way())?;
        let was_sent = entry.was_sent;
        self.remove(seq).map(|item| (item, was_sent))
    }

    /// Header and payload bytes of each tenant that has batches here.
    pub fn tenant_bytes(&self) -> impl Iterator<Item = (&TenantId, u64)> {
        self.tenant_bytes.iter().map(|(tenant, bytes)| (tenant, *bytes))
    }

    /// No batch below will be sent again, whatever happens: what the router may forget ids below.
    #[must_use]
    pub fn floor(&self) -> Seq {
        self.entries.first_key_value().map_or(self.settled, |(seq, _)| self.settled.min(*seq))
    }

    /// A checkpoint of the spool says that everything below is acknowledged or dropped.
    pub fn settled(&mut self, below: Seq) {
        self.settled = self.settled.max(below);
    }

    /// Batches and bytes that no router acknowledged.
    #[must_use]
    pub fn depth(&self) -> Depth {
        Depth { batches: self.entries.len() as u64, bytes: self.bytes, in_flight_bytes: self.in_flight_bytes }
    }

    /// The batch of that number, while it is here.
    #[must_use]
    pub fn item(&self, seq: Seq) -> Option<&Item> {
        self.entries.get(&seq).map(|entry| &entry.item)
    }

    /// All batches here, oldest first.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.entries.values().map(|entry| &entry.item)
    }

    /// The batches that a router has been sent or is being sent, without a verdict. At most [`Limits::in_flight_batches`].
    pub fn in_flight(&self) -> impl Iterator<Item = Seq> {
        self.entries.iter().filter(|(_, entry)| entry.state.is_on_its_way()).map(|(seq, _)| *seq)
    }

    /// The link's own rate limit.
    pub fn cap(&mut self) -> &mut LinkCap {
        &mut self.cap
    }

    /// A router took us in; it allows that many bytes on their way, and payloads of at most `max_payload_bytes`.
    pub fn connected(&mut self, credit_bytes: u64, max_payload_bytes: u64) {
        self.credit = Some(credit_bytes);
        self.max_payload_bytes = max_payload_bytes;
        self.cap.restart_count();
        self.order.connected();
    }

    /// The router allows another number of bytes.
    pub fn credit(&mut self, bytes: u64) {
        if self.credit.is_some() {
            self.credit = Some(bytes);
        }
    }

    /// The connection is gone: nothing is on its way any more. What a router held back is free again too, as the next may be another.
    pub fn disconnected(&mut self) {
        self.doubt();
        self.credit = None;
        self.in_flight_bytes = 0;
        self.held.clear();
        self.tenants_held.clear();
        self.sending.clear();
        self.sent.clear();
        self.undelivered = 0;
        let back: Vec<Seq> = self.entries.iter().filter(|(_, entry)| entry.state != State::Ready).map(|(seq, _)| *seq).collect();
        for seq in back {
            self.make_ready(seq);
        }
    }

    /// The router has these on its journal (both ends included). Gives back the batches that were here.
    pub fn acked(&mut self, first: Seq, last: Seq) -> Vec<Item> {
        if first > last {
            return Vec::new();
        }
        let known: Vec<Seq> = self.entries.range(first..=last).map(|(seq, _)| *seq).collect();
        known.last().iter().for_each(|seq| self.order.acked(**seq));
        known.into_iter().filter_map(|seq| self.remove(seq)).collect()
    }

    /// The batch leaves without having been shipped: its record cannot be read, or no router will ever take it.
    pub fn remove(&mut self, seq: Seq) -> Option<Item> {
        self.leave_state(seq);
        let entry = self.entries.remove(&seq)?;
        self.bytes -= entry.item.wire_bytes;
        if let Some(bytes) = self.tenant_bytes.get_mut(&entry.item.tenant) {
            *bytes -= entry.item.wire_bytes;
            if *bytes == 0 {
                self.tenant_bytes.remove(&entry.item.tenant);
            }
        }
        Some(entry.item)
    }

    /// The router wants this batch no earlier than `at`. With `whole_tenant` nothing of its tenant is begun before then.
    pub fn hold(&mut self, seq: Seq, at: Instant, whole_tenant: bool) {
        self.leave_state(seq);
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.state = State::Held(at);
            self.held.insert((at, seq));
            if whole_tenant {
                let until = self.tenants_held.entry(entry.item.tenant.clone()).or_insert(at);
                *until = at.max(*until);
            }
        }
    }

    /// The chunk is in the transport's hands. After the last, say so with [`Shipper::delivered`] when the router's transport has it all.
    pub fn written(&mut self, chunk: Chunk) {
        let Some(entry) = self.entries.get_mut(&chunk.seq) else { return };
        if !matches!(entry.state, State::Sending { attempt, busy: true, .. } if attempt == chunk.attempt) {
            return;
        }
        if chunk.last {
            self.await_delivery(chunk.seq, chunk.attempt);
        } else {
            entry.state = State::Sending { attempt: chunk.attempt, written: chunk.from + chunk.len, busy: false };
        }
    }

    /// The router has all bytes of this stream, or wants no more of them: its verdict is due within [`Limits::verdict`]. Not sooner: on a
    /// slow link what was written may be longer on its way than that, and sending it again would only make it longer.
    pub fn delivered(&mut self, now: Instant, chunk: Chunk) {
        if self.is_sending(chunk) {
            self.await_delivery(chunk.seq, chunk.attempt);
        }
        let Some(entry) = self.entries.get_mut(&chunk.seq) else { return };
        if entry.state == (State::Sent { attempt: chunk.attempt, until: None }) {
            let until = now + self.limits.verdict;
            entry.state = State::Sent { attempt: chunk.attempt, until: Some(until) };
            self.undelivered -= 1;
            self.sent.insert((until, chunk.seq));
        }
    }

    /// Does this stream of the batch have more to write?
    #[must_use]
    pub fn is_sending(&self, chunk: Chunk) -> bool {
        matches!(self.entries.get(&chunk.seq), Some(Entry { state: State::Sending { attempt, .. }, .. }) if *attempt == chunk.attempt)
    }

    /// What to do now. Call again after anything happened, and at the time given back.
    pub fn next(&mut self, now: Instant) -> Step {
        self.release(now);
        self.order.turn(now);
        let Some(credit) = self.credit else { return Step::Wait(None) };
        let Some(pick) = self.pick(credit) else { return Step::Wait(self.next_release()) };
        let (seq, chunk_bytes) = (pick.seq, self.cap.chunk_bytes());
        let Some(entry) = self.entries.get(&seq) else { return Step::Wait(self.next_release()) };
        if entry.item.payload_bytes > self.max_payload_bytes {
            return Step::TooLarge(seq);
        }
        let total = entry.item.wire_bytes;
        let (attempt, from) = match entry.state {
            State::Sending { attempt, written, .. } => (attempt, written),
            _ => (self.attempts + 1, 0),
        };
        let len = chunk_bytes.min(total - from);
        if let Err(at) = self.cap.take(now, len) {
            return Step::Wait(Some(self.next_release().map_or(at, |release| release.min(at))));
        }
        self.order.took(pick, len);
        if from == 0 {
            self.attempts = attempt;
            self.begin(seq);
        }
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.state = State::Sending { attempt, written: from, busy: true };
        }
        Step::Write(Chunk { seq, attempt, from, len, last: from + len == total })
    }
}

#[cfg(test)]
mod tests;
