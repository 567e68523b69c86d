//! One connection from its first byte to its last: TLS if the listener has it, then HTTP/1.1 or HTTP/2, as the sender begins.
//!
//! A connection ends by its age, a tenth more or less so that many do not end at once, and when the certificate of its sender does:
//! HTTP/2 gets a GOAWAY, HTTP/1.1 `connection: close` with its next answer. What it has begun has `grace` to end; then it is cut off.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use federation_proto::identity::TenantId;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use service::shutdown::Shutdown;
use service::tls::{expires_at, spiffe_id_of};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::Receiver;
use super::exchange::Exchange;
use super::listener::Tls;
use super::room::{NARROW_BYTES, Place};
use super::wire::{Signs, Watched, Wire};
use crate::clock;
use crate::config::Protocol;
use crate::identity::Accepts;

/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Bytes of a request's headers (HTTP/2).
pub(super) const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Bytes of the buffer that an HTTP/1.1 connection reads with; a request's head must fit in.
const READ_BUFFER_BYTES: usize = NARROW_BYTES as usize;
/// Bytes of answers that wait for an HTTP/2 sender to take them, per request.
const SEND_BUFFER_BYTES: usize = 16 << 10;
/// TLS handshakes under way on a listener; others wait, within their time.
const MAX_HANDSHAKES: usize = 64;

/// A listener, as its connections see it.
#[derive(Debug)]
pub(super) struct Door {
    /// Its place in the configuration.
    pub(super) key: String,
    pub(super) protocol: Protocol,
    pub(super) accepts: Accepts,
    pub(super) receiver: Receiver,
    tls: Option<Tls>,
    handshakes: Semaphore,
}

/// What a connection says about its sender.
#[derive(Debug, Default)]
pub(super) struct Sender {
    /// It has shown a certificate.
    pub(super) shown: bool,
    /// The tenant that the certificate names.
    pub(super) certified: Option<TenantId>,
    /// For how long the certificate is still valid.
    valid_for: Option<Duration>,
}

impl Door {
    pub(super) fn new(key: String, protocol: Protocol, tls: Option<Tls>, accepts: Accepts, receiver: Receiver) -> Self {
        Self { key, protocol, accepts, receiver, tls, handshakes: Semaphore::new(MAX_HANDSHAKES) }
    }

    async fn open(&self, wire: Wire, until: Instant) -> Result<(Wire, Sender), io::Error> {
        if let Wire::Tcp(stream) = &wire {
            // Without it an answer waits for the acknowledgement of the packet before.
            stream.set_nodelay(true)?;
        }
        match (wire, &self.tls) {
            (Wire::Tcp(stream), Some(tls)) => {
                let shake = async {
                    let _turn = self.handshakes.acquire().await.map_err(io::Error::other)?;
                    tls.acceptor().accept(stream).await
                };
                let stream = tokio::time::timeout_at(until, shake).await.map_err(io::Error::from)??;
                let sender = self.sender(&stream)?;
                Ok((Wire::Tls(Box::new(stream)), sender))
            }
            (wire, _) => Ok((wire, Sender::default())),
        }
    }

    fn sender(&self, stream: &TlsStream<TcpStream>) -> io::Result<Sender> {
        let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) else { return Ok(Sender::default()) };
        let until = expires_at(certificate).map_err(io::Error::other)?;
        let owner = spiffe_id_of(certificate).inspect_err(|error| tracing::debug!(%error, "receiver: a certificate without an identity"));
        let certified = owner.ok().and_then(|owner| self.receiver.identities.certified(&owner).cloned());
        let valid_for = until.duration_since(clock::wall()).map_err(|_| io::Error::other("the certificate has just expired"))?;
        Ok(Sender { shown: true, certified, valid_for: Some(valid_for) })
    }
}

/// Why a connection ended: the label in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By its sender, or by HTTP's own rules.
    Closed,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// No request began in time.
    Silent,
    /// What came is not HTTP, or not in time.
    Failed,
    /// By its age, what it had begun answered.
    Aged,
    /// By its age, before what it had begun was answered.
    Cut,
    /// The edge stops.
    Drained,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Handshake => "handshake",
            Self::Silent => "silent",
            Self::Failed => "failed",
            Self::Aged => "aged",
            Self::Cut => "cut",
            Self::Drained => "drained",
        }
    }
}

/// Serves one connection to its end; `random` spreads the ages.
pub(super) async fn connection(door: Arc<Door>, wire: Wire, place: Place, random: u64, shutdown: Shutdown) {
    let until = Instant::now() + door.receiver.connections.handshake;
    let opened = tokio::select! {
        opened = door.open(wire, until) => opened,
        () = shutdown.requested() => return,
    };
    let end = match opened {
        Ok((wire, sender)) => serve(&door, wire, sender, (until, place.window_bytes, random), &shutdown).await,
        Err(error) => {
            tracing::debug!(%error, listener = door.key, "receiver: no handshake");
            End::Handshake
        }
    };
    metrics::counter!("tributary_edge_sender_connections_ended_total", "listener" => door.key.clone(), "why" => end.as_str()).increment(1);
}

async fn serve(
    door: &Arc<Door>,
    wire: Wire,
    sender: Sender,
    (until, window_bytes, random): (Instant, u32, u64),
    shutdown: &Shutdown,
) -> End {
    let limits = door.receiver.connections;
    let signs = Arc::new(Signs::default());
    let age = lifetime(limits.max_age, random);
    let (age, expires) = match sender.valid_for {
        Some(valid_for) if valid_for < age => (valid_for, true),
        _ => (age, false),
    };
    let io = TokioIo::new(Watched::new(wire, Arc::clone(&signs), until, limits.answer));
    let exchange = Arc::new(Exchange { door: Arc::clone(door), sender, signs: Arc::clone(&signs) });
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { Ok::<_, Infallible>(exchange.answer(request).await) }
    });
    let builder = builder(door, window_bytes);
    let mut served = pin!(builder.serve_connection(io, service));
    let draining = tokio::select! {
        ended = served.as_mut() => return ended_by_itself(ended, &signs),
        () = shutdown.requested() => true,
        () = tokio::time::sleep(age) => false,
    };
    signs.set_old();
    // An idle HTTP/1.1 connection would be closed at once, perhaps under a request on its way: it gets its last answer instead.
    if draining || expires || signs.is_http2() {
        served.as_mut().graceful_shutdown();
    }
    let ended = tokio::select! {
        ended = tokio::time::timeout(limits.grace, served.as_mut()) => ended,
        () = shutdown.requested(), if !draining => {
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(limits.grace, served.as_mut()).await
        }
    };
    match (draining, ended) {
        (true, _) => End::Drained,
        (false, Ok(_)) => End::Aged,
        (false, Err(_)) => End::Cut,
    }
}

fn ended_by_itself(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>, signs: &Signs) -> End {
    match ended {
        Ok(()) => End::Closed,
        Err(error) => {
            tracing::debug!(error, "receiver: a connection failed");
            if signs.has_begun() { End::Failed } else { End::Silent }
        }
    }
}

fn builder(door: &Door, window_bytes: u32) -> Builder<TokioExecutor> {
    let limits = &door.receiver.connections;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(READ_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(window_bytes)
        .initial_connection_window_size(window_bytes)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(limits.keep_alive)
        .keep_alive_timeout(limits.keep_alive / 2);
    builder
}

/// `max_age`, a tenth more or less.
fn lifetime(max_age: Duration, random: u64) -> Duration {
    let tenth = max_age / 10;
    let spread = u64::try_from(tenth.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
    (max_age - tenth) + Duration::from_nanos(random % (2 * spread + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ages are spread over a fifth of the configured one, around it.
    #[test]
    fn ages_are_spread() {
        let age = Duration::from_secs(600);
        let lives: Vec<Duration> = (0..1000u64).map(|n| lifetime(age, n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        let (shortest, longest) = (lives.iter().min().unwrap(), lives.iter().max().unwrap());
        assert!(*shortest >= Duration::from_secs(540) && *shortest < Duration::from_secs(545), "{shortest:?}");
        assert!(*longest <= Duration::from_secs(660) && *longest > Duration::from_secs(655), "{longest:?}");
        assert!(lifetime(Duration::MAX, u64::MAX) > Duration::from_secs(1 << 40), "no overflow");
    }
}
