//! An index in memory. A clone shares the contents, so that a simulated restart finds what the life before left.

use std::collections::BTreeMap;
use std::sync::Arc;

use federation_proto::identity::Seq;
use parking_lot::Mutex;

use super::{Index, IndexError, IndexUpdate, IndexValue};

#[derive(Debug, Clone, Default)]
struct Contents {
    entries: BTreeMap<Seq, IndexValue>,
    marker: Option<Vec<u8>>,
    failing: Option<String>,
}

/// An index in memory: for a log that is small enough to be scanned at each start, and for simulation.
///
/// About 60 bytes per record that is pending or acknowledged since the last checkpoint.
#[derive(Debug, Clone, Default)]
pub struct MemoryIndex {
    contents: Arc<Mutex<Contents>>,
}

impl MemoryIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An independent copy of what it holds now: an *older* index, once the log has gone on.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { contents: Arc::new(Mutex::new(self.contents.lock().clone())) }
    }

    /// For simulation: from now on everything fails with this message, or works again.
    pub fn set_failing(&self, message: Option<&str>) {
        self.contents.lock().failing = message.map(str::to_owned);
    }

    /// For simulation: loses one entry without a trace.
    pub fn forget(&self, seq: Seq) {
        self.contents.lock().entries.remove(&seq);
    }

    /// For simulation: flips one bit of one entry.
    pub fn flip_bit(&self, seq: Seq, bit: usize) {
        if let Some(value) = self.contents.lock().entries.get_mut(&seq)
            && let Some(byte) = value.get_mut(bit / 8)
        {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Entries held.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.contents.lock().entries.len()
    }
}

impl Contents {
    fn check(&self) -> Result<(), IndexError> {
        self.failing.as_ref().map_or(Ok(()), |message| Err(IndexError(message.clone())))
    }
}

impl Index for MemoryIndex {
    fn load(&mut self, visit: &mut dyn FnMut(Seq, IndexValue)) -> Result<Option<Vec<u8>>, IndexError> {
        let contents = self.contents.lock();
        contents.check()?;
        for (&seq, &value) in &contents.entries {
            visit(seq, value);
        }
        Ok(contents.marker.clone())
    }

    fn clear(&mut self) -> Result<(), IndexError> {
        let mut contents = self.contents.lock();
        contents.check()?;
        *contents = Contents::default();
        Ok(())
    }

    fn update(&mut self, update: IndexUpdate<'_>) -> Result<(), IndexError> {
        let mut contents = self.contents.lock();
        contents.check()?;
        for seq in update.remove {
            contents.entries.remove(seq);
        }
        contents.entries.extend(update.put.iter().copied());
        contents.marker = Some(update.marker.to_vec());
        Ok(())
    }
}
