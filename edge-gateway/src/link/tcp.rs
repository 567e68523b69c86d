//! The transport where UDP is blocked: chunks ([`federation_proto::chunk`]) over TLS 1.3 on TCP.
//!
//! One task reads, one writes: control and words about streams before data, data in the order in which the shipper gave it. The kernel
//! takes no more than [`UNSENT_BYTES`] beyond what it has sent, so that what comes later does not queue behind megabytes.
//!
//! What is counted as sent is what is given to TCP: TLS records and handshake included, TCP's own headers and retransmissions not.
//! Bounds: one chunk of each open batch and [`MOST_URGENT`] bytes of control wait to be written.

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use federation_proto::chunk::{self, ChunkDecoder, HEAD_LEN, Kind, MAX_CONTENT_LEN};
use federation_proto::control::{EdgeMessage, RouterMessage};
use federation_proto::frame::{CloseCode, ControlDecoder, encode_control};
use parking_lot::Mutex;
use segment_log::ReadError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::client::TlsStream;

use super::Shared;
use super::line::{Event, IDLE_TIMEOUT};
use super::talk::{End, Outcome};
use crate::clock;
use crate::shipper::Chunk;

/// What the kernel takes beyond what it has sent, in bytes.
const UNSENT_BYTES: u32 = 128 << 10;
/// Control bytes that may wait: a router that leaves more unread is stuck.
const MOST_URGENT: usize = 1 << 20;
/// What was read and is not taken in.
const EVENTS_AHEAD: usize = 16;
/// Chunks between the tasks.
const CHUNKS_AHEAD: usize = 4;
/// So that a close reaches the router.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

type Tls = TlsStream<Counted>;

/// A connection that counts what is sent on it.
pub(super) struct Counted {
    inner: TcpStream,
    sent: Arc<AtomicU64>,
}

impl Counted {
    /// Prepares a connection that has just been made.
    pub(super) fn new(inner: TcpStream) -> (Self, Arc<AtomicU64>) {
        let socket = socket2::SockRef::from(&inner);
        for result in [socket.set_tcp_nodelay(true), socket.set_tcp_notsent_lowat(UNSENT_BYTES)] {
            if let Err(error) = result {
                tracing::debug!(%error, "link: a socket option stays as it is");
            }
        }
        let sent = Arc::new(AtomicU64::new(0));
        (Self { inner, sent: Arc::clone(&sent) }, sent)
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(len)) = written {
            self.sent.fetch_add(len as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A batch whose stream is open: what is not written yet.
struct Outgoing {
    header: Bytes,
    payload: Bytes,
}

/// A chunk for the writer.
struct Piece {
    head: [u8; HEAD_LEN],
    header: Bytes,
    payload: Bytes,
    written: oneshot::Sender<()>,
}

/// What a task has done.
enum Done {
    Written(Outgoing),
    Unreadable(ReadError),
    /// The connection is gone.
    Gone,
}

/// What was read.
enum Read {
    Message(RouterMessage),
    /// The router has all of that stream, or wants no more of it.
    Over(u64),
    Ended(End),
}

/// Control, and words about streams: before data.
#[derive(Default)]
struct Urgent {
    bytes: Mutex<(Vec<u8>, bool)>,
    more: Notify,
}

impl Urgent {
    fn put(&self, put: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut waiting = self.bytes.lock();
        put(&mut waiting.0);
        self.more.notify_one();
        waiting.0.len()
    }
}

/// A connection.
pub(super) struct Tcp {
    urgent: Arc<Urgent>,
    data: mpsc::Sender<Piece>,
    read: mpsc::Receiver<Read>,
    reading: JoinHandle<()>,
    writer: JoinHandle<()>,
    writes: JoinSet<(Chunk, Done)>,
    /// Streams between two chunks, by attempt.
    open: HashMap<u64, Outgoing>,
    /// The last chunk begun of each stream that is not over.
    chunks: HashMap<u64, Chunk>,
    /// Streams of which a chunk is being written.
    writing: HashSet<u64>,
    /// Streams that the router wants no more of while a chunk is being written.
    over: HashSet<u64>,
    sent: Arc<AtomicU64>,
    heard: Arc<Mutex<Instant>>,
    round_trip: Duration,
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.reading.abort();
        self.writer.abort();
    }
}

impl Tcp {
    /// `round_trip` is what connecting took: TCP's own figure is not to be had.
    pub(super) fn start(stream: Tls, sent: Arc<AtomicU64>, round_trip: Duration) -> Self {
        let (reader, output) = tokio::io::split(stream);
        let urgent = Arc::<Urgent>::default();
        let (data, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let (tell, read) = mpsc::channel(EVENTS_AHEAD);
        let heard = Arc::new(Mutex::new(clock::now()));
        let reading = tokio::spawn(listen(reader, tell, Arc::clone(&heard)));
        let writer = tokio::spawn(write(output, Arc::clone(&urgent), chunks));
        Self {
            urgent,
            data,
            read,
            reading,
            writer,
            writes: JoinSet::new(),
            open: HashMap::new(),
            chunks: HashMap::new(),
            writing: HashSet::new(),
            over: HashSet::new(),
            sent,
            heard,
            round_trip,
        }
    }

    /// With a ping, so that a router that is gone is missed.
    pub(super) fn say(&self, message: &EdgeMessage) -> Result<(), End> {
        let frame = encode_control(message).map_err(|error| End::new(CloseCode::Internal, error.to_string()))?;
        let waiting = self.urgent.put(|out| {
            chunk::put(out, Kind::Control, 0, &frame);
            chunk::put_word(out, Kind::Ping, 0);
        });
        if waiting > MOST_URGENT {
            return Err(End::new(CloseCode::Timeout, "the router does not read what it is told"));
        }
        Ok(())
    }

    pub(super) fn write(&mut self, shared: &Arc<Shared>, chunk: Chunk) {
        let outgoing = self.open.remove(&chunk.attempt);
        self.chunks.insert(chunk.attempt, chunk);
        self.writing.insert(chunk.attempt);
        let (shared, data) = (Arc::clone(shared), self.data.clone());
        self.writes.spawn(async move { (chunk, give(shared, data, chunk, outgoing).await) });
    }

    pub(super) fn reset(&mut self, attempt: u64) {
        if self.open.remove(&attempt).is_some() {
            self.chunks.remove(&attempt);
            self.urgent.put(|out| chunk::put_word(out, Kind::Reset, attempt));
        }
    }

    pub(super) async fn next(&mut self) -> Event {
        loop {
            let silent = *self.heard.lock() + IDLE_TIMEOUT;
            tokio::select! {
                read = self.read.recv() => match read {
                    Some(Read::Message(message)) => return Event::Heard(message),
                    Some(Read::Over(stream)) => {
                        if let Some(event) = self.is_over(stream) {
                            return event;
                        }
                    }
                    Some(Read::Ended(end)) => return Event::Ended(end),
                    None => return Event::Ended(End::new(CloseCode::Drain, "the connection ended")),
                },
                Some(done) = self.writes.join_next(), if !self.writes.is_empty() => match done {
                    Ok((_, Done::Gone)) => {}
                    Ok((chunk, Done::Unreadable(error))) => {
                        self.chunks.remove(&chunk.attempt);
                        self.writing.remove(&chunk.attempt);
                        return Event::Done(chunk, Outcome::Unreadable(error));
                    }
                    Ok((chunk, Done::Written(outgoing))) => return self.written(chunk, outgoing),
                    Err(error) => return Event::Ended(End::new(CloseCode::Internal, format!("a batch could not be written: {error}"))),
                },
                () = tokio::time::sleep_until(silent.into()) => {
                    if clock::now() >= *self.heard.lock() + IDLE_TIMEOUT {
                        return Event::Ended(End::new(CloseCode::Timeout, "timed out"));
                    }
                }
            }
        }
    }

    fn written(&mut self, chunk: Chunk, outgoing: Outgoing) -> Event {
        self.writing.remove(&chunk.attempt);
        if self.over.remove(&chunk.attempt) {
            self.chunks.remove(&chunk.attempt);
            if !chunk.last {
                self.urgent.put(|out| chunk::put_word(out, Kind::Reset, chunk.attempt));
            }
            return Event::Done(chunk, Outcome::Delivered);
        }
        if !chunk.last {
            self.open.insert(chunk.attempt, outgoing);
        }
        Event::Done(chunk, Outcome::Written)
    }

    /// The router has all of the stream, or wants no more of it. While a chunk of it is being written that is kept until it is.
    fn is_over(&mut self, attempt: u64) -> Option<Event> {
        let chunk = *self.chunks.get(&attempt)?;
        if self.open.remove(&attempt).is_some() {
            self.urgent.put(|out| chunk::put_word(out, Kind::Reset, attempt));
        } else if self.writing.contains(&attempt) {
            self.over.insert(attempt);
            return None;
        }
        self.chunks.remove(&attempt);
        Some(Event::Done(chunk, Outcome::Delivered))
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        Some(self.round_trip)
    }

    pub(super) fn heard(&self) -> Instant {
        *self.heard.lock()
    }

    pub(super) async fn close(mut self, end: &End) {
        self.writes.abort_all();
        {
            let mut waiting = self.urgent.bytes.lock();
            chunk::put_close(&mut waiting.0, end.code, &end.why);
            waiting.1 = true;
            self.urgent.more.notify_one();
        }
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, &mut self.writer).await;
    }
}

/// Reads to the end of the connection, or to what is no chunk.
async fn listen(mut reader: ReadHalf<Tls>, tell: mpsc::Sender<Read>, heard: Arc<Mutex<Instant>>) {
    let (mut decoder, mut control) = (ChunkDecoder::default(), ControlDecoder::<RouterMessage>::default());
    let malformed = |error: String| Read::Ended(End::new(CloseCode::Malformed, error));
    loop {
        let why = match reader.read_buf(decoder.room(HEAD_LEN + MAX_CONTENT_LEN)).await {
            Ok(0) => "the router closed the connection".to_owned(),
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        if !why.is_empty() {
            let _ = tell.send(Read::Ended(End::new(CloseCode::Drain, why))).await;
            return;
        }
        *heard.lock() = clock::now();
        loop {
            let read = match decoder.next_chunk() {
                Ok(None) => break,
                Err(error) => malformed(error.to_string()),
                Ok(Some(chunk)) => match chunk.kind {
                    Kind::Control => {
                        control.push(&chunk.content);
                        if !say_on(&mut control, &tell).await {
                            return;
                        }
                        continue;
                    }
                    Kind::Stop | Kind::Got => Read::Over(chunk.stream),
                    Kind::Close => {
                        let (code, reason) = chunk::close_of(&chunk.content);
                        let code = code.map_or("an unknown code", CloseCode::as_str);
                        Read::Ended(End::new(CloseCode::Drain, format!("closed by the router: {code}: {reason}")))
                    }
                    Kind::Pong => continue,
                    Kind::Data | Kind::Last | Kind::Reset | Kind::Ping => {
                        malformed("a chunk of a kind that routers do not send".to_owned())
                    }
                },
            };
            let last = matches!(read, Read::Ended(_));
            if tell.send(read).await.is_err() || last {
                return;
            }
        }
    }
}

/// Passes whole messages on; false when that was the last.
async fn say_on(control: &mut ControlDecoder<RouterMessage>, tell: &mpsc::Sender<Read>) -> bool {
    loop {
        let read = match control.next_message() {
            Ok(None) => return true,
            Ok(Some(message)) => Read::Message(message),
            Err(error) => Read::Ended(End::new(CloseCode::Malformed, error.to_string())),
        };
        let last = matches!(read, Read::Ended(_));
        if tell.send(read).await.is_err() || last {
            return false;
        }
    }
}

/// Writes until the last word, or until the connection fails, which the reader notices too.
async fn write(mut writer: WriteHalf<Tls>, urgent: Arc<Urgent>, mut data: mpsc::Receiver<Piece>) {
    loop {
        let (bytes, last) = {
            let mut waiting = urgent.bytes.lock();
            (std::mem::take(&mut waiting.0), waiting.1)
        };
        if !bytes.is_empty() {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            continue;
        }
        if last {
            let _ = writer.shutdown().await;
            return;
        }
        tokio::select! {
            biased;
            () = urgent.more.notified() => {}
            piece = data.recv() => match piece {
                Some(piece) => {
                    if put(&mut writer, piece).await.is_err() {
                        return;
                    }
                }
                None => return,
            },
        }
    }
}

async fn put(writer: &mut WriteHalf<Tls>, piece: Piece) -> io::Result<()> {
    writer.write_all(&piece.head).await?;
    writer.write_all(&piece.header).await?;
    writer.write_all(&piece.payload).await?;
    writer.flush().await?;
    let _ = piece.written.send(());
    Ok(())
}

/// Hands one chunk to the writer and waits until it is written.
async fn give(shared: Arc<Shared>, data: mpsc::Sender<Piece>, chunk: Chunk, outgoing: Option<Outgoing>) -> Done {
    let mut outgoing = match outgoing {
        Some(outgoing) => outgoing,
        None => match tokio::task::spawn_blocking(move || shared.read(chunk.seq)).await {
            Ok(Ok((header, payload))) => Outgoing { header: Bytes::from(header), payload },
            Ok(Err(error)) => return Done::Unreadable(error),
            Err(_) => return Done::Gone,
        },
    };
    let len = usize::try_from(chunk.len).unwrap_or(usize::MAX);
    let header = outgoing.header.split_to(len.min(outgoing.header.remaining()));
    let payload = outgoing.payload.split_to((len - header.len()).min(outgoing.payload.remaining()));
    let kind = if chunk.last { Kind::Last } else { Kind::Data };
    let (written, told) = oneshot::channel();
    let head = chunk::head(kind, chunk.attempt, header.len() + payload.len());
    if data.send(Piece { head, header, payload, written }).await.is_err() || told.await.is_err() {
        return Done::Gone;
    }
    Done::Written(outgoing)
}
