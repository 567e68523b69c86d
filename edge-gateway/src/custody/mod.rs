//! Who holds each row, from the OK to the sender until the router's ack: the inbox, an open batch, the spool. The edge's promise is
//! kept here: **nothing acknowledged is lost, and each row is made into a batch once, across any crash.**
//!
//! How. An OK follows the fsync of the inbox record. One spool record makes a batch durable *and* names the inbox rows that it was
//! made of ([`Sources`]), so there is no moment at which a row is in a batch and not known to be. The spool's checkpoint keeps what
//! earlier records said ([`Consumed`]) together with the ledger, as one record. After a crash: consumed = checkpoint ∪ sources of
//! the spool records behind it; every other inbox row goes to the [`Backlog`] and is batched again.
//!
//! An inbox entry is acked in the inbox only after a spool checkpoint that says it was counted and consumed
//! ([`Custody::snapshot`]), and forgotten here only after an inbox checkpoint made that durable ([`Custody::inbox_trimmed`]).
//!
//! Decides only: no threads, no files, time is an argument. [`recover`] and [`Custody::snapshot`] see the logs; the tests drive both
//! logs on a disk that loses power at every write.
//!
//! Lock order, where a driver shares it between threads: a log first, then this.

mod backlog;
mod checkpoint;
mod consumed;
mod maintain;
mod recent;
mod recover;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use federation_proto::header::BatchHeader;
use federation_proto::identity::{Seq, Signal, TenantId};
use federation_proto::ledger::{EdgeTerms, Ledger, Reason};
use segment_log::mutation::{self, Mutation};

use crate::batcher::{self, Arrival, Batcher, Closed, Key};
use crate::identity::Identities;
use crate::inbox::{BodyHash, Entry};
use crate::shipper::Item;
use crate::spool::Ages;

pub use backlog::{Backlog, Rows};
pub use checkpoint::Snapshot;
pub use consumed::Consumed;
pub use maintain::{Checkpointed, SpoolKept, checkpoint_inbox, checkpoint_spool};
pub use recent::{Recent, Seen};
pub use recover::{Recovered, recover};
pub use sources::{InvalidSources, LogId, PartOf, Sources};

/// What is fixed while the edge runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When batches close.
    pub batch: batcher::Limits,
    /// Body hashes remembered.
    pub recent: usize,
    /// Classes of tenants.
    pub identities: Identities,
}

/// A request that passed its scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: Signal,
    /// Rows in it.
    pub rows: u32,
    /// Its body's hash.
    pub hash: BodyHash,
}

/// Rows of one tenant and signal by where they lie. Each is counted when it enters and leaves, and anew from the logs at start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued {
    /// In requests on their way to the inbox.
    pub requests: u64,
    /// In the inbox and in no synced batch.
    pub inbox: u64,
    /// In batches that no router acknowledged.
    pub spool: u64,
    /// In records that the disk refused to read at the start; they are left alone until the next one.
    pub unread: u64,
}

impl Queued {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests + self.inbox + self.spool + self.unread
    }
}

/// What went over the link, in all of this edge's life (to about a second before a crash).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// Bytes sent. Over QUIC UDP payload: headers, retransmissions and handshakes included; over TCP its payload: TLS included,
    /// retransmissions not.
    pub bytes_sent: u64,
    /// Batches that a router acknowledged.
    pub batches: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// The OTLP bytes that became them.
    pub raw_bytes: u64,
}

type Account = (TenantId, Signal);

/// The account of all rows.
#[derive(Debug)]
pub struct Custody {
    settings: Settings,
    inbox: LogId,
    batcher: Batcher,
    consumed: Consumed,
    backlog: Backlog,
    recent: Recent,
    ledger: Ledger<EdgeTerms>,
    queued: BTreeMap<Account, Queued>,
    duplicates: BTreeMap<Account, u64>,
    wire: Wire,
    /// Inbox entries below are in `ledger.received`.
    counted: Seq,
    /// Consumed whole, not yet acked in the inbox.
    completed: Vec<Seq>,
    /// Spool records whose sources no checkpoint has, since the disk refused to read them.
    untaken: BTreeSet<Seq>,
    /// The last start could not read everything, so the next one has to even out the ledger.
    uneven: bool,
    /// How old what is in the spool is.
    ages: Ages,
    /// Tenants whose requests are refused, since they hold their share of the spool.
    over_share: BTreeSet<TenantId>,
    stalled: bool,
    changed: bool,
}

impl Custody {
    fn new(settings: Settings, inbox: LogId) -> Self {
        Self {
            inbox,
            batcher: Batcher::new(settings.batch),
            consumed: Consumed::default(),
            backlog: Backlog::default(),
            recent: Recent::new(settings.recent),
            ledger: Ledger::default(),
            queued: BTreeMap::new(),
            duplicates: BTreeMap::new(),
            wire: Wire::default(),
            counted: Seq(0),
            completed: Vec::new(),
            untaken: BTreeSet::new(),
            uneven: false,
            ages: Ages::default(),
            over_share: BTreeSet::new(),
            stalled: false,
            changed: false,
            settings,
        }
    }

    /// The inbox that sources are of.
    #[must_use]
    pub fn inbox(&self) -> LogId {
        self.inbox
    }

    fn queued_mut(&mut self, tenant: &TenantId, signal: Signal) -> &mut Queued {
        self.changed = true;
        self.queued.entry((tenant.clone(), signal)).or_default()
    }

    fn key(&self, tenant: &TenantId, signal: Signal) -> Key {
        Key { tenant: tenant.clone(), signal, class: self.settings.identities.class(tenant) }
    }

    /// A request is there. [`Seen::No`]: it is counted as received and must end in [`Custody::stored`] or [`Custody::refused`].
    /// [`Seen::OnDisk`]: it is counted as a duplicate; answer OK. [`Seen::OnItsWay`]: ask again when its twin's fate is known.
    pub fn offer(&mut self, request: &Request) -> Seen {
        let seen = self.recent.seen(request.hash);
        let rows = u64::from(request.rows);
        match seen {
            Seen::No => {
                self.recent.begin(request.hash);
                self.ledger.account(&request.tenant, request.signal).received += rows;
                self.queued_mut(&request.tenant, request.signal).requests += rows;
                count("tributary_edge_received_rows_total", &request.tenant, request.signal, rows);
            }
            Seen::OnDisk => {
                *self.duplicates.entry((request.tenant.clone(), request.signal)).or_default() += rows;
                count("tributary_edge_duplicate_rows_total", &request.tenant, request.signal, rows);
            }
            Seen::OnItsWay => {}
        }
        seen
    }

    /// The sender is told that its request was not taken.
    pub fn refused(&mut self, request: &Request, reason: Reason) {
        self.recent.forget(request.hash);
        let rows = u64::from(request.rows);
        self.queued_mut(&request.tenant, request.signal).requests -= rows;
        *self.ledger.account(&request.tenant, request.signal).refused.entry(reason).or_default() += rows;
        count_reason("tributary_edge_refused_rows_total", &request.tenant, request.signal, reason, rows);
    }

    /// The request is on disk, as `seq` of the inbox: from here on its rows must not be lost. Called in the order of `seq`.
    /// Gives back the batches that it closed.
    pub fn stored(&mut self, now: Instant, seq: Seq, request: &Request, body: Bytes) -> Vec<Closed> {
        self.recent.settle(request.hash);
        self.counted = self.counted.max(seq.next());
        if mutation::is(Mutation::InboxRemovedEarly) {
            self.completed.push(seq);
        }
        let queued = self.queued_mut(&request.tenant, request.signal);
        queued.requests -= u64::from(request.rows);
        queued.inbox += u64::from(request.rows);
        if self.stalled {
            self.backlog.add_whole(seq);
            return Vec::new();
        }
        let key = self.key(&request.tenant, request.signal);
        self.batcher.push(now, &key, Arrival { source: seq, rows: 0..request.rows, of: request.rows, body })
    }

    /// The oldest inbox rows that are neither in a batch nor in memory: read the entry, then call [`Custody::read_back`],
    /// [`Custody::unreadable`] or [`Custody::not_read`]. None while the spool takes nothing.
    pub fn next_backlog(&mut self) -> Option<(Seq, Rows)> {
        if self.stalled { None } else { self.backlog.pop() }
    }

    /// The entry could not be read now; later.
    pub fn not_read(&mut self, seq: Seq, rows: Rows) {
        self.backlog.put_back(seq, rows);
    }

    /// The entry was read. Gives back the batches that it closed.
    pub fn read_back(&mut self, now: Instant, seq: Seq, rows: Rows, entry: &Entry, body: &Bytes) -> Vec<Closed> {
        if self.stalled {
            self.backlog.put_back(seq, rows);
            return Vec::new();
        }
        let ranges = match rows {
            Rows::All => std::iter::once(0..entry.rows).collect(),
            Rows::These(ranges) => ranges,
        };
        let key = self.key(&entry.tenant, entry.signal);
        let arrivals = ranges.into_iter().map(|rows| Arrival { source: seq, rows, of: entry.rows, body: body.clone() });
        arrivals.flat_map(|arrival| self.batcher.push(now, &key, arrival)).collect()
    }

    /// The entry is damaged: its rows die here, for a stated reason. Without its meta nobody knows how many they were.
    pub fn unreadable(&mut self, seq: Seq, rows: &Rows, entry: Option<&Entry>) {
        if let Some(entry) = entry {
            let lost = match rows {
                Rows::All => entry.rows,
                Rows::These(ranges) => ranges.iter().map(|range| range.end - range.start).sum(),
            };
            self.drop_from_inbox(&entry.tenant, entry.signal, u64::from(lost), Reason::Damaged);
        }
        metrics::counter!("tributary_edge_damaged_records_total", "log" => "inbox").increment(1);
        if self.consumed.add_whole(seq) {
            self.completed.push(seq);
        }
        self.changed = true;
    }

    /// Batches whose time has come.
    pub fn due(&mut self, now: Instant) -> Vec<Closed> {
        self.batcher.due(now)
    }

    /// When [`Custody::due`] next has something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.batcher.next_deadline()
    }

    /// Closes all open batches.
    pub fn drain(&mut self) -> Vec<Closed> {
        self.batcher.drain()
    }

    /// A batch is on disk, with the sources that its record names: its rows are consumed.
    pub fn batched(&mut self, header: &BatchHeader, sources: &Sources) {
        let queued = self.queued_mut(&header.tenant, header.signal);
        queued.inbox -= u64::from(header.rows);
        queued.spool += u64::from(header.rows);
        let completed = self.consumed.add(sources);
        self.completed.extend(completed);
    }

    /// A closed batch did not get to disk: its rows stay in the inbox, to be read back.
    pub fn let_go(&mut self, sources: &Sources) {
        for seq in sources.whole.iter().cloned().flatten() {
            self.backlog.add_whole(Seq(seq));
        }
        for part in &sources.partial {
            self.backlog.add(part.seq, part.rows.clone(), part.of);
        }
    }

    /// Rows of closed batches that no encoder can make a batch of: they die here, for a stated reason.
    pub fn unencodable(&mut self, key: &Key, parts: &[Arrival]) {
        let rows = parts.iter().map(|part| u64::from(part.rows.end - part.rows.start)).sum();
        self.drop_from_inbox(&key.tenant, key.signal, rows, Reason::Unencodable);
        let completed = self.consumed.add(&Sources::of(self.inbox, parts));
        self.completed.extend(completed);
    }

    /// A batch that no spool of these settings takes: its rows die here, for a stated reason.
    pub fn unstorable(&mut self, header: &BatchHeader, sources: &Sources) {
        self.drop_from_inbox(&header.tenant, header.signal, u64::from(header.rows), Reason::TooLarge);
        let completed = self.consumed.add(sources);
        self.completed.extend(completed);
    }

    fn drop_from_inbox(&mut self, tenant: &TenantId, signal: Signal, rows: u64, reason: Reason) {
        self.queued_mut(tenant, signal).inbox -= rows;
        self.count_dropped(tenant, signal, rows, reason);
    }

    fn count_dropped(&mut self, tenant: &TenantId, signal: Signal, rows: u64, reason: Reason) {
        *self.ledger.account(tenant, signal).dropped.entry(reason).or_default() += rows;
        count_reason("tributary_edge_dropped_rows_total", tenant, signal, reason, rows);
    }

    /// A router has the batch on its journal. Must happen together with the ack in the spool, under the spool's lock, so that a
    /// checkpoint has both or neither.
    pub fn shipped(&mut self, item: &Item) {
        let rows = u64::from(item.rows);
        self.queued_mut(&item.tenant, item.signal).spool -= rows;
        self.ledger.account(&item.tenant, item.signal).shipped += rows;
        self.wire.batches += 1;
        self.wire.payload_bytes += item.payload_bytes;
        self.wire.raw_bytes += item.raw_bytes;
        count("tributary_edge_shipped_rows_total", &item.tenant, item.signal, rows);
    }

    /// The batch dies in the spool, for a stated reason; as [`Custody::shipped`], together with the ack.
    pub fn dropped(&mut self, item: &Item, reason: Reason) {
        self.queued_mut(&item.tenant, item.signal).spool -= u64::from(item.rows);
        self.count_dropped(&item.tenant, item.signal, u64::from(item.rows), reason);
    }

    /// Rows of a batch that was dropped, and that a router may have: it had been sent.
    pub fn possibly_delivered(&mut self, item: &Item) {
        self.ledger.account(&item.tenant, item.signal).possibly_delivered += u64::from(item.rows);
        count("tributary_edge_possibly_delivered_rows_total", &item.tenant, item.signal, item.rows.into());
    }

    /// How old what is in the spool is; kept in its checkpoint.
    pub fn ages_mut(&mut self) -> &mut Ages {
        &mut self.ages
    }

    /// These tenants' requests are refused from now on, and no others' for that reason.
    pub fn set_over_share(&mut self, tenants: BTreeSet<TenantId>) {
        self.over_share = tenants;
    }

    /// Tenants whose requests are refused, since they hold their share of the spool.
    #[must_use]
    pub fn over_share(&self) -> &BTreeSet<TenantId> {
        &self.over_share
    }

    /// That many more bytes went over the link.
    pub fn sent(&mut self, wire_bytes: u64) {
        if wire_bytes > 0 {
            self.wire.bytes_sent += wire_bytes;
            self.changed = true;
            metrics::counter!("tributary_edge_wire_bytes_total").increment(wire_bytes);
        }
    }

    /// The spool takes nothing: open batches are let go, and what comes stays in the inbox, until [`Custody::resume`].
    pub fn stall(&mut self) {
        self.stalled = true;
        for closed in self.batcher.drain() {
            self.let_go(&Sources::of(self.inbox, &closed.parts));
        }
    }

    /// The spool takes batches again.
    pub fn resume(&mut self) {
        self.stalled = false;
    }

    /// Does the spool take nothing?
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Are there inbox rows to read back?
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Raw bytes in open batches.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        self.batcher.open_bytes()
    }

    /// Each account's terms, queue and duplicates.
    pub fn accounts(&self) -> impl Iterator<Item = (&TenantId, Signal, &EdgeTerms, Queued, u64)> {
        self.ledger.iter().map(|(tenant, signal, terms)| {
            let account = (tenant.clone(), signal);
            let queued = self.queued.get(&account).copied().unwrap_or_default();
            (tenant, signal, terms, queued, self.duplicates.get(&account).copied().unwrap_or(0))
        })
    }

    /// What went over the link.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.wire
    }
}

fn count(name: &'static str, tenant: &TenantId, signal: Signal, rows: u64) {
    metrics::counter!(name, "tenant" => tenant.to_string(), "signal" => signal.as_str()).increment(rows);
}

fn count_reason(name: &'static str, tenant: &TenantId, signal: Signal, reason: Reason, rows: u64) {
    metrics::counter!(name, "tenant" => tenant.to_string(), "signal" => signal.as_str(), "reason" => reason.as_str()).increment(rows);
}

#[cfg(test)]
mod tests;
