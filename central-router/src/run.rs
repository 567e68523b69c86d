//! The router as a whole: opens what it needs, runs until it is told to stop, drains.
//!
//! Order of a start: journal (recovers), tiers (each on a cursor of its own), addresses, then edges. Order of a stop: goodbye to the
//! edges and the last acks, tiers write what waits, a last checkpoint, the admin endpoint. Nothing acked depends on the stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use federation_proto::codec::ENCODING;
use service::admin::{Admin, AdminError, Readiness};
use service::config::ConfigError;
use service::observe::install_metrics;
use service::operator::Secret;
use service::shutdown::Shutdown;
use service::supervise::watch_over;
use service::tls::TlsError;
use tokio::task::JoinSet;

use crate::admission::Admission;
use crate::config::Config;
use crate::edges::AllowList;
use crate::housekeeping;
use crate::journal::{Journal, JournalError, JournalOptions};
use crate::listener::{self, Connected, ListenError, Listener, Shared, Trust};
use crate::quarantine::Quarantine;
use crate::roster;
use crate::session::Limits;
use crate::tail::{self, Desk};
use crate::tier::TierOpenError;
use crate::tier::consumer::{self, Consumer};

/// Why the router stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The allow-list.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A tier.
    #[error("tiers.{name}: {error}")]
    Tier {
        /// Its name.
        name: String,
        /// What is wrong.
        error: TierOpenError,
    },
    /// The listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The admin endpoint.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Questions to the local tier.
    #[error(transparent)]
    Sql(#[from] crate::sql::SqlError),
    /// A blocking task of the start failed.
    #[error("the start was interrupted: {0}")]
    Interrupted(String),
}

/// Addresses of a router that is up.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// For edges (UDP, and TCP unless that is off).
    pub listen: SocketAddr,
    /// The admin endpoint (TCP).
    pub admin: SocketAddr,
}

/// Checks that the router's certificate is valid now: edges refuse one that is not.
///
/// # Errors
/// If it cannot be read, is expired, or is not valid yet.
#[expect(clippy::disallowed_methods, reason = "driver: a certificate's dates are wall-clock dates")]
pub fn check_dates(config: &Config) -> Result<(), TlsError> {
    config.tls.valid_at(SystemTime::now())
}

/// Runs a router until `shutdown` is requested, and drains it.
///
/// # Errors
/// [`RunError`] when it cannot start. What goes wrong later is retried and shown by `/readyz`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    run_with(config, shutdown, |_| {}).await
}

/// As [`run`]; `ready` is told the addresses once edges can connect.
///
/// # Errors
/// As [`run`].
pub async fn run_with(config: Config, shutdown: Shutdown, ready: impl FnOnce(Ready)) -> Result<(), RunError> {
    service::tls::install_provider();
    if let Err(problem) = check_dates(&config) {
        tracing::warn!(%problem, "tls: a certificate is outside its dates: edges will refuse it");
    }
    let metrics = install_metrics();
    describe_metrics();
    let readiness = Readiness::new();
    let allowed = AllowList::open(&config.edges).map_err(RunError::Config)?;
    let journal = open_journal(&config).await?;
    let consumers = consumers(&config, &journal, &readiness)?;
    let shared = Arc::new(shared(&config, journal.clone(), allowed, readiness.clone())?);
    let listener = Listener::bind(config.listen, config.listen_tcp, config.connections, Arc::clone(&shared)).await?;
    let ledger = {
        let (name, shared) = (config.name.clone(), Arc::clone(&shared));
        Arc::new(move || crate::ledger::report(&name, &shared.journal, &shared.connected))
    };
    let admin = Admin { listen: config.admin, readiness: readiness.clone(), ledger, metrics }.bind().await?;
    let stop_admin = Shutdown::new();
    let tails = Desk::new(journal.clone(), config.query.tokens.clone(), operator_token(&config), stop_admin.clone());
    let admin = admin
        .merge("/edges    JSON: who may connect, who does, how far behind each is\n", roster::routes(&shared))
        .merge("/api/v1/query  POST, with a token of query.tokens: SQL over its tenant's records\n", crate::sql::routes(&config)?)
        .merge("/api/v1/tail   with a token: its tenant's records as they are journalled\n", tail::routes(tails));
    let listen = listener.local_addr().map_err(|error| ListenError::Bind { transport: "UDP", listen: config.listen, error })?;
    let addresses = Ready { listen, admin: admin.local_addr() };
    tracing::info!(router = %config.name, listen = %addresses.listen, admin = %addresses.admin, "ready");
    readiness.set("journal", Ok(()));

    let admin = tokio::spawn(admin.serve(stop_admin.clone()));
    let flush = consumers.first().map(|consumer| consumer.flush.clone()).unwrap_or_default();
    let mut tiers = JoinSet::new();
    for consumer in consumers {
        let (name, readiness) = (format!("tier_{}", consumer.name), readiness.clone());
        tiers.spawn(async move { watch_over(&name, &readiness, consumer.run()).await });
    }
    let housekeeping = {
        let (shared, readiness) = (Arc::clone(&shared), readiness.clone());
        tokio::spawn(async move { watch_over("housekeeping", &readiness, housekeeping::run(shared)).await })
    };
    ready(addresses);
    watch_over("listener", &readiness, listener.serve(shutdown.clone(), config.drain / 2)).await;
    // A listener that failed stays gone; what is journalled is still delivered, and asked for, until a supervisor ends it.
    shutdown.requested().await;

    flush.request();
    let written = async { while tiers.join_next().await.is_some() {} };
    if let Err(timeout) = service::shutdown::drain(config.drain / 2, written).await {
        tracing::warn!(%timeout, "the tiers have not written all; it is on the journal for the next start");
    }
    housekeeping.abort();
    close(journal).await;
    stop_admin.request();
    let _ = admin.await;
    Ok(())
}

/// Without it the router works and its operator has no `tail`.
fn operator_token(config: &Config) -> Option<Secret> {
    let renewed = service::operator::renew(&config.data_dir);
    renewed.inspect_err(|error| tracing::warn!(%error, "no operator's token: `tail` works with tenants' tokens alone")).ok()
}

async fn open_journal(config: &Config) -> Result<Journal, RunError> {
    let dir = config.data_dir.join("journal");
    let options = JournalOptions::of(config);
    let tiers: Vec<String> = config.tiers.iter().map(|(name, _)| name.clone()).collect();
    let opened = tokio::task::spawn_blocking(move || Journal::open(&dir, &options, &tiers)).await;
    let (journal, opened) = opened.map_err(|error| RunError::Interrupted(error.to_string()))??;
    for note in &opened.notes {
        tracing::warn!(note, "journal");
    }
    tracing::info!(pending_batches = opened.pending, "journal open");
    Ok(journal)
}

fn consumers(config: &Config, journal: &Journal, readiness: &Readiness) -> Result<Vec<Consumer>, RunError> {
    let flush = Shutdown::new();
    let quarantine = Arc::new(Quarantine::new(&config.data_dir));
    let consumer = |(index, (name, tier)): (usize, &(String, crate::tier::TierConfig))| {
        let tier = tier.open(name, journal.id()).map_err(|error| RunError::Tier { name: name.clone(), error })?;
        let (journal, quarantine, readiness, flush) = (journal.clone(), Arc::clone(&quarantine), readiness.clone(), flush.clone());
        Ok(Consumer { index, name: name.clone(), tier, journal, quarantine, readiness, flush })
    };
    config.tiers.iter().enumerate().map(consumer).collect()
}

fn shared(config: &Config, journal: Journal, allowed: AllowList, readiness: Readiness) -> Result<Shared, ListenError> {
    let limits = Limits {
        router: config.name.to_string(),
        credit: config.credit,
        max_batch: config.max_batch,
        encodings: vec![ENCODING],
        journal: journal.id(),
    };
    let admission = Admission::new(start_of_time(), &config.tenants, config.default_ceiling);
    let trust = Trust::open(&config.tls)?;
    Ok(Shared { limits, timeouts: config.timeouts, allowed, trust, admission, journal, readiness, connected: Connected::default() })
}

async fn close(journal: Journal) {
    match tokio::task::spawn_blocking(move || journal.close()).await {
        Ok(Ok(())) => tracing::info!("drained"),
        Ok(Err(error)) => tracing::warn!(%error, "the last checkpoint was not taken; the next start counts again"),
        Err(error) => tracing::error!(%error, "the journal did not close"),
    }
}

/// Describes every metric of this crate to the recorder.
pub fn describe_metrics() {
    listener::describe_metrics();
    consumer::describe_metrics();
    crate::journal::describe_metrics();
    housekeeping::describe_metrics();
    crate::tier::local::describe_metrics();
    crate::tier::otlp::describe_metrics();
    crate::sql::describe_metrics();
    tail::describe_metrics();
}

#[expect(clippy::disallowed_methods, reason = "driver: the origin of the limiters' time")]
fn start_of_time() -> Instant {
    Instant::now()
}
