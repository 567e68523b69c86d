//! One batch stream: header, verdict, payload, journal, ack.
//!
//! What is accepted holds its id, its share of the credit and what its tenant was charged in a [`Held`], which gives them back however
//! this ends; only what is on the journal stays charged.
//!
//! A payload that brings less than [`LEAST_PROGRESS`] within the time that `timeouts.payload` gives is given up: at that pace a sender
//! could hold what it holds for hours, and keep it held by a byte now and then.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use federation_proto::control::NackReason;
use federation_proto::frame::CloseCode;
use federation_proto::header::{BatchHeader, HEADER_PREFIX, header_len};
use quinn::{ReadError, ReadExactError, RecvStream, VarInt};
use segment_log::AppendError;

use super::connection::{Link, clock, count_batch};
use crate::session::{Verdict, Violation};

/// Bytes that a payload has to bring within each of its times, unless they are its last. A dozen batches side by side on a link of 20
/// kbit/s still do.
const LEAST_PROGRESS: usize = 4 << 10;

const RETRY_DAMAGED: Duration = Duration::from_millis(100);
const RETRY_BUSY: Duration = Duration::from_millis(500);
const RETRY_DISK: Duration = Duration::from_secs(2);
/// Code of the STOP_SENDING that spares a payload: the control stream says why.
const ANSWERED_ON_HEADER: VarInt = VarInt::from_u32(0);

/// Takes one batch. An error ends the connection.
pub(super) async fn receive(link: Arc<Link>, mut stream: RecvStream) -> Result<(), Violation> {
    let header = match tokio::time::timeout(link.shared().timeouts.header, read_header(&mut stream)).await {
        Ok(Ok(Some(header))) => header,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(violation)) => return Err(violation),
        Err(_) => return Err(Violation::new(CloseCode::Timeout, "header", "a batch header did not come in time")),
    };
    match link.judge(&header)? {
        Verdict::Duplicate => {
            let _ = stream.stop(ANSWERED_ON_HEADER);
            count_batch("duplicate");
            link.ack(&header)
        }
        Verdict::Refuse { reason, retry_after, message } => {
            let _ = stream.stop(ANSWERED_ON_HEADER);
            link.nack(&header, reason, retry_after, message)
        }
        Verdict::Accept => {
            let held = Held { link: Arc::clone(&link), header: Some(header) };
            take(link, held, &mut stream).await
        }
    }
}

async fn take(link: Arc<Link>, held: Held, stream: &mut RecvStream) -> Result<(), Violation> {
    let Some(header) = held.header.clone() else { return Ok(()) };
    let within = link.shared().timeouts.payload;
    match read_payload(stream, header.payload_len, within).await? {
        Payload::Whole(payload) if header.matches(&payload) => {
            journal(held, payload);
            Ok(())
        }
        Payload::Whole(_) => {
            drop(held);
            link.nack(&header, NackReason::Again, RETRY_DAMAGED, "the payload does not match its checksum".to_owned())
        }
        Payload::Stalled => {
            drop(held);
            count_batch("stalled");
            let _ = stream.stop(ANSWERED_ON_HEADER);
            link.nack(
                &header,
                NackReason::Again,
                RETRY_DAMAGED,
                format!("the payload brought less than {LEAST_PROGRESS} bytes in {within:?}"),
            )
        }
        Payload::GivenUp => Ok(()),
    }
}

/// Ack follows the fsync: it is said from the journal's answer and from nowhere else.
fn journal(mut held: Held, payload: Bytes) {
    let Some(header) = held.header.take() else { return };
    let link = Arc::clone(&held.link);
    let (signal, rows, bytes, started) = (header.signal, u64::from(header.rows), payload.len() as u64, clock());
    let said = header.clone();
    link.shared().journal.clone().append(header, payload, move |result| {
        let link = &held.link;
        let answer = match &result {
            Ok(()) => {
                count_batch("acked");
                link.took(rows, bytes);
                metrics::counter!("tributary_router_batch_bytes_total").increment(bytes);
                metrics::counter!("tributary_router_batch_rows_total", "signal" => signal.as_str()).increment(rows);
                metrics::histogram!("tributary_router_journal_seconds").record(clock().saturating_duration_since(started).as_secs_f64());
                link.ack(&said)
            }
            Err(error) => {
                link.refund(&said);
                let (reason, after) = not_journalled(error);
                link.nack(&said, reason, after, error.to_string())
            }
        };
        report(link, &result);
        link.answered(&said);
        if let Err(violation) = answer {
            link.fail(&violation);
        }
    });
}

fn not_journalled(error: &AppendError) -> (NackReason, Duration) {
    match error {
        AppendError::Full { .. } => (NackReason::JournalFull, RETRY_DISK),
        AppendError::TooLarge { .. } => (NackReason::TooLarge, Duration::ZERO),
        AppendError::Closed => (NackReason::Draining, RETRY_DISK),
        AppendError::Busy { .. } => (NackReason::Again, RETRY_BUSY),
        AppendError::Io { .. } | AppendError::Sync(_) => (NackReason::Again, RETRY_DISK),
    }
}

/// Is the journal writable? A full queue, a full budget (reported apart) or a large record is no answer to that.
fn report(link: &Link, result: &Result<(), AppendError>) {
    let readiness = &link.shared().readiness;
    match result {
        Ok(()) => readiness.set("journal", Ok(())),
        Err(AppendError::Full { .. } | AppendError::Busy { .. } | AppendError::TooLarge { .. } | AppendError::Closed) => {}
        Err(error) => readiness.set("journal", Err(&error.to_string())),
    }
}

/// An accepted batch that is not yet handed to the journal.
struct Held {
    link: Arc<Link>,
    header: Option<BatchHeader>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(header) = self.header.take() {
            self.link.shared().journal.book().give_up(header.id);
            self.link.refund(&header);
            self.link.answered(&header);
        }
    }
}

/// The header; `None` when the peer took the stream back or the connection is lost.
async fn read_header(stream: &mut RecvStream) -> Result<Option<BatchHeader>, Violation> {
    let mut bytes = vec![0; HEADER_PREFIX];
    if !read_all(stream, &mut bytes).await? {
        return Ok(None);
    }
    let len = header_len(&bytes).map_err(malformed)?;
    bytes.resize(len, 0);
    if !read_all(stream, &mut bytes[HEADER_PREFIX..]).await? {
        return Ok(None);
    }
    let (header, _) = BatchHeader::decode(&bytes).map_err(malformed)?;
    Ok(Some(header))
}

/// False when the peer took the stream back or the connection is lost.
async fn read_all(stream: &mut RecvStream, into: &mut [u8]) -> Result<bool, Violation> {
    match stream.read_exact(into).await {
        Ok(()) => Ok(true),
        Err(ReadExactError::ReadError(_)) => Ok(false),
        Err(ReadExactError::FinishedEarly(read)) => Err(malformed(format!("a batch stream ended {read} bytes into its header"))),
    }
}

fn malformed(error: impl ToString) -> Violation {
    Violation::new(CloseCode::Malformed, "header", error.to_string())
}

enum Payload {
    Whole(Bytes),
    /// Too little came for too long.
    Stalled,
    /// The peer took the stream back, or the connection is lost.
    GivenUp,
}

/// Exactly `len` bytes and the stream's end. Memory follows what has come, not what was announced.
async fn read_payload(stream: &mut RecvStream, len: u32, within: Duration) -> Result<Payload, Violation> {
    let len = len as usize;
    let mut payload = BytesMut::new();
    let (mut due, mut seen) = (tokio::time::Instant::now() + within, 0);
    loop {
        if payload.len() - seen >= LEAST_PROGRESS {
            (due, seen) = (tokio::time::Instant::now() + within, payload.len());
        }
        let chunk = match tokio::time::timeout_at(due, stream.read_chunk(usize::MAX, true)).await {
            Err(_) => return Ok(Payload::Stalled),
            Ok(Err(ReadError::Reset(_) | ReadError::ConnectionLost(_))) => return Ok(Payload::GivenUp),
            Ok(Err(error)) => return Err(Violation::new(CloseCode::Malformed, "payload", error.to_string())),
            Ok(Ok(chunk)) => chunk,
        };
        let Some(chunk) = chunk else { break };
        if payload.len() + chunk.bytes.len() > len {
            return Err(Violation::new(CloseCode::Malformed, "payload_len", format!("a payload is longer than its header's {len} bytes")));
        }
        if payload.is_empty() {
            payload.reserve(len.min(256 << 10));
        }
        payload.extend_from_slice(&chunk.bytes);
    }
    if payload.len() < len {
        return Err(Violation::new(CloseCode::Malformed, "payload_len", format!("a payload ended after {} of {len} bytes", payload.len())));
    }
    Ok(Payload::Whole(payload.freeze()))
}
