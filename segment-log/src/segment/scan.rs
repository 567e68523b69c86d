//! Reads a segment from a place to its end: each record that is whole, and each stretch that is not.
//!
//! A record with a whole header and a damaged body costs exactly itself. Where no header is, the scan goes on by 8 bytes until one is:
//! nothing in a payload can pass for one (see the parent). Memory: one window of 256 KiB, and the meta of a damaged record.

use std::io;
use std::ops::Range;

use super::record::{ALIGN, MAGIC};
use super::{Kind, Part, RECORD_HEADER_BYTES, RecordHeader, SegmentKey, hollow_part};
use crate::mutation::{self, Mutation};
use crate::store::StoreFile;

/// How often a start asks the disk for what it refuses to read: that it refuses once says nothing.
pub(crate) const PATIENT_READS: u32 = 3;
const WINDOW_BYTES: usize = 256 << 10;
/// What is given up around an unreadable sector.
const BLOCK_BYTES: usize = 4096;
const MAX_DAMAGED_META_BYTES: usize = 64 << 10;

/// What stands at a place.
#[derive(Debug)]
pub(crate) enum Found {
    Record { offset: u64, header: RecordHeader },
    Unreadable(Unreadable),
}

/// Bytes that are no whole record.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// The record's header, if that is whole; then the stretch is exactly that record.
    pub(crate) header: Option<RecordHeader>,
    /// Its meta, if that is whole too.
    pub(crate) meta: Option<Vec<u8>>,
}

pub(crate) struct Scanner<'a> {
    file: &'a dyn StoreFile,
    key: SegmentKey,
    offset: u64,
    size: u64,
    window: Vec<u8>,
    window_offset: u64,
    /// Bytes that the disk refused to read.
    pub(crate) refused_bytes: u64,
}

impl<'a> Scanner<'a> {
    /// From `offset` (a multiple of 8) to `size`.
    pub(crate) fn new(file: &'a dyn StoreFile, key: SegmentKey, offset: u64, size: u64) -> Self {
        Self { file, key, offset, size, window: Vec::new(), window_offset: 0, refused_bytes: 0 }
    }

    /// The next record or unreadable stretch; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Found> {
        if self.offset >= self.size {
            return None;
        }
        let offset = self.offset;
        let whole = self.header_at(offset).filter(|header| header.total_bytes() <= self.size - offset);
        let Some(header) = whole else {
            self.offset = self.resync(offset + ALIGN);
            return Some(Found::Unreadable(Unreadable { offset, bytes: self.offset - offset, header: None, meta: None }));
        };
        self.offset = offset + header.total_bytes();
        let body = offset + RECORD_HEADER_BYTES as u64;
        let meta_whole = header.meta_is(self.crc(self.key.seed(offset, Part::Meta), body, header.meta_len.into()));
        let payload_at = body + u64::from(header.meta_len);
        let payload_crc = self.crc(self.key.seed(offset, Part::Payload), payload_at, header.payload_len.into());
        if meta_whole && (header.payload_is(payload_crc) || mutation::is(Mutation::TornTailAccepted)) {
            return Some(Found::Record { offset, header });
        }
        let keep_meta = meta_whole && header.meta_len as usize <= MAX_DAMAGED_META_BYTES;
        let meta = keep_meta.then(|| self.bytes(body, header.meta_len as usize).to_vec());
        Some(Found::Unreadable(Unreadable { offset, bytes: header.total_bytes(), header: Some(header), meta }))
    }

    fn header_at(&mut self, offset: u64) -> Option<RecordHeader> {
        let key = self.key;
        RecordHeader::decode(self.bytes(offset, RECORD_HEADER_BYTES), key, offset)
    }

    /// The first place from `offset` on where a record's header stands that fits into the file; else the end.
    fn resync(&mut self, mut offset: u64) -> u64 {
        while offset + RECORD_HEADER_BYTES as u64 <= self.size {
            if self.bytes(offset, MAGIC.len()) == MAGIC
                && let Some(header) = self.header_at(offset)
                && header.total_bytes() <= self.size - offset
            {
                return offset;
            }
            offset += ALIGN;
        }
        self.size
    }

    fn crc(&mut self, seed: u32, mut offset: u64, mut len: u64) -> u32 {
        let mut crc = seed;
        while len > 0 {
            // What the window has first: no byte is read twice.
            let there = (self.window_offset + self.window.len() as u64).saturating_sub(offset);
            let step = len.min(if there > 0 && offset >= self.window_offset { there } else { WINDOW_BYTES as u64 });
            crc = crc32c::crc32c_append(crc, self.bytes(offset, step as usize));
            offset += step;
            len -= step;
        }
        crc
    }

    /// Up to `len` bytes (at most a window) at `offset`; fewer only at the end of the file.
    fn bytes(&mut self, offset: u64, len: usize) -> &[u8] {
        let end = self.window_offset + self.window.len() as u64;
        let wanted_end = (offset + len as u64).min(self.size);
        if offset < self.window_offset || wanted_end > end {
            self.window_offset = offset;
            let want = (self.size.saturating_sub(offset)).min(WINDOW_BYTES as u64) as usize;
            self.window.resize(want, 0);
            self.refused_bytes += read_around_errors(self.file, &mut self.window, offset);
        }
        let start = (offset - self.window_offset) as usize;
        let window = &self.window;
        window.get(start..window.len().min(start + len)).unwrap_or_default()
    }
}

/// Is this a record whose payload went back to the disk? Its header and meta are whole, and the part of it that goes is all zeros.
pub(crate) fn is_hollow(file: &dyn StoreFile, found: &Unreadable) -> bool {
    let Some(header) = found.header.filter(|header| header.kind == Kind::Data && found.meta.is_some()) else { return false };
    let mut part = hollow_part(found.offset, header.meta_len, header.payload_len);
    if part.is_empty() {
        return false;
    }
    let mut buffer = vec![0; WINDOW_BYTES];
    while !part.is_empty() {
        let step = (part.end - part.start).min(WINDOW_BYTES as u64);
        let block = &mut buffer[..step as usize];
        // No zeros are sought in what cannot be read.
        let refused = read_around_errors(file, block, part.start);
        if refused > 0 || block.iter().any(|&byte| byte != 0) {
            return false;
        }
        part.start += step;
    }
    true
}

/// Reads all that can be read; what the disk refuses, by blocks and each time it is asked, stays zero (no zeros pass a check). Gives the
/// bytes refused.
pub(crate) fn read_around_errors(file: &dyn StoreFile, buffer: &mut [u8], offset: u64) -> u64 {
    if read_exactly(file, buffer, offset).is_ok() {
        return 0;
    }
    let mut refused = 0;
    for (n, block) in buffer.chunks_mut(BLOCK_BYTES).enumerate() {
        if !read_patiently(file, block, offset + (n * BLOCK_BYTES) as u64) {
            block.fill(0);
            refused += block.len() as u64;
        }
    }
    refused
}

/// Reads a block that the disk refused once; false when it refuses it [`PATIENT_READS`] times in all.
fn read_patiently(file: &dyn StoreFile, block: &mut [u8], offset: u64) -> bool {
    (1..PATIENT_READS).any(|_| read_exactly(file, block, offset).is_ok())
}

/// Writes what stands in a part of a file in its own place, so that an fsync has it to write; all but what the disk refuses to read.
pub(crate) fn write_again(file: &dyn StoreFile, part: Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; WINDOW_BYTES];
    for offset in part.clone().step_by(WINDOW_BYTES) {
        let window = &mut buffer[..(part.end - offset).min(WINDOW_BYTES as u64) as usize];
        if read_exactly(file, window, offset).is_ok() {
            file.write_at(window, offset)?;
            continue;
        }
        for (block, offset) in window.chunks_mut(BLOCK_BYTES).zip((offset..).step_by(BLOCK_BYTES)) {
            if read_patiently(file, block, offset) {
                file.write_at(block, offset)?;
            }
        }
    }
    Ok(())
}

fn read_exactly(file: &dyn StoreFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let read = file.read_at(buffer, offset)?;
    buffer[read..].fill(0);
    Ok(())
}
