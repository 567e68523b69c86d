//! In which order batches of a class leave: what is fresh first, so that who watches sees now and not the outage; and the backlog beside
//! it, with a share of the link, so that it ends.
//!
//! Two lanes in each class. Fresh are logs, traces and profiles that came since the connection was made, or, on a link that does not keep
//! up, within the last [`YOUNG`] to twice that. The backlog is the rest, and all metrics: those leave in the order in which they came, as
//! delta points and Prometheus need it. In each lane the oldest goes first. While both have something to write, the backlog has one byte
//! in [`BACKLOG_ONE_IN`]; while one has nothing, the other has all. One stream of a class is left to what is fresh, so that it does not
//! wait for the end of a large old batch.
//!
//! What a router has acknowledged stays in few ranges of `seq`: it remembers at most 65,536 above the floor. Bounds: nothing here grows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use federation_proto::identity::{Class, Seq, Signal};

use super::{Entry, Item, Shipper, State};

/// How long a batch counts as fresh, at least.
const YOUNG: Duration = Duration::from_secs(10);
/// The backlog's share beside fresh data, as one byte in this many.
const BACKLOG_ONE_IN: i64 = 4;
/// One lane is not owed more than this, in bytes: a burst of one is no debt for minutes.
const MOST_OWED: i64 = 1 << 20;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Fresh,
    Backlog,
}

/// What to write from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick {
    pub(super) seq: Seq,
    lane: Lane,
    /// The other lane would have had something too.
    contended: bool,
}

/// Ready batches of a tenant and class.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    metrics: BTreeSet<Seq>,
    others: BTreeSet<Seq>,
}

impl Waiting {
    fn of(&mut self, signal: Signal) -> &mut BTreeSet<Seq> {
        if signal == Signal::Metrics { &mut self.metrics } else { &mut self.others }
    }

    pub(super) fn insert(&mut self, item: &Item) {
        self.of(item.signal).insert(item.seq);
    }

    /// Says whether that was the last.
    pub(super) fn remove(&mut self, item: &Item) -> bool {
        self.of(item.signal).remove(&item.seq);
        self.metrics.is_empty() && self.others.is_empty()
    }

    fn first(&self, lane: Lane, fresh_from: Seq) -> Option<Seq> {
        match lane {
            Lane::Fresh => self.others.range(fresh_from..).next().copied(),
            Lane::Backlog => {
                [self.metrics.first(), self.others.first().filter(|seq| **seq < fresh_from)].into_iter().flatten().min().copied()
            }
        }
    }
}

/// Where the backlog ends, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Above every batch that was added.
    end: Seq,
    fresh_from: Seq,
    /// What `fresh_from` becomes at that time.
    then: Option<(Instant, Seq)>,
    /// Bytes that the backlog is short of its share; below nought: ahead of it.
    owed: i64,
    /// Above every batch that a router acknowledged.
    acked_end: Seq,
}

impl Order {
    pub(super) fn added(&mut self, seq: Seq) {
        self.end = self.end.max(Seq(seq.0.saturating_add(1)));
    }

    pub(super) fn acked(&mut self, seq: Seq) {
        self.acked_end = self.acked_end.max(Seq(seq.0.saturating_add(1)));
    }

    /// What is here now is from before the connection.
    pub(super) fn connected(&mut self) {
        self.fresh_from = self.end;
        (self.then, self.owed) = (None, 0);
    }

    /// Time goes on.
    pub(super) fn turn(&mut self, now: Instant) {
        match self.then {
            Some((at, _)) if now < at => return,
            Some((at, _)) if now >= at + YOUNG => self.fresh_from = self.end,
            Some((_, from)) => self.fresh_from = from,
            None => {}
        }
        self.then = Some((now + YOUNG, self.end));
    }

    /// So many bytes of that pick are written now.
    pub(super) fn took(&mut self, pick: Pick, bytes: u64) {
        if pick.contended {
            let bytes = i64::try_from(bytes).unwrap_or(MOST_OWED);
            let change = if pick.lane == Lane::Fresh { bytes } else { -bytes.saturating_mul(BACKLOG_ONE_IN - 1) };
            self.owed = self.owed.saturating_add(change).clamp(-MOST_OWED, MOST_OWED);
        }
    }

    fn lane_of(&self, item: &Item) -> Lane {
        if item.signal != Signal::Metrics && item.seq >= self.fresh_from { Lane::Fresh } else { Lane::Backlog }
    }

    fn lanes(&self) -> [Lane; 2] {
        if self.owed > 0 { [Lane::Backlog, Lane::Fresh] } else { [Lane::Fresh, Lane::Backlog] }
    }
}

/// The open streams of a class.
#[derive(Debug, Default)]
struct Open {
    streams: usize,
    backlog_streams: usize,
    /// The oldest of each lane that is between two chunks.
    fresh: Option<Seq>,
    backlog: Option<Seq>,
}

impl Open {
    fn has_place(&self, lane: Lane, most: usize) -> bool {
        self.streams < most && (lane == Lane::Fresh || self.backlog_streams < (most - 1).max(1))
    }

    fn idle(&self, lane: Lane) -> Option<Seq> {
        match lane {
            Lane::Fresh => self.fresh,
            Lane::Backlog => self.backlog,
        }
    }
}

impl Shipper {
    /// Numbers above the newest batch that came, and above the newest that a router acknowledged: how far behind now a router is.
    #[must_use]
    pub fn ends(&self) -> (Seq, Seq) {
        (self.order.end, self.order.acked_end)
    }

    /// The next batch to write from: class before class, then the lane whose turn it is, then the oldest. A ready batch that credit or
    /// count has no room for waits, and none goes around it, of its class or a lower one: it would wait for ever.
    pub(super) fn pick(&self, credit: u64) -> Option<Pick> {
        let mut may_begin = true;
        for class in Class::ALL {
            let open = self.open(*class);
            let mut picked: Option<Pick> = None;
            for lane in self.order.lanes() {
                let ready = if may_begin && open.has_place(lane, self.limits.streams) { self.first_ready(*class, lane) } else { None };
                let begun = ready.filter(|seq| self.has_room(*seq, credit));
                may_begin &= ready == begun;
                let Some(seq) = [open.idle(lane), begun].into_iter().flatten().min() else { continue };
                match &mut picked {
                    Some(pick) => pick.contended = true,
                    None => picked = Some(Pick { seq, lane, contended: false }),
                }
            }
            if picked.is_some() {
                return picked;
            }
        }
        None
    }

    fn open(&self, class: Class) -> Open {
        let mut open = Open::default();
        for (_, seq) in self.sending.range((class, Seq(0))..=(class, Seq(u64::MAX))) {
            let Some(Entry { item, state, .. }) = self.entries.get(seq) else { continue };
            let lane = self.order.lane_of(item);
            open.streams += 1;
            open.backlog_streams += usize::from(lane == Lane::Backlog);
            if matches!(state, State::Sending { busy: false, .. }) {
                let oldest = if lane == Lane::Fresh { &mut open.fresh } else { &mut open.backlog };
                oldest.get_or_insert(*seq);
            }
        }
        open
    }

    fn first_ready(&self, class: Class, lane: Lane) -> Option<Seq> {
        let free = self.ready.get(&class)?.iter().filter(|(tenant, _)| !self.tenants_held.contains_key(*tenant));
        free.filter_map(|(_, waiting)| waiting.first(lane, self.order.fresh_from)).min()
    }

    /// One that the router never takes needs no room.
    fn has_room(&self, seq: Seq, credit: u64) -> bool {
        let Some(Entry { item, .. }) = self.entries.get(&seq) else { return false };
        let in_flight = self.sending.len() + self.sent.len() + self.undelivered;
        let fits = in_flight < self.limits.in_flight_batches && self.in_flight_bytes + item.wire_bytes <= credit;
        fits || item.payload_bytes > self.max_payload_bytes
    }
}
