//! KeyValues into shapes and slots, slots into columns.

use super::Type;
use super::shapes::{ROOT, Shapes};
use crate::codec::source::{Sources, Span};
use crate::codec::streams::{Kind, Streams};
use crate::codec::strings::Strings;
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Wire, Writer, put_varint};

/// Up to this many columns a batch keeps them all; beyond, shapes that have a column with few values go back to wire bytes.
const FREE_COLUMNS: usize = 48;
/// Values below which a column costs more than the keys it saves.
const MIN_VALUES: u32 = 4;
/// Bytes of interned strings that may outlive a batch, over all columns.
const MAX_HELD_BYTES: usize = 32 << 20;
/// No tail.
const NONE: u32 = u32::MAX;

/// Where a row's attributes are, until they are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AttrRow {
    /// The shape's number in this batch, from 1.
    shape: u32,
    /// First slot.
    at: u32,
    /// Further attributes as wire bytes, for which the trie had no room.
    tail: u32,
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

/// What a KeyValue was found to hold.
struct Found<'a> {
    key: &'a [u8],
    of: Type,
    /// A number, or a span of the sources.
    slot: u64,
    /// The string, if it is one.
    text: &'a [u8],
    /// False if only the KeyValue as it stands keeps everything.
    fits: bool,
}

/// A shape that occurs in this batch.
struct Used {
    node: u32,
    /// Rows that have it and no tail.
    rows: u32,
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
        let held: usize = self.strings.iter().map(Strings::held_bytes).sum();
        if self.shapes.is_full() || held > MAX_HELD_BYTES {
            *self = Self::default();
        }
        self.strings.iter_mut().for_each(Strings::begin);
        self.numbers.clear();
        self.used.clear();
        self.slots.clear();
        self.wire.clear();
        self.tails.clear();
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
        let plan = Plan::new(self);
        plan.emit_structure(self, out);
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

/// Which shapes stand in columns in this batch, and under which numbers.
struct Plan {
    /// Final number of each shape, 0 = wire bytes.
    numbers: Vec<u32>,
    /// Columns of each shape: shape `s` (from 1) has `paths[ends[s - 1]..ends[s]]`.
    paths: Vec<u32>,
    ends: Vec<usize>,
    /// The columns in use, in the order in which they are written.
    columns: Vec<u32>,
    /// First place of each column's values among all values, by column.
    starts: Vec<usize>,
    values: usize,
}

impl Plan {
    fn new(attrs: &AttrsEncoder) -> Self {
        let columns = attrs.shapes.keys().len();
        let mut plan = Plan {
            numbers: vec![0; attrs.used.len() + 1],
            paths: Vec::new(),
            ends: vec![0],
            columns: Vec::new(),
            starts: vec![0; columns],
            values: 0,
        };
        let mut counts = vec![0u32; columns];
        for used in &attrs.used {
            let start = plan.paths.len();
            attrs.shapes.path(used.node, &mut plan.paths);
            plan.ends.push(plan.paths.len());
            plan.paths[start..].iter().for_each(|&column| counts[column as usize] += used.rows);
        }
        let crowded = counts.iter().filter(|&&count| count > 0).count() > FREE_COLUMNS;
        plan.keep(attrs, crowded.then_some(counts));
        plan
    }

    /// Numbers the shapes that stand in columns, and lays out the columns they need.
    fn keep(&mut self, attrs: &AttrsEncoder, counts: Option<Vec<u32>>) {
        let mut kept = 0;
        let mut totals = vec![0usize; self.starts.len()];
        for (index, used) in attrs.used.iter().enumerate() {
            let path = &self.paths[self.ends[index]..self.ends[index + 1]];
            let pays = |column: &u32| counts.as_ref().is_none_or(|counts| counts[*column as usize] >= MIN_VALUES);
            if used.rows == 0 || !path.iter().all(pays) {
                continue;
            }
            kept += 1;
            self.numbers[index + 1] = kept;
            for &column in path {
                if totals[column as usize] == 0 {
                    self.columns.push(column);
                }
                totals[column as usize] += used.rows as usize;
            }
        }
        for &column in &self.columns {
            self.starts[column as usize] = self.values;
            self.values += totals[column as usize];
        }
    }

    fn number(&self, row: AttrRow) -> u32 {
        if row.tail == NONE { self.numbers[row.shape as usize] } else { 0 }
    }

    fn path(&self, shape: u32) -> &[u32] {
        &self.paths[self.ends[shape as usize - 1]..self.ends[shape as usize]]
    }

    fn values(&self) -> usize {
        self.values
    }

    fn emit_structure(&self, attrs: &AttrsEncoder, out: &mut Streams) {
        let mut dense = vec![0u64; self.starts.len()];
        out.number(self.columns.len() as u64);
        for (number, &column) in self.columns.iter().enumerate() {
            dense[column as usize] = number as u64;
            let key = &attrs.shapes.keys()[column as usize];
            out.number(key.of as u64);
            out.name(&key.name);
        }
        let kept = (1..self.numbers.len()).filter(|&shape| self.numbers[shape] != 0);
        out.number(kept.clone().count() as u64);
        for shape in kept {
            let path = self.path(shape as u32);
            out.number(path.len() as u64);
            path.iter().for_each(|&column| out.number(dense[column as usize]));
        }
    }
}

fn field(out: &mut Vec<u8>, pair: &[u8]) {
    out.push(0x0a);
    put_varint(out, pair.len() as u64);
    out.extend_from_slice(pair);
}

/// The common KeyValue, recognised without the general walk: a short key, then a string or an integer.
#[inline]
fn plain<'a>(pair: &Reader<'a>) -> Option<Found<'a>> {
    let [0x0a, key_len @ 0..0x80, rest @ ..] = pair.rest() else { return None };
    let (key, [0x12, value_len @ 0..0x80, value @ ..]) = rest.split_at_checked(usize::from(*key_len))? else { return None };
    if value.len() != usize::from(*value_len) {
        return None;
    }
    match value {
        [0x0a, len @ 0..0x80, text @ ..] if text.len() == usize::from(*len) => {
            let at = pair.offset() + key.len() + 6;
            Some(Found { key, of: Type::Str, slot: Span::new(at, text.len()).pack(), text, fits: true })
        }
        [0x18, value @ 0..0x80] => Some(Found { key, of: Type::Int, slot: u64::from(*value), text: &[], fits: true }),
        _ => None,
    }
}

/// Any KeyValue.
fn key_value(pair: Reader<'_>) -> Result<Found<'_>, Malformed> {
    let mut r = pair;
    let mut key: &[u8] = &[];
    let mut after_key = pair;
    let mut fits = true;
    let mut value = None;
    let mut strindex = 0;
    while !r.is_done() {
        let first = r.offset() == pair.offset();
        match r.key()? {
            (1, Wire::Len) => {
                key = r.bytes()?;
                after_key = r;
                fits = first;
            }
            (2, Wire::Len) => value = Some(r.message()?),
            (3, Wire::Varint) => strindex = r.varint()? as i32,
            (field, wire) => r.skip(field, wire, 100)?,
        }
    }
    if strindex != 0 {
        let rest = Span::new(after_key.offset(), after_key.rest().len());
        return Ok(Found { key, of: Type::Odd, slot: rest.pack(), text: &[], fits });
    }
    match value {
        None => Ok(Found { key, of: Type::Missing, slot: 0, text: &[], fits: true }),
        Some(any) => any_value(any, key),
    }
}

/// An AnyValue that belongs to `key`.
fn any_value<'a>(any: Reader<'a>, key: &'a [u8]) -> Result<Found<'a>, Malformed> {
    let mut r = any;
    let mut found = Found { key, of: Type::Empty, slot: 0, text: &[], fits: true };
    while !r.is_done() {
        (found.of, found.slot) = match r.key()? {
            (1, Wire::Len) => {
                found.text = r.bytes()?;
                (Type::Str, Span::new(r.offset() - found.text.len(), found.text.len()).pack())
            }
            (2, Wire::Varint) => (Type::Bool, u64::from(r.varint()? != 0)),
            (3, Wire::Varint) => (Type::Int, r.varint()?),
            (4, Wire::Fixed64) => (Type::Double, r.fixed64()?),
            (7, Wire::Len) => {
                let bytes = r.bytes()?;
                (Type::Bytes, Span::new(r.offset() - bytes.len(), bytes.len()).pack())
            }
            (5 | 6, Wire::Len) | (8, Wire::Varint) => {
                let whole = Span::new(any.offset(), any.rest().len());
                return Ok(Found { of: Type::Nested, slot: whole.pack(), ..found });
            }
            (field, wire) => {
                r.skip(field, wire, 100)?;
                continue;
            }
        };
    }
    Ok(found)
}
