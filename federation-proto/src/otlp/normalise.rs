//! The slow way for unusual bodies: through prost's structs and back, after which each field stands once, in its usual form.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::{Fault, Malformed};
use crate::identity::Signal;

/// Re-encodes a body that [`scan`](super::scan) found valid but not canonical. Unknown fields go, the last of a repeated singular field
/// stays, as in any protobuf reader. Memory: prost's structs, a small multiple of the body.
///
/// # Errors
/// [`Malformed`] if prost refuses the body, or for a signal without an OTLP form here.
pub fn normalise(signal: Signal, body: &[u8]) -> Result<Vec<u8>, Malformed> {
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
