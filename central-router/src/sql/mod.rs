//! SQL over the local tier: the `query` subcommand and `POST /api/v1/query` of the admin endpoint.
//!
//! ```yaml
//! query:                          # without it, or without tokens, the endpoint has no /api/v1/query
//!   tokens: [{tenant: acme, sha256: <sha256 of the bearer token>}]
//!   memory: 256MiB                # of one statement
//!   rows: 10000                   # of one answer
//!   time: 30s                     # of one statement
//!   answer: 16MiB                 # bytes of one answer
//!   concurrent: 4                 # statements at once; one tenant may have half of them
//! ```
//!
//! The engine is built with the feature `sql` (the default); the configuration is the same without it. The tokens also open their tenants'
//! [`crate::tail`], in either build.

pub mod command;
#[cfg(feature = "sql")]
mod endpoint;
pub mod tokens;

use std::path::PathBuf;
use std::time::Duration;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use service::config::{ByteSize, Invalid, Span};

use crate::config::Config;
use crate::tier::TierConfig;
use tokens::{RawToken, Tokens};

/// Longest time of a statement over HTTP: the admin endpoint ends connections after a minute.
const MAX_TIME: Duration = Duration::from_secs(50);

/// `query` as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawQuery {
    /// Who may ask: each token opens one tenant, to statements and to `/api/v1/tail`. None: nobody. At most 4096.
    pub tokens: Vec<RawToken>,
    /// Memory that one statement may hold; 1MiB to 1TiB.
    pub memory: ByteSize,
    /// Rows of one answer, at most; 1 to 10000000.
    pub rows: u32,
    /// How long one statement may take; 100ms to 50s.
    pub time: Span,
    /// Size of one answer, at most; 1MiB to 1TiB.
    pub answer: ByteSize,
    /// Statements at once; 1 to 64. Past it the answer is 503.
    pub concurrent: u32,
}

impl Default for RawQuery {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            memory: ByteSize(256 << 20),
            rows: 10_000,
            time: Span(Duration::from_secs(30)),
            answer: ByteSize(16 << 20),
            concurrent: 4,
        }
    }
}

/// `query`, valid.
#[derive(Debug, Clone)]
pub struct QueryConfig {
    /// Who may ask.
    pub tokens: Tokens,
    /// Bytes that one statement may hold.
    pub memory: usize,
    /// Rows of one answer.
    pub rows: usize,
    /// How long one statement may take.
    pub time: Duration,
    /// Bytes of one answer.
    pub answer: usize,
    /// Statements at once.
    pub concurrent: usize,
}

impl QueryConfig {
    /// Checks what the file says.
    ///
    /// # Errors
    /// The key, what is wrong, what is expected.
    pub fn check(raw: &RawQuery) -> Result<Self, Invalid> {
        let tokens = Tokens::check(&raw.tokens)?;
        let bytes = |key: &str, size: ByteSize| match usize::try_from(size.0) {
            Ok(bytes) if (1 << 20..=1 << 40).contains(&size.0) => Ok(bytes),
            _ => Err(Invalid::new(format!("query.{key}"), format!("{size}: expected 1MiB to 1TiB"))),
        };
        let (memory, answer) = (bytes("memory", raw.memory)?, bytes("answer", raw.answer)?);
        if !(1..=10_000_000).contains(&raw.rows) {
            return Err(Invalid::new("query.rows", format!("{}: expected 1 to 10000000", raw.rows)));
        }
        if !(Duration::from_millis(100)..=MAX_TIME).contains(&raw.time.0) {
            let why = format!("{}: expected 100ms to 50s; for longer ones: tributary-router query --time", raw.time);
            return Err(Invalid::new("query.time", why));
        }
        if !(1..=64).contains(&raw.concurrent) {
            return Err(Invalid::new("query.concurrent", format!("{}: expected 1 to 64", raw.concurrent)));
        }
        Ok(Self { tokens, memory, rows: raw.rows as usize, time: raw.time.0, answer, concurrent: raw.concurrent as usize })
    }
}

/// Why the endpoint cannot answer statements.
#[derive(Debug, thiserror::Error)]
#[error("query: {0}")]
pub struct SqlError(String);

/// The routes to add to the admin endpoint; without tokens, one that says what is missing.
///
/// # Errors
/// If the system gives no threads.
pub fn routes(config: &Config) -> Result<axum::Router, SqlError> {
    if cfg!(not(feature = "sql")) && !config.query.tokens.is_empty() {
        tracing::info!("this build has no SQL: query.tokens open tails alone");
    }
    match local_tier(config) {
        #[cfg(feature = "sql")]
        Some(tier) if !config.query.tokens.is_empty() => endpoint::routes(&tier, &config.query),
        _ => Ok(axum::Router::new().route("/api/v1/query", axum::routing::any(absent))),
    }
}

/// Says what the endpoint wants; what is not configured opens nothing.
async fn absent() -> (StatusCode, &'static str) {
    let missing = "no statements here: expected query.tokens and a local tier in the router's configuration, and a build with SQL\n";
    (StatusCode::NOT_FOUND, missing)
}

/// The first local tier: all have the same records.
fn local_tier(config: &Config) -> Option<PathBuf> {
    let local = |(_, tier): &(String, TierConfig)| match tier {
        TierConfig::Local(local) => Some(local.path.clone()),
        TierConfig::Otlp(_) => None,
    };
    config.tiers.iter().find_map(local)
}

/// The tier's tables, with the schema that its files have.
#[cfg(feature = "sql")]
fn tables() -> Result<Vec<query::Table>, SqlError> {
    use crate::tier::local::tables::{Table, build};
    let table = |&table: &Table| {
        let schema = build(table, &[], &[]).map_err(|error| SqlError(error.to_string()))?.schema();
        let time = if matches!(table, Table::Traces | Table::Logs) { "Timestamp" } else { "TimeUnix" };
        Ok(query::Table { name: table.name().to_owned(), schema, time: time.to_owned() })
    };
    Table::ALL.iter().map(table).collect()
}

/// Declares this module's metrics.
pub fn describe_metrics() {
    let what = "Statements over HTTP, by outcome";
    metrics::describe_counter!("tributary_router_queries_total", metrics::Unit::Count, what);
}

#[cfg(test)]
mod tests;
