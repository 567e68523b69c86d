//! OTLP/gRPC: one message in, one empty message and a status out. Framed by hand, so that the sender's compressed bytes can go to
//! disk as they came and memory is claimed before it is read.

use bytes::Bytes;
use federation_proto::identity::Signal;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use hyper::body::Incoming;

use super::exchange::{Exchange, Reply};
use super::{body, status};
use crate::compression::Compression;
use crate::ingest::Refusal;

const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// An empty Export*ServiceResponse, framed: everything was taken.
static EMPTY_RESPONSE: [u8; 5] = [0; 5];

pub(super) async fn export(exchange: &Exchange, signal: Signal, head: Parts, incoming: &mut Incoming) -> Result<(), Refusal> {
    let receiver = &exchange.door.receiver;
    let tenant = exchange.tenant(&head.headers)?;
    let packing = encoding(&head.headers)?;
    drop(head);
    let (limit, memory) = (receiver.max_request_bytes, &receiver.memory);
    let (compressed, packed) = body::read_grpc(incoming, limit, memory, receiver.connections.body).await?;
    let packing = if compressed { packing } else { Compression::Plain };
    if compressed && packing == Compression::Plain {
        return Err(Refusal::Malformed("gRPC: the message is compressed, grpc-encoding does not say how".to_owned()));
    }
    let body = body::open(packed, packing, limit, memory).await?;
    receiver.ingest.accept(signal, tenant, body).await
}

fn encoding(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let Some(name) = headers.get(ENCODING) else { return Ok(Compression::Plain) };
    let known = name.to_str().ok().and_then(Compression::from_encoding);
    known.ok_or_else(|| Refusal::Unsupported(format!("grpc-encoding {name:?}: expected identity, gzip or zstd")))
}

pub(super) fn respond(outcome: &Result<(), Refusal>) -> Response<Reply> {
    let mut response = match outcome {
        Ok(()) => {
            let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
            let mut response = Response::new(Reply { data: Bytes::from_static(&EMPTY_RESPONSE), trailers: Some(trailers) });
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(refusal) => status::grpc(refusal).into_http(),
    };
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
    response
}
