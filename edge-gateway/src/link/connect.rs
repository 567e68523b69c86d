//! One attempt at one router: resolve, bind, handshake.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use federation_proto::frame;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, EndpointConfig, TokioRuntime, TransportConfig};
use service::tls::TlsError;

use crate::config::{Endpoint, Ship};

/// Silence after which a link counts as cut.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an idle link is tried.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// A handshake takes at most this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel's default of 208 KiB loses thousands of datagrams per gigabyte.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Bytes written and not acknowledged by the transport: without a cap enough for 1 Gbit/s at 60 ms; with one, a second's worth, so
/// that a high batch does not queue behind more than that on a link slower than its cap.
const SEND_WINDOW_BYTES: u64 = 8 << 20;
const LEAST_SEND_WINDOW_BYTES: u64 = 256 << 10;

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
    /// Nobody answered.
    #[error("{address}: no answer within {CONNECT_TIMEOUT:?}")]
    Timeout {
        /// The endpoint.
        address: String,
    },
}

/// TLS and transport settings from the configuration.
pub(super) fn client_config(ship: &Ship) -> Result<quinn::ClientConfig, ConnectError> {
    let tls = ship.tls.client_config(&[frame::ALPN])?;
    let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    transport.max_idle_timeout(IDLE_TIMEOUT.try_into().ok());
    transport.send_window(ship.link_cap.map_or(SEND_WINDOW_BYTES, |rate| rate.clamp(LEAST_SEND_WINDOW_BYTES, SEND_WINDOW_BYTES)));
    transport.max_concurrent_uni_streams(0u8.into());
    transport.max_concurrent_bidi_streams(0u8.into());
    client.transport_config(Arc::new(transport));
    Ok(client)
}

/// Connects to the first address of the endpoint that answers.
pub(super) async fn connect(client: &quinn::ClientConfig, endpoint: &Endpoint) -> Result<(quinn::Endpoint, Connection), ConnectError> {
    let address = || endpoint.address.clone();
    let resolved = tokio::net::lookup_host(&endpoint.address).await.map_err(|error| ConnectError::Resolve { address: address(), error })?;
    let mut last = ConnectError::Timeout { address: address() };
    for remote in resolved.take(4) {
        match connect_to(client, endpoint, remote).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
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
