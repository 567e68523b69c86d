//! What the router knows of its journal: ids seen, what waits, where each tier stands, the ledger. Pure; the log itself is elsewhere.
//!
//! `applied` is the seq below which every record is in the counters and in the dedup sets. The checkpoint keeps `applied` with them,
//! so after a crash the records from `applied` on are counted again from the log, once. For each tier:
//! `cursor ≤ applied`; records below the lowest cursor are acked in the log and may go.
//!
//! Bounds: [`MAX_QUEUED`] batches of 24 bytes each; past that, and past the budget in bytes, a batch is refused with "journal full".
//! The ledger is bounded by tenants × signals (tenants are on the allow-list).

mod state;
mod watch;

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;

use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Seq, Signal, TenantId};
use federation_proto::ledger::{Ledger, Reason, Terms, TierTerms};

use crate::dedup::{Dedup, Seen};
pub use state::InvalidBook;
pub use watch::Watched;

use super::recent::Recent;

/// Batches that may wait for the slowest tier.
pub const MAX_QUEUED: usize = 1 << 20;
/// Batches of one unit, however small: a decoded batch takes some kilobytes whatever its header says of its raw bytes.
pub const MAX_UNIT_BATCHES: usize = 4_096;

/// Is there a place for a batch on the journal?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Yes.
    Fresh,
    /// It is there already, or below the floor of its spool.
    Duplicate,
    /// The same id is being written now.
    Twin,
    /// Its id cannot be remembered now.
    Crowded,
    /// No room.
    Full,
}

/// One batch on the journal: 24 bytes, as there may be many.
#[derive(Debug, Clone, Copy)]
struct Queued {
    seq: Seq,
    rows: u32,
    /// Raw bytes by its header, or its payload's length if that is more; at most `u32::MAX`.
    raw_bytes: u32,
    account: u32,
}

/// One batch of a unit, by its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its place on the journal.
    pub seq: Seq,
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: Signal,
    /// How many.
    pub rows: u64,
}

/// Where one tier stands.
#[derive(Debug, Clone)]
struct TierBook {
    name: String,
    /// The first seq that the tier has not been done with.
    cursor: Seq,
    ledger: Ledger<TierTerms>,
    /// Not in the state that the book was opened with.
    new: bool,
}

/// A run of records that a tier is to write as one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// From the tier's cursor to the last record of the unit.
    pub range: RangeInclusive<u64>,
    /// The records that are there, in order.
    pub batches: Vec<Planned>,
    /// Their rows.
    pub rows: u64,
    /// Their raw bytes.
    pub raw_bytes: u64,
    /// The unit is as large as it may get: more would wait for the next.
    pub full: bool,
}

/// How large a unit may get.
#[derive(Debug, Clone, Copy)]
pub struct UnitLimits {
    /// Rows.
    pub rows: u64,
    /// Raw bytes.
    pub raw_bytes: u64,
}

/// Where a tier stands.
#[derive(Debug)]
pub struct Standing<'a> {
    /// Its name.
    pub name: &'a str,
    /// The first seq that it has not been done with.
    pub cursor: Seq,
    /// Its terms.
    pub ledger: &'a Ledger<TierTerms>,
    /// Rows that wait for it.
    pub queued: HashMap<(TenantId, Signal), u64>,
}

/// Duplicates answered with an ack since the journal was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Duplicates {
    /// Batches.
    pub batches: u64,
    /// Rows by their headers.
    pub rows: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Book {
    dedup: Dedup,
    in_flight: HashMap<BatchId, u64>,
    in_flight_bytes: u64,
    stored_bytes: u64,
    reserved_bytes: u64,
    budget: u64,
    queue: VecDeque<Queued>,
    accounts: Vec<(TenantId, Signal)>,
    account_of: HashMap<(TenantId, Signal), u32>,
    tiers: Vec<TierBook>,
    applied: Seq,
    duplicates: Duplicates,
    recent: Recent,
}

impl Book {
    /// Is there a place for this batch?
    #[must_use]
    pub fn judge(&self, header: &BatchHeader) -> Admit {
        match self.dedup.judge(header.id) {
            Seen::Duplicate => return Admit::Duplicate,
            _ if self.in_flight.contains_key(&header.id) => return Admit::Twin,
            Seen::Crowded => return Admit::Crowded,
            Seen::New => {}
        }
        let bytes = [self.stored_bytes, self.reserved_bytes, self.in_flight_bytes, u64::from(header.payload_len)];
        let bytes = bytes.into_iter().fold(0, u64::saturating_add);
        if bytes > self.budget || self.queue.len() + self.in_flight.len() >= MAX_QUEUED { Admit::Full } else { Admit::Fresh }
    }

    /// The batch is on its way to the journal: its id is taken until [`Book::journalled`] or [`Book::give_up`].
    pub fn reserve(&mut self, header: &BatchHeader) {
        let bytes = u64::from(header.payload_len);
        if self.in_flight.insert(header.id, bytes).is_none() {
            self.in_flight_bytes += bytes;
        }
    }

    /// The batch did not get there.
    pub fn give_up(&mut self, id: BatchId) {
        if let Some(bytes) = self.in_flight.remove(&id) {
            self.in_flight_bytes -= bytes;
        }
    }

    /// A batch came that is on the journal already.
    pub fn count_duplicate(&mut self, header: &BatchHeader) {
        self.duplicates.batches += 1;
        self.duplicates.rows += u64::from(header.rows);
    }

    /// The record at `seq` is durable. Idempotent: a record below `applied` only frees its id.
    pub fn journalled(&mut self, seq: Seq, header: &BatchHeader) {
        self.give_up(header.id);
        if seq < self.applied {
            return;
        }
        self.applied = seq.next();
        self.dedup.insert(header.id);
        for tier in &mut self.tiers {
            if tier.cursor <= seq {
                tier.ledger.account(&header.tenant, header.signal).journalled += u64::from(header.rows);
            }
        }
        let account = self.enqueue(seq, header);
        self.recent.push(seq, account, header.rows);
    }

    /// After a restart: a record that the checkpoint counted and some tier still has to see. In the order of `seq`, before any
    /// [`Book::journalled`].
    pub fn requeue(&mut self, seq: Seq, header: &BatchHeader) {
        for tier in &mut self.tiers {
            // A tier new to this journal meets the record here for the first time.
            if tier.new && tier.cursor <= seq {
                tier.ledger.account(&header.tenant, header.signal).journalled += u64::from(header.rows);
            }
        }
        self.enqueue(seq, header);
    }

    /// Gives the number of its account.
    fn enqueue(&mut self, seq: Seq, header: &BatchHeader) -> u32 {
        let key = (header.tenant.clone(), header.signal);
        let accounts = &mut self.accounts;
        let account = *self.account_of.entry(key).or_insert_with_key(|key| {
            accounts.push(key.clone());
            accounts.len() as u32 - 1
        });
        let raw_bytes = u32::try_from(header.raw_bytes.max(u64::from(header.payload_len))).unwrap_or(u32::MAX);
        if self.queue.back().is_none_or(|last| last.seq < seq) {
            self.queue.push_back(Queued { seq, rows: header.rows, raw_bytes, account });
        }
        account
    }

    /// After a restart that reported damage: rows that were counted and are no longer there are charged to it, for each tier. Without
    /// reported damage nothing is charged: then a difference is a fault, and has to show.
    pub fn charge_damage(&mut self) {
        for at in 0..self.tiers.len() {
            let queued = self.queued_rows(self.tiers[at].cursor);
            let tier = &mut self.tiers[at];
            let owed: Vec<_> = tier
                .ledger
                .iter()
                .map(|(tenant, signal, terms)| {
                    let waiting = queued.get(&(tenant.clone(), signal)).copied().unwrap_or(0);
                    (tenant.clone(), signal, terms.entered().saturating_sub(terms.left().saturating_add(waiting)))
                })
                .collect();
            for (tenant, signal, rows) in owed {
                if rows > 0 {
                    *tier.ledger.account(&tenant, signal).dropped.entry(Reason::Damaged).or_default() += rows;
                }
            }
        }
    }

    /// The next unit of a tier; `None` when nothing waits for it.
    #[must_use]
    pub fn plan(&self, tier: usize, limits: UnitLimits) -> Option<Plan> {
        let cursor = self.tiers.get(tier)?.cursor;
        let from = self.queue.partition_point(|queued| queued.seq < cursor);
        let mut plan = Plan { range: cursor.0..=cursor.0, batches: Vec::new(), rows: 0, raw_bytes: 0, full: false };
        for queued in self.queue.range(from..) {
            let (rows, raw_bytes) = (u64::from(queued.rows), u64::from(queued.raw_bytes));
            let beyond = plan.rows + rows > limits.rows || plan.raw_bytes + raw_bytes > limits.raw_bytes;
            if !plan.batches.is_empty() && (beyond || plan.batches.len() >= MAX_UNIT_BATCHES) {
                plan.full = true;
                break;
            }
            plan.rows += rows;
            plan.raw_bytes += raw_bytes;
            plan.range = cursor.0..=queued.seq.0;
            plan.batches.push(self.planned(queued));
        }
        plan.full |= plan.rows >= limits.rows || plan.raw_bytes >= limits.raw_bytes;
        (!plan.batches.is_empty()).then_some(plan)
    }

    /// The records of `range` that wait for a tier: what a manifest that outlived a crash dictates.
    #[must_use]
    pub fn plan_range(&self, range: RangeInclusive<u64>) -> Plan {
        let from = self.queue.partition_point(|queued| queued.seq.0 < *range.start());
        let inside = self.queue.range(from..).take_while(|queued| queued.seq.0 <= *range.end());
        let mut plan = Plan { range: range.clone(), batches: Vec::new(), rows: 0, raw_bytes: 0, full: true };
        for queued in inside {
            plan.rows += u64::from(queued.rows);
            plan.raw_bytes += u64::from(queued.raw_bytes);
            plan.batches.push(self.planned(queued));
        }
        plan
    }

    fn planned(&self, queued: &Queued) -> Planned {
        let (tenant, signal) = self.accounts[queued.account as usize].clone();
        Planned { seq: queued.seq, tenant, signal, rows: u64::from(queued.rows) }
    }

    /// A tier is done with all records up to `last`, with this outcome. Gives the records that no tier needs any more.
    pub fn settle(&mut self, tier: usize, last: Seq, outcome: &Ledger<TierTerms>) -> Option<RangeInclusive<u64>> {
        let before = self.lowest_cursor();
        let book = self.tiers.get_mut(tier)?;
        if last < book.cursor {
            return None;
        }
        book.cursor = last.next();
        book.ledger.add(outcome);
        let after = self.lowest_cursor();
        while self.queue.front().is_some_and(|queued| queued.seq < after) {
            self.queue.pop_front();
        }
        (after > before).then(|| before.0..=after.0 - 1)
    }

    /// The record at `seq` dies before some tier saw it: counted as dropped at each of them. False if it does not wait.
    pub fn drop_record(&mut self, seq: Seq, reason: Reason) -> bool {
        let at = self.queue.partition_point(|queued| queued.seq < seq);
        if self.queue.get(at).is_none_or(|queued| queued.seq != seq) {
            return false;
        }
        let Some(queued) = self.queue.remove(at) else { return false };
        let (tenant, signal) = &self.accounts[queued.account as usize];
        for tier in self.tiers.iter_mut().filter(|tier| tier.cursor <= seq) {
            *tier.ledger.account(tenant, *signal).dropped.entry(reason).or_default() += u64::from(queued.rows);
        }
        true
    }

    /// The first seq that some tier still has to see; `applied` when there is no tier.
    #[must_use]
    pub fn lowest_cursor(&self) -> Seq {
        self.tiers.iter().map(|tier| tier.cursor).min().unwrap_or(self.applied)
    }

    /// Where a tier stands.
    #[must_use]
    pub fn cursor(&self, tier: usize) -> Option<Seq> {
        self.tiers.get(tier).map(|tier| tier.cursor)
    }

    /// The first seq whose record is not in the counters.
    #[must_use]
    pub fn applied(&self) -> Seq {
        self.applied
    }

    /// Bytes of the journal on disk, as last measured.
    pub fn set_stored_bytes(&mut self, bytes: u64) {
        self.stored_bytes = bytes;
    }

    /// Bytes of the journal on disk, as last measured.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Bytes of the budget that the log keeps free beside a payload, as it said when it last refused one: what it would refuse after
    /// the payload crossed the link is refused on the header.
    pub fn set_reserved_bytes(&mut self, bytes: u64) {
        self.reserved_bytes = bytes;
    }

    /// Bytes that the journal may hold.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Payload bytes on their way to the journal.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Duplicates answered.
    #[must_use]
    pub fn duplicates(&self) -> Duplicates {
        self.duplicates
    }

    /// The sets of ids.
    #[must_use]
    pub fn dedup(&self) -> &Dedup {
        &self.dedup
    }

    /// The sets of ids, to declare spools and floors.
    pub fn dedup_mut(&mut self) -> &mut Dedup {
        &mut self.dedup
    }

    /// Each tier, with the rows that wait for it counted from what lies in the queue.
    pub fn tiers(&self) -> impl Iterator<Item = Standing<'_>> {
        self.tiers.iter().map(|tier| Standing {
            name: &tier.name,
            cursor: tier.cursor,
            ledger: &tier.ledger,
            queued: self.queued_rows(tier.cursor),
        })
    }

    fn queued_rows(&self, cursor: Seq) -> HashMap<(TenantId, Signal), u64> {
        let mut by_account = vec![0u64; self.accounts.len()];
        let from = self.queue.partition_point(|queued| queued.seq < cursor);
        for queued in self.queue.range(from..) {
            by_account[queued.account as usize] += u64::from(queued.rows);
        }
        self.accounts.iter().cloned().zip(by_account).collect()
    }
}

#[cfg(test)]
mod tests;
