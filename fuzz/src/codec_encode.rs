//! Whatever the scan accepts is encoded, in any cut and by an encoder that knows other batches, and comes back as the same records.
//!
//! Input: signal (1), where to cut (1), body.

use federation_proto::codec::{DecodeLimits, Decoder, Encoded, Encoder, Part};
use federation_proto::identity::Signal;
use federation_proto::otlp::{Limits, Scan, normalise, scan};

use super::memory;
use super::support::rng::Rng;
use super::support::{SIGNALS, records};

/// Bytes of payload that a body may become, per byte of it and besides: a payload of nothing has its schema and its structure.
const PAYLOAD: (usize, usize) = (2, 4096);
/// Bytes of heap that encoding may take, per byte of the body and besides: dictionaries and buffers start at a fixed size.
const HEAP: (usize, usize) = (256, 4 << 20);

pub fn check(input: &[u8]) {
    let Some(([pick, cut], body)) = input.split_first_chunk() else { return };
    let signal = SIGNALS[usize::from(*pick) % SIGNALS.len()];
    let Some((body, found)) = usual(signal, body) else { return };
    let sent = records::sorted(records::of(signal, &body));
    let cut = (u64::from(found.rows) * u64::from(*cut) / 255) as u32;
    let part = |rows| Part { body: &body, rows };
    let mut encoder = Encoder::new();
    let (whole, taken) = memory::peak(|| encoder.encode(signal, &[part(0..found.rows)]).expect("a scanned body encodes"));
    assert!(taken <= body.len() * HEAP.0 + HEAP.1, "encoding {} bytes takes {taken}", body.len());
    assert_eq!(
        (whole.rows, whole.raw_bytes, whole.oldest_unix_nano, whole.newest_unix_nano),
        (found.rows, found.raw_bytes, found.oldest_unix_nano, found.newest_unix_nano)
    );
    assert_eq!(back(signal, &whole, body.len()), sent, "in one piece");
    let halves = [part(0..cut), part(cut..found.rows)];
    let mut received = Vec::new();
    for half in &halves {
        let encoded = encoder.encode(signal, std::slice::from_ref(half)).expect("rows that are there encode");
        received.extend(back(signal, &encoded, body.len()));
    }
    assert_eq!(records::sorted(received), sent, "in two batches, by an encoder that has seen them");
    let [first, second] = halves;
    let joined = encoder.encode(signal, &[second, first]).expect("parts encode");
    assert_eq!(joined.rows, found.rows);
    assert!(found.rows == 0 || joined.raw_bytes == found.raw_bytes, "the shares of the parts add up");
    assert_eq!(back(signal, &joined, body.len()), sent, "in two parts");
    encoder.encode(signal, &[part(0..found.rows + 1)]).expect_err("a row that is not there");
}

/// The body as the encoder takes it; `None` if it is no request.
fn usual(signal: Signal, body: &[u8]) -> Option<(Vec<u8>, Scan)> {
    let limits = Limits::default();
    let found = scan(signal, body, &limits).ok()?;
    if found.canonical {
        return Some((body.to_vec(), found));
    }
    let body = normalise(signal, body).expect("a valid body of few messages");
    let found = scan(signal, &body, &limits).expect("prost's own output");
    Some((body, found))
}

/// The records in a payload, sorted.
fn back(signal: Signal, encoded: &Encoded, body: usize) -> Vec<Vec<u8>> {
    assert!(encoded.payload.len() <= body * PAYLOAD.0 + PAYLOAD.1, "{} bytes of payload from {body}", encoded.payload.len());
    let columns = Decoder::decode(signal, encoded.encoding, &encoded.payload, &DecodeLimits::default()).expect("own payload decodes");
    assert_eq!((columns.signal(), columns.rows()), (signal, encoded.rows as usize));
    let otlp = columns.to_otlp();
    let found = scan(signal, &otlp, &Limits::default()).expect("what comes back is OTLP");
    assert!(found.canonical);
    assert_eq!(
        (found.rows, found.oldest_unix_nano, found.newest_unix_nano),
        (encoded.rows, encoded.oldest_unix_nano, encoded.newest_unix_nano)
    );
    records::sorted(records::of(signal, &otlp))
}

/// As for the scan, with a cut.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let mut input = super::otlp_scan::fresh(rng);
    input.insert(1, rng.next() as u8);
    input
}
