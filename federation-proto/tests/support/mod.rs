//! What the property tests share: arbitrary OTLP, and records in a form in which equal means equal to the bit.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "a test stops at what it did not expect")]

pub mod arbitrary;
pub mod json;
pub mod realistic;
pub mod records;
pub mod rng;

use federation_proto::codec::{DecodeError, DecodeLimits, Decoder, Encoded, Encoder, Part};
use federation_proto::columns::Columns;
use federation_proto::identity::Signal;
use federation_proto::otlp::{Limits, normalise, scan};

/// The signals that have columns.
pub const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

/// Encodes all rows of these bodies, which need not be canonical.
pub fn encode(encoder: &mut Encoder, signal: Signal, bodies: &[Vec<u8>]) -> Encoded {
    let bodies: Vec<Vec<u8>> = bodies.iter().map(|body| canonical(signal, body)).collect();
    let parts: Vec<Part<'_>> = bodies.iter().map(|body| Part { body, rows: 0..rows(signal, body) }).collect();
    encoder.encode(signal, &parts).expect("scanned bodies encode")
}

/// The body, re-encoded if it is unusual.
pub fn canonical(signal: Signal, body: &[u8]) -> Vec<u8> {
    let found = scan(signal, body, &Limits::default()).expect("valid body");
    if found.canonical { body.to_vec() } else { normalise(signal, body).expect("valid body") }
}

pub fn rows(signal: Signal, body: &[u8]) -> u32 {
    scan(signal, body, &Limits::default()).expect("valid body").rows
}

pub fn decode(signal: Signal, encoded: &Encoded) -> Columns {
    Decoder::decode(signal, encoded.encoding, &encoded.payload, &DecodeLimits::default()).expect("own payload decodes")
}

pub fn try_decode(signal: Signal, payload: &[u8]) -> Result<Columns, DecodeError> {
    let limits = DecodeLimits { max_raw_bytes: 8 << 20, max_rows: 100_000, max_memory_bytes: 16 << 20, max_text_bytes: 16 << 20 };
    Decoder::decode(signal, federation_proto::codec::ENCODING, payload, &limits)
}

/// An arbitrary body of this many rows or more.
pub fn body_with_rows(signal: Signal, at_least: u32) -> Vec<u8> {
    let size = 2 + at_least as usize / 4;
    (0..).map(|seed| arbitrary::Nasty::new(seed, size).body(signal)).find(|body| rows(signal, body) >= at_least).expect("endless")
}
