//! Keeps the spool within its bounds, once a second: asks [`crate::spool::policy`] what goes, and lets it go.
//!
//! What is dropped is counted together with its ack, under the spool's lock; the checkpoint that follows in the same round makes both
//! durable, and gives the disk back.

use std::collections::BTreeSet;
use std::time::Instant;

use federation_proto::identity::{Class, Seq, TenantId};
use federation_proto::ledger::Reason;
use segment_log::{Log, SegmentUse};

use super::Parts;
use crate::config::{Spool, WhenFull};
use crate::shipper::Item;
use crate::spool::policy::{self, Held};

/// What the spool may hold.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) spool: Spool,
    /// The largest batch, before it is encoded.
    pub(crate) batch_bytes: u64,
}

/// How fast the spool grows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    appended_bytes: u64,
}

impl Pace {
    pub(super) fn of(parts: &Parts) -> Self {
        Self { appended_bytes: parts.link.spool.with(|log| log.stats().appended_bytes_total) }
    }
}

impl Parts {
    /// One round. `wall` is Unix seconds.
    pub(super) fn keep_bounds(&self, now: Instant, wall: u64, pace: &mut Pace) {
        self.expire(now, wall);
        self.keep_shares();
        let before = std::mem::replace(pace, Pace::of(self));
        if self.bounds.spool.when_full == WhenFull::DropOldest {
            self.keep_room(pace.appended_bytes.saturating_sub(before.appended_bytes));
        }
    }

    fn expire(&self, now: Instant, wall: u64) {
        let expired = self.link.spool.with(|log| {
            let next = log.cursors().synced;
            self.link.custody.lock().ages_mut().look(now, wall, next, self.bounds.spool.max_age)
        });
        if let Some(below) = expired {
            let old: Vec<Seq> = self.link.shipper.lock().idle(below).map(|item| item.seq).collect();
            self.give_up(&old, Reason::Expired, "older than spool.max_age");
        }
    }

    fn keep_shares(&self) {
        let Some(share) = self.bounds.spool.tenant_bytes else { return };
        let over: Vec<(TenantId, u64)> = {
            let shipper = self.link.shipper.lock();
            shipper.tenant_bytes().filter(|(_, bytes)| *bytes > share).map(|(tenant, bytes)| (tenant.clone(), bytes - share)).collect()
        };
        metrics::gauge!("tributary_edge_tenants_over_share").set(over.len() as f64);
        match self.bounds.spool.when_full {
            WhenFull::Refuse => {
                let tenants: BTreeSet<TenantId> = over.into_iter().map(|(tenant, _)| tenant).collect();
                self.link.custody.lock().set_over_share(tenants);
            }
            WhenFull::DropOldest => {
                for (tenant, excess) in over {
                    let own = self.held(|item| item.tenant == tenant).0;
                    self.give_up(&policy::of_tenant(own, excess), Reason::OverShare, "its tenant is over spool.tenant_share");
                }
            }
        }
    }

    fn keep_room(&self, came: u64) {
        let Spool { budget_bytes, segment_bytes, .. } = self.bounds.spool;
        let room = policy::room_bytes(budget_bytes, segment_bytes, self.bounds.batch_bytes, came);
        let free = self.link.spool.with(|log| log.free_bytes());
        if free >= room {
            return;
        }
        let (held, segments) = self.held(|_| true);
        self.give_up(&policy::for_room(held, segments, room - free), Reason::SpoolFull, "the spool is at spool.budget");
    }

    /// Batches that may be given up, and the segments that may go.
    fn held(&self, wanted: impl Fn(&Item) -> bool) -> (Vec<Held>, Vec<SegmentUse>) {
        let items: Vec<(Seq, Class, u64)> = {
            let shipper = self.link.shipper.lock();
            let idle = shipper.idle(Seq(u64::MAX)).filter(|item| wanted(item));
            idle.map(|item| (item.seq, item.class, item.wire_bytes)).collect()
        };
        let held = |log: &Log| {
            let of = |(seq, class, bytes)| Some(Held { seq, class, bytes, footprint: log.footprint(seq)? });
            items.iter().copied().filter_map(of).collect()
        };
        self.link.spool.with(|log| (held(log), log.closed_segments().collect()))
    }

    fn give_up(&self, seqs: &[Seq], reason: Reason, why: &str) {
        let batches = self.link.give_up(seqs, reason).len();
        if batches > 0 {
            tracing::warn!(batches, %reason, "spool: batches are dropped: {why}");
        }
    }
}
