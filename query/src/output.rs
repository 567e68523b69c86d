//! Rows as text, written as they come.
//!
//! - `table`: for people, in blocks of [`BLOCK_ROWS`] rows with a head each; control characters in values are shown as `�`, since a
//!   record's text must not steer a terminal.
//! - `json`: one array of objects; absent values are null, times RFC 3339 in UTC, attributes an object (a key that stands twice in a
//!   record stands twice there).
//! - `csv`: RFC 4180 with a head; absent values are empty; lists and attributes are JSON in a cell.
//!
//! Memory: one batch as text, or one block.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::csv;
use datafusion::arrow::json;
use datafusion::arrow::json::writer::{EncoderOptions, JsonArray, make_encoder};
use datafusion::arrow::util::display::FormatOptions;
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;

use crate::QueryError;

/// Rows of a table for people that are aligned with each other.
pub const BLOCK_ROWS: usize = 1_000;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// An array of objects.
    Json,
    /// RFC 4180, with a head.
    Csv,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            other => Err(format!("no format {other:?}: expected table, json or csv")),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: usize,
    /// Further rows were left out by the limit.
    pub more: bool,
}

/// A sink that holds at most so many bytes.
#[derive(Debug)]
pub struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Bounded {
    /// Holds at most `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A [`Bounded`] is full; has its bytes.
#[derive(Debug, thiserror::Error)]
#[error("the answer has more than {0} bytes")]
struct Full(usize);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            return Err(io::Error::other(Full(self.most)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Rows on their way to a sink.
pub(crate) struct Output<W: Write> {
    schema: SchemaRef,
    rows: usize,
    kind: Kind<W>,
}

enum Kind<W: Write> {
    Table { sink: W, block: Vec<RecordBatch>, any: bool },
    Json(json::Writer<W, JsonArray>),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Output<W> {
    /// Begins.
    ///
    /// # Errors
    /// If the sink takes nothing.
    pub(crate) fn new(format: Format, schema: SchemaRef, sink: W) -> Result<Self, QueryError> {
        let kind = match format {
            Format::Table => Kind::Table { sink, block: Vec::new(), any: false },
            Format::Json => Kind::Json(json::WriterBuilder::new().with_explicit_nulls(true).build(sink)),
            Format::Csv => Kind::Csv(Box::new(csv::WriterBuilder::new().with_header(true).build(sink))),
        };
        Ok(Self { schema, rows: 0, kind })
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// If the sink does not take it, or a column is of a type that the format does not have.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let mut from = 0;
        while from < batch.num_rows() {
            let part = batch.slice(from, (batch.num_rows() - from).min(BLOCK_ROWS));
            from += part.num_rows();
            self.rows += part.num_rows();
            self.write_part(part).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn write_part(&mut self, part: RecordBatch) -> Result<(), ArrowError> {
        match &mut self.kind {
            Kind::Json(writer) => writer.write(&part),
            Kind::Csv(writer) => writer.write(&flat(&part)?),
            Kind::Table { sink, block, any } => {
                let rows: usize = block.iter().map(RecordBatch::num_rows).sum();
                if rows + part.num_rows() > BLOCK_ROWS {
                    write_block(sink, &self.schema, block)?;
                    *any = true;
                }
                block.push(part);
                Ok(())
            }
        }
    }

    /// Ends what was begun and gives the sink back.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(crate) fn finish(self, more: bool) -> Result<(W, Written), QueryError> {
        let (schema, rows) = (self.schema, self.rows);
        let sink = match self.kind {
            Kind::Json(writer) => end_json(writer),
            Kind::Csv(writer) => end_csv(*writer, rows, &schema),
            Kind::Table { mut sink, mut block, any } => {
                let written = if any && block.is_empty() { Ok(()) } else { write_block(&mut sink, &schema, &mut block) };
                written.map(|()| sink)
            }
        };
        let mut sink = sink.map_err(|error| failed(&error))?;
        sink.flush().map_err(|error| failed(&error.into()))?;
        Ok((sink, Written { rows, more }))
    }
}

fn end_json<W: Write>(mut writer: json::Writer<W, JsonArray>) -> Result<W, ArrowError> {
    writer.finish()?;
    let mut sink = writer.into_inner();
    sink.write_all(b"\n")?;
    Ok(sink)
}

fn end_csv<W: Write>(mut writer: csv::Writer<W>, rows: usize, schema: &SchemaRef) -> Result<W, ArrowError> {
    if rows == 0 {
        writer.write(&flat(&RecordBatch::new_empty(Arc::clone(schema)))?)?;
    }
    Ok(writer.into_inner())
}

fn write_block<W: Write>(sink: &mut W, schema: &SchemaRef, block: &mut Vec<RecordBatch>) -> Result<(), ArrowError> {
    if block.is_empty() {
        block.push(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let options = FormatOptions::new().with_display_error(true);
    let text = pretty_format_batches_with_options(block, &options)?.to_string();
    block.clear();
    let shown: String = text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    sink.write_all(shown.as_bytes())?;
    Ok(sink.write_all(b"\n")?)
}

/// The same rows with nested columns as JSON text: CSV has cells of text only.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        if !is_nested(field.data_type()) {
            return Ok((Arc::clone(field), Arc::clone(column)));
        }
        let text: ArrayRef = Arc::new(as_json(field, column)?);
        Ok((Arc::new(Field::new(field.name(), DataType::Utf8, true)), text))
    });
    let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) = columns.collect::<Result<Vec<_>, ArrowError>>()?.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn is_nested(data_type: &DataType) -> bool {
    data_type.is_nested() || matches!(data_type, DataType::Dictionary(_, value) if value.is_nested())
}

fn as_json(field: &FieldRef, column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut text = Vec::new();
    let cells = (0..column.len()).map(|row| {
        if encoder.is_null(row) {
            return None;
        }
        text.clear();
        encoder.encode(row, &mut text);
        Some(String::from_utf8_lossy(&text).into_owned())
    });
    Ok(cells.collect())
}

fn failed(error: &ArrowError) -> QueryError {
    match error {
        ArrowError::IoError(_, io) => match io.get_ref().and_then(|inner| inner.downcast_ref::<Full>()) {
            Some(full) => QueryError::Output(full.0),
            None => QueryError::Failed(format!("the answer cannot be written: {io}")),
        },
        other => QueryError::Statement(crate::error::line(&format!("{other}; CAST the column to text"))),
    }
}
