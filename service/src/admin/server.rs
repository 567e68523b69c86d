//! The endpoint's HTTP server: a small number of connections, none of which can stay for long.
//!
//! Beyond [`MAX_CONNECTIONS`] new ones wait in the kernel's queue. A connection ends after
//! [`CONNECTION_LIFETIME`], so slow readers cannot keep the others out for longer; a client that
//! keeps connections alive opens another one.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::shutdown::{Shutdown, drain};

/// Open connections.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Bytes of a request's body, where a route reads one.
pub(super) const MAX_BODY_BYTES: usize = 64 << 10;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Header fields of a request.
const MAX_HEADERS: usize = 64;
/// How long a request's head may take; also how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may stay.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);
/// How long a begun request may take to end at shutdown, or at the end of the lifetime.
const GRACE: Duration = Duration::from_secs(2);
/// How long to wait after the kernel refused a connection (mostly: no free file descriptor).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `shutdown` is requested, then ends what it has begun.
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
    let ended = drain(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::debug!("admin: requests were cut off");
    }
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(%error, "admin: cannot accept a connection");
            None
        }
    }
}

async fn connection(stream: TcpStream, routes: Router, shutdown: Shutdown) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = shutdown.requested() => None,
        () = tokio::time::sleep(CONNECTION_LIFETIME) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, served).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin: a connection ended early");
    }
}
