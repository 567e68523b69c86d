//! An edge that is up: the requests that it has in hand, and its connection.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use edge_gateway::clock::Clock;
use edge_gateway::ingest::Refusal;
use edge_gateway::link::talk::{Outcome, Talk};
use edge_gateway::run::by_hand::ByHand;
use edge_gateway::shipper::{Backoff, Chunk};
use federation_proto::identity::Seq;
use segment_log::Hand;

use crate::sim::clockwork::Clockwork;
use crate::sim::event::{Up, Which};
use crate::sim::network::Network;

pub(super) type Accept = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// A request that the edge has in hand.
pub(super) struct Accepting {
    pub(super) sender: usize,
    pub(super) attempt: u64,
    pub(super) accept: Accept,
}

/// A batch whose stream is open.
pub(super) struct Outgoing {
    pub(super) wire: Bytes,
    pub(super) written: usize,
}

/// A connection to a router.
pub(super) struct Line {
    pub(super) conn: u64,
    pub(super) talk: Talk,
    pub(super) streams: BTreeMap<u64, Outgoing>,
    /// Streams of which the router wants no more.
    pub(super) stopped: BTreeSet<u64>,
    pub(super) wake_at: Option<Duration>,
}

/// An edge that is up.
pub(super) struct Life {
    pub(super) edge: ByHand,
    pub(super) clock: Clock,
    pub(super) accepting: Vec<Accepting>,
    pub(super) line: Option<Line>,
    pub(super) backoff: Backoff,
    pub(super) endpoint: usize,
    /// A round of the log is planned: inbox, spool.
    pub(super) round: [bool; 2],
    pub(super) encoding: bool,
}

impl Life {
    pub(super) fn hand(&self, which: Which) -> &Hand {
        match which {
            Which::Inbox => &self.edge.inbox,
            Which::Spool => &self.edge.spool,
        }
    }

    pub(super) fn wrote(&mut self, now: std::time::Instant, conn: u64, chunk: Chunk, outcome: Outcome) {
        if let Some(line) = self.line.as_mut().filter(|line| line.conn == conn) {
            line.talk.done(now, chunk, outcome, &mut self.edge.link().shipper.lock());
        }
    }

    pub(super) fn poll(&mut self) -> Vec<(usize, u64, bool)> {
        let mut answers = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        self.accepting.retain_mut(|accepting| match accepting.accept.as_mut().poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                answers.push((accepting.sender, accepting.attempt, result.is_ok()));
                false
            }
        });
        answers
    }
}

impl Line {
    pub(super) fn write(
        &mut self,
        clockwork: &mut Clockwork,
        net: &mut Network,
        chunk: Chunk,
        read: impl FnOnce(Seq) -> Result<(Vec<u8>, Bytes), segment_log::ReadError>,
    ) -> Outcome {
        if chunk.from == 0 {
            match read(chunk.seq) {
                Ok((header, payload)) => {
                    let wire = Bytes::from([header.as_slice(), &payload].concat());
                    self.streams.insert(chunk.attempt, Outgoing { wire, written: 0 });
                }
                Err(error) => return Outcome::Unreadable(error),
            }
        }
        if self.stopped.contains(&chunk.attempt) {
            self.streams.remove(&chunk.attempt);
            return Outcome::Delivered;
        }
        let Some(outgoing) = self.streams.get_mut(&chunk.attempt) else { return Outcome::Delivered };
        let end = (outgoing.written + chunk.len as usize).min(outgoing.wire.len());
        let piece = outgoing.wire.slice(outgoing.written..end);
        outgoing.written = end;
        net.up(clockwork, self.conn, Up::Stream(chunk, piece));
        if chunk.last {
            self.streams.remove(&chunk.attempt);
        }
        Outcome::Written
    }
}
