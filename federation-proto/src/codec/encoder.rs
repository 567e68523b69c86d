//! OTLP protobuf in, payload out.

use std::ops::Range;

use super::ENCODING;
use super::container::Packer;
use super::origins::Origins;
use super::request::{self, Records, Window};
use super::source::Sources;
use super::streams::Streams;
use super::{log, metric, trace};
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
    /// The parts or the columns are beyond what the format can address (bodies of 1 GiB, 2 GiB of streams, 65,536 streams).
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
///
/// What it keeps is bounded: the buffers by the largest batch it has seen, dictionaries and shapes by caps beyond which they start afresh.
#[derive(Default)]
pub struct Encoder {
    traces: Lane<trace::Spans>,
    logs: Lane<log::Logs>,
    metrics: Lane<metric::Points>,
    streams: Streams,
    packer: Packer,
}

/// What one signal keeps.
#[derive(Default)]
struct Lane<R> {
    records: R,
    origins: Origins,
}

impl Encoder {
    /// An encoder that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes the rows of `parts` as one batch of `signal`. Resources, scopes and metrics of which no row is taken are not kept, nor are
    /// unknown fields of records, resources and scopes.
    ///
    /// # Errors
    /// [`EncodeError`]; the encoder can be used on.
    pub fn encode(&mut self, signal: Signal, parts: &[Part<'_>]) -> Result<Encoded, EncodeError> {
        let Self { traces, logs, metrics, streams, packer } = self;
        match signal {
            Signal::Traces => traces.encode(signal, parts, streams, packer),
            Signal::Logs => logs.encode(signal, parts, streams, packer),
            Signal::Metrics => metrics.encode(signal, parts, streams, packer),
            Signal::Profiles => Err(EncodeError::Unsupported(signal)),
        }
    }
}

impl<R: Records> Lane<R> {
    fn encode(&mut self, signal: Signal, parts: &[Part<'_>], streams: &mut Streams, packer: &mut Packer) -> Result<Encoded, EncodeError> {
        let sources = Sources::new(parts)?;
        self.records.begin();
        self.origins.begin();
        let mut raw_bytes = 0;
        for (index, ((start, body), part)) in sources.parts().zip(parts).enumerate() {
            let mut window = Window::new(part.rows.clone());
            request::walk(&mut self.records, &mut self.origins, start, body, &mut window).map_err(|source| EncodeError::Malformed {
                part: index,
                source: Malformed { at: source.at.saturating_sub(start), ..source },
            })?;
            let has = window.seen();
            if part.rows.end > has {
                return Err(EncodeError::Rows { part: index, asked: part.rows.clone(), has });
            }
            raw_bytes += share(body.len() as u64, &part.rows, has);
        }
        let rows = u32::try_from(self.records.rows()).map_err(|_| EncodeError::TooLarge("rows"))?;
        streams.begin();
        streams.number(u64::from(signal as u8));
        streams.number(u64::from(rows));
        self.records.finish(&mut self.origins, &sources, streams)?;
        let (rows_of_streams, data) = streams.finish();
        let payload = packer.pack(&rows_of_streams, data)?;
        let (oldest_unix_nano, newest_unix_nano) = self.records.times().oldest_newest();
        Ok(Encoded { payload, rows, raw_bytes, oldest_unix_nano, newest_unix_nano, encoding: ENCODING })
    }
}

/// The bytes of a body that `rows` of its `has` rows stand for: shares of disjoint ranges add up to the whole.
fn share(body: u64, rows: &Range<u32>, has: u32) -> u64 {
    let up_to = |row: u32| (u128::from(body) * u128::from(row)).checked_div(u128::from(has)).unwrap_or(u128::from(body)) as u64;
    if has == 0 { body } else { up_to(rows.end).saturating_sub(up_to(rows.start)) }
}
