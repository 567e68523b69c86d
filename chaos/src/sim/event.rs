//! What happens in a simulated world.

use bytes::Bytes;
use edge_gateway::link::talk::Outcome;
use edge_gateway::shipper::Chunk;
use federation_proto::control::{EdgeMessage, RouterMessage};

use super::faults::Fault;

/// An event.
#[derive(Debug)]
pub enum Event {
    /// A sender's turn.
    Send(usize),
    /// An answer reaches a sender; to the try of that number.
    Answer {
        /// The sender.
        sender: usize,
        /// Which of its tries.
        attempt: u64,
        /// It is OK.
        ok: bool,
    },
    /// A request reaches an edge.
    Request {
        /// The edge.
        edge: usize,
        /// The sender.
        sender: usize,
        /// Which of its tries.
        attempt: u64,
        /// What it says.
        body: Bytes,
    },
    /// A task of an edge, in that life of it.
    Edge(usize, u64, EdgeTask),
    /// A task of a router, in that life of it.
    Router(usize, u64, RouterTask),
    /// Something reaches the router on a connection.
    Up(u64, Up),
    /// Something reaches the edge on a connection.
    Down(u64, Down),
    /// Something goes wrong.
    Fault(Fault),
    /// A machine that is down starts.
    Start(Node),
    /// The next fault is due.
    Trouble,
}

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// An edge.
    Edge(usize),
    /// A router.
    Router(usize),
}

/// A disk of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The inbox.
    Inbox,
    /// The spool.
    Spool,
}

/// What an edge does by its clocks and threads.
#[derive(Debug)]
pub enum EdgeTask {
    /// The first half of a log's round.
    Begin(Which),
    /// The second.
    Finish(Which),
    /// A batch is encoded.
    Encode,
    /// Batches are closed by age.
    Age,
    /// The backlog is read.
    Backlog,
    /// Checkpoints.
    Maintain,
    /// The next router is tried.
    Connect,
    /// The conversation on this connection wants to be asked.
    Wake(u64),
    /// A chunk of this connection is with the transport, or is not.
    Wrote(u64, Chunk, Outcome),
}

/// What a router does by its clocks and threads.
#[derive(Debug)]
pub enum RouterTask {
    /// The first half of the journal's round.
    Begin,
    /// The second.
    Finish,
    /// A tier's consumer looks.
    Tier(usize),
    /// A tier's destination has the manifest and gets the files.
    Files(usize),
    /// It confirms.
    Confirm(usize),
    /// What is looked at once a second.
    Look,
    /// A graceful stop is over.
    Stop,
}

/// From edge to router.
#[derive(Debug)]
pub enum Up {
    /// On the control stream.
    Say(EdgeMessage),
    /// On a batch's stream: that chunk of it.
    Stream(Chunk, Bytes),
    /// A batch's stream is taken back.
    Reset(u64),
    /// The connection is closed, or taken for lost.
    Closed,
}

/// From router to edge.
#[derive(Debug)]
pub enum Down {
    /// On the control stream.
    Say(Vec<RouterMessage>),
    /// The router's transport has all of this chunk's stream.
    Delivered(Chunk),
    /// The router wants no more of a stream.
    Stop(u64),
    /// The connection is closed, or taken for lost.
    Closed,
}
