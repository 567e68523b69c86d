//! The QUIC link: the driver of the [`Shipper`]. Connects to the routers in the order of preference, keeps one connection, and
//! starts again with jittered back-off when it breaks. What to send, and in which order, the shipper says.
//!
//! | Module | What it is |
//! |---|---|
//! | [`connect`] | Sockets, TLS, transport settings |
//! | [`talk`] | The conversation with a router, decided |
//! | [`session`] | Its driver: one connection |
//! | [`line`], [`quic`] | What it goes over |
//! | [`status`] | What a router is told once a second |
//! | [`verdict`] | Acks and refusals applied to spool and ledger |
//! | [`rejected`] | Where batches go that a router refuses for good |
//!
//! A cut link is noticed within [`connect::IDLE_TIMEOUT`]. Bounds in memory: one message each way of at most 256 KiB, and the batches
//! whose streams are open (`Limits::streams` per class).

mod connect;
mod line;
mod quic;
mod rejected;
mod session;
mod status;
pub mod talk;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use federation_proto::identity::{EdgeName, SpoolId};
use parking_lot::Mutex;
use segment_log::Committer;
use serde::Serialize;
use service::shutdown::Shutdown;
use tokio::sync::Notify;

use crate::config::{Endpoint, Ship};
use crate::custody::Custody;
use crate::shipper::{Backoff, Jitter, Shipper};

pub use connect::ConnectError;
pub use rejected::Rejected;

/// A connection that held this long lets the next attempt come quickly.
const STABLE: Duration = Duration::from_secs(10);

/// How the link is, for people.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LinkStatus {
    /// A router took us in.
    pub connected: bool,
    /// Its endpoint, or the last one tried.
    pub endpoint: String,
    /// Its name, once it said so.
    pub router: String,
    /// Why there is no connection.
    pub error: Option<String>,
    /// Connections that a router took in, since the start.
    pub connections: u64,
    /// When it took us in, in seconds since 1970.
    pub since_unix_seconds: Option<u64>,
    /// Round trip in microseconds, as the transport last measured it.
    pub rtt_us: Option<u64>,
    /// Bytes sent in the last second: UDP payload, all of it.
    pub bytes_per_second: u64,
}

impl LinkStatus {
    fn disconnected(&mut self) {
        self.connected = false;
        self.since_unix_seconds = None;
        self.rtt_us = None;
        self.bytes_per_second = 0;
    }
}

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
    client: quinn::ClientConfig,
    backoff: Backoff,
}

/// How a session ended.
#[derive(Debug)]
struct Ended {
    /// A router had taken us in.
    welcomed: bool,
    /// The router asked us to go elsewhere.
    go_away: bool,
    why: String,
}

impl Link {
    /// `seed` spreads the reconnects.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(shared: Arc<Shared>, ship: Ship, introduction: Introduction, seed: u64) -> Result<Self, ConnectError> {
        let client = connect::client_config(&ship)?;
        let backoff = Backoff::new(ship.backoff_min, ship.backoff_max, Jitter::new(seed));
        Ok(Self { shared, ship, introduction, client, backoff })
    }

    /// Ships until `stop`.
    pub async fn run(mut self, stop: Shutdown) {
        let mut at = 0;
        while !stop.is_requested() {
            let endpoint = self.ship.endpoints[at % self.ship.endpoints.len()].clone();
            let began = crate::clock::now();
            let ended = self.attempt(&endpoint, &stop).await;
            if stop.is_requested() {
                break;
            }
            at = if ended.welcomed && !ended.go_away { 0 } else { (at + 1) % self.ship.endpoints.len() };
            if ended.welcomed && crate::clock::now() - began >= STABLE {
                self.backoff.reset();
            }
            // A router that could not be had lets the next one be tried at once; a whole round of them is worth a wait.
            let wait = if at == 0 || ended.welcomed { self.backoff.wait() } else { Duration::ZERO };
            tracing::warn!(endpoint = endpoint.address, why = ended.why, ?wait, "no router; batches wait in the spool");
            self.shared.status.lock().error = Some(ended.why);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.requested() => {}
            }
        }
    }

    async fn attempt(&self, endpoint: &Endpoint, stop: &Shutdown) -> Ended {
        let failed = |error: ConnectError| Ended { welcomed: false, go_away: false, why: error.to_string() };
        self.shared.status.lock().endpoint.clone_from(&endpoint.address);
        let connecting = connect::connect(&self.client, endpoint);
        let connected = tokio::select! {
            connected = connecting => connected,
            () = stop.requested() => return Ended { welcomed: false, go_away: false, why: "stopped".to_owned() },
        };
        let (socket, connection) = match connected {
            Ok(connected) => connected,
            Err(error) => return failed(error),
        };
        let ended = match quic::Quic::start(socket, connection).await {
            Ok(line) => session::Session::new(&self.shared, &self.introduction, line).run(stop).await,
            Err(end) => Ended { welcomed: false, go_away: false, why: end.why },
        };
        self.shared.shipper.lock().disconnected();
        self.shared.status.lock().disconnected();
        metrics::gauge!("tributary_edge_link_up").set(0.0);
        ended
    }
}
