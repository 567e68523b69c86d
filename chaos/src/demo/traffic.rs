//! HTTP traffic of the demo's own, a new connection a request: what the agent's kernel programs see.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n";
const REQUEST: &[u8] = b"GET /orders HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n";
const MAX_REQUEST: usize = 1024;

/// A running server and its client; both stop when dropped.
#[derive(Debug)]
pub struct Traffic {
    connects: Arc<AtomicU64>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    client: JoinHandle<()>,
    server: JoinHandle<()>,
}

impl Traffic {
    /// Starts both on loopback, one request every `every`.
    ///
    /// # Errors
    /// When no socket can be had.
    pub async fn start(every: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let connects = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = watch::channel(false);
        let client = tokio::spawn(request(address, every, Arc::clone(&connects), stopped));
        Ok(Self { connects, address, stop, client, server: tokio::spawn(serve(listener)) })
    }

    /// Connects that succeeded.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the request under way and makes no more, so that every connect that was made is counted.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        // A client that panicked makes no more requests either; its connects up to then are counted.
        drop((&mut self.client).await);
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.client.abort();
        self.server.abort();
    }
}

async fn serve(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let mut buffer = [0; MAX_REQUEST];
        if stream.read(&mut buffer).await.is_ok() {
            // A client that left early misses its answer: nothing to do about it.
            drop(stream.write_all(RESPONSE).await);
        }
    }
}

async fn request(address: SocketAddr, every: Duration, connects: Arc<AtomicU64>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = ticks.tick() => {}
        }
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        connects.fetch_add(1, Ordering::Relaxed);
        let mut answer = Vec::new();
        if stream.write_all(REQUEST).await.is_ok() {
            // The connect is what counts; an answer cut short changes nothing.
            drop(stream.read_to_end(&mut answer).await);
        }
    }
}
