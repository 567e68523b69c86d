//! One connection to a router: Hello and Welcome, then batches up, acks down, Status once a second.
//!
//! Batch bytes are written by short tasks, one chunk each, so that a stream that the router does not read holds up no other; which
//! chunk comes next only the shipper says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use federation_proto::codec::ENCODING;
use federation_proto::control::{EdgeMessage, GoAway, Hello, RouterMessage, Welcome, router_message};
use federation_proto::frame::{CloseCode, ControlDecoder, PROTOCOL, encode_control};
use federation_proto::identity::Seq;
use federation_proto::ledger::Reason;
use quinn::{Connection, RecvStream, SendStream, VarInt, WriteError};
use segment_log::ReadError;
use service::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Ended, Introduction, Shared, status, verdict};
use crate::clock;
use crate::shipper::{Chunk, Step};

/// The router must answer Hello within this.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// A router that does not take a word from us within this is stuck.
const SAY_TIMEOUT: Duration = Duration::from_secs(10);
/// Batches that are being put aside at a time, before more are looked for.
const REFUSALS: usize = 4;
/// Control messages read ahead.
const MESSAGES_AHEAD: usize = 16;
/// Code of a reset: the router's verdict came before the end.
const UNWANTED: VarInt = VarInt::from_u32(0);
/// Control goes before data.
const CONTROL_PRIORITY: i32 = 1;

/// A batch whose stream is open.
struct Outgoing {
    stream: SendStream,
    /// Header, then payload: what is not written yet.
    header: Bytes,
    payload: Bytes,
}

/// Why a chunk was not written.
enum Failed {
    Read(ReadError),
    Write(WriteError),
    /// The connection is gone; the session will notice.
    Gone,
}

/// What became of a chunk.
enum Progress {
    Written(Outgoing),
    /// After the last: the router's transport has the whole stream, or the router wants no more of it.
    Delivered,
}

type Written = (Chunk, Result<Progress, Failed>);

pub(super) struct Session<'a> {
    shared: &'a Arc<Shared>,
    introduction: &'a Introduction,
    connection: Connection,
    writes: JoinSet<Written>,
    /// Streams between two chunks, by attempt, with the chunk before.
    open: HashMap<u64, (Chunk, Outgoing)>,
    /// Batches that leave without being shipped: their disk work.
    refusals: JoinSet<()>,
    welcomed: bool,
    wire_bytes: u64,
    observed: Instant,
    /// The router leaves: nothing is begun, and at this time we leave too.
    leave_at: Option<Instant>,
}

impl<'a> Session<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, introduction: &'a Introduction, connection: Connection) -> Self {
        Self {
            shared,
            introduction,
            connection,
            writes: JoinSet::new(),
            open: HashMap::new(),
            refusals: JoinSet::new(),
            welcomed: false,
            wire_bytes: 0,
            observed: clock::now(),
            leave_at: None,
        }
    }

    /// Runs until the connection ends, the router sends us away, or `stop`.
    pub(super) async fn run(mut self, stop: &Shutdown) -> Ended {
        let (code, why) = match self.talk(stop).await {
            Ok(()) => (CloseCode::Drain, if self.leave_at.is_some() { "the router asked us to leave" } else { "stopped" }.to_owned()),
            Err((code, why)) => (code, why),
        };
        self.writes.abort_all();
        self.observe_wire();
        self.connection.close(VarInt::from_u32(code.code()), why.as_bytes());
        // Short; what they count must not come behind the last checkpoint.
        while self.refusals.join_next().await.is_some() {}
        Ended { welcomed: self.welcomed, go_away: self.leave_at.is_some(), why }
    }

    async fn talk(&mut self, stop: &Shutdown) -> Result<(), (CloseCode, String)> {
        let (mut control, answers) = self.connection.open_bi().await.map_err(lost)?;
        // A stream that was just opened has a priority to set.
        let _ = control.set_priority(CONTROL_PRIORITY);
        self.say(&mut control, self.hello().into()).await?;
        let (heard, mut messages) = mpsc::channel(MESSAGES_AHEAD);
        let listening = tokio::spawn(listen(answers, heard));
        let outcome = self.converse(&mut control, &mut messages, stop).await;
        listening.abort();
        outcome
    }

    async fn converse(
        &mut self,
        control: &mut SendStream,
        messages: &mut mpsc::Receiver<Result<RouterMessage, String>>,
        stop: &Shutdown,
    ) -> Result<(), (CloseCode, String)> {
        let first = tokio::time::timeout(WELCOME_TIMEOUT, messages.recv()).await;
        match first.map_err(|_| (CloseCode::Timeout, "the router did not answer Hello in time".to_owned()))? {
            Some(Ok(RouterMessage { kind: Some(router_message::Kind::Welcome(welcome)) })) => self.welcome(&welcome)?,
            Some(Ok(_)) => return Err((CloseCode::Malformed, "the router's first message is no Welcome".to_owned())),
            Some(Err(error)) => return Err((CloseCode::Malformed, error)),
            None => return Err(self.gone()),
        }
        let mut status = tokio::time::interval(STATUS_EVERY);
        loop {
            let wake_at = self.write_chunks();
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.hear(message.map_err(|error| (CloseCode::Malformed, error))?)?,
                    None => return Err(self.gone()),
                },
                Some(written) = self.writes.join_next(), if !self.writes.is_empty() => self.wrote(written)?,
                Some(_) = self.refusals.join_next(), if !self.refusals.is_empty() => {}
                () = self.shared.wake.notified() => {}
                () = until(wake_at) => {}
                _ = status.tick() => {
                    self.observe_wire();
                    let status = status::status(self.shared.spool_id, &self.shared.shipper.lock());
                    self.say(control, status.into()).await?;
                }
                _ = self.connection.closed() => return Err(self.gone()),
                () = stop.requested() => return Ok(()),
            }
            if self.has_left() {
                return Ok(());
            }
        }
    }

    fn hello(&self) -> Hello {
        let floor = self.shared.shipper.lock().floor();
        Hello {
            protocol: PROTOCOL,
            edge: self.introduction.name.to_string(),
            software: concat!("tributary-edge ", env!("CARGO_PKG_VERSION")).to_owned(),
            encodings: vec![u32::from(ENCODING)],
            spools: vec![verdict::floor(self.shared.spool_id, floor)],
            labels: self.introduction.labels.clone(),
        }
    }

    fn welcome(&mut self, welcome: &Welcome) -> Result<(), (CloseCode, String)> {
        if welcome.protocol != PROTOCOL {
            return Err((CloseCode::Version, format!("the router speaks protocol {}, this edge {PROTOCOL}", welcome.protocol)));
        }
        if !welcome.encodings.contains(&u32::from(ENCODING)) {
            return Err((CloseCode::Version, format!("the router cannot read encoding {ENCODING}: update it first")));
        }
        self.not_put_back(welcome)?;
        self.welcomed = true;
        let max_batch_bytes = if welcome.max_batch_bytes > 0 { u64::from(welcome.max_batch_bytes) } else { u64::MAX };
        self.shared.shipper.lock().connected(welcome.credit_bytes, max_batch_bytes);
        let mut status = self.shared.status.lock();
        status.connected = true;
        status.since_unix_seconds = Some(clock::unix_seconds());
        status.error = None;
        status.connections += 1;
        status.router.clone_from(&welcome.router);
        tracing::info!(router = welcome.router, endpoint = status.endpoint, "connected");
        metrics::gauge!("tributary_edge_link_up").set(1.0);
        metrics::counter!("tributary_edge_connections_total").increment(1);
        Ok(())
    }

    /// A router that has seen numbers which this spool has not given yet: the disk was put back to an older image. What is named from here
    /// on the router would take for what was named so before, and ack it unread. So nothing is shipped; it stays on the disk.
    fn not_put_back(&self, welcome: &Welcome) -> Result<(), (CloseCode, String)> {
        let spool = self.shared.spool_id;
        let seen = welcome.spools.iter().find(|seen| seen.spool == spool.0).map_or(0, |seen| seen.next);
        let next = self.shared.spool.with(|log| log.next_seq());
        if seen <= next.0 {
            return Ok(());
        }
        let router = &welcome.router;
        let why = format!(
            "router {router} has seen batches of spool {spool} up to {seen}, which has named none from {next} on: data_dir is an older \
             copy of itself. Stop this edge and move data_dir/spool and data_dir/spool-index away: a new spool gets a new id"
        );
        tracing::error!(why, "nothing is shipped");
        Err((CloseCode::Internal, why))
    }

    fn hear(&mut self, message: RouterMessage) -> Result<(), (CloseCode, String)> {
        match message.kind {
            Some(router_message::Kind::Ack(ack)) => {
                let batches = self.shared.acked(&ack);
                metrics::counter!("tributary_edge_acked_batches_total").increment(batches as u64);
                self.take_back();
            }
            Some(router_message::Kind::Nack(nack)) => {
                if let Some((seq, reason)) = self.shared.nacked(clock::now(), &nack) {
                    self.refuse(seq, reason);
                }
                self.take_back();
            }
            Some(router_message::Kind::Credit(credit)) if self.leave_at.is_none() => self.shared.shipper.lock().credit(credit.bytes),
            Some(router_message::Kind::GoAway(GoAway { deadline_ms, message })) => {
                tracing::info!(message, deadline_ms, "the router is leaving");
                // No credit, no new batch; what is on its way may still be acked.
                self.shared.shipper.lock().credit(0);
                self.leave_at = Some(clock::now() + Duration::from_millis(deadline_ms.min(60_000)));
            }
            Some(router_message::Kind::Welcome(_)) => return Err((CloseCode::Malformed, "a second Welcome".to_owned())),
            // Credit of a router that is leaving; what a newer router says and this version does not know.
            Some(router_message::Kind::Credit(_)) | None => {}
        }
        Ok(())
    }

    /// Streams that wait for their next chunk and will have none, since the verdict came first. Left open they would hold their batch in
    /// memory, and one of the streams that the router allows, for as long as the connection lasts.
    fn take_back(&mut self) {
        let shipper = self.shared.shipper.lock();
        let is_unwanted = |chunk: &Chunk| !shipper.is_sending(*chunk);
        for (_, (_, mut outgoing)) in self.open.extract_if(|_, (chunk, _)| is_unwanted(chunk)) {
            let _ = outgoing.stream.reset(UNWANTED);
        }
    }

    /// The batch leaves for a stated reason: the shipper forgets it now, the disk follows.
    fn refuse(&mut self, seq: Seq, reason: Reason) {
        let Some(item) = self.shared.shipper.lock().remove(seq) else { return };
        let shared = Arc::clone(self.shared);
        self.refusals.spawn_blocking(move || shared.reject(&item, reason));
    }

    fn has_left(&self) -> bool {
        let Some(at) = self.leave_at else { return false };
        clock::now() >= at || self.shared.shipper.lock().depth().in_flight_bytes == 0
    }

    /// Begins every write that may begin now; says when to look again.
    fn write_chunks(&mut self) -> Option<Instant> {
        loop {
            let now = clock::now();
            let wire_bytes = self.connection.stats().udp_tx.bytes;
            let mut shipper = self.shared.shipper.lock();
            shipper.cap().observe(now, wire_bytes);
            let chunk = match shipper.next(now) {
                Step::Wait(at) => return [at, self.leave_at].into_iter().flatten().min(),
                Step::Write(chunk) => chunk,
                // Goes on when one of them is done.
                Step::TooLarge(_) if self.refusals.len() >= REFUSALS => return self.leave_at,
                Step::TooLarge(batch) => {
                    drop(shipper);
                    tracing::error!(%batch, "a batch is larger than the router takes");
                    self.refuse(batch, Reason::TooLarge);
                    continue;
                }
            };
            drop(shipper);
            let outgoing = self.open.remove(&chunk.attempt).map(|(_, outgoing)| outgoing);
            let (shared, connection) = (Arc::clone(self.shared), self.connection.clone());
            self.writes.spawn(async move { (chunk, write(shared, connection, chunk, outgoing).await) });
        }
    }

    fn wrote(&mut self, written: Result<Written, tokio::task::JoinError>) -> Result<(), (CloseCode, String)> {
        let (chunk, result) = written.map_err(|error| (CloseCode::Internal, format!("a batch could not be written: {error}")))?;
        let now = clock::now();
        match result {
            Ok(Progress::Written(outgoing)) => self.go_on(chunk, outgoing),
            Ok(Progress::Delivered) => self.shared.shipper.lock().delivered(now, chunk),
            Err(Failed::Read(ReadError::Io { source, .. })) => {
                tracing::error!(batch = %chunk.seq, error = %source, "spool: cannot read now");
                self.shared.shipper.lock().hold(chunk.seq, now + STATUS_EVERY, false);
            }
            Err(Failed::Read(error)) => {
                let Some(item) = self.shared.shipper.lock().remove(chunk.seq) else { return Ok(()) };
                let shared = Arc::clone(self.shared);
                self.refusals.spawn_blocking(move || shared.damaged(&item, &error));
            }
            Err(Failed::Write(error)) => {
                tracing::debug!(batch = %chunk.seq, %error, "the router stopped reading a batch");
                self.shared.shipper.lock().delivered(now, chunk);
            }
            Err(Failed::Gone) => return Err(self.gone()),
        }
        Ok(())
    }

    /// A chunk is in the transport's hands: what its stream does next.
    fn go_on(&mut self, chunk: Chunk, mut outgoing: Outgoing) {
        let mut shipper = self.shared.shipper.lock();
        if !shipper.is_sending(chunk) {
            // Nacked or acked meanwhile: the rest is not wanted.
            let _ = outgoing.stream.reset(UNWANTED);
            return;
        }
        shipper.written(chunk);
        if chunk.last {
            self.writes.spawn(async move {
                let stopped = outgoing.stream.stopped().await;
                (chunk, stopped.map(|_| Progress::Delivered).map_err(|_| Failed::Gone))
            });
        } else {
            self.open.insert(chunk.attempt, (chunk, outgoing));
        }
    }

    async fn say(&self, control: &mut SendStream, message: EdgeMessage) -> Result<(), (CloseCode, String)> {
        let frame = encode_control(&message).map_err(|error| (CloseCode::Internal, error.to_string()))?;
        let said = tokio::time::timeout(SAY_TIMEOUT, control.write_all(&frame)).await;
        said.map_err(|_| (CloseCode::Timeout, "the router does not read what it is told".to_owned()))?.map_err(|_| self.gone())
    }

    fn observe_wire(&mut self) {
        let (bytes, now) = (self.connection.stats().udp_tx.bytes, clock::now());
        let sent = bytes.saturating_sub(self.wire_bytes);
        self.shared.custody.lock().sent(sent);
        let mut status = self.shared.status.lock();
        status.bytes_per_second = (sent as f64 / now.saturating_duration_since(self.observed).as_secs_f64().max(0.001)) as u64;
        status.rtt_us = u64::try_from(self.connection.rtt().as_micros()).ok();
        (self.wire_bytes, self.observed) = (bytes, now);
    }

    fn gone(&self) -> (CloseCode, String) {
        let why = self.connection.close_reason().map_or_else(|| "the control stream ended".to_owned(), |reason| reason.to_string());
        (CloseCode::Drain, why)
    }
}

fn lost(error: quinn::ConnectionError) -> (CloseCode, String) {
    (CloseCode::Drain, error.to_string())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Reads the router's messages; ends with the stream, or with the first that is none.
async fn listen(mut answers: RecvStream, heard: mpsc::Sender<Result<RouterMessage, String>>) {
    let mut decoder = ControlDecoder::<RouterMessage>::default();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(Some(len)) = answers.read(&mut buffer).await {
        decoder.push(&buffer[..len]);
        loop {
            let message = match decoder.next_message() {
                Ok(None) => break,
                Ok(Some(message)) => Ok(message),
                Err(error) => Err(error.to_string()),
            };
            let last = message.is_err();
            if heard.send(message).await.is_err() || last {
                return;
            }
        }
    }
}

/// Writes one chunk, after opening the stream for the first.
async fn write(shared: Arc<Shared>, connection: Connection, chunk: Chunk, outgoing: Option<Outgoing>) -> Result<Progress, Failed> {
    let mut outgoing = match outgoing {
        Some(outgoing) => outgoing,
        None => begin(shared, connection, chunk.seq).await?,
    };
    let mut left = usize::try_from(chunk.len).unwrap_or(usize::MAX);
    while left > 0 {
        let part = if outgoing.header.has_remaining() { &mut outgoing.header } else { &mut outgoing.payload };
        let piece = part.split_to(left.min(part.len()));
        if piece.is_empty() {
            break;
        }
        left -= piece.len();
        outgoing.stream.write_chunk(piece).await.map_err(Failed::Write)?;
    }
    if chunk.last {
        outgoing.stream.finish().map_err(|error| Failed::Write(error.into()))?;
    }
    Ok(Progress::Written(outgoing))
}

async fn begin(shared: Arc<Shared>, connection: Connection, seq: Seq) -> Result<Outgoing, Failed> {
    let read = tokio::task::spawn_blocking(move || shared.read(seq)).await.map_err(|_| Failed::Gone)?;
    let (header, payload) = read.map_err(Failed::Read)?;
    let stream = connection.open_uni().await.map_err(|_| Failed::Gone)?;
    Ok(Outgoing { stream, header: Bytes::from(header), payload })
}
