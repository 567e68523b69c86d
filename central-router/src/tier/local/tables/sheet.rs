//! Columns of a table, made one after the other from rows: name, Arrow type and values in one place each.
//!
//! `R` is a row: a cheap copyable reference. The schema of a table follows from the calls made, with no rows at all too.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int32Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder, TimestampNanosecondBuilder,
    UInt8Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use federation_proto::columns::AttrIter;

const UTC: &str = "UTC";

type Map = MapBuilder<StringBuilder, StringBuilder>;

/// Columns so far.
pub(super) struct Sheet<'a, R> {
    rows: &'a [R],
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

/// A column whose values are numbers: one arm per type.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $builder:ty, $data_type:expr;)+) => {
        $($(#[$doc])*
        pub(super) fn $name(&mut self, name: &str, value: impl Fn(R) -> $type) {
            let mut builder = <$builder>::with_capacity(self.rows.len());
            for &row in self.rows {
                builder.append_value(value(row));
            }
            self.push(name, $data_type, false, Arc::new(builder.finish()));
        })+
    };
}

/// A column of lists of numbers.
macro_rules! number_lists {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $builder:ty, $data_type:expr;)+) => {
        $($(#[$doc])*
        pub(super) fn $name<I: IntoIterator<Item = $type>>(&mut self, name: &str, values: impl Fn(R) -> I) {
            let item = item($data_type);
            let mut builder = ListBuilder::new(<$builder>::new()).with_field(item.clone());
            for &row in self.rows {
                for value in values(row) {
                    builder.values().append_value(value);
                }
                builder.append(true);
            }
            self.push(name, DataType::List(Arc::new(item)), false, Arc::new(builder.finish()));
        })+
    };
}

impl<'a, R: Copy + 'a> Sheet<'a, R> {
    pub(super) fn new(rows: &'a [R]) -> Self {
        Self { rows, fields: Vec::new(), arrays: Vec::new() }
    }

    /// The table.
    pub(super) fn finish(self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
    }

    fn push(&mut self, name: &str, data_type: DataType, nullable: bool, array: ArrayRef) {
        self.fields.push(Field::new(name, data_type, nullable));
        self.arrays.push(array);
    }

    numbers! {
        u8s: u8 => UInt8Builder, DataType::UInt8;
        u32s: u32 => UInt32Builder, DataType::UInt32;
        u64s: u64 => UInt64Builder, DataType::UInt64;
        i32s: i32 => Int32Builder, DataType::Int32;
        bools: bool => BooleanBuilder, DataType::Boolean;
    }

    number_lists! {
        u64_lists: u64 => UInt64Builder, DataType::UInt64;
        f64_lists: f64 => Float64Builder, DataType::Float64;
    }

    /// Unix nanoseconds.
    pub(super) fn times(&mut self, name: &str, value: impl Fn(R) -> u64) {
        let mut builder = TimestampNanosecondBuilder::with_capacity(self.rows.len()).with_timezone(UTC);
        for &row in self.rows {
            builder.append_value(saturated(value(row)));
        }
        self.push(name, timestamp(), false, Arc::new(builder.finish()));
    }

    /// Lists of Unix nanoseconds.
    pub(super) fn time_lists<I: IntoIterator<Item = u64>>(&mut self, name: &str, values: impl Fn(R) -> I) {
        let mut builder = ListBuilder::new(TimestampNanosecondBuilder::new().with_timezone(UTC)).with_field(item(timestamp()));
        for &row in self.rows {
            for value in values(row) {
                builder.values().append_value(saturated(value));
            }
            builder.append(true);
        }
        self.push(name, DataType::List(Arc::new(item(timestamp()))), false, Arc::new(builder.finish()));
    }

    /// Numbers that may be absent.
    pub(super) fn optional_f64s(&mut self, name: &str, value: impl Fn(R) -> Option<f64>) {
        let mut builder = Float64Builder::with_capacity(self.rows.len());
        for &row in self.rows {
            builder.append_option(value(row));
        }
        self.push(name, DataType::Float64, true, Arc::new(builder.finish()));
    }

    /// Lists of numbers that may be absent.
    pub(super) fn optional_f64_lists<I: IntoIterator<Item = Option<f64>>>(&mut self, name: &str, values: impl Fn(R) -> I) {
        let item = Field::new("element", DataType::Float64, true);
        let mut builder = ListBuilder::new(Float64Builder::new()).with_field(item.clone());
        for &row in self.rows {
            for value in values(row) {
                builder.values().append_option(value);
            }
            builder.append(true);
        }
        self.push(name, DataType::List(Arc::new(item)), false, Arc::new(builder.finish()));
    }

    /// Text.
    pub(super) fn texts<S: AsRef<str>>(&mut self, name: &str, value: impl Fn(R) -> S) {
        let mut builder = StringBuilder::with_capacity(self.rows.len(), 16 * self.rows.len());
        for &row in self.rows {
            builder.append_value(value(row));
        }
        self.push(name, DataType::Utf8, false, Arc::new(builder.finish()));
    }

    /// Lists of text.
    pub(super) fn text_lists<S: AsRef<str>, I: IntoIterator<Item = S>>(&mut self, name: &str, values: impl Fn(R) -> I) {
        let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item(DataType::Utf8));
        for &row in self.rows {
            for value in values(row) {
                builder.values().append_value(value);
            }
            builder.append(true);
        }
        self.push(name, DataType::List(Arc::new(item(DataType::Utf8))), false, Arc::new(builder.finish()));
    }

    /// Attributes: a map in which a key may stand twice, as OTLP allows.
    pub(super) fn attributes(&mut self, name: &str, value: impl Fn(R) -> AttrIter<'a>) -> Result<(), ArrowError> {
        let mut builder = map_builder();
        for &row in self.rows {
            append(&mut builder, value(row))?;
        }
        self.push(name, map(), false, Arc::new(builder.finish()));
        Ok(())
    }

    /// Lists of attributes.
    pub(super) fn attribute_lists<I: IntoIterator<Item = AttrIter<'a>>>(
        &mut self,
        name: &str,
        values: impl Fn(R) -> I,
    ) -> Result<(), ArrowError> {
        let mut builder = ListBuilder::new(map_builder()).with_field(item(map()));
        for &row in self.rows {
            for value in values(row) {
                append(builder.values(), value)?;
            }
            builder.append(true);
        }
        self.push(name, DataType::List(Arc::new(item(map()))), false, Arc::new(builder.finish()));
        Ok(())
    }
}

fn append(builder: &mut Map, attributes: AttrIter<'_>) -> Result<(), ArrowError> {
    for (key, value) in attributes {
        builder.keys().append_value(key);
        match value {
            federation_proto::columns::Value::Str(text) => builder.values().append_value(text),
            other => builder.values().append_value(other.to_text()),
        }
    }
    builder.append(true)
}

/// Parquet's own names for the parts of lists and maps.
fn item(data_type: DataType) -> Field {
    Field::new("element", data_type, false)
}

fn map_builder() -> Map {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()).with_values_field(Field::new("value", DataType::Utf8, false))
}

fn map() -> DataType {
    let fields = [Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)];
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(fields.into_iter().collect()), false)), false)
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()))
}

/// Times beyond 2262-04-11 stand as that: `i64` nanoseconds hold no more.
fn saturated(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}
