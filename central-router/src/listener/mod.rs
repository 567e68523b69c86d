//! Edges connect here: QUIC with client certificates, or TLS on TCP on the same port ([`tcp`]). The driver around [`crate::intake`], which decides.
//!
//! One task per connection and one per batch stream; a connection that breaks a rule, stalls or fails ends alone.
//!
//! Bounds, per connection: [`MAX_STREAMS`] batch streams; receive window the credit and a fifth; one control stream, of which a frame
//! (256 KiB) may take twenty times that once it is decoded; handshake, Hello, headers and payloads within [`Timeouts`]. In all:
//! `connections` of the configuration, [`MAX_PER_EDGE`] of one edge (the oldest makes room), [`MAX_HANDSHAKES`] not yet known
//! over each of QUIC and TCP, [`MAX_HANDSHAKES_PER_ADDRESS`] of them from one address.

mod batch;
mod connected;
mod connection;
mod control;
mod door;
mod peer;
mod reset;
mod socket;
mod tcp;
mod trust;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use federation_proto::frame::CloseCode;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use service::admin::Readiness;
use service::shutdown::Shutdown;
use service::supervise;
use service::tls::TlsError;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::connection::Opened;
use self::door::{Answer, Door, Place};
use crate::admission::Admission;
use crate::edges::AllowList;
use crate::intake::Timeouts;
use crate::journal::Journal;
use crate::session::{Limits, Violation};

pub use connected::{Connected, EdgeView, Past, Received, SpoolView};
pub use trust::Trust;

/// Batch streams open at once on one connection.
pub const MAX_STREAMS: u32 = 256;
/// Connections of one edge.
pub const MAX_PER_EDGE: usize = 4;
/// Handshakes under way, over QUIC and again over TCP.
pub const MAX_HANDSHAKES: usize = 256;
/// Handshakes of one address (an IPv6 /64 counts as one) under way.
pub const MAX_HANDSHAKES_PER_ADDRESS: usize = 16;
/// A peer that is silent for this long is gone. Edges say how they are once a second.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait after the kernel refused a connection: mostly, no descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
pub struct Shared {
    /// What sessions hold their edges to.
    pub limits: Limits,
    /// How long edges may take.
    pub timeouts: Timeouts,
    /// Who may connect.
    pub allowed: AllowList,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// The ceilings.
    pub admission: Admission,
    /// Where batches go.
    pub journal: Journal,
    /// What `/readyz` reports.
    pub readiness: Readiness,
    /// Who is connected.
    pub connected: Connected,
}

/// The listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Certificate, key or authority.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address.
    #[error("listen: {listen} ({transport}) cannot be bound: {error}; stop the other process or set another address")]
    Bind {
        /// UDP or TCP.
        transport: &'static str,
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The TLS configuration does not fit QUIC.
    #[error("tls: {0}")]
    Quic(String),
}

/// A listener that has its address and answers nobody yet.
pub struct Listener {
    endpoint: Endpoint,
    tcp: Option<TcpListener>,
    shared: Arc<Shared>,
    connections: usize,
}

impl Listener {
    /// Takes the address, for UDP and `with_tcp` for TCP too.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(listen: SocketAddr, with_tcp: bool, connections: u32, shared: Arc<Shared>) -> Result<Self, ListenError> {
        let server = server(&shared);
        let failed = |transport| move |error| ListenError::Bind { transport, listen, error };
        let (socket, tcp) = bind_both(listen, with_tcp).await?;
        let private_key = shared.trust.private_key();
        let config = reset::endpoint_config(private_key).unwrap_or_else(|error| {
            tracing::warn!(path = %private_key.display(), %error, "edges will miss a router that dies only after the idle timeout");
            EndpointConfig::default()
        });
        let endpoint = Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime)).map_err(failed("UDP"))?;
        Ok(Self { endpoint, tcp, shared, connections: connections as usize })
    }

    /// The address it has.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Serves edges until `shutdown`; then says goodbye to each, finishes what was accepted, and returns when all are gone or after
    /// `drain`.
    pub async fn serve(self, shutdown: Shutdown, drain: Duration) {
        let mut tasks = JoinSet::new();
        let places = Arc::new(Semaphore::new(self.connections));
        // One for each transport: who only opens TCP connections has proved its address, and may not take the places of QUIC.
        let (door, tcp_door) = (Door::default(), Door::default());
        let mut trust = self.shared.trust.changes();
        loop {
            tokio::select! {
                () = shutdown.requested() => break,
                Some(ended) = tasks.join_next() => supervise::count_joined("handshake", ended),
                // The trust lives as long as this: its changes do not end.
                _ = trust.changed() => self.endpoint.set_server_config(Some(server(&self.shared))),
                incoming = self.endpoint.accept() => {
                    let Some(incoming) = incoming else { break };
                    if let Some((incoming, place)) = admit(incoming, &door) {
                        let (shared, places, shutdown) = (Arc::clone(&self.shared), Arc::clone(&places), shutdown.clone());
                        tasks.spawn(async move { shake_hands(shared, incoming, place, places, shutdown, drain).await });
                    }
                }
                (stream, remote) = accept(self.tcp.as_ref()) => match tcp_door.ask(remote.ip(), true) {
                    Answer::Enter(place) => {
                        let (shared, places, shutdown) = (Arc::clone(&self.shared), Arc::clone(&places), shutdown.clone());
                        tasks.spawn(async move { shake_tcp_hands(shared, (stream, remote), place, places, shutdown, drain).await });
                    }
                    // Who has a TCP connection has proved its address.
                    Answer::Prove => {}
                    Answer::Refuse(reason) => refused(reason),
                }
            }
        }
        self.endpoint.set_server_config(None);
        drop(self.tcp);
        let gone = async {
            while let Some(ended) = tasks.join_next().await {
                supervise::count_joined("handshake", ended);
            }
        };
        if service::shutdown::drain(drain, gone).await.is_err() {
            tracing::warn!(?drain, "not all edges were gone in time; what was not acked they send again");
        }
        self.endpoint.close(VarInt::from_u32(CloseCode::Drain.code()), b"the router is stopping");
        // So that the goodbye leaves the socket.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

/// A place among the handshakes, or nothing: then the peer was refused, or asked to prove its address.
fn admit(incoming: Incoming, door: &Door) -> Option<(Incoming, Place)> {
    let proved = incoming.remote_address_validated() || !incoming.may_retry();
    match door.ask(incoming.remote_address().ip(), proved) {
        Answer::Enter(place) => return Some((incoming, place)),
        Answer::Prove => {
            if incoming.retry().is_err() {
                refused("retry");
            }
        }
        Answer::Refuse(reason) => {
            refused(reason);
            incoming.refuse();
        }
    }
    None
}

async fn shake_hands(
    shared: Arc<Shared>,
    incoming: Incoming,
    handshake: Place,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
    drain: Duration,
) {
    let remote = incoming.remote_address();
    let quic = match incoming.accept() {
        Ok(connecting) => match tokio::time::timeout(shared.timeouts.hello, connecting).await {
            Ok(Ok(quic)) => quic,
            Ok(Err(error)) => {
                tracing::warn!(%remote, %error, "handshake failed");
                return refused(trust::why(&error));
            }
            Err(_) => return refused("handshake_timeout"),
        },
        Err(error) => {
            tracing::warn!(%remote, %error, "handshake failed");
            return refused("handshake");
        }
    };
    drop(handshake);
    serve(shared, Opened::Quic(quic), &places, shutdown, drain).await;
}

async fn shake_tcp_hands(
    shared: Arc<Shared>,
    (stream, remote): (TcpStream, SocketAddr),
    handshake: Place,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
    drain: Duration,
) {
    let opened = match tcp::Opened::accept(&shared, stream, remote).await {
        Ok(opened) => opened,
        Err(reason) => return refused(reason),
    };
    drop(handshake);
    serve(shared, Opened::Tcp(opened), &places, shutdown, drain).await;
}

async fn serve(shared: Arc<Shared>, opened: Opened, places: &Semaphore, shutdown: Shutdown, drain: Duration) {
    let Ok(_place) = places.try_acquire() else {
        let full = Violation::new(CloseCode::Busy, "connections", "all connections are taken: raise `connections`");
        connection::close(&opened.peer(), None, &full);
        return opened.goodbye().await;
    };
    connection::serve(shared, opened, shutdown, drain).await;
}

/// The sockets. A port that the system is to choose is one that both have free.
async fn bind_both(listen: SocketAddr, with_tcp: bool) -> Result<(UdpSocket, Option<TcpListener>), ListenError> {
    const TRIES: usize = 16;
    let failed = |transport| move |error| ListenError::Bind { transport, listen, error };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let udp = socket::bind(listen).map_err(failed("UDP"))?;
        if !with_tcp {
            return Ok((udp, None));
        }
        match TcpListener::bind(udp.local_addr().map_err(failed("UDP"))?).await {
            Ok(tcp) => return Ok((udp, Some(tcp))),
            Err(error) if listen.port() != 0 || attempt == TRIES => return Err(failed("TCP")(error)),
            Err(_) => {}
        }
    }
}

/// The next connection over TCP; never, without a listener.
async fn accept(listener: Option<&TcpListener>) -> (TcpStream, SocketAddr) {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection over TCP");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What handshakes begin with from now on.
fn server(shared: &Shared) -> ServerConfig {
    let mut server = ServerConfig::with_crypto(shared.trust.crypto());
    server.transport_config(Arc::new(transport(&shared.limits))).max_incoming(MAX_HANDSHAKES);
    server
}

fn refused(reason: &'static str) {
    metrics::counter!("tributary_router_refused_connections_total", "reason" => reason).increment(1);
}

fn transport(limits: &Limits) -> TransportConfig {
    let window = |bytes: u64| VarInt::from_u64(bytes).unwrap_or(VarInt::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .stream_receive_window(window(u64::from(limits.max_batch) + 4096))
        .receive_window(window(limits.credit + limits.credit / 5))
        .send_window(1 << 20)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok());
    transport
}

/// Declares this module's metrics.
pub fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        "tributary_router_refused_connections_total",
        Unit::Count,
        "Connections that ended before an edge was known, by reason"
    );
    describe_counter!(
        "tributary_router_violations_total",
        Unit::Count,
        "Connections closed because the peer broke a rule, by code and reason"
    );
    describe_counter!(
        "tributary_router_batches_total",
        Unit::Count,
        "Batches, by outcome: acked, duplicate, stalled (then again too), or the reason of the nack"
    );
    describe_counter!("tributary_router_batch_bytes_total", Unit::Bytes, "Payload bytes journalled");
    describe_counter!("tributary_router_batch_rows_total", Unit::Count, "Rows journalled, by signal");
    describe_histogram!("tributary_router_journal_seconds", Unit::Seconds, "Time from a whole payload to its durable record");
    describe_gauge!("tributary_router_connections", Unit::Count, "Connections of edges");
}
