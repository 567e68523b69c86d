//! One budget for request bodies in memory, from the first byte read off a socket to the last row encoded. A body carries its claim
//! with it ([`Claim::hold`]), so whoever drops the last view of the bytes gives the memory back.
//!
//! Over the budget a sender waits a little, in the order of arrival, and is then told to retry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Claims are counted in steps of this, in bytes.
const STEP: usize = 1024;

/// The budget. Clones share it.
#[derive(Debug, Clone)]
pub struct Memory {
    steps: Arc<Semaphore>,
    all_steps: usize,
    wait: Duration,
}

/// The budget stayed used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Claim(OwnedSemaphorePermit);

impl Memory {
    /// `bytes` in all; a claim waits for at most `wait`.
    #[must_use]
    pub fn new(bytes: usize, wait: Duration) -> Self {
        Self { steps: Arc::new(Semaphore::new(bytes / STEP)), all_steps: bytes / STEP, wait }
    }

    /// Claims `bytes`, rounded up.
    ///
    /// # Errors
    /// [`Full`] after the wait.
    pub async fn claim(&self, bytes: usize) -> Result<Claim, Full> {
        if bytes.div_ceil(STEP) > self.all_steps {
            return Err(Full);
        }
        tokio::time::timeout(self.wait, self.claim_patiently(bytes)).await.unwrap_or(Err(Full))
    }

    /// Claims `bytes`, however long that takes. More than the budget claims all of it: claims are served in order, and one that could
    /// never be would hold up all behind it. (An inbox may hold a body from before `receive.memory` was made smaller.)
    ///
    /// # Errors
    /// [`Full`] when the budget is beyond what can be claimed at once.
    pub async fn claim_patiently(&self, bytes: usize) -> Result<Claim, Full> {
        let steps = u32::try_from(bytes.div_ceil(STEP).min(self.all_steps)).map_err(|_| Full)?;
        Arc::clone(&self.steps).acquire_many_owned(steps).await.map(Claim).map_err(|_| Full)
    }

    /// Bytes not claimed.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.steps.available_permits() * STEP
    }
}

impl Claim {
    /// Bytes claimed.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.num_permits() * STEP
    }

    /// Gives back what is beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(bytes.div_ceil(STEP));
        drop(self.0.split(surplus));
    }

    /// Takes another claim into this one.
    pub fn join(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// The bytes, with the claim attached to them: it is given back when the last view of them is dropped.
    #[must_use]
    pub fn hold(mut self, bytes: Bytes) -> Bytes {
        self.shrink_to(bytes.len());
        Bytes::from_owner(Held { bytes, _claim: self })
    }
}

struct Held {
    bytes: Bytes,
    _claim: Claim,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(1);

    /// A body's memory comes back when its last view goes, not before, and what was claimed too much comes back at once.
    #[tokio::test]
    async fn a_body_carries_its_claim() {
        let memory = Memory::new(10 * STEP, WAIT);
        let mut claim = memory.claim(8 * STEP).await.unwrap();
        claim.join(memory.claim(1).await.unwrap());
        assert_eq!((claim.bytes(), memory.free_bytes()), (9 * STEP, STEP));
        let body = claim.hold(Bytes::from(vec![7; 2 * STEP + 1]));
        assert_eq!(memory.free_bytes(), 7 * STEP);
        let view = body.slice(5..6);
        drop(body);
        assert_eq!(memory.free_bytes(), 7 * STEP);
        drop(view);
        assert_eq!(memory.free_bytes(), 10 * STEP);
    }

    /// Over the budget the answer is no after the wait; what was dropped can be had again.
    #[tokio::test]
    async fn over_the_budget_is_full() {
        let memory = Memory::new(4 * STEP, WAIT);
        let claim = memory.claim(3 * STEP).await.unwrap();
        assert_eq!(memory.claim(2 * STEP).await.err(), Some(Full));
        drop(claim);
        assert!(memory.claim(4 * STEP).await.is_ok());
    }

    /// A claim beyond the whole budget is no for who may be refused, takes everything for who may not, and blocks nobody for ever.
    #[tokio::test]
    async fn more_than_everything_is_everything() {
        let memory = Memory::new(4 * STEP, WAIT);
        assert_eq!(memory.claim(5 * STEP).await.err(), Some(Full));
        let long = Duration::from_secs(10);
        let all = tokio::time::timeout(long, memory.claim_patiently(9 * STEP)).await.unwrap().unwrap();
        assert_eq!((all.bytes(), memory.free_bytes()), (4 * STEP, 0));
        drop(all.hold(Bytes::from(vec![0; 9 * STEP])));
        assert_eq!(memory.free_bytes(), 4 * STEP);
    }
}
