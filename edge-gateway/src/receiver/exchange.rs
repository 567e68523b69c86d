//! One request and its answer: which protocol it speaks, which signal it brings, whose it is.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use federation_proto::identity::{Signal, TenantId};
use federation_proto::otlp::{grpc_path, http_path};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use service::supervise;

use super::connection::{Door, Sender};
use super::http::Form;
use super::wire::Signs;
use super::{body, count, grpc, http as otlp_http, status};
use crate::config::Protocol;
use crate::identity::Unknown;
use crate::ingest::Refusal;

/// What requests on one connection share.
pub(super) struct Exchange {
    pub(super) door: Arc<Door>,
    pub(super) sender: Sender,
    pub(super) signs: Arc<Signs>,
}

/// How a request wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Grpc,
    Http(Form),
}

impl Speech {
    fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if kind.starts_with(b"application/grpc") { Self::Grpc } else { Self::Http(Form::of(kind).unwrap_or(Form::Protobuf)) }
    }
}

impl Exchange {
    /// Whatever is wrong is an answer.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        let (head, mut incoming) = request.into_parts();
        let speech = Speech::of(&head.headers);
        let (is_http1, expects) = (head.version < Version::HTTP_2, head.headers.contains_key(EXPECT));
        let signal = signal(speech, self.door.protocol, &head);
        let outcome = match (&signal, speech) {
            (Ok(signal), Speech::Grpc) => answered(grpc::export(self, *signal, head, &mut incoming)).await,
            (Ok(signal), Speech::Http(form)) => answered(otlp_http::export(self, *signal, form, head, &mut incoming)).await,
            (Err(refusal), _) => Err(refusal.clone()),
        };
        count(if speech == Speech::Grpc { "grpc" } else { "http" }, signal.ok(), &outcome);
        let for_good = matches!(&outcome, Err(refusal) if status::retry_after(refusal).is_none());
        if for_good && is_http1 && !expects {
            body::discard(&mut incoming, self.door.receiver.connections.body).await;
        }
        let mut response = match speech {
            Speech::Grpc => grpc::respond(&outcome),
            Speech::Http(form) => otlp_http::respond(form, &outcome),
        };
        if outcome == Err(Refusal::NotPost) {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if is_http1 && self.signs.is_old() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Whose the request is.
    pub(super) fn tenant(&self, headers: &HeaderMap) -> Result<&TenantId, Unknown> {
        let Self { door, sender, .. } = self;
        door.receiver.identities.tenant(&door.accepts, sender.certified.as_ref(), sender.shown, headers)
    }
}

/// A panic costs the request that it met, and is an answer too: nothing of it was said OK to, so its sender is to send it again.
async fn answered(export: impl Future<Output = Result<(), Refusal>>) -> Result<(), Refusal> {
    supervise::survive(export).await.unwrap_or_else(|panic| {
        supervise::count("request", &panic);
        Err(Refusal::Unavailable("the edge failed at this request, its log says how"))
    })
}

/// The signal that a request brings, if this listener takes it at all.
fn signal(speech: Speech, protocol: Protocol, head: &Parts) -> Result<Signal, Refusal> {
    let unsupported = |message: &str| Err(Refusal::Unsupported(message.to_owned()));
    let path = match (speech, protocol) {
        (Speech::Grpc, Protocol::Http) => return unsupported("this listener speaks OTLP/HTTP; OTLP/gRPC has another (receive.grpc)"),
        (Speech::Http(_), Protocol::Grpc) => return unsupported("this listener speaks OTLP/gRPC; OTLP/HTTP has another (receive.http)"),
        (Speech::Grpc, _) => grpc_path,
        (Speech::Http(_), _) => http_path,
    };
    let known = [Signal::Traces, Signal::Logs, Signal::Metrics].into_iter().find(|signal| path(*signal) == head.uri.path());
    let signal = known.ok_or_else(|| Refusal::NotFound(path(Signal::Traces)))?;
    if head.method == Method::POST { Ok(signal) } else { Err(Refusal::NotPost) }
}

/// The body of an answer: at most one piece, then trailers if it is gRPC's.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) data: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

impl From<Bytes> for Reply {
    fn from(data: Bytes) -> Self {
        Self { data, trailers: None }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request at which the edge panics is answered, retryably, and ends neither its connection nor what else is on it.
    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let failed = answered(async {
            tokio::task::yield_now().await;
            panic!("a bug")
        });
        let refusal = failed.await.unwrap_err();
        assert!(status::retry_after(&refusal).is_some(), "{refusal}");
        assert_eq!(answered(async { Ok(()) }).await, Ok(()));
        assert_eq!(answered(async { Err(Refusal::NotPost) }).await, Err(Refusal::NotPost));
    }
}
