//! The payload under construction: numbered columns, each broken into streams of one class of bytes.
//!
//! Every column takes the next number, whether it needs a stream or not: the decoder counts along. A column of zeros alone has no stream.

/// Class of a stream's bytes. Classes follow one another in the payload, each with zstd blocks of its own, so that near-random bytes do not
/// dilute the statistics of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Text, dictionaries, wire bytes, structure.
    Text = 0,
    /// Byte planes of integers with few distinct values.
    Planes = 1,
    /// Ids and the lowest planes of times and numbers: as good as random.
    Noise = 2,
}

impl Kind {
    /// All classes, in the order of the payload.
    pub(crate) const ALL: [Kind; 3] = [Kind::Text, Kind::Planes, Kind::Noise];
}

/// What the container says of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Number of its column.
    pub(crate) column: u32,
    pub(crate) kind: Kind,
    /// Planes of an integer column: of all its streams if `Planes`, in this stream if `Noise`. 0 for bytes.
    pub(crate) width: u8,
    /// Integers in the column, if `Planes`.
    pub(crate) values: u32,
    /// What was subtracted from each integer, if `Planes`.
    pub(crate) base: u64,
    /// Bytes of data.
    pub(crate) len: usize,
}

/// Number of the column of structure: counts, shapes, keys; varints and strings that the decoder reads along with the columns.
pub(crate) const HEAD: u32 = 0;

/// Collects streams. Kept from batch to batch for its buffers.
#[derive(Default)]
pub(crate) struct Streams {
    streams: Vec<Stream>,
    data: [Vec<u8>; 3],
    head: Vec<u8>,
    next: u32,
    scratch: Vec<u64>,
}

impl Streams {
    pub(crate) fn begin(&mut self) {
        self.streams.clear();
        self.data.iter_mut().for_each(Vec::clear);
        self.head.clear();
        self.next = HEAD + 1;
    }

    fn column(&mut self) -> u32 {
        let column = self.next;
        self.next += 1;
        column
    }

    /// A number of the structure.
    pub(crate) fn number(&mut self, value: u64) {
        crate::otlp::wire::put_varint(&mut self.head, value);
    }

    /// A byte string of the structure.
    pub(crate) fn name(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.head.extend_from_slice(bytes);
    }

    /// A column of integers: the minimum is taken off, and as many byte planes are kept as the rest needs. The lowest `noise` planes, but
    /// never all of them, go with the near-random bytes.
    pub(crate) fn ints(&mut self, values: impl Iterator<Item = u64>, noise: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend(values);
        self.int_column(&scratch, noise);
        self.scratch = scratch;
    }

    fn int_column(&mut self, values: &[u64], noise: usize) {
        let column = self.column();
        let (base, range) = frame(values);
        let width = 8 - range.leading_zeros() as usize / 8;
        if width == 0 && base == 0 {
            return;
        }
        let noise = noise.min(width.saturating_sub(1));
        let per_plane = values.len();
        self.streams.push(Stream {
            column,
            kind: Kind::Planes,
            width: width as u8,
            values: values.len() as u32,
            base,
            len: per_plane * (width - noise),
        });
        if noise > 0 {
            self.streams.push(Stream { column, kind: Kind::Noise, width: noise as u8, values: 0, base: 0, len: per_plane * noise });
        }
        for plane in 0..width {
            let kind = if plane < noise { Kind::Noise } else { Kind::Planes };
            self.data[kind as usize].extend(values.iter().map(|value| (value.wrapping_sub(base) >> (8 * plane)) as u8));
        }
    }

    /// A column of byte strings of known lengths, one after the other.
    pub(crate) fn bytes<'a>(&mut self, values: impl Iterator<Item = &'a [u8]>, kind: Kind) {
        let column = self.column();
        let data = &mut self.data[kind as usize];
        let start = data.len();
        for value in values {
            data.extend_from_slice(value);
        }
        let len = data.len() - start;
        if len > 0 {
            self.streams.push(Stream { column, kind, width: 0, values: 0, base: 0, len });
        }
    }

    /// A column of lengths, then one of the byte strings.
    pub(crate) fn blobs<'a>(&mut self, values: impl Iterator<Item = &'a [u8]> + Clone, kind: Kind) {
        self.ints(values.clone().map(|value| value.len() as u64), 0);
        self.bytes(values, kind);
    }

    /// A column of flags, then one of the values that are there.
    pub(crate) fn sparse(&mut self, values: impl Iterator<Item = Option<u64>> + Clone, noise: usize) {
        self.ints(values.clone().map(|value| u64::from(value.is_some())), 0);
        self.ints(values.flatten(), noise);
    }

    /// The streams ordered by class and column, and the bytes of each class.
    pub(crate) fn finish(&mut self) -> (Vec<Stream>, [&[u8]; 3]) {
        let mut streams = std::mem::take(&mut self.streams);
        streams.push(Stream { column: HEAD, kind: Kind::Text, width: 0, values: 0, base: 0, len: self.head.len() });
        streams.sort_by_key(|stream| (stream.kind, stream.column));
        // The head is column 0: its bytes go before the other text.
        self.data[Kind::Text as usize].splice(0..0, self.head.iter().copied());
        (streams, [&self.data[0], &self.data[1], &self.data[2]])
    }
}

/// Base and range of a frame of reference: over the signed or the unsigned order of the values, whichever is narrower.
fn frame(values: &[u64]) -> (u64, u64) {
    let (mut low, mut high) = (u64::MAX, u64::MIN);
    let (mut signed_low, mut signed_high) = (i64::MAX, i64::MIN);
    for &value in values {
        low = low.min(value);
        high = high.max(value);
        signed_low = signed_low.min(value as i64);
        signed_high = signed_high.max(value as i64);
    }
    if values.is_empty() {
        return (0, 0);
    }
    let signed_range = (signed_high as u64).wrapping_sub(signed_low as u64);
    if signed_range < high - low { (signed_low as u64, signed_range) } else { (low, high - low) }
}
