//! The ledger's terms: where every record went, per tenant, signal and place.
//!
//! * edge: `received = shipped + dropped(reason) + refused(reason) + queued`
//! * router, for each tier: `journalled = delivered + rejected(reason) + dropped(reason) + sampled_out + not_routed +
//!   dead_lettered + skipped + queued`
//!
//! The left side and each term are counted where they happen; `queued` is counted from what lies in the queue, never derived
//! from the others: so a sum that does not hold is a record that died unseen. Units are rows (spans, log records, data points).
//!
//! A [`Ledger`] is what a checkpoint record keeps: see [`Ledger::encode`]. Its size is bounded by tenants × signals × reasons.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use serde::Serialize;

use crate::identity::{Signal, TenantId};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal => $text:literal),+ $(,)?) => {
        /// Why a record was refused or died. The one list: metrics, reports and checkpoints all name reasons from here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant = $code),+ }

        impl Reason {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label in metrics and the word in reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

reasons! {
    /// Not OTLP.
    Malformed = 1 => "malformed",
    /// Beyond a stated size.
    TooLarge = 2 => "too_large",
    /// No identity, or one that is not known.
    Unauthenticated = 3 => "unauthenticated",
    /// Memory or a queue is at its bound; the sender was told to retry.
    Busy = 4 => "busy",
    /// The inbox is at its budget; the sender was told to retry.
    InboxFull = 5 => "inbox_full",
    /// The spool is at its budget.
    SpoolFull = 6 => "spool_full",
    /// The journal is at its budget.
    JournalFull = 7 => "journal_full",
    /// The disk failed under it.
    Disk = 8 => "disk",
    /// A stored record no longer matches its checksum.
    Damaged = 9 => "damaged",
    /// The edge may not carry this tenant.
    TenantNotAllowed = 10 => "tenant_not_allowed",
    /// An encoding that the other side cannot read.
    UnknownEncoding = 11 => "unknown_encoding",
    /// A payload that does not decode.
    Undecodable = 12 => "undecodable",
    /// Over the tenant's quota.
    OverQuota = 13 => "over_quota",
    /// The process is stopping.
    Draining = 14 => "draining",
    /// A bound on series, names or partitions.
    Overflow = 15 => "overflow",
    /// The other side could not be reached for longer than was allowed.
    Unreachable = 16 => "unreachable",
    /// The encoder could not make a batch of it.
    Unencodable = 17 => "unencodable",
    /// A tier's writer fails on it whenever it is tried.
    Unwritable = 18 => "unwritable",
    /// The destination refused the request that it was in, for good.
    Refused = 19 => "refused",
    /// The destination took the request that it was in, but not this row.
    PartlyRefused = 20 => "partly_refused",
    /// It waited for longer than was allowed.
    Expired = 21 => "expired",
    /// Its tenant held more of the disk than its share.
    OverShare = 22 => "over_share",
    /// A person dropped it.
    Operator = 23 => "operator",
    /// What was at work on it panicked: a fault of ours.
    Panicked = 24 => "panicked",
}

impl Reason {
    /// The byte in a checkpoint.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason of that code, when this version knows it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// Rows by reason.
pub type ByReason = BTreeMap<Reason, u64>;

/// Terms of one place: what came in, and the ways out.
pub trait Terms: Default + Clone {
    /// Rows that came in, as counted at the entrance.
    fn entered(&self) -> u64;
    /// Rows that left, by whatever way.
    fn left(&self) -> u64;
    /// The counters as numbered values, for a checkpoint.
    fn counters(&self) -> Vec<(u32, u64)>;
    /// Sets the counter of that number; a number of a later version is ignored.
    fn set_counter(&mut self, number: u32, value: u64);
    /// Adds another's counters to these.
    fn add(&mut self, other: &Self) {
        let mut sums: BTreeMap<u32, u64> = self.counters().into_iter().collect();
        for (number, value) in other.counters() {
            let sum = sums.entry(number).or_default();
            *sum = sum.saturating_add(value);
        }
        for (number, value) in sums {
            self.set_counter(number, value);
        }
    }
    /// Does the sum hold with these rows in the queue?
    fn balanced(&self, queued: u64) -> bool {
        self.entered() == self.left().saturating_add(queued)
    }
}

/// What became of the rows that an edge received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EdgeTerms {
    /// Rows of requests that named a tenant.
    pub received: u64,
    /// Rows that a router acknowledged.
    pub shipped: u64,
    /// Rows lost after they were acknowledged to the sender.
    pub dropped: ByReason,
    /// Rows never acknowledged: the sender was told.
    pub refused: ByReason,
    /// Of the dropped rows, those whose batch had been sent, or may have been before a restart: a router may have them after all. No
    /// term of the sum.
    pub possibly_delivered: u64,
}

/// What became of the journalled rows at one tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TierTerms {
    /// Rows put on the journal since this tier reads it.
    pub journalled: u64,
    /// Rows that the tier confirmed.
    pub delivered: u64,
    /// Rows that the tier refused for good.
    pub rejected: ByReason,
    /// Rows that could not be offered to the tier.
    pub dropped: ByReason,
    /// Rows that sampling left out.
    pub sampled_out: u64,
    /// Rows that no route sends here.
    pub not_routed: u64,
    /// Rows put aside for a person.
    pub dead_lettered: u64,
    /// Rows passed over because the tier's share of the journal was used up.
    pub skipped: u64,
}

const BY_REASON: u32 = 256;

fn numbered(group: u32, by_reason: &ByReason) -> impl Iterator<Item = (u32, u64)> + '_ {
    by_reason.iter().map(move |(reason, &rows)| (group * BY_REASON + u32::from(reason.code()), rows))
}

fn set_reason(by_reason: &mut ByReason, number: u32, value: u64) {
    if let Some(reason) = Reason::from_code((number % BY_REASON) as u8) {
        by_reason.insert(reason, value);
    }
}

fn total(by_reason: &ByReason) -> u64 {
    by_reason.values().fold(0, |sum, &rows| sum.saturating_add(rows))
}

impl Terms for EdgeTerms {
    fn entered(&self) -> u64 {
        self.received
    }

    fn left(&self) -> u64 {
        self.shipped.saturating_add(total(&self.dropped)).saturating_add(total(&self.refused))
    }

    fn counters(&self) -> Vec<(u32, u64)> {
        let mut all = vec![(1, self.received), (2, self.shipped), (3, self.possibly_delivered)];
        all.extend(numbered(1, &self.dropped));
        all.extend(numbered(2, &self.refused));
        all
    }

    fn set_counter(&mut self, number: u32, value: u64) {
        match (number / BY_REASON, number) {
            (0, 1) => self.received = value,
            (0, 2) => self.shipped = value,
            (0, 3) => self.possibly_delivered = value,
            (1, _) => set_reason(&mut self.dropped, number, value),
            (2, _) => set_reason(&mut self.refused, number, value),
            _ => {}
        }
    }
}

impl Terms for TierTerms {
    fn entered(&self) -> u64 {
        self.journalled
    }

    fn left(&self) -> u64 {
        [self.delivered, total(&self.rejected), total(&self.dropped), self.sampled_out, self.not_routed, self.dead_lettered, self.skipped]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    fn counters(&self) -> Vec<(u32, u64)> {
        let mut all = vec![
            (1, self.journalled),
            (2, self.delivered),
            (3, self.sampled_out),
            (4, self.not_routed),
            (5, self.dead_lettered),
            (6, self.skipped),
        ];
        all.extend(numbered(1, &self.rejected));
        all.extend(numbered(2, &self.dropped));
        all
    }

    fn set_counter(&mut self, number: u32, value: u64) {
        match (number / BY_REASON, number) {
            (0, 1) => self.journalled = value,
            (0, 2) => self.delivered = value,
            (0, 3) => self.sampled_out = value,
            (0, 4) => self.not_routed = value,
            (0, 5) => self.dead_lettered = value,
            (0, 6) => self.skipped = value,
            (1, _) => set_reason(&mut self.rejected, number, value),
            (2, _) => set_reason(&mut self.dropped, number, value),
            _ => {}
        }
    }
}

/// The terms of one place, per tenant and signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger<T> {
    accounts: BTreeMap<(TenantId, Signal), T>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self { accounts: BTreeMap::new() }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredLedger {
    #[prost(message, repeated, tag = "1")]
    accounts: Vec<StoredAccount>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredAccount {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(uint32, tag = "2")]
    signal: u32,
    #[prost(uint32, repeated, tag = "3")]
    numbers: Vec<u32>,
    #[prost(uint64, repeated, tag = "4")]
    values: Vec<u64>,
}

/// Bytes that are not a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLedger {
    /// Not the protobuf that [`Ledger::encode`] writes.
    #[error("stored ledger: {0}")]
    Message(#[from] prost::DecodeError),
    /// A tenant, signal or counter that cannot be.
    #[error("stored ledger: account {0:?} is not one of ours")]
    Account(String),
}

impl<T: Terms> Ledger<T> {
    /// The account of a tenant and signal, made when it is not there.
    pub fn account(&mut self, tenant: &TenantId, signal: Signal) -> &mut T {
        self.accounts.entry((tenant.clone(), signal)).or_default()
    }

    /// All accounts, by tenant and signal.
    pub fn iter(&self) -> impl Iterator<Item = (&TenantId, Signal, &T)> {
        self.accounts.iter().map(|((tenant, signal), terms)| (tenant, *signal, terms))
    }

    /// Adds another's accounts to these.
    pub fn add(&mut self, other: &Self) {
        for (tenant, signal, terms) in other.iter() {
            self.account(tenant, signal).add(terms);
        }
    }

    /// The ledger as a checkpoint keeps it (protobuf).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let accounts = self.iter().map(|(tenant, signal, terms)| {
            let (numbers, values) = terms.counters().into_iter().unzip();
            StoredAccount { tenant: tenant.to_string(), signal: u32::from(signal.code()), numbers, values }
        });
        StoredLedger { accounts: accounts.collect() }.encode_to_vec()
    }

    /// Reads what [`Ledger::encode`] wrote.
    ///
    /// # Errors
    /// [`InvalidLedger`] when it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidLedger> {
        let mut ledger = Self::default();
        for account in StoredLedger::decode(bytes)?.accounts {
            let invalid = || InvalidLedger::Account(account.tenant.clone());
            let tenant = TenantId::new(&account.tenant).map_err(|_| invalid())?;
            let signal = u8::try_from(account.signal).ok().and_then(|code| Signal::try_from(code).ok()).ok_or_else(invalid)?;
            if account.numbers.len() != account.values.len() {
                return Err(invalid());
            }
            let terms = ledger.account(&tenant, signal);
            for (&number, &value) in account.numbers.iter().zip(&account.values) {
                terms.set_counter(number, value);
            }
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_reasons() -> impl Strategy<Value = ByReason> {
        proptest::collection::btree_map(proptest::sample::select(Reason::ALL), 1u64..1 << 40, 0..5)
    }

    proptest! {
        /// A restart finds every counter as the checkpoint left it.
        #[test]
        fn a_checkpoint_forgets_nothing(received in any::<u64>(), shipped in any::<u64>(), possibly_delivered in any::<u64>(), dropped in any_reasons(), refused in any_reasons(), rejected in any_reasons()) {
            let tenant = TenantId::new("acme").unwrap();
            let mut edge = Ledger::<EdgeTerms>::default();
            *edge.account(&tenant, Signal::Logs) = EdgeTerms { received, shipped, dropped: dropped.clone(), refused, possibly_delivered };
            prop_assert_eq!(Ledger::decode(&edge.encode()), Ok(edge));
            let mut tier = Ledger::<TierTerms>::default();
            *tier.account(&tenant, Signal::Traces) =
                TierTerms { journalled: received, delivered: shipped, rejected, dropped, sampled_out: 3, not_routed: 4, dead_lettered: 5, skipped: 6 };
            prop_assert_eq!(Ledger::decode(&tier.encode()), Ok(tier));
        }
    }

    /// One row that leaves by no counted way breaks the balance.
    #[test]
    fn a_lost_row_shows() {
        let mut terms = EdgeTerms { received: 10, shipped: 4, ..EdgeTerms::default() };
        terms.dropped.insert(Reason::Damaged, 1);
        terms.refused.insert(Reason::Busy, 2);
        assert!(terms.balanced(3));
        assert!(!terms.balanced(2));
        let twice = {
            let mut sum = terms.clone();
            sum.add(&terms);
            sum
        };
        assert!(twice.balanced(6));
    }

    /// A reason's code is for ever its own.
    #[test]
    fn reasons_have_their_own_codes() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(Reason::from_code(0), None);
    }
}
