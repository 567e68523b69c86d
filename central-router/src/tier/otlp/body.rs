//! A piece as the body of a request.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;

use super::config::{Compression, Protocol};
use super::work::Piece;
use crate::tier::Unit;

/// gRPC: compressed or not, then the message's length.
const GRPC_PREFIX: usize = 5;
/// Level of zstd.
const ZSTD_LEVEL: i32 = 3;

/// Why there is no body.
#[derive(Debug)]
pub(super) enum Unsendable {
    /// It would have this many bytes.
    TooLarge(usize),
    /// The compressor failed.
    Compressor(io::Error),
}

/// A body, and how long it is before compression.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) plain_bytes: usize,
}

/// Encodes and compresses a piece. Takes a while: not for a thread of the runtime.
pub(super) fn encode(unit: &Unit, piece: &Piece, protocol: Protocol, form: Compression, most: usize) -> Result<Body, Unsendable> {
    let mut message = Vec::new();
    for (batch, rows) in &piece.parts {
        let request = unit.batches[*batch].columns.rows_to_otlp(rows.clone());
        let bytes = message.len() + request.len();
        if bytes > most {
            return Err(Unsendable::TooLarge(bytes));
        }
        if message.is_empty() { message = request } else { message.extend_from_slice(&request) }
    }
    let room = if protocol == Protocol::Grpc { GRPC_PREFIX } else { 0 };
    let mut body = vec![0; room];
    compress(&message, form, &mut body).map_err(Unsendable::Compressor)?;
    if protocol == Protocol::Grpc {
        let len = u32::try_from(body.len() - GRPC_PREFIX).map_err(|_| Unsendable::TooLarge(body.len()))?;
        body[0] = u8::from(form != Compression::None);
        body[1..GRPC_PREFIX].copy_from_slice(&len.to_be_bytes());
    }
    Ok(Body { bytes: Bytes::from(body), plain_bytes: message.len() })
}

fn compress(message: &[u8], form: Compression, out: &mut Vec<u8>) -> io::Result<()> {
    match form {
        Compression::None => out.extend_from_slice(message),
        Compression::Gzip => {
            let mut gzip = GzEncoder::new(out, flate2::Compression::fast());
            gzip.write_all(message)?;
            gzip.finish()?;
        }
        Compression::Zstd => out.append(&mut zstd::bulk::compress(message, ZSTD_LEVEL)?),
    }
    Ok(())
}
