//! How old batches in the spool are, without a time in each record: marks that say "at this time the next number was that".
//!
//! Time is counted by this edge and not taken from records (a sender's clock is anyone's) nor from the time of day alone (it jumps): while
//! the edge runs, by its monotonic clock; while it does not, by the time of day between its last checkpoint and its start, if that is
//! neither backwards nor from before 2020, as of a machine whose clock was not set. So a clock that is set right after a start makes nothing old.
//!
//! A batch is given up between `max_age` and 1/64 of that later. What was in the spool before there was a `max_age` is as old as the first
//! mark. Bounds: 66 marks of 16 bytes, kept in the checkpoint.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use federation_proto::identity::Seq;

/// Marks to one `max_age`.
const MARKS: u32 = 64;
/// 2020-01-01, Unix seconds.
const PLAUSIBLE: u64 = 1_577_836_800;

/// At that time all batches below that number were in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) at: Duration,
    pub(crate) next: Seq,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ages {
    /// Time since the first start, as this edge counts it.
    pub(crate) counted: Duration,
    /// The time of day of the last look, Unix seconds.
    pub(crate) wall: u64,
    pub(crate) marks: VecDeque<Mark>,
    last: Option<Instant>,
}

impl Ages {
    /// What a checkpoint kept.
    pub(crate) fn restored(counted: Duration, wall: u64, marks: VecDeque<Mark>) -> Self {
        Self { counted, wall, marks, last: None }
    }

    /// Looks at the clocks: `wall` is Unix seconds, `next` the number that the next batch gets. Gives the number below which every batch
    /// is older than `max_age`; none if there is no such bound.
    pub fn look(&mut self, now: Instant, wall: u64, next: Seq, max_age: Option<Duration>) -> Option<Seq> {
        self.counted += match self.last {
            Some(last) => now.saturating_duration_since(last),
            None if self.wall >= PLAUSIBLE => Duration::from_secs(wall.saturating_sub(self.wall)),
            None => Duration::ZERO,
        };
        (self.last, self.wall) = (Some(now), wall);
        let Some(max_age) = max_age else {
            self.marks.clear();
            return None;
        };
        let mut expired = None;
        while let Some(mark) = self.marks.front().filter(|mark| self.counted.saturating_sub(mark.at) >= max_age) {
            expired = Some(mark.next);
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|mark| self.counted - mark.at >= max_age / MARKS) {
            self.marks.push_back(Mark { at: self.counted, next });
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOON: u64 = 1_800_000_000;

    #[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
    fn start() -> Instant {
        Instant::now()
    }

    /// A batch goes when it is `max_age` old and not before, and at most 1/64 later; the marks stay few.
    #[test]
    fn batches_expire_at_their_age() {
        let (mut ages, start) = (Ages::default(), start());
        let mut gone = Seq(0);
        for minute in 0..600u32 {
            // One batch a minute: number n came in minute n.
            let at = Duration::from_secs(60) * minute;
            if let Some(below) = ages.look(start + at, NOON, Seq(u64::from(minute)), Some(HOUR)) {
                gone = below;
            }
            let due = u64::from(minute.saturating_sub(60));
            assert!(gone.0 <= due && due - gone.0 <= 2, "minute {minute}: below {gone}, due {due}");
            assert!(ages.marks.len() <= 66, "{}", ages.marks.len());
        }
    }

    /// The time of day counts while the edge is down; jumps of it, and clocks that were never set, do not.
    #[test]
    fn jumps_of_the_clock_make_nothing_old() {
        let down = |before: u64, after: u64| {
            let mut ages = Ages::default();
            ages.look(start(), before, Seq(5), Some(HOUR));
            let mut ages = Ages::restored(ages.counted, ages.wall, ages.marks);
            ages.look(start(), after, Seq(9), Some(HOUR))
        };
        assert_eq!(down(NOON, NOON + 3600), Some(Seq(5)), "an hour down");
        assert_eq!(down(NOON, NOON + 60), None);
        assert_eq!(down(NOON, NOON - 86_400), None, "set back meanwhile");
        assert_eq!(down(0, NOON), None, "not set before");
        let (mut ages, start) = (Ages::default(), start());
        ages.look(start, 0, Seq(5), Some(HOUR));
        assert_eq!(ages.look(start + Duration::from_secs(1), NOON, Seq(6), Some(HOUR)), None, "set while it runs");
    }
}
