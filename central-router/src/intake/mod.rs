//! What one connection brings, decided: control messages in, headers in, payloads in; verdicts, batches for the journal and messages
//! out. No sockets, no clock: the driver ([`crate::listener`]) reads a transport, writes what [`Intake::take`] gives, appends what
//! [`Intake::payload`] gives to the journal and comes back with its answer.
//!
//! What is accepted holds its id, its share of the credit and what its tenant was charged until it is answered; only what is on the
//! journal stays charged. Everything that was accepted and has not come whole is given back when the connection is closed; what is on its
//! way to the journal's disk goes on, and is found as a duplicate when it is sent again.
//!
//! Ack follows the fsync: it is said in [`Intake::journalled`] and, for what was journalled before, on its header; nowhere else.
//!
//! | Module | What it is |
//! |---|---|
//! | [`Session`] | Who it is, what it may do, the verdict on a header |
//! | [`stream`] | One batch's bytes as they come: header, payload, its pace |
//! | [`outbox`] | What waits to be said |

mod outbox;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use federation_proto::control::{EdgeMessage, NackReason, RouterMessage, Status, edge_message};
use federation_proto::frame::CloseCode;
use federation_proto::header::BatchHeader;
use federation_proto::identity::BatchId;
use segment_log::AppendError;

use self::outbox::{Outbox, Unread};
use crate::admission::Admission;
use crate::session::{Desk, Session, Verdict, Violation, charge};

pub use outbox::MAX_NACKS;
pub use stream::{Incoming, LEAST_PROGRESS, Payload};

const RETRY_DAMAGED: Duration = Duration::from_millis(100);
const RETRY_BUSY: Duration = Duration::from_millis(500);
const RETRY_DISK: Duration = Duration::from_secs(2);

/// How long a peer may take for what it owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the handshake, for the control stream, and for Hello on it; also to read what it is told.
    pub hello: Duration,
    /// From a batch stream's or control frame's first byte to the end of the header or frame.
    pub header: Duration,
    /// For each further 4 KiB of a payload.
    pub payload: Duration,
}

/// What a control message was.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Hello: the edge is taken in.
    Hello,
    /// How the edge is doing.
    Status(Status),
    /// What a later version says.
    Nothing,
}

/// The state of one connection, of whatever transport. See the module.
#[derive(Debug)]
pub struct Intake {
    session: Session,
    outbox: Outbox,
    /// Accepted; the payload is on its way. Bounded by the credit.
    awaited: HashMap<BatchId, BatchHeader>,
}

impl Intake {
    /// A connection of the session's edge.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self { session, outbox: Outbox::default(), awaited: HashMap::new() }
    }

    /// Who it is and what it said of itself.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// A control message came.
    ///
    /// # Errors
    /// [`Violation`]: the connection is to be closed with it, here and below.
    pub fn hear(&mut self, now: Instant, message: EdgeMessage, desk: &mut Desk<'_>) -> Result<Heard, Violation> {
        self.session.spoke(now)?;
        match message.kind {
            Some(edge_message::Kind::Hello(hello)) => {
                let welcome = self.session.hello(&hello, desk.allowed, desk.book)?;
                self.outbox.say(welcome);
                Ok(Heard::Hello)
            }
            Some(edge_message::Kind::Status(status)) => {
                self.session.status(&status, desk.allowed, desk.book)?;
                Ok(Heard::Status(status))
            }
            None => Ok(Heard::Nothing),
        }
    }

    /// A batch's header came. True when its payload is wanted; then [`Intake::payload`] is to be called, whatever becomes of it. Else the
    /// batch is answered, and its stream is to be stopped.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn header(&mut self, now: Instant, header: &BatchHeader, desk: &mut Desk<'_>) -> Result<bool, Violation> {
        match self.session.judge(now, header, desk)? {
            Verdict::Duplicate => {
                count_batch("duplicate");
                self.outbox.ack(header.id).map_err(|Unread| unread())?;
                Ok(false)
            }
            Verdict::Refuse { reason, retry_after, message } => {
                self.nack(header.id, reason, retry_after, message)?;
                Ok(false)
            }
            Verdict::Accept => {
                self.awaited.insert(header.id, header.clone());
                Ok(true)
            }
        }
    }

    /// What became of the payload of an accepted batch. Gives it back when it is to be put on the journal; then
    /// [`Intake::journalled`] is to be called.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn payload(&mut self, header: &BatchHeader, payload: Payload, desk: &mut Desk<'_>) -> Result<Option<Bytes>, Violation> {
        // Gone when the connection was closed meanwhile.
        if self.awaited.remove(&header.id).is_none() {
            return Ok(None);
        }
        let why = match payload {
            Payload::Whole(payload) => return Ok(Some(payload)),
            Payload::Damaged => Some("the payload does not match its checksum".to_owned()),
            Payload::Stalled(within) => {
                count_batch("stalled");
                Some(format!("the payload brought less than {LEAST_PROGRESS} bytes in {within:?}"))
            }
            Payload::GivenUp => None,
        };
        give_back(&mut self.session, header, desk);
        match why {
            Some(why) => self.nack(header.id, NackReason::Again, RETRY_DAMAGED, why).map(|()| None),
            None => Ok(None),
        }
    }

    /// The journal's answer for a batch that [`Intake::payload`] gave. Also when the connection was closed meanwhile.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn journalled(&mut self, header: &BatchHeader, result: &Result<(), AppendError>, admission: &Admission) -> Result<(), Violation> {
        self.session.answered(header);
        match result {
            Ok(()) => {
                count_batch("acked");
                metrics::counter!("tributary_router_batch_bytes_total").increment(u64::from(header.payload_len));
                metrics::counter!("tributary_router_batch_rows_total", "signal" => header.signal.as_str())
                    .increment(u64::from(header.rows));
                self.outbox.ack(header.id).map_err(|Unread| unread())
            }
            Err(error) => {
                admission.refund(&header.tenant, charge(header));
                let (reason, after) = not_journalled(error);
                self.nack(header.id, reason, after, error.to_string())
            }
        }
    }

    /// From now on nothing new is accepted, and the edge is told to go within `deadline`.
    pub fn leave(&mut self, deadline: Duration) {
        self.session.drain();
        self.outbox.go_away(deadline);
    }

    /// Is everything that was accepted answered?
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.session.held() == 0
    }

    /// Nothing more will be said than what waits.
    pub fn finish(&mut self) {
        self.outbox.close();
    }

    /// Does something wait to be said, or is the last word said?
    #[must_use]
    pub fn has_word(&self) -> bool {
        self.outbox.has_word()
    }

    /// What to say next, in order; `None` when all is said after [`Intake::finish`].
    pub fn take(&mut self) -> Option<Vec<RouterMessage>> {
        self.outbox.take()
    }

    /// The connection is gone: what was accepted and has not come whole is given back.
    pub fn close(&mut self, desk: &mut Desk<'_>) {
        for (_, header) in self.awaited.drain() {
            give_back(&mut self.session, &header, desk);
        }
        self.session.close(desk.book);
    }

    fn nack(&mut self, id: BatchId, reason: NackReason, after: Duration, message: String) -> Result<(), Violation> {
        count_batch(nack_label(reason));
        self.outbox.nack(id, reason, after, message).map_err(|Unread| unread())
    }
}

fn give_back(session: &mut Session, header: &BatchHeader, desk: &mut Desk<'_>) {
    desk.book.give_up(header.id);
    desk.admission.refund(&header.tenant, charge(header));
    session.answered(header);
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

/// The peer does not read what it is told.
#[must_use]
pub fn unread() -> Violation {
    Violation::new(CloseCode::Timeout, "control_unread", "the peer does not read its control stream")
}

fn count_batch(outcome: &'static str) {
    metrics::counter!("tributary_router_batches_total", "outcome" => outcome).increment(1);
}

fn nack_label(reason: NackReason) -> &'static str {
    match reason {
        NackReason::Unspecified => "unspecified",
        NackReason::OverQuota => "over_quota",
        NackReason::JournalFull => "journal_full",
        NackReason::Again => "again",
        NackReason::Draining => "draining",
        NackReason::TenantNotAllowed => "tenant_not_allowed",
        NackReason::TooLarge => "too_large",
        NackReason::UnknownEncoding => "unknown_encoding",
        NackReason::Malformed => "malformed",
    }
}
