//! What an edge measures, by name. Labels come from configuration and enums, never from what a sender writes.

use metrics::{Unit, describe_counter, describe_gauge};

/// Tells the recorder what each metric means.
pub fn describe_metrics() {
    counters();
    gauges();
}

fn counters() {
    describe_counter!("tributary_edge_requests_total", Unit::Count, "Requests answered, by protocol, signal and outcome");
    describe_counter!("tributary_edge_received_rows_total", Unit::Count, "Rows of requests that passed their scan, by tenant and signal");
    describe_counter!(
        "tributary_edge_duplicate_rows_total",
        Unit::Count,
        "Rows of requests that were on disk already and answered OK once more, by tenant and signal"
    );
    describe_counter!(
        "tributary_edge_refused_rows_total",
        Unit::Count,
        "Rows that the sender was told to keep, by tenant, signal and reason"
    );
    describe_counter!("tributary_edge_dropped_rows_total", Unit::Count, "Rows lost after their OK, by tenant, signal and reason");
    describe_counter!(
        "tributary_edge_possibly_delivered_rows_total",
        Unit::Count,
        "Of the dropped rows, those whose batch had been sent, or may have been before a restart, so that a router may have them; by tenant and signal"
    );
    describe_counter!("tributary_edge_shipped_rows_total", Unit::Count, "Rows that a router acknowledged, by tenant and signal");
    describe_counter!("tributary_edge_damaged_records_total", Unit::Count, "Records that were not what was written, by log");
    describe_counter!(
        "tributary_edge_inbox_requests_total",
        Unit::Count,
        "Requests given to the inbox, by form: plain; lz4 while the disk is short of time or room; gzip or zstd as they came"
    );
    describe_counter!("tributary_edge_batches_total", Unit::Count, "Batches closed, by why: full, age, budget, drain");
    describe_counter!(
        "tributary_edge_encoded_twice_total",
        Unit::Count,
        "Batches that an encoder thread finished after another had done its work, since it did not get the processor in time"
    );
    describe_counter!("tributary_edge_acked_batches_total", Unit::Count, "Batches that a router acknowledged");
    describe_counter!("tributary_edge_nacks_total", Unit::Count, "Batches that a router did not take, by reason");
    describe_counter!(
        "tributary_edge_sender_connections_ended_total",
        Unit::Count,
        "Connections of senders that ended, by listener and why: closed, handshake, silent, failed, aged, cut, drained"
    );
    describe_counter!("tributary_edge_connections_total", Unit::Count, "Connections that a router took in");
    describe_counter!(
        "tributary_edge_wire_bytes_total",
        Unit::Bytes,
        "Sent to routers: over QUIC UDP payload, retransmissions included; over TCP its payload, TLS included, retransmissions not"
    );
    describe_counter!(
        "tributary_edge_moves_total",
        Unit::Count,
        "Moves to another connection while there was one, by purpose: escape from a silent router, return to a preferred one, upgrade to QUIC, renew with another certificate"
    );
    describe_counter!(
        "tributary_edge_certificate_changes_total",
        Unit::Count,
        "Times that the files of ship.tls changed, by outcome: used; kept, as they were of no use; refused by the router"
    );
    describe_counter!(
        "tributary_edge_listener_certificate_changes_total",
        Unit::Count,
        "Times that the files of a listener's tls changed, by outcome: used; kept, as they were of no use"
    );
    describe_counter!(
        "tributary_edge_possibly_doubled_batches_total",
        Unit::Count,
        "Batches sent to another journal than one that may have them too: the connection to its router was lost before the verdict"
    );
    describe_counter!("tributary_edge_possibly_doubled_rows_total", Unit::Count, "Rows of batches that may lie on two journals");
}

fn gauges() {
    describe_gauge!("tributary_edge_link_up", "1 while a router has taken us in");
    describe_gauge!("tributary_edge_link_transport", "1 for the transport that the link is over, quic or tcp; 0 for the other");
    describe_gauge!(
        "tributary_edge_send_window_bytes",
        Unit::Bytes,
        "What may be on its way over QUIC, written and not acknowledged by the transport: what the link carries in half a second"
    );
    describe_gauge!(
        "tributary_edge_certificate_expires_seconds",
        Unit::Seconds,
        "When the certificate shown to routers expires, since 1970"
    );
    describe_gauge!("tributary_edge_sender_connections", Unit::Count, "Open connections of senders, by listener");
    describe_gauge!("tributary_edge_spool_bytes", Unit::Bytes, "Disk that the spool takes");
    describe_gauge!(
        "tributary_edge_tenants_over_share",
        Unit::Count,
        "Tenants that hold their share of the spool (spool.tenant_share) and are refused or lose their oldest batches"
    );
    describe_gauge!("tributary_edge_inbox_bytes", Unit::Bytes, "Disk that the inbox takes");
    describe_gauge!("tributary_edge_queued_batches", Unit::Count, "Batches that no router acknowledged");
    describe_gauge!("tributary_edge_queued_bytes", Unit::Bytes, "Headers and payloads of batches that no router acknowledged");
    describe_gauge!("tributary_edge_in_flight_bytes", Unit::Bytes, "Headers and payloads sent or being sent, without an ack");
    describe_gauge!("tributary_edge_open_batch_bytes", Unit::Bytes, "OTLP bytes in open batches");
    describe_gauge!("tributary_edge_free_memory_bytes", Unit::Bytes, "What is left of receive.memory");
}
