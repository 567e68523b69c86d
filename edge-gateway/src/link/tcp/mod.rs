//! The transport where UDP is blocked: chunks ([`federation_proto::chunk`]) over TLS 1.3 on TCP.
//!
//! One task reads, one writes: control and words about streams before data, data in the order in which the shipper gave it. The kernel
//! takes no more than 128 KiB beyond what it has sent, so that what comes later does not queue behind megabytes.
//!
//! What is counted as sent is what is given to TCP: TLS records and handshake included, TCP's own headers and retransmissions not.
//! Bounds: one chunk of each open batch and [`MOST_URGENT`] bytes of control wait to be written.

mod counted;
mod tasks;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use federation_proto::chunk::{self, Kind};
use federation_proto::control::EdgeMessage;
use federation_proto::frame::{CloseCode, encode_control};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::client::TlsStream;

use self::tasks::{Done, Outgoing, Piece, Read, give, listen, write};
use super::Shared;
use super::line::{Event, IDLE_TIMEOUT, MOST_URGENT, Urgent};
use super::talk::{End, Outcome};
use crate::clock;
use crate::shipper::Chunk;

pub(super) use self::counted::Counted;

/// What was read and is not taken in.
const EVENTS_AHEAD: usize = 16;
/// Chunks between the tasks.
const CHUNKS_AHEAD: usize = 4;
/// So that a close reaches the router.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

type Tls = TlsStream<Counted>;

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

    /// Is it still there after so long? Before Hello a router says nothing but why it closes.
    pub(super) async fn holds(&mut self, within: Duration) -> bool {
        tokio::time::timeout(within, self.read.recv()).await.is_err()
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
