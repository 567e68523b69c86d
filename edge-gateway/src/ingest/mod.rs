//! What happens to a request once its body is open: scan, dedup, disk, OK. The one way in for both receivers.
//!
//! **Sync before OK**: the sender forgets what we acknowledged. A body reaches the batcher only from the inbox's "it is on disk", so
//! no batch can hold rows that the inbox could not give back; and it happens there even if the sender has hung up meanwhile.
//!
//! A request with no rows is answered OK and leaves no trace.

mod memory;
mod offered;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use federation_proto::identity::{Signal, TenantId};
use federation_proto::ledger::Reason;
use federation_proto::otlp::{self, Malformed, Scan};
use parking_lot::Mutex;
use segment_log::{AppendError, Committer};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::compression::{self, Compression, Thrift};
use crate::custody::{Custody, LogId, Request, Seen};
use crate::encoder::EncoderPool;
use crate::inbox::{self, Entry};

use self::offered::Offered;
pub use memory::{Claim, Full, Memory};

/// After this a refused sender may come again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request was not taken, and with it what the sender should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not known, or not allowed: do not retry.
    #[error("{0}")]
    Unauthenticated(#[from] crate::identity::Unknown),
    /// Not OTLP: do not retry.
    #[error("{0}")]
    Malformed(String),
    /// Beyond the limit, in bytes: send less at a time.
    #[error("the request is larger than {0} bytes (receive.max_request): send less at a time")]
    TooLarge(usize),
    /// A path that is not one of OTLP's: do not retry.
    #[error("no such path here: expected one like {0}")]
    NotFound(&'static str),
    /// Another method than POST: do not retry.
    #[error("OTLP requests are sent by POST")]
    NotPost,
    /// A content type or encoding that is not spoken here: do not retry.
    #[error("{0}")]
    Unsupported(String),
    /// Memory or disk is at its bound: retry.
    #[error("{0}; try again later")]
    Busy(&'static str),
    /// The edge stops, or its disk fails: retry, elsewhere if there is one.
    #[error("{0}; try again later")]
    Unavailable(&'static str),
}

impl Refusal {
    /// The label in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Malformed(_) => "malformed",
            Self::TooLarge(_) => "too_large",
            Self::NotFound(_) => "not_found",
            Self::NotPost => "not_post",
            Self::Unsupported(_) => "unsupported",
            Self::Busy(_) => "busy",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl From<Full> for Refusal {
    fn from(_: Full) -> Self {
        Self::Busy("request bodies in memory are at their budget (receive.memory)")
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A request body in the open, with its claim on memory.
#[derive(Debug, Clone)]
pub struct Body {
    /// The Export*ServiceRequest.
    pub open: Bytes,
    /// The same as the sender compressed it, if it did.
    pub packed: Option<(Compression, Bytes)>,
}

/// The way in. Clones share it.
#[derive(Clone, Debug)]
pub struct Ingest {
    shared: Arc<Shared>,
}

struct Shared {
    custody: Arc<Mutex<Custody>>,
    inbox: Committer,
    inbox_id: LogId,
    encoders: EncoderPool,
    limits: otlp::Limits,
    /// Told whenever the fate of a request is known.
    settled: Notify,
    draining: AtomicBool,
    /// The inbox's disk failed at the last request.
    disk_refuses: AtomicBool,
    thrift: Thrift,
    /// The inbox's bytes on disk, as of its last record.
    inbox_used_bytes: AtomicU64,
    clock: Clock,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ingest")
    }
}

impl Ingest {
    /// Takes requests of at most `max_request_bytes`; compresses them for the inbox as `thrift` says.
    #[must_use]
    pub fn new(custody: Arc<Mutex<Custody>>, inbox: Committer, encoders: EncoderPool, max_request_bytes: usize, thrift: Thrift) -> Self {
        Self::on_clock(custody, inbox, encoders, max_request_bytes, thrift, Clock::System)
    }

    /// As [`Ingest::new`], with the time from `clock`.
    #[must_use]
    pub fn on_clock(
        custody: Arc<Mutex<Custody>>,
        inbox: Committer,
        encoders: EncoderPool,
        max_request_bytes: usize,
        thrift: Thrift,
        clock: Clock,
    ) -> Self {
        let inbox_id = custody.lock().inbox();
        let inbox_used_bytes = AtomicU64::new(inbox.with(|log| log.bytes_on_disk()));
        let shared = Shared {
            custody,
            inbox,
            inbox_id,
            encoders,
            limits: otlp::Limits { max_bytes: max_request_bytes, ..otlp::Limits::default() },
            settled: Notify::new(),
            draining: AtomicBool::new(false),
            disk_refuses: AtomicBool::new(false),
            thrift,
            inbox_used_bytes,
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on everything is refused.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// Did the inbox's disk fail at the last request?
    #[must_use]
    pub fn disk_refuses(&self) -> bool {
        self.shared.disk_refuses.load(Ordering::Relaxed)
    }

    /// Takes one request. `Ok` means that its rows are on disk.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of the request was taken.
    pub async fn accept(&self, signal: Signal, tenant: &TenantId, body: Body) -> Result<(), Refusal> {
        if self.shared.draining.load(Ordering::Acquire) {
            return Err(Refusal::Unavailable("the edge is stopping"));
        }
        let (scan, canonical) = canonical(signal, &body.open, &self.shared.limits)?;
        if scan.rows == 0 {
            return Ok(());
        }
        let hash = inbox::body_hash(&self.shared.inbox_id, tenant, signal, &body.open);
        let request = Request { tenant: tenant.clone(), signal, rows: scan.rows, hash };
        let Some(offered) = self.offer(request).await else { return Ok(()) };
        let offered = self.within_share(offered)?;
        let (body, (compression, payload)) = match canonical {
            Some(normalised) => {
                let stored = self.for_disk(&normalised);
                (Bytes::from_owner(Normalised { bytes: normalised, _claim: body.open }), stored)
            }
            None => {
                let stored = body.packed.unwrap_or_else(|| self.for_disk(&body.open));
                (body.open, stored)
            }
        };
        self.store(offered, compression, payload, body).await
    }

    /// A tenant that holds its share of the spool is refused, and nobody else.
    fn within_share(&self, offered: Offered) -> Result<Offered, Refusal> {
        if !self.shared.custody.lock().over_share().contains(&offered.request().tenant) {
            return Ok(offered);
        }
        let refusal = Refusal::Busy("this tenant holds its share of the spool (spool.tenant_share)");
        offered.refused(Reason::OverShare, refusal.clone());
        Err(refusal)
    }

    /// A plain body as the inbox stores it now.
    fn for_disk(&self, body: &Bytes) -> (Compression, Bytes) {
        let waiting = self.shared.inbox.stats().queued_bytes;
        let used = self.shared.inbox_used_bytes.load(Ordering::Relaxed);
        if self.shared.thrift.is_due(waiting, used) { compression::for_disk(body) } else { (Compression::Plain, body.clone()) }
    }

    /// Counts the request in, unless it was stored before. Waits for a twin that is on its way to disk.
    async fn offer(&self, request: Request) -> Option<Offered> {
        loop {
            let settled = self.shared.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            let seen = self.shared.custody.lock().offer(&request);
            match seen {
                Seen::No => return Some(Offered::new(Arc::clone(&self.shared), request)),
                Seen::OnDisk => return None,
                Seen::OnItsWay => settled.await,
            }
        }
    }

    /// Does not wait between counting the request in and giving it to the inbox, so that a sender who hangs up leaves nothing undone.
    async fn store(&self, mut offered: Offered, compression: Compression, payload: Bytes, body: Bytes) -> Result<(), Refusal> {
        let request = offered.request();
        let entry = Entry {
            tenant: request.tenant.clone(),
            signal: request.signal,
            rows: request.rows,
            body_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            hash: request.hash,
            compression,
        };
        metrics::counter!("tributary_edge_inbox_requests_total", "form" => compression.as_str()).increment(1);
        let told = offered.hear();
        self.shared.inbox.append(entry.encode(), payload, move |result| match result {
            Ok(seq) => offered.stored(seq, body),
            Err(error) => offered.not_stored(&error),
        });
        told.await.unwrap_or(Err(Refusal::Unavailable("the inbox is closed")))
    }
}

impl Shared {
    /// What the inbox's refusal is to the sender, and in the ledger.
    fn refusal(&self, error: &AppendError) -> (Reason, Refusal) {
        match error {
            AppendError::Busy { .. } => (Reason::Busy, Refusal::Busy("the disk cannot keep up")),
            AppendError::Full { .. } => (Reason::InboxFull, Refusal::Busy("the inbox is at its budget (inbox.budget)")),
            AppendError::TooLarge { .. } => (Reason::TooLarge, Refusal::TooLarge(self.limits.max_bytes)),
            AppendError::Closed => (Reason::Draining, Refusal::Unavailable("the edge is stopping")),
            AppendError::Io { .. } | AppendError::Sync(_) => {
                if !self.disk_refuses.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "inbox: requests cannot be stored; senders are refused until it can");
                }
                (Reason::Disk, Refusal::Unavailable("the inbox's disk refuses"))
            }
        }
    }
}

/// A body in another form than it came; the claim on memory of the one that came, which is about as long, stays with it.
struct Normalised {
    bytes: Bytes,
    _claim: Bytes,
}

impl AsRef<[u8]> for Normalised {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the scan says, and the body in the one form that the encoder reads if it came in another.
fn canonical(signal: Signal, body: &[u8], limits: &otlp::Limits) -> Result<(Scan, Option<Bytes>), Refusal> {
    let too_large = || Refusal::TooLarge(limits.max_bytes);
    if body.len() > limits.max_bytes {
        return Err(too_large());
    }
    let scan = otlp::scan(signal, body, limits)?;
    if scan.canonical {
        return Ok((scan, None));
    }
    let normalised = otlp::normalise(signal, body)?;
    if normalised.len() > limits.max_bytes {
        return Err(too_large());
    }
    let scan = otlp::scan(signal, &normalised, limits)?;
    if !scan.canonical {
        return Err(Refusal::Malformed("the request has no canonical form".to_owned()));
    }
    Ok((scan, Some(Bytes::from(normalised))))
}

#[cfg(test)]
mod tests;
