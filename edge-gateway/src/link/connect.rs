//! One attempt at one router: resolve, bind, handshake.
//!
//! Where the transport is chosen by itself, QUIC has a head start of [`HEAD_START`]; then TCP is tried beside it, and who is first is used
//! (as RFC 8305 does with addresses). So a network without UDP costs less than a second, once for each connection.
//!
//! Certificate, key and authority are those of the files as they are now; files that are of no use, or a certificate outside its dates,
//! change nothing, and [`Dialer::refresh`] says why.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use federation_proto::{chunk, frame};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, EndpointConfig, TokioRuntime, TransportConfig};
use service::tls::{TlsError, TlsFiles};
use service::watched::{Refresh, Watched};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::line::{IDLE_TIMEOUT, Line, Transport};
use super::quic::Quic;
use super::talk::End;
use super::tcp::{Counted, Tcp};
use super::window;
use crate::clock;
use crate::config::{Endpoint, Ship};

/// How often an idle link is tried.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// QUIC's lead over TCP.
const HEAD_START: Duration = Duration::from_millis(700);
/// A handshake takes at most this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel's default of 208 KiB loses thousands of datagrams per gigabyte.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificates are of no use for QUIC.
    #[error("ship.tls: {0}")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The name does not resolve.
    #[error("{address}: does not resolve: {error}; check ship.endpoints and DNS")]
    Resolve {
        /// The endpoint.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// No UDP socket.
    #[error("no UDP socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The endpoint or server name cannot be connected to.
    #[error("{address}: {error}; check ship.endpoints and ship.server_name")]
    Connect {
        /// The endpoint.
        address: String,
        /// What quinn said.
        error: quinn::ConnectError,
    },
    /// The handshake failed.
    #[error("{address}: {error}")]
    Handshake {
        /// The endpoint.
        address: String,
        /// What quinn said.
        error: quinn::ConnectionError,
    },
    /// The connection could not be used.
    #[error("{address}: {why}")]
    Unusable {
        /// The endpoint.
        address: String,
        /// What happened.
        why: String,
    },
    /// No connection over TCP.
    #[error("{address} (TCP): {error}")]
    Tcp {
        /// The endpoint.
        address: String,
        /// What the system or TLS said.
        error: std::io::Error,
    },
    /// Neither transport works.
    #[error("{quic}; {tcp}")]
    Both {
        /// Over QUIC.
        quic: Box<ConnectError>,
        /// Over TCP.
        tcp: Box<ConnectError>,
    },
    /// The server name is no name.
    #[error("ship.server_name: {0:?} is no host name")]
    ServerName(String),
    /// Nobody answered.
    #[error("{address}: no answer within {CONNECT_TIMEOUT:?}")]
    Timeout {
        /// The endpoint.
        address: String,
    },
}

/// Who we are, and whom we believe.
struct Identity {
    quic: quinn::ClientConfig,
    tcp: Arc<ClientConfig>,
    expires: SystemTime,
}

/// How connections are made.
pub(super) struct Dialer {
    identity: Watched<Identity>,
    /// None: whichever works.
    only: Option<Transport>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("only", &self.only).finish_non_exhaustive()
    }
}

impl Dialer {
    /// TLS and transport settings from the configuration.
    pub(super) fn new(ship: &Ship) -> Result<Self, ConnectError> {
        let files = ship.tls.clone();
        let paths = vec![files.ca.clone(), files.cert.clone(), files.key.clone()];
        // Started with a certificate outside its dates, an edge says so and waits for another; it does not change to one.
        let is_running = AtomicBool::new(false);
        let load = move || -> Result<_, ConnectError> {
            let identity =
                Identity { quic: client_config(&files)?, tcp: files.client_config(&[chunk::ALPN])?, expires: files.expires_at()? };
            if is_running.swap(true, Ordering::Relaxed) {
                files.valid_at(clock::wall())?;
            }
            Ok(identity)
        };
        Ok(Self { identity: Watched::open(paths, load, |_, _| false)?, only: ship.transport })
    }

    /// Reads the files again if one changed since the last look.
    pub(super) fn refresh(&self) -> Refresh {
        self.identity.refresh()
    }

    /// When our certificate expires, in seconds since 1970.
    pub(super) fn expires_unix_seconds(&self) -> u64 {
        self.identity.current().expires.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Connects to the endpoint, over what works.
    pub(super) async fn dial(&self, endpoint: &Endpoint) -> Result<Line, ConnectError> {
        match self.only {
            Some(transport) => self.dial_over(endpoint, transport).await,
            None => self.race(endpoint).await,
        }
    }

    /// Connects to the endpoint over this transport.
    pub(super) async fn dial_over(&self, endpoint: &Endpoint, transport: Transport) -> Result<Line, ConnectError> {
        let identity = self.identity.current();
        match transport {
            Transport::Quic => connect(&identity.quic, endpoint).await,
            Transport::Tcp => connect_tcp(&identity.tcp, endpoint).await,
        }
    }

    async fn race(&self, endpoint: &Endpoint) -> Result<Line, ConnectError> {
        let both = |quic, tcp| ConnectError::Both { quic: Box::new(quic), tcp: Box::new(tcp) };
        let identity = self.identity.current();
        let mut quic = pin!(connect(&identity.quic, endpoint));
        match tokio::time::timeout(HEAD_START, &mut quic).await {
            Ok(Ok(line)) => return Ok(line),
            Ok(Err(error)) => return connect_tcp(&identity.tcp, endpoint).await.map_err(|tcp| both(error, tcp)),
            Err(_) => {}
        }
        let mut tcp = pin!(connect_tcp(&identity.tcp, endpoint));
        tokio::select! {
            line = &mut quic => match line {
                Ok(line) => Ok(line),
                Err(error) => tcp.await.map_err(|tcp| both(error, tcp)),
            },
            line = &mut tcp => match line {
                Ok(line) => Ok(line),
                Err(error) => quic.await.map_err(|quic| both(quic, error)),
            },
        }
    }
}

fn client_config(files: &TlsFiles) -> Result<quinn::ClientConfig, ConnectError> {
    let tls = files.client_config(&[frame::ALPN])?;
    let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    transport.max_idle_timeout(IDLE_TIMEOUT.try_into().ok());
    transport.send_window(window::MOST);
    transport.max_concurrent_uni_streams(0u8.into());
    transport.max_concurrent_bidi_streams(0u8.into());
    client.transport_config(Arc::new(transport));
    Ok(client)
}

/// The endpoint's first addresses.
async fn resolve(endpoint: &Endpoint) -> Result<impl Iterator<Item = SocketAddr>, ConnectError> {
    const TRIED: usize = 4;
    let resolved = tokio::net::lookup_host(&endpoint.address).await;
    let resolved = resolved.map_err(|error| ConnectError::Resolve { address: endpoint.address.clone(), error })?;
    Ok(resolved.take(TRIED).collect::<Vec<_>>().into_iter())
}

/// Connects to the first address of the endpoint that answers.
async fn connect(client: &quinn::ClientConfig, endpoint: &Endpoint) -> Result<Line, ConnectError> {
    let mut last = ConnectError::Timeout { address: endpoint.address.clone() };
    for remote in resolve(endpoint).await? {
        match connect_to(client, endpoint, remote).await {
            Ok((socket, connection)) => {
                let started = Quic::start(socket, connection).await;
                let unusable = |end: End| ConnectError::Unusable { address: endpoint.address.clone(), why: end.why };
                return started.map(|quic| Line::Quic(Box::new(quic))).map_err(unusable);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_tcp(tls: &Arc<ClientConfig>, endpoint: &Endpoint) -> Result<Line, ConnectError> {
    let mut last = ConnectError::Timeout { address: endpoint.address.clone() };
    for remote in resolve(endpoint).await? {
        match tokio::time::timeout(CONNECT_TIMEOUT, connect_tcp_to(tls, endpoint, remote)).await {
            Ok(Ok(line)) => return Ok(line),
            Ok(Err(error)) => last = error,
            Err(_) => last = ConnectError::Timeout { address: endpoint.address.clone() },
        }
    }
    Err(last)
}

async fn connect_tcp_to(tls: &Arc<ClientConfig>, endpoint: &Endpoint, remote: SocketAddr) -> Result<Line, ConnectError> {
    let failed = |error| ConnectError::Tcp { address: endpoint.address.clone(), error };
    let name = ServerName::try_from(endpoint.server_name.clone()).map_err(|_| ConnectError::ServerName(endpoint.server_name.clone()))?;
    let began = clock::now();
    let stream = TcpStream::connect(remote).await.map_err(failed)?;
    let round_trip = clock::now().saturating_duration_since(began);
    let (stream, sent) = Counted::new(stream);
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(failed)?;
    Ok(Line::Tcp(Box::new(Tcp::start(stream, sent, round_trip))))
}

async fn connect_to(
    client: &quinn::ClientConfig,
    endpoint: &Endpoint,
    remote: SocketAddr,
) -> Result<(quinn::Endpoint, Connection), ConnectError> {
    let address = || endpoint.address.clone();
    let socket = quinn::Endpoint::new(EndpointConfig::default(), None, bind(remote)?, Arc::new(TokioRuntime))?;
    let connecting = socket
        .connect_with(client.clone(), remote, &endpoint.server_name)
        .map_err(|error| ConnectError::Connect { address: address(), error })?;
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| ConnectError::Timeout { address: address() })?
        .map_err(|error| ConnectError::Handshake { address: address(), error })?;
    Ok((socket, connection))
}

fn bind(remote: SocketAddr) -> Result<UdpSocket, std::io::Error> {
    let local: SocketAddr = if remote.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = socket2::Socket::new(socket2::Domain::for_address(local), socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The kernel gives what net.core.{r,w}mem_max allows; less is slower, not wrong.
    for result in [socket.set_send_buffer_size(SOCKET_BUFFER_BYTES), socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)] {
        if let Err(error) = result {
            tracing::debug!(%error, "link: socket buffers stay as they are");
        }
    }
    socket.bind(&local.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
