//! What is looked at now and then: the allow-list's file, whether the journal has room, whether the tiers move, when to keep state.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use federation_proto::identity::Seq;

use crate::edges::Refresh;
use crate::listener::Shared;
use crate::tier::stall::Stall;

/// How often all of it is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the journal's state is kept when no tier moves: it bounds what a restart has to count again.
const CHECKPOINT: Duration = Duration::from_secs(10);
/// Share of its budget past which the journal is reported as full, in percent.
const FULL_PERCENT: u64 = 95;

/// Runs until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut stalls = HashMap::new();
    let mut kept = (Instant::from(tokio::time::Instant::now()), None);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = tokio::time::Instant::now().into_std();
        follow_allow_list(&shared);
        look_at_journal(&shared);
        look_at_tiers(&shared, now, &mut stalls);
        if now.saturating_duration_since(kept.0) >= CHECKPOINT {
            kept = (now, keep_state(&shared, kept.1).await);
        }
    }
}

fn follow_allow_list(shared: &Shared) {
    match shared.allowed.refresh() {
        Refresh::Same => {}
        Refresh::Changed => {
            tracing::info!(edges = shared.allowed.current().edges.len(), "the allow-list has changed");
            shared.readiness.set("allow_list", Ok(()));
        }
        Refresh::Kept(why) => {
            tracing::error!(why, "allow-list");
            shared.readiness.set("allow_list", Err(&why));
        }
    }
}

fn look_at_journal(shared: &Shared) {
    let (stored, budget, spools, evicted) = {
        let book = shared.journal.book();
        (book.stored_bytes(), book.budget(), book.dedup().spools(), book.dedup().evicted())
    };
    metrics::gauge!("tributary_router_dedup_spools").set(spools as f64);
    metrics::counter!("tributary_router_dedup_evictions_total").absolute(evicted);
    if stored >= budget / 100 * FULL_PERCENT {
        let why = format!("{stored} of {budget} bytes: a tier does not keep up, or journal.budget is too small");
        shared.readiness.set("journal_room", Err(&why));
    } else {
        shared.readiness.set("journal_room", Ok(()));
    }
}

fn look_at_tiers(shared: &Shared, now: Instant, stalls: &mut HashMap<String, Stall>) {
    let book = shared.journal.book();
    for tier in book.tiers() {
        let queued: u64 = tier.queued.values().sum();
        metrics::gauge!("tributary_router_tier_queued_rows", "tier" => tier.name.to_owned()).set(queued as f64);
        let stall = stalls.entry(tier.name.to_owned()).or_insert_with(|| Stall::new(now, tier.cursor.0));
        let condition = format!("tier_{}_progress", tier.name);
        match stall.look(now, tier.cursor.0, queued) {
            None => shared.readiness.set(&condition, Ok(())),
            Some(still) => shared.readiness.set(&condition, Err(&format!("nothing written for {} s, {queued} rows wait", still.as_secs()))),
        }
    }
}

/// Keeps the journal's state if records came since it was `kept`; gives what is kept now.
async fn keep_state(shared: &Shared, kept: Option<Seq>) -> Option<Seq> {
    let (journal, applied) = (shared.journal.clone(), shared.journal.book().applied());
    if kept == Some(applied) {
        return kept;
    }
    match tokio::task::spawn_blocking(move || journal.checkpoint()).await {
        Ok(Ok(())) => {
            shared.readiness.set("journal", Ok(()));
            Some(applied)
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the journal's state could not be kept");
            shared.readiness.set("journal", Err(&error.to_string()));
            kept
        }
        Err(_) => kept,
    }
}

/// Declares this module's metrics.
pub(crate) fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge};
    describe_gauge!("tributary_router_tier_queued_rows", Unit::Count, "Rows on the journal that a tier has not confirmed");
    describe_gauge!("tributary_router_dedup_spools", Unit::Count, "Spools whose journalled ids are remembered");
    describe_counter!(
        "tributary_router_dedup_evictions_total",
        Unit::Count,
        "Spools forgotten to make room: a retry of theirs may be doubled"
    );
}
