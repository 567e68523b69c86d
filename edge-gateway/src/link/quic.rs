//! The transport over QUIC: a control stream, and a unidirectional stream for each batch.
//!
//! Batch bytes are written by short tasks, one chunk each, so that a stream that the router does not read holds up no other. What is
//! written and not acknowledged is bounded by what the link carries in a moment ([`super::window`]), so that what is fresh or of a high
//! class does not queue behind megabytes on a slow one.
//!
//! That bound is for all streams together: while it is reached by what a router that is gone does not acknowledge, no word of control
//! leaves. So control has a task of its own, for which [`MOST_URGENT`] bytes may wait, and nobody waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use federation_proto::control::{EdgeMessage, RouterMessage};
use federation_proto::frame::{CloseCode, ControlDecoder, encode_control};
use federation_proto::identity::Seq;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use segment_log::ReadError;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::Shared;
use super::line::{Event, MOST_URGENT, SAY_TIMEOUT, Urgent};
use super::talk::{End, Outcome};
use super::window::Window;
use crate::clock;
use crate::shipper::Chunk;

/// Control messages read ahead.
const MESSAGES_AHEAD: usize = 16;
/// Code of a reset: the router's verdict came before the end.
const UNWANTED: VarInt = VarInt::from_u32(0);
/// Control goes before data.
const CONTROL_PRIORITY: i32 = 1;
/// So that a close reaches the router; a dead link is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A batch whose stream is open.
struct Outgoing {
    stream: SendStream,
    /// Header, then payload: what is not written yet.
    header: Bytes,
    payload: Bytes,
}

/// What a task has done.
enum Done {
    Written(Outgoing),
    Delivered,
    Unreadable(ReadError),
    /// The connection is gone.
    Gone,
}

/// A connection.
pub(super) struct Quic {
    endpoint: Endpoint,
    connection: Connection,
    urgent: Arc<Urgent>,
    /// Ends with what keeps control from being written.
    speaking: JoinHandle<End>,
    heard: mpsc::Receiver<Result<RouterMessage, String>>,
    listening: JoinHandle<()>,
    writes: JoinSet<(Chunk, Done)>,
    /// Streams between two chunks, by attempt.
    open: HashMap<u64, Outgoing>,
    /// Datagrams received, and when that was last another number.
    heard_of: (u64, Instant),
    window: Window,
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.listening.abort();
        self.speaking.abort();
    }
}

impl Quic {
    /// Opens the control stream.
    pub(super) async fn start(endpoint: Endpoint, connection: Connection) -> Result<Self, End> {
        let (control, answers) = connection.open_bi().await.map_err(|error| End::new(CloseCode::Drain, error.to_string()))?;
        // A stream that was just opened has a priority to set.
        let _ = control.set_priority(CONTROL_PRIORITY);
        let (hear, heard) = mpsc::channel(MESSAGES_AHEAD);
        let listening = tokio::spawn(listen(answers, hear));
        let urgent = Arc::<Urgent>::default();
        let speaking = tokio::spawn(speak(control, Arc::clone(&urgent), connection.clone()));
        let (heard_of, window) = ((0, clock::now()), Window::new(clock::now()));
        connection.set_send_window(window.bytes());
        let (writes, open) = (JoinSet::new(), HashMap::new());
        Ok(Self { endpoint, connection, urgent, speaking, heard, listening, writes, open, heard_of, window })
    }

    pub(super) fn say(&self, message: &EdgeMessage) -> Result<(), End> {
        let frame = encode_control(message).map_err(|error| End::new(CloseCode::Internal, error.to_string()))?;
        if self.urgent.put(|out| out.extend_from_slice(&frame)) > MOST_URGENT { Err(unread()) } else { Ok(()) }
    }

    pub(super) fn write(&mut self, shared: &Arc<Shared>, chunk: Chunk) {
        let outgoing = self.open.remove(&chunk.attempt);
        let (shared, connection) = (Arc::clone(shared), self.connection.clone());
        self.writes.spawn(async move { (chunk, write(shared, connection, chunk, outgoing).await) });
    }

    pub(super) fn reset(&mut self, attempt: u64) {
        if let Some(mut outgoing) = self.open.remove(&attempt) {
            let _ = outgoing.stream.reset(UNWANTED);
        }
    }

    pub(super) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                heard = self.heard.recv() => return match heard {
                    Some(Ok(message)) => Event::Heard(message),
                    Some(Err(error)) => Event::Ended(End::new(CloseCode::Malformed, error)),
                    None => Event::Ended(self.gone()),
                },
                Some(done) = self.writes.join_next(), if !self.writes.is_empty() => match done {
                    Ok((chunk, done)) => {
                        if let Some(event) = self.done(chunk, done) {
                            return event;
                        }
                    }
                    Err(error) => return Event::Ended(End::new(CloseCode::Internal, format!("a batch could not be written: {error}"))),
                },
                ended = &mut self.speaking => return Event::Ended(ended.unwrap_or_else(|_| self.gone())),
                _ = self.connection.closed() => return Event::Ended(self.gone()),
            }
        }
    }

    fn done(&mut self, chunk: Chunk, done: Done) -> Option<Event> {
        let outcome = match done {
            Done::Written(outgoing) => {
                if chunk.last {
                    self.writes.spawn(async move {
                        let stopped = outgoing.stream.stopped().await;
                        (chunk, stopped.map_or(Done::Gone, |_| Done::Delivered))
                    });
                } else {
                    self.open.insert(chunk.attempt, outgoing);
                }
                Outcome::Written
            }
            Done::Delivered => Outcome::Delivered,
            Done::Unreadable(error) => Outcome::Unreadable(error),
            Done::Gone => return Some(Event::Ended(self.gone())),
        };
        Some(Event::Done(chunk, outcome))
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.connection.stats().udp_tx.bytes
    }

    /// When the router was last heard of, to the accuracy of these calls.
    pub(super) fn heard(&mut self) -> Instant {
        let datagrams = self.connection.stats().udp_rx.datagrams;
        if datagrams != self.heard_of.0 {
            self.heard_of = (datagrams, clock::now());
        }
        self.heard_of.1
    }

    /// Keeps what is on its way to what the link carries.
    pub(super) fn pace(&mut self) {
        let now = clock::now();
        if !self.window.is_due(now) {
            return;
        }
        let stats = self.connection.stats();
        if self.window.observe(now, stats.udp_tx.bytes, stats.path.min_rtt) {
            self.connection.set_send_window(self.window.bytes());
            metrics::gauge!("tributary_edge_send_window_bytes").set(self.window.bytes() as f64);
        }
    }

    /// Is it still there after so long? A router that refuses our certificate says so after the handshake.
    pub(super) async fn holds(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.connection.closed()).await.is_err()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        Some(self.connection.rtt())
    }

    pub(super) async fn close(mut self, end: &End) {
        self.writes.abort_all();
        self.connection.close(VarInt::from_u32(end.code.code()), end.why.as_bytes());
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }

    fn gone(&self) -> End {
        gone(&self.connection)
    }
}

fn gone(connection: &Connection) -> End {
    let why = connection.close_reason().map_or_else(|| "the control stream ended".to_owned(), |reason| reason.to_string());
    End::new(CloseCode::Drain, why)
}

fn unread() -> End {
    End::new(CloseCode::Timeout, "the router does not read what it is told")
}

/// Writes the control stream, for as long as that is possible.
async fn speak(mut control: SendStream, urgent: Arc<Urgent>, connection: Connection) -> End {
    loop {
        let bytes = std::mem::take(&mut urgent.bytes.lock().0);
        if bytes.is_empty() {
            urgent.more.notified().await;
            continue;
        }
        match tokio::time::timeout(SAY_TIMEOUT, control.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return gone(&connection),
            Err(_) => return unread(),
        }
    }
}

/// Reads the router's messages; ends with the stream, or with the first that is none.
async fn listen(mut answers: RecvStream, heard: mpsc::Sender<Result<RouterMessage, String>>) {
    let mut decoder = ControlDecoder::<RouterMessage>::default();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(Some(len)) = answers.read(&mut buffer).await {
        decoder.push(&buffer[..len]);
        loop {
            let message = match decoder.next_message() {
                Ok(None) => break,
                Ok(Some(message)) => Ok(message),
                Err(error) => Err(error.to_string()),
            };
            let last = message.is_err();
            if heard.send(message).await.is_err() || last {
                return;
            }
        }
    }
}

/// Writes one chunk, after opening the stream for the first.
async fn write(shared: Arc<Shared>, connection: Connection, chunk: Chunk, outgoing: Option<Outgoing>) -> Done {
    let mut outgoing = match outgoing {
        Some(outgoing) => outgoing,
        None => match begin(shared, connection, chunk.seq).await {
            Ok(outgoing) => outgoing,
            Err(done) => return done,
        },
    };
    let mut left = usize::try_from(chunk.len).unwrap_or(usize::MAX);
    while left > 0 {
        let part = if outgoing.header.has_remaining() { &mut outgoing.header } else { &mut outgoing.payload };
        let piece = part.split_to(left.min(part.len()));
        if piece.is_empty() {
            break;
        }
        left -= piece.len();
        if let Err(error) = outgoing.stream.write_chunk(piece).await {
            return stopped(chunk, &error);
        }
    }
    if chunk.last
        && let Err(error) = outgoing.stream.finish()
    {
        return stopped(chunk, &error);
    }
    Done::Written(outgoing)
}

/// The router wants no more of it; or there is no connection, which is noticed elsewhere.
fn stopped(chunk: Chunk, error: &dyn std::error::Error) -> Done {
    tracing::debug!(batch = %chunk.seq, %error, "the router stopped reading a batch");
    Done::Delivered
}

async fn begin(shared: Arc<Shared>, connection: Connection, seq: Seq) -> Result<Outgoing, Done> {
    let read = tokio::task::spawn_blocking(move || shared.read(seq)).await.map_err(|_| Done::Gone)?;
    let (header, payload) = read.map_err(Done::Unreadable)?;
    let stream = connection.open_uni().await.map_err(|_| Done::Gone)?;
    Ok(Outgoing { stream, header: Bytes::from(header), payload })
}
