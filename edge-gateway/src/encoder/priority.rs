//! Encoding gives way to receiving: an encoder thread works for ten milliseconds on end, and a request that arrives meanwhile on the same
//! core would otherwise wait for its turn several times before its OK.

/// Added to the thread's nice value. By Linux's weights it then gets about a tenth of a core for which others compete, and all that they
/// leave. An unprivileged process cannot take it back.
const NICER: i32 = 10;

/// Lowers the priority of the calling thread, and of no other. Without it everything works, only less evenly.
pub(super) fn give_way() {
    // Linux keeps a nice value for each thread; "process 0" is the thread that asks.
    let lowered = rustix::process::getpriority_process(None)
        .and_then(|now| rustix::process::setpriority_process(None, now.saturating_add(NICER).min(19)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "an encoder thread keeps its priority");
    }
}
