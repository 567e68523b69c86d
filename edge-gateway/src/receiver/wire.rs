//! A connection's bytes, watched: a sender that begins no request, or leaves an answer unread, ends its connection.
//!
//! hyper bounds the time of an HTTP/1.1 head and of HTTP/2's pings, but waits for ever for the first bytes, by which it tells one from
//! the other, and for a socket that takes no more of an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What bytes come over.
pub(super) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! on_wire {
    ($self:expr, $method:ident, $($argument:expr),*) => {
        match $self {
            Wire::Tcp(wire) => Pin::new(wire).$method($($argument),*),
            Wire::Unix(wire) => Pin::new(wire).$method($($argument),*),
            Wire::Tls(wire) => Pin::new(&mut **wire).$method($($argument),*),
        }
    };
}

/// What is known of a connection; shared by who reads it, who answers, and who ends it.
#[derive(Debug, Default)]
pub(super) struct Signs {
    begun: AtomicBool,
    http2: AtomicBool,
    old: AtomicBool,
}

impl Signs {
    /// A request, or HTTP/2, has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// It is HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// It has reached its age: its next answer is to be its last.
    pub(super) fn is_old(&self) -> bool {
        self.old.load(Ordering::Relaxed)
    }

    pub(super) fn set_old(&self) {
        self.old.store(true, Ordering::Relaxed);
    }
}

/// A wire with its time limits.
pub(super) struct Watched {
    wire: Wire,
    signs: Arc<Signs>,
    /// Bytes of the preface read so far, and until when there must be all of them or others; `None` once there are.
    begin: Option<(usize, Pin<Box<Sleep>>)>,
    /// How long a write may wait for the sender to read.
    answer: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// A connection must begin until `begin`, and take what is written to it within `answer`.
    pub(super) fn new(wire: Wire, signs: Arc<Signs>, begin: Instant, answer: Duration) -> Self {
        Self { wire, signs, begin: Some((0, Box::pin(tokio::time::sleep_until(begin)))), answer, stalled: None }
    }

    fn note(&mut self, read: &[u8]) {
        let Some((matched, _)) = &mut self.begin else { return };
        let rest = &PREFACE[*matched..];
        let len = read.len().min(rest.len());
        if read[..len] != rest[..len] {
            self.signs.begun.store(true, Ordering::Relaxed);
            self.begin = None;
        } else if len == rest.len() {
            self.signs.http2.store(true, Ordering::Relaxed);
            self.signs.begun.store(true, Ordering::Relaxed);
            self.begin = None;
        } else {
            *matched += len;
        }
    }

    /// A write that is pending for too long fails; any that is not starts the time anew.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let answer = self.answer;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(answer)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(timed_out("the sender does not read its answers")))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = on_wire!(&mut this.wire, poll_read, cx, buf);
        if this.begin.is_none() {
            return read;
        }
        if read.is_ready() {
            this.note(&buf.filled()[before..]);
        }
        if let Some((_, deadline)) = &mut this.begin
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(timed_out("no request began in time")));
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = on_wire!(&mut this.wire, poll_write, cx, bytes);
        this.watch(cx, written)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = on_wire!(&mut this.wire, poll_write_vectored, cx, bytes);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Tcp(wire) => wire.is_write_vectored(),
            Wire::Unix(wire) => wire.is_write_vectored(),
            Wire::Tls(wire) => wire.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = on_wire!(&mut this.wire, poll_flush, cx);
        this.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = on_wire!(&mut this.wire, poll_shutdown, cx);
        this.watch(cx, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    fn watched(begin: Duration, answer: Duration) -> (UnixStream, Watched, Arc<Signs>) {
        let (sender, ours) = UnixStream::pair().unwrap();
        let signs = Arc::new(Signs::default());
        (sender, Watched::new(Wire::Unix(ours), Arc::clone(&signs), Instant::now() + begin, answer), signs)
    }

    /// Silence, and a beginning that stops within HTTP/2's preface, end with the time, also when it comes byte by byte; a whole preface
    /// and a request of HTTP/1.1 do not.
    #[tokio::test]
    async fn a_connection_must_begin() {
        for (said, within, begins, http2) in [
            ("", SHORT, false, false),
            ("PRI * HT", SHORT, false, false),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", LONG, true, true),
            ("POST", LONG, true, false),
            ("PRI * HTTP/1.1", LONG, true, false),
        ] {
            let (mut sender, mut watched, signs) = watched(within, LONG);
            let reading = async {
                let mut byte = [0];
                while !signs.has_begun() {
                    watched.read_exact(&mut byte).await?;
                }
                io::Result::Ok(())
            };
            let saying = async { sender.write_all(said.as_bytes()).await.unwrap() };
            let (read, ()) = tokio::join!(reading, saying);
            assert_eq!(read.map_err(|error| error.kind()), if begins { Ok(()) } else { Err(io::ErrorKind::TimedOut) }, "{said:?}");
            assert_eq!(signs.is_http2(), http2, "{said:?}");
        }
    }

    /// A sender that reads nothing ends the connection; one that reads does not, however much there is.
    #[tokio::test]
    async fn answers_must_be_read() {
        let (sender, mut silent, _) = watched(LONG, SHORT);
        let unread = silent.write_all(&vec![0; 8 << 20]).await;
        assert_eq!(unread.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        drop(sender);
        let (mut sender, mut read, _) = watched(LONG, LONG);
        let writing = async { read.write_all(&vec![0; 8 << 20]).await.unwrap() };
        let mut buffer = vec![0; 8 << 20];
        let reading = async { sender.read_exact(&mut buffer).await.unwrap() };
        tokio::join!(writing, reading);
    }
}
