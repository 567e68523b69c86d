//! Where is what: a copy, kept for speed, of what the segments say. Nothing here is ever believed against them.
//!
//! The log keeps the locations of pending records in memory and tells the index what it synced and what it dropped, so that an open need
//! not read every segment. An index may be missing, damaged, older (its last writes lost), or of another log: the log notices (see
//! `log::open`) and scans. An index that errs while running is set aside until the next checkpoint, reported in
//! [`crate::Stats::index_failure`], and stops nothing.

mod memory;
mod sled;

use federation_proto::identity::Seq;

pub use self::memory::MemoryIndex;
pub use self::sled::SledIndex;

/// Bytes of one entry: where a record lies, with a checksum of its own.
pub const VALUE_BYTES: usize = 24;

/// One entry, opaque to the index.
pub type IndexValue = [u8; VALUE_BYTES];

/// An index that cannot be used. The log goes on without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IndexError(pub String);

/// What changes in one step. Applied whole or not at all: a part of it would be noticed, at the price of a scan.
#[derive(Debug, Clone, Copy)]
pub struct IndexUpdate<'a> {
    /// Entries to add or replace.
    pub put: &'a [(Seq, IndexValue)],
    /// Entries to remove; absent ones are no error.
    pub remove: &'a [Seq],
    /// Replaces the marker: which log this is, and how far the index goes.
    pub marker: &'a [u8],
}

/// Keeps entries by seq, and one marker.
pub trait Index: Send {
    /// Opens what is stored, shows all entries in any order, and gives the marker (`None`: nothing stored). Called at most once, first,
    /// when the log holds its directory's lock.
    ///
    /// # Errors
    /// The stored index cannot be read; [`Index::clear`] comes next.
    fn load(&mut self, visit: &mut dyn FnMut(Seq, IndexValue)) -> Result<Option<Vec<u8>>, IndexError>;

    /// Forgets everything, the marker first, whatever state the index is in.
    ///
    /// # Errors
    /// The index cannot be made empty; the log goes on without it.
    fn clear(&mut self) -> Result<(), IndexError>;

    /// Applies a change. Need not be durable.
    ///
    /// # Errors
    /// The index cannot be written; the log goes on without it.
    fn update(&mut self, update: IndexUpdate<'_>) -> Result<(), IndexError>;
}
