//! An accept loop: a bounded number of connections, each a task of its own, ended with grace. The edge's receivers have another, in
//! which connections claim memory and need not be TCP.
//!
//! Beyond the bound new connections wait in the kernel's queue. An accept that fails (mostly: no free file descriptor) is tried
//! again after [`ACCEPT_PAUSE`]; it never ends the listener.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::shutdown::Shutdown;
use crate::supervise;

/// How long to wait after the kernel refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs `connection` for each accepted connection until `shutdown` is requested, then closes the listener and gives the connections
/// that are still open: dropping them cuts them off, [`JoinSet::join_next`] waits for them. `listener_name` names it in the log.
pub async fn accept_until<F>(
    listener: TcpListener,
    listener_name: &'static str,
    max_connections: usize,
    shutdown: &Shutdown,
    mut connection: impl FnMut(TcpStream) -> F,
) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(max_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            accepted = accept(&listener, listener_name, &slots) => accepted,
        };
        match accepted {
            Some((stream, slot)) => {
                let served = connection(stream);
                connections.spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            None => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while let Some(ended) = connections.try_join_next() {
            supervise::count_joined(listener_name, ended);
        }
    }
    connections
}

async fn accept(listener: &TcpListener, name: &'static str, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(%error, listener = name, "cannot accept a connection");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt;
    use tokio::sync::mpsc;

    use super::*;

    /// No more connections are served at once than the bound; the next gets its turn when one ends; a shutdown leaves the open ones
    /// to the caller.
    #[tokio::test]
    async fn serves_up_to_the_bound() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let (begun, mut begins) = mpsc::channel(8);
        let serving = {
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                let connection = |mut stream: TcpStream| {
                    let begun = begun.clone();
                    async move {
                        let mut byte = [0];
                        let _ = begun.send(()).await;
                        let _ = stream.read(&mut byte).await;
                    }
                };
                accept_until(listener, "test", 2, &shutdown, connection).await
            })
        };
        let first = TcpStream::connect(address).await.unwrap();
        let _second = TcpStream::connect(address).await.unwrap();
        let _third = TcpStream::connect(address).await.unwrap();
        begins.recv().await.unwrap();
        begins.recv().await.unwrap();
        assert!(begins.try_recv().is_err(), "a third connection was served beside two");
        drop(first);
        begins.recv().await.unwrap();
        shutdown.request();
        let mut open = serving.await.unwrap();
        assert_eq!(open.len(), 2);
        open.shutdown().await;
    }
}
