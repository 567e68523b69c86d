//! One connection to a router: the driver of [`Talk`] over a transport.

use std::sync::Arc;
use std::time::{Duration, Instant};

use federation_proto::control::Welcome;
use federation_proto::frame::CloseCode;
use federation_proto::identity::Seq;
use service::shutdown::Shutdown;
use tokio::task::JoinSet;

use super::line::{Event, Line};
use super::talk::{Do, End, Talk};
use super::{Ended, Introduction, SILENT, Shared, Signals};
use crate::clock;

/// How often it is looked at whether the router is silent, and what the link carries.
const LISTEN_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Session<'a> {
    shared: &'a Arc<Shared>,
    line: Line,
    talk: Talk,
    signals: &'a Signals,
    /// Batches that leave without being shipped: their disk work.
    refusals: JoinSet<()>,
    wire_bytes: u64,
    observed: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, introduction: &Introduction, line: Line, signals: &'a Signals) -> Self {
        let now = clock::now();
        let talk = Talk::new(now, introduction, shared.spool_id, &shared.shipper.lock());
        Self { shared, line, talk, signals, refusals: JoinSet::new(), wire_bytes: 0, observed: now }
    }

    /// Runs until the connection ends, the router sends us away, or `stop`.
    pub(super) async fn run(mut self, stop: &Shutdown) -> Ended {
        let end = match self.converse(stop).await {
            Ok(()) => End::new(CloseCode::Drain, "stopped"),
            Err(end) => end,
        };
        self.observe_wire();
        let ended = Ended { go_away: self.talk.is_leaving(), why: end.why.clone() };
        self.line.close(&end).await;
        // Short; what they count must not come behind the last checkpoint.
        while self.refusals.join_next().await.is_some() {}
        ended
    }

    async fn converse(&mut self, stop: &Shutdown) -> Result<(), End> {
        loop {
            let wake_at = self.act()?;
            let listened = self.listen_for_silence();
            tokio::select! {
                event = self.line.next() => self.take_in(event)?,
                Some(_) = self.refusals.join_next(), if !self.refusals.is_empty() => self.talk.put_aside(),
                () = self.shared.wake.notified() => {}
                () = until(wake_at) => {}
                () = until(Some(listened)) => {}
                grace = self.signals.told_to_leave() => self.talk.leave(clock::now(), grace, &mut self.shared.shipper.lock()),
                () = stop.requested() => return Ok(()),
            }
        }
    }

    /// Does what there is to do; says when to look again.
    fn act(&mut self) -> Result<Option<Instant>, End> {
        loop {
            match self.decide() {
                Do::Say(message) => {
                    self.observe_wire();
                    self.line.say(&message)?;
                }
                Do::Write(chunk) => self.line.write(self.shared, chunk),
                Do::Reset(attempt) => self.line.reset(attempt),
                Do::Welcomed(welcome) => self.welcomed(&welcome),
                Do::Acked(items) => self.shared.shipped(&items),
                Do::Reject(item, reason) => {
                    let shared = Arc::clone(self.shared);
                    self.refusals.spawn_blocking(move || shared.reject(&item, reason));
                }
                Do::Damaged(item, error) => {
                    let shared = Arc::clone(self.shared);
                    self.refusals.spawn_blocking(move || shared.damaged(&item, &error));
                }
                Do::Wait(at) => return Ok(at),
                Do::End(end) => return Err(end),
            }
        }
    }

    /// Says whether the router is silent, and when to listen again.
    fn listen_for_silence(&mut self) -> Instant {
        let now = clock::now();
        self.line.pace();
        self.signals.silent(now.saturating_duration_since(self.line.heard()) >= SILENT);
        now + LISTEN_EVERY
    }

    fn decide(&mut self) -> Do {
        let (now, sent_bytes) = (clock::now(), self.line.sent_bytes());
        let mut shipper = self.shared.shipper.lock();
        if self.talk.is_welcomed() {
            shipper.cap().observe(now, sent_bytes);
        }
        self.talk.next(now, &mut shipper)
    }

    fn take_in(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Heard(message) => {
                let spool_next = if self.talk.is_welcomed() { Seq(0) } else { self.shared.spool.with(|log| log.next_seq()) };
                self.talk.hear(clock::now(), message, spool_next, &mut self.shared.shipper.lock());
            }
            Event::Done(chunk, outcome) => self.talk.done(clock::now(), chunk, outcome, &mut self.shared.shipper.lock()),
            Event::Ended(end) => return Err(end),
        }
        Ok(())
    }

    fn welcomed(&self, welcome: &Welcome) {
        let mut status = self.shared.status.lock();
        status.connected = true;
        status.since_unix_seconds = Some(clock::unix_seconds());
        status.error = None;
        status.connections += 1;
        status.router.clone_from(&welcome.router);
        tracing::info!(router = welcome.router, endpoint = status.endpoint, "connected");
        metrics::gauge!("tributary_edge_link_up").set(1.0);
        metrics::gauge!("tributary_edge_link_transport", "transport" => self.line.transport().as_str()).set(1.0);
        metrics::counter!("tributary_edge_connections_total").increment(1);
    }

    fn observe_wire(&mut self) {
        let (bytes, now) = (self.line.sent_bytes(), clock::now());
        let sent = bytes.saturating_sub(self.wire_bytes);
        self.shared.custody.lock().sent(sent);
        let doubtful = self.shared.shipper.lock().doubtful();
        metrics::counter!("tributary_edge_possibly_doubled_batches_total").absolute(doubtful.possibly_doubled_batches);
        metrics::counter!("tributary_edge_possibly_doubled_rows_total").absolute(doubtful.possibly_doubled_rows);
        let silent_for = now.saturating_duration_since(self.line.heard());
        let mut status = self.shared.status.lock();
        status.doubtful = doubtful;
        status.heard_unix_seconds = Some(clock::unix_seconds().saturating_sub(silent_for.as_secs()));
        status.bytes_per_second = (sent as f64 / now.saturating_duration_since(self.observed).as_secs_f64().max(0.001)) as u64;
        status.rtt_us = self.line.round_trip().and_then(|rtt| u64::try_from(rtt.as_micros()).ok());
        (self.wire_bytes, self.observed) = (bytes, now);
    }
}

pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
