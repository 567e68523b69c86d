//! Streams in an Arrow IPC stream (one schema, one record batch) in one zstd frame.
//!
//! Rows of the record batch are streams, ordered by class and column, so that the values buffer of `data` holds each class in one piece. It
//! is the last buffer of the message: zstd is flushed where a class ends, which ends its block there and so gives each class its own
//! entropy tables, while matches still reach back over the border.
//!
//! Reading trusts nothing: the frame must state its size, within the limit; the flatbuffers are verified; every buffer must lie in the body.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, UInt8Array, UInt32Array, UInt64Array};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_ipc::{Endianness, MetadataVersion, Type};
use arrow_schema::{DataType, Field, Schema};
use zstd::stream::raw::{Encoder as Zstd, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe;

use super::decoder::{DecodeError, DecodeLimits};
use super::encoder::EncodeError;
use super::streams::{Kind, Stream};

/// zstd's level: higher ones cost more than they save after the columns have done their work.
const LEVEL: i32 = 1;

/// Most streams in one payload.
const MAX_STREAMS: usize = 1 << 16;

/// The fields of the record batch; none is nullable.
const FIELDS: [(&str, DataType); 6] = [
    ("column", DataType::UInt32),
    ("kind", DataType::UInt8),
    ("width", DataType::UInt8),
    ("values", DataType::UInt32),
    ("base", DataType::UInt64),
    ("data", DataType::Binary),
];

/// Writes containers. Keeps zstd's context and the schema.
pub(crate) struct Packer {
    zstd: Option<Zstd<'static>>,
    schema: Arc<Schema>,
    compressed: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Self {
        let fields: Vec<Field> = FIELDS.into_iter().map(|(name, of)| Field::new(name, of, false)).collect();
        Self { zstd: None, schema: Arc::new(Schema::new(fields)), compressed: Vec::new() }
    }
}

fn failed(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Container(error.to_string())
}

impl Packer {
    /// The payload of these streams.
    pub(crate) fn pack(&mut self, streams: &[Stream], data: [&[u8]; 3]) -> Result<Vec<u8>, EncodeError> {
        if streams.len() > MAX_STREAMS {
            return Err(EncodeError::TooLarge("streams"));
        }
        let lens = data.map(<[u8]>::len);
        let message = self.message(streams, data)?;
        let total: usize = lens.iter().sum();
        // After the values come their padding to 8 bytes and the 8 bytes that end the stream.
        let values = message.len().saturating_sub(8 + total.next_multiple_of(8));
        self.compress(&message, &[values + lens[0], values + lens[0] + lens[1], values + total])
    }

    fn message(&self, streams: &[Stream], data: [&[u8]; 3]) -> Result<Vec<u8>, EncodeError> {
        let mut offsets = Vec::with_capacity(streams.len() + 1);
        let mut end = 0usize;
        offsets.push(0i32);
        for stream in streams {
            end += stream.len;
            offsets.push(i32::try_from(end).map_err(|_| EncodeError::TooLarge("payload before compression"))?);
        }
        let values = Buffer::from_vec(data.concat());
        let data = BinaryArray::try_new(OffsetBuffer::new(offsets.into()), values, None).map_err(failed)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_iter_values(streams.iter().map(|s| s.column))),
            Arc::new(UInt8Array::from_iter_values(streams.iter().map(|s| s.kind as u8))),
            Arc::new(UInt8Array::from_iter_values(streams.iter().map(|s| s.width))),
            Arc::new(UInt32Array::from_iter_values(streams.iter().map(|s| s.values))),
            Arc::new(UInt64Array::from_iter_values(streams.iter().map(|s| s.base))),
            Arc::new(data),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed)?;
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).map_err(failed)?;
        let out = Vec::with_capacity(end + 32 * streams.len() + 2048);
        let mut writer = StreamWriter::try_new_with_options(out, &self.schema, options).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
        writer.into_inner().map_err(failed)
    }

    /// One frame of `message`, flushed at each of the rising `borders`.
    fn compress(&mut self, message: &[u8], borders: &[usize]) -> Result<Vec<u8>, EncodeError> {
        let mut zstd = match self.zstd.take() {
            Some(zstd) => zstd,
            None => Zstd::new(LEVEL).map_err(failed)?,
        };
        zstd.reinit().map_err(failed)?;
        zstd.set_pledged_src_size(Some(message.len() as u64)).map_err(failed)?;
        let out = &mut self.compressed;
        out.clear();
        // A flush costs a block header; the bound counts one per 128 KiB.
        out.reserve(zstd_safe::compress_bound(message.len()) + 64);
        let mut start = 0;
        for &border in borders {
            let piece = message.get(start..border).unwrap_or_default();
            start += piece.len();
            run(&mut zstd, piece, out)?;
            if !piece.is_empty() {
                while step(out, |o| zstd.flush(o))? > 0 {}
            }
        }
        run(&mut zstd, message.get(start..).unwrap_or_default(), out)?;
        while step(out, |o| zstd.finish(o, true))? > 0 {}
        self.zstd = Some(zstd);
        Ok(out.as_slice().to_vec())
    }
}

fn run(zstd: &mut Zstd<'static>, piece: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut input = InBuffer::around(piece);
    while input.pos() < piece.len() {
        step(out, |o| zstd.run(&mut input, o))?;
    }
    Ok(())
}

/// One call of zstd that appends to `out`, with room for it.
fn step(out: &mut Vec<u8>, call: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> std::io::Result<usize>) -> Result<usize, EncodeError> {
    if out.capacity() == out.len() {
        out.reserve(64 << 10);
    }
    let at = out.len();
    call(&mut OutBuffer::around_pos(out, at)).map_err(failed)
}

/// A decompressed container: streams and where in `bytes` their data lies.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) bytes: Vec<u8>,
    pub(crate) streams: Vec<(Stream, Range<usize>)>,
}

/// Opens a payload.
pub(crate) fn unpack(payload: &[u8], limits: &DecodeLimits) -> Result<Container, DecodeError> {
    let size = match zstd_safe::get_frame_content_size(payload) {
        Ok(Some(size)) => size,
        Ok(None) => return Err(DecodeError::Compression("frame does not state its size".into())),
        Err(_) => return Err(DecodeError::Compression("not a zstd frame".into())),
    };
    let size = usize::try_from(size).ok().filter(|&size| size <= limits.max_raw_bytes).ok_or(DecodeError::Limit("decompressed bytes"))?;
    let bytes = zstd::bulk::decompress(payload, size).map_err(|error| DecodeError::Compression(error.to_string()))?;
    if bytes.len() != size {
        return Err(DecodeError::Compression("frame misstates its size".into()));
    }
    let streams = read(&bytes)?;
    Ok(Container { bytes, streams })
}

/// The streams of an Arrow IPC stream of our schema.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<(Stream, Range<usize>)>, DecodeError> {
    let mut at = 0;
    let header = metadata(bytes, &mut at)?;
    let message = arrow_ipc::root_as_message(header).map_err(|_| DecodeError::Container("schema is not a flatbuffer"))?;
    let schema = message.header_as_schema().ok_or(DecodeError::Container("no schema"))?;
    check_schema(schema)?;
    let header = metadata(bytes, &mut at)?;
    let message = arrow_ipc::root_as_message(header).map_err(|_| DecodeError::Container("batch is not a flatbuffer"))?;
    let batch = message.header_as_record_batch().ok_or(DecodeError::Container("no record batch"))?;
    let body_len = usize::try_from(message.bodyLength()).map_err(|_| DecodeError::Container("body length"))?;
    let body = at..at.checked_add(body_len).filter(|&end| end <= bytes.len()).ok_or(DecodeError::Container("body is cut"))?;
    if bytes.get(body.end..) != Some([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0].as_slice()) {
        return Err(DecodeError::Container("no end of stream"));
    }
    let rows = usize::try_from(batch.length()).ok().filter(|&n| n <= MAX_STREAMS).ok_or(DecodeError::Limit("streams"))?;
    let buffers = buffers(batch, rows, &body)?;
    streams(bytes, rows, &buffers)
}

/// The metadata of the message at `at`, which is moved behind it.
fn metadata<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], DecodeError> {
    let rest = bytes.get(*at..).unwrap_or_default();
    let Some(([0xff, 0xff, 0xff, 0xff, len @ ..], rest)) = rest.split_first_chunk::<8>() else {
        return Err(DecodeError::Container("no message"));
    };
    let len = u32::from_le_bytes(*len) as usize;
    let header = rest.get(..len).filter(|_| len.is_multiple_of(8)).ok_or(DecodeError::Container("message is cut"))?;
    *at += 8 + len;
    Ok(header)
}

fn check_schema(schema: arrow_ipc::Schema<'_>) -> Result<(), DecodeError> {
    const WRONG: DecodeError = DecodeError::Container("another schema");
    let fields = schema.fields().ok_or(WRONG)?;
    if schema.endianness() != Endianness::Little || fields.len() != FIELDS.len() {
        return Err(WRONG);
    }
    for (found, (name, of)) in fields.iter().zip(FIELDS) {
        let is_int =
            |bits| found.type_type() == Type::Int && found.type_as_int().is_some_and(|int| int.bitWidth() == bits && !int.is_signed());
        let right = match of {
            DataType::UInt8 => is_int(8),
            DataType::UInt32 => is_int(32),
            DataType::UInt64 => is_int(64),
            _ => found.type_type() == Type::Binary,
        };
        if !right || found.name() != Some(name) || found.dictionary().is_some() {
            return Err(WRONG);
        }
    }
    Ok(())
}

/// Where the values of each column (and, of `data`, the offsets before them) lie.
fn buffers(batch: arrow_ipc::RecordBatch<'_>, rows: usize, body: &Range<usize>) -> Result<[Range<usize>; 7], DecodeError> {
    const WRONG: DecodeError = DecodeError::Container("another layout of buffers");
    let (Some(nodes), Some(buffers), None) = (batch.nodes(), batch.buffers(), batch.compression()) else { return Err(WRONG) };
    if nodes.len() != FIELDS.len() || buffers.len() != 2 * FIELDS.len() + 1 {
        return Err(WRONG);
    }
    if nodes.iter().any(|node| usize::try_from(node.length()) != Ok(rows) || node.null_count() != 0) {
        return Err(WRONG);
    }
    let place = |index: usize| {
        let buffer = buffers.get(index);
        let start = body.start.checked_add(usize::try_from(buffer.offset()).ok()?)?;
        let end = start.checked_add(usize::try_from(buffer.length()).ok()?)?;
        (end <= body.end).then_some(start..end)
    };
    let mut out: [Range<usize>; 7] = Default::default();
    // A validity buffer stands before each column's own.
    for (slot, index) in out.iter_mut().zip([1, 3, 5, 7, 9, 11, 12]) {
        *slot = place(index).ok_or(DecodeError::Container("buffer beyond the body"))?;
    }
    Ok(out)
}

fn streams(bytes: &[u8], rows: usize, at: &[Range<usize>; 7]) -> Result<Vec<(Stream, Range<usize>)>, DecodeError> {
    let [column, kind, width, values, base, ends, data] = at;
    let mut out: Vec<(Stream, Range<usize>)> = Vec::with_capacity(rows);
    for row in 0..rows {
        let (Some(column), Some(values)) = (word(bytes, column, row), word(bytes, values, row)) else {
            return Err(DecodeError::Container("buffer is short"));
        };
        let (Some([kind]), Some([width]), Some(base)) =
            (cell::<1>(bytes, kind, row), cell::<1>(bytes, width, row), cell::<8>(bytes, base, row))
        else {
            return Err(DecodeError::Container("buffer is short"));
        };
        let kind = *Kind::ALL.get(usize::from(kind)).ok_or(DecodeError::Container("unknown class"))?;
        let (Some(start), Some(end)) = (word(bytes, ends, row), word(bytes, ends, row + 1)) else {
            return Err(DecodeError::Container("buffer is short"));
        };
        let len = (end as usize).checked_sub(start as usize).filter(|_| end as usize <= data.len());
        let len = len.ok_or(DecodeError::Container("stream beyond the data"))?;
        let stream = Stream { column, kind, width, values, base: u64::from_le_bytes(base), len };
        if out.last().is_some_and(|(last, _)| (last.kind, last.column) >= (stream.kind, stream.column)) {
            return Err(DecodeError::Container("streams out of order"));
        }
        out.push((stream, data.start + start as usize..data.start + end as usize));
    }
    Ok(out)
}

fn cell<const N: usize>(bytes: &[u8], at: &Range<usize>, row: usize) -> Option<[u8; N]> {
    bytes.get(at.clone())?.get(row * N..)?.first_chunk().copied()
}

fn word(bytes: &[u8], at: &Range<usize>, row: usize) -> Option<u32> {
    cell(bytes, at, row).map(u32::from_le_bytes)
}
