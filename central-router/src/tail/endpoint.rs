//! The route: who asks, for what, and is there a place.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use federation_proto::identity::TenantId;
use parking_lot::Mutex;
use serde::Deserialize;
use service::operator::Secret;
use service::shutdown::Shutdown;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::follow::Follow;
use super::{Filter, MAX_TAILS};
use crate::journal::Journal;
use crate::journal::recent::Watch;
use crate::sql::tokens::Tokens;

/// Chunks of lines between a tail and its reader.
const CHUNKS: usize = 1;

/// What the route needs.
pub struct Desk {
    journal: Journal,
    tokens: Tokens,
    operator: Option<Secret>,
    shutdown: Shutdown,
    decoding: Arc<Semaphore>,
    open: Mutex<HashMap<TenantId, usize>>,
}

impl Desk {
    /// Tails of this journal for who has one of the tenants' `tokens` or the operator's; they end with `shutdown`.
    #[must_use]
    pub fn new(journal: Journal, tokens: Tokens, operator: Option<Secret>, shutdown: Shutdown) -> Self {
        Self { journal, tokens, operator, shutdown, decoding: Arc::new(Semaphore::new(1)), open: Mutex::default() }
    }
}

/// The route to add to the admin endpoint.
pub fn routes(desk: Desk) -> Router {
    Router::new().route("/api/v1/tail", get(answer).post(answer)).with_state(Arc::new(desk))
}

/// What is asked for; without a body, everything of the token's tenant.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ask {
    tenant: Option<TenantId>,
    signals: Vec<String>,
    #[serde(rename = "where")]
    conditions: Vec<String>,
    limit: Option<u64>,
    after: Option<String>,
}

pub(super) async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    match admit(&desk, request).await {
        Ok(follow) => {
            let (follow, place, lines) = follow;
            tokio::spawn(async move {
                follow.run().await;
                drop(place);
            });
            ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(ReceiverStream::new(lines))).into_response()
        }
        Err((status, why)) => {
            let mut response = (status, format!("{why}\n")).into_response();
            if status == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

type Lines = mpsc::Receiver<Result<Bytes, std::convert::Infallible>>;

async fn admit(desk: &Arc<Desk>, request: Request) -> Result<(Follow, Place, Lines), (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let who = who(desk, request.headers())?;
    let body = Bytes::from_request(request, &()).await.map_err(|error| bad(error.body_text()))?;
    let ask: Ask = if body.is_empty() {
        Ask::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| bad(format!("{error}: expected {{\"signals\": [\"logs\"], \"where\": [\"key=value\"], \"limit\": 10}}")))?
    };
    let tenant = match (who, ask.tenant) {
        (Who::Tenant(own), None) => own,
        (Who::Tenant(own), Some(named)) if named == own => own,
        (Who::Tenant(_), Some(_)) => return Err((StatusCode::FORBIDDEN, "this token is another tenant's".to_owned())),
        (Who::Operator, Some(named)) => named,
        (Who::Operator, None) => return Err(bad("tenant: expected whose records to show".to_owned())),
    };
    let filter = Filter::new(&ask.signals, &ask.conditions).map_err(|error| bad(error.to_string()))?;
    let resumed = ask.after.as_deref().map(str::parse::<Watch>).transpose().map_err(|error| bad(format!("after: {error}")))?;
    let watch = resumed.unwrap_or_else(|| desk.journal.book().watch(&tenant));
    let place = Place::take(desk, &tenant)?;
    let (sink, lines) = mpsc::channel(CHUNKS);
    let follow = Follow {
        journal: desk.journal.clone(),
        decoding: Arc::clone(&desk.decoding),
        shutdown: desk.shutdown.clone(),
        tenant,
        filter: Arc::new(filter),
        watch,
        left: ask.limit,
        sink,
    };
    Ok((follow, place, lines))
}

enum Who {
    Operator,
    Tenant(TenantId),
}

fn who(desk: &Desk, headers: &HeaderMap) -> Result<Who, (StatusCode, String)> {
    if desk.operator.as_ref().is_some_and(|operator| operator.is_in(headers)) {
        return Ok(Who::Operator);
    }
    let unknown = "no tenant has this token: expected Authorization: Bearer <token>, of one in query.tokens";
    desk.tokens.tenant(headers).cloned().map(Who::Tenant).ok_or_else(|| (StatusCode::UNAUTHORIZED, unknown.to_owned()))
}

/// A tail's place among those that are open; given back when dropped.
struct Place {
    desk: Arc<Desk>,
    tenant: TenantId,
}

impl Place {
    fn take(desk: &Arc<Desk>, tenant: &TenantId) -> Result<Self, (StatusCode, String)> {
        let mut open = desk.open.lock();
        let (all, own) = (open.values().sum::<usize>(), open.get(tenant).copied().unwrap_or(0));
        if all >= MAX_TAILS || own >= MAX_TAILS / 2 {
            let why = format!("{all} tails are open, {own} of this tenant: at most {MAX_TAILS}, {} of one tenant; end one", MAX_TAILS / 2);
            return Err((StatusCode::SERVICE_UNAVAILABLE, why));
        }
        open.insert(tenant.clone(), own + 1);
        metrics::gauge!("tributary_router_tails").set((all + 1) as f64);
        Ok(Self { desk: Arc::clone(desk), tenant: tenant.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.desk.open.lock();
        if let Some(own) = open.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.tenant);
            }
        }
        metrics::gauge!("tributary_router_tails").set(open.values().sum::<usize>() as f64);
    }
}
