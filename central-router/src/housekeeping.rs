//! What is looked at now and then: the files of allow-list and certificates, whether the journal has room, whether the tiers move, when to keep state.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use federation_proto::identity::Seq;
use service::supervise;

use crate::listener::Shared;
use crate::tier::stall::Stall;
use service::watched::Refresh;

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
        follow_files(&shared);
        look_at_journal(&shared);
        look_at_tiers(&shared, now, &mut stalls);
        if now.saturating_duration_since(kept.0) >= CHECKPOINT {
            kept = (now, keep_state(&shared, kept.1).await);
        }
    }
}

fn follow_files(shared: &Shared) {
    let list = shared.allowed.refresh();
    if list == Refresh::Changed {
        tracing::info!(edges = shared.allowed.current().edges.len(), "the allow-list has changed");
    }
    follow(shared, "allow_list", list);
    let trust = shared.trust.refresh();
    if trust == Refresh::Changed {
        tracing::info!("certificate, key or authority have changed: new handshakes use them, live connections are judged again");
    }
    follow(shared, "tls", trust);
}

fn follow(shared: &Shared, condition: &str, refresh: Refresh) {
    match refresh {
        Refresh::Same => {}
        Refresh::Confirmed | Refresh::Changed => shared.readiness.set(condition, Ok(())),
        Refresh::Kept(why) => {
            tracing::error!(condition, why, "a file is of no use");
            shared.readiness.set(condition, Err(&why));
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

/// What a checkpoint keeps has changed when this has: records came, or spools were given an owner.
type Kept = Option<(Seq, u64)>;

/// Keeps the journal's state if it changed since it was `kept`; gives what is kept now.
async fn keep_state(shared: &Shared, kept: Kept) -> Kept {
    let journal = shared.journal.clone();
    let now = {
        let book = journal.book();
        Some((book.applied(), book.dedup().bindings()))
    };
    if kept == now {
        return kept;
    }
    match tokio::task::spawn_blocking(move || journal.checkpoint()).await {
        Ok(Ok(())) => {
            shared.readiness.set("journal", Ok(()));
            now
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the journal's state could not be kept");
            shared.readiness.set("journal", Err(&error.to_string()));
            kept
        }
        joined @ Err(_) => {
            supervise::count_joined("checkpoint", joined);
            shared.readiness.set("journal", Err("its state could not be kept: the step panicked, the log says how; it is tried again"));
            kept
        }
    }
}

/// Declares this module's metrics.
pub(crate) fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge};
    describe_gauge!("tributary_router_tier_queued_rows", Unit::Count, "Rows on the journal that a tier has not confirmed, by tier");
    describe_gauge!("tributary_router_dedup_spools", Unit::Count, "Spools whose journalled ids are remembered");
    describe_counter!(
        "tributary_router_dedup_evictions_total",
        Unit::Count,
        "Spools forgotten to make room: a retry of theirs may be doubled"
    );
}
