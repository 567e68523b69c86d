//! The judgement over a world that has come to rest, from its senders' own logs.
//!
//! Each row whose sender was told OK is in every tier of one journal, once; one whose sender was not, at most once. Where the ledger says
//! that rows died, for a reason that this world allows, as many may be missing as it says. Two routers with journals of their own cannot
//! know of each other: a batch whose ack was lost between them may be in both, and never twice in one.

use std::collections::BTreeMap;

use federation_proto::identity::TenantId;
use federation_proto::ledger::{Reason, Terms};

use super::edge::Edge;
use super::router::Router;
use super::sender::{Sender, Told, sender_of};
use super::world::World;

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Rows that were acknowledged and are nowhere.
    Lost(String),
    /// Rows that are somewhere twice.
    Doubled(String),
    /// A ledger that does not say what happened.
    Ledger(String),
    /// More was held than a bound allows.
    Bound(String),
    /// The faults stopped, and not everything has arrived.
    Stuck(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, text) = match self {
            Self::Lost(text) => ("lost", text),
            Self::Doubled(text) => ("doubled", text),
            Self::Ledger(text) => ("ledger", text),
            Self::Bound(text) => ("bound", text),
            Self::Stuck(text) => ("stuck", text),
        };
        write!(f, "{what}: {text}")
    }
}

/// Rows whose sender was told OK.
#[must_use]
pub fn acknowledged(sender: &Sender) -> u64 {
    sender.log.values().filter(|(_, told)| *told == Told::Ok).map(|(rows, _)| u64::from(*rows)).sum()
}

/// Nothing waits on this edge.
#[must_use]
pub fn is_empty_edge(edge: &Edge) -> bool {
    edge.running().is_some_and(|edge| {
        let custody = edge.link().custody.lock();
        custody.accounts().all(|(.., queued, _)| queued.total() == 0)
    })
}

/// Nothing waits on this router.
#[must_use]
pub fn is_empty_router(router: &Router) -> bool {
    router.journal().is_some_and(|journal| journal.book().tiers().all(|tier| tier.queued.values().all(|rows| *rows == 0)))
}

/// Rows that died, by tenant.
pub type Died = BTreeMap<TenantId, u64>;

/// The judgement.
///
/// # Errors
/// The first [`Failure`] found.
pub fn judge(world: &World) -> Result<(), Failure> {
    if !world.is_idle() {
        return Err(Failure::Stuck(stuck(world)));
    }
    let died = ledgers(world)?;
    for (tier, died) in died.iter().enumerate() {
        judge_rows(world, tier, &found(world, tier)?, died)?;
    }
    Ok(())
}

/// Each row of a tier: how many routers have it.
fn found(world: &World, tier: usize) -> Result<BTreeMap<u64, u32>, Failure> {
    let mut found = BTreeMap::new();
    for (number, router) in world.routers.iter().enumerate() {
        let mut here = BTreeMap::new();
        for (unit, ids) in &router.destinations[tier].units {
            for id in ids {
                if let Some(before) = here.insert(*id, *unit) {
                    return Err(Failure::Doubled(format!(
                        "row {id:#x} is in units {before:?} and {unit:?} of tier {tier} of router {number}"
                    )));
                }
            }
        }
        for id in here.into_keys() {
            *found.entry(id).or_default() += 1;
        }
    }
    Ok(found)
}

fn judge_rows(world: &World, tier: usize, found: &BTreeMap<u64, u32>, died: &Died) -> Result<(), Failure> {
    let mut missing: BTreeMap<&TenantId, (u64, u64)> = BTreeMap::new();
    for sender in &world.senders {
        for (&first, &(rows, told)) in &sender.log {
            for id in first..first + u64::from(rows) {
                if told == Told::Ok && !found.contains_key(&id) {
                    let (count, example) = missing.entry(&world.tenants[sender.tenant]).or_default();
                    (*count, *example) = (*count + 1, id);
                }
            }
        }
    }
    for (tenant, (count, example)) in missing {
        let counted = died.get(tenant).copied().unwrap_or(0);
        if count > counted {
            return Err(Failure::Lost(format!(
                "{count} rows of {tenant}, one of them {example:#x}, are not in tier {tier}; {counted} are counted as dropped"
            )));
        }
    }
    for (&id, &routers) in found {
        let known = world.senders.get(sender_of(id)).is_some_and(|sender| {
            let request = sender.log.range(..=id).next_back();
            request.is_some_and(|(first, (rows, _))| id < first + u64::from(*rows))
        });
        if !known {
            return Err(Failure::Doubled(format!("row {id:#x} in tier {tier} was never sent")));
        }
        if routers > 1 && world.plan.routers == 1 {
            return Err(Failure::Doubled(format!("row {id:#x} is in {routers} journals")));
        }
    }
    Ok(())
}

/// May rows die for this reason in this world?
fn allowed(world: &World, reason: Reason) -> bool {
    match reason {
        Reason::Damaged | Reason::Undecodable | Reason::Unencodable => world.damaged,
        Reason::TenantNotAllowed => world.plan.strikes,
        Reason::SpoolFull | Reason::Expired | Reason::OverShare => world.plan.policy,
        _ => false,
    }
}

/// The ledgers of all edges that run balance, and name no reason that this world does not have. Gives what died there, and what was shipped.
///
/// # Errors
/// [`Failure::Ledger`].
pub fn edges(world: &World) -> Result<(Died, Died), Failure> {
    let (mut died, mut shipped) = (Died::new(), Died::new());
    for (number, edge) in world.edges.iter().enumerate() {
        let Some(running) = edge.running() else { continue };
        let custody = running.link().custody.lock();
        for (tenant, signal, terms, queued, _) in custody.accounts() {
            if !terms.balanced(queued.total()) {
                return Err(Failure::Ledger(format!("edge {number}, {tenant} {signal}: {terms:?} with {queued:?}")));
            }
            for (&reason, &rows) in terms.dropped.iter().filter(|(_, rows)| **rows > 0) {
                if !allowed(world, reason) {
                    return Err(Failure::Ledger(format!("edge {number} counts {rows} rows of {tenant} as dropped: {reason}")));
                }
                *died.entry(tenant.clone()).or_default() += rows;
            }
            *shipped.entry(tenant.clone()).or_default() += terms.shipped;
        }
    }
    Ok((died, shipped))
}

/// All ledgers balance, and name no reason that this world does not have. Gives what died, for each tier.
fn ledgers(world: &World) -> Result<Vec<Died>, Failure> {
    let (at_edges, shipped) = edges(world)?;
    let mut died = vec![at_edges; world.plan.tiers];
    let mut delivered = vec![Died::new(); world.plan.tiers];
    for (number, router) in world.routers.iter().enumerate() {
        let Some(journal) = router.journal() else { continue };
        for (tier, standing) in journal.book().tiers().enumerate() {
            for (tenant, signal, terms) in standing.ledger.iter() {
                let queued = standing.queued.get(&(tenant.clone(), signal)).copied().unwrap_or(0);
                if !terms.balanced(queued) {
                    return Err(Failure::Ledger(format!("router {number}, tier {tier}, {tenant} {signal}: {terms:?}, {queued} queued")));
                }
                *delivered[tier].entry(tenant.clone()).or_default() += terms.delivered;
                for (&reason, &rows) in terms.dropped.iter().chain(&terms.rejected).filter(|(_, rows)| **rows > 0) {
                    if !allowed(world, reason) {
                        return Err(Failure::Ledger(format!("router {number}, tier {tier}: {rows} rows of {tenant} dropped: {reason}")));
                    }
                    *died[tier].entry(tenant.clone()).or_default() += rows;
                }
            }
        }
    }
    if !world.damaged {
        counts(world, &shipped, &delivered)?;
    }
    Ok(died)
}

/// Without damage the counts are exact: what tiers say they have is what they have, and what edges shipped is in some journal.
fn counts(world: &World, shipped: &Died, delivered: &[Died]) -> Result<(), Failure> {
    for (tier, delivered) in delivered.iter().enumerate() {
        let mut there = Died::new();
        let mut once = Died::new();
        let found = found(world, tier)?;
        for (id, routers) in &found {
            let tenant = &world.tenants[world.senders.get(sender_of(*id)).map_or(0, |sender| sender.tenant)];
            *there.entry(tenant.clone()).or_default() += u64::from(*routers);
            *once.entry(tenant.clone()).or_default() += 1;
        }
        for tenant in &world.tenants {
            let of = |died: &Died| died.get(tenant).copied().unwrap_or(0);
            if of(&there) != of(delivered) {
                let why = format!("tier {tier} has {} rows of {tenant}, its ledger says {}", of(&there), of(delivered));
                return Err(Failure::Ledger(why));
            }
            if of(&once) != of(shipped) && !world.plan.strikes && !world.plan.policy {
                let why = format!("tier {tier} has {} different rows of {tenant}, edges shipped {}", of(&once), of(shipped));
                return Err(Failure::Ledger(why));
            }
        }
    }
    Ok(())
}

fn stuck(world: &World) -> String {
    let senders = world.senders.iter().filter(|sender| !sender.is_done()).count();
    let mut text = format!("{senders} senders wait for an OK");
    for (number, edge) in world.edges.iter().enumerate() {
        match edge.running() {
            None => text.push_str(&format!("; edge {number} is down")),
            Some(running) => {
                let depth = running.link().shipper.lock().depth();
                let queued: Vec<_> =
                    running.link().custody.lock().accounts().map(|(tenant, _, _, queued, _)| (tenant.clone(), queued)).collect();
                let waiting: Vec<_> = queued.iter().filter(|(_, queued)| queued.total() > 0).collect();
                if !waiting.is_empty() {
                    text.push_str(&format!("; edge {number}: {depth:?}, {waiting:?}, connection {:?}", edge.conn()));
                }
            }
        }
    }
    for (number, router) in world.routers.iter().enumerate() {
        match router.journal() {
            None => text.push_str(&format!("; router {number} is down")),
            Some(journal) => {
                for tier in journal.book().tiers() {
                    let rows: u64 = tier.queued.values().sum();
                    if rows > 0 {
                        text.push_str(&format!("; router {number}: {rows} rows wait for tier {} at {}", tier.name, tier.cursor));
                    }
                }
            }
        }
    }
    text
}
