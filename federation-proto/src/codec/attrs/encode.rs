//! KeyValues into shapes and slots, slots into columns.

use super::Type;
use super::found::{Found, any_value, key_value, plain};
use super::plan::Plan;
use super::shapes::{ROOT, Shapes};
use crate::codec::source::{Sources, Span};
use crate::codec::streams::{Kind, Streams};
use crate::codec::strings::Strings;
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Writer, put_varint};

/// Bytes of dictionaries that may outlive a batch, over all columns.
pub(super) const MAX_HELD_BYTES: usize = 32 << 20;
/// No tail.
pub(super) const NONE: u32 = u32::MAX;

/// Where a row's attributes are, until they are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AttrRow {
    /// The shape's number in this batch, from 1.
    pub(super) shape: u32,
    /// First slot.
    at: u32,
    /// Further attributes as wire bytes, for which the trie had no room.
    pub(super) tail: u32,
}

impl AttrRow {
    /// A number for sorting: rows of one shape have the same, below [`AttrsEncoder::sort_keys`].
    pub(crate) fn sort_key(self) -> u32 {
        if self.tail == NONE { self.shape } else { 0 }
    }
}

/// A row being taken in.
pub(crate) struct Building {
    node: u32,
    at: u32,
    tail: u32,
}

/// A shape that occurs in this batch.
pub(super) struct Used {
    pub(super) node: u32,
    /// Rows that have it and no tail.
    pub(super) rows: u32,
}

/// Takes in the attributes of one kind of owner; keeps shapes and dictionaries from batch to batch.
#[derive(Default)]
pub(crate) struct AttrsEncoder {
    shapes: Shapes,
    /// Interned strings of each column (used by columns of strings only).
    strings: Vec<Strings>,
    /// Shape number of each node in this batch; 0 = not used yet.
    numbers: Vec<u32>,
    /// The shapes of this batch, from number 1.
    used: Vec<Used>,
    /// Attributes row by row.
    slots: Vec<u64>,
    wire: Vec<u8>,
    tails: Vec<(usize, usize)>,
}

impl AttrsEncoder {
    /// Starts a batch.
    pub(crate) fn begin(&mut self) {
        self.strings.iter_mut().for_each(Strings::begin);
        if self.shapes.is_full() || self.held_bytes() > MAX_HELD_BYTES {
            *self = Self::default();
        }
        self.numbers.clear();
        self.used.clear();
        self.slots.clear();
        self.wire.clear();
        self.tails.clear();
    }

    /// Bytes of dictionaries held, over all columns.
    pub(super) fn held_bytes(&self) -> usize {
        self.strings.iter().map(Strings::held_bytes).sum()
    }

    /// One more than the highest sort key of this batch's rows.
    pub(crate) fn sort_keys(&self) -> usize {
        self.used.len() + 1
    }

    /// Starts a row. Rows are taken in one after the other.
    pub(crate) fn start(&self) -> Building {
        Building { node: ROOT, at: self.slots.len() as u32, tail: NONE }
    }

    /// Takes in the row's next KeyValue.
    #[inline]
    pub(crate) fn push(&mut self, row: &mut Building, pair: Reader<'_>) -> Result<(), Malformed> {
        let found = match plain(&pair) {
            Some(found) => found,
            None => key_value(pair)?,
        };
        if row.tail != NONE || !found.fits || !self.store(row, &found) {
            self.open_tail(row);
            field(&mut self.wire, pair.rest());
        }
        Ok(())
    }

    /// Takes in an AnyValue as the value of an attribute without a key; a row takes no more than one.
    pub(crate) fn push_value(&mut self, row: &mut Building, any: Reader<'_>) -> Result<(), Malformed> {
        let found = any_value(any, &[])?;
        if !self.store(row, &found) {
            self.open_tail(row);
            let mut pair = Writer::default();
            pair.bytes(2, any.rest());
            field(&mut self.wire, pair.as_bytes());
        }
        Ok(())
    }

    /// Whether there was room for the shape.
    #[inline]
    fn store(&mut self, row: &mut Building, found: &Found<'_>) -> bool {
        let Some((node, column)) = self.shapes.step(row.node, found.of, found.key) else { return false };
        row.node = node;
        let slot = if found.of == Type::Str {
            let column = column as usize;
            if column >= self.strings.len() {
                self.strings.resize_with(column + 1, Strings::default);
            }
            self.strings[column].push(found.text, Span::unpack(found.slot).at as usize)
        } else {
            found.slot
        };
        self.slots.push(slot);
        true
    }

    fn open_tail(&mut self, row: &mut Building) {
        if row.tail == NONE {
            row.tail = self.tails.len() as u32;
            self.tails.push((self.wire.len(), self.wire.len()));
        }
    }

    /// Ends a row.
    #[inline]
    pub(crate) fn finish(&mut self, row: Building) -> AttrRow {
        let node = row.node as usize;
        if node >= self.numbers.len() {
            self.numbers.resize(self.shapes.len(), 0);
        }
        if self.numbers[node] == 0 {
            self.used.push(Used { node: row.node, rows: 0 });
            self.numbers[node] = self.used.len() as u32;
        }
        let shape = self.numbers[node];
        match self.tails.get_mut(row.tail as usize) {
            Some(tail) => tail.1 = self.wire.len(),
            None => self.used[shape as usize - 1].rows += 1,
        }
        AttrRow { shape, at: row.at, tail: row.tail }
    }

    /// Writes the attributes of these rows: each row of the batch once, in the batch's order.
    pub(crate) fn emit(&self, rows: impl Iterator<Item = AttrRow> + Clone, sources: &Sources<'_>, out: &mut Streams) {
        let plan = Plan::new(&self.shapes, &self.used);
        plan.emit_structure(&self.shapes, out);
        out.ints(rows.clone().map(|row| u64::from(plan.number(row))), 0);

        let mut slots = vec![0u64; plan.values()];
        let mut cursors = plan.starts.clone();
        let mut wire = Writer::default();
        let mut wire_ends = vec![0];
        for row in rows {
            if plan.number(row) == 0 {
                self.rewrite(row, plan.path(row.shape), sources, &mut wire);
                wire_ends.push(wire.as_bytes().len());
                continue;
            }
            for (slot, &column) in self.slots[row.at as usize..].iter().zip(plan.path(row.shape)) {
                let cursor = &mut cursors[column as usize];
                slots[*cursor] = *slot;
                *cursor += 1;
            }
        }
        out.blobs(wire_ends.array_windows().map(|&[start, end]| &wire.as_bytes()[start..end]), Kind::Text);
        for &column in &plan.columns {
            let slots = &slots[plan.starts[column as usize]..cursors[column as usize]];
            self.emit_column(column as usize, slots, sources, out);
        }
    }

    fn emit_column(&self, column: usize, slots: &[u64], sources: &Sources<'_>, out: &mut Streams) {
        match self.shapes.keys()[column].of {
            Type::Missing | Type::Empty => {}
            Type::Str => self.strings[column].emit(slots, sources, out),
            Type::Bool => out.ints(slots.iter().copied(), 0),
            Type::Int => out.ints(slots.iter().copied(), 1),
            Type::Double => out.ints(slots.iter().copied(), 6),
            Type::Bytes | Type::Nested | Type::Odd => {
                out.blobs(slots.iter().map(|&slot| sources.get(Span::unpack(slot))), Kind::Text);
            }
        }
    }

    /// The row's attributes as fields 1: those that have slots, then the tail.
    fn rewrite(&self, row: AttrRow, path: &[u32], sources: &Sources<'_>, w: &mut Writer) {
        for (&slot, &column) in self.slots[row.at as usize..].iter().zip(path) {
            let key = &self.shapes.keys()[column as usize];
            let bytes = || sources.get(Span::unpack(slot));
            w.message(1, |w| {
                w.bytes_or_none(1, &key.name);
                match key.of {
                    Type::Missing => {}
                    Type::Empty => w.bytes(2, &[]),
                    Type::Str => w.message(2, |w| w.bytes(1, self.strings[column as usize].get(slot, sources))),
                    Type::Bool => w.message(2, |w| w.int(2, slot)),
                    Type::Int => w.message(2, |w| w.int(3, slot)),
                    Type::Double => w.message(2, |w| w.fixed64(4, slot)),
                    Type::Bytes => w.message(2, |w| w.bytes(7, bytes())),
                    Type::Nested => w.bytes(2, bytes()),
                    Type::Odd => w.raw(bytes()),
                }
            });
        }
        if let Some(&(start, end)) = self.tails.get(row.tail as usize) {
            w.raw(&self.wire[start..end]);
        }
    }
}

fn field(out: &mut Vec<u8>, pair: &[u8]) {
    out.push(0x0a);
    put_varint(out, pair.len() as u64);
    out.extend_from_slice(pair);
}
