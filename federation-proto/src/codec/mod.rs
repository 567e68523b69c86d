//! The columnar codec (being written: bodies are placeholders).

mod decoder;
mod encoder;

pub use decoder::{DecodeError, DecodeLimits, Decoder};
pub use encoder::{EncodeError, Encoded, Encoder, Part};

/// The encoding that this version writes and reads.
pub const ENCODING: u16 = 1;
