//! Stopping: one token that every task watches, and a drain that cannot take forever.
//!
//! SIGTERM or SIGINT asks for the shutdown: receivers stop taking, what was taken is made
//! durable, and the process leaves within its deadline. Nothing acknowledged depends on the drain,
//! since an acknowledgement follows the fsync; a drain only spares the next start some work. So a
//! second signal may end the process at once (exit code 128 + the signal's number).

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A shutdown that can be requested once and awaited by many; clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A token that only [`Shutdown::request`] triggers: for tests and for parts run in-process.
    pub fn new() -> Self {
        Self { requested: Arc::new(watch::Sender::new(false)) }
    }

    /// A token that SIGTERM or SIGINT triggers; a second signal exits at once with 143 or 130.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(watch_signals(shutdown.clone(), terminate, interrupt));
        Ok(shutdown)
    }

    /// Asks everybody who holds this token to stop. Asking again changes nothing.
    pub fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Whether the shutdown was requested.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Returns once the shutdown is requested; at once if it was. Safe to cancel and to call
    /// again, so it can stand in a `select!` loop.
    pub async fn requested(&self) {
        let mut watcher = self.requested.subscribe();
        // The sender lives in `self`, so the channel cannot close before this returns.
        let _ = watcher.wait_for(|requested| *requested).await;
    }
}

/// What is left of a drain whose deadline passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "not drained within {deadline:?}: what is on disk is sent after the next start; \
     raise the drain deadline if this repeats"
)]
pub struct DrainTimeout {
    /// The deadline that passed.
    pub deadline: Duration,
}

/// Runs `work` for at most `deadline`, and drops it where it stands after that.
///
/// # Errors
/// [`DrainTimeout`] if `work` did not finish in time.
pub async fn drain<F: Future>(deadline: Duration, work: F) -> Result<F::Output, DrainTimeout> {
    tokio::time::timeout(deadline, work).await.map_err(|_| DrainTimeout { deadline })
}

async fn watch_signals(shutdown: Shutdown, mut terminate: Signal, mut interrupt: Signal) {
    let first = next(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = first.name, "draining; a second signal exits at once");
    shutdown.request();
    let second = next(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal = second.name, "second signal: leaving without draining");
    std::process::exit(128 + second.number);
}

struct Received {
    name: &'static str,
    number: i32,
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> Received {
    tokio::select! {
        _ = terminate.recv() => Received { name: "SIGTERM", number: 15 },
        _ = interrupt.recv() => Received { name: "SIGINT", number: 2 },
    }
}

#[cfg(test)]
mod tests;
