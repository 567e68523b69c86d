//! Open files of segments that are read. A log of 100 GiB has 1,600 segments; a process may have 1,024 files.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::segment::SegmentNo;
use crate::store::{Store, StoreFile};

const MAX_OPEN: usize = 32;

/// The files read last.
#[derive(Default)]
pub(super) struct OpenFiles {
    open: Mutex<VecDeque<(SegmentNo, Arc<dyn StoreFile>)>>,
}

impl OpenFiles {
    /// The file of a segment, opened if it is not among the last 32.
    pub(super) fn get(&self, store: &dyn Store, number: SegmentNo, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let mut open = self.open.lock();
        let entry = match open.iter().position(|(open, _)| *open == number).and_then(|at| open.remove(at)) {
            Some(entry) => entry,
            None => (number, store.open(name)?),
        };
        let file = Arc::clone(&entry.1);
        open.push_back(entry);
        if open.len() > MAX_OPEN {
            open.pop_front();
        }
        Ok(file)
    }

    /// Closes a file that was removed.
    pub(super) fn forget(&self, number: SegmentNo) {
        self.open.lock().retain(|(open, _)| *open != number);
    }
}
