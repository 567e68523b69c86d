//! The endpoint's HTTP server: a small number of connections, none of which can stay for long.
//!
//! Beyond [`MAX_CONNECTIONS`] new ones wait in the kernel's queue. A connection ends after
//! [`CONNECTION_LIFETIME`], so slow readers cannot keep the others out for longer; a client that
//! keeps connections alive opens another one.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::accept::accept_until;
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
const ENDED: &str = "tributary_service_admin_ended_total";
/// How long a begun request may take to end at shutdown, or at the end of the lifetime.
const GRACE: Duration = Duration::from_secs(2);

/// Answers on `listener` until `shutdown` is requested, then ends what it has begun.
pub(super) async fn serve(listener: TcpListener, routes: Router, shutdown: Shutdown) {
    let each = |stream| connection(stream, routes.clone(), shutdown.clone());
    let mut connections = accept_until(listener, "admin", MAX_CONNECTIONS, &shutdown, each).await;
    let ended = drain(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::debug!("admin: requests were cut off");
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
                Err(_) => return count("lifetime"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin: a connection ended early");
        count(match () {
            () if error.is_timeout() => "head_timeout",
            () if error.is_parse() => "malformed",
            () if error.is_incomplete_message() => "incomplete",
            () => "lost",
        });
    }
}

fn count(reason: &'static str) {
    metrics::counter!(ENDED, "reason" => reason).increment(1);
}

/// Declares this module's metrics.
pub(super) fn describe_metrics() {
    metrics::describe_counter!(
        ENDED,
        metrics::Unit::Count,
        "Connections of the admin endpoint that ended before their request did, by reason"
    );
}
