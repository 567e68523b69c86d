//! What a refusal looks like: `google.rpc.Status`, for gRPC in its trailers, for HTTP as the body.
//!
//! A gRPC sender retries RESOURCE_EXHAUSTED only if the status has a `RetryInfo` (OTLP specification, "OTLP/gRPC Throttling"); an
//! HTTP sender retries 429, 502, 503 and 504, after `Retry-After`.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tonic::Code;

use crate::ingest::{RETRY_AFTER, Refusal};

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RpcDuration>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The gRPC code of a refusal.
fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Unauthenticated(_) => Code::Unauthenticated,
        // Not RESOURCE_EXHAUSTED, with which it could be taken for a throttle: the same request will never pass.
        Refusal::Malformed(_) | Refusal::TooLarge(_) => Code::InvalidArgument,
        Refusal::Unsupported(_) => Code::Unimplemented,
        Refusal::Busy(_) => Code::ResourceExhausted,
        Refusal::Unavailable(_) => Code::Unavailable,
    }
}

/// When to come again, if at all.
pub(super) fn retry_after(refusal: &Refusal) -> Option<Duration> {
    matches!(refusal, Refusal::Busy(_) | Refusal::Unavailable(_)).then_some(RETRY_AFTER)
}

/// The status as a message.
pub(super) fn message(refusal: &Refusal) -> Bytes {
    let details = retry_after(refusal).map(|after| {
        let delay = RpcDuration { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() as i32 };
        Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: RetryInfo { retry_delay: Some(delay) }.encode_to_vec(),
        }
    });
    let status = RpcStatus { code: code(refusal) as i32, message: refusal.to_string(), details: details.into_iter().collect() };
    Bytes::from(status.encode_to_vec())
}

/// The status for gRPC.
pub(super) fn grpc(refusal: &Refusal) -> tonic::Status {
    tonic::Status::with_details(code(refusal), refusal.to_string(), message(refusal))
}
