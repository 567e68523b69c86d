//! A UDP relay between an edge and the router: the link that a scenario cuts, and an independent count of the bytes on it.
//!
//! A cut link drops every datagram both ways, as a dead route does; neither side is told. One relay serves one edge: the last
//! address that a datagram came from is where answers go, so that a restarted edge is found again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const MAX_DATAGRAM: usize = 65_536;
const BUFFER_BYTES: usize = 4 << 20;

#[derive(Debug, Default)]
struct Shared {
    cut: AtomicBool,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    lost: AtomicU64,
}

/// A running relay; stops when dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    listen: SocketAddr,
    task: JoinHandle<()>,
}

/// Bytes of UDP payload that a relay carried, and datagrams that it dropped while cut.
#[derive(Debug, Clone, Copy, Default)]
pub struct Carried {
    /// From the edge to the router.
    pub up_bytes: u64,
    /// From the router to the edge.
    pub down_bytes: u64,
    /// Datagrams dropped.
    pub lost: u64,
}

impl Carried {
    /// Adds what another relay carried.
    pub fn add(&mut self, other: &Self) {
        self.up_bytes += other.up_bytes;
        self.down_bytes += other.down_bytes;
        self.lost += other.lost;
    }
}

impl Relay {
    /// Opens a relay to `router` on a free loopback port.
    ///
    /// # Errors
    /// When no socket can be had.
    pub async fn open(router: SocketAddr) -> io::Result<Self> {
        let (edge_side, router_side) = (socket()?, socket()?);
        router_side.connect(router).await?;
        let listen = edge_side.local_addr()?;
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(carry(edge_side, router_side, Arc::clone(&shared)));
        Ok(Self { shared, listen, task })
    }

    /// Where the edge connects to.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Cuts or mends the link.
    pub fn set_cut(&self, cut: bool) {
        self.shared.cut.store(cut, Ordering::Relaxed);
    }

    /// What was carried so far.
    #[must_use]
    pub fn carried(&self) -> Carried {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Carried { up_bytes: read(&self.shared.up_bytes), down_bytes: read(&self.shared.down_bytes), lost: read(&self.shared.lost) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// With buffers that hold a burst: what a relay loses on its own would be counted against the link.
fn socket() -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The kernel gives what it allows.
    drop(socket.set_send_buffer_size(BUFFER_BYTES));
    drop(socket.set_recv_buffer_size(BUFFER_BYTES));
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

async fn carry(edge_side: UdpSocket, router_side: UdpSocket, shared: Arc<Shared>) {
    let mut edge = None;
    let mut from_edge = vec![0; MAX_DATAGRAM];
    let mut from_router = vec![0; MAX_DATAGRAM];
    loop {
        // A send or receive that fails (the router is down: ICMP refused) is a lost datagram, as on any link.
        tokio::select! {
            received = edge_side.recv_from(&mut from_edge) => {
                let Ok((len, from)) = received else { continue };
                edge = Some(from);
                pass(&shared, &shared.up_bytes, len, router_side.send(&from_edge[..len])).await;
            }
            received = router_side.recv(&mut from_router) => {
                let (Ok(len), Some(to)) = (received, edge) else { continue };
                pass(&shared, &shared.down_bytes, len, edge_side.send_to(&from_router[..len], to)).await;
            }
        }
    }
}

async fn pass(shared: &Shared, counter: &AtomicU64, len: usize, send: impl Future<Output = io::Result<usize>>) {
    if shared.cut.load(Ordering::Relaxed) || send.await.is_err() {
        shared.lost.fetch_add(1, Ordering::Relaxed);
    } else {
        counter.fetch_add(len as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Datagrams pass and are counted both ways; a cut link passes none.
    #[tokio::test]
    async fn passes_counts_and_cuts() {
        let router = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay::open(router.local_addr().unwrap()).await.unwrap();
        let edge = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        edge.connect(relay.listen()).await.unwrap();
        let mut buffer = [0; 64];

        edge.send(b"ping").await.unwrap();
        let (len, relay_side) = router.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..len], b"ping");
        router.send_to(b"pong!", relay_side).await.unwrap();
        assert_eq!(edge.recv(&mut buffer).await.unwrap(), 5);
        let carried = relay.carried();
        assert_eq!((carried.up_bytes, carried.down_bytes, carried.lost), (4, 5, 0));

        relay.set_cut(true);
        edge.send(b"lost").await.unwrap();
        while relay.carried().lost == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        relay.set_cut(false);
        edge.send(b"again").await.unwrap();
        let len = router.recv(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..len], b"again", "the datagram sent into the cut must not arrive");
    }
}
