//! A router that only acknowledges: reads batches, keeps their headers' row counts, and drops the rest. What an edge is measured against.
//!
//! Speaks the wire as the real one does (credit, acks by range, one stream a batch) and counts the UDP bytes that quinn received.
//! Bounds: the credit it gives; [`MAX_CONNECTIONS`] connections in all its life.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use federation_proto::codec::ENCODING;
use federation_proto::control::{Ack, EdgeMessage, RouterMessage, SeqRange, Welcome, edge_message};
use federation_proto::frame::{ALPN, ControlDecoder, PROTOCOL, encode_control};
use federation_proto::header::{BatchHeader, HEADER_PREFIX, header_len};
use federation_proto::identity::{BatchId, SpoolId};
use federation_proto::intervals::Intervals;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use service::tls::TlsFiles;
use tokio::sync::mpsc;

use super::push::udp_socket;

const CREDIT_BYTES: u32 = 16 << 20;
const MAX_BATCH_BYTES: u32 = 8 << 20;
const MAX_STREAMS: u32 = 1024;
const MAX_CONNECTIONS: usize = 64;
const ACKS_WAITING: usize = 1024;

#[derive(Debug, Default)]
struct Seen {
    connections: Vec<Connection>,
    ids: HashMap<SpoolId, Intervals>,
    rows: u64,
    doubled: u64,
}

/// A running sink; stops when dropped.
#[derive(Debug)]
pub(super) struct Sink {
    endpoint: Endpoint,
    seen: Arc<Mutex<Seen>>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
    }
}

impl Sink {
    /// Starts one on a free loopback port, with a router's certificate.
    pub(super) fn start(tls: &TlsFiles) -> io::Result<Self> {
        let tls = tls.server_config(&[ALPN]).map_err(io::Error::other)?;
        let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(io::Error::other)?));
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_uni_streams(VarInt::from_u32(MAX_STREAMS))
            .stream_receive_window(VarInt::from_u32(MAX_BATCH_BYTES + 4096))
            .receive_window(VarInt::from_u32(CREDIT_BYTES + CREDIT_BYTES / 4));
        server.transport_config(Arc::new(transport));
        let socket = udp_socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))?;
        let sink = Self { endpoint: endpoint.clone(), seen: Arc::default() };
        let seen = Arc::clone(&sink.seen);
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let Ok(connection) = incoming.await else { continue };
                let mut known = lock(&seen);
                if known.connections.len() < MAX_CONNECTIONS {
                    known.connections.push(connection.clone());
                    tokio::spawn(serve(connection, Arc::clone(&seen)));
                }
            }
        });
        Ok(sink)
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Rows of batches that came whole, each batch once.
    pub(super) fn rows(&self) -> u64 {
        lock(&self.seen).rows
    }

    /// Batches that came again.
    pub(super) fn doubled(&self) -> u64 {
        lock(&self.seen).doubled
    }

    /// UDP payload bytes received.
    pub(super) fn udp_bytes(&self) -> u64 {
        lock(&self.seen).connections.iter().map(|connection| connection.stats().udp_rx.bytes).sum()
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(connection: Connection, seen: Arc<Mutex<Seen>>) {
    let Ok((control, said)) = connection.accept_bi().await else { return };
    let (say, to_say) = mpsc::channel::<RouterMessage>(ACKS_WAITING);
    tokio::spawn(speak(control, to_say));
    tokio::spawn(welcome(said, say.clone()));
    while let Ok(stream) = connection.accept_uni().await {
        tokio::spawn(take(stream, say.clone(), Arc::clone(&seen)));
    }
}

async fn speak(mut control: SendStream, mut to_say: mpsc::Receiver<RouterMessage>) {
    while let Some(message) = to_say.recv().await {
        let Ok(frame) = encode_control(&message) else { return };
        if control.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Answers Hello; what else the edge says is read and dropped.
async fn welcome(mut said: RecvStream, say: mpsc::Sender<RouterMessage>) {
    let mut decoder = ControlDecoder::<EdgeMessage>::default();
    let mut buffer = vec![0; 4096];
    while let Ok(Some(len)) = said.read(&mut buffer).await {
        decoder.push(&buffer[..len]);
        while let Ok(Some(message)) = decoder.next_message() {
            if let Some(edge_message::Kind::Hello(_)) = message.kind {
                let welcome = Welcome {
                    protocol: PROTOCOL,
                    router: "sink".to_owned(),
                    encodings: vec![u32::from(ENCODING)],
                    credit_bytes: u64::from(CREDIT_BYTES),
                    max_batch_bytes: MAX_BATCH_BYTES,
                    ..Welcome::default()
                };
                if say.send(welcome.into()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// One batch: acknowledged when it came whole.
async fn take(mut stream: RecvStream, say: mpsc::Sender<RouterMessage>, seen: Arc<Mutex<Seen>>) {
    let (mut head, mut len) = (Vec::new(), 0u64);
    while let Ok(Some(chunk)) = stream.read_chunk(usize::MAX, true).await {
        len += chunk.bytes.len() as u64;
        if head.len() < federation_proto::header::MAX_HEADER_LEN {
            head.extend_from_slice(&chunk.bytes);
        }
    }
    let Ok(header) = whole(&head, len) else { return };
    let BatchId { spool, seq } = header.id;
    {
        let mut seen = lock(&seen);
        if seen.ids.entry(spool).or_insert_with(|| Intervals::below(0)).insert(seq.0) {
            seen.rows += u64::from(header.rows);
        } else {
            seen.doubled += 1;
        }
    }
    let ranges = vec![SeqRange { first: seq.0, last: seq.0 }];
    // An edge that left asks again when it is back.
    drop(say.send(Ack { spool: spool.0.to_vec(), ranges }.into()).await);
}

/// The header of a batch that is all there.
fn whole(head: &[u8], len: u64) -> io::Result<BatchHeader> {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    header_len(head.get(..HEADER_PREFIX).ok_or_else(cut)?).map_err(io::Error::other)?;
    let (header, header_len) = BatchHeader::decode(head).map_err(io::Error::other)?;
    if len == header_len as u64 + u64::from(header.payload_len) { Ok(header) } else { Err(cut()) }
}
