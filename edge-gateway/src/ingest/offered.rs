//! A request between "counted in" and "its fate is known". Whatever happens in between, a panic of ours included, it ends once: its rows
//! leave the account of requests, its twins are woken, its sender is told. Else its hash would be on its way for ever, and with it every
//! retry of its sender.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use federation_proto::identity::Seq;
use federation_proto::ledger::Reason;
use segment_log::AppendError;
use tokio::sync::oneshot;

use super::{Refusal, Shared};
use crate::custody::Request;

/// What the sender is to be told.
type Outcome = Result<(), Refusal>;

enum Fate {
    OnItsWay,
    /// On disk: OK, whatever goes wrong from here on. Rows that get no further stay in the inbox and are batched at the next start.
    OnDisk,
    Refused(Refusal),
}

/// See the module. Its fate is told when it is dropped.
pub(super) struct Offered {
    shared: Arc<Shared>,
    request: Request,
    fate: Fate,
    tell: Option<oneshot::Sender<Outcome>>,
}

impl Offered {
    /// A request for which [`crate::custody::Custody::offer`] said that it is new.
    pub(super) fn new(shared: Arc<Shared>, request: Request) -> Self {
        Self { shared, request, fate: Fate::OnItsWay, tell: None }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    /// Where to hear of its fate.
    pub(super) fn hear(&mut self) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        self.tell = Some(tell);
        told
    }

    /// It is on disk: its rows go to the batcher.
    pub(super) fn stored(mut self, seq: Seq, body: Bytes) {
        self.fate = Fate::OnDisk;
        let shared = &self.shared;
        shared.disk_refuses.store(false, Ordering::Relaxed);
        let closed = shared.custody.lock().stored(shared.clock.now(), seq, &self.request, body);
        shared.inbox_used_bytes.store(shared.inbox.with(|log| log.bytes_on_disk()), Ordering::Relaxed);
        shared.encoders.submit(closed);
    }

    /// The inbox does not take it.
    pub(super) fn not_stored(self, error: &AppendError) {
        let (reason, refusal) = self.shared.refusal(error);
        self.refused(reason, refusal);
    }

    /// Its sender is told this; its rows are counted as refused.
    pub(super) fn refused(mut self, reason: Reason, refusal: Refusal) {
        self.shared.custody.lock().refused(&self.request, reason);
        self.fate = Fate::Refused(refusal);
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let outcome = match std::mem::replace(&mut self.fate, Fate::OnDisk) {
            Fate::OnDisk => Ok(()),
            Fate::Refused(refusal) => Err(refusal),
            Fate::OnItsWay => {
                self.shared.custody.lock().refused(&self.request, Reason::Panicked);
                Err(Refusal::Unavailable("a fault of the edge's own"))
            }
        };
        self.shared.settled.notify_waiters();
        // The sender may be gone.
        let _ = self.tell.take().map(|tell| tell.send(outcome));
    }
}
