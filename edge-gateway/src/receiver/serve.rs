//! Connections of the receivers: HTTP/1.1 or HTTP/2 in the clear, as the sender begins.
//!
//! Beyond [`MAX_CONNECTIONS`] new ones wait in the kernel's queue. At shutdown each connection ends when what it has begun is
//! answered; the caller has the deadline.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use service::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Open connections per receiver.
pub(super) const MAX_CONNECTIONS: usize = 4096;
/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Bytes that a sender may have on its way, per request and per connection (HTTP/2).
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of a request's headers (HTTP/2), and of the buffer that an HTTP/1.1 connection reads with.
const MAX_HEADER_BYTES: u32 = 32 << 10;
const READ_BUFFER_BYTES: usize = 128 << 10;
/// How long a connection may say nothing, a request's head take, and an HTTP/1.1 connection be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a connection that stopped within these bytes is looked at: nothing tells of the next one.
const PREFACE_PAUSE: Duration = Duration::from_millis(50);
/// A sender that does not answer a ping of HTTP/2 is gone.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait after the kernel refused a connection (mostly: no free file descriptor).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `shutdown`, then ends what it has begun.
pub(super) async fn serve(listener: TcpListener, routes: Router, shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Some((stream, slot)) => {
                let (routes, shutdown) = (routes.clone(), shutdown.clone());
                connections.spawn(async move {
                    connection(stream, routes, shutdown).await;
                    drop(slot);
                });
            }
            None => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(%error, "receiver: cannot accept a connection");
            None
        }
    }
}

/// Waits until the sender has begun a request of HTTP/1.1, or an HTTP/2 connection; false when it does not. From there on the protocol's
/// own timeouts hold; before, whoever connects and says nothing would keep its slot for ever.
async fn begins(stream: &TcpStream, within: Duration) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let begun = async {
        let mut first = [0; PREFACE.len()];
        loop {
            match stream.peek(&mut first).await {
                Ok(0) | Err(_) => return false,
                Ok(len) if len == PREFACE.len() || first[..len] != PREFACE[..len] => return true,
                Ok(_) => tokio::time::sleep(PREFACE_PAUSE).await,
            }
        }
    };
    tokio::time::timeout(within, begun).await.unwrap_or(false)
}

async fn connection(stream: TcpStream, routes: Router, shutdown: Shutdown) {
    let begun = tokio::select! {
        begun = begins(&stream, HEAD_TIMEOUT) => begun,
        () = shutdown.requested() => false,
    };
    if !begun {
        return;
    }
    // Without it an answer waits for the acknowledgement of the packet before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "receiver: TCP_NODELAY refused");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(READ_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = shutdown.requested() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "receiver: a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Silence, and a beginning that stops within HTTP/2's preface, end with the time; a whole preface and a request of HTTP/1.1 do not.
    #[tokio::test]
    async fn a_connection_must_begin() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(10));
        for (said, within, expected) in
            [("", short, false), ("PRI * HT", short, false), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", long, true), ("POST", long, true)]
        {
            let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            sender.write_all(said.as_bytes()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert_eq!(begins(&stream, within).await, expected, "{said:?}");
        }
    }
}
