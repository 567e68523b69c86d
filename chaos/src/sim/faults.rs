//! What a seed chooses: how large the world is, how it is set up, and what goes wrong in it.
//!
//! Damage (bits that flip on a disk) is chosen only when it is asked for.
//!
//! Each seed has a *theme*, the kinds of faults that it may meet, so that some seeds meet few kinds often and others many. Damage to what
//! lies on a disk has seeds of its own: in all others a single row counted as damaged is a failure.

use std::time::Duration;

use super::event::{Node, Which};
use super::network::Weather;
use crate::telemetry::Rng;

/// A disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// An edge's.
    Edge(usize, Which),
    /// A router's journal.
    Journal(usize),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The power of a machine goes.
    Power(Node),
    /// A process is killed; its disks lose nothing.
    Kill(Node),
    /// The power of the machine goes with the disk's n-th write from now.
    CrashAt(Disk, u64),
    /// A process is stopped and started as an operator would.
    Restart(Node),
    /// The n-th write-like operation of the disk from now fails with EIO; or with ENOSPC.
    FailWrite(Disk, u64, bool),
    /// The n-th read from now fails with EIO.
    FailRead(Disk, u64),
    /// The disk has so many more bytes, for so long.
    Full(Disk, u64, Duration),
    /// A bit of what lies on the disk flips, here or there.
    Flip(Disk, u64),
    /// The index of a log is lost with the next start; or is an old one.
    LoseIndex(Disk, bool),
    /// All connections of an edge are cut.
    Cut(usize),
    /// An edge and a router cannot reach each other for so long.
    Apart(usize, usize, Duration),
    /// They can again.
    Together(usize, usize),
    /// The disk's fsync takes so much longer, for so long.
    Slow(Disk, Duration, Duration),
    /// It does not any more.
    Quick(Disk),
    /// A tier of a router refuses for so long.
    Refuse(usize, usize, Duration),
    /// A tier of a router takes so long for a unit, for so long.
    Drag(usize, usize, Duration, Duration),
    /// Time jumps ahead on a machine.
    Jump(Node, Duration),
    /// The router does not know the edge for so long.
    Strike(usize, usize, Duration),
    /// The router does not let the edge carry one of its tenants for so long.
    StrikeTenant(usize, usize, Duration),
    /// It does again.
    Restore(usize),
    /// The router reads another encoding for so long.
    Skew(usize, Duration),
    /// Answers to senders are lost, one in two, for so long.
    Mute(Duration),
    /// They are not any more.
    Unmute,
}

/// The kinds of faults, as the themes have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Power,
    Kill,
    CrashAt,
    Restart,
    FailWrite,
    FailRead,
    Full,
    Flip,
    LoseIndex,
    Cut,
    Apart,
    Slow,
    Refuse,
    Drag,
    Jump,
    Strike,
    StrikeTenant,
    Skew,
    Mute,
}

const KINDS: [Kind; 18] = [
    Kind::Power,
    Kind::Kill,
    Kind::CrashAt,
    Kind::CrashAt,
    Kind::Restart,
    Kind::FailWrite,
    Kind::FailRead,
    Kind::Full,
    Kind::LoseIndex,
    Kind::Cut,
    Kind::Apart,
    Kind::Slow,
    Kind::Refuse,
    Kind::Drag,
    Kind::Jump,
    Kind::Strike,
    Kind::Skew,
    Kind::Mute,
];

/// A seed's world.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Edges.
    pub edges: usize,
    /// Routers; each edge knows all of them.
    pub routers: usize,
    /// Tiers of each router.
    pub tiers: usize,
    /// Senders of each edge.
    pub senders: usize,
    /// Batches to come into the spools before the faults stop.
    pub batches: u64,
    /// Most rows of a request.
    pub request_rows: u32,
    /// Rows of a batch.
    pub batch_rows: u32,
    /// Age of a batch.
    pub batch_age: Duration,
    /// Between two requests of a sender.
    pub pace: Duration,
    /// Segment files of inbox, spool, journal.
    pub segment_bytes: u64,
    /// Budgets of inbox, spool, journal.
    pub budget_bytes: [u64; 3],
    /// Bytes that a router lets an edge have on their way.
    pub credit: u64,
    /// A ceiling for one tenant in bytes a second.
    pub ceiling: Option<u64>,
    /// Between two checkpoints.
    pub maintain: Duration,
    /// Without a verdict for this long a batch is sent again.
    pub verdict: Duration,
    /// The network.
    pub weather: Weather,
    /// Bits may flip in this world: rows may be counted as damaged.
    pub damage: bool,
    /// A full spool drops its oldest, and what is too old: rows may be counted as dropped for it.
    pub policy: bool,
    /// A router may refuse a tenant for good: rows may be counted as not allowed.
    pub strikes: bool,
    kinds: Vec<Kind>,
    /// Between two faults.
    pub trouble: Duration,
}

impl Plan {
    /// That of a seed; with `damage` one in six meets bits that flip.
    #[must_use]
    pub fn of(seed: u64, batches: u64, damage: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x5EED_0F7E_57A6_E001);
        let mut rng = |below: u64| rng.below(below);
        let millis = Duration::from_millis;
        let damage = rng(6) == 0 && damage;
        let strikes = !damage && rng(6) == 0;
        let mut kinds: Vec<Kind> = (0..2 + rng(8)).map(|_| KINDS[rng(KINDS.len() as u64) as usize]).collect();
        if damage {
            kinds.extend([Kind::Flip, Kind::Kill]);
        }
        if strikes {
            kinds.push(Kind::StrikeTenant);
        }
        let tight = rng(3) == 0;
        let policy = rng(8) == 0;
        let budget = |rng: u64| if tight { (96 << 10) + (rng << 10) } else { 64 << 20 };
        Self {
            edges: 1 + usize::from(rng(4) == 0),
            routers: 1 + usize::from(rng(3) == 0),
            tiers: 1 + rng(2) as usize,
            senders: 3 + rng(4) as usize,
            batches,
            request_rows: 1 + rng(12) as u32,
            batch_rows: 4 + rng(12) as u32,
            batch_age: millis(50 + rng(400)),
            pace: millis(10 + rng(60)),
            segment_bytes: 2048 << rng(5),
            budget_bytes: [budget(rng(64)), budget(rng(64)), budget(rng(64))],
            credit: if rng(2) == 0 { 4096 + rng(8192) } else { 16 << 20 },
            ceiling: (rng(4) == 0).then(|| 4096 + rng(8192)),
            maintain: millis(100 + rng(900)),
            verdict: millis(if rng(2) == 0 { 300 + rng(700) } else { 30_000 }),
            weather: Weather {
                least: Duration::from_micros(100 + rng(5_000)),
                most: Duration::from_micros(6_000 + rng(80_000)),
                stragglers: [0, 50, 10][rng(3) as usize],
                loss: [0, 0, 300, 60][rng(4) as usize],
            },
            damage,
            strikes,
            policy,
            kinds,
            trouble: millis(60 + rng(500)),
        }
    }

    /// The next fault.
    #[must_use]
    pub fn fault(&self, rng: &mut Rng) -> Fault {
        let kind = self.kinds[rng.below(self.kinds.len() as u64) as usize];
        let (edge, router, tier) =
            (rng.below(self.edges as u64) as usize, rng.below(self.routers as u64) as usize, rng.below(self.tiers as u64) as usize);
        let node = if rng.below(5) < 3 { Node::Edge(edge) } else { Node::Router(router) };
        let disk = match rng.below(5) {
            0 | 1 => Disk::Edge(edge, Which::Inbox),
            2 => Disk::Edge(edge, Which::Spool),
            _ => Disk::Journal(router),
        };
        let mut lengths = Rng::new(rng.next());
        let mut millis = |least: u64, most: u64| Duration::from_millis(least + lengths.below(most - least));
        match kind {
            Kind::Power => Fault::Power(node),
            Kind::Kill => Fault::Kill(node),
            Kind::CrashAt => Fault::CrashAt(disk, 1 + rng.below(40)),
            Kind::Restart => Fault::Restart(node),
            Kind::FailWrite => Fault::FailWrite(disk, 1 + rng.below(20), rng.below(2) == 0),
            Kind::FailRead => Fault::FailRead(disk, 1 + rng.below(30)),
            Kind::Full => Fault::Full(disk, rng.below(8192), millis(50, 1500)),
            Kind::Flip => Fault::Flip(disk, rng.next()),
            Kind::LoseIndex => Fault::LoseIndex(disk, rng.below(2) == 0),
            Kind::Cut => Fault::Cut(edge),
            Kind::Apart => Fault::Apart(edge, router, millis(100, 3000)),
            Kind::Slow => Fault::Slow(disk, millis(20, 1500), millis(200, 3000)),
            Kind::Refuse => Fault::Refuse(router, tier, millis(100, 3000)),
            Kind::Drag => Fault::Drag(router, tier, millis(50, 1000), millis(200, 3000)),
            Kind::Jump => Fault::Jump(node, millis(100, 3_600_000)),
            Kind::Strike => Fault::Strike(router, edge, millis(100, 2000)),
            Kind::StrikeTenant => Fault::StrikeTenant(router, edge, millis(50, 500)),
            Kind::Skew => Fault::Skew(router, millis(100, 2000)),
            Kind::Mute => Fault::Mute(millis(100, 2000)),
        }
    }
}
