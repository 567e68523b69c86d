//! Accepting connections: each gets its place first ([`Room`]), then a task of its own.
//!
//! An accept that fails (mostly: no free file descriptor) is tried again after [`ACCEPT_PAUSE`]. At shutdown each connection ends when
//! what it has begun is answered; the caller has the deadline.

use std::sync::Arc;
use std::time::Duration;

use service::shutdown::Shutdown;
use service::supervise;
use tokio::task::JoinSet;

use super::Receiver;
use super::connection::{Door, connection};
use super::listener::{BoundListener, Socket};
use super::room::{Place, Room};
use super::wire::Wire;
use crate::shipper::Jitter;

/// What a panic of a connection is counted as.
const CONNECTION: &str = "sender_connection";
/// How long to wait after the kernel refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `shutdown`, then ends what it has begun.
pub(super) async fn serve(listener: BoundListener, receiver: Receiver, room: Room, seed: u64, shutdown: Shutdown) {
    let BoundListener { address: _, key, protocol, socket, tls, accepts } = listener;
    let open = metrics::gauge!("tributary_edge_sender_connections", "listener" => key.clone());
    let door = Arc::new(Door::new(key, protocol, tls, accepts, receiver));
    let mut jitter = Jitter::new(seed);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            accepted = accept(&socket, &room) => accepted,
        };
        match accepted {
            Some((wire, place)) => {
                let (door, shutdown, open, random) = (Arc::clone(&door), shutdown.clone(), open.clone(), jitter.next());
                connections.spawn(async move {
                    let _open = Open::new(open);
                    connection(door, wire, place, random, shutdown).await;
                });
            }
            None => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while let Some(ended) = connections.try_join_next() {
            supervise::count_joined(CONNECTION, ended);
        }
    }
    drop(socket);
    while let Some(ended) = connections.join_next().await {
        supervise::count_joined(CONNECTION, ended);
    }
}

/// One more in the gauge, while it lives.
struct Open(metrics::Gauge);

impl Open {
    fn new(gauge: metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

async fn accept(socket: &Socket, room: &Room) -> Option<(Wire, Place)> {
    let place = room.place().await?;
    let accepted = match socket {
        Socket::Tcp(listener) => listener.accept().await.map(|(stream, _)| Wire::Tcp(stream)),
        Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Wire::Unix(stream)),
    };
    match accepted {
        Ok(wire) => Some((wire, place)),
        Err(error) => {
            tracing::warn!(%error, "receiver: cannot accept a connection");
            None
        }
    }
}
