//! Records that wait for the committer's thread, bounded in bytes.

use std::time::Duration;

use bytes::Bytes;
use federation_proto::identity::Seq;
use parking_lot::{Condvar, Mutex};

use crate::error::AppendError;

/// What an item costs besides its bytes.
const ITEM_BYTES: u64 = 64;

/// Told once what became of a record.
pub(super) type Done = Box<dyn FnOnce(Result<Seq, AppendError>) + Send>;

/// A record and who waits for it.
pub(super) struct Item {
    pub(super) meta: Vec<u8>,
    pub(super) payload: Bytes,
    pub(super) done: Done,
}

impl Item {
    fn bytes(&self) -> u64 {
        self.meta.len() as u64 + self.payload.len() as u64 + ITEM_BYTES
    }
}

#[derive(Default)]
struct Inner {
    items: Vec<Item>,
    bytes: u64,
    busy_total: u64,
    closed: bool,
}

pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
    limit_bytes: u64,
}

impl Queue {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { inner: Mutex::new(Inner::default()), changed: Condvar::new(), limit_bytes }
    }

    /// Takes an item, or gives it back with the reason.
    pub(super) fn push(&self, item: Item) -> Result<(), (Item, AppendError)> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err((item, AppendError::Closed));
        }
        let bytes = item.bytes();
        if !inner.items.is_empty() && inner.bytes + bytes > self.limit_bytes {
            inner.busy_total += 1;
            let error = AppendError::Busy { queued_bytes: inner.bytes, limit_bytes: self.limit_bytes };
            return Err((item, error));
        }
        inner.bytes += bytes;
        inner.items.push(item);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for an item, and then up to `max_wait` for company, or until half of the bytes are taken; false when closed and empty.
    pub(super) fn wait(&self, max_wait: Duration) -> bool {
        let mut inner = self.inner.lock();
        while inner.items.is_empty() {
            if inner.closed {
                return false;
            }
            self.changed.wait(&mut inner);
        }
        if !max_wait.is_zero() {
            let half = self.limit_bytes / 2;
            self.changed.wait_while_for(&mut inner, |inner| !inner.closed && inner.bytes < half, max_wait);
        }
        true
    }

    pub(super) fn take(&self) -> Vec<Item> {
        let mut inner = self.inner.lock();
        inner.bytes = 0;
        std::mem::take(&mut inner.items)
    }

    /// Takes no more; what waits is still committed.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn close_and_drain(&self) -> Vec<Item> {
        self.close();
        self.take()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.lock().items.is_empty()
    }

    pub(super) fn busy_total(&self) -> u64 {
        self.inner.lock().busy_total
    }

    pub(super) fn queued_bytes(&self) -> u64 {
        self.inner.lock().bytes
    }
}
