//! OTLP/gRPC: one message in, one empty message and a status out. Framed by hand, so that the sender's compressed bytes can go to
//! disk as they came and memory is claimed before it is read.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use federation_proto::identity::Signal;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full};

use super::{Receiver, body, status};
use crate::compression::Compression;
use crate::ingest::Refusal;

const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const STATUS: &str = "grpc-status";

/// An empty Export*ServiceResponse, framed: everything was taken.
static EMPTY_RESPONSE: [u8; 5] = [0; 5];

pub(super) fn routes(receiver: Receiver) -> Router {
    let routes = super::by_signal(Router::new(), path, |signal| {
        let receiver = receiver.clone();
        post(move |request: Request| answer(receiver.clone(), signal, request))
    });
    routes.fallback(async || respond(Err(Refusal::Unsupported("no such service or method here".to_owned()))))
}

fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics | Signal::Profiles => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

async fn answer(receiver: Receiver, signal: Signal, request: Request) -> Response {
    let is_grpc = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        let mut response = Response::new(Body::from("this port speaks OTLP/gRPC; OTLP/HTTP has a port of its own (receive.http)\n"));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let outcome = export(&receiver, signal, request).await;
    super::count("grpc", signal, &outcome);
    respond(outcome)
}

async fn export(receiver: &Receiver, signal: Signal, request: Request) -> Result<(), Refusal> {
    let (head, body) = request.into_parts();
    let tenant = receiver.identities.tenant(&head.headers)?;
    let form = encoding(&head.headers)?;
    let (compressed, packed) = body::read_grpc(body, receiver.max_request_bytes, &receiver.memory).await?;
    let form = if compressed { form } else { Compression::Plain };
    if compressed && form == Compression::Plain {
        return Err(Refusal::Malformed("gRPC: the message is compressed, grpc-encoding does not say how".to_owned()));
    }
    let body = body::open(packed, form, receiver.max_request_bytes, &receiver.memory).await?;
    receiver.ingest.accept(signal, tenant, body).await
}

fn encoding(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let Some(name) = headers.get(ENCODING) else { return Ok(Compression::Plain) };
    let known = name.to_str().ok().and_then(Compression::from_encoding);
    known.ok_or_else(|| Refusal::Unsupported(format!("grpc-encoding {name:?}: expected identity, gzip or zstd")))
}

fn respond(outcome: Result<(), Refusal>) -> Response {
    let mut response = match outcome {
        Ok(()) => {
            let trailers = HeaderMap::from_iter([(http::HeaderName::from_static(STATUS), HeaderValue::from_static("0"))]);
            let body = Full::new(Bytes::from_static(&EMPTY_RESPONSE)).with_trailers(async { Some(Ok(trailers)) });
            let mut response = Response::new(Body::new(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(refusal) => status::grpc(&refusal).into_http(),
    };
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
    response
}
