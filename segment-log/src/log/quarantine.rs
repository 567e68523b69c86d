//! Damaged bytes are copied aside before their segment may go, so that someone can look. Bounded: `Options::quarantine_bytes`, half of it
//! for what is merely torn.

use std::io;

use crate::segment::{SegmentNo, read_around_errors};
use crate::store::{Store, StoreEntry, StoreFile};

pub(super) const PREFIX: &str = "quarantine/";
const CHUNK_BYTES: u64 = 256 << 10;

/// What is put aside, and how much more may be.
pub(super) struct Quarantine {
    bytes: u64,
    limit_bytes: u64,
}

/// Bytes of a segment to put aside.
pub(super) struct Stretch<'a> {
    pub(super) file: &'a dyn StoreFile,
    pub(super) segment: SegmentNo,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Nothing of value, most likely.
    pub(super) torn: bool,
}

impl Quarantine {
    pub(super) fn new(entries: &[StoreEntry], limit_bytes: u64) -> Self {
        let bytes = entries.iter().filter(|entry| entry.name.starts_with(PREFIX)).map(|entry| entry.bytes).sum();
        Self { bytes, limit_bytes }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn has_room(&self, bytes: u64, torn: bool) -> bool {
        self.bytes + bytes <= if torn { self.limit_bytes / 2 } else { self.limit_bytes }
    }

    /// Copies a stretch; gives the file, unless there is no room, nothing but zeros, or a disk that refuses.
    pub(super) fn copy(&mut self, store: &dyn Store, stretch: &Stretch<'_>) -> Option<String> {
        let name = format!("{PREFIX}{:010}-{}.bin", stretch.segment.0, stretch.offset);
        if store.open(&name).is_ok() {
            // An open before this one has seen the same damage.
            return Some(name);
        }
        if !self.has_room(stretch.bytes, stretch.torn) {
            return None;
        }
        match copy_to(store, &name, stretch) {
            Ok(bytes) => {
                self.bytes += bytes;
                (bytes > 0).then_some(name)
            }
            Err(error) => {
                tracing::warn!(place = store.place(), file = name, %error, "cannot put damaged bytes aside");
                None
            }
        }
    }

    /// Moves a whole segment; gives its new name, unless there is no room or the disk refuses.
    pub(super) fn take(&mut self, store: &dyn Store, name: &str, bytes: u64) -> Option<String> {
        let to = format!("{PREFIX}{name}");
        if !self.has_room(bytes, false) {
            return None;
        }
        store.rename(name, &to).ok()?;
        self.bytes += bytes;
        Some(to)
    }
}

/// Bytes copied; zero, and no file, if they are all zeros.
fn copy_to(store: &dyn Store, name: &str, stretch: &Stretch<'_>) -> io::Result<u64> {
    let mut out = None;
    let mut copied = 0;
    let mut buffer = Vec::new();
    while copied < stretch.bytes {
        buffer.resize((stretch.bytes - copied).min(CHUNK_BYTES) as usize, 0);
        read_around_errors(stretch.file, &mut buffer, stretch.offset + copied);
        if out.is_none() && buffer.iter().any(|&byte| byte != 0) {
            out = Some(store.create_new(name)?);
        }
        if let Some(out) = &out {
            out.write_at(&buffer, copied)?;
        }
        copied += buffer.len() as u64;
    }
    Ok(if out.is_some() { copied } else { 0 })
}
