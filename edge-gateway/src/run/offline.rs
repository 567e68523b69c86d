//! The edge's logs without the edge: for repairing and dropping while it is stopped. Both logs are locked; the ledger is kept as a running
//! edge keeps it, and is in the same checkpoint as what went.

use federation_proto::identity::{Seq, Signal, TenantId};
use federation_proto::ledger::Reason;
use parking_lot::Mutex;
use repair::Selection;
use repair::dropping::Sum;
use segment_log::{CheckpointError, Log};

use super::RunError;
use super::open::{Logs, open_logs};
use crate::config::Config;
use crate::custody::{Custody, checkpoint_inbox, checkpoint_spool};
use crate::shipper::Item;
use crate::spool::Stored;

/// Both logs and the account of their rows. Whatever a start repairs is repaired when this opens.
#[derive(Debug)]
pub struct Offline {
    custody: Mutex<Custody>,
    inbox: Mutex<Log>,
    spool: Mutex<Log>,
    items: Vec<Item>,
    /// Rows that went with the disk, by tenant and signal: counted as dropped (`damaged`).
    pub lost: Vec<(TenantId, Signal, u64)>,
    /// Ranges that were put aside, in both logs.
    pub put_aside: usize,
    /// Records that the disk refuses to read: left alone.
    pub unread: usize,
}

impl Offline {
    /// Opens the logs as a start does. Blocks.
    ///
    /// # Errors
    /// [`RunError::Log`]: among others when the edge runs.
    pub fn open(config: &Config) -> Result<Self, RunError> {
        let Logs { custody, inbox, spool, items, lost, put_aside, unread } = open_logs(config)?;
        Ok(Self { custody: Mutex::new(custody), inbox: Mutex::new(inbox), spool: Mutex::new(spool), items, lost, put_aside, unread })
    }

    /// Batches that are to be shipped.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.items.len()
    }

    /// Drops what is selected, counted in the ledger as [`Reason::Operator`]; durable after [`Offline::close`]. Each may have been sent
    /// before the edge stopped: counted as possibly delivered too. `now` is Unix seconds.
    pub fn drop(&mut self, selection: &Selection, now: u64) -> Sum {
        let (mut sum, mut custody, mut spool) = (Sum::default(), self.custody.lock(), self.spool.lock());
        let meant: Vec<Item> = self.items.extract_if(.., |item| is_selected(&spool, item.seq, selection, now)).collect();
        for item in meant {
            if spool.discard(item.seq) {
                custody.dropped(&item, Reason::Operator);
                custody.possibly_delivered(&item);
                sum.add_rows(&item.tenant, item.signal, item.class, item.rows.into());
            }
        }
        sum
    }

    /// Makes what was done durable.
    ///
    /// # Errors
    /// [`CheckpointError`]: nothing was dropped or repaired, and the files are as before.
    pub fn close(self) -> Result<(), CheckpointError> {
        checkpoint_spool(&self.custody, &self.spool, &self.inbox)?;
        checkpoint_inbox(&self.custody, &self.inbox)
    }
}

/// Is the batch of this record meant? One that cannot be read is not.
pub(super) fn is_selected(log: &Log, seq: Seq, selection: &Selection, now: u64) -> bool {
    if !selection.range().contains(&seq.0) {
        return false;
    }
    let stored = log.read_meta(seq).ok().and_then(|meta| Stored::decode(&meta).ok());
    stored.is_some_and(|stored| selection.matches(seq, &stored.header, now))
}
