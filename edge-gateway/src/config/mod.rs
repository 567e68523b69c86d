//! What an edge is told to do: [`Raw`] is the file as written, [`Config`] can only be valid. All defaults stand in `Raw`.
//!
//! ```yaml
//! name: eu-1                        # as in the certificate: spiffe://<domain>/edge/eu-1
//! data_dir: /var/lib/tributary-edge
//! labels: { region: eu-west-1, kind: kubernetes }
//! receive:
//!   grpc: 0.0.0.0:4317              # or a mapping: TLS, whom to take; or off
//!   http: 0.0.0.0:4318
//!   listeners: [ "unix:/run/tributary/otlp.sock" ]
//!   max_request: 16MiB
//!   memory: 128MiB
//!   wait: 500ms
//!   connections: { handshake: 10s, idle: 90s, body: 30s, answer: 30s, keep_alive: 30s, max_age: 10m, grace: 30s }
//! identity:
//!   default_tenant: acme            # for senders without certificate and token; leave out to refuse them
//!   tokens: [ { sha256: <hex of the token's SHA-256>, tenant: acme } ]
//!   certificates: [ { spiffe: spiffe://example.org/ns/shop/sa/cart, tenant: acme } ]
//! tenants: { acme: { class: high } }
//! batch: { rows: 10000, raw: 6MiB, age: 5s, open: 64MiB, workers: 2 }
//! inbox: { budget: 1GiB, commit_wait: 2ms, recent: 65536 }
//! spool: { budget: 8GiB, when_full: drop_oldest, max_age: 7d, tenant_share: 50, segment: 64MiB, rejected: 256MiB }
//! ship:
//!   endpoints: [ router-a.example:4433, router-b.example:4433 ]
//!   server_name: router.example     # if the certificate names another host than the endpoint
//!   link_cap: 10Mbit/s
//!   tls: { ca: ca.pem, cert: edge.pem, key: edge.key }
//!   in_flight: 64
//!   transport: quic                 # or tcp; left out: QUIC, and TCP where UDP is blocked
//!   backoff: { min: 100ms, max: 10s }
//! admin: { listen: 127.0.0.1:9464 }
//! drain: 20s
//! log_json: false
//! ```

mod listener;
mod raw;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use federation_proto::identity::EdgeName;
use service::config::{ByteSize, ConfigError, Invalid, Rate, Span};
use service::tls::TlsFiles;

pub use listener::{Address, Credential, Listener, Mode, Protocol, RawEntrance, RawListener};
pub use raw::{
    Raw, RawAdmin, RawBackoff, RawBatch, RawCertificate, RawConnections, RawIdentity, RawInbox, RawReceive, RawShip, RawSpool, RawTenant,
    RawToken, WhenFull,
};

use crate::batcher;
use crate::identity::Identities;
use crate::link::Transport;

/// Environment variables with this prefix override the file: `TRIBUTARY_EDGE__SHIP__LINK_CAP=4MiB/s`.
pub const ENV_PREFIX: &str = "TRIBUTARY_EDGE";

/// A configuration that an edge can run with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The edge's name.
    pub name: EdgeName,
    /// Where everything lies.
    pub data_dir: PathBuf,
    /// Told to the router.
    pub labels: HashMap<String, String>,
    /// The OTLP receivers.
    pub receive: Receive,
    /// Tokens and tenants.
    pub identities: Identities,
    /// When batches close.
    pub batch: batcher::Limits,
    /// Encoder threads.
    pub workers: usize,
    /// Requests on disk.
    pub inbox: Inbox,
    /// Batches on disk.
    pub spool: Spool,
    /// The way to the routers.
    pub ship: Ship,
    /// Health, metrics, ledger.
    pub admin: SocketAddr,
    /// How long a SIGTERM may take.
    pub drain: Duration,
    /// Log as JSON.
    pub log_json: bool,
}

/// The OTLP receivers.
#[derive(Debug, Clone)]
pub struct Receive {
    /// Where senders come in. Never empty.
    pub listeners: Vec<Listener>,
    /// Largest request after decompression, in bytes.
    pub max_request_bytes: usize,
    /// Request bodies in memory, in bytes; at least four of the largest.
    pub memory_bytes: usize,
    /// How long a sender waits for memory.
    pub wait: Duration,
    /// Bounds of connections.
    pub connections: Connections,
}

/// How long connections, and what is sent on them, may take; none is zero. See [`RawConnections`].
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// From the connection to the first bytes of a request.
    pub handshake: Duration,
    /// HTTP/1.1: idle, or for a request's head.
    pub idle: Duration,
    /// A request's body.
    pub body: Duration,
    /// An answer that the sender does not read.
    pub answer: Duration,
    /// Between pings of HTTP/2.
    pub keep_alive: Duration,
    /// Until a connection is asked to end.
    pub max_age: Duration,
    /// From there until it is cut off.
    pub grace: Duration,
    /// Memory of all connections' windows and buffers, in bytes.
    pub memory_bytes: usize,
}

/// Requests on disk.
#[derive(Debug, Clone)]
pub struct Inbox {
    /// Disk, in bytes.
    pub budget_bytes: u64,
    /// Size of a segment file, in bytes.
    pub segment_bytes: u64,
    /// How long a request may wait for company.
    pub commit_wait: Duration,
    /// Hashes remembered.
    pub recent: usize,
}

/// Batches on disk.
#[derive(Debug, Clone)]
pub struct Spool {
    /// Disk, in bytes.
    pub budget_bytes: u64,
    /// Size of a segment file, in bytes.
    pub segment_bytes: u64,
    /// Disk for what routers refused for good, in bytes.
    pub rejected_bytes: u64,
    /// What happens at the budget, and at a tenant's share of it.
    pub when_full: WhenFull,
    /// How long a batch may wait.
    pub max_age: Option<Duration>,
    /// What one tenant may hold, in bytes; none if it may hold all.
    pub tenant_bytes: Option<u64>,
}

/// The way to the routers.
#[derive(Debug, Clone)]
pub struct Ship {
    /// Routers in the order of preference. Never empty.
    pub endpoints: Vec<Endpoint>,
    /// Most that the uplink may carry, in bytes per second.
    pub link_cap: Option<u64>,
    /// Certificate, key, CA.
    pub tls: TlsFiles,
    /// Batches on their way at a time.
    pub in_flight: usize,
    /// None: whichever works, QUIC first.
    pub transport: Option<Transport>,
    /// How often QUIC is tried again while the link is over TCP.
    pub quic_retry: Duration,
    /// How long a preferred router has to look well before the link returns to it.
    pub return_after: Duration,
    /// The first wait between attempts.
    pub backoff_min: Duration,
    /// The longest.
    pub backoff_max: Duration,
}

/// A router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`, resolved at each attempt.
    pub address: String,
    /// The name expected in its certificate.
    pub server_name: String,
}

impl Config {
    /// Reads and checks the file at `path`, with the environment's overrides.
    ///
    /// # Errors
    /// One line with place, key, and what is expected.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        service::config::load_valid(path, ENV_PREFIX, Self::from_raw)
    }

    /// Checks what a file's types cannot say.
    ///
    /// # Errors
    /// The key and what is expected there.
    pub fn from_raw(raw: Raw) -> Result<Self, Invalid> {
        check_labels(&raw.labels)?;
        let classes = raw.tenants.iter().map(|(tenant, known)| (tenant.clone(), known.class)).collect();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let max_request_bytes = raw.receive.max_request.as_usize();
        Ok(Self {
            receive: receive(&raw.receive, &raw.identity)?,
            identities: Identities::from_raw(&raw.identity, classes)?,
            batch: batch(&raw.batch)?,
            workers: if raw.batch.workers == 0 { cores.saturating_sub(1).max(1) } else { raw.batch.workers.min(64) },
            inbox: inbox(&raw.inbox, max_request_bytes)?,
            spool: spool(&raw.spool)?,
            ship: ship(raw.ship)?,
            admin: raw.admin.listen.addr(),
            drain: raw.drain.as_duration(),
            log_json: raw.log_json,
            name: raw.name,
            data_dir: raw.data_dir,
            labels: raw.labels.into_iter().collect(),
        })
    }
}

fn at_least(key: &str, value: ByteSize, least: ByteSize) -> Result<u64, Invalid> {
    if value >= least { Ok(value.as_u64()) } else { Err(Invalid::new(key, format!("{value} is too small: expected at least {least}"))) }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Invalid> {
    const MOST: usize = 32;
    const LONGEST: usize = 256;
    if labels.len() > MOST {
        return Err(Invalid::new("labels", format!("{} labels: expected at most {MOST}", labels.len())));
    }
    match labels.iter().find(|(key, value)| key.len() > LONGEST || value.len() > LONGEST) {
        Some((key, _)) => Err(Invalid::new(format!("labels.{key}"), format!("too long: expected at most {LONGEST} bytes"))),
        None => Ok(()),
    }
}

fn receive(raw: &RawReceive, identity: &RawIdentity) -> Result<Receive, Invalid> {
    let max_request = at_least("receive.max_request", raw.max_request, ByteSize::kib(64))?;
    // What a router decodes at most: a record larger than that would be kept, shipped, and then be of no use.
    if raw.max_request > ByteSize::mib(64) {
        return Err(Invalid::new("receive.max_request", format!("{} is too large: expected at most 64MiB", raw.max_request)));
    }
    at_least("receive.memory", raw.memory, ByteSize(max_request.saturating_mul(4)))?;
    let connections = connections(&raw.connections, raw.memory.as_usize() / 2)?;
    Ok(Receive {
        listeners: listener::listeners(raw, identity)?,
        max_request_bytes: raw.max_request.as_usize(),
        memory_bytes: raw.memory.as_usize(),
        wait: raw.wait.as_duration(),
        connections,
    })
}

fn connections(raw: &RawConnections, memory_bytes: usize) -> Result<Connections, Invalid> {
    let some = |name: &str, span: Span| match span.as_duration() {
        Duration::ZERO => Err(Invalid::new(format!("receive.connections.{name}"), "0s: expected more, such as 30s")),
        span => Ok(span),
    };
    Ok(Connections {
        handshake: some("handshake", raw.handshake)?,
        idle: some("idle", raw.idle)?,
        body: some("body", raw.body)?,
        answer: some("answer", raw.answer)?,
        keep_alive: some("keep_alive", raw.keep_alive)?,
        max_age: some("max_age", raw.max_age)?,
        grace: some("grace", raw.grace)?,
        memory_bytes,
    })
}

fn batch(raw: &RawBatch) -> Result<batcher::Limits, Invalid> {
    if !(1..=1_000_000).contains(&raw.rows) {
        return Err(Invalid::new("batch.rows", format!("{}: expected 1 to 1000000", raw.rows)));
    }
    if raw.age.as_duration().is_zero() {
        return Err(Invalid::new("batch.age", "0s: expected more, such as 200ms or 5s"));
    }
    let raw_bytes = at_least("batch.raw", raw.raw, ByteSize::kib(16))?;
    if raw.raw > ByteSize::mib(64) {
        return Err(Invalid::new("batch.raw", format!("{} is too large: expected at most 64MiB", raw.raw)));
    }
    let open_bytes = at_least("batch.open", raw.open, raw.raw)?;
    Ok(batcher::Limits { rows: raw.rows, raw_bytes, age: raw.age.as_duration(), open_bytes })
}

/// Bytes of `inbox.budget` for each of `inbox.recent`. A checkpoint of the inbox has 16 for each; one stands, and the room of four is kept
/// back for the next ones: 80, which with this is at most a third of the budget.
const INBOX_BYTES_PER_HASH: u64 = 256;

/// Segments of the inbox are small, so that disk comes back soon: a sixteenth of the budget, within 1 to 64 MiB.
fn inbox(raw: &RawInbox, max_request_bytes: usize) -> Result<Inbox, Invalid> {
    let least = ByteSize((max_request_bytes as u64).saturating_mul(4).max(ByteSize::mib(16).as_u64()));
    let budget_bytes = at_least("inbox.budget", raw.budget, least)?;
    if raw.commit_wait > Span::from_millis(2) {
        return Err(Invalid::new("inbox.commit_wait", format!("{}: expected at most 2ms", raw.commit_wait)));
    }
    if raw.recent > 1 << 20 {
        return Err(Invalid::new("inbox.recent", format!("{}: expected at most {}", raw.recent, 1 << 20)));
    }
    let for_recent = ByteSize(INBOX_BYTES_PER_HASH * raw.recent as u64);
    if raw.budget < for_recent {
        let message = format!(
            "{} hashes need inbox.budget to be at least {for_recent}, and it is {}: remember fewer, or raise the budget",
            raw.recent, raw.budget
        );
        return Err(Invalid::new("inbox.recent", message));
    }
    let segment_bytes = (budget_bytes / 16).clamp(1 << 20, 64 << 20);
    Ok(Inbox { budget_bytes, segment_bytes, commit_wait: raw.commit_wait.as_duration(), recent: raw.recent })
}

fn spool(raw: &RawSpool) -> Result<Spool, Invalid> {
    let segment_bytes = at_least("spool.segment", raw.segment, ByteSize::mib(1))?;
    if raw.segment > ByteSize::gib(1) {
        return Err(Invalid::new("spool.segment", format!("{} is too large: expected at most 1GiB", raw.segment)));
    }
    if !(1..=100).contains(&raw.tenant_share) {
        return Err(Invalid::new("spool.tenant_share", format!("{}: expected hundredths, 1 to 100", raw.tenant_share)));
    }
    if let Some(max_age) = raw.max_age.filter(|age| *age < Span::from_secs(1)) {
        return Err(Invalid::new("spool.max_age", format!("{max_age}: expected at least 1s, such as 7d; leave it out for no limit")));
    }
    let budget_bytes = at_least("spool.budget", raw.budget, ByteSize(segment_bytes.saturating_mul(2)))?;
    Ok(Spool {
        budget_bytes,
        segment_bytes,
        rejected_bytes: raw.rejected.as_u64(),
        when_full: raw.when_full,
        max_age: raw.max_age.map(Span::as_duration),
        tenant_bytes: (raw.tenant_share < 100).then(|| budget_bytes / 100 * u64::from(raw.tenant_share)),
    })
}

fn ship(raw: RawShip) -> Result<Ship, Invalid> {
    if raw.endpoints.is_empty() {
        return Err(Invalid::new("ship.endpoints", "no router: expected at least one host:port"));
    }
    let mut endpoints = Vec::with_capacity(raw.endpoints.len());
    for (index, address) in raw.endpoints.iter().enumerate() {
        let key = format!("ship.endpoints[{index}]");
        endpoints.push(endpoint(address, raw.server_name.as_deref()).map_err(|message| Invalid::new(key, message))?);
    }
    if !(1..=4096).contains(&raw.in_flight) {
        return Err(Invalid::new("ship.in_flight", format!("{}: expected 1 to 4096", raw.in_flight)));
    }
    const DAY: Duration = Duration::from_secs(86_400);
    let (quic_retry, return_after) = (raw.quic_retry.as_duration(), raw.return_after.as_duration());
    if !(Duration::from_secs(1)..=DAY).contains(&quic_retry) {
        return Err(Invalid::new("ship.quic_retry", format!("{}: expected 1s to 24h", raw.quic_retry)));
    }
    if return_after > DAY {
        return Err(Invalid::new("ship.return_after", format!("{}: expected at most 24h", raw.return_after)));
    }
    let backoff = &raw.backoff;
    if backoff.min.as_duration().is_zero() || backoff.min > backoff.max {
        return Err(Invalid::new("ship.backoff.min", format!("{}: expected more than 0s and at most ship.backoff.max", backoff.min)));
    }
    Ok(Ship {
        endpoints,
        link_cap: raw.link_cap.map(Rate::as_u64),
        tls: raw.tls,
        in_flight: raw.in_flight,
        transport: raw.transport,
        quic_retry,
        return_after,
        backoff_min: backoff.min.as_duration(),
        backoff_max: backoff.max.as_duration(),
    })
}

fn endpoint(address: &str, server_name: Option<&str>) -> Result<Endpoint, String> {
    let expected = || format!("{address:?}: expected host:port, such as router.example:4433 or [2001:db8::1]:4433");
    let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(expected());
    }
    Ok(Endpoint { address: address.to_owned(), server_name: server_name.unwrap_or(host).to_owned() })
}

#[cfg(test)]
mod tests;
