//! Attributes by row: each row has a shape (its list of keys and types), each (key, type) a column of values.
//!
//! Rows whose shape was too rare to stand in columns keep their attributes as wire bytes; the iterator hides the difference.

use super::store::{Blobs, Ints, Strs};
use super::value::{self, AnyWire, Value, fields};
use crate::otlp::wire::{Reader, Wire, Writer};

/// The attributes of all rows of one table.
#[derive(Debug, Default)]
pub(crate) struct Attrs {
    /// Shape of each row; 0 = its attributes are wire bytes.
    pub(crate) shapes: Ints,
    /// Columns of each shape, one after the other; shape `s` (from 1) has `shape_ends[s - 1]..shape_ends[s]`.
    pub(crate) shape_columns: Vec<u32>,
    pub(crate) shape_ends: Vec<u32>,
    pub(crate) columns: Vec<AttrColumn>,
    /// `rows + 1` rising positions in `slots`; for a row of shape 0 its slot is its place in `wire`.
    pub(crate) row_slots: Vec<u32>,
    /// Position of each attribute in its column.
    pub(crate) slots: Vec<u32>,
    /// Attribute fields (tag 1) of the rows of shape 0.
    pub(crate) wire: Blobs,
}

/// One key with values of one type.
#[derive(Debug)]
pub(crate) struct AttrColumn {
    pub(crate) key: String,
    pub(crate) values: AttrValues,
}

/// The values of one column.
#[derive(Debug)]
pub(crate) enum AttrValues {
    /// KeyValues without a value.
    Missing,
    /// AnyValues that hold none.
    Empty,
    Str(Strs),
    Bool(Ints),
    Int(Ints),
    Double(Ints),
    Bytes(Blobs),
    /// AnyValue messages.
    Nested(Blobs),
    /// What follows the key in a KeyValue with further fields (`key_strindex`).
    Odd(Blobs),
}

/// One attribute as it was, for writing it again.
enum Attr<'a> {
    Column(&'a AttrColumn, usize),
    Wire(&'a [u8]),
}

impl Attrs {
    /// The attributes of a row, in their order.
    pub(crate) fn row(&self, row: usize) -> AttrIter<'_> {
        match self.shapes.get(row) as usize {
            0 => {
                let place = self.row_slots.get(row).and_then(|&at| self.slots.get(at as usize)).copied().unwrap_or_default();
                AttrIter(Inner::Wire(Reader::new(self.wire.get(place as usize))))
            }
            shape => {
                let columns = &self.shape_columns[self.shape_ends[shape - 1] as usize..self.shape_ends[shape] as usize];
                let slots = &self.slots[self.row_slots[row] as usize..self.row_slots[row + 1] as usize];
                AttrIter(Inner::Columns { attrs: self, columns, slots })
            }
        }
    }

    /// The first attribute with this key.
    pub(crate) fn find(&self, row: usize, key: &str) -> Option<Value<'_>> {
        self.row(row).find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// Writes the row's attributes as fields `tag`.
    pub(crate) fn write(&self, row: usize, tag: u32, w: &mut Writer) {
        let mut attrs = self.row(row);
        while let Some(attr) = attrs.step() {
            match attr {
                Attr::Wire(pair) => w.bytes(tag, pair),
                Attr::Column(column, at) => w.message(tag, |w| column.write(at, w)),
            }
        }
    }

    /// Writes the value of a row's first attribute as field `tag`, or nothing if it has none: how the body of a log record is kept.
    pub(crate) fn write_value(&self, row: usize, tag: u32, w: &mut Writer) {
        match self.row(row).step() {
            Some(Attr::Column(column, at)) => column.write_value(at, tag, w),
            Some(Attr::Wire(pair)) => {
                if let Some(value) = fields(pair, 2).last() {
                    w.bytes(tag, value);
                }
            }
            None => {}
        }
    }
}

impl AttrColumn {
    fn value(&self, at: usize) -> Value<'_> {
        match &self.values {
            AttrValues::Missing | AttrValues::Empty => Value::Empty,
            AttrValues::Str(values) => Value::Str(values.get(at)),
            AttrValues::Bool(values) => Value::Bool(values.get(at) != 0),
            AttrValues::Int(values) => Value::Int(values.get(at) as i64),
            AttrValues::Double(values) => Value::Double(f64::from_bits(values.get(at))),
            AttrValues::Bytes(values) => Value::Bytes(values.get(at)),
            AttrValues::Nested(values) => Value::Nested(AnyWire(values.get(at))),
            AttrValues::Odd(values) => fields(values.get(at), 2).last().map_or(Value::Empty, |any| AnyWire(any).value()),
        }
    }

    /// The fields of the KeyValue.
    fn write(&self, at: usize, w: &mut Writer) {
        w.bytes_or_none(1, self.key.as_bytes());
        match &self.values {
            AttrValues::Odd(values) => w.raw(values.get(at)),
            _ => self.write_value(at, 2, w),
        }
    }

    /// The AnyValue as field `tag`.
    fn write_value(&self, at: usize, tag: u32, w: &mut Writer) {
        match &self.values {
            AttrValues::Missing | AttrValues::Odd(_) => {}
            AttrValues::Empty => w.bytes(tag, &[]),
            AttrValues::Str(values) => w.message(tag, |w| w.bytes(1, values.get(at).as_bytes())),
            AttrValues::Bool(values) => w.message(tag, |w| w.int(2, values.get(at))),
            AttrValues::Int(values) => w.message(tag, |w| w.int(3, values.get(at))),
            AttrValues::Double(values) => w.message(tag, |w| w.fixed64(4, values.get(at))),
            AttrValues::Bytes(values) => w.message(tag, |w| w.bytes(7, values.get(at))),
            AttrValues::Nested(values) => w.bytes(tag, values.get(at)),
        }
    }
}

/// Iterates over the attributes of one row: key and value, in their order, duplicates included.
#[derive(Clone)]
pub struct AttrIter<'a>(Inner<'a>);

#[derive(Clone)]
enum Inner<'a> {
    Columns { attrs: &'a Attrs, columns: &'a [u32], slots: &'a [u32] },
    Wire(Reader<'a>),
}

impl<'a> AttrIter<'a> {
    fn step(&mut self) -> Option<Attr<'a>> {
        match &mut self.0 {
            Inner::Columns { attrs, columns, slots } => {
                let (&column, later) = columns.split_first()?;
                *columns = later;
                let (&at, later) = slots.split_first()?;
                *slots = later;
                attrs.columns.get(column as usize).map(|column| Attr::Column(column, at as usize))
            }
            Inner::Wire(r) => {
                if r.is_done() {
                    return None;
                }
                // Only fields of tag 1 and wire type 2 are in there.
                match r.key() {
                    Ok((1, Wire::Len)) => r.bytes().ok().map(Attr::Wire),
                    _ => None,
                }
            }
        }
    }
}

impl<'a> Iterator for AttrIter<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map(|attr| match attr {
            Attr::Column(column, at) => (column.key.as_str(), column.value(at)),
            Attr::Wire(pair) => {
                let key = fields(pair, 1).last().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
                (key, fields(pair, 2).last().and_then(value::parse).unwrap_or(Value::Empty))
            }
        })
    }
}
