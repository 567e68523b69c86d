//! One per node: what the kernel sees of connects and processes, as OpenTelemetry, to the edge.
//!
//! ```text
//! kernel programs --ring--> driver --> probe (aggregate) --> export --> outbox --> sender --OTLP/gRPC--> edge
//!                              '-----> identity (cgroup, container, pod)
//! ```
//!
//! | Module | What it does |
//! |---|---|
//! | [`cli`] | The command line |
//! | [`config`] | What an operator may set |
//! | [`probe`] | What can be watched; pure, one file each |
//! | [`loader`] | Programs into the kernel, or what exactly is missing |
//! | [`driver`] | Rings to probes by the clock, probes to requests by the interval |
//! | [`aggregate`] | Connects to histograms; pure, bounded |
//! | [`identity`] | Cgroup ids to paths, containers, pods |
//! | [`clock`] | Kernel time to wall clock |
//! | [`export`] | OTLP requests; pure |
//! | [`outbox`], [`dispatch`], [`ledger`] | What goes to the edge, when, and what became of every row |
//! | [`sender`] | gRPC |
//!
//! What it promises: a probe that cannot run stops no other and is explained; nothing is lost without being counted; memory is
//! bounded by `limits`; a retry is the same bytes, so that the edge can know it. No `unsafe`: aya has what is needed of it.

#![forbid(unsafe_code)]

pub mod aggregate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dispatch;
pub mod driver;
pub mod export;
pub mod identity;
pub mod ledger;
pub mod loader;
pub mod outbox;
pub mod probe;
pub mod sender;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use service::admin::{Admin, AdminError, Readiness};
use service::config::{ConfigError, Listen};
use service::shutdown::{Shutdown, drain};

pub use config::Config;

use dispatch::Dispatch;
use driver::Driver;
use outbox::Outbox;
use sender::{Sender, SenderError};

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// The admin endpoint's address cannot be had.
    #[error("{0}")]
    Admin(#[source] AdminError),
    /// Token, certificate or endpoint of the edge cannot be used.
    #[error("{0}")]
    Sender(#[source] SenderError),
}

/// Runs until `shutdown` is requested, then drains: what the rings held goes to the edge within `config.drain`.
///
/// An edge that is not there, and probes that cannot be loaded, are no errors: the agent says so and runs on.
///
/// # Errors
/// [`RunError`], before anything is loaded.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    let metrics = service::observe::install_metrics();
    describe_metrics();
    let readiness = Readiness::new();
    let dispatch = Arc::new(Dispatch::new(Outbox::new(config.limits.queue, seed())));
    let report = Arc::clone(&dispatch);
    let admin = Admin { listen: Listen(config.admin), readiness: readiness.clone(), ledger: Arc::new(move || report.report()), metrics };
    let admin = admin.bind().await.map_err(RunError::Admin)?;
    let sender = Sender::new(&config.edge).map_err(RunError::Sender)?;

    // The admin endpoint answers when there is something to say, and outlives the drain; the sender outlives the driver.
    let (drained, closing) = (Shutdown::new(), Shutdown::new());
    let driver = Driver::start(&config, Arc::clone(&dispatch), &readiness);
    let admin = tokio::spawn(admin.serve(drained.clone()));
    let sending = tokio::spawn(sender::run(sender, Arc::clone(&dispatch), readiness, closing.clone()));
    driver.run(shutdown).await;

    closing.request();
    dispatch.ring();
    let abort = sending.abort_handle();
    if drain(config.drain, sending).await.is_err() {
        abort.abort();
        let rows = dispatch.abandon();
        tracing::warn!(rows, drain = ?config.drain, "the edge did not take everything before the drain's end; rows are dropped");
    }
    tracing::info!(ledger = %dispatch.report(), "stopped");
    drained.request();
    if let Err(error) = admin.await {
        tracing::error!(%error, "the admin endpoint failed");
    }
    Ok(())
}

/// What each probe of `config` lacks on this machine, by loading it and letting it go: for an operator who wants to know
/// beforehand. A probe that lacks nothing has an empty list.
pub fn check(config: &Config) -> Vec<(&'static str, config::Mode, Vec<loader::Missing>)> {
    let privileges = loader::Privileges::read(Path::new("/proc"));
    let probes = probe::registry(config).into_iter().filter(|(mode, _)| *mode != config::Mode::Off);
    let probes = probes.map(|(mode, probe)| {
        let attached = loader::attach(probe.spec(), config.limits.ring, &privileges);
        (probe.spec().name, mode, attached.map_or_else(|missing| missing, |attached| attached.missing))
    });
    probes.collect()
}

/// Describes every metric of this crate to the recorder.
pub fn describe_metrics() {
    dispatch::describe();
    driver::describe();
    sender::describe();
}

/// For jitter: differs between processes.
fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
