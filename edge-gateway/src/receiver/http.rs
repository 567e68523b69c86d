//! OTLP/HTTP with protobuf bodies. JSON is answered with 415: an SDK that may choose is to choose protobuf.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::post;
use federation_proto::identity::Signal;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Receiver, body, status};
use crate::compression::Compression;
use crate::ingest::Refusal;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

pub(super) fn routes(receiver: Receiver) -> Router {
    super::by_signal(Router::new(), path, |signal| {
        let receiver = receiver.clone();
        post(move |request: Request| answer(receiver.clone(), signal, request))
    })
}

fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/v1/traces",
        Signal::Logs => "/v1/logs",
        Signal::Metrics | Signal::Profiles => "/v1/metrics",
    }
}

async fn answer(receiver: Receiver, signal: Signal, request: Request) -> Response {
    let outcome = export(&receiver, signal, request).await;
    super::count("http", signal, &outcome);
    respond(outcome)
}

async fn export(receiver: &Receiver, signal: Signal, request: Request) -> Result<(), Refusal> {
    let (head, body) = request.into_parts();
    let tenant = receiver.identities.tenant(&head.headers)?;
    check_type(&head.headers)?;
    let form = encoding(&head.headers)?;
    let packed = body::read(body, receiver.max_request_bytes, &receiver.memory).await?;
    let body = body::open(packed, form, receiver.max_request_bytes, &receiver.memory).await?;
    receiver.ingest.accept(signal, tenant, body).await
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let media = kind.split(';').next().unwrap_or("").trim();
    if media.eq_ignore_ascii_case("application/x-protobuf") || media.eq_ignore_ascii_case("application/protobuf") {
        Ok(())
    } else {
        Err(Refusal::Unsupported(format!("content-type {kind:?}: expected application/x-protobuf")))
    }
}

fn encoding(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let Some(name) = headers.get(CONTENT_ENCODING) else { return Ok(Compression::Plain) };
    let known = name.to_str().ok().and_then(Compression::from_encoding);
    known.ok_or_else(|| Refusal::Unsupported(format!("content-encoding {name:?}: expected identity, gzip or zstd")))
}

fn status_code(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn respond(outcome: Result<(), Refusal>) -> Response {
    // An empty body is an empty Export*ServiceResponse: everything was taken.
    let mut response = match &outcome {
        Ok(()) => Response::new(Body::empty()),
        Err(refusal) => {
            let mut response = Response::new(Body::from(status::message(refusal)));
            *response.status_mut() = status_code(refusal);
            if let Some(after) = status::retry_after(refusal) {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
            }
            response
        }
    };
    response.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
    response
}
