//! What a router said of batches, applied to shipper, spool and ledger.
//!
//! The ack in the spool and its row count in the ledger are changed under the spool's lock together, so that a checkpoint has both or
//! neither: after a crash the same batch is shipped, acked and counted again from the same state.

use std::time::{Duration, Instant};

use federation_proto::control::{Ack, Nack, NackReason};
use federation_proto::identity::{Seq, SpoolId};
use federation_proto::ledger::Reason;
use segment_log::ReadError;

use super::Shared;
use crate::shipper::{Item, Shipper};
use crate::spool::Stored;

/// A refused batch is not sent again before this, whatever the router says.
const LEAST_RETRY: Duration = Duration::from_millis(100);
/// Nor held back for longer than this.
const MOST_RETRY: Duration = Duration::from_secs(300);

/// The router has these on its journal: what of them was here.
pub(super) fn acked(ack: &Ack, spool: SpoolId, shipper: &mut Shipper) -> Vec<Item> {
    if ack.spool != spool.0 {
        return Vec::new();
    }
    ack.ranges.iter().flat_map(|range| shipper.acked(Seq(range.first), Seq(range.last))).collect()
}

/// The router did not take this batch. If it never will, says which and why: to be refused.
pub(super) fn nacked(now: Instant, nack: &Nack, spool: SpoolId, shipper: &mut Shipper) -> Option<(Seq, Reason)> {
    if nack.spool != spool.0 {
        return None;
    }
    let seq = Seq(nack.seq);
    let reason = NackReason::try_from(nack.reason).unwrap_or(NackReason::Unspecified);
    metrics::counter!("tributary_edge_nacks_total", "reason" => format!("{reason:?}")).increment(1);
    if reason.is_permanent() {
        tracing::error!(batch = %seq, ?reason, message = nack.message, "a router refused a batch for good");
        return Some((seq, dropped(reason)));
    }
    let after = Duration::from_millis(nack.retry_after_ms).clamp(LEAST_RETRY, MOST_RETRY);
    tracing::debug!(batch = %seq, ?reason, ?after, message = nack.message, "a router wants a batch later");
    shipper.hold(seq, now + after, reason == NackReason::OverQuota);
    None
}

impl Shared {
    /// Batches that the shipper has let go are on a router's journal.
    pub fn shipped(&self, items: &[Item]) {
        self.spool.with(|log| {
            let mut custody = self.custody.lock();
            for item in items {
                if log.ack(item.seq) {
                    custody.shipped(item);
                }
            }
        });
        metrics::counter!("tributary_edge_acked_batches_total").increment(items.len() as u64);
        self.acked.notify_waiters();
    }

    /// A batch that the shipper has let go dies for a stated reason; its bytes are put aside. Blocks.
    pub fn reject(&self, item: &Item, reason: Reason) {
        let seq = item.seq;
        match self.put_aside(seq) {
            Ok(true) => {}
            Ok(false) => tracing::warn!(batch = %seq, "rejected batches are at their budget (spool.rejected): this one is not kept"),
            Err(error) => tracing::error!(batch = %seq, error, "a rejected batch could not be put aside"),
        }
        self.spool.with(|log| {
            let mut custody = self.custody.lock();
            if log.ack(seq) {
                custody.dropped(item, reason);
            }
        });
        self.acked.notify_waiters();
    }

    /// Batches that die in the spool by its policy. Those that are on their way by now stay. Gives those that died.
    pub(crate) fn give_up(&self, seqs: &[Seq], reason: Reason) -> Vec<Item> {
        let gone: Vec<(Item, bool)> = {
            let mut shipper = self.shipper.lock();
            seqs.iter().filter_map(|seq| shipper.give_up(*seq)).collect()
        };
        if gone.is_empty() {
            return Vec::new();
        }
        self.spool.with(|log| {
            let mut custody = self.custody.lock();
            for (item, was_sent) in &gone {
                if log.discard(item.seq) {
                    custody.dropped(item, reason);
                    if *was_sent {
                        custody.possibly_delivered(item);
                    }
                }
            }
        });
        self.acked.notify_waiters();
        gone.into_iter().map(|(item, _)| item).collect()
    }

    fn put_aside(&self, seq: Seq) -> Result<bool, String> {
        // One payload in memory at a time, and one that counts what is there.
        let _turn = self.rejected.turn();
        let record = self.spool.with(|log| log.prepare_read(seq)).and_then(|read| read.run()).map_err(|error| error.to_string())?;
        let stored = Stored::decode(&record.meta).map_err(|error| error.to_string())?;
        let header = stored.named(self.spool_id, seq);
        self.rejected.keep(header.id, &header.encode(), &record.payload).map_err(|error| error.to_string())
    }

    /// The record of a batch that the shipper has let go is not what was written: it is quarantined, and its rows are counted. Blocks.
    pub fn damaged(&self, item: &Item, error: &ReadError) {
        let seq = item.seq;
        tracing::error!(batch = %seq, tenant = %item.tenant, rows = item.rows, %error, "a batch in the spool cannot be read: dropped");
        metrics::counter!("tributary_edge_damaged_records_total", "log" => "spool").increment(1);
        self.spool.with(|log| {
            log.quarantine(seq);
            self.custody.lock().dropped(item, Reason::Damaged);
        });
        self.acked.notify_waiters();
    }

    /// The record of a batch as it goes on the wire: header and payload. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]: of kind `Io` the disk may yet give it, of the others it never will.
    pub fn read(&self, seq: Seq) -> Result<(Vec<u8>, bytes::Bytes), ReadError> {
        let record = self.spool.with(|log| log.prepare_read(seq)).and_then(|read| read.run())?;
        let stored = Stored::decode(&record.meta).map_err(|_| ReadError::NotPending(seq))?;
        Ok((stored.named(self.spool_id, seq).encode(), record.payload))
    }
}

fn dropped(reason: NackReason) -> Reason {
    match reason {
        NackReason::TenantNotAllowed => Reason::TenantNotAllowed,
        NackReason::TooLarge => Reason::TooLarge,
        NackReason::UnknownEncoding => Reason::UnknownEncoding,
        NackReason::Malformed => Reason::Malformed,
        NackReason::Unspecified | NackReason::OverQuota | NackReason::JournalFull | NackReason::Again | NackReason::Draining => {
            Reason::Unreachable
        }
    }
}

/// Is this the spool that an id names? Acks and nacks of others are of an earlier disk, and mean nothing here.
pub(super) fn floor(spool: SpoolId, floor: Seq) -> federation_proto::control::SpoolFloor {
    federation_proto::control::SpoolFloor { spool: spool.0.to_vec(), floor: floor.0 }
}
