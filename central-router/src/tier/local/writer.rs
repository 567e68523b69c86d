//! One Parquet file, in bounded memory: chunks of rows become Arrow and then pages; a row group is closed by rows or by bytes.

use std::io;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::disk::DiskFile;
use super::partition::RowRef;
use super::tables::{self, Table};
use super::weight::Weights;
use crate::tier::UnitBatch;

/// Rows that are Arrow at a time, at most.
pub const CHUNK_ROWS: usize = 8_192;
/// Bytes that are Arrow at a time, about: each row carries its resource's attributes, however large they are.
pub const CHUNK_BYTES: u64 = 32 << 20;
/// Rows of a row group at most.
const ROW_GROUP_ROWS: usize = 131_072;
/// Encoded bytes at which a row group is closed.
pub const ROW_GROUP_BYTES: usize = 64 << 20;

/// Why a file was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The disk: try again.
    Disk(io::Error),
    /// The rows: trying again gives the same.
    Data(String),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<ParquetError> for WriteError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => Self::Disk(*error),
                Err(error) => Self::Data(error.to_string()),
            },
            other => Self::Data(other.to_string()),
        }
    }
}

/// What writes a file.
pub(super) type WriteRows = fn(Box<dyn DiskFile>, Table, &[RowRef], &[UnitBatch], ZstdLevel) -> Result<(), WriteError>;

/// Writes the rows and syncs the file.
pub(super) fn write(
    file: Box<dyn DiskFile>,
    table: Table,
    rows: &[RowRef],
    batches: &[UnitBatch],
    level: ZstdLevel,
) -> Result<(), WriteError> {
    let arrow = |rows: &[RowRef]| tables::build(table, rows, batches).map_err(|error| WriteError::Data(error.to_string()));
    let schema = arrow(&[])?.schema();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties(level, time_column(&schema))))?;
    let mut weights = Weights::default();
    let mut rest = rows;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(weights.prefix(rest, batches, CHUNK_ROWS, CHUNK_BYTES));
        writer.write(&arrow(chunk)?)?;
        if writer.in_progress_size() >= ROW_GROUP_BYTES {
            writer.flush()?;
        }
        rest = after;
    }
    let mut file = writer.into_inner()?;
    Ok(file.sync()?)
}

/// Number of the Parquet column that the rows are sorted by; Parquet counts leaves.
fn time_column(schema: &Schema) -> i32 {
    fn leaves(data_type: &DataType) -> i32 {
        match data_type {
            DataType::List(item) => leaves(item.data_type()),
            DataType::Map(entries, _) => leaves(entries.data_type()),
            DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
            _ => 1,
        }
    }
    schema
        .fields()
        .iter()
        .take_while(|field| !matches!(field.name().as_str(), "Timestamp" | "TimeUnix"))
        .map(|field| leaves(field.data_type()))
        .sum()
}

fn properties(level: ZstdLevel, time_column: i32) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(concat!("tributary ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_sorting_columns(Some(vec![SortingColumn { column_idx: time_column, descending: false, nulls_first: false }]))
        .build()
}
