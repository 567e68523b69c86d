//! What an OTLP receiver answers: `google.rpc.Status` for a refusal, with `RetryInfo` where the sender is to come again, and the partial
//! success of a request that was taken but for some rows. gRPC has the status in its trailer `grpc-status-details-bin`, HTTP as the body.

use std::time::Duration;

use prost::Message;

/// The type of the detail that says when to come again.
pub const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`.
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

/// `Export*ServiceResponse`: of one form for all signals.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// What a receiver says beside OK.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PartialSuccess {
    /// Rows that it did not take and never will.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// Why, or a warning if none was rejected.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// A refusal as bytes of `google.rpc.Status`; with `retry_after` the sender is to send the same again, then.
#[must_use]
pub fn encode(code: i32, message: &str, retry_after: Option<Duration>) -> Vec<u8> {
    let details = retry_after.map(|after| {
        let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
        let delay = RpcDuration { seconds, nanos: after.subsec_nanos().cast_signed() };
        Any { type_url: RETRY_INFO.to_owned(), value: RetryInfo { retry_delay: Some(delay) }.encode_to_vec() }
    });
    RpcStatus { code, message: message.to_owned(), details: details.into_iter().collect() }.encode_to_vec()
}

/// When to send the same again, if these bytes of `google.rpc.Status` say so. Anything else says nothing.
#[must_use]
pub fn retry_after(status: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(status).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url == RETRY_INFO)?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    Some(Duration::new(u64::try_from(delay.seconds).unwrap_or(0), u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999)))
}

/// The gRPC code in these bytes of `google.rpc.Status`; 0, which no refusal has, if they are none.
#[must_use]
pub fn code(status: &[u8]) -> i32 {
    RpcStatus::decode(status).map(|status| status.code).unwrap_or_default()
}

/// The message of these bytes of `google.rpc.Status`; empty if they are none.
#[must_use]
pub fn message(status: &[u8]) -> String {
    RpcStatus::decode(status).map(|status| status.message).unwrap_or_default()
}

/// What an OK says beside that. An answer that cannot be read is an OK all the same.
#[must_use]
pub fn partial_success(response: &[u8]) -> Option<PartialSuccess> {
    Response::decode(response).ok()?.partial_success
}

/// An answer that took all but `rejected` rows.
#[must_use]
pub fn encode_partial_success(rejected: i64, message: &str) -> Vec<u8> {
    Response { partial_success: Some(PartialSuccess { rejected, message: message.to_owned() }) }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};

    use super::*;

    /// A sender reads the wait that a receiver wrote; without one, and from noise, none.
    #[test]
    fn a_wait_comes_back() {
        let wait = Duration::from_millis(2500);
        assert_eq!(retry_after(&encode(8, "full", Some(wait))), Some(wait));
        assert_eq!(retry_after(&encode(8, "full", None)), None);
        let plain = encode(8, "full", None);
        assert_eq!((code(&plain), message(&plain).as_str()), (8, "full"));
        assert_eq!((retry_after(b"noise"), code(b"noise"), message(b"noise").as_str()), (None, 0, ""));
    }

    /// Rejected rows are read from the answer of any signal; an empty answer and noise reject nothing.
    #[test]
    fn reads_partial_success() {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "too old".to_owned() };
        let response = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(partial_success(&response), Some(PartialSuccess { rejected: 3, message: "too old".to_owned() }));
        assert_eq!(encode_partial_success(3, "too old"), response);
        assert_eq!((partial_success(&[]), partial_success(&[0xff; 9])), (None, None));
    }
}
