//! What a destination's answer means for the rows of a request, by the OTLP specification. Pure.
//!
//! | Answer | Rows |
//! |---|---|
//! | OK, HTTP 2xx | delivered, but for those that a partial success names: rejected, `partly_refused` |
//! | gRPC CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS; HTTP 429, 502, 503, 504; no answer | later |
//! | gRPC RESOURCE_EXHAUSTED with RetryInfo | later |
//! | gRPC RESOURCE_EXHAUSTED without it, HTTP 413 | in smaller requests; when that does not help: rejected, `over_quota`, `too_large` |
//! | gRPC UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED, NOT_FOUND; HTTP 401, 403, 404, 405, 3xx | later |
//! | any other | rejected, `refused` |
//!
//! The last but one row is not the specification's, which gives such requests up: what is refused there is the router, not the records,
//! and a person is about to put that right. They stay on the journal meanwhile.

use std::time::Duration;

use federation_proto::ledger::Reason;
use federation_proto::otlp::status;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use tonic::{Code, Status};

/// The longest wait that a destination may ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// The least wait after an answer that a person has to do something about.
const DENIED_WAIT: Duration = Duration::from_secs(5);
/// A request of less than this is not cut up, though a destination says that it has no room: that is not about its size.
const LEAST_BYTES: usize = 64 << 10;
/// Characters of a destination's message that are shown.
const MAX_SHOWN: usize = 300;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken, but for some rows.
    Taken {
        /// How many.
        rejected: u64,
        /// Why, or a warning.
        message: String,
    },
    /// The same again, no sooner than that.
    Later {
        /// The wait that was asked for, or zero.
        after: Duration,
        /// Is it the router that is refused?
        denied: bool,
        /// For people.
        why: String,
    },
    /// In halves.
    Smaller {
        /// For people.
        why: String,
    },
    /// Never.
    Refused {
        /// For the ledger.
        reason: Reason,
        /// For people.
        why: String,
    },
}

/// How large a refused request was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Its rows.
    pub(super) rows: usize,
    /// Its bytes before compression.
    pub(super) bytes: usize,
}

impl Size {
    fn smaller_or(self, otherwise: impl FnOnce(String) -> Answer, why: String) -> Answer {
        if self.rows > 1 && self.bytes > LEAST_BYTES { Answer::Smaller { why } } else { otherwise(why) }
    }
}

impl Answer {
    /// The label in metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Taken { rejected: 0, .. } => "taken",
            Self::Taken { .. } => "partly_taken",
            Self::Later { .. } => "later",
            Self::Smaller { .. } => "smaller",
            Self::Refused { .. } => "refused",
        }
    }

    /// No answer: the connection failed, or the time ran out.
    pub(super) fn none(why: String) -> Self {
        Self::Later { after: Duration::ZERO, denied: false, why }
    }

    fn denied(why: String, remedy: &str) -> Self {
        Self::Later { after: DENIED_WAIT, denied: true, why: format!("{why}; {remedy}") }
    }

    fn taken(response: &[u8]) -> Self {
        let partial = status::partial_success(response).unwrap_or_default();
        Self::Taken { rejected: u64::try_from(partial.rejected).unwrap_or(0), message: shown(&partial.message) }
    }

    /// OTLP/HTTP.
    pub(super) fn of_http(code: StatusCode, headers: &HeaderMap, body: &[u8], size: Size) -> Self {
        if code.is_success() {
            return Self::taken(body);
        }
        let protobuf = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"protobuf"));
        let message = if protobuf { status::message(body) } else { String::from_utf8_lossy(body).into_owned() };
        Self::of_status(code, headers, format!("HTTP {}{}", code.as_u16(), said(&message)), size)
    }

    fn of_status(code: StatusCode, headers: &HeaderMap, why: String, size: Size) -> Self {
        match code.as_u16() {
            // A Retry-After with a date is not read: our own back-off holds.
            429 | 502 | 503 | 504 => {
                let seconds = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
                Self::Later { after: seconds.map_or(Duration::ZERO, Duration::from_secs).min(MAX_WAIT), denied: false, why }
            }
            413 => size.smaller_or(|why| Self::Refused { reason: Reason::TooLarge, why }, why),
            401 | 403 | 407 => Self::denied(why, "check the tier's headers and tls"),
            300..=399 | 404 | 405 => {
                Self::denied(why, "check the tier's endpoint and protocol, and whether it takes this signal (signals)")
            }
            _ => Self::Refused { reason: Reason::Refused, why },
        }
    }

    /// OTLP/gRPC: the status stands in the trailers, or, without a body, in the headers.
    pub(super) fn of_grpc(code: StatusCode, headers: &HeaderMap, trailers: Option<&HeaderMap>, body: &[u8], size: Size) -> Self {
        let status = trailers.and_then(Status::from_header_map).or_else(|| Status::from_header_map(headers));
        match status {
            Some(status) if status.code() == Code::Ok => Self::taken(body.get(5..).unwrap_or_default()),
            Some(status) => Self::of_grpc_status(&status, size),
            None if code == StatusCode::OK => {
                Self::denied("an answer without a gRPC status".to_owned(), "check the tier's endpoint and protocol")
            }
            // Not a gRPC server, but something in front of it.
            None => Self::of_status(code, headers, format!("HTTP {} instead of a gRPC status", code.as_u16()), size),
        }
    }

    fn of_grpc_status(status: &Status, size: Size) -> Self {
        let why = format!("gRPC {:?}{}", status.code(), said(status.message()));
        let retry = status::retry_after(status.details()).map(|after| after.min(MAX_WAIT));
        let later = |why| Self::Later { after: retry.unwrap_or(Duration::ZERO), denied: false, why };
        match status.code() {
            Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::Unavailable | Code::DataLoss => later(why),
            Code::ResourceExhausted if retry.is_some() => later(why),
            Code::ResourceExhausted => size.smaller_or(|why| Self::Refused { reason: Reason::OverQuota, why }, why),
            // Servers of some languages say so of a request that is too large.
            Code::OutOfRange => size.smaller_or(later, why),
            Code::Unauthenticated | Code::PermissionDenied => Self::denied(why, "check the tier's headers and tls"),
            Code::Unimplemented | Code::NotFound => {
                Self::denied(why, "check the tier's endpoint and protocol, and whether it takes this signal (signals)")
            }
            _ => Self::Refused { reason: Reason::Refused, why },
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", shown(message)) }
}

/// What a destination says, on one line and not for ever.
fn shown(message: &str) -> String {
    message.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const LARGE: Size = Size { rows: 1000, bytes: 1 << 20 };
    const ONE: Size = Size { rows: 1, bytes: 1 << 20 };
    const SMALL: Size = Size { rows: 10, bytes: 1 << 10 };

    fn kind(answer: &Answer) -> &str {
        match answer {
            Answer::Refused { reason, .. } => reason.as_str(),
            Answer::Later { denied: true, .. } => "denied",
            answer => answer.as_str(),
        }
    }

    /// Each code has the meaning of the table above, and what is about a request's size depends on that.
    #[test]
    fn codes_mean_what_the_specification_says() {
        let grpc = |code, size| kind(&Answer::of_grpc_status(&Status::new(code, "x"), size)).to_owned();
        for code in [Code::Cancelled, Code::DeadlineExceeded, Code::Aborted, Code::Unavailable, Code::DataLoss] {
            assert_eq!(grpc(code, LARGE), "later", "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::Internal, Code::Unknown, Code::AlreadyExists, Code::FailedPrecondition] {
            assert_eq!(grpc(code, LARGE), "refused", "{code:?}");
        }
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented, Code::NotFound] {
            assert_eq!(grpc(code, LARGE), "denied", "{code:?}");
        }
        assert_eq!([LARGE, ONE, SMALL].map(|size| grpc(Code::ResourceExhausted, size)), ["smaller", "over_quota", "over_quota"]);
        assert_eq!([LARGE, ONE, SMALL].map(|size| grpc(Code::OutOfRange, size)), ["smaller", "later", "later"]);
        let http = |code, size| {
            let answer = Answer::of_http(StatusCode::from_u16(code).unwrap(), &HeaderMap::new(), b"no", size);
            kind(&answer).to_owned()
        };
        assert_eq!([200, 202, 429, 502, 503, 504].map(|code| http(code, LARGE)), ["taken", "taken", "later", "later", "later", "later"]);
        assert_eq!([400, 422, 500, 501].map(|code| http(code, LARGE)), ["refused"; 4]);
        assert_eq!([401, 403, 404, 301].map(|code| http(code, LARGE)), ["denied"; 4]);
        assert_eq!([LARGE, ONE, SMALL].map(|size| http(413, size)), ["smaller", "too_large", "too_large"]);
    }

    /// A wait is kept as it was asked for, up to five minutes; RESOURCE_EXHAUSTED is tried again only with one.
    #[test]
    fn waits_as_asked() {
        let wait = |answer| match answer {
            Answer::Later { after, .. } => after,
            answer => panic!("{answer:?}"),
        };
        for (asked, kept) in [(Duration::from_millis(1500), Duration::from_millis(1500)), (Duration::from_secs(1 << 40), MAX_WAIT)] {
            let details = Bytes::from(status::encode(8, "full", Some(asked)));
            assert_eq!(wait(Answer::of_grpc_status(&Status::with_details(Code::ResourceExhausted, "full", details), LARGE)), kept);
        }
        let header = |value: &'static str| HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        let http = |value| wait(Answer::of_http(StatusCode::TOO_MANY_REQUESTS, &header(value), &[], LARGE));
        assert_eq!(http("7"), Duration::from_secs(7));
        assert_eq!(http("18446744073709551615"), MAX_WAIT);
        assert_eq!(http("Wed, 21 Oct 2037 07:28:00 GMT"), Duration::ZERO);
    }

    /// Something in front of a gRPC server answers with HTTP's codes; something else answers with none.
    #[test]
    fn a_grpc_status_may_be_missing() {
        let of = |code| kind(&Answer::of_grpc(code, &HeaderMap::new(), None, &[], LARGE)).to_owned();
        assert_eq!(of(StatusCode::BAD_GATEWAY), "later");
        assert_eq!(of(StatusCode::OK), "denied");
    }

    /// Rows that a partial success rejects are read; nonsense is none, and the request was taken all the same.
    #[test]
    fn partial_success_is_read() {
        let none = HeaderMap::new();
        let http = |body: &[u8]| Answer::of_http(StatusCode::OK, &none, body, LARGE);
        let taken = |rejected, message: &str| Answer::Taken { rejected, message: message.to_owned() };
        assert_eq!(http(&status::encode_partial_success(3, "too\nold")), taken(3, "too old"));
        assert_eq!(http(&status::encode_partial_success(-3, "")), taken(0, ""));
        assert_eq!(http(b"noise"), taken(0, ""));
        let framed = [&[0, 0, 0, 0, 2][..], &status::encode_partial_success(4, "x")].concat();
        let ok = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        assert_eq!(Answer::of_grpc(StatusCode::OK, &none, Some(&ok), &framed, LARGE), taken(4, "x"));
    }
}
