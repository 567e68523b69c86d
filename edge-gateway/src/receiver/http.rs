//! OTLP/HTTP, protobuf and JSON: POST to a path for each signal. The answer is in the form of the request.

use bytes::Bytes;
use federation_proto::identity::Signal;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;

use super::exchange::{Exchange, Reply};
use super::{body, status};
use crate::compression::Compression;
use crate::identity::Unknown;
use crate::ingest::Refusal;

/// How the messages of a request are written, and those of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
}

impl Form {
    /// What a content type says.
    pub(super) fn of(content_type: &[u8]) -> Option<Self> {
        let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &[u8]| media.eq_ignore_ascii_case(name);
        if is(b"application/x-protobuf") || is(b"application/protobuf") {
            Some(Self::Protobuf)
        } else if is(b"application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

pub(super) async fn export(exchange: &Exchange, signal: Signal, form: Form, head: Parts, incoming: &mut Incoming) -> Result<(), Refusal> {
    let receiver = &exchange.door.receiver;
    let tenant = exchange.tenant(&head.headers)?;
    check_type(&head.headers)?;
    let packing = encoding(&head.headers)?;
    drop(head);
    let (limit, memory) = (receiver.max_request_bytes, &receiver.memory);
    let packed = body::read(incoming, limit, memory, receiver.connections.body).await?;
    let body = body::open(packed, packing, limit, memory).await?;
    let body = match form {
        Form::Protobuf => body,
        Form::Json => body::to_protobuf(signal, &body.open, limit, memory).await?,
    };
    receiver.ingest.accept(signal, tenant, body).await
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(CONTENT_TYPE);
    if kind.is_some_and(|kind| Form::of(kind.as_bytes()).is_some()) {
        return Ok(());
    }
    let found = kind.map_or("none".to_owned(), |kind| format!("{kind:?}"));
    Err(Refusal::Unsupported(format!("content-type {found}: expected application/x-protobuf or application/json")))
}

fn encoding(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let Some(name) = headers.get(CONTENT_ENCODING) else { return Ok(Compression::Plain) };
    let known = name.to_str().ok().and_then(Compression::from_encoding);
    known.ok_or_else(|| Refusal::Unsupported(format!("content-encoding {name:?}: expected identity, gzip or zstd")))
}

pub(super) fn status_code(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unauthenticated(Unknown::Certificate) => StatusCode::FORBIDDEN,
        Refusal::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::NotFound(_) => StatusCode::NOT_FOUND,
        Refusal::NotPost => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

pub(super) fn respond(form: Form, outcome: &Result<(), Refusal>) -> Response<Reply> {
    // An empty Export*ServiceResponse: everything was taken.
    let taken = || Bytes::from_static(if form == Form::Json { b"{}" } else { b"" });
    let body = match (outcome, form) {
        (Ok(()), _) => taken(),
        (Err(refusal), Form::Protobuf) => status::message(refusal),
        (Err(refusal), Form::Json) => status::json(refusal),
    };
    let mut response = Response::new(Reply::from(body));
    response.headers_mut().insert(CONTENT_TYPE, form.content_type());
    if let Err(refusal) = outcome {
        *response.status_mut() = status_code(refusal);
        say_what_to_do(refusal, response.headers_mut());
    }
    response
}

fn say_what_to_do(refusal: &Refusal, headers: &mut HeaderMap) {
    if let Some(after) = status::retry_after(refusal) {
        headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    match refusal {
        Refusal::Unauthenticated(Unknown::Token | Unknown::Missing) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::Unsupported(_) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        }
        _ => {}
    }
}
