//! The slow way for unusual bodies: through prost's structs and back, after which each field stands once, in its usual form.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::scan::count_messages;
use super::{Fault, Malformed};
use crate::identity::Signal;

/// Messages that an unusual body may have: as prost's structs each takes up to some 400 bytes, though on the wire two may do. About
/// 8,000 spans of a dozen attributes; senders that write the usual form, as all known ones do, are not bound by it.
pub const MAX_MESSAGES: u64 = 1 << 17;

/// Re-encodes a body that [`scan`](super::scan) found valid but not canonical. Unknown fields go, the last of a repeated singular field
/// stays, as in any protobuf reader. prost does not write zeros of either sign: a sum or quantile of a summary, or a zero threshold, of -0.0
/// becomes 0.0, here and nowhere else. Memory: prost's structs, at most about 50 MiB ([`MAX_MESSAGES`]) and twice the body.
///
/// # Errors
/// [`Malformed`] if prost refuses the body or it has more than [`MAX_MESSAGES`], or for a signal without an OTLP form here.
pub fn normalise(signal: Signal, body: &[u8]) -> Result<Vec<u8>, Malformed> {
    if count_messages(signal, body)? > MAX_MESSAGES {
        return Err(Malformed { at: 0, fault: Fault::TooManyParts });
    }
    match signal {
        Signal::Traces => again::<ExportTraceServiceRequest>(body),
        Signal::Logs => again::<ExportLogsServiceRequest>(body),
        Signal::Metrics => again::<ExportMetricsServiceRequest>(body),
        Signal::Profiles => Err(Malformed { at: 0, fault: Fault::Unsupported }),
    }
}

fn again<M: Message + Default>(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    M::decode(body).map(|m| m.encode_to_vec()).map_err(|_| Malformed { at: 0, fault: Fault::Prost })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of two-byte messages, which prost's structs would make hundreds of times larger, is refused before they are made.
    #[test]
    fn tiny_messages_are_not_blown_up() {
        let spans = |count: u64| {
            let scope: Vec<u8> = std::iter::repeat_n([0x12, 0], count as usize).flatten().collect();
            let scope = [vec![0x12], varint(scope.len()), scope].concat();
            [vec![0x0a], varint(scope.len()), scope].concat()
        };
        assert_eq!(normalise(Signal::Traces, &spans(MAX_MESSAGES)), Err(Malformed { at: 0, fault: Fault::TooManyParts }));
        assert_eq!(normalise(Signal::Traces, &spans(1000)).map(|body| body.len()), Ok(spans(1000).len()));
    }

    fn varint(value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(value as u64, &mut bytes);
        bytes
    }
}
