//! What a refusal looks like: `google.rpc.Status`, for gRPC in its trailers, for HTTP as the body, in protobuf or JSON.
//!
//! A gRPC sender retries UNAVAILABLE, and RESOURCE_EXHAUSTED only if the status has a `RetryInfo` (OTLP specification, "OTLP/gRPC
//! Throttling"); an HTTP sender retries 429, 502, 503 and 504, after `Retry-After`. All else is for good:
//!
//! | Refusal | gRPC | HTTP | Retry |
//! |---|---|---|---|
//! | busy: memory, disk or inbox at its bound | RESOURCE_EXHAUSTED, RetryInfo | 429, Retry-After | yes |
//! | unavailable: stopping, the disk fails, the body came too slowly | UNAVAILABLE, RetryInfo | 503, Retry-After | yes |
//! | malformed | INVALID_ARGUMENT | 400 | no |
//! | too large | INVALID_ARGUMENT | 413 | no |
//! | no tenant: no token, or an unknown one | UNAUTHENTICATED | 401 | no |
//! | no tenant: the certificate is not known | PERMISSION_DENIED | 403 | no |
//! | no such path, method | UNIMPLEMENTED | 404, 405 | no |
//! | content type or compression not spoken | UNIMPLEMENTED | 415 | no |

use std::time::Duration;

use bytes::Bytes;
use federation_proto::otlp::status::{self, RETRY_INFO};
use serde_json::json;
use tonic::Code;

use crate::identity::Unknown;
use crate::ingest::{RETRY_AFTER, Refusal};

/// The gRPC code of a refusal.
fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Unauthenticated(Unknown::Certificate) => Code::PermissionDenied,
        Refusal::Unauthenticated(_) => Code::Unauthenticated,
        // Not RESOURCE_EXHAUSTED, with which it could be taken for a throttle: the same request will never pass.
        Refusal::Malformed(_) | Refusal::TooLarge(_) => Code::InvalidArgument,
        Refusal::NotFound(_) | Refusal::NotPost | Refusal::Unsupported(_) => Code::Unimplemented,
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
    Bytes::from(status::encode(code(refusal) as i32, &refusal.to_string(), retry_after(refusal)))
}

/// The status as JSON, as proto3 has it.
pub(super) fn json(refusal: &Refusal) -> Bytes {
    let mut status = json!({ "code": code(refusal) as i32, "message": refusal.to_string() });
    if let Some(after) = retry_after(refusal) {
        status["details"] = json!([{ "@type": RETRY_INFO, "retryDelay": format!("{}s", after.as_secs_f64()) }]);
    }
    Bytes::from(status.to_string())
}

/// The status for gRPC.
pub(super) fn grpc(refusal: &Refusal) -> tonic::Status {
    tonic::Status::with_details(code(refusal), refusal.to_string(), message(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::http::status_code;

    /// Each refusal says to both kinds of senders the same: come again, and when, or do not.
    #[test]
    fn retryable_and_permanent_in_both_protocols() {
        let text = || "x".to_owned();
        let cases = [
            (Refusal::Busy("x"), Code::ResourceExhausted, 429, true),
            (Refusal::Unavailable("x"), Code::Unavailable, 503, true),
            (Refusal::Malformed(text()), Code::InvalidArgument, 400, false),
            (Refusal::TooLarge(1), Code::InvalidArgument, 413, false),
            (Refusal::Unauthenticated(Unknown::Missing), Code::Unauthenticated, 401, false),
            (Refusal::Unauthenticated(Unknown::Token), Code::Unauthenticated, 401, false),
            (Refusal::Unauthenticated(Unknown::NoTokens), Code::Unauthenticated, 401, false),
            (Refusal::Unauthenticated(Unknown::Certificate), Code::PermissionDenied, 403, false),
            (Refusal::NotFound("/x"), Code::Unimplemented, 404, false),
            (Refusal::NotPost, Code::Unimplemented, 405, false),
            (Refusal::Unsupported(text()), Code::Unimplemented, 415, false),
        ];
        for (refusal, expected, http, retry) in cases {
            let said = grpc(&refusal);
            let wait = status::retry_after(said.details());
            assert_eq!((said.code(), wait), (expected, retry.then_some(RETRY_AFTER)), "{refusal:?}");
            assert_eq!((status::code(said.details()), status::message(said.details())), (expected as i32, refusal.to_string()));
            assert_eq!((status_code(&refusal).as_u16(), retry_after(&refusal).is_some()), (http, retry), "{refusal:?}");
            let json: serde_json::Value = serde_json::from_slice(&json(&refusal)).unwrap();
            assert_eq!((&json["code"], json["details"].is_array()), (&(expected as i32).into(), retry), "{json}");
        }
    }
}
