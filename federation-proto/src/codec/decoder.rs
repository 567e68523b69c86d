//! Payload in, columns out. Trusts nothing of what it reads.

use super::container;
use super::payload::Payload;
use super::{log, metric, trace};
use crate::columns::Columns;
use crate::identity::Signal;

/// What decoding one batch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest decompressed payload, bytes.
    pub max_raw_bytes: usize,
    /// Most rows.
    pub max_rows: u32,
    /// Most memory for the columns, bytes (the decompressed payload comes on top).
    pub max_memory_bytes: usize,
    /// Most bytes that the strings and byte strings of all rows may have when each row's are written out, keys included.
    pub max_text_bytes: usize,
}

impl DecodeLimits {
    /// Most rows by default: what a batch with more would cost is not worth finding out.
    pub const MAX_ROWS: u32 = 1 << 20;
}

impl Default for DecodeLimits {
    /// 64 MiB decompressed, a million rows, 256 MiB of columns, 256 MiB of text.
    fn default() -> Self {
        Self { max_raw_bytes: 64 << 20, max_rows: Self::MAX_ROWS, max_memory_bytes: 256 << 20, max_text_bytes: 256 << 20 }
    }
}

/// Why a payload is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// An encoding that this version cannot read.
    #[error("encoding {0} is unknown (this version reads {known})", known = super::ENCODING)]
    Encoding(u16),
    /// Profiles have no columns yet.
    #[error("signal {0} is not supported")]
    Unsupported(Signal),
    /// Beyond a limit of [`DecodeLimits`].
    #[error("payload exceeds its limit: {0}")]
    Limit(&'static str),
    /// Not one zstd frame.
    #[error("zstd: {0}")]
    Compression(String),
    /// Not the Arrow IPC stream that the format is.
    #[error("container: {0}")]
    Container(&'static str),
    /// A column that does not fit what the format says.
    #[error("column {column}: {what}")]
    Column {
        /// Its number.
        column: u32,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Decodes payloads. Keeps nothing from one to the next.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decoder;

impl Decoder {
    /// Decodes one payload, which may come from anyone: sizes are checked against `limits` before memory is taken, every index and
    /// string once.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(signal: Signal, encoding: u16, payload: &[u8], limits: &DecodeLimits) -> Result<Columns, DecodeError> {
        if encoding != super::ENCODING {
            return Err(DecodeError::Encoding(encoding));
        }
        let container = container::unpack(payload, limits)?;
        let mut payload = Payload::new(&container, limits)?;
        if payload.number()? != usize::from(signal as u8) {
            return Err(payload.bad("another signal"));
        }
        let rows = payload.number()?;
        if rows > limits.max_rows as usize {
            return Err(DecodeError::Limit("rows"));
        }
        let columns = match signal {
            Signal::Traces => Columns::Traces(trace::decode(&mut payload, rows)?),
            Signal::Logs => Columns::Logs(log::decode(&mut payload, rows)?),
            Signal::Metrics => Columns::Metrics(metric::decode(&mut payload, rows)?),
            Signal::Profiles => return Err(DecodeError::Unsupported(signal)),
        };
        payload.finish()?;
        Ok(columns)
    }
}
