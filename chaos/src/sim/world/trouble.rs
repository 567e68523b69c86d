//! What the faults of a seed do to its world, and their end.

use std::time::Duration;

use segment_log::store::Store;
use segment_log::{Fault as DiskFault, SimStore};

use super::{LONGEST, World};
use crate::sim::edge::edge_name;
use crate::sim::event::{Event, Node, Which};
use crate::sim::faults::{Disk, Fault};

impl World {
    pub(super) fn trouble(&mut self) -> Option<Node> {
        let enough = self.batches() >= self.plan.batches || self.clockwork.now() > LONGEST;
        if enough {
            self.calm_down();
            return None;
        }
        let wait = self.clockwork.between(self.plan.trouble / 4, self.plan.trouble * 2);
        self.clockwork.after(wait, Event::Trouble);
        let fault = self.plan.fault(&mut self.clockwork.rng);
        self.faults += 1;
        self.fault(fault)
    }

    fn disk(&self, disk: Disk) -> SimStore {
        match disk {
            Disk::Edge(edge, which) => self.edges[edge].disks[which as usize].clone(),
            Disk::Journal(router) => self.routers[router].disk.clone(),
        }
    }

    fn slow(&mut self, disk: Disk, by: Duration) {
        match disk {
            Disk::Edge(edge, which) => self.edges[edge].slow[which as usize] = by,
            Disk::Journal(router) => self.routers[router].slow = by,
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) -> Option<Node> {
        self.clockwork.note(|| format!("FAULT {fault:?}"));
        let now = self.clockwork.now();
        let mut later = |wait: Duration, fault| self.clockwork.after(wait, Event::Fault(fault));
        match fault {
            Fault::Power(node) => self.die(node, true),
            Fault::Kill(node) => self.die(node, false),
            Fault::Restart(Node::Edge(edge)) => {
                self.edges[edge].stop();
                self.cut_all(Node::Edge(edge));
                self.start_later(Node::Edge(edge));
            }
            Fault::Restart(Node::Router(router)) => self.routers[router].leave(&mut self.clockwork),
            Fault::CrashAt(disk, n) => {
                let disk = self.disk(disk);
                disk.crash_at(disk.operations() + n);
            }
            Fault::FailWrite(disk, n, full) => {
                let disk = self.disk(disk);
                disk.fail_at(disk.operations() + n, if full { DiskFault::Full } else { DiskFault::Io });
            }
            Fault::FailRead(disk, n) => {
                let disk = self.disk(disk);
                let at = disk.reads() + n;
                // Not three in a row: what a disk refuses three times is damaged, as the log's policy has it.
                disk.fail_read_at(at + u64::from(at.is_multiple_of(3)));
            }
            Fault::Full(disk, more, lasting) => {
                if more < u64::MAX {
                    later(lasting, Fault::Full(disk, u64::MAX, Duration::ZERO));
                }
                let disk = self.disk(disk);
                let used: u64 = disk.list().map_or(0, |entries| entries.iter().map(|entry| entry.bytes).sum());
                disk.set_capacity(used.saturating_add(more));
            }
            Fault::Flip(disk, at) => {
                self.damaged = true;
                flip(&self.disk(disk), at);
            }
            Fault::LoseIndex(Disk::Edge(edge, _), old) => self.edges[edge].lose_index(old),
            Fault::LoseIndex(Disk::Journal(router), old) => self.routers[router].lose_index(old),
            Fault::Cut(edge) => self.cut_all(Node::Edge(edge)),
            Fault::Apart(edge, router, lasting) => {
                later(lasting, Fault::Together(edge, router));
                self.net.apart.insert((edge, router));
                for conn in self.net.find(|conn| (conn.edge, conn.router) == (edge, router)) {
                    self.net.cut(&mut self.clockwork, conn);
                }
            }
            Fault::Together(edge, router) => drop(self.net.apart.remove(&(edge, router))),
            Fault::Slow(disk, by, lasting) => {
                later(lasting, Fault::Quick(disk));
                self.slow(disk, by);
            }
            Fault::Quick(disk) => self.slow(disk, Duration::ZERO),
            Fault::Refuse(router, tier, lasting) => self.routers[router].destinations[tier].refuses_until = now + lasting,
            Fault::Drag(router, tier, by, lasting) => self.routers[router].destinations[tier].drags = (by, now + lasting),
            Fault::Jump(Node::Edge(edge), by) => self.edges[edge].skew += by,
            Fault::Jump(Node::Router(router), by) => self.routers[router].skew += by,
            Fault::Strike(router, edge, lasting) => {
                later(lasting, Fault::Restore(router));
                self.routers[router].list.lock().edges.remove(&edge_name(edge));
            }
            Fault::StrikeTenant(router, edge, lasting) => {
                later(lasting, Fault::Restore(router));
                let tenant = &self.tenants[edge % self.tenants.len()];
                if let Some(listed) = self.routers[router].list.lock().edges.get_mut(&edge_name(edge)) {
                    listed.tenants.remove(tenant);
                }
            }
            Fault::Restore(router) => self.routers[router].restore(self.edges.len(), &self.tenants),
            Fault::Skew(router, lasting) => {
                later(lasting, Fault::Restore(router));
                self.routers[router].encodings = vec![u16::MAX];
            }
            Fault::Mute(lasting) => {
                later(lasting, Fault::Unmute);
                self.mute = true;
            }
            Fault::Unmute => self.mute = false,
        }
        None
    }

    /// The faults stop: all is mended, senders send nothing new, and each machine starts once more, so that what a disk refused to read at the
    /// last start is looked at again.
    fn calm_down(&mut self) {
        self.clockwork.note(|| "the faults stop".to_owned());
        self.calm = Some(self.clockwork.now());
        self.mute = false;
        self.net.apart.clear();
        self.net.weather.loss = 0;
        self.senders.iter_mut().for_each(|sender| sender.stopped = true);
        for router in 0..self.routers.len() {
            self.routers[router].restore(self.edges.len(), &self.tenants);
            self.slow(Disk::Journal(router), Duration::ZERO);
            for destination in &mut self.routers[router].destinations {
                (destination.refuses_until, destination.drags) = Default::default();
            }
        }
        for edge in 0..self.edges.len() {
            for which in [Which::Inbox, Which::Spool] {
                self.slow(Disk::Edge(edge, which), Duration::ZERO);
            }
        }
        let nodes = (0..self.edges.len()).map(Node::Edge).chain((0..self.routers.len()).map(Node::Router));
        for node in nodes.collect::<Vec<_>>() {
            self.die(node, false);
            match node {
                Node::Edge(edge) => self.edges[edge].disks.iter().for_each(SimStore::heal),
                Node::Router(router) => self.routers[router].disk.heal(),
            }
        }
    }
}

/// Flips a bit of what lies there.
fn flip(disk: &SimStore, at: u64) {
    let Ok(entries) = disk.list() else { return };
    let total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    if total == 0 {
        return;
    }
    let mut offset = (at >> 3) % total;
    for entry in entries {
        if offset < entry.bytes {
            return disk.flip_bit(&entry.name, offset, (at % 8) as u8);
        }
        offset -= entry.bytes;
    }
}
