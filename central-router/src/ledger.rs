//! `/ledger`: what became of every batch that was journalled, per tier, tenant and signal.
//!
//! `balanced` says whether `journalled = delivered + rejected + dropped + sampled_out + not_routed + dead_lettered + skipped + queued`,
//! where each term was counted where it happened and `queued` from what lies in the queue. Units are rows.

use federation_proto::identity::{EdgeName, Signal, TenantId};
use federation_proto::ledger::{ByReason, Terms, TierTerms};
use serde::Serialize;
use serde_json::Value;

use crate::journal::Journal;
use crate::journal::book::{Book, Duplicates, Standing};
use crate::listener::{Connected, EdgeView};

#[derive(Serialize)]
struct Report<'a> {
    router: &'a EdgeName,
    journal: JournalView,
    tiers: Vec<TierView<'a>>,
    duplicates: Duplicates,
    edges: Vec<EdgeView>,
}

#[derive(Serialize)]
struct JournalView {
    id: String,
    bytes: u64,
    budget_bytes: u64,
    in_flight_bytes: u64,
    next_seq: u64,
    spools: usize,
    dedup_ranges: usize,
    spools_evicted: u64,
}

#[derive(Serialize)]
struct TierView<'a> {
    tier: &'a str,
    cursor: u64,
    queued: u64,
    balanced: bool,
    tenants: Vec<Account>,
}

#[derive(Serialize)]
struct Account {
    tenant: TenantId,
    signal: Signal,
    journalled: u64,
    delivered: u64,
    rejected: ByReason,
    dropped: ByReason,
    sampled_out: u64,
    not_routed: u64,
    dead_lettered: u64,
    skipped: u64,
    queued: u64,
    balanced: bool,
}

/// The report.
#[must_use]
pub fn report(router: &EdgeName, journal: &Journal, connected: &Connected) -> Value {
    let id = format!("{:032x}", u128::from_be_bytes(journal.id()));
    let edges = connected.edges();
    let book = journal.book();
    let report = Report { router, journal: journal_view(id, &book), tiers: tiers(&book), duplicates: book.duplicates(), edges };
    serde_json::to_value(report).unwrap_or_else(|error| Value::String(error.to_string()))
}

fn journal_view(id: String, book: &Book) -> JournalView {
    JournalView {
        id,
        bytes: book.stored_bytes(),
        budget_bytes: book.budget(),
        in_flight_bytes: book.in_flight_bytes(),
        next_seq: book.applied().0,
        spools: book.dedup().spools(),
        dedup_ranges: book.dedup().ranges(),
        spools_evicted: book.dedup().evicted(),
    }
}

fn tiers(book: &Book) -> Vec<TierView<'_>> {
    book.tiers().map(tier_view).collect()
}

fn tier_view(standing: Standing<'_>) -> TierView<'_> {
    let mut queued = standing.queued;
    let mut tenants: Vec<Account> = standing
        .ledger
        .iter()
        .map(|(tenant, signal, terms)| account(tenant, signal, terms, queued.remove(&(tenant.clone(), signal)).unwrap_or(0)))
        .collect();
    // What waits without ever having been counted in would be a fault: it has to show.
    let uncounted = queued.into_iter().filter(|(_, rows)| *rows > 0);
    tenants.extend(uncounted.map(|((tenant, signal), rows)| account(&tenant, signal, &TierTerms::default(), rows)));
    TierView {
        tier: standing.name,
        cursor: standing.cursor.0,
        queued: tenants.iter().map(|account| account.queued).sum(),
        balanced: tenants.iter().all(|account| account.balanced),
        tenants,
    }
}

fn account(tenant: &TenantId, signal: Signal, terms: &TierTerms, queued: u64) -> Account {
    Account {
        tenant: tenant.clone(),
        signal,
        journalled: terms.journalled,
        delivered: terms.delivered,
        rejected: terms.rejected.clone(),
        dropped: terms.dropped.clone(),
        sampled_out: terms.sampled_out,
        not_routed: terms.not_routed,
        dead_lettered: terms.dead_lettered,
        skipped: terms.skipped,
        queued,
        balanced: terms.balanced(queued),
    }
}
