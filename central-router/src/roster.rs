//! `/edges`: which edges may connect, which do, and what came from each.
//!
//! Bounds: the allow-list's [`crate::edges::MAX_EDGES`], [`SHOWN_TENANTS`] tenants of each, and its connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use federation_proto::identity::{EdgeName, TenantId};
use serde::Serialize;

use crate::edges::Edges;
use crate::listener::{EdgeView, Past, Shared};

/// Tenants of an edge that are named; how many there are is said besides.
pub const SHOWN_TENANTS: usize = 32;

#[derive(Debug, Serialize)]
struct Report<'a> {
    router: &'a str,
    edges: Vec<Line>,
}

/// One edge.
#[derive(Debug, Serialize)]
struct Line {
    edge: EdgeName,
    /// On the allow-list. One that was taken off and is still known is shown too.
    allowed: bool,
    tenants: Vec<TenantId>,
    tenants_total: usize,
    /// Since the router started: connections it had, and what came over those that ended.
    past: Past,
    /// Its connections, oldest first.
    connections: Vec<EdgeView>,
}

/// The route to add to the admin endpoint.
pub fn routes(shared: &Arc<Shared>) -> Router {
    Router::new().route("/edges", get(answer)).with_state(Arc::clone(shared))
}

async fn answer(State(shared): State<Arc<Shared>>) -> Response {
    let report = tokio::task::spawn_blocking(move || {
        let lines = lines(&shared.allowed.current(), &shared.connected.edges(), &shared.connected.past());
        serde_json::to_value(Report { router: &shared.limits.router, edges: lines })
    });
    match report.await {
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "admin: the edges cannot be reported");
    (StatusCode::INTERNAL_SERVER_ERROR, "edges: cannot be reported; see the log\n").into_response()
}

fn lines(allowed: &Edges, connected: &[EdgeView], past: &BTreeMap<EdgeName, Past>) -> Vec<Line> {
    let mut connections: BTreeMap<&EdgeName, Vec<EdgeView>> = BTreeMap::new();
    for view in connected {
        connections.entry(&view.edge).or_default().push(view.clone());
    }
    let listed = allowed.edges.iter().map(|(edge, may)| Line {
        edge: edge.clone(),
        allowed: true,
        tenants: may.tenants.iter().take(SHOWN_TENANTS).cloned().collect(),
        tenants_total: may.tenants.len(),
        past: past.get(edge).copied().unwrap_or_default(),
        connections: connections.remove(edge).unwrap_or_default(),
    });
    let mut lines: Vec<Line> = listed.collect();
    // Taken off the list a moment ago: cut off within seconds.
    lines.extend(connections.into_iter().map(|(edge, connections)| Line {
        edge: edge.clone(),
        allowed: false,
        tenants: Vec::new(),
        tenants_total: 0,
        past: past.get(edge).copied().unwrap_or_default(),
        connections,
    }));
    lines
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::edges::Edge;
    use crate::listener::Received;
    use crate::testing::tenant;

    fn name(name: &str) -> EdgeName {
        EdgeName::new(name).unwrap()
    }

    fn view(edge: &str) -> EdgeView {
        EdgeView {
            edge: name(edge),
            remote: SocketAddr::from(([127, 0, 0, 1], 1)),
            transport: "quic",
            labels: BTreeMap::new(),
            queued_batches: 0,
            queued_bytes: 0,
            oldest_unix_nano: 0,
            since_unix_seconds: 1,
            heard_unix_seconds: 2,
            spools: Vec::new(),
            received: Received::default(),
        }
    }

    /// Every edge of the list is there, with its connections and its past, and one that was taken off the list and is still connected too;
    /// of many tenants some are named and all are counted.
    #[test]
    fn listed_connected_and_revoked() {
        let many = (0..100).map(|n| tenant(&format!("t{n}"))).collect();
        let allowed = Edges { edges: BTreeMap::from([(name("eu"), Edge { tenants: many }), (name("us"), Edge::default())]) };
        let past = BTreeMap::from([(name("us"), Past { seen_unix_seconds: 9, ..Past::default() })]);
        let lines = lines(&allowed, &[view("eu"), view("gone"), view("eu")], &past);
        let seen: Vec<_> = lines.iter().map(|line| (line.edge.as_str(), line.allowed, line.connections.len())).collect();
        assert_eq!(seen, [("eu", true, 2), ("us", true, 0), ("gone", false, 1)]);
        assert_eq!((lines[0].tenants.len(), lines[0].tenants_total, lines[1].past.seen_unix_seconds), (SHOWN_TENANTS, 100, 9));
    }
}
