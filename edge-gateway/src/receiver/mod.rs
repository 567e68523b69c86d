//! The OTLP receivers: any number of listeners, gRPC, HTTP or both on each, one [`Ingest`] behind all of them.
//!
//! A request body in protobuf is never decoded into messages here: it is read off the socket as it is, opened, and handed on as bytes.
//! JSON is rewritten as protobuf first.
//!
//! | Module | What it is |
//! |---|---|
//! | [`listener`], [`socket`] | Opening addresses; Unix sockets |
//! | [`serve`], [`room`] | Accepting connections; how many |
//! | [`connection`], [`wire`] | One connection: TLS, HTTP/1.1 or HTTP/2, its age; its bytes |
//! | [`exchange`] | One request: what it is, whose it is, what is answered |
//! | [`grpc`], [`http`], [`status`] | The two protocols; refusals in the words of each |
//! | [`body`] | Reading and opening bodies within their bounds |
//!
//! **Memory.** Bodies are within `receive.memory`, each at most `receive.max_request` when open. What connections hold beside them, HTTP/2
//! windows and buffers of unread bytes, is within half as much again: each connection claims its part before it is accepted (see [`room`]),
//! and without room new ones wait in the kernel's queue. Headers, at most [`connection::MAX_HEADER_BYTES`] a request, go before its body
//! is awaited. Unpacking takes at most 8 MiB beside the budget on each of the process's threads (zstd's largest window).
//!
//! **Time.** `receive.connections` bounds the handshake, a request's head and body, answers left unread, silence, and a connection's age;
//! at the end of its age and grace a connection is cut off, whatever it does.
//!
//! **Answers.** OK is for a request as a whole, and so is a refusal: nothing here takes a record and leaves its neighbour. A record that
//! OTLP does not allow makes the request malformed, a metric without points has no rows to lose, and all that the scan takes can be encoded.
//! So `partial_success` is never set, as the specification wants it when all was taken. What to retry is said by the code: see [`status`].

mod body;
mod connection;
mod exchange;
mod grpc;
mod http;
mod listener;
mod room;
mod serve;
mod socket;
mod status;
mod wire;

use federation_proto::identity::Signal;
use service::shutdown::Shutdown;

use crate::config::Connections;
use crate::identity::Identities;
use crate::ingest::{Ingest, Memory, Refusal};

pub use listener::{BoundListener, ListenError};
pub(crate) use listener::{check, check_dates};

/// What all listeners share.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Who senders are.
    pub identities: Identities,
    /// Where requests go.
    pub ingest: Ingest,
    /// The budget of bodies.
    pub memory: Memory,
    /// Largest request when open, in bytes.
    pub max_request_bytes: usize,
    /// Bounds of connections. Each listener has its own part of the memory, so that one that is flooded does not shut the others.
    pub connections: Connections,
}

impl Receiver {
    /// Serves `listener`, which may use `memory_bytes` for its connections, until `shutdown`; then answers what it has begun. `seed`
    /// spreads the ends of connections.
    pub async fn serve(self, listener: BoundListener, memory_bytes: usize, seed: u64, shutdown: Shutdown) {
        serve::serve(listener, self, room::Room::new(memory_bytes), seed, shutdown).await;
    }
}

fn count(protocol: &'static str, signal: Option<Signal>, outcome: &Result<(), Refusal>) {
    let outcome = outcome.as_ref().map_or_else(Refusal::as_str, |()| "ok");
    let signal = signal.map_or("none", Signal::as_str);
    metrics::counter!("tributary_edge_requests_total", "protocol" => protocol, "signal" => signal, "outcome" => outcome).increment(1);
}
