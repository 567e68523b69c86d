//! The conversation with a router, decided: Hello and Welcome, then batches up, verdicts down, Status once a second, until one side
//! leaves. No sockets, no tasks, no clock: the driver ([`super::session`]) feeds in what happened and does what [`Talk::next`] says until
//! that is to wait.
//!
//! Which chunk is written next the [`Shipper`] decides; this gives its chunks to the transport and takes back, by [`Do::Reset`], streams
//! whose verdict came before their end: left open they would hold their batch in memory, and one of the streams that a router allows,
//! for as long as the connection lasts.
//!
//! Bounds: one [`Chunk`] for each stream between two chunks; what is to be done before the next event is fed in, at most one item for
//! each of these and one more. At most [`REFUSALS`] batches too large for the router are put aside at a time.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher;
use std::time::{Duration, Instant};

use federation_proto::codec::ENCODING;
use federation_proto::control::{EdgeMessage, GoAway, Hello, RouterMessage, Welcome, router_message};
use federation_proto::frame::{CloseCode, PROTOCOL};
use federation_proto::identity::{Seq, SpoolId};
use federation_proto::ledger::Reason;
use segment_log::ReadError;
use segment_log::mutation::{self, Mutation};

use super::{Introduction, status, verdict};
use crate::shipper::{Chunk, Item, Shipper, Step};

/// The router must answer Hello within this.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// A batch that the disk refused to read is tried again after this.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// A router that leaves is given no longer than this, whatever it asks for.
const MOST_GRACE: Duration = Duration::from_secs(60);
/// Batches that are being put aside at a time, before more are looked for.
const REFUSALS: usize = 4;

/// How the conversation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What the router is told.
    pub code: CloseCode,
    /// For people.
    pub why: String,
}

impl End {
    /// With this code, for this reason.
    pub fn new(code: CloseCode, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

/// What the driver does next.
#[derive(Debug)]
pub enum Do {
    /// Say this on the control stream.
    Say(EdgeMessage),
    /// Write this chunk of that batch; then tell [`Talk::done`].
    Write(Chunk),
    /// Take the stream of this attempt back: nothing more of it is wanted.
    Reset(u64),
    /// The router took us in.
    Welcomed(Welcome),
    /// A router has these on its journal: ack them in the spool and count them.
    Acked(Vec<Item>),
    /// This batch leaves for that reason: put it aside, count it, then tell [`Talk::put_aside`].
    Reject(Item, Reason),
    /// This batch's record is not what was written: quarantine and count it, then tell [`Talk::put_aside`].
    Damaged(Item, ReadError),
    /// Nothing until then, or until something happens.
    Wait(Option<Instant>),
    /// Close the connection.
    End(End),
}

/// What became of a chunk.
#[derive(Debug)]
pub enum Outcome {
    /// The transport took it.
    Written,
    /// After the last: the router's transport has the whole stream. Or the router wants no more of it.
    Delivered,
    /// The batch cannot be read.
    Unreadable(ReadError),
}

/// See the module.
#[derive(Debug)]
pub struct Talk {
    spool: SpoolId,
    /// Until Welcome: when it is overdue.
    welcome_by: Option<Instant>,
    status_at: Instant,
    /// The last chunk of each stream between two chunks, by attempt.
    open: BTreeMap<u64, Chunk>,
    /// Batches being put aside.
    refusing: usize,
    /// The router leaves: nothing is begun, and at this time we leave too.
    leave_at: Option<Instant>,
    /// It is we who leave.
    moves: bool,
    todo: VecDeque<Do>,
    end: Option<End>,
}

impl Talk {
    /// Begins with Hello.
    #[must_use]
    pub fn new(now: Instant, introduction: &Introduction, spool: SpoolId, shipper: &Shipper) -> Self {
        let hello = Hello {
            protocol: PROTOCOL,
            edge: introduction.name.to_string(),
            software: concat!("tributary-edge ", env!("CARGO_PKG_VERSION")).to_owned(),
            encodings: vec![u32::from(ENCODING)],
            spools: vec![verdict::floor(spool, shipper.floor())],
            labels: introduction.labels.clone(),
        };
        Self {
            spool,
            welcome_by: Some(now + WELCOME_TIMEOUT),
            status_at: now,
            open: BTreeMap::new(),
            refusing: 0,
            leave_at: None,
            moves: false,
            todo: VecDeque::from([Do::Say(hello.into())]),
            end: None,
        }
    }

    /// A router took us in.
    #[must_use]
    pub fn is_welcomed(&self) -> bool {
        self.welcome_by.is_none()
    }

    /// The router asked us to go elsewhere.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leave_at.is_some() && !self.moves
    }

    /// What to do now. Call again until it is to wait or to end; then after anything happened, and at the time given back.
    pub fn next(&mut self, now: Instant, shipper: &mut Shipper) -> Do {
        loop {
            if let Some(step) = self.todo.pop_front() {
                return step;
            }
            if let Some(end) = &self.end {
                return Do::End(end.clone());
            }
            if let Some(by) = self.welcome_by {
                if now < by {
                    return Do::Wait(Some(by));
                }
                self.end(CloseCode::Timeout, "the router did not answer Hello in time");
                continue;
            }
            if self.leave_at.is_some_and(|at| now >= at || shipper.depth().in_flight_bytes == 0) {
                let why = if self.moves { "moved to another connection" } else { "the router asked us to leave" };
                self.end(CloseCode::Drain, why);
                continue;
            }
            if now >= self.status_at {
                self.status_at = now + STATUS_EVERY;
                return Do::Say(status::status(self.spool, shipper).into());
            }
            let at = match shipper.next(now) {
                Step::Write(chunk) => {
                    self.open.remove(&chunk.attempt);
                    return Do::Write(chunk);
                }
                Step::TooLarge(batch) if self.refusing < REFUSALS => {
                    tracing::error!(%batch, "a batch is larger than the router takes");
                    self.refuse(batch, Reason::TooLarge, shipper);
                    continue;
                }
                // Goes on when one of them is done.
                Step::TooLarge(_) => None,
                Step::Wait(at) => at,
            };
            return Do::Wait([at, self.leave_at, Some(self.status_at)].into_iter().flatten().min());
        }
    }

    /// The router said something. `spool_next` is the number that the spool gives next; it matters for Welcome alone.
    pub fn hear(&mut self, now: Instant, message: RouterMessage, spool_next: Seq, shipper: &mut Shipper) {
        match message.kind {
            Some(router_message::Kind::Welcome(welcome)) if !self.is_welcomed() => self.welcome(now, welcome, spool_next, shipper),
            _ if !self.is_welcomed() => self.end(CloseCode::Malformed, "the router's first message is no Welcome"),
            Some(router_message::Kind::Welcome(_)) => self.end(CloseCode::Malformed, "a second Welcome"),
            Some(router_message::Kind::Ack(ack)) => {
                let items = verdict::acked(&ack, self.spool, shipper);
                self.take_back(shipper);
                if !items.is_empty() {
                    self.todo.push_back(Do::Acked(items));
                }
            }
            Some(router_message::Kind::Nack(nack)) if mutation::is(Mutation::NackIsAck) => {
                self.todo.push_back(Do::Acked(shipper.acked(Seq(nack.seq), Seq(nack.seq))));
            }
            Some(router_message::Kind::Nack(nack)) => {
                if let Some((seq, reason)) = verdict::nacked(now, &nack, self.spool, shipper) {
                    self.refuse(seq, reason, shipper);
                }
                self.take_back(shipper);
            }
            Some(router_message::Kind::Credit(credit)) if self.leave_at.is_none() => shipper.credit(credit.bytes),
            Some(router_message::Kind::GoAway(GoAway { deadline_ms, message })) => {
                tracing::info!(message, deadline_ms, "the router is leaving");
                // No credit, no new batch; what is on its way may still be acked.
                shipper.credit(0);
                self.leave_at = Some(now + Duration::from_millis(deadline_ms).min(MOST_GRACE));
            }
            // Credit of a router that is leaving; what a newer router says and this version does not know.
            Some(router_message::Kind::Credit(_)) | None => {}
        }
    }

    /// What became of a chunk.
    pub fn done(&mut self, now: Instant, chunk: Chunk, outcome: Outcome, shipper: &mut Shipper) {
        match outcome {
            // Nacked or acked meanwhile: the rest is not wanted.
            Outcome::Written if !shipper.is_sending(chunk) => self.todo.push_back(Do::Reset(chunk.attempt)),
            Outcome::Written => {
                shipper.written(chunk);
                if !chunk.last {
                    self.open.insert(chunk.attempt, chunk);
                }
            }
            Outcome::Delivered => shipper.delivered(now, chunk),
            Outcome::Unreadable(ReadError::Io { source, .. }) => {
                tracing::error!(batch = %chunk.seq, error = %source, "spool: cannot read now");
                shipper.hold(chunk.seq, now + READ_AGAIN, false);
            }
            Outcome::Unreadable(error) => {
                if let Some(item) = shipper.remove(chunk.seq) {
                    self.refusing += 1;
                    self.todo.push_back(Do::Damaged(item, error));
                }
            }
        }
    }

    /// We leave: nothing is begun, and at the latest after `grace` it is over.
    pub fn leave(&mut self, now: Instant, grace: Duration, shipper: &mut Shipper) {
        if !self.is_welcomed() || grace.is_zero() {
            self.end(CloseCode::Drain, "moved to another connection");
            return;
        }
        shipper.credit(0);
        let at = now + grace;
        self.leave_at = Some(self.leave_at.map_or(at, |before| before.min(at)));
        self.moves = true;
    }

    /// A [`Do::Reject`] or [`Do::Damaged`] is done.
    pub fn put_aside(&mut self) {
        self.refusing = self.refusing.saturating_sub(1);
    }

    fn welcome(&mut self, now: Instant, welcome: Welcome, spool_next: Seq, shipper: &mut Shipper) {
        if let Err(end) = acceptable(&welcome, self.spool, spool_next) {
            self.end = Some(end);
            return;
        }
        (self.welcome_by, self.status_at) = (None, now);
        let max_batch_bytes = if welcome.max_batch_bytes > 0 { u64::from(welcome.max_batch_bytes) } else { u64::MAX };
        shipper.goes_to(journal_of(&welcome));
        shipper.connected(welcome.credit_bytes, max_batch_bytes);
        self.todo.push_back(Do::Welcomed(welcome));
    }

    /// The batch leaves for a stated reason: the shipper forgets it now, the disk follows.
    fn refuse(&mut self, seq: Seq, reason: Reason, shipper: &mut Shipper) {
        if let Some(item) = shipper.remove(seq) {
            self.refusing += 1;
            self.todo.push_back(Do::Reject(item, reason));
        }
    }

    fn take_back(&mut self, shipper: &Shipper) {
        let unwanted = self.open.extract_if(.., |_, chunk| !shipper.is_sending(*chunk));
        self.todo.extend(unwanted.map(|(attempt, _)| Do::Reset(attempt)));
    }

    fn end(&mut self, code: CloseCode, why: &str) {
        self.end.get_or_insert_with(|| End::new(code, why));
    }
}

/// Tells journals apart; routers that share one name the same. One that names none is told apart by its own name.
fn journal_of(welcome: &Welcome) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    if welcome.journal.is_empty() {
        hasher.write(welcome.router.as_bytes())
    } else {
        hasher.write(&welcome.journal)
    }
    hasher.finish()
}

fn acceptable(welcome: &Welcome, spool: SpoolId, spool_next: Seq) -> Result<(), End> {
    if welcome.protocol != PROTOCOL {
        return Err(End::new(CloseCode::Version, format!("the router speaks protocol {}, this edge {PROTOCOL}", welcome.protocol)));
    }
    if !welcome.encodings.contains(&u32::from(ENCODING)) {
        return Err(End::new(CloseCode::Version, format!("the router cannot read encoding {ENCODING}: update it first")));
    }
    // A router that has seen numbers which this spool has not given yet: the disk was put back to an older image. What is named from here
    // on the router would take for what was named so before, and ack it unread. So nothing is shipped; it stays on the disk.
    let seen = welcome.spools.iter().find(|seen| seen.spool == spool.0).map_or(0, |seen| seen.next);
    if seen <= spool_next.0 {
        return Ok(());
    }
    let router = &welcome.router;
    let why = format!(
        "router {router} has seen batches of spool {spool} up to {seen}, which has named none from {spool_next} on: data_dir is an older \
         copy of itself. Stop this edge and move data_dir/spool and data_dir/spool-index away: a new spool gets a new id"
    );
    tracing::error!(why, "nothing is shipped");
    Err(End::new(CloseCode::Internal, why))
}

#[cfg(test)]
mod tests;
