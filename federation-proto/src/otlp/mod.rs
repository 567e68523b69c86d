//! OTLP protobuf as it comes off the wire: what is valid, how many rows it has, and when they are from.
//!
//! [`scan`] is the one gate before anything is stored: a single pass over the bytes, table-driven (`schema`), that accepts exactly what
//! prost accepts for the Export requests of opentelemetry-proto 0.33. It allocates nothing and recurses at most 100 deep.
//!
//! A *row* is a span, a log record or a metric data point; counted depth-first in the order of the body. A metric without points has none.

pub mod json;
pub(crate) mod plain;
mod scan;
pub(crate) mod schema;
pub(crate) mod wire;

mod normalise;
mod service;
pub mod status;

#[cfg(test)]
mod tests;

pub use normalise::{MAX_MESSAGES, normalise};
pub(crate) use scan::check;
pub use scan::scan;
pub use service::{grpc_path, http_path};

/// What a scan may accept. Both limits are checked before and during the pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest body, bytes.
    pub max_bytes: usize,
    /// Most rows in one body; and most events, links, exemplars and quantiles in it, all together. Of counts of exponential buckets, which
    /// may be as short as a byte, it may have four times as many.
    pub max_rows: u32,
}

impl Default for Limits {
    /// 64 MiB and a million rows.
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_rows: 1 << 20 }
    }
}

/// What one pass over a valid Export request found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Spans, log records or data points.
    pub rows: u32,
    /// Length of the body, bytes.
    pub raw_bytes: u64,
    /// Whether the codec's parser reads this body as prost would. If not (a singular field twice, two members of a oneof, an unpacked
    /// repeated number), pass it through [`normalise`] and scan the result: its rows may differ.
    pub canonical: bool,
    /// Earliest time of a row that has one (span start, log time or else observed time, point time); 0 if none has.
    pub oldest_unix_nano: u64,
    /// Latest time of a row; 0 if none has one.
    pub newest_unix_nano: u64,
}

/// Why a body is not a valid Export request, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed OTLP at byte {at}: {fault}")]
pub struct Malformed {
    /// Offset into the body, bytes.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A field or message ends beyond what holds it.
    #[error("truncated")]
    Truncated,
    /// A varint beyond ten bytes or 64 bits.
    #[error("varint too long")]
    Varint,
    /// Field number 0, a key beyond 32 bits or an undefined wire type.
    #[error("invalid field key")]
    Key,
    /// A known field with another wire type than its declaration.
    #[error("wrong wire type for a known field")]
    WireType,
    /// An end of group that nothing opened.
    #[error("unexpected end of group")]
    Group,
    /// A string field that is not UTF-8.
    #[error("string is not UTF-8")]
    Utf8,
    /// More than 100 messages in one another.
    #[error("nested too deeply (limit 100)")]
    Depth,
    /// More rows than [`Limits::max_rows`].
    #[error("too many rows in one request")]
    TooManyRows,
    /// More events, links, exemplars, quantiles or bucket counts than [`Limits::max_rows`] allows.
    #[error("too many events, links, exemplars, quantiles or bucket counts in one request")]
    TooManyParts,
    /// A body longer than [`Limits::max_bytes`].
    #[error("request too large")]
    TooLarge,
    /// A signal that has no OTLP scan here (profiles).
    #[error("signal is not supported")]
    Unsupported,
    /// prost refused what [`scan`] accepted; a bug here, reported rather than hidden.
    #[error("refused by prost")]
    Prost,
}
