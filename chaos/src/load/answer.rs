//! What a receiver's answer means: acknowledged as a whole, or not, and why.
//!
//! A partial success that rejects a record counts as refused as a whole: nobody says which records were taken.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// A wait asked for is kept up to this.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// OK for every record.
    Acknowledged,
    /// Not acknowledged: the code (a gRPC code's name, an HTTP status, or what failed below them), and the wait that was asked for.
    Refused {
        /// For the count.
        code: String,
        /// How long to wait before the next request.
        wait: Duration,
    },
}

/// The names of gRPC's codes, by number.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Answer {
    /// Refused, or failed below HTTP.
    pub(super) fn refused(code: impl Into<String>, wait: Duration) -> Self {
        Self::Refused { code: code.into(), wait: wait.min(MAX_WAIT) }
    }

    /// OTLP/gRPC: status in the headers or the trailers, message behind five bytes.
    pub(super) fn of_grpc(status: StatusCode, headers: &HeaderMap, trailers: Option<&HeaderMap>, body: &[u8]) -> Self {
        if status != StatusCode::OK {
            return Self::of_status(status, headers);
        }
        let code = trailers.and_then(|trailers| trailers.get("grpc-status")).or_else(|| headers.get("grpc-status"));
        let code = code.and_then(|code| code.to_str().ok()?.parse::<usize>().ok());
        match code {
            Some(0) => Self::of_message(body.get(5..).unwrap_or_default()),
            Some(code) => Self::refused(GRPC_CODES.get(code).copied().unwrap_or("UNKNOWN"), Duration::from_millis(100)),
            None => Self::refused("no_grpc_status", Duration::from_millis(100)),
        }
    }

    /// OTLP/HTTP with protobuf.
    pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        if status.is_success() { Self::of_message(body) } else { Self::of_status(status, headers) }
    }

    fn of_status(status: StatusCode, headers: &HeaderMap) -> Self {
        let seconds = headers.get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
        Self::refused(status.as_str(), seconds.map_or(Duration::from_millis(100), Duration::from_secs))
    }

    /// The response messages of all signals have the same form.
    fn of_message(body: &[u8]) -> Self {
        match ExportTraceServiceResponse::decode(body) {
            Ok(response) if response.partial_success.as_ref().is_none_or(|partial| partial.rejected_spans == 0) => Self::Acknowledged,
            Ok(_) => Self::refused("partial_success", Duration::ZERO),
            Err(_) => Self::refused("no_otlp_response", Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn code(answer: &Answer) -> &str {
        match answer {
            Answer::Acknowledged => "OK",
            Answer::Refused { code, .. } => code,
        }
    }

    fn grpc_status(code: &'static str) -> HeaderMap {
        [(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static(code))].into_iter().collect()
    }

    /// Only an OK for every record is an acknowledgement.
    #[test]
    fn only_ok_is_ok() {
        let none = HeaderMap::new();
        let partial = |rejected_spans| {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: "look".to_owned() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        assert_eq!(Answer::of_http(StatusCode::OK, &none, &[]), Answer::Acknowledged);
        assert_eq!(Answer::of_http(StatusCode::OK, &none, &partial(0)), Answer::Acknowledged, "a warning");
        assert_eq!(code(&Answer::of_http(StatusCode::OK, &none, &partial(1))), "partial_success");
        assert_eq!(code(&Answer::of_http(StatusCode::SERVICE_UNAVAILABLE, &none, &[])), "503");
        let ok = grpc_status("0");
        assert_eq!(Answer::of_grpc(StatusCode::OK, &none, Some(&ok), &[0; 5]), Answer::Acknowledged);
        assert_eq!(code(&Answer::of_grpc(StatusCode::OK, &none, Some(&grpc_status("14")), &[])), "UNAVAILABLE");
        assert_eq!(code(&Answer::of_grpc(StatusCode::OK, &grpc_status("16"), None, &[])), "UNAUTHENTICATED");
        assert_eq!(code(&Answer::of_grpc(StatusCode::OK, &none, None, &[0; 5])), "no_grpc_status");
    }

    /// A receiver's wait is kept, within our bound.
    #[test]
    fn waits_as_asked() {
        let header = |value| [(http::header::RETRY_AFTER, http::HeaderValue::from_static(value))].into_iter().collect::<HeaderMap>();
        let wait = |value| match Answer::of_http(StatusCode::TOO_MANY_REQUESTS, &header(value), &[]) {
            Answer::Refused { wait, .. } => wait,
            Answer::Acknowledged => panic!("acknowledged"),
        };
        assert_eq!([wait("2"), wait("86400"), wait("soon")], [Duration::from_secs(2), MAX_WAIT, Duration::from_millis(100)]);
    }
}
