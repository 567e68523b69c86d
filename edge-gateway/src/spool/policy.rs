//! What the spool gives up when it is at a bound. Decides only: [`crate::run`] asks once a second and does it.
//!
//! | Bound | What goes | Reason |
//! |---|---|---|
//! | `spool.max_age` | all that is older (see [`super::Ages`]) | `expired` |
//! | `spool.tenant_share` | of a tenant that holds more: its own, lowest class first, oldest first, down to its share | `over_share` |
//! | `spool.budget` | the oldest of the lowest class, down to what the next second needs | `spool_full` |
//!
//! With `spool.when_full: refuse` the last two give nothing up: the spool takes no batch, or the tenant's requests are refused, until a
//! router has taken some. Never given up is what is on its way to a router: its verdict comes, or the connection ends, and then it may go.
//!
//! **Arithmetic.** Disk comes back in two ways, after the checkpoint that says that the records are done with. A record gives back the
//! whole blocks of its payload where the file system can take back a part of a file: less than 8 KiB of it stays. A segment goes when
//! nothing in it is left. So for each class, from the lowest: first its records that give something back by themselves, oldest first;
//! then segments in which nothing of a higher class is left, oldest first, with all that they hold; and only then the next class.
//! Given up is at most what is needed and one batch, or one segment, more. Where the file system takes only whole files back and classes
//! lie mixed in every segment, the oldest segments go with all classes in them.
//!
//! **Room.** What is kept free is [`room_bytes`]: a segment (at most an eighth of the budget), a batch, and twice what came in the last
//! second. The budget itself is never passed: what comes faster than that stays in the inbox for a second.
//!
//! Memory: 40 bytes for each batch while it decides. Time: a sort of the batches.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use federation_proto::identity::{Class, Seq};
use segment_log::{Footprint, SegmentNo, SegmentUse};

/// A batch that may be given up.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Its number.
    pub seq: Seq,
    /// Its class.
    pub class: Class,
    /// Header and payload.
    pub bytes: u64,
    /// What it takes on the disk.
    pub footprint: Footprint,
}

/// What is kept free of the budget: see the module.
#[must_use]
pub fn room_bytes(budget_bytes: u64, segment_bytes: u64, batch_bytes: u64, came_last_second: u64) -> u64 {
    let eighth = budget_bytes / 8;
    (segment_bytes.min(eighth) + batch_bytes.min(eighth) + 2 * came_last_second).min(budget_bytes / 2)
}

/// Which of a tenant's batches go so that `excess_bytes` less are held: lowest class first, oldest first.
#[must_use]
pub fn of_tenant(mut held: Vec<Held>, excess_bytes: u64) -> Vec<Seq> {
    held.sort_unstable_by_key(rank);
    let mut given = 0;
    let enough = |batch: &Held| {
        let go_on = given < excess_bytes;
        given += batch.bytes;
        go_on
    };
    let gone: Vec<Held> = held.into_iter().take_while(enough).collect();
    gone.iter().map(|batch| batch.seq).collect()
}

/// Which batches go so that `needed_bytes` come back with the next checkpoint. `segments` are those that can go as a whole.
#[must_use]
pub fn for_room(mut held: Vec<Held>, segments: impl IntoIterator<Item = SegmentUse>, needed_bytes: u64) -> Vec<Seq> {
    held.sort_unstable_by_key(rank);
    let mut choice = Choice {
        segments: segments.into_iter().map(|segment| (segment.segment, segment)).collect(),
        freed: 0,
        needed_bytes,
        gone: Vec::new(),
    };
    // What is acknowledged already comes back by itself.
    choice.freed = choice.segments.values().filter(|segment| segment.live == 0).map(|segment| segment.bytes).sum();
    for class in Class::ALL.iter().rev() {
        held.retain(|batch| batch.class != *class || !choice.take_alone(batch));
        choice.take_segments(&mut held, *class);
        if choice.is_enough() {
            break;
        }
    }
    choice.gone
}

/// Lowest class first, then the oldest.
fn rank(batch: &Held) -> (Reverse<Class>, Seq) {
    (Reverse(batch.class), batch.seq)
}

struct Choice {
    segments: BTreeMap<SegmentNo, SegmentUse>,
    freed: u64,
    needed_bytes: u64,
    gone: Vec<Seq>,
}

impl Choice {
    fn is_enough(&self) -> bool {
        self.freed >= self.needed_bytes
    }

    /// Gives it up if that is needed and gives something back by itself.
    fn take_alone(&mut self, batch: &Held) -> bool {
        let bytes = batch.footprint.alone_bytes;
        let take = bytes > 0 && !self.is_enough();
        if take {
            self.give_up(batch, bytes);
        }
        take
    }

    fn give_up(&mut self, batch: &Held, alone_bytes: u64) {
        self.gone.push(batch.seq);
        self.freed += alone_bytes;
        if let Some(segment) = self.segments.get_mut(&batch.footprint.segment) {
            segment.bytes = segment.bytes.saturating_sub(alone_bytes);
            segment.live = segment.live.saturating_sub(1);
            if segment.live == 0 {
                self.freed += segment.bytes;
            }
        }
    }

    /// The oldest segments all of which may go and in which nothing is above `class`.
    fn take_segments(&mut self, held: &mut Vec<Held>, class: Class) {
        let mut left: BTreeMap<SegmentNo, (u64, Class)> = BTreeMap::new();
        for batch in held.iter() {
            let (records, highest) = left.entry(batch.footprint.segment).or_insert((0, batch.class));
            *records += 1;
            *highest = batch.class.min(*highest);
        }
        for (number, (records, highest)) in left {
            let whole = self.segments.get(&number).is_some_and(|segment| segment.live == records);
            if self.is_enough() || !whole || highest < class {
                continue;
            }
            for batch in held.extract_if(.., |batch| batch.footprint.segment == number) {
                self.give_up(&batch, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
