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
//! the spool is nearly full, and when a part of it has died ([`alive`]). The link's state is in `/ledger` and `tributary_edge_link_up`.

mod alive;
mod bounds;
pub mod by_hand;
mod figures;
mod offline;
mod open;
mod report;
pub(crate) mod status;
mod tasks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use service::admin::{Admin, AdminError, Readiness};
use service::config::{ConfigError, Listen};
use service::shutdown::{Shutdown, drain};
use service::tls::SpiffeKind;
use tokio::task::{JoinHandle, JoinSet};

use self::alive::Alive;
use crate::clock;
use crate::compression::Thrift;
use crate::config::{Address, Config};
use crate::encoder::EncoderPool;
use crate::ingest::{Ingest, Memory};
use crate::link::{self, ConnectError, Link};
use crate::receiver::{self, BoundListener, ListenError, Receiver};

pub use figures::describe_metrics;
pub use offline::Offline;
pub use open::{Disk, Disks, OpenLogError};

/// Why an edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// A log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenLogError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
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

/// Checks what can be checked of a configuration without starting: certificates, the name in them, their dates.
///
/// # Errors
/// [`RunError`].
pub fn check(config: &Config) -> Result<(), RunError> {
    check_files(config)?;
    dates(config).into_iter().next().map_or(Ok(()), Err)
}

/// Certificates that are expired or not valid yet: a start says so and goes on, since what senders send is to be kept all the same.
fn dates(config: &Config) -> Vec<RunError> {
    let now = clock::wall();
    let ours = config.ship.tls.valid_at(now).map_err(|error| RunError::from(ConnectError::from(error)));
    let listeners = config.receive.listeners.iter().map(|listener| receiver::check_dates(listener, now).map_err(RunError::from));
    std::iter::once(ours).chain(listeners).filter_map(Result::err).collect()
}

fn check_files(config: &Config) -> Result<(), RunError> {
    let id = config.ship.tls.own_id().map_err(ConnectError::from)?;
    if id.kind() != SpiffeKind::Edge || id.name() != config.name.as_str() {
        let cert = config.ship.tls.cert.display().to_string();
        return Err(RunError::Name { name: config.name.to_string(), cert, found: id.to_string() });
    }
    config.ship.tls.client_config(&[]).map_err(ConnectError::from)?;
    config.receive.listeners.iter().try_for_each(|listener| receiver::check(listener).map(drop))?;
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
    /// Where the receivers and the admin endpoint are.
    pub bound: Bound,
}

/// The addresses as the kernel gave them.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The receivers' by their place in the configuration: `receive.grpc`, `receive.listeners[0]`.
    pub receivers: BTreeMap<String, Address>,
    /// Health, metrics, ledger.
    pub admin: SocketAddr,
}

impl Bound {
    /// The address and port of the receiver at `key`, if it is there and has one.
    #[must_use]
    pub fn tcp(&self, key: &str) -> Option<SocketAddr> {
        self.receivers.get(key).and_then(Address::tcp)
    }
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
    pub(crate) bounds: bounds::Bounds,
    /// Requested when the encoder threads may end.
    pub(crate) closing: Shutdown,
}

impl Edge {
    /// Opens the logs, binds the addresses, starts the parts.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn start(config: Config) -> Result<Self, RunError> {
        check_files(&config)?;
        for problem in dates(&config) {
            tracing::warn!(%problem, "a certificate is outside its dates: who is shown it will refuse");
        }
        let mut listeners = Vec::with_capacity(config.receive.listeners.len());
        for listener in &config.receive.listeners {
            listeners.push(BoundListener::bind(listener.clone()).await?);
        }
        let parts = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || open::open(&config)).await.map_err(|error| RunError::Threads(error.into()))??
        };
        let parts = Arc::new(parts);
        match Self::assemble(config, Arc::clone(&parts), listeners).await {
            Ok(edge) => Ok(edge),
            Err(error) => {
                blocking(move || parts.close()).await;
                Err(error)
            }
        }
    }

    async fn assemble(config: Config, parts: Arc<Parts>, listeners: Vec<BoundListener>) -> Result<Self, RunError> {
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
        let link = tokio::spawn(Alive::new(&parts.readiness, "link", &shipping).hold(link.run(shipping.clone())));
        let workers = tasks::start(&parts, &ingest, &config, &working);
        let receivers = BTreeMap::from_iter(listeners.iter().map(|listener| (listener.key.clone(), listener.address.clone())));
        for (key, address) in &receivers {
            tracing::info!(key, %address, "receiver is up");
        }
        let bound = Bound { receivers, admin: admin_at };
        let receivers = receive(&config, &parts, &ingest, listeners, &receiving);
        parts.readiness.set("receivers", Ok(()));
        tracing::info!(name = %config.name, admin = %bound.admin, "edge is up");
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

    /// How much of `receive.memory` is not claimed, in bytes.
    #[must_use]
    pub fn unclaimed_bytes(&self) -> usize {
        self.parts.memory.free_bytes()
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
        self.closing.request();
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

/// Starts the receivers; they end with `receiving`.
fn receive(config: &Config, parts: &Parts, ingest: &Ingest, listeners: Vec<BoundListener>, receiving: &Shutdown) -> JoinSet<()> {
    let receiver = Receiver {
        identities: config.identities.clone(),
        ingest: ingest.clone(),
        memory: parts.memory.clone(),
        max_request_bytes: config.receive.max_request_bytes,
        connections: config.receive.connections,
    };
    let memory_bytes = config.receive.connections.memory_bytes / listeners.len().max(1);
    let mut receivers = JoinSet::new();
    for listener in listeners {
        let alive = Alive::new(&parts.readiness, listener.key.clone(), receiving);
        receivers.spawn(alive.hold(receiver.clone().serve(listener, memory_bytes, open::seed(), receiving.clone())));
    }
    receivers
}

async fn start_admin(config: &Config, parts: &Arc<Parts>, watching: &Shutdown) -> Result<(JoinHandle<()>, SocketAddr), RunError> {
    let (name, for_ledger) = (config.name.clone(), Arc::clone(parts));
    let admin = Admin {
        listen: Listen(config.admin),
        readiness: parts.readiness.clone(),
        ledger: Arc::new(move || report::ledger(&name, &for_ledger)),
        metrics: service::observe::install_metrics(),
    };
    describe_metrics();
    let bound = admin.bind().await?.merge("/status   JSON: what `tributary-edge status` shows\n", status::routes(config, parts));
    let address = bound.local_addr();
    Ok((tokio::spawn(bound.serve(watching.clone())), address))
}

/// The account of all rows, shared.
pub(crate) type SharedCustody = Arc<Mutex<crate::custody::Custody>>;
