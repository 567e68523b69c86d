//! Columns into data points by row.

use super::KINDS;
use super::points::table;
use crate::codec::decoder::DecodeError;
use crate::codec::payload::Payload;
use crate::codec::streams::Kind;
use crate::codec::{attrs, origins};
use crate::columns::{Buckets, Exemplars, Exponentials, Histograms, Metrics, Numbers, Points, Summaries};

/// Messages that may stand in a KeyValue of a metric's metadata, of a point, and of an exemplar.
const METADATA_DEPTH: u32 = 96;
const POINT_DEPTH: u32 = 94;
const EXEMPLAR_DEPTH: u32 = 93;
/// Memory that an exemplar or a quantile stands for, whether or not its columns take any.
const CHILD_BYTES: usize = 16;

/// Reads `rows` data points.
pub(crate) fn points(payload: &mut Payload<'_>, rows: usize) -> Result<Points, DecodeError> {
    let origins = origins::decode(payload, rows)?;
    let (metrics, kinds) = metrics(payload)?;
    let metric = payload.ints_below(rows, kinds.len())?;
    let attrs = attrs::decode(payload, rows, POINT_DEPTH)?;
    let start = payload.ints(rows)?;
    let time = payload.ints(rows)?;
    let flags = payload.ints(rows)?;

    payload.charge(rows, 4)?;
    let mut counts = [0u32; 4];
    let mut place = Vec::with_capacity(rows);
    for metric in metric.iter() {
        let count = &mut counts[table(kinds[metric as usize])];
        place.push(*count);
        *count += 1;
    }
    let [numbers, histograms, exponentials, summaries] = counts.map(|count| count as usize);
    let numbers = self::numbers(payload, numbers)?;
    let histograms = self::histograms(payload, histograms)?;
    let exponentials = self::exponentials(payload, exponentials)?;
    let summaries = self::summaries(payload, summaries)?;
    let exemplar_rows = payload.offsets(rows, CHILD_BYTES)?;
    let exemplars = exemplars(payload, exemplar_rows.total())?;
    Ok(Points {
        rows,
        origins,
        metrics,
        metric,
        attrs,
        start,
        time,
        flags,
        place,
        numbers,
        histograms,
        exponentials,
        summaries,
        exemplar_rows,
        exemplars,
    })
}

/// The metrics, and the number of each one's kind.
fn metrics(payload: &mut Payload<'_>) -> Result<(Metrics, Vec<u8>), DecodeError> {
    let count = payload.number()?;
    payload.charge(count, 2)?;
    let numbers: Vec<u8> = payload.ints_below(count, KINDS.len())?.iter().map(|kind| kind as u8).collect();
    let metrics = Metrics {
        kinds: numbers.iter().map(|&kind| KINDS[usize::from(kind)].0).collect(),
        name: payload.strings(count)?,
        description: payload.strings(count)?,
        unit: payload.strings(count)?,
        temporality: payload.ints(count)?,
        monotonic: payload.ints(count)?,
        metadata: attrs::decode(payload, count, METADATA_DEPTH)?,
    };
    Ok((metrics, numbers))
}

fn numbers(payload: &mut Payload<'_>, rows: usize) -> Result<Numbers, DecodeError> {
    Ok(Numbers { ints: payload.sparse(rows)?, doubles: payload.sparse(rows)? })
}

fn histograms(payload: &mut Payload<'_>, rows: usize) -> Result<Histograms, DecodeError> {
    let count = payload.ints(rows)?;
    let sum = payload.sparse(rows)?;
    let min = payload.sparse(rows)?;
    let max = payload.sparse(rows)?;
    let bucket_rows = payload.offsets(rows, 0)?;
    let buckets = payload.list(bucket_rows.total())?;
    let lists = payload.number()?;
    let bytes = payload.blobs(Kind::Text, lists)?;
    let bounds_of = payload.ints_below(rows, lists)?;
    let mut ends = vec![0u32];
    let mut bounds = Vec::new();
    payload.charge(lists, 4)?;
    for list in 0..lists {
        let (doubles, rest) = bytes.get(list).as_chunks::<8>();
        if !rest.is_empty() {
            return Err(payload.bad("bounds are not doubles"));
        }
        bounds.extend(doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        ends.push(bounds.len() as u32);
    }
    for list in bounds_of.iter() {
        payload.write_out(1, bytes.get(list as usize).len())?;
    }
    let bounds_rows = crate::columns::Offsets::Ends(ends);
    Ok(Histograms { count, sum, min, max, bucket_rows, buckets, bounds_of, bounds_rows, bounds })
}

fn exponentials(payload: &mut Payload<'_>, rows: usize) -> Result<Exponentials, DecodeError> {
    Ok(Exponentials {
        count: payload.ints(rows)?,
        sum: payload.sparse(rows)?,
        min: payload.sparse(rows)?,
        max: payload.sparse(rows)?,
        scale: payload.ints(rows)?,
        zero_count: payload.ints(rows)?,
        zero_threshold: payload.ints(rows)?,
        positive: side(payload, rows)?,
        negative: side(payload, rows)?,
    })
}

fn side(payload: &mut Payload<'_>, rows: usize) -> Result<Buckets, DecodeError> {
    let offset = payload.sparse(rows)?;
    let counts_of = payload.offsets(rows, 0)?;
    let counts = payload.list(counts_of.total())?;
    Ok(Buckets { offset, rows: counts_of, counts })
}

fn summaries(payload: &mut Payload<'_>, rows: usize) -> Result<Summaries, DecodeError> {
    let count = payload.ints(rows)?;
    let sum = payload.ints(rows)?;
    let quantile_rows = payload.offsets(rows, CHILD_BYTES)?;
    let total = quantile_rows.total();
    Ok(Summaries { count, sum, quantile_rows, quantiles: payload.ints(total)?, values: payload.ints(total)? })
}

fn exemplars(payload: &mut Payload<'_>, rows: usize) -> Result<Exemplars, DecodeError> {
    Ok(Exemplars {
        time: payload.ints(rows)?,
        values: numbers(payload, rows)?,
        trace_ids: payload.blobs(Kind::Noise, rows)?,
        span_ids: payload.blobs(Kind::Noise, rows)?,
        attrs: attrs::decode(payload, rows, EXEMPLAR_DEPTH)?,
    })
}
