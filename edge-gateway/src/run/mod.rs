//! A whole edge: opens the logs, starts the parts, and stops them in the order that leaves the least to do for the next start.
//!
//! ```text
//! receiver ─▶ ingest ─▶ inbox (fsync) ─▶ OK
//!                         └▶ custody: batcher ─▶ encoder threads ─▶ spool (fsync) ─▶ shipper ─▶ link ══▶ router
//! ```
//!
//! `/readyz` answers whether senders should come here: whether what they send is taken and kept. A missing router alone does not
//! make an edge unready: data moves, onto its disk, as it is meant to in an outage, and an orchestrator that took the edge away
//! would lose senders their one place that still takes it. It is unready when inbox or spool refuse, and when there is no router and
//! the spool is nearly full. The link's state is in `/ledger` and `tributary_edge_link_up`.

mod figures;
mod open;
mod report;
mod status;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use service::admin::{Admin, AdminError, Readiness};
use service::config::{ConfigError, Listen};
use service::shutdown::{Shutdown, drain};
use service::tls::SpiffeKind;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::clock;
use crate::compression::Thrift;
use crate::config::Config;
use crate::encoder::EncoderPool;
use crate::ingest::{Ingest, Memory};
use crate::link::{self, ConnectError, Link};
use crate::receiver::Receiver;

pub use open::OpenLogError;

/// Why an edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// A log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenLogError),
    /// An address cannot be had.
    #[error("{key}: {address} cannot be bound: {error}; stop the process that has it, or set another address")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The admin endpoint's address cannot be had.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The certificates cannot be used.
    #[error("ship.tls: {0}")]
    Link(#[from] ConnectError),
    /// The certificate is another edge's.
    #[error("name: {name} is not what the certificate {cert} says ({found}): set that name, or give this edge's certificate in ship.tls")]
    Name {
        /// The configured name.
        name: String,
        /// The certificate's path.
        cert: String,
        /// Its identity.
        found: String,
    },
    /// The system gives no thread.
    #[error("cannot start the encoder threads: {0}")]
    Threads(std::io::Error),
}

/// Runs an edge until `shutdown`, then drains it within `config.drain`. Nothing acknowledged is lost either way.
///
/// # Errors
/// [`RunError`]: it did not start.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    Edge::start(config).await?.run(shutdown).await;
    Ok(())
}

/// Checks what can be checked of a configuration without starting: certificates, the name in them.
///
/// # Errors
/// [`RunError`].
pub fn check(config: &Config) -> Result<(), RunError> {
    let id = config.ship.tls.own_id().map_err(ConnectError::from)?;
    if id.kind() != SpiffeKind::Edge || id.name() != config.name.as_str() {
        let cert = config.ship.tls.cert.display().to_string();
        return Err(RunError::Name { name: config.name.to_string(), cert, found: id.to_string() });
    }
    config.ship.tls.client_config(&[]).map_err(ConnectError::from)?;
    Ok(())
}

/// An edge that takes requests.
#[derive(Debug)]
pub struct Edge {
    config: Config,
    parts: Arc<Parts>,
    ingest: Ingest,
    /// Stops the receivers.
    receiving: Shutdown,
    receivers: JoinSet<()>,
    /// Stops timers, backlog and checkpoints.
    working: Shutdown,
    workers: JoinSet<()>,
    /// Stops the link.
    shipping: Shutdown,
    link: JoinHandle<()>,
    /// Stops the admin endpoint, last of all, so that a drain can be watched.
    watching: Shutdown,
    admin: JoinHandle<()>,
    /// Where the receivers and the admin endpoint are: gRPC, HTTP, admin.
    pub bound: Bound,
}

/// The addresses as the kernel gave them.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// OTLP/gRPC.
    pub grpc: SocketAddr,
    /// OTLP/HTTP.
    pub http: SocketAddr,
    /// Health, metrics, ledger.
    pub admin: SocketAddr,
}

/// What the tasks share.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) link: Arc<link::Shared>,
    pub(crate) inbox: open::Inbox,
    pub(crate) encoders: EncoderPool,
    pub(crate) memory: Memory,
    pub(crate) readiness: Readiness,
    pub(crate) budgets: open::Budgets,
}

impl Edge {
    /// Opens the logs, binds the addresses, starts the parts.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn start(config: Config) -> Result<Self, RunError> {
        check(&config)?;
        let (grpc, grpc_at) = bind("receive.grpc", config.receive.grpc).await?;
        let (http, http_at) = bind("receive.http", config.receive.http).await?;
        let parts = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || open::open(&config)).await.map_err(|error| RunError::Threads(error.into()))??
        };
        let parts = Arc::new(parts);
        match Self::assemble(config, Arc::clone(&parts), (grpc, http), (grpc_at, http_at)).await {
            Ok(edge) => Ok(edge),
            Err(error) => {
                blocking(move || parts.close()).await;
                Err(error)
            }
        }
    }

    async fn assemble(
        config: Config,
        parts: Arc<Parts>,
        (grpc, http): (TcpListener, TcpListener),
        (grpc_at, http_at): (SocketAddr, SocketAddr),
    ) -> Result<Self, RunError> {
        let ingest = Ingest::new(
            Arc::clone(&parts.link.custody),
            parts.inbox.committer.clone(),
            parts.encoders.clone(),
            config.receive.max_request_bytes,
            Thrift::new(config.inbox.budget_bytes),
        );
        let (watching, shipping, working, receiving) = (Shutdown::new(), Shutdown::new(), Shutdown::new(), Shutdown::new());
        let introduction = link::Introduction { name: config.name.clone(), labels: config.labels.clone() };
        let link = Link::new(Arc::clone(&parts.link), config.ship.clone(), introduction, open::seed())?;
        let (admin, admin_at) = start_admin(&config, &parts, &watching).await?;
        let link = tokio::spawn(link.run(shipping.clone()));
        let workers = tasks::start(&parts, &ingest, &config, &working);
        let receiver = Receiver {
            identities: config.identities.clone(),
            ingest: ingest.clone(),
            memory: parts.memory.clone(),
            max_request_bytes: config.receive.max_request_bytes,
        };
        let mut receivers = JoinSet::new();
        receivers.spawn(receiver.clone().serve_grpc(grpc, receiving.clone()));
        receivers.spawn(receiver.serve_http(http, receiving.clone()));
        parts.readiness.set("receivers", Ok(()));
        let bound = Bound { grpc: grpc_at, http: http_at, admin: admin_at };
        tracing::info!(name = %config.name, grpc = %bound.grpc, http = %bound.http, admin = %bound.admin, "edge is up");
        Ok(Self { config, parts, ingest, receiving, receivers, working, workers, shipping, link, watching, admin, bound })
    }

    /// Works until `shutdown`, then drains within the configured deadline.
    pub async fn run(self, shutdown: Shutdown) {
        shutdown.requested().await;
        self.stop().await;
    }

    /// The ledger, as `/ledger` gives it.
    #[must_use]
    pub fn ledger(&self) -> serde_json::Value {
        report::ledger(&self.config.name, &self.parts)
    }

    /// What `/readyz` answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parts.readiness.is_ready()
    }

    async fn stop(mut self) {
        let deadline = clock::now() + self.config.drain;
        self.parts.readiness.set("receivers", Err("the edge is stopping"));
        self.ingest.drain();
        self.receiving.request();
        let receivers = &mut self.receivers;
        if drain(left(deadline) / 2, async { while receivers.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("some senders were cut off; what they were told OK is on disk");
        }
        self.receivers.shutdown().await;
        self.working.request();
        while self.workers.join_next().await.is_some() {}
        let parts = Arc::clone(&self.parts);
        blocking(move || parts.flush(left(deadline))).await;
        self.ship_rest(deadline).await;
        self.shipping.request();
        if self.link.await.is_err() {
            tracing::error!("the link had panicked");
        }
        let parts = Arc::clone(&self.parts);
        blocking(move || parts.close()).await;
        self.watching.request();
        // It has nothing to lose.
        let _ = self.admin.await;
        tracing::info!("edge is down");
    }

    /// Until everything is shipped, or the deadline.
    async fn ship_rest(&self, deadline: Instant) {
        let shared = &self.parts.link;
        let shipped = async {
            loop {
                let acked = shared.acked.notified();
                if shared.shipper.lock().depth().batches == 0 {
                    return;
                }
                acked.await;
            }
        };
        if drain(left(deadline), shipped).await.is_err() {
            let batches = shared.shipper.lock().depth().batches;
            tracing::info!(batches, "not everything could be shipped in time; it is in the spool");
        }
    }
}

impl Parts {
    /// Closes all open batches and waits until they are in the spool.
    fn flush(&self, most: Duration) {
        let closed = self.link.custody.lock().drain();
        self.encoders.submit(closed);
        if !self.encoders.wait_idle(most) {
            tracing::warn!("not every batch could be encoded in time; their requests are in the inbox");
        }
    }

    /// Ends all threads; then the last checkpoint.
    fn close(&self) {
        self.encoders.close();
        self.inbox.committer.close();
        self.link.spool.close();
        let last = tasks::checkpoint(&self.link.custody, &self.link.spool, &self.inbox.committer);
        if let Err(error) = last {
            tracing::error!(%error, "no checkpoint at the end; the next start reads more of the logs");
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::now())
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    if tokio::task::spawn_blocking(work).await.is_err() {
        tracing::error!("a step of the shutdown panicked");
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |error| RunError::Listen { key, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn start_admin(config: &Config, parts: &Arc<Parts>, watching: &Shutdown) -> Result<(JoinHandle<()>, SocketAddr), RunError> {
    let (name, for_ledger) = (config.name.clone(), Arc::clone(parts));
    let admin = Admin {
        listen: Listen(config.admin),
        readiness: parts.readiness.clone(),
        ledger: Arc::new(move || report::ledger(&name, &for_ledger)),
        metrics: service::observe::install_metrics(),
    };
    figures::describe();
    let bound = admin.bind().await?.merge(status::routes(config, parts));
    let address = bound.local_addr();
    Ok((tokio::spawn(bound.serve(watching.clone())), address))
}

/// The account of all rows, shared.
pub(crate) type SharedCustody = Arc<Mutex<crate::custody::Custody>>;
