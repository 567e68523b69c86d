//! The batches journalled last, for who watches them live: numbers only, never contents.
//!
//! A ring of [`MAX_RECENT`] entries of 32 bytes. Each entry says how many rows its account had been journalled before it, so that a
//! watcher who comes too late for some knows exactly how many rows it did not see. Nothing here waits for a watcher.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use federation_proto::identity::{Seq, Signal};

/// Batches that are remembered.
pub const MAX_RECENT: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    pub(super) account: u32,
    pub(super) rows: u32,
    /// Rows of the account journalled before, since the router started.
    pub(super) before: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
    /// Rows journalled since the start, by account.
    rows: Vec<u64>,
}

impl Recent {
    /// A batch was journalled, behind all before.
    pub(super) fn push(&mut self, seq: Seq, account: u32, rows: u32) {
        let at = account as usize;
        if self.rows.len() <= at {
            self.rows.resize(at + 1, 0);
        }
        if self.entries.len() == MAX_RECENT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { seq, account, rows, before: self.rows[at] });
        self.rows[at] += u64::from(rows);
    }

    /// Those at `from` and later.
    pub(super) fn from(&self, from: Seq) -> impl Iterator<Item = &Entry> {
        self.entries.range(self.entries.partition_point(|entry| entry.seq < from)..)
    }

    /// Rows of the account journalled since the start.
    pub(super) fn rows(&self, account: u32) -> u64 {
        self.rows.get(account as usize).copied().unwrap_or(0)
    }
}

/// How far a watcher of one tenant is. Its text form lets a watcher go on where another connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The first batch that it has not looked at.
    pub(super) from: Seq,
    /// Rows that it knows of, by signal code less one.
    pub(super) counted: [u64; Signal::ALL.len()],
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.from)?;
        self.counted.iter().try_for_each(|rows| write!(f, ".{rows}"))
    }
}

/// Not what a watcher was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a place to go on from: expected what a line {{\"resume\": …}} said, or leave it out")]
pub struct InvalidWatch;

impl FromStr for Watch {
    type Err = InvalidWatch;

    fn from_str(text: &str) -> Result<Self, InvalidWatch> {
        let mut numbers = text.split('.').map(|number| number.parse::<u64>().map_err(|_| InvalidWatch));
        let mut next = || numbers.next().ok_or(InvalidWatch)?;
        let from = Seq(next()?);
        let mut counted = [0; Signal::ALL.len()];
        for rows in &mut counted {
            *rows = next()?;
        }
        if numbers.next().is_some() { Err(InvalidWatch) } else { Ok(Self { from, counted }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However much is journalled, the ring stays in its bound, and what fell out of it is known by its rows.
    #[test]
    fn the_ring_is_bounded_and_counts_what_it_forgot() {
        let mut recent = Recent::default();
        let batches = 3 * MAX_RECENT as u64;
        for seq in 0..batches {
            recent.push(Seq(seq), (seq % 2) as u32, 10);
        }
        assert_eq!(recent.from(Seq(0)).count(), MAX_RECENT);
        let first = recent.from(Seq(0)).find(|entry| entry.account == 1).unwrap();
        assert_eq!(first.before, 10 * (first.seq.0 / 2));
        assert_eq!(recent.from(Seq(batches - 1)).map(|entry| entry.seq.0).collect::<Vec<_>>(), [batches - 1]);
        assert_eq!((recent.rows(1), recent.rows(7)), (10 * batches / 2, 0));
    }

    /// A place survives its text; other text is refused.
    #[test]
    fn a_place_survives_its_text() {
        let watch = Watch { from: Seq(7), counted: [1, 2, u64::MAX, 4] };
        assert_eq!(watch.to_string().parse(), Ok(watch));
        for text in ["", "7", "7.1.2.3", "7.1.2.3.4.5", "x.1.2.3.4", "7.1.2.3.-4", "99999999999999999999.1.2.3.4"] {
            assert_eq!(text.parse::<Watch>(), Err(InvalidWatch), "{text}");
        }
    }
}
