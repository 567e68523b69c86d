//! The columnar codec: OTLP protobuf to a batch's payload, and a payload to [`Columns`](crate::columns::Columns).
//!
//! Encoding goes from protobuf bytes into columns without message structs: `request` walks the levels, one module per signal (`trace`,
//! `log`, `metric`) takes its records in and writes its columns, out of the same building blocks: integers and bytes
//! (`streams`), strings that choose between a dictionary, patterns with numbers and plain (`strings`, `patterns`), attribute sets (`attrs`), resources and scopes
//! (`origins`). Decoding mirrors it, in a `decode` module beside each; nothing it reads is trusted (`payload`, `container`).
//!
//! # The payload, encoding version 2
//!
//! One zstd frame that states its size; in it an Arrow IPC stream: the schema, one record batch, the end marker. The record batch has one
//! row per *stream*:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `column` | uint32 | number of the column that the stream belongs to |
//! | `kind` | uint8 | class of its bytes: 0 text, 1 planes, 2 noise |
//! | `width` | uint8 | integers: byte planes of the column (kind 1), of them in this stream (kind 2); bytes: 0 |
//! | `values` | uint32 | integers in the column (kind 1), else 0 |
//! | `base` | uint64 | integers: what is added to each, wrapping (kind 1), else 0 |
//! | `data` | binary | the bytes |
//!
//! Rows are ordered by (kind, column), so that `data` holds each class in one piece; zstd blocks end where a class does.
//!
//! Columns are numbered in the order in which a signal's module writes them. Column 0 is the *structure*: varints (signal, rows, counts,
//! forms, shapes) and length-prefixed keys, which the decoder reads along with the columns. A column is one of
//! - integers: `base` + the value of their byte planes, lowest plane first; the lowest planes of times and the like are of kind 2, the
//!   others of kind 1. No stream at all means zeros, a stream without planes means all equal to `base`.
//! - bytes: of kind 0, or 2 for ids; how they divide is told by a column of lengths before them. No stream means none.
//!
//! What stands in the columns, and in what order, is in the modules of the signals and building blocks.
//!
//! # What is kept
//!
//! The batch is equal to what came in as a set of records with all fields of opentelemetry-proto 0.33, bit by bit, with the order of
//! attributes, events, links, exemplars, buckets and quantiles within a record. Not kept: the order of records; resources, scopes and metrics
//! without rows; unknown fields (within nested values they are); which of several equal resources, scopes or metrics a record stood under.

mod attrs;
mod container;
mod decoder;
mod dictionary;
mod encoder;
mod log;
mod metric;
mod origins;
mod patterns;
mod payload;
mod request;
mod sort;
mod source;
mod streams;
mod strings;
#[cfg(test)]
mod tests;
mod trace;

pub use decoder::{DecodeError, DecodeLimits, Decoder};
pub use encoder::{EncodeError, Encoded, Encoder, Part};

/// The encoding that this version writes and reads.
pub const ENCODING: u16 = 2;
