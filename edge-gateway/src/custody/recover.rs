//! From two logs as a crash left them to the account of all rows.
//!
//! The ledger survives with the spool's checkpoint; entries behind its `counted` are counted anew from the inbox, queues from what
//! lies in both logs. Where the disk lost records, what was counted in and is found nowhere is counted as dropped (`damaged`), and
//! where it lost the checkpoint, what is found is what was received: a ledger that does not balance after that is a bug to be seen,
//! so without damage nothing is evened out.
//!
//! A record that the disk refuses to read, also when asked again, is not damaged: it stays where it is, its rows are queued as `unread`, and
//! the next start looks again. Until then its body's hash is not known either: should its sender, whose OK was lost, send it once more, it is
//! taken once more. A spool record behind the checkpoint also says which inbox rows are in it; while that cannot be read, no inbox row from
//! before the start is batched, since it might be there already. Checkpoints carry such records on until their sources are known.

use federation_proto::identity::{Seq, Signal, TenantId};
use federation_proto::ledger::{Reason, Terms};
use segment_log::{DamageKind, Log, ReadError, Recovery};

use super::checkpoint::State;
use super::{Custody, Rows, Settings};
use crate::inbox::Entry;
use crate::shipper::Item;
use crate::spool::Stored;

/// What a start found.
#[derive(Debug)]
pub struct Recovered {
    /// The account of all rows.
    pub custody: Custody,
    /// Batches to ship, oldest first.
    pub items: Vec<Item>,
    /// Spool records that are not what was written: to be quarantined.
    pub bad_batches: Vec<Seq>,
    /// Records of either log that the disk refuses to read: left alone until the next start.
    pub unread: usize,
    /// Rows that went with the disk, by tenant and signal.
    pub lost: Vec<(TenantId, Signal, u64)>,
}

/// Makes the account from the logs.
#[must_use]
pub fn recover(settings: Settings, inbox: (&Log, &Recovery), spool: (&Log, &Recovery)) -> Recovered {
    let (inbox, inbox_found) = inbox;
    let (spool, spool_found) = spool;
    let mut custody = Custody::new(settings, inbox.id());
    let mut damaged = [inbox_found, spool_found].iter().any(|found| found.damaged.iter().any(|damage| damage.kind != DamageKind::Torn));
    // Before the first checkpoint all that was received is still there, and nothing has to be evened out. Where one is gone, it has to be.
    damaged |= spool_found.state.is_none() || !restore(&mut custody, spool_found);
    // An inbox entry goes after the checkpoint that counted it: one that is gone and not counted went with a checkpoint that is gone too,
    // though the cut looks like an end that was never synced.
    damaged |= inbox.cursors().acked > custody.counted;
    if let Some(recent) = &inbox_found.state {
        custody.recent.restore(recent);
    }
    let mut unread = 0;
    let (items, bad_batches) = read_spool(&mut custody, spool, spool_found, &mut unread);
    let bad_entries = read_inbox(&mut custody, inbox, inbox_found, &mut unread);
    damaged |= !bad_batches.is_empty() || bad_entries || custody.uneven;
    custody.uneven = unread > 0;
    let lost = if damaged || custody.uneven { custody.reconcile() } else { Vec::new() };
    custody.changed = true;
    Recovered { custody, items, bad_batches, unread, lost }
}

/// The newest checkpoint's state; false when there should be one and is not, or it speaks of another inbox.
fn restore(custody: &mut Custody, found: &Recovery) -> bool {
    let Some(bytes) = &found.state else { return true };
    let Some(state) = State::decode(bytes) else { return false };
    custody.ledger = state.ledger;
    custody.wire = state.wire;
    custody.uneven = state.uneven;
    custody.ages = state.ages;
    if state.inbox != custody.inbox {
        return false;
    }
    custody.counted = state.counted;
    custody.consumed = state.consumed;
    custody.untaken = state.untaken;
    true
}

/// Counts what lies in the spool, and takes the sources of what is behind the checkpoint.
fn read_spool(custody: &mut Custody, spool: &Log, found: &Recovery, unread: &mut usize) -> (Vec<Item>, Vec<Seq>) {
    let (mut items, mut bad) = (Vec::new(), Vec::new());
    let untaken = std::mem::take(&mut custody.untaken);
    for (seq, _) in spool.pending() {
        let news = found.after_checkpoint.binary_search(&seq).is_ok() || untaken.contains(&seq);
        let stored = match spool.read_meta_patiently(seq).map(|meta| Stored::decode(&meta)) {
            Ok(Ok(stored)) => stored,
            Err(ReadError::Io { .. }) => {
                *unread += 1;
                if news {
                    custody.untaken.insert(seq);
                }
                continue;
            }
            Ok(Err(_)) | Err(_) => {
                bad.push(seq);
                continue;
            }
        };
        if news && stored.sources.inbox == custody.inbox {
            custody.consumed.add(&stored.sources);
        }
        let item = stored.item(seq);
        custody.ledger.account(&item.tenant, item.signal);
        custody.queued_mut(&item.tenant, item.signal).spool += u64::from(item.rows);
        items.push(item);
    }
    (items, bad)
}

/// Counts what lies in the inbox, and puts what no batch has into the backlog. True when something there cannot be read.
fn read_inbox(custody: &mut Custody, inbox: &Log, found: &Recovery, unread: &mut usize) -> bool {
    let mut bad = false;
    let (counted, was_uneven) = (custody.counted, custody.uneven);
    // What is torn was never promised: a whole meta says nothing of it.
    for damage in found.damaged.iter().filter(|damage| damage.kind != DamageKind::Torn) {
        let entry = damage.meta.as_deref().and_then(|meta| Entry::decode(meta).ok());
        if let Some(entry) = entry.filter(|_| damage.seqs.start >= counted) {
            custody.ledger.account(&entry.tenant, entry.signal).received += u64::from(entry.rows);
        }
    }
    for (seq, _) in inbox.pending() {
        let fresh = seq >= counted;
        // Its hash is in no checkpoint of the inbox: a sender that missed the OK may send it again.
        let unremembered = found.after_checkpoint.binary_search(&seq).is_ok();
        // Nor is the hash of one that the start before could not read.
        let unremembered = unremembered || was_uneven;
        if custody.consumed.is_whole(seq) && !fresh && !unremembered {
            custody.completed.push(seq);
            continue;
        }
        let entry = match inbox.read_meta_patiently(seq).map(|meta| Entry::decode(&meta)) {
            Ok(Ok(entry)) => entry,
            Err(ReadError::Io { .. }) => {
                *unread += 1;
                continue;
            }
            Ok(Err(_)) | Err(_) => {
                bad = true;
                custody.unreadable(seq, &Rows::All, None);
                continue;
            }
        };
        custody.take_entry(seq, &entry, fresh);
        if unremembered {
            custody.recent.settle(entry.hash);
        }
    }
    custody.counted = counted.max(inbox.next_seq());
    bad
}

impl Custody {
    fn take_entry(&mut self, seq: Seq, entry: &Entry, fresh: bool) {
        if fresh {
            self.ledger.account(&entry.tenant, entry.signal).received += u64::from(entry.rows);
        }
        let missing = self.consumed.missing(seq, entry.rows);
        if missing.is_empty() {
            self.completed.push(seq);
        }
        let mut rows = 0;
        for range in missing {
            rows += u64::from(range.end - range.start);
            if self.untaken.is_empty() {
                self.backlog.add(seq, range, entry.rows);
            }
        }
        self.queued_mut(&entry.tenant, entry.signal).inbox += rows;
    }

    /// After damage: evens out what the disk lost, and says how much that was. Where records could not be read, what is missing may be in
    /// them.
    fn reconcile(&mut self) -> Vec<(TenantId, Signal, u64)> {
        let accounts: Vec<_> = self
            .accounts()
            .map(|(tenant, signal, terms, queued, _)| (tenant.clone(), signal, terms.entered(), terms.left() + queued.total()))
            .collect();
        let mut lost = Vec::new();
        for (tenant, signal, entered, found) in accounts {
            if entered < found {
                self.ledger.account(&tenant, signal).received = found;
            } else if entered > found && self.uneven {
                self.queued_mut(&tenant, signal).unread = entered - found;
            } else if entered > found {
                self.count_dropped(&tenant, signal, entered - found, Reason::Damaged);
                lost.push((tenant, signal, entered - found));
            }
        }
        lost
    }
}
