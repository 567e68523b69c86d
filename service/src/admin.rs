//! The admin endpoint: what an operator, a probe or a scraper may ask a process.
//!
//! | Path | Answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives; for a liveness probe |
//! | `/readyz` | 200 if data moves, else 503; JSON with what fails, why, since when |
//! | `/metrics` | Prometheus text |
//! | `/ledger` | JSON: what happened to every record |
//! | `/` | this list |
//!
//! HTTP/1.1 without TLS or authentication: bind it to a loopback or an internal address. Bounds:
//! 64 connections, request heads of 16 KiB within 10 s,
//! bodies of 64 KiB, a minute per connection; see `admin/server.rs`. The commands that ask it are [`client`]'s.

pub mod client;
mod readiness;
mod server;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::config::Listen;
use crate::observe::MetricsHandle;
use crate::shutdown::Shutdown;

pub use readiness::{Failing, Readiness, Report};

/// Gives the ledger as JSON. Called on a thread that may block, once per request.
pub type LedgerSource = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What the endpoint is made of.
#[derive(Clone)]
pub struct Admin {
    /// `admin.listen` of the configuration.
    pub listen: Listen,
    /// What `/readyz` reports.
    pub readiness: Readiness,
    /// What `/ledger` reports.
    pub ledger: LedgerSource,
    /// What `/metrics` reports.
    pub metrics: MetricsHandle,
}

/// The endpoint's address cannot be had; one line with the key, the address and what to do.
#[derive(Debug, thiserror::Error)]
#[error("admin.listen: {listen} {}", remedy(error))]
pub struct AdminError {
    /// The address.
    pub listen: Listen,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

/// Describes the metrics of readiness and of the server.
pub(crate) fn describe_metrics() {
    readiness::describe_metrics();
    server::describe_metrics();
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "is in use: stop the other process or set another port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "is not an address of this machine: set one that is, or 127.0.0.1".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be bound: set a port above 1023, or grant CAP_NET_BIND_SERVICE".to_owned(),
        _ => format!("cannot be bound: {error}: set another address"),
    }
}

impl Admin {
    /// Takes the address, so that an occupied one is an error at start. Nothing is answered until
    /// [`BoundAdmin::serve`].
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(self) -> Result<BoundAdmin, AdminError> {
        describe_metrics();
        let listen = self.listen;
        let listener = TcpListener::bind(listen.addr()).await.map_err(|error| AdminError { listen, error })?;
        let local_addr = listener.local_addr().map_err(|error| AdminError { listen, error })?;
        Ok(BoundAdmin { listener, local_addr, routes: routes(self), index: INDEX.to_owned() })
    }

    /// Binds and serves until `shutdown` is requested. To be able to watch a drain, give it a
    /// token of its own and request that one when the drain is over.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn serve(self, shutdown: Shutdown) -> Result<(), AdminError> {
        self.bind().await?.serve(shutdown).await;
        Ok(())
    }
}

/// An endpoint that has its address.
#[derive(Debug)]
pub struct BoundAdmin {
    listener: TcpListener,
    local_addr: SocketAddr,
    routes: Router,
    /// What `/` answers: a line for each path.
    index: String,
}

impl BoundAdmin {
    /// The address it has, with the port the kernel chose if the configuration left it that.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Adds routes of the process's own, and to `/` the lines that say what they are (`"/edges    JSON: …\n"`); panics, as axum
    /// does, if one of them exists already.
    #[must_use]
    pub fn merge(mut self, lines: &str, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self.index.push_str(lines);
        self
    }

    /// Answers until `shutdown` is requested, then finishes the requests it has begun.
    pub async fn serve(self, shutdown: Shutdown) {
        let index = self.index;
        let routes = self.routes.route("/", get(move || async move { index })).fallback(no_such_path);
        let limited = routes.layer(DefaultBodyLimit::max(server::MAX_BODY_BYTES));
        server::serve(self.listener, limited, shutdown).await;
    }
}

fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/ledger", get(ledger))
        .with_state(admin)
}

const INDEX: &str = "/healthz  200 while the process lives\n\
                     /readyz   200 if data moves, else 503 with the reasons\n\
                     /metrics  Prometheus text\n\
                     /ledger   JSON: what happened to every record\n";

async fn no_such_path() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "no such path here: / lists what there is\n")
}

async fn healthz() -> &'static str {
    "the process lives; whether data moves is said by /readyz\n"
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let report = admin.readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    match tokio::task::spawn_blocking(move || admin.metrics.render()).await {
        Ok(text) => ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response(),
        Err(error) => failed("metrics", &error),
    }
}

async fn ledger(State(admin): State<Admin>) -> Response {
    match tokio::task::spawn_blocking(move || (admin.ledger)()).await {
        Ok(ledger) => Json(ledger).into_response(),
        Err(error) => failed("ledger", &error),
    }
}

fn failed(what: &str, error: &tokio::task::JoinError) -> Response {
    tracing::error!(%error, what, "admin: cannot be reported");
    let message = format!("{what}: cannot be reported; see the log\n");
    (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}

#[cfg(test)]
mod tests;
