//! The OTLP receivers: gRPC on one port, HTTP with protobuf on another, one [`Ingest`] behind both.
//!
//! A request body is never decoded into messages here: it is read off the socket as it is, opened, and handed on as bytes.
//!
//! | Module | What it is |
//! |---|---|
//! | [`grpc`] | Export of the trace, logs and metrics services: framing, statuses |
//! | [`http`] | POST `/v1/traces`, `/v1/logs`, `/v1/metrics` |
//! | [`body`] | Reading and opening bodies within their bounds |
//! | [`serve`] | Connections |
//!
//! Bounds: [`serve::MAX_CONNECTIONS`]; bodies in memory by `receive.memory`, each at most `receive.max_request` when open, and whole
//! within [`body::RECEIVE_TIMEOUT`].

mod body;
mod grpc;
mod http;
mod serve;
mod status;

use axum::Router;
use federation_proto::identity::Signal;
use service::shutdown::Shutdown;
use tokio::net::TcpListener;

use crate::identity::Identities;
use crate::ingest::{Ingest, Memory, Refusal};

/// What both receivers need.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Who senders are.
    pub identities: Identities,
    /// Where requests go.
    pub ingest: Ingest,
    /// The budget of bodies.
    pub memory: Memory,
    /// Largest request when open, in bytes.
    pub max_request_bytes: usize,
}

impl Receiver {
    /// Serves OTLP/gRPC until `shutdown`, then answers what it has begun.
    pub async fn serve_grpc(self, listener: TcpListener, shutdown: Shutdown) {
        serve::serve(listener, grpc::routes(self), shutdown).await;
    }

    /// Serves OTLP/HTTP until `shutdown`, then answers what it has begun.
    pub async fn serve_http(self, listener: TcpListener, shutdown: Shutdown) {
        serve::serve(listener, http::routes(self), shutdown).await;
    }
}

/// The routes of a protocol that has one path for each signal.
fn by_signal(routes: Router, path: fn(Signal) -> &'static str, handler: impl Fn(Signal) -> axum::routing::MethodRouter) -> Router {
    [Signal::Traces, Signal::Logs, Signal::Metrics].into_iter().fold(routes, |routes, signal| routes.route(path(signal), handler(signal)))
}

fn count(protocol: &'static str, signal: Signal, outcome: &Result<(), Refusal>) {
    let outcome = outcome.as_ref().map_or_else(Refusal::as_str, |()| "ok");
    metrics::counter!("tributary_edge_requests_total", "protocol" => protocol, "signal" => signal.as_str(), "outcome" => outcome)
        .increment(1);
}
