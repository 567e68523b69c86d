//! What the tests of several modules need: headers, batches, times.

use std::time::Instant;

use federation_proto::codec::{ENCODING, Encoder, Part};
use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Class, Seq, Signal, SpoolId, TenantId};

/// An origin for times that a test makes up.
#[expect(clippy::disallowed_methods, reason = "an origin for times that a test makes up")]
pub(crate) fn origin() -> Instant {
    Instant::now()
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) fn batch_id(spool: u8, seq: u64) -> BatchId {
    BatchId { spool: SpoolId([spool; 16]), seq: Seq(seq) }
}

/// A header of 10 rows of acme's logs, with the payload given.
pub(crate) fn header(spool: u8, seq: u64, payload: &[u8]) -> BatchHeader {
    BatchHeader {
        id: batch_id(spool, seq),
        tenant: tenant("acme"),
        signal: Signal::Logs,
        class: Class::Medium,
        rows: 10,
        raw_bytes: 1000,
        oldest_unix_nano: 1,
        newest_unix_nano: 2,
        encoding: ENCODING,
        payload_len: payload.len() as u32,
        payload_crc: crc32c::crc32c(payload),
    }
}

/// A batch as an edge sends it, of an Export request's bytes.
pub(crate) fn encoded(id: BatchId, of: &str, signal: Signal, body: &[u8]) -> (BatchHeader, Vec<u8>) {
    let scan = federation_proto::otlp::scan(signal, body, &federation_proto::otlp::Limits::default()).unwrap();
    let encoded = Encoder::new().encode(signal, &[Part { body, rows: 0..scan.rows }]).unwrap();
    let header = BatchHeader {
        id,
        tenant: tenant(of),
        signal,
        class: Class::Medium,
        rows: encoded.rows,
        raw_bytes: encoded.raw_bytes,
        oldest_unix_nano: encoded.oldest_unix_nano,
        newest_unix_nano: encoded.newest_unix_nano,
        encoding: encoded.encoding,
        payload_len: encoded.payload.len() as u32,
        payload_crc: crc32c::crc32c(&encoded.payload),
    };
    (header, encoded.payload)
}
