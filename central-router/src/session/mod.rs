//! One edge's connection, decided: who it is, what it may send, what becomes of each batch. No sockets, no clock.
//!
//! Order of the checks on a batch header: declared spool, journalled before, twin being written, allow-list, sense, size, encoding,
//! draining, room, credit, quota. What is on the journal, or on its way there, comes first: an edge that missed the ack would count it as
//! dropped if it heard instead that its tenant was struck off, or its encoding given up, since. A quota is charged last, so that nothing
//! else's refusal is paid from it, and a duplicate costs nothing. It is charged the raw bytes that the header states, or the payload's if
//! that is more: no header makes a batch cheaper than what crosses the link. What is refused is refused on its header: its payload need
//! not cross the link.
//!
//! Bounds: header and payload bytes accepted and not yet answered stay within the credit. A batch beyond it is refused on its header
//! and not punished: an edge that gave up waiting for a slow fsync counts less than we hold.
//! [`MAX_SPOOLS`] spools and [`MAX_LABELS`] labels of one edge. [`MAX_MESSAGES`] control messages at once and then
//! [`MESSAGES_PER_SECOND`]: an edge has one to say each second. [`MAX_ROWS`] rows of one batch, since more never decode.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use federation_proto::codec::DecodeLimits;
use federation_proto::control::{Hello, NackReason, SpoolFloor, SpoolSeen, Status, Welcome};
use federation_proto::frame::{CloseCode, PROTOCOL};
use federation_proto::header::BatchHeader;
use federation_proto::identity::{EdgeName, Seq, Signal, SpoolId};

use crate::admission::Admission;
use crate::dedup::SpoolRefused;
use crate::edges::AllowList;
use crate::journal::book::{Admit, Book};

/// Spools that one edge may ship from on one connection: its own, and those it took over.
pub const MAX_SPOOLS: usize = 16;
/// Labels kept of a Hello; more are ignored.
pub const MAX_LABELS: usize = 32;
/// Longest label key or value kept, in bytes; longer ones are ignored.
pub const MAX_LABEL_LEN: usize = 128;

/// Rows that a batch may have: more are not decoded.
pub const MAX_ROWS: u32 = DecodeLimits::MAX_ROWS;
/// Control messages that may come at once: those of a minute in which nothing came through.
pub const MAX_MESSAGES: u32 = 64;
/// Control messages that may come from then on.
pub const MESSAGES_PER_SECOND: u32 = 4;

/// A twin is being written: its fsync takes milliseconds.
const RETRY_TWIN: Duration = Duration::from_millis(200);
/// The journal or the dedup set is at its bound: a tier has to move, or a floor to rise.
const RETRY_FULL: Duration = Duration::from_secs(1);
/// A wait longer than this is asked for again: ceilings may change.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// What a session holds its edge to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The router's name, for Welcome.
    pub router: String,
    /// Header and payload bytes that may be unanswered.
    pub credit: u64,
    /// Largest payload, in bytes.
    pub max_batch: u32,
    /// Encodings that can be read.
    pub encodings: Vec<u16>,
    /// The id of the journal, for Welcome.
    pub journal: [u8; 16],
}

/// The peer broke a rule: its connection is closed with this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Violation {
    /// Code on the wire.
    pub code: CloseCode,
    /// Label of the counter.
    pub reason: &'static str,
    /// What was wrong, for the peer's log and ours.
    pub message: String,
}

impl Violation {
    /// A rule broken.
    #[must_use]
    pub fn new(code: CloseCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }
}

/// What becomes of a batch, judged by its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Read the payload, journal it, ack it. Its id is reserved and its bytes count against the credit until [`Session::answered`].
    Accept,
    /// On the journal already: ack, and stop the stream.
    Duplicate,
    /// Nack, and stop the stream.
    Refuse {
        /// Why, on the wire.
        reason: NackReason,
        /// When to come again; zero for what is permanent.
        retry_after: Duration,
        /// For people.
        message: String,
    },
}

/// What a verdict is made from, apart from the session itself.
pub struct Desk<'a> {
    /// Which edge may carry whom.
    pub allowed: &'a AllowList,
    /// The ceilings.
    pub admission: &'a Admission,
    /// What is on the journal.
    pub book: &'a mut Book,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    edge: EdgeName,
    limits: Limits,
    spools: Vec<SpoolId>,
    labels: BTreeMap<String, String>,
    welcomed: bool,
    draining: bool,
    held: u64,
    messages: Messages,
}

/// How many control messages may still come: [`MAX_MESSAGES`] at first, [`MESSAGES_PER_SECOND`] more each second.
#[derive(Debug)]
struct Messages {
    left: f64,
    at: Option<Instant>,
}

impl Messages {
    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(*self.at.get_or_insert(now));
        self.at = Some(now);
        self.left = (self.left + since.as_secs_f64() * f64::from(MESSAGES_PER_SECOND)).min(f64::from(MAX_MESSAGES));
        self.left -= 1.0;
        self.left >= 0.0
    }
}

impl Session {
    /// A session of the edge that the certificate names.
    #[must_use]
    pub fn new(edge: EdgeName, limits: Limits) -> Self {
        let messages = Messages { left: f64::from(MAX_MESSAGES), at: None };
        Self { edge, limits, spools: Vec::new(), labels: BTreeMap::new(), welcomed: false, draining: false, held: 0, messages }
    }

    /// The edge, as its certificate names it.
    #[must_use]
    pub fn edge(&self) -> &EdgeName {
        &self.edge
    }

    /// The spools that its Hello named.
    #[must_use]
    pub fn spools(&self) -> &[SpoolId] {
        &self.spools
    }

    /// What its Hello said of where it stands.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Header and payload bytes accepted and not answered.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// A control message came, of whatever kind.
    ///
    /// # Errors
    /// [`Violation`]: too many of them.
    pub fn spoke(&mut self, now: Instant) -> Result<(), Violation> {
        if self.messages.take(now) {
            return Ok(());
        }
        let message = format!("more than {MESSAGES_PER_SECOND} control messages a second: one Status a second is expected");
        Err(Violation::new(CloseCode::TooLarge, "control_flood", message))
    }

    /// Answers the first message: takes the spools in and says what the edge may do.
    ///
    /// # Errors
    /// [`Violation`]: a second Hello, another edge's name, no common version or encoding, malformed or too many spools, a spool of
    /// another edge.
    pub fn hello(&mut self, hello: &Hello, allowed: &AllowList, book: &mut Book) -> Result<Welcome, Violation> {
        if self.welcomed {
            return Err(Violation::new(CloseCode::Malformed, "second_hello", "Hello came twice on one connection"));
        }
        if hello.edge != self.edge.as_str() {
            let message = format!(
                "Hello names edge {:?}, the certificate {:?}: set `name` to what the certificate says",
                cut(&hello.edge),
                self.edge.as_str()
            );
            return Err(Violation::new(CloseCode::UnknownEdge, "name_mismatch", message));
        }
        let protocol = hello.protocol.min(PROTOCOL);
        if protocol == 0 {
            return Err(Violation::new(
                CloseCode::Version,
                "protocol",
                format!("no common protocol: edge speaks up to {}, router 1 to {PROTOCOL}", hello.protocol),
            ));
        }
        if !self.limits.encodings.iter().any(|&ours| hello.encodings.contains(&u32::from(ours))) {
            let theirs = &hello.encodings[..hello.encodings.len().min(16)];
            let message =
                format!("no common encoding: edge has {theirs:?}, router reads {:?}: upgrade the router first", self.limits.encodings);
            return Err(Violation::new(CloseCode::Version, "encoding", message));
        }
        let mut seen = Vec::with_capacity(hello.spools.len());
        for (spool, floor) in spool_floors(&hello.spools)? {
            let next = book.dedup_mut().connect(&self.edge, spool, floor, |edge| allowed.has(edge)).map_err(|refused| {
                let (code, reason) = match refused {
                    SpoolRefused::TooMany(_) => (CloseCode::Busy, "too_many_spools"),
                    SpoolRefused::Foreign { .. } => (CloseCode::UnknownEdge, "foreign_spool"),
                };
                Violation::new(code, reason, refused.to_string())
            })?;
            self.spools.push(spool);
            seen.push(SpoolSeen { spool: spool.0.to_vec(), next });
        }
        let fits = |text: &str| text.len() <= MAX_LABEL_LEN;
        self.labels =
            hello.labels.iter().filter(|(k, v)| fits(k) && fits(v)).map(|(k, v)| (k.clone(), v.clone())).take(MAX_LABELS).collect();
        self.welcomed = true;
        Ok(Welcome {
            protocol,
            router: self.limits.router.clone(),
            encodings: self.limits.encodings.iter().map(|&e| u32::from(e)).collect(),
            credit_bytes: self.limits.credit,
            max_batch_bytes: self.limits.max_batch,
            spools: seen,
            journal: self.limits.journal.to_vec(),
        })
    }

    /// Takes the floors of a Status in.
    ///
    /// # Errors
    /// [`Violation`]: before Hello, malformed, of a spool that Hello did not name, or of an edge that is no longer on the list.
    pub fn status(&mut self, status: &Status, allowed: &AllowList, book: &mut Book) -> Result<(), Violation> {
        if !self.welcomed {
            return Err(Violation::new(CloseCode::Malformed, "no_hello", "Status before Hello"));
        }
        self.still_listed(allowed)?;
        for (spool, floor) in spool_floors(&status.spools)? {
            self.declared(spool)?;
            book.dedup_mut().raise_floor(spool, floor);
        }
        Ok(())
    }

    /// What becomes of the batch with this header.
    ///
    /// # Errors
    /// [`Violation`]: before Hello, a spool that Hello did not name, or of an edge that is no longer on the list.
    pub fn judge(&mut self, now: Instant, header: &BatchHeader, desk: &mut Desk<'_>) -> Result<Verdict, Violation> {
        if !self.welcomed {
            return Err(Violation::new(CloseCode::Malformed, "no_hello", "a batch before Hello"));
        }
        self.declared(header.id.spool)?;
        self.still_listed(desk.allowed)?;
        let room = match desk.book.judge(header) {
            Admit::Duplicate => {
                desk.book.count_duplicate(header);
                return Ok(Verdict::Duplicate);
            }
            Admit::Twin => return Ok(refuse(NackReason::Again, RETRY_TWIN, "its twin is being written")),
            Admit::Crowded => Err((NackReason::Again, "too many gaps between the ids of this spool: send the oldest first")),
            Admit::Full => Err((NackReason::JournalFull, "the journal is at its budget")),
            Admit::Fresh => Ok(()),
        };
        if let Some(refusal) = self.refusal_of_kind(header, desk.allowed) {
            return Ok(refusal);
        }
        if self.draining {
            return Ok(refuse(NackReason::Draining, RETRY_FULL, "the router is leaving"));
        }
        Ok(match room {
            Err((reason, message)) => refuse(reason, RETRY_FULL, message),
            Ok(()) => self.take_in(now, header, desk),
        })
    }

    /// Credit and quota, for a batch that nothing else speaks against.
    fn take_in(&mut self, now: Instant, header: &BatchHeader, desk: &mut Desk<'_>) -> Verdict {
        let size = held_size(header);
        if self.held.saturating_add(size) > self.limits.credit {
            return refuse(NackReason::Again, RETRY_TWIN, "beyond the credit: wait for an ack");
        }
        if let Err(wait) = desk.admission.admit(now, &header.tenant, charge(header)) {
            return refuse(NackReason::OverQuota, wait.min(MAX_RETRY), "over the tenant's rate");
        }
        desk.book.reserve(header);
        self.held += size;
        Verdict::Accept
    }

    /// A batch that was accepted has been acked, nacked or given up: its bytes are free again.
    pub fn answered(&mut self, header: &BatchHeader) {
        self.held = self.held.saturating_sub(held_size(header));
    }

    /// From now on nothing new is accepted.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// The connection is gone: its spools may be forgotten when there is need.
    pub fn close(&mut self, book: &mut Book) {
        for spool in self.spools.drain(..) {
            book.dedup_mut().disconnect(spool);
        }
    }

    fn declared(&self, spool: SpoolId) -> Result<(), Violation> {
        if self.spools.contains(&spool) {
            return Ok(());
        }
        Err(Violation::new(CloseCode::Malformed, "undeclared_spool", format!("spool {spool} was not named in Hello")))
    }

    fn still_listed(&self, allowed: &AllowList) -> Result<(), Violation> {
        if allowed.has(&self.edge) {
            return Ok(());
        }
        Err(Violation::new(CloseCode::UnknownEdge, "revoked", format!("edge {} is no longer on the allow-list", self.edge)))
    }

    /// Refusals that depend on the batch alone and would be the same for ever.
    fn refusal_of_kind(&self, header: &BatchHeader, allowed: &AllowList) -> Option<Verdict> {
        let permanent = |reason, message: String| Some(Verdict::Refuse { reason, retry_after: Duration::ZERO, message });
        if allowed.may_carry(&self.edge, &header.tenant) != Some(true) {
            return permanent(NackReason::TenantNotAllowed, format!("edge {} may not carry tenant {}", self.edge, header.tenant));
        }
        if header.rows == 0 || header.id.seq == Seq(u64::MAX) {
            return permanent(NackReason::Malformed, format!("batch {} of {} rows: no batch is like this", header.id.seq, header.rows));
        }
        if header.rows > MAX_ROWS {
            return permanent(NackReason::TooLarge, format!("{} rows: at most {MAX_ROWS} are taken", header.rows));
        }
        if header.payload_len > self.limits.max_batch {
            return permanent(
                NackReason::TooLarge,
                format!("payload of {} bytes: at most {} are taken", header.payload_len, self.limits.max_batch),
            );
        }
        if !self.limits.encodings.contains(&header.encoding) {
            return permanent(
                NackReason::UnknownEncoding,
                format!("encoding {}: this router reads {:?}", header.encoding, self.limits.encodings),
            );
        }
        if header.signal == Signal::Profiles {
            return permanent(NackReason::UnknownEncoding, "profiles are not taken by this version".to_owned());
        }
        None
    }
}

/// What a batch is charged to its tenant's ceiling, in bytes: no header makes it cheaper than what crosses the link.
#[must_use]
pub fn charge(header: &BatchHeader) -> u64 {
    header.raw_bytes.max(u64::from(header.payload_len))
}

/// What a batch counts against the credit, in bytes.
fn held_size(header: &BatchHeader) -> u64 {
    u64::from(header.payload_len) + header.encode().len() as u64
}

fn refuse(reason: NackReason, retry_after: Duration, message: &str) -> Verdict {
    Verdict::Refuse { reason, retry_after, message: message.to_owned() }
}

fn spool_floors(spools: &[SpoolFloor]) -> Result<Vec<(SpoolId, u64)>, Violation> {
    if spools.len() > MAX_SPOOLS {
        return Err(Violation::new(
            CloseCode::TooLarge,
            "spools",
            format!("{} spools on one connection: at most {MAX_SPOOLS}", spools.len()),
        ));
    }
    let id = |spool: &SpoolFloor| {
        let bytes = <[u8; 16]>::try_from(spool.spool.as_slice()).map_err(|_| {
            Violation::new(CloseCode::Malformed, "spool_id", format!("a spool id of {} bytes: expected 16", spool.spool.len()))
        })?;
        Ok((SpoolId(bytes), spool.floor))
    };
    spools.iter().map(id).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
