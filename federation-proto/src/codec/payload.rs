//! Reading columns out of a container, in the order in which they were written.
//!
//! Every call names how many values it expects; what the container has must agree. Memory is charged against the limit before it is taken,
//! and so is what the values would take if written out (a dictionary can repeat a long string a million times).

use std::ops::Range;

use super::container::Container;
use super::decoder::{DecodeError, DecodeLimits};
use super::streams::{HEAD, Kind, Stream};
use super::{patterns, strings};
use crate::columns::{Blobs, Ints, NOWHERE, Offsets, Places, Sparse, Strs};
use crate::otlp::wire::Reader;

/// A cursor over the columns of a payload.
pub(crate) struct Payload<'a> {
    bytes: &'a [u8],
    /// Streams of each class that are still to be read, by rising column.
    streams: [std::slice::Iter<'a, (Stream, Range<usize>)>; 3],
    head: Reader<'a>,
    column: u32,
    memory_left: usize,
    text_left: usize,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(container: &'a Container, limits: &DecodeLimits) -> Result<Self, DecodeError> {
        let all = container.streams.as_slice();
        let class = |kind| {
            let start = all.partition_point(|(stream, _)| stream.kind < kind);
            let end = all.partition_point(|(stream, _)| stream.kind <= kind);
            all.get(start..end).unwrap_or_default().iter()
        };
        let mut payload = Self {
            bytes: &container.bytes,
            streams: Kind::ALL.map(class),
            head: Reader::new(&[]),
            column: HEAD,
            memory_left: limits.max_memory_bytes,
            text_left: limits.max_text_bytes,
        };
        if let Some((_, data)) = payload.take(Kind::Text) {
            payload.head = Reader::new(data);
        }
        Ok(payload)
    }

    /// That nothing is left.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.head.is_done() && self.streams.iter().all(|class| class.as_slice().is_empty()) {
            Ok(())
        } else {
            Err(self.bad("more than the signal has"))
        }
    }

    /// The error that the column read last is not right.
    #[cold]
    pub(crate) fn bad(&self, what: &'static str) -> DecodeError {
        DecodeError::Column { column: self.column, what }
    }

    /// Takes `count` items of `size` bytes from the memory that may be used.
    pub(crate) fn charge(&mut self, count: usize, size: usize) -> Result<(), DecodeError> {
        let left = count.checked_mul(size).and_then(|bytes| self.memory_left.checked_sub(bytes));
        self.memory_left = left.ok_or(DecodeError::Limit("memory of the columns"))?;
        Ok(())
    }

    /// Takes `count` times `size` bytes from what the values may take when written out.
    pub(crate) fn write_out(&mut self, count: usize, size: usize) -> Result<(), DecodeError> {
        let left = count.checked_mul(size).and_then(|bytes| self.text_left.checked_sub(bytes));
        self.text_left = left.ok_or(DecodeError::Limit("bytes of the values written out"))?;
        Ok(())
    }

    /// A number of the structure.
    pub(crate) fn number(&mut self) -> Result<usize, DecodeError> {
        let number = self.head.varint().ok().and_then(|number| u32::try_from(number).ok());
        number.map(|number| number as usize).ok_or(self.bad("structure is cut"))
    }

    /// A byte string of the structure.
    pub(crate) fn name(&mut self) -> Result<&'a [u8], DecodeError> {
        self.head.bytes().map_err(|_| self.bad("structure is cut"))
    }

    /// The current column's stream of this class, if it has one.
    fn take(&mut self, kind: Kind) -> Option<(Stream, &'a [u8])> {
        let class = &mut self.streams[kind as usize];
        let (stream, range) = class.as_slice().first().filter(|(stream, _)| stream.column == self.column)?;
        class.next();
        Some((*stream, self.bytes.get(range.clone()).unwrap_or_default()))
    }

    /// A column of `len` integers.
    pub(crate) fn ints(&mut self, len: usize) -> Result<Ints, DecodeError> {
        self.column += 1;
        let (planes, noise) = (self.take(Kind::Planes), self.take(Kind::Noise));
        let Some((stream, high)) = planes else {
            return if noise.is_none() { Ok(Ints::Const { value: 0, len }) } else { Err(self.bad("planes are missing")) };
        };
        let (noise_planes, low) = noise.map_or((0, [].as_slice()), |(stream, low)| (usize::from(stream.width), low));
        let width = usize::from(stream.width);
        if stream.values as usize != len || width > 8 || noise_planes > width {
            return Err(self.bad("another number of values"));
        }
        if low.len() != len * noise_planes || high.len() != len * (width - noise_planes) {
            return Err(self.bad("planes of another length"));
        }
        let plane = |index: usize| {
            let (bytes, at) = if index < noise_planes { (low, index) } else { (high, index - noise_planes) };
            bytes.get(at * len..(at + 1) * len).unwrap_or_default()
        };
        self.charge(len, [0, 1, 4, 4, 4, 8, 8, 8, 8][width])?;
        Ok(match width {
            0 => Ints::Const { value: stream.base, len },
            1 => Ints::Bytes { base: stream.base, values: plane(0).to_vec() },
            2..=4 => {
                let mut values = vec![0u32; len];
                for index in 0..width {
                    values.iter_mut().zip(plane(index)).for_each(|(value, &byte)| *value |= u32::from(byte) << (8 * index));
                }
                Ints::Words { base: stream.base, values }
            }
            _ => {
                let mut values = vec![0u64; len];
                for index in 0..width {
                    values.iter_mut().zip(plane(index)).for_each(|(value, &byte)| *value |= u64::from(byte) << (8 * index));
                }
                values.iter_mut().for_each(|value| *value = value.wrapping_add(stream.base));
                Ints::Longs(values)
            }
        })
    }

    /// A column of `len` integers, all below `bound`.
    pub(crate) fn ints_below(&mut self, len: usize, bound: usize) -> Result<Ints, DecodeError> {
        let ints = self.ints(len)?;
        let fits = match &ints {
            Ints::Const { value, len } => *len == 0 || *value < bound as u64,
            ints => ints.iter().all(|value| value < bound as u64),
        };
        if fits { Ok(ints) } else { Err(self.bad("index out of range")) }
    }

    /// A column of `len` integers as a plain list.
    pub(crate) fn list(&mut self, len: usize) -> Result<Vec<u64>, DecodeError> {
        let ints = self.ints(len)?;
        if let Ints::Longs(values) = ints {
            return Ok(values);
        }
        self.charge(len, 8)?;
        Ok(ints.iter().collect())
    }

    /// A column of `len` lengths, as offsets. `size` is the memory that each of the things so divided stands for, whether or not it takes
    /// any: rows of another table must not be conjured up for nothing.
    pub(crate) fn offsets(&mut self, len: usize, size: usize) -> Result<Offsets, DecodeError> {
        let offsets = match self.ints(len)? {
            Ints::Const { value, len } => {
                let total = usize::try_from(value).ok().and_then(|stride| stride.checked_mul(len));
                if total.is_none_or(|total| total > NOWHERE as usize) {
                    return Err(self.bad("lengths beyond 4 GiB"));
                }
                Offsets::Stride { stride: value as usize, len }
            }
            lens => {
                self.charge(len + 1, 4)?;
                let mut ends = Vec::with_capacity(len + 1);
                let mut end = 0u32;
                ends.push(end);
                for len in lens.iter() {
                    let next = u32::try_from(len).ok().and_then(|len| end.checked_add(len));
                    end = next.filter(|&end| end != NOWHERE).ok_or(self.bad("lengths beyond 4 GiB"))?;
                    ends.push(end);
                }
                Offsets::Ends(ends)
            }
        };
        self.charge(offsets.total(), size)?;
        Ok(offsets)
    }

    /// A column of bytes, `len` in all.
    pub(crate) fn bytes(&mut self, kind: Kind, len: usize) -> Result<&'a [u8], DecodeError> {
        self.column += 1;
        let bytes = self.take(kind).map_or([].as_slice(), |(_, bytes)| bytes);
        if bytes.len() == len { Ok(bytes) } else { Err(self.bad("bytes of another length")) }
    }

    /// Lengths, then byte strings.
    pub(crate) fn blobs(&mut self, kind: Kind, len: usize) -> Result<Blobs, DecodeError> {
        let values = self.offsets(len, 1)?;
        let data = self.bytes(kind, values.total())?.to_vec();
        self.write_out(1, data.len())?;
        Ok(Blobs { data, values, codes: None })
    }

    /// Byte strings in any form of [`strings`](super::strings).
    pub(crate) fn coded_blobs(&mut self, kind: Kind, len: usize) -> Result<Blobs, DecodeError> {
        let distinct = match self.number()? as u64 {
            strings::PLAIN => return self.blobs(kind, len),
            strings::PATTERNS => return self.patterned_blobs(kind, len),
            form => (form - strings::PATTERNS) as usize,
        };
        let mut blobs = self.blobs(kind, distinct)?;
        let codes = self.ints_below(len, distinct)?;
        match codes {
            Ints::Const { value, len } if len > 0 => self.write_out(len, blobs.values.range(value as usize).len())?,
            ref codes => codes.iter().try_for_each(|code| self.write_out(1, blobs.values.range(code as usize).len()))?,
        }
        blobs.codes = Some(codes);
        Ok(blobs)
    }

    /// Byte strings that stand as patterns with numbers.
    fn patterned_blobs(&mut self, kind: Kind, len: usize) -> Result<Blobs, DecodeError> {
        let distinct = self.number()?;
        let all = self.blobs(kind, distinct)?;
        let codes = self.ints_below(len, distinct)?;
        self.charge(distinct, 2 * size_of::<usize>())?;
        let marks: Vec<usize> = (0..distinct).map(|code| patterns::marks(all.get(code))).collect();
        let mut rows_of = vec![0; distinct];
        codes.iter().for_each(|code| rows_of[code as usize] += 1);
        let places = marks.iter().copied().max().unwrap_or(0);
        if places > patterns::MAX_NUMBERS {
            return Err(self.bad("pattern with too many numbers"));
        }
        let mut numbers = Vec::new();
        for place in 0..places {
            let count = marks.iter().zip(&rows_of).filter(|(marks, _)| **marks > place).map(|(_, rows)| rows).sum();
            numbers.push(self.list(count)?);
        }
        self.joined(&all, &codes, &marks, &numbers)
    }

    /// Puts strings together: first their lengths, for which memory is claimed.
    fn joined(&mut self, all: &Blobs, codes: &Ints, marks: &[usize], numbers: &[Vec<u64>]) -> Result<Blobs, DecodeError> {
        self.charge(codes.len() + 1, 4)?;
        let mut ends = Vec::with_capacity(codes.len() + 1);
        let mut end = 0u32;
        ends.push(end);
        let mut cursor = patterns::Cursor::new(numbers);
        for code in codes.iter().map(|code| code as usize) {
            let bytes = patterns::joined_len(all.get(code), cursor.row(marks[code])).ok_or(self.bad("number longer than its place"))?;
            self.write_out(1, bytes)?;
            end = u32::try_from(bytes)
                .ok()
                .and_then(|bytes| end.checked_add(bytes))
                .filter(|&end| end != NOWHERE)
                .ok_or(self.bad("lengths beyond 4 GiB"))?;
            ends.push(end);
        }
        self.charge(end as usize, 1)?;
        let mut data = Vec::with_capacity(end as usize);
        let mut cursor = patterns::Cursor::new(numbers);
        for code in codes.iter().map(|code| code as usize) {
            patterns::join(all.get(code), cursor.row(marks[code]), &mut data);
        }
        Ok(Blobs { data, values: Offsets::Ends(ends), codes: None })
    }

    /// Strings in any form of [`strings`](super::strings).
    pub(crate) fn strings(&mut self, len: usize) -> Result<Strs, DecodeError> {
        let Blobs { data, values, codes } = self.coded_blobs(Kind::Text, len)?;
        let data = String::from_utf8(data).map_err(|_| self.bad("string is not UTF-8"))?;
        if !data.is_ascii() && !(0..values.len()).all(|value| data.is_char_boundary(values.range(value).start)) {
            return Err(self.bad("string is not UTF-8"));
        }
        Ok(Strs { data, values, codes })
    }

    /// Flags for `len` rows: which have something, and how many do.
    pub(crate) fn places(&mut self, len: usize) -> Result<(Places, usize), DecodeError> {
        match self.ints(len)? {
            Ints::Const { value, len } => Ok((Places::Every { len, have: value != 0 }, if value == 0 { 0 } else { len })),
            flags => {
                self.charge(len, 4)?;
                let mut count = 0u32;
                let places = flags.iter().map(|flag| {
                    let place = if flag == 0 { NOWHERE } else { count };
                    count += u32::from(flag != 0);
                    place
                });
                Ok((Places::Some(places.collect()), count as usize))
            }
        }
    }

    /// Flags, then values.
    pub(crate) fn sparse(&mut self, len: usize) -> Result<Sparse, DecodeError> {
        let (at, count) = self.places(len)?;
        Ok(Sparse { at, values: self.ints(count)? })
    }
}
