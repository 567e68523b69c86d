//! Edges whose network has no UDP: the same conversation in chunks ([`federation_proto::chunk`]) over TLS 1.3 on TCP, on the port of the
//! same number, with the same certificates.
//!
//! Two tasks a connection: one reads and decides, one writes what the first and the journal's thread have to say.
//!
//! Bounds, per connection: [`MAX_STREAMS`] batch streams; payloads within the credit, as a header beyond it is refused and what comes
//! behind it is dropped; a chunk (64 KiB) read ahead; [`MAX_OUT`] bytes to be written, which a peer has to read within `timeouts.hello`.
//! A chunk, like a payload, has to bring [`LEAST_PROGRESS`] within `timeouts.payload`; a peer that is silent for [`IDLE_TIMEOUT`] is gone.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use federation_proto::chunk::{self, ALPN, Chunk, ChunkDecoder, HEAD_LEN, Kind, MAX_CONTENT_LEN};
use federation_proto::frame::CloseCode;
use federation_proto::header::BatchHeader;
use parking_lot::Mutex;
use rustls::CertificateError::{BadSignature, Expired, ExpiredContext, NotValidYet, NotValidYetContext, UnknownIssuer};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Link, clock};
use super::control::ControlIn;
use super::{IDLE_TIMEOUT, MAX_STREAMS, Shared};
use crate::intake::{Incoming, LEAST_PROGRESS, Payload, unread};
use crate::session::Violation;

/// Bytes that may wait to be written: a frame of control, and a word for each stream many times over.
const MAX_OUT: usize = 1 << 20;
/// More is not put there while this much waits.
const OUT_MARK: usize = 64 << 10;
/// Time for the last word to be written.
const GOODBYE: Duration = Duration::from_secs(2);

/// The writing side, for whoever has something to say.
#[derive(Debug)]
pub(super) struct Handle {
    remote: SocketAddr,
    out: Mutex<Out>,
    more: Notify,
    less: Notify,
}

#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    closed: bool,
}

/// A connection after its handshake. Dropped, it is cut off.
pub(super) struct Opened {
    pub(super) handle: Arc<Handle>,
    pub(super) reader: Option<ReadHalf<TlsStream<TcpStream>>>,
    pub(super) writer: JoinHandle<()>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Handle {
    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Bytes of the control stream. Waits for room.
    pub(super) async fn control(&self, frame: &[u8]) {
        loop {
            let less = self.less.notified();
            {
                let mut out = self.out.lock();
                if out.bytes.len() < OUT_MARK || out.closed {
                    if !out.closed {
                        chunk::put(&mut out.bytes, Kind::Control, 0, frame);
                        self.more.notify_one();
                    }
                    return;
                }
            }
            less.await;
        }
    }

    fn word(&self, kind: Kind, stream: u64) -> Result<(), Violation> {
        let mut out = self.out.lock();
        if out.bytes.len() > MAX_OUT {
            return Err(unread());
        }
        if !out.closed {
            chunk::put_word(&mut out.bytes, kind, stream);
            self.more.notify_one();
        }
        Ok(())
    }

    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        let mut out = self.out.lock();
        if !out.closed {
            chunk::put_close(&mut out.bytes, code, reason);
            out.closed = true;
            self.more.notify_one();
            self.less.notify_waiters();
        }
    }

    /// Until the last word is written, the peer does not read, or is gone.
    async fn write(&self, mut writer: WriteHalf<TlsStream<TcpStream>>, within: Duration) {
        loop {
            let more = self.more.notified();
            let (bytes, closed) = {
                let mut out = self.out.lock();
                (std::mem::take(&mut out.bytes), out.closed)
            };
            if bytes.is_empty() {
                if closed {
                    break;
                }
                more.await;
                continue;
            }
            let written = async {
                writer.write_all(&bytes).await?;
                writer.flush().await
            };
            if !matches!(tokio::time::timeout(within, written).await, Ok(Ok(()))) {
                break;
            }
            self.less.notify_waiters();
        }
        let _ = tokio::time::timeout(GOODBYE, writer.shutdown()).await;
    }
}

impl Opened {
    /// Shakes hands.
    ///
    /// # Errors
    /// Why not, as a label.
    pub(super) async fn accept(shared: &Shared, stream: TcpStream, remote: SocketAddr) -> Result<Self, &'static str> {
        let within = shared.timeouts.hello;
        let _ = stream.set_nodelay(true);
        let accepting = TlsAcceptor::from(shared.trust.tcp_crypto()).accept(stream);
        let stream = match tokio::time::timeout(within, accepting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::warn!(%remote, %error, "handshake failed");
                return Err(why(&error));
            }
            Err(_) => return Err("handshake_timeout"),
        };
        let (_, tls) = stream.get_ref();
        // A client that names no protocol passes the handshake.
        if tls.alpn_protocol() != Some(ALPN) {
            return Err("alpn");
        }
        let certificates = tls.peer_certificates().unwrap_or_default().iter().map(|shown| shown.clone().into_owned()).collect();
        let (reader, writer) = tokio::io::split(stream);
        let handle = Arc::new(Handle { remote, out: Mutex::default(), more: Notify::new(), less: Notify::new() });
        let writing = Arc::clone(&handle);
        let writer = tokio::spawn(async move { writing.write(writer, within).await });
        Ok(Self { handle, reader: Some(reader), writer, certificates })
    }

    /// What the peer showed.
    pub(super) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.certificates.clone()
    }

    /// Waits for the last word to leave.
    pub(super) async fn goodbye(mut self) {
        // Whoever served the connection may have seen the end of the writer, which is not to be waited for twice.
        if !self.writer.is_finished() {
            let _ = tokio::time::timeout(GOODBYE, &mut self.writer).await;
        }
    }
}

/// Why a handshake failed, as a label.
fn why(error: &io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })) => {
            "certificate_dates"
        }
        // Authorities made by `pki init` have one name, so that only the signature tells them apart.
        Some(rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature)) => "certificate_authority",
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => "certificate",
        _ => "handshake",
    }
}

/// A batch stream.
enum Stream {
    Wanted(Box<Incoming>, Option<Box<BatchHeader>>),
    /// Answered: what still comes of it is dropped.
    Stopped,
}

/// What is read.
pub(super) struct Reading {
    link: Arc<Link>,
    handle: Arc<Handle>,
    control: ControlIn,
    streams: HashMap<u64, Stream>,
    /// A chunk has begun: when it has to have brought more, and the bytes that were there of it.
    begun: Option<(Instant, usize)>,
}

impl Reading {
    pub(super) fn new(link: Arc<Link>, handle: Arc<Handle>) -> Self {
        let control = ControlIn::new(clock(), link.shared().timeouts);
        Self { link, handle, control, streams: HashMap::new(), begun: None }
    }

    /// Until the peer is gone, or breaks a rule.
    pub(super) async fn run(mut self, mut reader: ReadHalf<TlsStream<TcpStream>>) -> Result<(), Violation> {
        let mut decoder = ChunkDecoder::default();
        let mut heard = clock();
        loop {
            let idle = heard + IDLE_TIMEOUT;
            let due = self.due().map_or(idle, |due| due.min(idle));
            let read = reader.read_buf(decoder.room(HEAD_LEN + MAX_CONTENT_LEN));
            match tokio::time::timeout_at(due.into(), read).await {
                Ok(Ok(0) | Err(_)) => return Ok(()),
                Ok(Ok(_)) => {
                    heard = clock();
                    while let Some(chunk) = decoder.next_chunk().map_err(malformed)? {
                        self.take(heard, chunk)?;
                        self.begun = None;
                    }
                    self.progress(heard, decoder.pending_bytes());
                }
                Err(_) if clock() >= idle => return Ok(()),
                Err(_) => self.late(clock())?,
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let streams = self.streams.values().filter_map(|stream| match stream {
            Stream::Wanted(incoming, _) => Some(incoming.due()),
            Stream::Stopped => None,
        });
        streams.chain(self.control.due()).chain(self.begun.map(|(due, _)| due)).min()
    }

    fn progress(&mut self, now: Instant, pending: usize) {
        self.begun = match self.begun {
            _ if pending == 0 => None,
            Some((due, seen)) if pending < seen + LEAST_PROGRESS => Some((due, seen)),
            Some(_) | None => Some((now + self.link.shared().timeouts.payload, pending)),
        };
    }

    fn take(&mut self, now: Instant, chunk: Chunk) -> Result<(), Violation> {
        match chunk.kind {
            Kind::Control => self.control.push(now, &chunk.content, |message| self.link.hear(message)),
            Kind::Data => self.data(now, chunk.stream, chunk.content),
            Kind::Last => {
                self.data(now, chunk.stream, chunk.content)?;
                match self.streams.remove(&chunk.stream) {
                    Some(Stream::Wanted(incoming, header)) => {
                        let payload = incoming.end()?;
                        self.handle.word(Kind::Got, chunk.stream)?;
                        header.map_or(Ok(()), |header| self.link.take_payload(*header, payload))
                    }
                    Some(Stream::Stopped) | None => Ok(()),
                }
            }
            Kind::Reset => match self.streams.remove(&chunk.stream) {
                Some(Stream::Wanted(_, Some(header))) => self.link.take_payload(*header, Payload::GivenUp),
                _ => Ok(()),
            },
            Kind::Ping => self.handle.word(Kind::Pong, 0),
            Kind::Pong => Ok(()),
            Kind::Close => Err(Violation::new(CloseCode::Drain, "closed", chunk::close_of(&chunk.content).1)),
            Kind::Stop | Kind::Got => Err(malformed("a chunk of a kind that edges do not send")),
        }
    }

    fn data(&mut self, now: Instant, id: u64, mut bytes: Bytes) -> Result<(), Violation> {
        if !self.streams.contains_key(&id) && self.streams.len() >= MAX_STREAMS as usize {
            return Err(Violation::new(CloseCode::TooLarge, "streams", format!("more than {MAX_STREAMS} batch streams")));
        }
        let timeouts = self.link.shared().timeouts;
        let stream = self.streams.entry(id).or_insert_with(|| Stream::Wanted(Box::new(Incoming::new(now, timeouts)), None));
        let Stream::Wanted(incoming, accepted) = stream else { return Ok(()) };
        if let Some(header) = incoming.push(now, &mut bytes)? {
            if !self.link.judge(&header)? {
                *stream = Stream::Stopped;
                return self.handle.word(Kind::Stop, id);
            }
            *accepted = Some(Box::new(header));
            incoming.push(now, &mut bytes)?;
        }
        Ok(())
    }

    /// Whose time is up.
    fn late(&mut self, now: Instant) -> Result<(), Violation> {
        if self.control.due().is_some_and(|due| now >= due) {
            return Err(self.control.late());
        }
        if self.begun.is_some_and(|(due, _)| now >= due) {
            return Err(Violation::new(CloseCode::Timeout, "chunk_stalled", "a chunk did not come in time"));
        }
        for (id, stream) in &mut self.streams {
            let Stream::Wanted(incoming, accepted) = stream else { continue };
            if now < incoming.due() {
                continue;
            }
            let late = incoming.late()?;
            let header = accepted.take();
            *stream = Stream::Stopped;
            self.handle.word(Kind::Stop, *id)?;
            if let Some(header) = header {
                self.link.take_payload(*header, late)?;
            }
        }
        Ok(())
    }
}

fn malformed(error: impl ToString) -> Violation {
    Violation::new(CloseCode::Malformed, "chunk", error.to_string())
}
