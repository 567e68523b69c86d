//! Opening what the configuration lists: an address that cannot be had, or a certificate that cannot be used, is an error at start.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use service::tls::{ListenerTls, TlsError};
use service::watched::{Refresh, Watched};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::socket::{self, SocketFile};
use crate::clock;
use crate::config::{Address, Listener, Protocol};
use crate::identity::Accepts;

/// Spoken over TLS, the preferred first.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Why a listener cannot be opened; one line with the key and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("{key}: {address} cannot be bound: {error}; {}", remedy(address, error))]
    Bind {
        /// The key of the configuration.
        key: String,
        /// The address.
        address: Address,
        /// What the system said.
        error: io::Error,
    },
    /// Its certificate, or that of its senders' CA, cannot be used.
    #[error("{key}.tls: {error}")]
    Tls {
        /// The key of the configuration.
        key: String,
        /// What is wrong.
        error: TlsError,
    },
}

fn remedy(address: &Address, error: &io::Error) -> &'static str {
    match (address, error.kind()) {
        (Address::Unix(_), io::ErrorKind::NotFound) => "make its directory first (systemd: RuntimeDirectory=)",
        (Address::Unix(_), io::ErrorKind::AlreadyExists) => "move the file away, or set another path",
        (_, io::ErrorKind::AddrInUse) => "stop the process that has it, or set another address",
        (_, io::ErrorKind::AddrNotAvailable) => "set an address of this machine, or 0.0.0.0 for all of them",
        (_, io::ErrorKind::PermissionDenied) => "set an address or path that this process may have",
        _ => "set another address",
    }
}

/// A listener that has its address.
#[derive(Debug)]
pub struct BoundListener {
    /// The address as the kernel gave it.
    pub address: Address,
    /// Its place in the configuration.
    pub key: String,
    /// What it speaks.
    pub protocol: Protocol,
    pub(super) socket: Socket,
    pub(super) tls: Option<Tls>,
    pub(super) accepts: Accepts,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] SocketFile),
}

/// The certificate that a listener shows, and the CA of its senders, as their files have them.
pub(super) struct Tls {
    key: String,
    files: Watched<Arc<ServerConfig>>,
}

impl Tls {
    fn open(listener: &Listener) -> Result<Option<Self>, ListenError> {
        let Some(tls) = listener.tls.clone() else { return Ok(None) };
        let paths = [&tls.cert, &tls.key].into_iter().chain(&tls.client_ca).cloned().collect();
        let failed = |error| ListenError::Tls { key: listener.key.clone(), error };
        // A start with a certificate outside its dates is warned of; it is never changed to one.
        let is_running = AtomicBool::new(false);
        let load = move || -> Result<_, TlsError> {
            let config = tls.server_config(ALPN)?;
            if is_running.swap(true, Ordering::Relaxed) {
                tls.valid_at(clock::wall())?;
            }
            Ok(config)
        };
        let files = Watched::open(paths, load, |_, _| false).map_err(failed)?;
        Ok(Some(Self { key: listener.key.clone(), files }))
    }

    /// For the next handshake. Files that are of no use change nothing.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let changed = |outcome| metrics::counter!("tributary_edge_listener_certificate_changes_total", "outcome" => outcome).increment(1);
        match self.files.refresh() {
            Refresh::Same | Refresh::Confirmed => {}
            Refresh::Changed => {
                tracing::info!(key = self.key, "certificate, key or the senders' authority have changed");
                changed("used");
            }
            Refresh::Kept(why) => {
                tracing::warn!(key = self.key, why, "the files of this listener's tls are of no use");
                changed("kept");
            }
        }
        TlsAcceptor::from(Arc::clone(&*self.files.current()))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl BoundListener {
    /// Takes the address; nobody is accepted yet.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(listener: Listener) -> Result<Self, ListenError> {
        let tls = Tls::open(&listener)?;
        let failed = |error| ListenError::Bind { key: listener.key.clone(), address: listener.address.clone(), error };
        let (socket, address) = match &listener.address {
            Address::Tcp(at) => {
                let socket = TcpListener::bind(at).await.map_err(failed)?;
                let address = socket.local_addr().map_err(failed)?;
                (Socket::Tcp(socket), Address::Tcp(address))
            }
            Address::Unix(path) => {
                let (socket, file) = socket::listen(path, listener.mode).map_err(failed)?;
                (Socket::Unix(socket, file), listener.address.clone())
            }
        };
        Ok(Self { address, key: listener.key, protocol: listener.protocol, socket, tls, accepts: listener.accepts })
    }
}

/// Checks that the certificate it shows is valid at `now`.
///
/// # Errors
/// [`ListenError::Tls`].
pub(crate) fn check_dates(listener: &Listener, now: SystemTime) -> Result<(), ListenError> {
    let valid = |tls: &ListenerTls| tls.valid_at(now);
    listener.tls.as_ref().map_or(Ok(()), valid).map_err(|error| ListenError::Tls { key: listener.key.clone(), error })
}

/// Checks what can be checked without the address.
///
/// # Errors
/// [`ListenError::Tls`].
pub(crate) fn check(listener: &Listener) -> Result<Option<Arc<ServerConfig>>, ListenError> {
    let config = |tls: &ListenerTls| tls.server_config(ALPN);
    listener.tls.as_ref().map(config).transpose().map_err(|error| ListenError::Tls { key: listener.key.clone(), error })
}
