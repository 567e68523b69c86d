//! `/ledger`: what happened to every row, as JSON.

use federation_proto::identity::EdgeName;
use federation_proto::ledger::Terms;
use serde_json::{Value, json};

use super::Parts;

/// The ledger of an edge. `queued` is counted from what lies there, never derived; `balanced` says whether the terms add up.
pub(super) fn ledger(name: &EdgeName, parts: &Parts) -> Value {
    let link = &parts.link;
    let (depth, (end, acked_end)) = {
        let shipper = link.shipper.lock();
        (shipper.depth(), shipper.ends())
    };
    let status = link.status.lock().clone();
    let custody = link.custody.lock();
    let wire = custody.wire();
    let tenants: Vec<Value> = custody
        .accounts()
        .map(|(tenant, signal, terms, queued, duplicates)| {
            json!({
                "tenant": tenant,
                "signal": signal,
                "received": terms.received,
                "shipped": terms.shipped,
                "dropped": terms.dropped,
                "refused": terms.refused,
                "possibly_delivered": terms.possibly_delivered,
                "queued": queued.total(),
                "queued_in": { "requests": queued.requests, "inbox": queued.inbox, "spool": queued.spool, "unread": queued.unread },
                "duplicates": duplicates,
                "balanced": terms.balanced(queued.total()),
            })
        })
        .collect();
    json!({
        "edge": name,
        "spool_id": link.spool_id,
        "wire": {
            "bytes_sent": wire.bytes_sent,
            "batches": wire.batches,
            "payload_bytes": wire.payload_bytes,
            "raw_bytes": wire.raw_bytes,
        },
        "link": status,
        "queue": {
            "batches": depth.batches, "bytes": depth.bytes, "in_flight_bytes": depth.in_flight_bytes, "spool_stalled": custody.is_stalled(),
            "end": end, "acked_end": acked_end,
        },
        "tenants": tenants,
    })
}
