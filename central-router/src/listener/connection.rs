//! One connection: who it is, its control stream, its batch streams, its end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use federation_proto::control::{EdgeMessage, RouterMessage};
use federation_proto::frame::{CloseCode, encode_control};
use federation_proto::header::BatchHeader;
use federation_proto::identity::EdgeName;
use parking_lot::Mutex;
use quinn::{Connection, RecvStream, SendStream};
use segment_log::AppendError;
use service::shutdown::Shutdown;
use service::supervise::{self, survive};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::control::ControlIn;
use super::peer::Peer;
use super::trust::Chain;
use super::{Shared, batch, tcp};
use crate::intake::{Heard, Intake, Payload, unread};
use crate::session::{Desk, Session, Violation};

/// A certificate's date is waited for no longer than this at a time: the wall clock may be set.
const RECHECK: Duration = Duration::from_secs(60);

/// A live connection.
pub(super) struct Link {
    shared: Arc<Shared>,
    peer: Peer,
    intake: Mutex<Intake>,
    /// There is something to say.
    word: Notify,
    answered: Notify,
    id: u64,
}

/// Takes the connection out of the books, however it ends: a panic too.
struct Leaving(Arc<Link>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.with(Intake::close);
        self.0.shared.connected.leave(self.0.id, unix_seconds());
    }
}

/// How a connection ended.
enum End {
    /// The peer closed it, or it was lost.
    Gone,
    /// The router is leaving and all was said.
    Drained,
    /// The peer broke a rule.
    Broken(Violation),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

/// A connection after its handshake.
pub(super) enum Opened {
    Quic(Connection),
    Tcp(tcp::Opened),
}

impl Opened {
    pub(super) fn peer(&self) -> Peer {
        match self {
            Self::Quic(quic) => Peer::Quic(quic.clone()),
            Self::Tcp(tcp) => Peer::Tcp(Arc::clone(&tcp.handle)),
        }
    }

    fn chain(&self) -> Result<Chain, Violation> {
        match self {
            Self::Quic(quic) => Chain::of(quic),
            Self::Tcp(tcp) => Chain::new(tcp.certificates()),
        }
    }

    /// Waits until what was said last has left, where that has to be waited for.
    pub(super) async fn goodbye(self) {
        if let Self::Tcp(tcp) = self {
            tcp.goodbye().await;
        }
    }
}

/// Closes a connection with a code, and counts it.
pub(super) fn close(peer: &Peer, edge: Option<&EdgeName>, violation: &Violation) {
    let remote = peer.remote();
    tracing::warn!(%remote, edge = edge.map(EdgeName::as_str), code = violation.code.as_str(), reason = violation.reason, message = violation.message, "connection closed");
    metrics::counter!("tributary_router_violations_total", "code" => violation.code.as_str(), "reason" => violation.reason).increment(1);
    peer.close(violation.code, &violation.message);
}

/// Serves a connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, mut opened: Opened, shutdown: Shutdown, drain: Duration) {
    let peer = opened.peer();
    match identify(&shared, &opened) {
        Ok((edge, chain)) => serve_edge(shared, &mut opened, edge, &chain, shutdown, drain).await,
        Err(violation) => close(&peer, None, &violation),
    }
    opened.goodbye().await;
}

async fn serve_edge(shared: Arc<Shared>, opened: &mut Opened, edge: EdgeName, chain: &Chain, shutdown: Shutdown, drain: Duration) {
    let peer = opened.peer();
    let (id, surplus) = shared.connected.enter(edge.clone(), peer.remote(), Some(peer.clone()), unix_seconds());
    if let Some(oldest) = surplus {
        oldest.close(CloseCode::Busy, "this edge has too many connections: the oldest makes room");
    }
    let intake = Mutex::new(Intake::new(Session::new(edge.clone(), shared.limits.clone())));
    let link = Arc::new(Link { shared, peer, intake, word: Notify::new(), answered: Notify::new(), id });
    tracing::info!(%edge, remote = %link.peer.remote(), transport = link.peer.transport(), "connected");
    let leaving = Leaving(Arc::clone(&link));
    let end = match survive(link.run(opened, chain, &shutdown, drain)).await {
        Ok(end) => end,
        Err(panic) => {
            supervise::count("connection", &panic);
            failed().into()
        }
    };
    match end {
        End::Gone => tracing::info!(%edge, "disconnected"),
        End::Drained => link.peer.close(CloseCode::Drain, "the router is stopping"),
        End::Broken(violation) => close(&link.peer, Some(&edge), &violation),
    }
    drop(leaving);
}

/// The edge that the certificate names, if it may connect.
fn identify(shared: &Shared, opened: &Opened) -> Result<(EdgeName, Chain), Violation> {
    let chain = opened.chain()?;
    shared.trust.judge(wall_clock(), &chain)?;
    let edge = chain.edge()?;
    if shared.allowed.has(&edge) {
        return Ok((edge, chain));
    }
    let remedy = format!("`tributary-router pki issue --edge {edge} --tenant TENANT`, or add it to edges.yaml");
    Err(Violation::new(CloseCode::UnknownEdge, "unknown_edge", format!("edge {edge} is not on the allow-list: {remedy}")))
}

fn failed() -> Violation {
    Violation::new(CloseCode::Internal, "task", "the router failed; its log says how")
}

impl Link {
    async fn run(self: &Arc<Self>, opened: &mut Opened, chain: &Chain, shutdown: &Shutdown, drain: Duration) -> End {
        // A connection that leaves drops what it was doing; what is on its way to the journal's disk goes on and is found as a duplicate.
        tokio::select! {
            end = self.serve(opened) => end,
            end = self.recheck(chain) => end,
            end = self.leave(shutdown, drain) => end,
        }
    }

    async fn serve(self: &Arc<Self>, opened: &mut Opened) -> End {
        match opened {
            Opened::Quic(quic) => self.serve_quic(quic).await,
            Opened::Tcp(tcp) => self.serve_tcp(tcp).await,
        }
    }

    async fn serve_quic(self: &Arc<Self>, quic: &Connection) -> End {
        let (send, receive) = match tokio::time::timeout(self.shared.timeouts.hello, quic.accept_bi()).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(_)) => return End::Gone,
            Err(_) => return Violation::new(CloseCode::Timeout, "no_control_stream", "no control stream was opened").into(),
        };
        tokio::select! {
            end = self.listen(receive) => end,
            end = self.speak(send) => end,
            end = self.take_batches(quic) => end,
        }
    }

    async fn serve_tcp(self: &Arc<Self>, tcp: &mut tcp::Opened) -> End {
        let Some(reader) = tcp.reader.take() else { return End::Gone };
        let handle = Arc::clone(&tcp.handle);
        tokio::select! {
            ended = tcp::Reading::new(Arc::clone(self), Arc::clone(&handle)).run(reader) => match ended {
                Err(violation) if violation.code != CloseCode::Drain => violation.into(),
                Ok(()) | Err(_) => End::Gone,
            },
            end = self.speak_tcp(&handle) => end,
            _ = &mut tcp.writer => End::Gone,
        }
    }

    /// The control stream, as it comes.
    async fn listen(&self, mut stream: RecvStream) -> End {
        let mut control = ControlIn::new(clock(), self.shared.timeouts);
        loop {
            let read = stream.read_chunk(16 << 10, true);
            let chunk = match control.due() {
                Some(due) => tokio::time::timeout_at(due.into(), read).await,
                None => Ok(read.await),
            };
            let bytes = match chunk {
                Ok(Ok(Some(chunk))) => chunk.bytes,
                Ok(Ok(None)) => return Violation::new(CloseCode::Malformed, "control_ended", "the control stream was ended").into(),
                Ok(Err(_)) => return End::Gone,
                Err(_) => return control.late().into(),
            };
            if let Err(violation) = control.push(clock(), &bytes, |message| self.hear(message)) {
                return violation.into();
            }
        }
    }

    /// One message. True for Hello.
    pub(super) fn hear(&self, message: EdgeMessage) -> Result<bool, Violation> {
        match self.with(|intake, desk| intake.hear(clock(), message, desk))? {
            Heard::Hello => {
                self.came_in();
                Ok(true)
            }
            Heard::Status(status) => {
                self.shared.connected.said(self.id, &status, unix_seconds());
                Ok(false)
            }
            Heard::Nothing => Ok(false),
        }
    }

    /// Those of its edge that shipped from the same spools before are dead and not known to be yet.
    fn came_in(&self) {
        let intake = self.intake.lock();
        let session = intake.session();
        self.shared.connected.labelled(self.id, session.labels());
        for before in self.shared.connected.ships(self.id, session.spools()) {
            tracing::info!(edge = %session.edge(), remote = %before.remote(), "a newer connection takes over");
            before.close(CloseCode::Busy, "a newer connection ships from this spool");
        }
    }

    /// Writes what the outbox has, until it is closed and empty and the peer has it all.
    async fn speak(&self, mut stream: SendStream) -> End {
        while let Some(messages) = self.words().await {
            for message in messages {
                let Ok(frame) = encode_control(&message) else {
                    return Violation::new(CloseCode::Internal, "frame", "a message of the router is too long").into();
                };
                match tokio::time::timeout(self.shared.timeouts.hello, stream.write_all(&frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return End::Gone,
                    Err(_) => return unread().into(),
                }
            }
        }
        let _ = stream.finish();
        let _ = tokio::time::timeout(Duration::from_secs(2), stream.stopped()).await;
        End::Drained
    }

    async fn speak_tcp(&self, handle: &tcp::Handle) -> End {
        while let Some(messages) = self.words().await {
            for message in messages {
                let Ok(frame) = encode_control(&message) else {
                    return Violation::new(CloseCode::Internal, "frame", "a message of the router is too long").into();
                };
                if tokio::time::timeout(self.shared.timeouts.hello, handle.control(&frame)).await.is_err() {
                    return unread().into();
                }
            }
        }
        End::Drained
    }

    /// What to say next; `None` when all is said.
    async fn words(&self) -> Option<Vec<RouterMessage>> {
        loop {
            let word = self.word.notified();
            {
                let mut intake = self.intake.lock();
                if intake.has_word() {
                    return intake.take();
                }
            }
            word.await;
        }
    }

    async fn take_batches(self: &Arc<Self>, quic: &Connection) -> End {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                stream = quic.accept_uni() => match stream {
                    Ok(stream) => drop(tasks.spawn(batch::receive(Arc::clone(self), stream))),
                    Err(_) => return End::Gone,
                },
                Some(done) = tasks.join_next() => match done {
                    Ok(Ok(())) => {}
                    Ok(Err(violation)) => return violation.into(),
                    joined @ Err(_) => {
                        supervise::count_joined("batch", joined);
                        return failed().into();
                    }
                },
            }
        }
    }

    /// Revocation, expiry and a change of whom the router trusts reach live connections.
    async fn recheck(&self, chain: &Chain) -> End {
        let edge = self.intake.lock().session().edge().clone();
        let (mut list, mut trust) = (self.shared.allowed.changes(), self.shared.trust.changes());
        loop {
            if !self.shared.allowed.has(&edge) {
                return Violation::new(CloseCode::UnknownEdge, "revoked", format!("edge {edge} is no longer on the allow-list")).into();
            }
            let now = wall_clock();
            if let Err(violation) = self.shared.trust.judge(now, chain) {
                return violation.into();
            }
            // Both live as long as this connection: their changes do not end.
            tokio::select! {
                () = tokio::time::sleep(chain.lasts(now).map_or(RECHECK, |left| left.min(RECHECK))) => {}
                _ = list.changed() => {}
                _ = trust.changed() => {}
            }
        }
    }

    /// On shutdown: nothing new, goodbye, all that was accepted answered, then the end of the control stream.
    async fn leave(&self, shutdown: &Shutdown, drain: Duration) -> End {
        shutdown.requested().await;
        self.with(|intake, _| intake.leave(drain));
        loop {
            let answered = self.answered.notified();
            if self.intake.lock().is_answered() {
                break;
            }
            answered.await;
        }
        self.with(|intake, _| intake.finish());
        // The writer ends the connection.
        std::future::pending().await
    }

    /// Has something decided, and has said what comes of it.
    fn with<R>(&self, decide: impl FnOnce(&mut Intake, &mut Desk<'_>) -> R) -> R {
        let mut intake = self.intake.lock();
        let mut book = self.shared.journal.book();
        let mut desk = Desk { allowed: &self.shared.allowed, admission: &self.shared.admission, book: &mut book };
        let decided = decide(&mut intake, &mut desk);
        if intake.has_word() {
            self.word.notify_one();
        }
        decided
    }

    /// Is the payload behind this header wanted?
    pub(super) fn judge(&self, header: &BatchHeader) -> Result<bool, Violation> {
        self.with(|intake, desk| intake.header(clock(), header, desk))
    }

    /// The end of an accepted batch.
    pub(super) fn take_payload(self: &Arc<Self>, header: BatchHeader, payload: Payload) -> Result<(), Violation> {
        if let Some(payload) = self.with(|intake, desk| intake.payload(&header, payload, desk))? {
            self.journal(header, payload);
        }
        self.answered.notify_waiters();
        Ok(())
    }

    fn journal(self: &Arc<Self>, header: BatchHeader, payload: Bytes) {
        let (link, started, said) = (Arc::clone(self), clock(), header.clone());
        self.shared.journal.append(header, payload, move |result| {
            if result.is_ok() {
                link.shared.connected.took(link.id, u64::from(said.rows), u64::from(said.payload_len));
                metrics::histogram!("tributary_router_journal_seconds").record(clock().saturating_duration_since(started).as_secs_f64());
            }
            link.report(&result);
            let answer = {
                let mut intake = link.intake.lock();
                intake.journalled(&said, &result, &link.shared.admission)
            };
            link.word.notify_one();
            link.answered.notify_waiters();
            if let Err(violation) = answer {
                close(&link.peer, None, &violation);
            }
        });
    }

    /// Is the journal writable? A full queue, a full budget (reported apart) or a large record is no answer to that.
    fn report(&self, result: &Result<(), AppendError>) {
        let readiness = &self.shared.readiness;
        match result {
            Ok(()) => readiness.set("journal", Ok(())),
            Err(AppendError::Full { .. } | AppendError::Busy { .. } | AppendError::TooLarge { .. } | AppendError::Closed) => {}
            Err(error) => readiness.set("journal", Err(&error.to_string())),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

#[expect(clippy::disallowed_methods, reason = "driver: reads the clock for admission")]
pub(super) fn clock() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "driver: a certificate's dates are wall-clock dates")]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

fn unix_seconds() -> u64 {
    wall_clock().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
