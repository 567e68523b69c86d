//! The router's configuration: YAML as written ([`Raw`]), then a [`Config`] that can only be valid. Defaults are here and nowhere else.
//!
//! ```yaml
//! name: central-1                       # default: router
//! data_dir: /var/lib/tributary/router   # journal and quarantine
//! listen: 0.0.0.0:4400                  # QUIC (UDP), for edges; TCP too, unless listen_tcp: false
//! admin: {listen: 127.0.0.1:9400}       # health, metrics, ledger
//! tls: {ca: pki/ca.pem, cert: pki/router.pem, key: pki/router.key}
//! edges: pki/edges.yaml                 # allow-list; read again when it changes
//! tiers:
//!   parquet:                            # any name
//!     local: {path: /var/lib/tributary/parquet}
//!   collector:
//!     otlp: {endpoint: "http://collector:4317"}
//! ```
//!
//! Every key can be overridden by the environment: `TRIBUTARY_ROUTER__JOURNAL__BUDGET=64GiB`.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use federation_proto::identity::{EdgeName, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;
use service::config::{ByteSize, ConfigError, Invalid, Listen, Rate, Span};
use service::tls::TlsFiles;

use crate::admission::{CELL_BYTES, Ceiling};
use crate::intake::Timeouts;
use crate::sql::{QueryConfig, RawQuery};
use crate::tier::TierConfig;

/// Prefix of environment variables that override keys.
pub const ENV_PREFIX: &str = "TRIBUTARY_ROUTER";
/// Tiers that one router may have.
pub const MAX_TIERS: usize = 16;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// The file as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The router's name, told to edges and shown in the ledger.
    #[serde(default = "default_name")]
    pub name: EdgeName,
    /// Directory of journal and quarantine. Created if it is not there.
    pub data_dir: PathBuf,
    /// Where edges connect (QUIC, a UDP port; with `listen_tcp` the TCP port of the same number too).
    pub listen: Listen,
    /// Also take edges over TLS on TCP, for networks that block UDP: the same certificates, the same bounds.
    #[serde(default = "default_listen_tcp")]
    pub listen_tcp: bool,
    /// The admin endpoint.
    pub admin: RawAdmin,
    /// The router's certificate and the authority that edges' certificates come from.
    pub tls: TlsFiles,
    /// The allow-list: a file that says which edge may carry which tenants. Read again when it changes.
    pub edges: PathBuf,
    /// Largest payload of a batch taken; 64KiB to 256MiB.
    #[serde(default = "default_max_batch")]
    pub max_batch: ByteSize,
    /// Edges that may be connected at once; 1 to 10000.
    #[serde(default = "default_connections")]
    pub connections: u32,
    /// Payload bytes that all connections together may have between their header and their fsync. Divided by `connections` it is the
    /// credit of one edge, at least `max_batch` and 4KiB.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// How long edges may take for what they owe.
    #[serde(default)]
    pub timeouts: RawTimeouts,
    /// The journal.
    #[serde(default)]
    pub journal: RawJournal,
    /// Ceilings, by tenant.
    #[serde(default)]
    pub tenants: BTreeMap<TenantId, RawCeiling>,
    /// Ceiling of each tenant that has none of its own, in raw bytes a second, at least 1KiB/s; left out: no ceiling.
    #[serde(default)]
    pub default_rate: Option<Rate>,
    /// Where batches go, by a name of your choice; 1 to 16, no two of them into one place.
    pub tiers: BTreeMap<EdgeName, TierConfig>,
    /// Questions to the local tier over HTTP.
    #[serde(default)]
    pub query: RawQuery,
    /// The longest that a SIGTERM waits for what is in hand.
    #[serde(default = "default_drain")]
    pub drain: Span,
}

/// The admin endpoint as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAdmin {
    /// Where `/healthz`, `/readyz`, `/metrics`, `/ledger`, `/edges`, `/api/v1/query` and `/api/v1/tail` are (TCP).
    pub listen: Listen,
}

/// Timeouts as written; each 100ms to 5m.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawTimeouts {
    /// For the handshake, then for the control stream, then for Hello; 100ms to 5m.
    pub hello: Span,
    /// From the first byte of a batch's header, or of a control message, to its last; 100ms to 5m.
    pub header: Span,
    /// For each further 4 KiB of a batch's payload; a batch that is slower has to be sent again. 100ms to 5m.
    pub payload: Span,
}

impl Default for RawTimeouts {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self { hello: seconds(10), header: seconds(10), payload: seconds(30) }
    }
}

/// The journal as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawJournal {
    /// Disk that it may take; at least four segments, or four of `max_batch`, and 64MiB.
    pub budget: ByteSize,
    /// Size of a segment file; disk comes back in steps of it. 4MiB to 1GiB.
    pub segment: ByteSize,
}

impl Default for RawJournal {
    fn default() -> Self {
        Self { budget: ByteSize(16 * GIB), segment: ByteSize(64 * MIB) }
    }
}

/// A ceiling as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCeiling {
    /// Raw bytes a second; at least 1KiB/s.
    pub rate: Rate,
    /// Raw bytes at once; `max_batch` to 4TiB. Left out: one second of the rate, or `max_batch` if that is more.
    #[serde(default)]
    pub burst: Option<ByteSize>,
}

fn default_name() -> EdgeName {
    #[expect(clippy::expect_used, reason = "a constant of the alphabet")]
    EdgeName::new("router").expect("a name")
}

fn default_listen_tcp() -> bool {
    true
}

fn default_max_batch() -> ByteSize {
    ByteSize(8 * MIB)
}

fn default_connections() -> u32 {
    64
}

fn default_memory() -> ByteSize {
    ByteSize(GIB)
}

fn default_drain() -> Span {
    Span(Duration::from_secs(20))
}

/// A configuration that can only be valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// The router's name.
    pub name: EdgeName,
    /// Where journal and quarantine lie.
    pub data_dir: PathBuf,
    /// Address for edges.
    pub listen: SocketAddr,
    /// Also over TCP.
    pub listen_tcp: bool,
    /// TCP address of the admin endpoint.
    pub admin: Listen,
    /// Certificate, key, authority.
    pub tls: TlsFiles,
    /// The allow-list.
    pub edges: PathBuf,
    /// Largest payload, in bytes.
    pub max_batch: u32,
    /// Edges that may be connected at once.
    pub connections: u32,
    /// Header and payload bytes that one connection may have unanswered: memory divided by connections.
    pub credit: u64,
    /// Payload bytes that may wait for the journal's disk.
    pub memory: u64,
    /// How long edges may take.
    pub timeouts: Timeouts,
    /// Bytes that the journal may take on disk.
    pub journal_budget: u64,
    /// Bytes of a segment file.
    pub journal_segment: u64,
    /// Ceilings by tenant.
    pub tenants: HashMap<TenantId, Ceiling>,
    /// Ceiling of the others.
    pub default_ceiling: Option<Ceiling>,
    /// Tiers by name, in the order of their names.
    pub tiers: Vec<(String, TierConfig)>,
    /// Questions to the local tier over HTTP.
    pub query: QueryConfig,
    /// How long a drain may take.
    pub drain: Duration,
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`]: one line with file, position, key, value and remedy.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        service::config::load_valid(path, ENV_PREFIX, Self::check)
    }

    /// Checks what the file says.
    ///
    /// # Errors
    /// The first thing that cannot work: its key, what is wrong, what is expected.
    pub fn check(raw: Raw) -> Result<Self, Invalid> {
        let (max_batch, credit) = check_memory(&raw)?;
        check_journal(&raw.journal, max_batch)?;
        if raw.tiers.is_empty() || raw.tiers.len() > MAX_TIERS {
            let example = "parquet: {local: {path: /var/lib/tributary/parquet}}";
            return Err(Invalid::new("tiers", format!("{} of them: expected 1 to {MAX_TIERS}, for example {example}", raw.tiers.len())));
        }
        let mut places = HashMap::new();
        for (name, tier) in &raw.tiers {
            if let Some(place) = tier.place()
                && let Some(other) = places.insert(place, name)
            {
                let place = place.display();
                let why = format!("{place} is the place of tiers.{other} too: every row would be there twice; give each its own");
                return Err(Invalid::new(format!("tiers.{name}"), why));
            }
            tier.check().map_err(|invalid| Invalid::new(format!("tiers.{name}.{}", invalid.key_path), invalid.message))?;
        }
        let ceilings = raw.tenants.iter().map(|(tenant, ceiling)| {
            let checked = check_ceiling(&format!("tenants.{tenant}.rate"), ceiling.rate, ceiling.burst, max_batch);
            checked.map(|ceiling| (tenant.clone(), ceiling))
        });
        let tenants = ceilings.collect::<Result<_, Invalid>>()?;
        let default_ceiling = raw.default_rate.map(|rate| check_ceiling("default_rate", rate, None, max_batch)).transpose()?;
        Ok(Self {
            name: raw.name,
            data_dir: raw.data_dir,
            listen: raw.listen.0,
            listen_tcp: raw.listen_tcp,
            admin: raw.admin.listen,
            tls: raw.tls,
            edges: raw.edges,
            max_batch,
            connections: raw.connections,
            credit,
            memory: raw.memory.0,
            timeouts: check_timeouts(&raw.timeouts)?,
            journal_budget: raw.journal.budget.0,
            journal_segment: raw.journal.segment.0,
            tenants,
            default_ceiling,
            tiers: raw.tiers.into_iter().map(|(name, tier)| (name.to_string(), tier)).collect(),
            query: QueryConfig::check(&raw.query)?,
            drain: raw.drain.0,
        })
    }
}

/// The largest batch and the credit of a connection.
fn check_memory(raw: &Raw) -> Result<(u32, u64), Invalid> {
    let max_batch = u32::try_from(raw.max_batch.0).ok().filter(|&bytes| (64 * KIB..=256 * MIB).contains(&u64::from(bytes)));
    let max_batch = max_batch.ok_or_else(|| Invalid::new("max_batch", format!("{}: expected 64KiB to 256MiB", raw.max_batch)))?;
    if !(1..=10_000).contains(&raw.connections) {
        return Err(Invalid::new("connections", format!("{}: expected 1 to 10000", raw.connections)));
    }
    let credit = raw.memory.0 / u64::from(raw.connections);
    let least = u64::from(max_batch) + 4 * KIB;
    if credit < least {
        let needed = ByteSize(least.saturating_mul(u64::from(raw.connections)).div_ceil(MIB) * MIB);
        let why =
            format!("{} for {} connections: each needs room for one max_batch: expected at least {needed}", raw.memory, raw.connections);
        return Err(Invalid::new("memory", why));
    }
    Ok((max_batch, credit))
}

fn check_timeouts(raw: &RawTimeouts) -> Result<Timeouts, Invalid> {
    for (key, span) in [("hello", raw.hello), ("header", raw.header), ("payload", raw.payload)] {
        if !(Duration::from_millis(100)..=Duration::from_secs(300)).contains(&span.0) {
            return Err(Invalid::new(format!("timeouts.{key}"), format!("{span}: expected 100ms to 5m")));
        }
    }
    Ok(Timeouts { hello: raw.hello.0, header: raw.header.0, payload: raw.payload.0 })
}

fn check_journal(journal: &RawJournal, max_batch: u32) -> Result<(), Invalid> {
    if !(4 * MIB..=GIB).contains(&journal.segment.0) {
        return Err(Invalid::new("journal.segment", format!("{}: expected 4MiB to 1GiB", journal.segment)));
    }
    let least = (4 * journal.segment.0).max(4 * u64::from(max_batch)) + 64 * MIB;
    if journal.budget.0 < least {
        let why = "four segments, four batches, and room for checkpoints";
        return Err(Invalid::new("journal.budget", format!("{}: expected at least {} ({why})", journal.budget, ByteSize(least))));
    }
    Ok(())
}

/// The burst defaults to a second of the rate, and is never less than the largest batch: a batch that never fits would never come in.
fn check_ceiling(key: &str, rate: Rate, burst: Option<ByteSize>, max_batch: u32) -> Result<Ceiling, Invalid> {
    if rate.0 < CELL_BYTES {
        return Err(Invalid::new(key, format!("{rate}: expected at least 1KiB/s")));
    }
    let least = u64::from(max_batch);
    let burst = burst.map_or(rate.0.max(least), |burst| burst.0);
    if burst < least || burst / CELL_BYTES > u64::from(u32::MAX) {
        let key = key.strip_suffix("rate").map_or_else(|| key.to_owned(), |tenant| format!("{tenant}burst"));
        return Err(Invalid::new(key, format!("{}: expected at least max_batch ({}) and at most 4TiB", ByteSize(burst), ByteSize(least))));
    }
    Ok(Ceiling { rate: rate.0, burst })
}

#[cfg(test)]
mod tests;
