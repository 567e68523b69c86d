//! What a router is told once a second.

use std::collections::BTreeMap;

use federation_proto::control::{Demand, Status};
use federation_proto::identity::SpoolId;

use super::verdict;
use crate::shipper::{Item, Shipper};

/// Tenants whose demand is told, the largest first: a Status of all tenants of a large edge would be longer than a control frame may be.
const MOST_DEMANDS: usize = 1024;

/// Floor, depth, age and demand.
pub(super) fn status(spool: SpoolId, shipper: &Shipper) -> Status {
    let depth = shipper.depth();
    let oldest = shipper.items().map(|item| item.oldest_unix_nano).filter(|nanos| *nanos > 0).min();
    Status {
        spools: vec![verdict::floor(spool, shipper.floor())],
        queued_batches: depth.batches,
        queued_bytes: depth.bytes,
        oldest_unix_nano: oldest.unwrap_or(0),
        demand: demand(shipper.items()),
    }
}

fn demand<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<Demand> {
    let mut by_tenant: BTreeMap<&str, Demand> = BTreeMap::new();
    for item in items {
        let tenant = item.tenant.as_str();
        let demand = by_tenant.entry(tenant).or_insert_with(|| Demand { tenant: tenant.to_owned(), ..Demand::default() });
        demand.raw_bytes += item.raw_bytes;
        demand.rows += u64::from(item.rows);
    }
    let mut demand: Vec<Demand> = by_tenant.into_values().collect();
    demand.sort_by_key(|demand| std::cmp::Reverse(demand.raw_bytes));
    demand.truncate(MOST_DEMANDS);
    demand
}

#[cfg(test)]
mod tests {
    use federation_proto::control::EdgeMessage;
    use federation_proto::frame::encode_control;
    use federation_proto::identity::{Class, Seq, Signal, TenantId};

    use super::*;
    use crate::shipper::{Limits, LinkCap};

    /// However many tenants wait, the message can be said; those with the most are in it.
    #[test]
    fn a_status_fits_its_frame() {
        let limits = Limits { in_flight_batches: 1, streams: 1, verdict: std::time::Duration::from_secs(1) };
        let mut shipper = Shipper::new(limits, LinkCap::new(None), Seq(0));
        for n in 0..5_000u32 {
            shipper.add(Item {
                seq: Seq(n.into()),
                tenant: TenantId::new(&format!("{n:063}")).unwrap(),
                signal: Signal::Logs,
                class: Class::Low,
                rows: 1,
                wire_bytes: 1,
                payload_bytes: 1,
                raw_bytes: u64::MAX / 10_000 - u64::from(n),
                oldest_unix_nano: 5 + u64::from(n),
            });
        }
        let status = status(SpoolId([1; 16]), &shipper);
        assert_eq!((status.oldest_unix_nano, status.queued_batches, status.demand.len()), (5, 5_000, MOST_DEMANDS));
        assert_eq!(status.demand[0].tenant, format!("{:063}", 0));
        assert!(encode_control(&EdgeMessage::from(status)).is_ok());
    }
}
