//! What an operator may set. Parsed once into a [`Config`] that can only be valid.
//!
//! ```yaml
//! node: { name: worker-7 }                   # host.name; default: the kernel's
//! edge:
//!   endpoint: http://127.0.0.1:4317          # OTLP/gRPC; https:// wants ca_file
//!   token_file: /etc/tributary/agent.token   # or token: ...; default: none
//!   timeout: 10s                             # of one export
//! interval: 5s                               # of deltas and exports
//! drain: 10s                                 # the most that SIGTERM waits for the edge
//! admin: { listen: 127.0.0.1:9470 }
//! probes: { tcp_connect: auto, process: auto }   # on: not ready without it; auto: where the kernel lets us; off
//! limits:
//!   ring: 1MiB      # of kernel memory per probe; a power of two
//!   series: 8MiB    # of connect histograms in an interval; past it one overflow series
//!   records: 4MiB   # of process events waiting for a request; past it dropped and counted
//!   queue: 16MiB    # of requests waiting for the edge; past it the oldest dropped and counted
//! ```
//!
//! Environment: `TRIBUTARY_AGENT__EDGE__ENDPOINT=...`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::config::{self, ByteSize, ConfigError, Document, Invalid, Listen, Span};
use tonic::transport::Uri;

/// Prefix of the variables that override the file.
pub const ENV_PREFIX: &str = "TRIBUTARY_AGENT";

/// Whether a probe runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Never.
    Off,
    /// Where it can; where not, the agent says why and is ready all the same.
    #[default]
    Auto,
    /// It must: where it cannot, the agent runs on and is not ready.
    On,
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host.name`; `None`: the kernel's.
    pub node: Option<String>,
    /// Where to.
    pub edge: Edge,
    /// Of deltas and exports.
    pub interval: Duration,
    /// The most that a shutdown waits for the edge.
    pub drain: Duration,
    /// Of the admin endpoint.
    pub admin: SocketAddr,
    /// What is watched.
    pub probes: Probes,
    /// Bounds.
    pub limits: Limits,
}

/// Where the telemetry goes.
#[derive(Clone, Debug)]
pub struct Edge {
    /// `http://` or `https://`.
    pub endpoint: Uri,
    /// What names the tenant to the edge.
    pub token: Token,
    /// PEM of the authority that signed the edge's certificate.
    pub ca_file: Option<PathBuf>,
    /// Of one export.
    pub timeout: Duration,
}

/// The bearer token.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// None is sent.
    None,
    /// Written in the configuration.
    Inline(String),
    /// In a file, read at start and again when the edge does not accept it.
    File(PathBuf),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Inline(_) => f.write_str("Inline(..)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// What is watched.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Probes {
    /// Outgoing TCP connects.
    pub tcp_connect: Mode,
    /// Exec and exit.
    pub process: Mode,
}

/// Bounds, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Each probe's ring in the kernel: a power of two, at least 4 KiB.
    pub ring: u32,
    /// Connect histograms in one interval.
    pub series: u64,
    /// Process events that wait for a request.
    pub records: u64,
    /// Requests that wait for the edge.
    pub queue: usize,
}

/// The file as written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    /// The node that is watched.
    node: RawNode,
    /// Where the telemetry goes.
    edge: RawEdge,
    /// Time between deltas, and between exports; 100ms to 5m.
    interval: Span,
    /// The longest that a SIGTERM waits for the edge; at most 5m.
    drain: Span,
    /// Health, metrics, ledger.
    admin: RawAdmin,
    /// What is watched.
    probes: Probes,
    /// Bounds of memory.
    limits: RawLimits,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            node: RawNode::default(),
            edge: RawEdge::default(),
            interval: Span::from_secs(5),
            drain: Span::from_secs(10),
            admin: RawAdmin::default(),
            probes: Probes::default(),
            limits: RawLimits::default(),
        }
    }
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawNode {
    /// `host.name`, 1 to 255 bytes; left out: the kernel's.
    name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawEdge {
    /// The edge's OTLP/gRPC address: `http://HOST:PORT`, or `https://HOST:PORT` together with `edge.ca_file`.
    endpoint: String,
    /// Bearer token that names the tenant; left out: none is sent.
    token: Option<String>,
    /// File of the bearer token, instead of `edge.token`; read at start, and again when the edge does not accept it.
    token_file: Option<PathBuf>,
    /// PEM of the authority that signed the edge's certificate.
    ca_file: Option<PathBuf>,
    /// How long one export may take; 100ms to 5m.
    timeout: Span,
}

impl Default for RawEdge {
    fn default() -> Self {
        let endpoint = "http://127.0.0.1:4317".to_owned();
        Self { endpoint, token: None, token_file: None, ca_file: None, timeout: Span::from_secs(10) }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawAdmin {
    /// Where `/healthz`, `/readyz`, `/metrics` and `/ledger` are (TCP).
    listen: Listen,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: Listen(SocketAddr::from(([127, 0, 0, 1], 9470))) }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    /// Kernel memory of each probe's ring; a power of two from 4KiB to 512MiB.
    ring: ByteSize,
    /// Connect histograms of one interval; 64KiB to 1GiB. Past it one overflow series.
    series: ByteSize,
    /// Process events that wait for a request; 64KiB to 1GiB. Past it they are dropped and counted.
    records: ByteSize,
    /// Requests that wait for the edge; 1MiB to 4GiB. Past it the oldest are dropped and counted.
    queue: ByteSize,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { ring: ByteSize::mib(1), series: ByteSize::mib(8), records: ByteSize::mib(4), queue: ByteSize::mib(16) }
    }
}

impl Config {
    /// Reads the file, and the environment over it.
    ///
    /// # Errors
    /// One line with place, key and what is expected.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        config::load_valid(path, ENV_PREFIX, Self::validate)
    }

    /// Makes one of what was written, wherever that was.
    ///
    /// # Errors
    /// One line with place, key and what is expected.
    pub fn from_document(document: &Document) -> Result<Self, ConfigError> {
        Self::validate(document.parse()?).map_err(|invalid| document.error(invalid))
    }

    fn validate(raw: Raw) -> Result<Self, Invalid> {
        Ok(Self {
            node: node_name(raw.node.name)?,
            edge: edge(raw.edge)?,
            interval: within("interval", raw.interval, Span::from_millis(100), Span::from_secs(300))?,
            drain: within("drain", raw.drain, Span::from_millis(0), Span::from_secs(300))?,
            admin: raw.admin.listen.addr(),
            probes: raw.probes,
            limits: limits(&raw.limits)?,
        })
    }
}

fn node_name(name: Option<String>) -> Result<Option<String>, Invalid> {
    let Some(name) = name else { return Ok(None) };
    if name.trim().is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
        return Err(Invalid::new("node.name", "must have 1 to 255 bytes and no control characters; leave it out for the host's own name"));
    }
    Ok(Some(name))
}

fn edge(raw: RawEdge) -> Result<Edge, Invalid> {
    let expected = "expected http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:4317";
    let wrong = || Invalid::new("edge.endpoint", format!("invalid value {:?}: {expected}", raw.endpoint));
    let endpoint: Uri = raw.endpoint.parse().map_err(|_| wrong())?;
    let plain = endpoint.path() == "/" && endpoint.query().is_none() && endpoint.host().is_some_and(|host| !host.is_empty());
    match endpoint.scheme_str() {
        Some("http") if plain => {}
        Some("https") if plain && raw.ca_file.is_some() => {}
        Some("https") if plain => {
            return Err(Invalid::new("edge.endpoint", "https:// needs edge.ca_file: the PEM of who signed the edge's certificate"));
        }
        _ => return Err(wrong()),
    }
    let token = match (raw.token, raw.token_file) {
        (None, None) => Token::None,
        (Some(token), None) => Token::Inline(token),
        (None, Some(file)) => Token::File(file),
        (Some(_), Some(_)) => return Err(Invalid::new("edge.token", "is set beside edge.token_file: keep one of them")),
    };
    let timeout = within("edge.timeout", raw.timeout, Span::from_millis(100), Span::from_secs(300))?;
    Ok(Edge { endpoint, token, ca_file: raw.ca_file, timeout })
}

fn limits(raw: &RawLimits) -> Result<Limits, Invalid> {
    let ring = sized("limits.ring", raw.ring, ByteSize::kib(4), ByteSize::mib(512))?;
    if !ring.is_power_of_two() {
        let (below, above) = (ring.next_power_of_two() / 2, ring.next_power_of_two());
        let message = format!("must be a power of two, such as {} or {}", ByteSize::bytes(below), ByteSize::bytes(above));
        return Err(Invalid::new("limits.ring", message));
    }
    Ok(Limits {
        ring: u32::try_from(ring).unwrap_or(u32::MAX),
        series: sized("limits.series", raw.series, ByteSize::kib(64), ByteSize::gib(1))?,
        records: sized("limits.records", raw.records, ByteSize::kib(64), ByteSize::gib(1))?,
        queue: usize::try_from(sized("limits.queue", raw.queue, ByteSize::mib(1), ByteSize::gib(4))?).unwrap_or(usize::MAX),
    })
}

fn within(key: &str, value: Span, least: Span, most: Span) -> Result<Duration, Invalid> {
    if value < least || value > most {
        return Err(Invalid::new(key, format!("{value} is out of bounds: expected {least} to {most}")));
    }
    Ok(value.as_duration())
}

fn sized(key: &str, value: ByteSize, least: ByteSize, most: ByteSize) -> Result<u64, Invalid> {
    if value < least || value > most {
        return Err(Invalid::new(key, format!("{value} is out of bounds: expected {least} to {most}")));
    }
    Ok(value.as_u64())
}

#[cfg(test)]
mod tests;
