//! What a conversation goes over: one of two transports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use federation_proto::control::{EdgeMessage, RouterMessage};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Shared;
use super::quic::Quic;
use super::talk::{End, Outcome};
use super::tcp::Tcp;
use crate::shipper::Chunk;

/// Silence after which a link counts as cut.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// A router that does not take a word from us within this is stuck.
pub(super) const SAY_TIMEOUT: Duration = Duration::from_secs(10);

/// Control bytes that may wait: a router that leaves more unread is stuck.
pub(super) const MOST_URGENT: usize = 1 << 20;

/// Which transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// QUIC, over UDP.
    Quic,
    /// TLS on TCP.
    Tcp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Quic, Self::Tcp];

    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

/// What happens on a transport.
#[derive(Debug)]
pub(super) enum Event {
    /// The router said something.
    Heard(RouterMessage),
    /// A chunk that was to be written.
    Done(Chunk, Outcome),
    /// The connection is lost or of no use; nothing more will happen.
    Ended(End),
}

/// Control bytes to be written, and over TCP words about streams: before data. Also whether they are the last.
#[derive(Default)]
pub(super) struct Urgent {
    pub(super) bytes: Mutex<(Vec<u8>, bool)>,
    pub(super) more: Notify,
}

impl Urgent {
    /// Gives the bytes that wait.
    pub(super) fn put(&self, put: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut waiting = self.bytes.lock();
        put(&mut waiting.0);
        self.more.notify_one();
        waiting.0.len()
    }
}

/// A connection over either.
pub(super) enum Line {
    Quic(Box<Quic>),
    Tcp(Box<Tcp>),
}

impl Line {
    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Tcp(_) => Transport::Tcp,
        }
    }

    /// Says it on the control stream, without waiting for it to leave.
    pub(super) fn say(&self, message: &EdgeMessage) -> Result<(), End> {
        match self {
            Self::Quic(quic) => quic.say(message),
            Self::Tcp(tcp) => tcp.say(message),
        }
    }

    /// Begins to write a chunk; an [`Event::Done`] follows.
    pub(super) fn write(&mut self, shared: &Arc<Shared>, chunk: Chunk) {
        match self {
            Self::Quic(quic) => quic.write(shared, chunk),
            Self::Tcp(tcp) => tcp.write(shared, chunk),
        }
    }

    /// Takes the stream of this attempt back, which is between two chunks.
    pub(super) fn reset(&mut self, attempt: u64) {
        match self {
            Self::Quic(quic) => quic.reset(attempt),
            Self::Tcp(tcp) => tcp.reset(attempt),
        }
    }

    /// What happens next. Nothing is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Event {
        match self {
            Self::Quic(quic) => quic.next().await,
            Self::Tcp(tcp) => tcp.next().await,
        }
    }

    /// Bytes sent since the connection began: UDP payload, all of it; or TCP payload, TLS included, without retransmissions.
    pub(super) fn sent_bytes(&self) -> u64 {
        match self {
            Self::Quic(quic) => quic.sent_bytes(),
            Self::Tcp(tcp) => tcp.sent_bytes(),
        }
    }

    /// When the router was last heard of.
    pub(super) fn heard(&mut self) -> Instant {
        match self {
            Self::Quic(quic) => quic.heard(),
            Self::Tcp(tcp) => tcp.heard(),
        }
    }

    /// Keeps what is on its way to what the link carries. TCP's kernel does.
    pub(super) fn pace(&mut self) {
        if let Self::Quic(quic) = self {
            quic.pace();
        }
    }

    /// Is a connection that has just been made still there after so long?
    pub(super) async fn holds(&mut self, within: Duration) -> bool {
        match self {
            Self::Quic(quic) => quic.holds(within).await,
            Self::Tcp(tcp) => tcp.holds(within).await,
        }
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        match self {
            Self::Quic(quic) => quic.round_trip(),
            Self::Tcp(tcp) => tcp.round_trip(),
        }
    }

    pub(super) async fn close(self, end: &End) {
        match self {
            Self::Quic(quic) => quic.close(end).await,
            Self::Tcp(tcp) => tcp.close(end).await,
        }
    }
}
