//! Watching one tenant's batches as they are journalled.

use federation_proto::identity::{Signal, TenantId};

use super::{Book, Planned};
use crate::journal::recent::Watch;

/// What a watcher has not seen yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Batches, in the order of the journal.
    pub batches: Vec<Planned>,
    /// Rows of batches that came and are forgotten already.
    pub missed: u64,
}

impl Book {
    /// Watching `tenant` from now on.
    #[must_use]
    pub fn watch(&self, tenant: &TenantId) -> Watch {
        let rows = |signal: &Signal| self.account_of.get(&(tenant.clone(), *signal)).map_or(0, |&account| self.recent.rows(account));
        let mut counted = [0; Signal::ALL.len()];
        for (counted, signal) in counted.iter_mut().zip(Signal::ALL) {
            *counted = rows(signal);
        }
        Watch { from: self.applied, counted }
    }

    /// Up to `most` batches of `tenant` with these signals that `watch` has not seen; moves it behind them.
    pub fn watched(&self, tenant: &TenantId, signals: &[Signal], watch: &mut Watch, most: usize) -> Watched {
        let account = |signal: &Signal| self.account_of.get(&(tenant.clone(), *signal)).map(|&account| (account, *signal));
        let accounts: Vec<(u32, Signal)> = signals.iter().filter_map(account).collect();
        let mut seen = Watched { batches: Vec::new(), missed: 0 };
        for entry in self.recent.from(watch.from) {
            let Some(&(_, signal)) = accounts.iter().find(|(account, _)| *account == entry.account) else { continue };
            if seen.batches.len() == most {
                return seen;
            }
            let counted = &mut watch.counted[usize::from(signal.code()) - 1];
            seen.missed += entry.before.saturating_sub(*counted);
            *counted = entry.before + u64::from(entry.rows);
            watch.from = entry.seq.next();
            seen.batches.push(Planned { seq: entry.seq, tenant: tenant.clone(), signal, rows: entry.rows.into() });
        }
        // Nothing of it in between. A place of a journal that is gone begins anew.
        watch.from = self.applied;
        seen
    }
}

#[cfg(test)]
mod tests {
    use federation_proto::identity::Seq;

    use super::*;
    use crate::journal::recent::MAX_RECENT;
    use crate::testing::{header, tenant};

    fn book() -> Book {
        Book::open(None, &[], Seq(0), u64::MAX).unwrap().0
    }

    fn put(book: &mut Book, seq: u64, of: &str, signal: Signal) {
        let mut header = header(1, seq, b"x");
        (header.tenant, header.signal) = (tenant(of), signal);
        book.journalled(Seq(seq), &header);
    }

    fn seqs(seen: &Watched) -> Vec<u64> {
        seen.batches.iter().map(|batch| batch.seq.0).collect()
    }

    /// A watcher sees its tenant's batches of its signals, each once, in order, from where it began.
    #[test]
    fn each_batch_of_the_tenant_is_seen_once() {
        let mut book = book();
        put(&mut book, 0, "acme", Signal::Logs);
        let mut watch = book.watch(&tenant("acme"));
        for (seq, of, signal) in
            [(1, "beta", Signal::Logs), (2, "acme", Signal::Logs), (3, "acme", Signal::Traces), (4, "acme", Signal::Logs)]
        {
            put(&mut book, seq, of, signal);
        }
        let mut look = |most| book.watched(&tenant("acme"), &[Signal::Logs], &mut watch, most);
        assert_eq!(seqs(&look(1)), [2]);
        assert_eq!(
            look(9),
            Watched { batches: vec![Planned { seq: Seq(4), tenant: tenant("acme"), signal: Signal::Logs, rows: 10 }], missed: 0 }
        );
        assert_eq!(look(9), Watched { batches: vec![], missed: 0 });
    }

    /// A watcher that is too slow learns how many rows it missed, of its own tenant and signals and no other's.
    #[test]
    fn what_was_missed_is_counted() {
        let mut book = book();
        put(&mut book, 0, "acme", Signal::Logs);
        let mut watch = book.watch(&tenant("acme"));
        let batches = 2 * MAX_RECENT as u64;
        for seq in 1..=batches {
            let (of, signal) = [("acme", Signal::Logs), ("acme", Signal::Traces), ("beta", Signal::Logs)][seq as usize % 3];
            put(&mut book, seq, of, signal);
        }
        let mut seen = 0;
        let mut missed = 0;
        loop {
            let part = book.watched(&tenant("acme"), &[Signal::Logs], &mut watch, 100);
            if part.batches.is_empty() {
                break;
            }
            seen += part.batches.iter().map(|batch| batch.rows).sum::<u64>();
            missed += part.missed;
        }
        assert!(seen > 0 && missed > 0);
        assert_eq!(seen + missed, 10 * (batches / 3));
    }
}
