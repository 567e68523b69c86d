//! The journal without the router: for repairing and dropping while it is stopped. The log is locked; the book is kept as a running router
//! keeps it, and is in the same checkpoint as what went.
//!
//! What is dropped stays in the sets of ids that were journalled: an edge that sends it again gets its ack, and nothing is journalled.

use std::path::Path;
use std::sync::Arc;

use federation_proto::header::BatchHeader;
use federation_proto::ledger::Reason;
use repair::Selection;
use repair::dropping::Sum;
use segment_log::{CheckpointError, FileStore, Log, SledIndex};

use super::book::Book;
use super::{JournalError, JournalOptions, Opened, open};

/// The log and its book. Whatever a start repairs is repaired when this opens.
#[derive(Debug)]
pub struct Offline {
    log: Log,
    book: Book,
    /// What was found.
    pub opened: Opened,
}

impl Offline {
    /// Opens the journal in `dir` as a start does. Blocks.
    ///
    /// # Errors
    /// [`JournalError`]: among others when the router runs.
    pub fn open(dir: &Path, options: &JournalOptions, tiers: &[String]) -> Result<Self, JournalError> {
        let store = FileStore::new(dir).map_err(|error| JournalError::Dir { place: dir.display().to_string(), error })?;
        let (log, book, opened) = open(Arc::new(store), Box::new(SledIndex::new(dir.join("index"))), options, tiers)?;
        Ok(Self { log, book, opened })
    }

    /// Drops what is selected, counted at each tier that was still to see it as [`Reason::Operator`]; durable after [`Offline::close`].
    /// `now` is Unix seconds.
    pub fn drop(&mut self, selection: &Selection, now: u64) -> Sum {
        let mut sum = Sum::default();
        let pending: Vec<_> = self.log.pending().map(|(seq, _)| seq).filter(|seq| selection.range().contains(&seq.0)).collect();
        for seq in pending {
            let header = self.log.read_meta(seq).ok().and_then(|meta| BatchHeader::decode(&meta).ok());
            let Some((header, _)) = header.filter(|(header, _)| selection.matches(seq, header, now)) else { continue };
            if self.book.drop_record(seq, Reason::Operator) && self.log.discard(seq) {
                sum.add(&header);
            }
        }
        sum
    }

    /// Makes what was done durable.
    ///
    /// # Errors
    /// [`CheckpointError`]: nothing was dropped or repaired, and the files are as before.
    pub fn close(mut self) -> Result<(), CheckpointError> {
        self.log.checkpoint(&self.book.encode())
    }
}

#[cfg(test)]
mod tests;
