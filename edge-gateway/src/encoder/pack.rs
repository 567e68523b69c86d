//! From a closed batch to spool records. Pure work on what is handed in: no lock, no disk.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use federation_proto::codec::{EncodeError, Encoded, Encoder, Part};
use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Seq, Signal, SpoolId};

use crate::batcher::{Arrival, Closed, Key};
use crate::custody::{LogId, Sources};
use crate::spool::Stored;

/// One batch, ready for the spool.
#[derive(Debug)]
pub struct Batch {
    /// Its record's meta.
    pub stored: Stored,
    /// Its payload.
    pub payload: Bytes,
}

/// What became of a closed batch: mostly one batch to store. A part that cannot be encoded is singled out, so that one request
/// cannot take others with it.
#[derive(Debug, Default)]
pub struct Packed {
    /// To store.
    pub batches: Vec<Batch>,
    /// What no encoder takes.
    pub unencodable: Vec<Arrival>,
}

/// Encodes a closed batch.
#[must_use]
pub fn pack(encoder: &mut Encoder, closed: &Closed, inbox: LogId, spool: SpoolId) -> Packed {
    let mut packed = Packed::default();
    pack_parts(encoder, &closed.key, &closed.parts, (inbox, spool), &mut packed);
    packed
}

fn pack_parts(encoder: &mut Encoder, key: &Key, parts: &[Arrival], ids: (LogId, SpoolId), packed: &mut Packed) {
    match encode(encoder, key.signal, parts) {
        Ok(encoded) => packed.batches.push(batch(key, parts, encoded, ids)),
        Err(error) if parts.len() <= 1 => {
            tracing::error!(tenant = %key.tenant, signal = %key.signal, %error, "rows that passed the scan cannot be encoded; please report this");
            packed.unencodable.extend_from_slice(parts);
        }
        Err(_) => {
            let (left, right) = parts.split_at(parts.len() / 2);
            pack_parts(encoder, key, left, ids, packed);
            pack_parts(encoder, key, right, ids, packed);
        }
    }
}

/// A panic of the encoder costs the batch, not the worker.
fn encode(encoder: &mut Encoder, signal: Signal, parts: &[Arrival]) -> Result<Encoded, EncodeError> {
    let parts: Vec<Part<'_>> = parts.iter().map(|part| Part { body: &part.body, rows: part.rows.clone() }).collect();
    catch_unwind(AssertUnwindSafe(|| encoder.encode(signal, &parts))).unwrap_or_else(|_| {
        *encoder = Encoder::new();
        Err(EncodeError::Container("the encoder panicked".to_owned()))
    })
}

fn batch(key: &Key, parts: &[Arrival], encoded: Encoded, (inbox, spool): (LogId, SpoolId)) -> Batch {
    let header = BatchHeader {
        id: BatchId { spool, seq: Seq(0) },
        tenant: key.tenant.clone(),
        signal: key.signal,
        class: key.class,
        rows: encoded.rows,
        raw_bytes: encoded.raw_bytes,
        oldest_unix_nano: encoded.oldest_unix_nano,
        newest_unix_nano: encoded.newest_unix_nano,
        encoding: encoded.encoding,
        payload_len: u32::try_from(encoded.payload.len()).unwrap_or(u32::MAX),
        payload_crc: crc32c::crc32c(&encoded.payload),
    };
    Batch { stored: Stored { header, sources: Sources::of(inbox, parts) }, payload: Bytes::from(encoded.payload) }
}
