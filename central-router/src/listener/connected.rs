//! Who is connected: for the ledger, and so that one edge cannot take all places.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use federation_proto::control::Status;
use federation_proto::identity::{EdgeName, SpoolId};
use parking_lot::Mutex;
use serde::Serialize;

use super::MAX_PER_EDGE;
use super::peer::Peer;
use crate::edges::MAX_EDGES;

/// One connection, as the ledger shows it.
#[derive(Debug, Clone, Serialize)]
pub struct EdgeView {
    /// The edge.
    pub edge: EdgeName,
    /// Where it connects from.
    pub remote: SocketAddr,
    /// What it comes over: `quic` or `tcp`.
    pub transport: &'static str,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Batches on its disk, as it said last.
    pub queued_batches: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Time of the oldest record among them, Unix nanoseconds; 0 for none.
    pub oldest_unix_nano: u64,
    /// When it connected, in seconds since 1970.
    pub since_unix_seconds: u64,
    /// When its last Status came.
    pub heard_unix_seconds: u64,
    /// Its spools, with the floors it told last.
    pub spools: Vec<SpoolView>,
    /// What was journalled of it over this connection.
    pub received: Received,
}

/// A spool of a connected edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpoolView {
    /// Its id.
    pub id: SpoolId,
    /// Nothing below is outstanding.
    pub floor: u64,
}

/// What came from an edge and is on the journal; what it sent twice counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Batches.
    pub batches: u64,
    /// Their rows.
    pub rows: u64,
    /// Their payload bytes.
    pub bytes: u64,
}

impl Received {
    fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// What is remembered of an edge beyond its connections, since the router started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Past {
    /// Connections that it had.
    pub connections: u64,
    /// What came over those that ended.
    pub received: Received,
    /// When it was last connected, in seconds since 1970.
    pub seen_unix_seconds: u64,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_id: BTreeMap<u64, Entry>,
    past: BTreeMap<EdgeName, Past>,
}

impl Entries {
    /// What is remembered of an edge. At the bound the one not seen for longest makes room.
    fn past(&mut self, edge: &EdgeName) -> &mut Past {
        if self.past.len() >= MAX_EDGES && !self.past.contains_key(edge) {
            let oldest = self.past.iter().min_by_key(|(_, past)| past.seen_unix_seconds).map(|(edge, _)| edge.clone());
            oldest.and_then(|oldest| self.past.remove(&oldest));
        }
        self.past.entry(edge.clone()).or_default()
    }

    fn remove(&mut self, id: u64, now: u64) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        let past = self.past(&entry.view.edge);
        past.received.add(&entry.view.received);
        past.seen_unix_seconds = now;
        Some(entry)
    }
}

#[derive(Debug)]
struct Entry {
    view: EdgeView,
    spools: Vec<SpoolId>,
    peer: Option<Peer>,
}

/// See the module. Bounded by the number of connections, and [`MAX_EDGES`] edges that were. `now` is in seconds since 1970.
#[derive(Debug, Default)]
pub struct Connected(Mutex<Entries>);

impl Connected {
    /// A connection of `edge` came. Gives its number, and the oldest of that edge's when it has too many now.
    pub(super) fn enter(&self, edge: EdgeName, remote: SocketAddr, peer: Option<Peer>, now: u64) -> (u64, Option<Peer>) {
        let mut entries = self.0.lock();
        let of_edge = entries.by_id.iter().filter(|(_, entry)| entry.view.edge == edge);
        let (count, oldest) = of_edge.fold((0, None), |(count, oldest), (&id, _)| (count + 1, oldest.or(Some(id))));
        let surplus = oldest.filter(|_| count >= MAX_PER_EDGE).and_then(|oldest| entries.remove(oldest, now)).and_then(|entry| entry.peer);
        let id = entries.next;
        entries.next += 1;
        entries.past(&edge).connections += 1;
        let view = EdgeView {
            edge,
            remote,
            transport: peer.as_ref().map_or("none", Peer::transport),
            labels: BTreeMap::new(),
            queued_batches: 0,
            queued_bytes: 0,
            oldest_unix_nano: 0,
            since_unix_seconds: now,
            heard_unix_seconds: now,
            spools: Vec::new(),
            received: Received::default(),
        };
        entries.by_id.insert(id, Entry { view, spools: Vec::new(), peer });
        metrics::gauge!("tributary_router_connections").set(entries.by_id.len() as f64);
        (id, surplus)
    }

    /// The connection ships from these spools from now on. Gives that edge's connections which did before: an edge has one at a time,
    /// so they are dead and not known to be yet; what they began holds ids that the edge now sends again.
    pub(super) fn ships(&self, id: u64, spools: &[SpoolId]) -> Vec<Peer> {
        let mut entries = self.0.lock();
        let Some(entry) = entries.by_id.get_mut(&id) else { return Vec::new() };
        entry.spools = spools.to_vec();
        let edge = entry.view.edge.clone();
        let shares = |entry: &Entry| entry.view.edge == edge && entry.spools.iter().any(|spool| spools.contains(spool));
        let before = entries.by_id.iter().filter(|(other, entry)| **other != id && shares(entry));
        before.filter_map(|(_, entry)| entry.peer.clone()).collect()
    }

    pub(super) fn labelled(&self, id: u64, labels: &BTreeMap<String, String>) {
        if let Some(Entry { view, .. }) = self.0.lock().by_id.get_mut(&id) {
            view.labels.clone_from(labels);
        }
    }

    pub(super) fn said(&self, id: u64, status: &Status, now: u64) {
        if let Some(Entry { view, spools, .. }) = self.0.lock().by_id.get_mut(&id) {
            let floor = |id: &SpoolId| status.spools.iter().find(|told| told.spool == id.0).map_or(0, |told| told.floor);
            view.spools = spools.iter().map(|id| SpoolView { id: *id, floor: floor(id) }).collect();
            view.heard_unix_seconds = now;
            view.queued_batches = status.queued_batches;
            view.queued_bytes = status.queued_bytes;
            view.oldest_unix_nano = status.oldest_unix_nano;
        }
    }

    /// A batch that came over the connection is on the journal.
    pub(super) fn took(&self, id: u64, rows: u64, bytes: u64) {
        if let Some(Entry { view, .. }) = self.0.lock().by_id.get_mut(&id) {
            view.received.add(&Received { batches: 1, rows, bytes });
        }
    }

    pub(super) fn leave(&self, id: u64, now: u64) {
        let mut entries = self.0.lock();
        entries.remove(id, now);
        metrics::gauge!("tributary_router_connections").set(entries.by_id.len() as f64);
    }

    /// All connections, oldest first.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeView> {
        self.0.lock().by_id.values().map(|entry| entry.view.clone()).collect()
    }

    /// Edges that are or were connected since the router started.
    #[must_use]
    pub fn past(&self) -> BTreeMap<EdgeName, Past> {
        self.0.lock().past.clone()
    }

    /// How many connections each edge has.
    #[must_use]
    pub fn count(&self) -> HashMap<EdgeName, usize> {
        let mut count = HashMap::new();
        for Entry { view, .. } in self.0.lock().by_id.values() {
            *count.entry(view.edge.clone()).or_default() += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One edge that connects again and again leaves the others' places alone, and its newest connection is the one that stays.
    #[test]
    fn an_edge_takes_no_more_than_its_share() {
        let connected = Connected::default();
        let remote = SocketAddr::from(([127, 0, 0, 1], 1));
        let (other, _) = connected.enter(EdgeName::new("us").unwrap(), remote, None, 1);
        let last = (0..20).map(|_| connected.enter(EdgeName::new("eu").unwrap(), remote, None, 1).0).last().unwrap();
        assert_eq!(connected.count()[&EdgeName::new("eu").unwrap()], MAX_PER_EDGE);
        assert_eq!(connected.count()[&EdgeName::new("us").unwrap()], 1);
        connected.leave(last, 2);
        assert_eq!(connected.count()[&EdgeName::new("eu").unwrap()], MAX_PER_EDGE - 1);
        connected.leave(other, 2);
        assert!(!connected.count().contains_key("us"));
    }

    /// What came over a connection is remembered when it has ended, and added up over all of an edge's.
    #[test]
    fn what_came_outlives_its_connection() {
        let (connected, eu) = (Connected::default(), EdgeName::new("eu").unwrap());
        let remote = SocketAddr::from(([127, 0, 0, 1], 1));
        for now in [10, 20] {
            let (id, _) = connected.enter(eu.clone(), remote, None, now);
            connected.took(id, 100, 2000);
            connected.took(id, 1, 20);
            assert_eq!(connected.edges()[0].received, Received { batches: 2, rows: 101, bytes: 2020 });
            connected.leave(id, now + 5);
        }
        let received = Received { batches: 4, rows: 202, bytes: 4040 };
        assert_eq!(connected.past()[&eu], Past { connections: 2, received, seen_unix_seconds: 25 });
    }
}
