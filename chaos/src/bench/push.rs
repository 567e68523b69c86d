//! An edge's side of the wire without an edge: pushes batches that were encoded before, as fast as the router acknowledges them or at a
//! fixed rate, and measures from a stream's opening to its ack.
//!
//! Bounds: the router's credit, and [`IN_FLIGHT`] batches.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use federation_proto::codec::ENCODING;
use federation_proto::control::{EdgeMessage, Hello, NackReason, RouterMessage, SpoolFloor, Status, router_message};
use federation_proto::frame::{ALPN, ControlDecoder, PROTOCOL, encode_control};
use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Seq, SpoolId};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime};
use service::tls::TlsFiles;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::load::tally::Tally;

/// Batches without an ack at any time.
pub(super) const IN_FLIGHT: usize = 16;
const PATIENCE: Duration = Duration::from_secs(30);
const STATUS_EVERY: Duration = Duration::from_secs(1);
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// A UDP socket with buffers that hold a burst.
pub(super) fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The kernel gives what it allows; less is slower, not wrong.
    drop(socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    drop(socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES));
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A batch to push; its id is written when it is.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) header: BatchHeader,
    pub(super) payload: Bytes,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    rows: u64,
}

#[derive(Debug)]
struct Shared {
    spool: SpoolId,
    waiting: Mutex<HashMap<u64, Waiting>>,
    room: Semaphore,
    tally: Arc<Tally>,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of an edge that a router took in.
pub(super) struct Pusher {
    _endpoint: Endpoint,
    connection: Connection,
    shared: Arc<Shared>,
    credit_bytes: u64,
    next: u64,
}

impl Pusher {
    /// Connects and introduces itself as `edge`.
    pub(super) async fn connect(router: SocketAddr, edge: &str, tls: &TlsFiles, spool: SpoolId, tally: Arc<Tally>) -> io::Result<Self> {
        let tls = tls.client_config(&[ALPN]).map_err(io::Error::other)?;
        let client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(io::Error::other)?));
        let socket = udp_socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
        let connecting = endpoint.connect_with(client, router, "localhost").map_err(io::Error::other)?;
        let connection = timeout(PATIENCE, connecting).await?.map_err(io::Error::other)?;
        let (mut say, hear) = connection.open_bi().await.map_err(io::Error::other)?;
        let hello = Hello {
            protocol: PROTOCOL,
            edge: edge.to_owned(),
            encodings: vec![u32::from(ENCODING)],
            spools: vec![SpoolFloor { spool: spool.0.to_vec(), floor: 0 }],
            ..Hello::default()
        };
        say.write_all(&frame(hello)?).await?;
        let mut ear = Ear { stream: hear, decoder: ControlDecoder::default() };
        let Some(router_message::Kind::Welcome(welcome)) = timeout(PATIENCE, ear.next()).await?? else {
            return Err(io::Error::other("the router's first word was not Welcome"));
        };
        let shared = Arc::new(Shared { spool, waiting: Mutex::default(), room: Semaphore::new(0), tally });
        tokio::spawn(hear_acks(ear, Arc::clone(&shared)));
        tokio::spawn(tell_floor(say, Arc::clone(&shared)));
        Ok(Self { _endpoint: endpoint, connection, shared, credit_bytes: welcome.credit_bytes, next: 0 })
    }

    /// Gives room for batches of at most that size.
    pub(super) fn open_room(&self, batch_bytes: usize) {
        let batches = usize::try_from(self.credit_bytes).unwrap_or(usize::MAX) / batch_bytes.max(1);
        self.shared.room.add_permits(batches.clamp(1, IN_FLIGHT));
    }

    /// UDP payload bytes sent.
    pub(super) fn udp_bytes(&self) -> u64 {
        self.connection.stats().udp_tx.bytes
    }

    /// Sends a batch when there is room; its latency counts from `due`, or from when there was room if that is `None`.
    pub(super) async fn push(&mut self, prepared: &Prepared, due: Option<Instant>) -> io::Result<()> {
        let room = timeout(PATIENCE, self.shared.room.acquire()).await;
        room.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no ack for too long"))?.map_err(io::Error::other)?.forget();
        if let Some(gone) = self.connection.close_reason() {
            return Err(io::Error::other(gone));
        }
        let rows = u64::from(prepared.header.rows);
        self.next += 1;
        let id = BatchId { spool: self.shared.spool, seq: Seq(self.next) };
        let header = BatchHeader { id, ..prepared.header.clone() }.encode();
        self.shared.waiting().insert(self.next, Waiting { since: due.unwrap_or_else(Instant::now), rows });
        self.shared.tally.sent(rows);
        let mut stream = self.connection.open_uni().await.map_err(io::Error::other)?;
        let payload = prepared.payload.clone();
        tokio::spawn(async move {
            // What breaks here breaks the connection, which the next push sees.
            if stream.write_chunk(Bytes::from(header)).await.is_ok() && stream.write_chunk(payload).await.is_ok() {
                drop(stream.finish());
            }
        });
        Ok(())
    }

    /// Waits until everything pushed is answered.
    pub(super) async fn settled(&self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.shared.waiting().is_empty() {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "batches without an answer"));
            }
            tokio::time::sleep(super::POLL).await;
        }
        Ok(())
    }
}

fn frame(message: impl Into<EdgeMessage>) -> io::Result<Vec<u8>> {
    encode_control(&message.into()).map_err(io::Error::other)
}

struct Ear {
    stream: RecvStream,
    decoder: ControlDecoder<RouterMessage>,
}

impl Ear {
    async fn next(&mut self) -> io::Result<Option<router_message::Kind>> {
        loop {
            if let Some(message) = self.decoder.next_message().map_err(io::Error::other)? {
                return Ok(message.kind);
            }
            match self.stream.read_chunk(16 << 10, true).await.map_err(io::Error::other)? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

async fn hear_acks(mut ear: Ear, shared: Arc<Shared>) {
    while let Ok(kind) = ear.next().await {
        match kind {
            Some(router_message::Kind::Ack(ack)) => {
                for seq in ack.ranges.iter().flat_map(|range| range.first..=range.last) {
                    if let Some(Waiting { since, rows }) = shared.waiting().remove(&seq) {
                        shared.tally.acknowledged(rows, since.elapsed());
                        shared.room.add_permits(1);
                    }
                }
            }
            Some(router_message::Kind::Nack(nack)) => {
                if let Some(Waiting { rows, .. }) = shared.waiting().remove(&nack.seq) {
                    let reason = NackReason::try_from(nack.reason).unwrap_or(NackReason::Unspecified);
                    shared.tally.refused(format!("{reason:?}"), rows);
                    shared.room.add_permits(1);
                }
            }
            _ => {}
        }
    }
    shared.room.close();
}

/// Raises the floor once a second, as an edge does.
async fn tell_floor(mut say: SendStream, shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(STATUS_EVERY);
    loop {
        ticks.tick().await;
        let Some(floor) = shared.waiting().keys().min().copied() else { continue };
        let status = Status { spools: vec![SpoolFloor { spool: shared.spool.0.to_vec(), floor }], ..Status::default() };
        let Ok(frame) = frame(status) else { return };
        if say.write_all(&frame).await.is_err() {
            return;
        }
    }
}
