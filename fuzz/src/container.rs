//! Payloads by their streams: what the codec writes as Arrow IPC in a zstd frame, taken apart, so that a mutation damages a column and not
//! the flatbuffers around all of them.
//!
//! A stream in an input: column (2), class (1), width (1), values (4), base (8), length (2), data.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{BinaryArray, RecordBatch, UInt8Array, UInt32Array, UInt64Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};

use super::input::Input;

/// One row of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub column: u16,
    pub kind: u8,
    pub width: u8,
    pub values: u32,
    pub base: u64,
    pub data: Vec<u8>,
}

/// The streams of an input.
pub fn parse(input: &[u8]) -> Vec<Stream> {
    let mut input = Input::new(input);
    let mut streams = Vec::new();
    while !input.is_done() {
        let (column, kind, width, values, base) = (input.u16(), input.u8(), input.u8(), input.u32(), input.u64());
        let len = input.u16();
        streams.push(Stream { column, kind, width, values, base, data: input.bytes(usize::from(len)).to_vec() });
    }
    streams
}

/// The input of these streams.
pub fn write(streams: &[Stream]) -> Vec<u8> {
    let mut out = Vec::new();
    for stream in streams {
        out.extend_from_slice(&stream.column.to_le_bytes());
        out.extend_from_slice(&[stream.kind, stream.width]);
        out.extend_from_slice(&stream.values.to_le_bytes());
        out.extend_from_slice(&stream.base.to_le_bytes());
        let len = u16::try_from(stream.data.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&stream.data[..usize::from(len)]);
    }
    out
}

/// The Arrow IPC stream of these streams, ordered as the format wants it.
pub fn pack(mut streams: Vec<Stream>) -> Vec<u8> {
    streams.sort_by_key(|stream| (stream.kind, stream.column));
    let field = |name: &str, of: DataType| Field::new(name, of, false);
    let schema = Arc::new(Schema::new(vec![
        field("column", DataType::UInt32),
        field("kind", DataType::UInt8),
        field("width", DataType::UInt8),
        field("values", DataType::UInt32),
        field("base", DataType::UInt64),
        field("data", DataType::Binary),
    ]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(UInt32Array::from_iter_values(streams.iter().map(|stream| u32::from(stream.column)))),
            Arc::new(UInt8Array::from_iter_values(streams.iter().map(|stream| stream.kind))),
            Arc::new(UInt8Array::from_iter_values(streams.iter().map(|stream| stream.width))),
            Arc::new(UInt32Array::from_iter_values(streams.iter().map(|stream| stream.values))),
            Arc::new(UInt64Array::from_iter_values(streams.iter().map(|stream| stream.base))),
            Arc::new(BinaryArray::from_iter_values(streams.iter().map(|stream| &stream.data))),
        ],
    )
    .expect("columns of one length");
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("a schema");
    writer.write(&batch).expect("a batch");
    writer.into_inner().expect("an end")
}

/// The streams of an Arrow IPC stream that the codec wrote.
pub fn unpack(message: &[u8]) -> Vec<Stream> {
    let batches: Vec<RecordBatch> = StreamReader::try_new(message, None).expect("a stream").map(|batch| batch.expect("a batch")).collect();
    let batch = &batches[0];
    let words = |column: usize| batch.column(column).as_primitive::<UInt32Type>();
    let bytes = |column: usize| batch.column(column).as_primitive::<UInt8Type>();
    let base = batch.column(4).as_primitive::<UInt64Type>();
    let data = batch.column(5).as_binary::<i32>();
    (0..batch.num_rows())
        .map(|row| Stream {
            column: words(0).value(row) as u16,
            kind: bytes(1).value(row),
            width: bytes(2).value(row),
            values: words(3).value(row),
            base: base.value(row),
            data: data.value(row).to_vec(),
        })
        .collect()
}

/// A zstd frame that states its size.
pub fn frame(message: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(message, 1).expect("compresses")
}
