//! The rounds of a committer without a thread, done when they are told to, in two halves: so that a simulation can put a crash, or anything
//! else, between a record's append and its fsync.

use std::sync::Arc;

use super::{Shared, Waiting, fail};

/// Does the rounds of a [`super::Committer`] made by [`super::Committer::by_hand`]. Dropped, whoever waits hears `Closed`, as after a kill.
pub struct Hand {
    shared: Arc<Shared>,
}

impl Hand {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Is there nothing to do?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.queue.is_empty() && !self.is_open()
    }

    /// Is a group appended and not synced?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.open.lock().is_some()
    }

    /// The first half of a round: appends what waits, if the round before is finished and something does.
    pub fn begin(&self) {
        if self.is_open() || self.shared.queue.is_empty() {
            return;
        }
        let mut waiting = self.shared.append_group(self.shared.queue.take());
        *self.shared.open.lock() = Some(std::mem::take(&mut waiting.dones));
    }

    /// The second half: syncs the group that was begun and tells everyone.
    pub fn finish(&self) {
        self.shared.finish_open();
    }

    /// A whole round.
    pub fn step(&self) {
        self.begin();
        self.finish();
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        fail(self.shared.queue.close_and_drain(), &self.shared.panics_total);
        let open = self.shared.open.lock().take();
        if let Some(dones) = open {
            drop(Waiting { dones, panics_total: &self.shared.panics_total });
        }
    }
}

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hand").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn finish_open(&self) {
        let open = self.open.lock().take();
        if let Some(dones) = open {
            self.sync_group(Waiting { dones, panics_total: &self.panics_total });
        }
    }
}
