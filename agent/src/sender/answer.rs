//! What the edge's answer means. Pure.
//!
//! By the OTLP specification, but for two things: a request is not given up because a token is wrong (someone is about to put
//! that right, and the queue is bounded), and `RESOURCE_EXHAUSTED` without a word on when to retry is tried a bounded number of
//! times rather than not at all.

use std::error::Error;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use tonic::{Code, Status};

use crate::export::Signal;
use crate::outbox::Verdict;

pub(super) fn verdict(status: &Status) -> Verdict {
    match status.code() {
        Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::Aborted | Code::Unauthenticated | Code::PermissionDenied => {
            Verdict::Later
        }
        // A RetryInfo is in the details.
        Code::ResourceExhausted if !status.details().is_empty() => Verdict::Later,
        Code::ResourceExhausted | Code::OutOfRange | Code::DataLoss | Code::Internal | Code::Unknown | Code::Ok => {
            // With a source it comes from our own transport, not from the edge.
            if status.source().is_some() { Verdict::Later } else { Verdict::Failed }
        }
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::Unimplemented => Verdict::Refused,
    }
}

/// What to do about a code that a person can mend.
pub(super) fn remedy(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => "; check edge.token or edge.token_file against the edge's tokens",
        Code::Unimplemented | Code::NotFound => "; check that edge.endpoint is an OTLP/gRPC receiver",
        Code::Unavailable => "; check edge.endpoint, and that the edge runs",
        _ => "",
    }
}

/// Rows that an OK answer says were rejected. An answer that cannot be read still is an OK.
pub(super) fn rejected_rows(signal: Signal, body: Bytes) -> u64 {
    let rejected = match signal {
        Signal::Metrics => {
            let answer = ExportMetricsServiceResponse::decode(body).unwrap_or_default();
            answer.partial_success.map_or(0, |partial| partial.rejected_data_points)
        }
        Signal::Logs => {
            let answer = ExportLogsServiceResponse::decode(body).unwrap_or_default();
            answer.partial_success.map_or(0, |partial| partial.rejected_log_records)
        }
    };
    u64::try_from(rejected).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;

    use super::*;

    /// Each code is kept for later, tried a bounded number of times, or given up.
    #[test]
    fn codes_have_verdicts() {
        let of = |code| verdict(&Status::new(code, "x"));
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Aborted, Code::Unauthenticated] {
            assert_eq!(of(code), Verdict::Later, "{code:?}");
        }
        for code in [Code::Internal, Code::Unknown, Code::ResourceExhausted, Code::OutOfRange, Code::DataLoss] {
            assert_eq!(of(code), Verdict::Failed, "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::Unimplemented, Code::NotFound, Code::FailedPrecondition] {
            assert_eq!(of(code), Verdict::Refused, "{code:?}");
        }
    }

    /// Pressure that says when to come back is waited out; a fault of our own connection does not count against the request.
    #[test]
    fn pressure_and_transport_are_waited_out() {
        let pressed = Status::with_details(Code::ResourceExhausted, "spool", Bytes::from_static(b"\x08\x08"));
        assert_eq!(verdict(&pressed), Verdict::Later);
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(verdict(&broken), Verdict::Later);
    }

    /// Rejected rows are read from the answer; nonsense counts as none.
    #[test]
    fn reads_partial_success() {
        let answer = |rejected_data_points| {
            let partial = ExportMetricsPartialSuccess { rejected_data_points, error_message: String::new() };
            Bytes::from(ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec())
        };
        assert_eq!(rejected_rows(Signal::Metrics, answer(7)), 7);
        assert_eq!(rejected_rows(Signal::Metrics, answer(-7)), 0);
        assert_eq!(rejected_rows(Signal::Logs, Bytes::new()), 0);
        assert_eq!(rejected_rows(Signal::Logs, Bytes::from_static(&[0xff; 9])), 0);
    }
}
