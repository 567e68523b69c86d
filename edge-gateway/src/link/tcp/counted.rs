//! A connection that counts what is sent on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What the kernel takes beyond what it has sent, in bytes.
const UNSENT_BYTES: u32 = 128 << 10;

/// See the module.
pub(in crate::link) struct Counted {
    inner: TcpStream,
    sent: Arc<AtomicU64>,
}

impl Counted {
    /// Prepares a connection that has just been made.
    pub(in crate::link) fn new(inner: TcpStream) -> (Self, Arc<AtomicU64>) {
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
