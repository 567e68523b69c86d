//! The file as written, with all defaults. Units, bounds and cross-checks that types cannot say are in [`super::Config::from_raw`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use federation_proto::identity::{Class, EdgeName, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::config::{ByteSize, Listen, Rate, Span};
use service::tls::TlsFiles;

use super::RawEntrance;
use crate::link::Transport;

/// The file as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The edge's name, as its certificate has it.
    pub name: EdgeName,
    /// Directory of inbox, spool and rejected batches. Created if it is not there.
    pub data_dir: PathBuf,
    /// Told to the router: `cloud`, `region`, `cluster`, `kind`. At most 32; key and value at most 256 bytes each.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The OTLP receivers.
    #[serde(default)]
    pub receive: RawReceive,
    /// Who senders are.
    #[serde(default)]
    pub identity: RawIdentity,
    /// What is known of tenants, by name. A tenant without an entry has the class `medium`.
    #[serde(default)]
    pub tenants: BTreeMap<TenantId, RawTenant>,
    /// When a batch closes.
    #[serde(default)]
    pub batch: RawBatch,
    /// Requests on disk, not yet in batches.
    #[serde(default)]
    pub inbox: RawInbox,
    /// Batches on disk, not yet acknowledged by a router.
    #[serde(default)]
    pub spool: RawSpool,
    /// The way to the routers.
    pub ship: RawShip,
    /// Health, metrics, ledger.
    #[serde(default)]
    pub admin: RawAdmin,
    /// The longest that a SIGTERM waits for open batches to become durable.
    #[serde(default = "defaults::drain")]
    pub drain: Span,
    /// Log as one JSON object per line.
    #[serde(default)]
    pub log_json: bool,
}

/// `receive:`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawReceive {
    /// OTLP/gRPC: an address, a mapping (as in `receive.listeners`), or `off`.
    pub grpc: RawEntrance,
    /// OTLP/HTTP, protobuf and JSON: an address, a mapping (as in `receive.listeners`), or `off`.
    pub http: RawEntrance,
    /// More listeners, each an address or a mapping: with TLS, for certificates, on a Unix socket.
    pub listeners: Vec<RawEntrance>,
    /// Largest request, after decompression: 64KiB to 64MiB.
    pub max_request: ByteSize,
    /// Request bodies in memory: being received, on their way to disk, in open batches, being encoded. At least four times
    /// `max_request`. Connections may take half as much beside it.
    pub memory: ByteSize,
    /// How long a sender waits for memory before it is told to retry.
    pub wait: Span,
    /// How long connections, and what is sent on them, may take; each more than 0s.
    pub connections: RawConnections,
}

impl Default for RawReceive {
    fn default() -> Self {
        Self {
            grpc: Listen(SocketAddr::from(([0, 0, 0, 0], 4317))).into(),
            http: Listen(SocketAddr::from(([0, 0, 0, 0], 4318))).into(),
            listeners: Vec::new(),
            max_request: ByteSize::mib(16),
            memory: ByteSize::mib(128),
            wait: Span::from_millis(500),
            connections: RawConnections::default(),
        }
    }
}

/// `receive.connections:`. Each is more than 0s.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawConnections {
    /// From the connection to the first bytes of a request, TLS handshake included.
    pub handshake: Span,
    /// How long an HTTP/1.1 connection may be idle or take for a request's head. More than senders pause between two requests, so that
    /// it does not close under one.
    pub idle: Span,
    /// How long a request's body may take.
    pub body: Span,
    /// How long a sender may leave an answer unread.
    pub answer: Span,
    /// How often an HTTP/2 sender is pinged; without an answer within half of it the connection ends.
    pub keep_alive: Span,
    /// After this, a tenth more or less, a connection is asked to end (GOAWAY, `connection: close`), so that load balancers spread
    /// senders anew.
    pub max_age: Span,
    /// How long a connection that was asked to end may take for what it has begun.
    pub grace: Span,
}

impl Default for RawConnections {
    fn default() -> Self {
        Self {
            handshake: Span::from_secs(10),
            idle: Span::from_secs(90),
            body: Span::from_secs(30),
            answer: Span::from_secs(30),
            keep_alive: Span::from_secs(30),
            max_age: Span::from_secs(600),
            grace: Span::from_secs(30),
        }
    }
}

/// `identity:`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawIdentity {
    /// Whose the records of senders without certificate and token are. Left out: they are refused.
    pub default_tenant: Option<TenantId>,
    /// Bearer tokens of senders.
    pub tokens: Vec<RawToken>,
    /// Certificates of senders, where a listener asks for them (`tls.client_ca`).
    pub certificates: Vec<RawCertificate>,
}

/// One of `identity.certificates`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCertificate {
    /// The SPIFFE ID, which is the certificate's only URI name: `spiffe://example.org/ns/shop/sa/cart`.
    pub spiffe: String,
    /// Whose the records of its owner are.
    pub tenant: TenantId,
}

/// One of `identity.tokens`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawToken {
    /// SHA-256 of the token, 64 hex digits: `printf %s "$TOKEN" | sha256sum`.
    pub sha256: String,
    /// Whose it is.
    pub tenant: TenantId,
}

/// One of `tenants`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTenant {
    /// Quality of service of its batches.
    pub class: Class,
}

/// `batch:`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawBatch {
    /// Rows, at most; 1 to 1000000.
    pub rows: u32,
    /// OTLP bytes, at most; 16KiB to 64MiB.
    pub raw: ByteSize,
    /// Time from the first row, at most; more than 0s.
    pub age: Span,
    /// OTLP bytes in all open batches; at least `batch.raw`. Past it the largest closes.
    pub open: ByteSize,
    /// Encoder threads, at most 64; 0: one for each core, less one.
    pub workers: usize,
}

impl Default for RawBatch {
    fn default() -> Self {
        Self { rows: 10_000, raw: ByteSize::mib(6), age: Span::from_secs(5), open: ByteSize::mib(64), workers: 0 }
    }
}

/// `inbox:`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawInbox {
    /// Disk that it may take; at least 16MiB, four of the largest request, and 256 bytes for each of `recent`. Past it senders are told to
    /// retry.
    pub budget: ByteSize,
    /// How long a request may wait for others to share its fsync; at most 2ms.
    pub commit_wait: Span,
    /// Hashes of requests remembered, so that one sent again is not stored again (16 bytes each); at most 1048576, and one for each 256
    /// bytes of `budget`.
    pub recent: usize,
}

impl Default for RawInbox {
    fn default() -> Self {
        Self { budget: ByteSize::gib(1), commit_wait: Span::from_millis(1), recent: 65_536 }
    }
}

/// `spool:`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawSpool {
    /// Disk that it may take; at least two segments.
    pub budget: ByteSize,
    /// At the budget: `drop_oldest` gives up the oldest batches of the lowest class, counted as `spool_full`, down to what the next
    /// second needs; `refuse` takes no batch until a router has taken some, and once the inbox is full too senders are told to retry.
    pub when_full: WhenFull,
    /// A batch that waits for longer is given up, counted as `expired`; a 64th of it late at most. No limit when left out.
    pub max_age: Option<Span>,
    /// What one tenant may hold of the budget, in hundredths, 1 to 100. Beyond it the tenant alone is treated as `when_full` says: it
    /// loses its own oldest batches, counted as `over_share`, or its senders are told to retry.
    pub tenant_share: u8,
    /// Size of a segment file; disk comes back in steps of it, or of a batch where the file system takes parts of files back. 1MiB to 1GiB.
    pub segment: ByteSize,
    /// Disk for batches that a router refused for good, kept for a person to look at; past it they are only counted.
    pub rejected: ByteSize,
}

impl Default for RawSpool {
    fn default() -> Self {
        Self {
            budget: ByteSize::gib(8),
            when_full: WhenFull::DropOldest,
            max_age: None,
            tenant_share: 100,
            segment: ByteSize::mib(64),
            rejected: ByteSize::mib(256),
        }
    }
}

/// What the spool does at its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest of the lowest class go, counted.
    DropOldest,
    /// It takes nothing, and senders are told to retry.
    Refuse,
}

/// `ship:`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawShip {
    /// Routers, `host:port`, in the order of preference; at least one.
    pub endpoints: Vec<String>,
    /// The name expected in the router's certificate; the endpoint's host when left out.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Most that the uplink may carry; no limit when left out.
    #[serde(default)]
    pub link_cap: Option<Rate>,
    /// Who the edge is, and whom it believes.
    pub tls: TlsFiles,
    /// Batches on their way at a time; 1 to 4096.
    #[serde(default = "defaults::in_flight")]
    pub in_flight: usize,
    /// `quic` or `tcp`; when left out QUIC, and TCP where UDP is blocked.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// How often QUIC is tried again while the link is over TCP; 1s to 24h.
    #[serde(default = "defaults::quic_retry")]
    pub quic_retry: Span,
    /// How long a preferred router has to answer every probe before the link returns to it; at most 24h.
    #[serde(default = "defaults::return_after")]
    pub return_after: Span,
    /// Waits between attempts to connect.
    #[serde(default)]
    pub backoff: RawBackoff,
}

/// `ship.backoff:`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawBackoff {
    /// The first wait; more than 0s.
    pub min: Span,
    /// The longest wait.
    pub max: Span,
}

impl Default for RawBackoff {
    fn default() -> Self {
        Self { min: Span::from_millis(100), max: Span::from_secs(10) }
    }
}

/// `admin:`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawAdmin {
    /// Where `/healthz`, `/readyz`, `/metrics`, `/ledger`, `/status` and `/spool` are.
    pub listen: Listen,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: Listen(SocketAddr::from(([127, 0, 0, 1], 9464))) }
    }
}

mod defaults {
    use service::config::Span;

    pub(super) fn drain() -> Span {
        Span::from_secs(20)
    }

    pub(super) fn quic_retry() -> Span {
        Span::from_secs(60)
    }

    pub(super) fn return_after() -> Span {
        Span::from_secs(30)
    }

    pub(super) fn in_flight() -> usize {
        64
    }
}
