//! How many connections a listener may have: as many as fit into its memory by what each may hold unread.
//!
//! A connection may hold its HTTP/2 window (or HTTP/1.1 read buffer) and about [`BUFFERS_BYTES`] of frames, tables and TLS records. While
//! at least half of the memory is free a new connection gets a window of [`WIDE_BYTES`], so that few senders are fast over long ways; then
//! [`NARROW_BYTES`], the least that HTTP/2 knows, so that many senders fit in. With the default of 128 MiB for two listeners each of them
//! takes 32 wide connections and 330 narrow ones: raise `receive.memory` for more.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Window of a connection while there is much room.
pub(super) const WIDE_BYTES: u32 = 1 << 20;
/// Window of a connection when there is not: RFC 9113, 6.9.2 has it that no connection begins with less.
pub(super) const NARROW_BYTES: u32 = (64 << 10) - 1;
/// What a connection holds beside its window.
const BUFFERS_BYTES: u32 = 32 << 10;
/// Room is given in steps of this: a narrow connection.
const STEP_BYTES: u32 = NARROW_BYTES + 1 + BUFFERS_BYTES;
/// Connections that fit in however little memory there is.
const LEAST: usize = 16;
/// Steps of a wide connection.
const WIDE_STEPS: u32 = (WIDE_BYTES + BUFFERS_BYTES).div_ceil(STEP_BYTES);

/// The memory that a listener's connections may hold.
#[derive(Debug)]
pub(super) struct Room {
    steps: Arc<Semaphore>,
    all_steps: usize,
}

/// One connection's part of it; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Bytes that the sender may have on its way.
    pub(super) window_bytes: u32,
    _steps: OwnedSemaphorePermit,
}

impl Room {
    /// Of `bytes`; a few connections fit in always.
    pub(super) fn new(bytes: usize) -> Self {
        let all_steps = (bytes / STEP_BYTES as usize).clamp(LEAST, Semaphore::MAX_PERMITS);
        Self { steps: Arc::new(Semaphore::new(all_steps)), all_steps }
    }

    /// A place for one connection, when there is one.
    pub(super) async fn place(&self) -> Option<Place> {
        let half_is_free = self.steps.available_permits() >= (self.all_steps / 2).max(WIDE_STEPS as usize);
        let (window_bytes, steps) = if half_is_free { (WIDE_BYTES, WIDE_STEPS) } else { (NARROW_BYTES, 1) };
        // The semaphore is never closed.
        let steps = Arc::clone(&self.steps).acquire_many_owned(steps).await.ok()?;
        Some(Place { window_bytes, _steps: steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes, the windows together are within the memory; the first are wide, the rest narrow; a place that is given back can
    /// be had again.
    #[tokio::test]
    async fn windows_are_within_the_memory() {
        const MEMORY: usize = 64 << 20;
        let room = Room::new(MEMORY);
        let mut places = Vec::new();
        while room.steps.available_permits() > 0 {
            places.push(room.place().await.unwrap());
        }
        let wide = places.iter().filter(|place| place.window_bytes == WIDE_BYTES).count();
        assert_eq!((wide, places.len() - wide), (32, 330));
        let held: u64 = places.iter().map(|place| u64::from(place.window_bytes + BUFFERS_BYTES)).sum();
        assert!(held <= MEMORY as u64, "{held}");
        let waiting = room.place();
        tokio::pin!(waiting);
        assert!(futures_are_pending(&mut waiting).await, "there is room for one more");
        places.pop();
        assert_eq!(waiting.await.unwrap().window_bytes, NARROW_BYTES);
    }

    async fn futures_are_pending(future: &mut (impl Future<Output = Option<Place>> + Unpin)) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    /// However little the memory, somebody can connect.
    #[tokio::test]
    async fn some_always_fit() {
        let room = Room::new(0);
        let mut places = Vec::new();
        while room.steps.available_permits() > 0 {
            places.push(room.place().await.unwrap());
        }
        assert!(places.len() > 2, "{}", places.len());
    }
}
