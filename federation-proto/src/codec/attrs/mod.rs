//! Attribute sets: for each row a list of KeyValues, in order, duplicates and all.
//!
//! A row's *shape* is its list of (key, type). Shapes are interned, each (key, type) is a column of values, and a row costs one shape number
//! plus its values: no keys, no parent numbers, no nulls. Rows whose shape is too rare to pay for its columns, or that come when the
//! tables are full, keep their KeyValue fields as wire bytes (shape 0).
//!
//! | what | where |
//! |---|---|
//! | number of columns; per column its type and key | structure |
//! | number of shapes; per shape its length and columns | structure |
//! | shape of each row | integers |
//! | wire bytes of the rows of shape 0 | lengths, text |
//! | per column, by type: strings (see [`strings`](super::strings)), integers, or lengths and text | |

mod decode;
mod encode;
mod found;
mod plan;
mod shapes;
#[cfg(test)]
mod tests;

pub(crate) use decode::attrs as decode;
pub(crate) use encode::{AttrRow, AttrsEncoder};

/// How a value is kept. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    /// No value at all.
    Missing = 0,
    /// An AnyValue that holds nothing.
    Empty = 1,
    Str = 2,
    Bool = 3,
    Int = 4,
    Double = 5,
    Bytes = 6,
    /// An AnyValue message, wire bytes: arrays, key-value lists, string-table indices.
    Nested = 7,
    /// What follows the key in a KeyValue that has further fields, wire bytes.
    Odd = 8,
}

impl Type {
    const ALL: [Type; 9] =
        [Type::Missing, Type::Empty, Type::Str, Type::Bool, Type::Int, Type::Double, Type::Bytes, Type::Nested, Type::Odd];
}
