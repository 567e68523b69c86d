//! `POST /api/v1/query` on the admin endpoint.
//!
//! ```sh
//! curl -H "Authorization: Bearer $TOKEN" --data-binary 'SELECT count(*) FROM otel_traces' http://127.0.0.1:9464/api/v1/query?format=csv
//! curl -H "Authorization: Bearer $TOKEN" --json '{"sql": "SELECT count(*) FROM otel_traces", "limit": 5}' …
//! ```
//!
//! | Answer | Meaning |
//! |---|---|
//! | 200 | The rows; `x-tributary-more: true` if further ones were left out by the limit |
//! | 400 | The statement, or the request around it, is wrong: one line says how |
//! | 401 | No tenant has this token |
//! | 408 | Not done in `query.time` |
//! | 413 | The answer is longer than `query.answer`, or the request than 64 KiB |
//! | 500 | Files or engine failed: the router's log says how |
//! | 503 | `query.concurrent` statements are being answered, or this one needs more than `query.memory` |
//!
//! Bounds: `query.concurrent` times (`query.memory` + `query.answer`), besides what the crate `query` states for its threads. The token
//! is looked at before the body.

use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Query as UriQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use query::output::Bounded;
use query::{Format, Limits, Queries, QueryError};
use serde::Deserialize;

use super::{QueryConfig, SqlError, tables};

/// Says that rows were left out.
const MORE: HeaderName = HeaderName::from_static("x-tributary-more");

/// What the route needs.
pub(super) struct Desk {
    queries: Queries,
    config: QueryConfig,
}

/// The route over the tier at `tier`.
pub(super) fn routes(tier: &Path, config: &QueryConfig) -> Result<axum::Router, SqlError> {
    Ok(axum::Router::new().route("/api/v1/query", post(answer)).with_state(desk(tier, config)?))
}

pub(super) fn desk(tier: &Path, config: &QueryConfig) -> Result<Arc<Desk>, SqlError> {
    let queries = Queries::new(tier, tables()?, config.concurrent).map_err(|error| SqlError(error.to_string()))?;
    Ok(Arc::new(Desk { queries, config: config.clone() }))
}

/// A question as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    sql: String,
    format: Option<String>,
    limit: Option<usize>,
}

/// What can stand in the address instead.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InAddress {
    format: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let Some(tenant) = desk.config.tokens.tenant(request.headers()).cloned() else {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        let message = "no tenant has this token: expected Authorization: Bearer <token>, of one in query.tokens\n";
        return counted("unauthorized", (StatusCode::UNAUTHORIZED, challenge, message).into_response());
    };
    let (sql, format, limits) = match read(request, &desk.config).await {
        Ok(ask) => ask,
        Err(refusal) => return counted("statement", refusal),
    };
    match desk.queries.answer(&tenant, sql, limits, format, Bounded::new(desk.config.answer)).await {
        Ok((sink, written)) => {
            let kind = match format {
                Format::Table => "text/plain; charset=utf-8",
                Format::Json => "application/json",
                Format::Csv => "text/csv; charset=utf-8",
            };
            let more = if written.more { "true" } else { "false" };
            counted("answered", ([(header::CONTENT_TYPE, kind), (MORE, more)], sink.into_bytes()).into_response())
        }
        Err(error) => refused(&error, tenant.as_str()),
    }
}

async fn read(request: Request, config: &QueryConfig) -> Result<(String, Format, Limits), Response> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response();
    let UriQuery(in_address) = UriQuery::<InAddress>::try_from_uri(request.uri()).map_err(|error| bad(error.body_text()))?;
    let json = is_json(request.headers());
    let body = Bytes::from_request(request, &()).await.map_err(IntoResponse::into_response)?;
    let ask: Ask = if json {
        serde_json::from_slice(&body).map_err(|error| bad(format!("{error}: expected {{\"sql\": \"SELECT …\", \"format\": \"json\"}}")))?
    } else {
        let sql = std::str::from_utf8(&body).map_err(|error| bad(format!("{error}: expected SQL in UTF-8")))?;
        Ask { sql: sql.to_owned(), format: None, limit: None }
    };
    let format = ask.format.or(in_address.format).map_or(Ok(Format::Json), |name| name.parse()).map_err(bad)?;
    let rows = ask.limit.or(in_address.limit).unwrap_or(config.rows).min(config.rows);
    Ok((ask.sql, format, Limits { memory: config.memory, rows, time: config.time }))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn refused(error: &QueryError, tenant: &str) -> Response {
    let (status, outcome) = match error {
        QueryError::Statement(_) => (StatusCode::BAD_REQUEST, "statement"),
        QueryError::Time(_) => (StatusCode::REQUEST_TIMEOUT, "time"),
        QueryError::Memory(_) => (StatusCode::SERVICE_UNAVAILABLE, "memory"),
        QueryError::Output(_) => (StatusCode::PAYLOAD_TOO_LARGE, "answer"),
        QueryError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        QueryError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    if let QueryError::Failed(why) = error {
        // What failed may name places of this machine: that is for its operator.
        tracing::warn!(tenant, why, "a statement could not be answered");
        return counted(outcome, (status, "cannot be answered: the router's log says why\n").into_response());
    }
    counted(outcome, (status, format!("{error}\n")).into_response())
}

fn counted(outcome: &'static str, response: Response) -> Response {
    metrics::counter!("tributary_router_queries_total", "outcome" => outcome).increment(1);
    response
}
