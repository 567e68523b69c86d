//! Who is connected: for the ledger, and so that one edge cannot take all places.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use federation_proto::control::Status;
use federation_proto::identity::{EdgeName, SpoolId};
use parking_lot::Mutex;
use serde::Serialize;

use super::MAX_PER_EDGE;

/// One connection, as the ledger shows it.
#[derive(Debug, Clone, Serialize)]
pub struct EdgeView {
    /// The edge.
    pub edge: EdgeName,
    /// Where it connects from.
    pub remote: SocketAddr,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Batches on its disk, as it said last.
    pub queued_batches: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Time of the oldest record among them, Unix nanoseconds; 0 for none.
    pub oldest_unix_nano: u64,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_id: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    view: EdgeView,
    spools: Vec<SpoolId>,
    quic: Option<quinn::Connection>,
}

/// See the module. Bounded by the number of connections.
#[derive(Debug, Default)]
pub struct Connected(Mutex<Entries>);

impl Connected {
    /// A connection of `edge` came. Gives its number, and the oldest of that edge's when it has too many now.
    pub(super) fn enter(&self, edge: EdgeName, remote: SocketAddr, quic: Option<quinn::Connection>) -> (u64, Option<quinn::Connection>) {
        let mut entries = self.0.lock();
        let of_edge = entries.by_id.iter().filter(|(_, entry)| entry.view.edge == edge);
        let (count, oldest) = of_edge.fold((0, None), |(count, oldest), (&id, _)| (count + 1, oldest.or(Some(id))));
        let surplus =
            oldest.filter(|_| count >= MAX_PER_EDGE).and_then(|oldest| entries.by_id.remove(&oldest)).and_then(|entry| entry.quic);
        let id = entries.next;
        entries.next += 1;
        let view = EdgeView { edge, remote, labels: BTreeMap::new(), queued_batches: 0, queued_bytes: 0, oldest_unix_nano: 0 };
        entries.by_id.insert(id, Entry { view, spools: Vec::new(), quic });
        metrics::gauge!("tributary_router_connections").set(entries.by_id.len() as f64);
        (id, surplus)
    }

    /// The connection ships from these spools from now on. Gives that edge's connections which did before: an edge has one at a time,
    /// so they are dead and not known to be yet; what they began holds ids that the edge now sends again.
    pub(super) fn ships(&self, id: u64, spools: &[SpoolId]) -> Vec<quinn::Connection> {
        let mut entries = self.0.lock();
        let Some(entry) = entries.by_id.get_mut(&id) else { return Vec::new() };
        entry.spools = spools.to_vec();
        let edge = entry.view.edge.clone();
        let shares = |entry: &Entry| entry.view.edge == edge && entry.spools.iter().any(|spool| spools.contains(spool));
        let before = entries.by_id.iter().filter(|(other, entry)| **other != id && shares(entry));
        before.filter_map(|(_, entry)| entry.quic.clone()).collect()
    }

    pub(super) fn labelled(&self, id: u64, labels: &BTreeMap<String, String>) {
        if let Some(Entry { view, .. }) = self.0.lock().by_id.get_mut(&id) {
            view.labels.clone_from(labels);
        }
    }

    pub(super) fn said(&self, id: u64, status: &Status) {
        if let Some(Entry { view, .. }) = self.0.lock().by_id.get_mut(&id) {
            view.queued_batches = status.queued_batches;
            view.queued_bytes = status.queued_bytes;
            view.oldest_unix_nano = status.oldest_unix_nano;
        }
    }

    pub(super) fn leave(&self, id: u64) {
        let mut entries = self.0.lock();
        entries.by_id.remove(&id);
        metrics::gauge!("tributary_router_connections").set(entries.by_id.len() as f64);
    }

    /// All connections, oldest first.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeView> {
        self.0.lock().by_id.values().map(|entry| entry.view.clone()).collect()
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
        let (other, _) = connected.enter(EdgeName::new("us").unwrap(), remote, None);
        let last = (0..20).map(|_| connected.enter(EdgeName::new("eu").unwrap(), remote, None).0).last().unwrap();
        assert_eq!(connected.count()[&EdgeName::new("eu").unwrap()], MAX_PER_EDGE);
        assert_eq!(connected.count()[&EdgeName::new("us").unwrap()], 1);
        connected.leave(last);
        assert_eq!(connected.count()[&EdgeName::new("eu").unwrap()], MAX_PER_EDGE - 1);
        connected.leave(other);
        assert!(!connected.count().contains_key("us"));
    }
}
