//! The link: the driver of the [`Shipper`]. Connects to the routers in the order of preference, over QUIC or, where UDP is blocked, TCP;
//! keeps one connection, looks beside it for a better one, and starts again with jittered back-off when it breaks. What to send, and in
//! which order, the shipper says.
//!
//! A move (back to a preferred router, from TCP to QUIC) has its new connection first; then the old one is given [`MOVE_GRACE`] for the
//! verdicts on what is on its way, so that nothing is sent twice. An escape from a silent router gives it none.
//!
//! The files of `ship.tls` are looked at every [`LOOK`]: with another certificate the connection is made anew in the same way. One that the
//! router refuses leaves the connection as it is.
//!
//! | Module | What it is |
//! |---|---|
//! | [`connect`] | Sockets, TLS, transport settings |
//! | [`talk`] | The conversation with a router, decided |
//! | [`session`] | Its driver: one connection |
//! | [`endpoints`] | Which router, decided |
//! | [`line`], [`quic`], [`tcp`] | What it goes over |
//! | [`window`] | How much may be on its way |
//! | [`status`] | What a router is told once a second |
//! | [`verdict`] | Acks and refusals applied to spool and ledger |
//! | [`view`] | How the link is, for people |
//! | [`rejected`] | Where batches go that a router refuses for good |
//!
//! A cut link is noticed within [`line::IDLE_TIMEOUT`]; where there is another router to go to, within [`SILENT`]. Bounds in memory: one message each way of at most 256 KiB, and the batches
//! whose streams are open (`Limits::streams` per class).

mod connect;
pub mod endpoints;
mod line;
mod quic;
mod rejected;
mod session;
mod status;
pub mod talk;
mod tcp;
mod verdict;
mod view;
mod window;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use federation_proto::frame::CloseCode;
use federation_proto::identity::{EdgeName, SpoolId};
use parking_lot::Mutex;
use segment_log::Committer;
use service::shutdown::Shutdown;
use service::watched::Refresh;
use tokio::sync::Notify;

use self::connect::Dialer;
use self::endpoints::{Choice, Endpoints, Purpose};
use self::line::Line;
use self::talk::End;
use crate::clock;
use crate::config::{Endpoint, Ship};
use crate::custody::Custody;
use crate::shipper::Shipper;

pub use connect::ConnectError;
pub use line::Transport;
pub use rejected::Rejected;
pub use view::{EndpointStatus, LinkStatus};

/// A router of which nothing was heard for this long is silent: it answers a Status a second.
const SILENT: Duration = Duration::from_millis(1_500);
/// Time for the verdicts on what is on its way, on a move.
const MOVE_GRACE: Duration = Duration::from_secs(5);
/// Between attempts to escape from a silent router.
const ESCAPE_PAUSE: Duration = Duration::from_millis(250);
/// Between looks at the files of `ship.tls`.
const LOOK: Duration = Duration::from_secs(2);
/// A connection is one to move to when it has held for this long.
const PROVEN: Duration = Duration::from_secs(1);
/// The same on an escape: rows wait.
const PROVEN_IN_HASTE: Duration = Duration::from_millis(300);

/// What the link shares with the rest of the edge.
pub struct Shared {
    /// The account of all rows.
    pub custody: Arc<Mutex<Custody>>,
    /// The spool.
    pub spool: Committer,
    /// Its id.
    pub spool_id: SpoolId,
    /// What to send.
    pub shipper: Mutex<Shipper>,
    /// Told when there is more to send.
    pub wake: Notify,
    /// Told when batches have left.
    pub acked: Notify,
    /// How the link is.
    pub status: Mutex<LinkStatus>,
    /// Where refused batches go.
    pub rejected: Rejected,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("spool_id", &self.spool_id).finish_non_exhaustive()
    }
}

/// Who we are, as told to routers.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// The edge's name.
    pub name: EdgeName,
    /// cloud, region, cluster, kind.
    pub labels: HashMap<String, String>,
}

/// The driver.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    ship: Ship,
    introduction: Introduction,
    dialer: Dialer,
    endpoints: Mutex<Endpoints>,
    /// Told when there is another certificate.
    renewed: Notify,
}

/// How a session ended.
#[derive(Debug)]
struct Ended {
    /// The router asked us to go elsewhere.
    go_away: bool,
    why: String,
}

/// A connection to use.
struct Ready {
    endpoint: usize,
    line: Line,
}

impl Link {
    /// `seed` spreads the reconnects.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(shared: Arc<Shared>, ship: Ship, introduction: Introduction, seed: u64) -> Result<Self, ConnectError> {
        let dialer = Dialer::new(&ship)?;
        let waits = (ship.backoff_min, ship.backoff_max);
        let quic_retry = ship.transport.is_none().then_some(ship.quic_retry);
        let endpoints = Endpoints::new(ship.endpoints.len(), waits, seed, ship.return_after, quic_retry);
        let link = Self { shared, ship, introduction, dialer, endpoints: Mutex::new(endpoints), renewed: Notify::new() };
        link.show();
        link.show_certificate();
        Ok(link)
    }

    /// Ships until `stop`.
    pub async fn run(self, stop: Shutdown) {
        tokio::select! {
            () = self.ship(&stop) => {}
            () = self.follow() => {}
        }
    }

    /// Uses what the files of `ship.tls` say. For ever.
    async fn follow(&self) {
        let renewed = |outcome| metrics::counter!("tributary_edge_certificate_changes_total", "outcome" => outcome).increment(1);
        loop {
            tokio::time::sleep(LOOK).await;
            match self.dialer.refresh() {
                Refresh::Same => {}
                Refresh::Confirmed | Refresh::Changed => {
                    tracing::info!("certificate, key or authority have changed: the connection is made anew");
                    renewed("used");
                    self.show_certificate();
                    self.endpoints.lock().renewed(clock::now());
                    self.renewed.notify_one();
                }
                Refresh::Kept(why) => {
                    tracing::warn!(why, "ship.tls: the files are of no use");
                    renewed("kept");
                }
            }
        }
    }

    async fn ship(&self, stop: &Shutdown) {
        let mut next = None;
        loop {
            let ready = match next.take() {
                Some(ready) => Some(ready),
                None => tokio::select! {
                    ready = self.dial() => Some(ready),
                    () = stop.requested() => None,
                },
            };
            let Some(ready) = ready.filter(|_| !stop.is_requested()) else { return };
            next = self.use_up(ready, stop).await;
        }
    }

    /// Until a router is connected.
    async fn dial(&self) -> Ready {
        loop {
            let choice = self.endpoints.lock().choose(clock::now());
            let endpoint = match choice {
                Choice::Dial(endpoint) => endpoint,
                Choice::Wait(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = self.renewed.notified() => {}
                    }
                    continue;
                }
            };
            let address = &self.ship.endpoints[endpoint].address;
            self.shared.status.lock().endpoint.clone_from(address);
            match self.dialer.dial(&self.ship.endpoints[endpoint]).await {
                Ok(line) => return Ready { endpoint, line },
                Err(error) => {
                    let failures = self.endpoints.lock().failed(clock::now(), endpoint);
                    tracing::warn!(endpoint = address, failures, %error, "no router; batches wait in the spool");
                    self.shared.status.lock().error = Some(error.to_string());
                    self.failed(endpoint, &error.to_string());
                }
            }
        }
    }

    /// Talks over the connection to its end; gives the next, if that was found meanwhile.
    async fn use_up(&self, ready: Ready, stop: &Shutdown) -> Option<Ready> {
        let Ready { endpoint, line } = ready;
        let transport = line.transport();
        self.endpoints.lock().connected(clock::now(), endpoint, transport);
        {
            let mut status = self.shared.status.lock();
            status.endpoint.clone_from(&self.ship.endpoints[endpoint].address);
            status.transport = Some(transport);
        }
        self.show();
        let signals = Signals::default();
        let mut session = pin!(session::Session::new(&self.shared, &self.introduction, line, &signals).run(stop));
        let (ended, next) = tokio::select! {
            ended = &mut session => (ended, None),
            next = self.scout(&signals) => (session.await, Some(next)),
        };
        self.shared.shipper.lock().disconnected();
        self.shared.status.lock().disconnected();
        metrics::gauge!("tributary_edge_link_up").set(0.0);
        for transport in Transport::ALL {
            metrics::gauge!("tributary_edge_link_transport", "transport" => transport.as_str()).set(0.0);
        }
        self.endpoints.lock().lost(clock::now(), ended.go_away);
        if !stop.is_requested() {
            tracing::warn!(
                endpoint = self.ship.endpoints[endpoint].address,
                why = ended.why,
                moves = next.is_some(),
                "the connection ended"
            );
            self.failed(endpoint, &ended.why);
            self.shared.status.lock().error = Some(ended.why);
        }
        next
    }

    /// Looks for a better connection beside the one that there is; when it has one, tells the session to leave.
    async fn scout(&self, signals: &Signals) -> Ready {
        loop {
            let silent = signals.is_silent();
            let now = clock::now();
            let looked = self.endpoints.lock().scout(now, silent);
            let scout = match looked {
                Ok(scout) => scout,
                Err(at) => {
                    tokio::select! {
                        () = session::until(at) => {}
                        () = signals.changed.notified() => {}
                        () = self.renewed.notified() => {}
                    }
                    continue;
                }
            };
            let endpoint = &self.ship.endpoints[scout.endpoint];
            let dialled = self.dial_for(scout.purpose, endpoint).await;
            let moves = self.endpoints.lock().scouted(clock::now(), scout, dialled.is_ok());
            let line = match dialled {
                Ok(line) => line,
                Err(error) => {
                    tracing::debug!(endpoint = endpoint.address, purpose = ?scout.purpose, %error, "no better connection");
                    self.failed(scout.endpoint, &error.to_string());
                    if scout.purpose == Purpose::Escape {
                        tokio::time::sleep(ESCAPE_PAUSE).await;
                    }
                    continue;
                }
            };
            self.show();
            let escapes = scout.purpose == Purpose::Escape;
            if !moves || (escapes && !signals.is_silent()) {
                line.close(&End::new(CloseCode::Drain, "a probe")).await;
                continue;
            }
            tracing::info!(endpoint = endpoint.address, purpose = ?scout.purpose, transport = line.transport().as_str(), "moving");
            metrics::counter!("tributary_edge_moves_total", "purpose" => scout.purpose.as_str()).increment(1);
            signals.leave(if escapes { Duration::ZERO } else { MOVE_GRACE });
            return Ready { endpoint: scout.endpoint, line };
        }
    }

    /// A connection to move to: one that holds, as a router that refuses our certificate says so only after the handshake.
    async fn dial_for(&self, purpose: Purpose, endpoint: &Endpoint) -> Result<Line, ConnectError> {
        let mut line = match purpose {
            Purpose::Escape | Purpose::Return | Purpose::Renew => self.dialer.dial(endpoint).await?,
            Purpose::Upgrade => self.dialer.dial_over(endpoint, Transport::Quic).await?,
        };
        let proven = if purpose == Purpose::Escape { PROVEN_IN_HASTE } else { PROVEN };
        if line.holds(proven).await {
            return Ok(line);
        }
        if purpose == Purpose::Renew {
            tracing::warn!(
                endpoint = endpoint.address,
                "the router does not take the new certificate; the connection with the old one stays"
            );
            metrics::counter!("tributary_edge_certificate_changes_total", "outcome" => "refused").increment(1);
        }
        let why = "the router ended the connection after the handshake; its log says why";
        Err(ConnectError::Unusable { address: endpoint.address.clone(), why: why.to_owned() })
    }
}

/// Between a session and who looks for the next connection.
#[derive(Debug, Default)]
struct Signals {
    silent: AtomicBool,
    changed: Notify,
    leave: Mutex<Option<Duration>>,
    left: Notify,
}

impl Signals {
    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// The router is silent, or is not any more.
    fn silent(&self, silent: bool) {
        if self.silent.swap(silent, Ordering::Relaxed) != silent {
            self.changed.notify_one();
        }
    }

    /// The session is to end within that time.
    fn leave(&self, grace: Duration) {
        *self.leave.lock() = Some(grace);
        self.left.notify_one();
    }

    async fn told_to_leave(&self) -> Duration {
        loop {
            let told = self.leave.lock().take();
            if let Some(grace) = told {
                return grace;
            }
            self.left.notified().await;
        }
    }
}
