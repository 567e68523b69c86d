//! A router that is up: its conversations, and what its journal answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use central_router::admission::Admission;
use central_router::edges::AllowList;
use central_router::intake::{Heard, Incoming, Intake, Payload};
use central_router::journal::Journal;
use central_router::quarantine::Quarantine;
use central_router::session::{Desk, Violation};
use edge_gateway::shipper::Chunk;
use federation_proto::control::EdgeMessage;
use federation_proto::header::BatchHeader;
use parking_lot::Mutex;
use segment_log::{AppendError, Hand};

use super::{CHECKPOINT, TIMEOUTS};
use crate::sim::clockwork::Clockwork;
use crate::sim::edge::edge_name;
use crate::sim::event::Down;
use crate::sim::network::Network;
use crate::sim::tier::Reader;

/// What the journal answered, for which connection.
pub(super) type Answers = Arc<Mutex<Vec<(u64, BatchHeader, Result<(), AppendError>)>>>;

/// One edge's connection.
pub(super) struct Line {
    pub(super) edge: usize,
    pub(super) intake: Intake,
    pub(super) streams: BTreeMap<u64, Stream>,
    /// Streams that were answered: what still comes is ignored.
    pub(super) done: BTreeSet<u64>,
}

pub(super) struct Stream {
    pub(super) incoming: Incoming,
    pub(super) header: Option<BatchHeader>,
}

/// A router that is up.
pub(super) struct Life {
    pub(super) journal: Journal,
    pub(super) hand: Hand,
    pub(super) admission: Admission,
    pub(super) allowed: AllowList,
    pub(super) lines: BTreeMap<u64, Line>,
    pub(super) answers: Answers,
    pub(super) readers: Vec<Reader>,
    pub(super) quarantine: Quarantine,
    pub(super) round: bool,
    pub(super) looks: u64,
    pub(super) leaving: bool,
}

impl Life {
    pub(super) fn with<R>(&mut self, conn: u64, decide: impl FnOnce(&mut Line, &mut Desk<'_>) -> R) -> Option<R> {
        let line = self.lines.get_mut(&conn)?;
        let mut book = self.journal.book();
        let mut desk = Desk { allowed: &self.allowed, admission: &self.admission, book: &mut book };
        Some(decide(line, &mut desk))
    }

    pub(super) fn said(
        &mut self,
        now: std::time::Instant,
        net: &mut Network,
        clockwork: &mut Clockwork,
        conn: u64,
        message: EdgeMessage,
    ) -> Result<(), Violation> {
        let heard = self.with(conn, |line, desk| line.intake.hear(now, message, desk)).transpose()?;
        if heard == Some(Heard::Hello) {
            // A newer connection takes over.
            let spools: Vec<_> = self.lines.get(&conn).map_or(Vec::new(), |line| line.intake.session().spools().to_vec());
            let shares = |line: &Line| line.intake.session().spools().iter().any(|spool| spools.contains(spool));
            let older: Vec<u64> = self.lines.iter().filter(|(id, line)| **id != conn && shares(line)).map(|(id, _)| *id).collect();
            for id in older {
                self.close(id);
                net.down(clockwork, id, Down::Closed);
            }
        }
        Ok(())
    }

    pub(super) fn stream(
        &mut self,
        now: std::time::Instant,
        net: &mut Network,
        clockwork: &mut Clockwork,
        conn: u64,
        chunk: Chunk,
        mut bytes: Bytes,
    ) -> Result<(), Violation> {
        if chunk.last {
            net.down(clockwork, conn, Down::Delivered(chunk));
        }
        let header = {
            let Some(line) = self.lines.get_mut(&conn) else { return Ok(()) };
            if line.done.contains(&chunk.attempt) {
                return Ok(());
            }
            let new = || Stream { incoming: Incoming::new(now, TIMEOUTS), header: None };
            let stream = line.streams.entry(chunk.attempt).or_insert_with(new);
            let header = stream.incoming.push(now, &mut bytes)?;
            if let Some(header) = &header {
                stream.header = Some(header.clone());
            }
            header
        };
        if let Some(header) = header {
            let wanted = self.with(conn, |line, desk| line.intake.header(now, &header, desk)).transpose()?;
            let Some(line) = self.lines.get_mut(&conn) else { return Ok(()) };
            if wanted != Some(true) {
                line.streams.remove(&chunk.attempt);
                line.done.insert(chunk.attempt);
                net.down(clockwork, conn, Down::Stop(chunk.attempt));
                return Ok(());
            }
            if let Some(stream) = line.streams.get_mut(&chunk.attempt) {
                stream.incoming.push(now, &mut bytes)?;
            }
        }
        if !chunk.last {
            return Ok(());
        }
        let Some(stream) = self.lines.get_mut(&conn).and_then(|line| line.streams.remove(&chunk.attempt)) else { return Ok(()) };
        let payload = stream.incoming.end()?;
        self.payload(conn, chunk.attempt, stream.header, payload)
    }

    pub(super) fn payload(&mut self, conn: u64, attempt: u64, header: Option<BatchHeader>, payload: Payload) -> Result<(), Violation> {
        let Some(header) = header else { return Ok(()) };
        let wanted = self.with(conn, |line, desk| {
            line.done.insert(attempt);
            line.intake.payload(&header, payload, desk)
        });
        if let Some(payload) = wanted.transpose()?.flatten() {
            let (answers, said) = (Arc::clone(&self.answers), header.clone());
            self.journal.append(header, payload, move |result| answers.lock().push((conn, said, result)));
        }
        Ok(())
    }

    pub(super) fn given_up(&mut self, conn: u64, attempt: u64) -> Result<(), Violation> {
        let stream = self.lines.get_mut(&conn).and_then(|line| line.streams.remove(&attempt));
        self.payload(conn, attempt, stream.and_then(|stream| stream.header), Payload::GivenUp)
    }

    pub(super) fn close(&mut self, conn: u64) {
        self.with(conn, |line, desk| line.intake.close(desk));
        self.lines.remove(&conn);
    }

    /// What the journal answered goes to the sessions, and what these say to the edges.
    pub(super) fn answer(&mut self, clockwork: &mut Clockwork, net: &mut Network) {
        let answers = std::mem::take(&mut *self.answers.lock());
        for (conn, header, result) in answers {
            if let Some(line) = self.lines.get_mut(&conn) {
                let _ = line.intake.journalled(&header, &result, &self.admission);
            }
        }
        for (conn, line) in &mut self.lines {
            if line.intake.has_word()
                && let Some(messages) = line.intake.take()
            {
                net.down(clockwork, *conn, Down::Say(messages));
            }
        }
    }

    pub(super) fn look(&mut self, clockwork: &mut Clockwork, net: &mut Network) {
        self.looks += 1;
        self.allowed.refresh();
        let struck: Vec<u64> = self.lines.iter().filter(|(_, line)| !self.allowed.has(&edge_name(line.edge))).map(|(id, _)| *id).collect();
        for conn in struck {
            self.close(conn);
            net.down(clockwork, conn, Down::Closed);
        }
        if self.looks.is_multiple_of(CHECKPOINT) {
            let _ = self.journal.checkpoint();
        }
    }
}
