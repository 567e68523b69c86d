//! OTLP protobuf in, payload out.
use std::ops::Range;

use crate::identity::Signal;
use crate::otlp::Malformed;

/// Rows of one Export request that go into a batch.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// An Export request of the batch's signal, which [`scan`](crate::otlp::scan) accepted as canonical.
    pub body: &'a [u8],
    /// The rows to take, counted depth-first in the order of the body.
    pub rows: Range<u32>,
}

/// One encoded batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Arrow IPC in one zstd frame.
    pub payload: Vec<u8>,
    /// Rows in it.
    pub rows: u32,
    /// Bytes of OTLP that the rows took: of each part, its body's share by rows.
    pub raw_bytes: u64,
    /// Earliest time of a row that has one; 0 if none has.
    pub oldest_unix_nano: u64,
    /// Latest time of a row; 0 if none has one.
    pub newest_unix_nano: u64,
    /// Encoding version of the payload.
    pub encoding: u16,
}

/// Why a batch could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A part is not what the scan accepts.
    #[error("part {part}: {source}")]
    Malformed {
        /// Index of the part.
        part: usize,
        /// What is wrong with it.
        source: Malformed,
    },
    /// A part has fewer rows than asked for.
    #[error("part {part}: rows {asked:?} asked of {has}")]
    Rows {
        /// Index of the part.
        part: usize,
        /// The rows asked for.
        asked: Range<u32>,
        /// The rows it has.
        has: u32,
    },
    /// The parts or the columns are beyond what the format can address (4 GiB, 2^32 values).
    #[error("batch too large: {0}")]
    TooLarge(&'static str),
    /// Profiles have no columns yet.
    #[error("signal {0} is not supported")]
    Unsupported(Signal),
    /// zstd or Arrow failed.
    #[error("payload: {0}")]
    Container(String),
}

/// Encodes batches; keeps its dictionaries and buffers from batch to batch. One per thread of work.
#[derive(Default)]
pub struct Encoder {}

impl Encoder {
    /// An encoder that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes the rows of `parts` as one batch of `signal`.
    ///
    /// # Errors
    /// [`EncodeError`]; the encoder can be used on.
    pub fn encode(&mut self, signal: Signal, parts: &[Part<'_>]) -> Result<Encoded, EncodeError> {
        let _ = parts;
        Err(EncodeError::Unsupported(signal))
    }
}
