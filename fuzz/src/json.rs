//! What OTLP/JSON is accepted becomes a canonical request within its cap; what is not is refused in a line that repeats little of it.
//!
//! Input: signal (1), cap in units of 64 bytes or none (1), text.

use federation_proto::identity::Signal;
use federation_proto::otlp::json::{JsonFault, to_protobuf};
use federation_proto::otlp::{Limits, scan};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::mutate::Bytes;
use super::support::SIGNALS;
use super::support::rng::Rng;
use super::{memory, mutate, otlp_scan};

const NO_CAP: usize = 1 << 20;

pub fn check(input: &[u8]) {
    let Some(([pick, cap], text)) = input.split_first_chunk() else { return };
    let signal = SIGNALS[usize::from(*pick) % SIGNALS.len()];
    let cap = if *cap == 0 { NO_CAP } else { usize::from(*cap) * 64 };
    let (converted, taken) = memory::peak(|| to_protobuf(signal, text, cap));
    // The output and the longest string, each up to three times while it grows.
    assert!(taken <= 3 * cap.min(4 * text.len()) + 3 * text.len() + 4096, "{} bytes of JSON take {taken}", text.len());
    match converted {
        Ok(body) => {
            assert!(body.len() <= cap && body.len() <= 4 * text.len(), "{} bytes from {}", body.len(), text.len());
            let found = scan(signal, &body, &Limits::default()).expect("what was written is OTLP");
            assert!(found.canonical, "what was written is canonical");
        }
        Err(error) => {
            let line = error.to_string();
            assert!(!line.is_empty() && line.len() < 4096, "{line}");
            if matches!(error.fault, JsonFault::TooLarge(_)) {
                let whole = to_protobuf(signal, text, NO_CAP);
                assert!(whole.is_err() || whole.is_ok_and(|body| body.len() > cap), "it fits");
            }
        }
    }
}

/// A request as a shop sends it, or a nasty one, as opentelemetry-proto writes it.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let input = otlp_scan::fresh(rng);
    let (pick, body) = (input[0], &input[1..]);
    let text = match SIGNALS[usize::from(pick)] {
        Signal::Traces => serde_json::to_vec(&ExportTraceServiceRequest::decode(body).expect("own request")),
        Signal::Logs => serde_json::to_vec(&ExportLogsServiceRequest::decode(body).expect("own request")),
        _ => serde_json::to_vec(&ExportMetricsServiceRequest::decode(body).expect("own request")),
    };
    let cap = if rng.one_in(8) { rng.next() as u8 } else { 0 };
    [&[pick, cap][..], &text.unwrap_or_default()].concat()
}

/// Exchanges tokens.
pub fn change(input: &[u8], rng: &mut Rng, _: &mut Bytes<'_>) -> Option<Vec<u8>> {
    const VALUES: &[&str] = &[
        "null",
        "true",
        "0",
        "-0.0",
        "1e400",
        "5e0",
        "9223372036854775808",
        "\"-1\"",
        "\"NaN\"",
        "\"Infinity\"",
        "\"\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "{}",
        "[]",
        "{",
        "[",
        "]",
        "}",
        ",",
        "[[[[[[[[",
        "{\"a\":",
        "\"stringValue\":",
        "\"doubleValue\":",
        "\"bytesValue\":\"AA==\"",
        "\"arrayValue\":{\"values\":[",
        "\"kvlistValue\":",
        "\"traceId\":\"0aB\"",
        "\"kind\":3",
        "\"timeUnixNano\":\"1\"",
    ];
    let (head, text) = input.split_at_checked(2)?;
    let text = mutate::words(std::str::from_utf8(text).ok()?, &[',', '{', '}', '[', ']', ':'], VALUES, rng)?;
    Some([head, text.as_bytes()].concat())
}
