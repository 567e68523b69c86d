//! Senders: what they sent, what they were told, and what they send again. Their log is the one that the whole run is judged by.
//!
//! A sender has one request on its way. Without an OK in time it sends the same bytes again, as an SDK does, until it hears OK; now and then
//! one gives a request up, which may then be in the tiers once, or not at all. So it does when others have sent so much since that the edge may
//! have forgotten the request: what comes again after that is taken for new, as the edge's configuration says.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::clockwork::Clockwork;
use super::edge::RECENT;
use super::event::Event;

/// A sender sends again after this.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A request is given up one time in so many that it was not answered.
const GIVE_UP: u64 = 60;
/// So many different requests to its edge after its own, a sender comes again no more.
const LATE: u64 = RECENT * 3 / 4;
/// The first id of the second sender.
const IDS: u64 = 1 << 32;

/// What became of a row, as far as its sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The edge said OK.
    Ok,
    /// It did not, and the sender has given it up.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Sender {
    number: usize,
    /// The edge that it sends to.
    pub edge: usize,
    /// Its tenant, by number.
    pub tenant: usize,
    pace: Duration,
    next_id: u64,
    open: Option<Open>,
    attempts: u64,
    /// It sends nothing new.
    pub stopped: bool,
    /// Ids, by the first of their request: how many, and what it was told.
    pub log: BTreeMap<u64, (u32, Told)>,
}

#[derive(Debug)]
struct Open {
    first: u64,
    rows: u32,
    body: Bytes,
    attempt: u64,
    sent: Duration,
    /// How many different requests its edge had been sent before.
    before: u64,
}

impl Sender {
    /// One that has not sent anything.
    #[must_use]
    pub fn new(number: usize, edge: usize, tenant: usize, pace: Duration) -> Self {
        let next_id = (number as u64 + 1) * IDS;
        Self { number, edge, tenant, pace, next_id, open: None, attempts: 0, stopped: false, log: BTreeMap::new() }
    }

    /// Its turn: something new, or the same again. `requests`: different ones to its edge.
    pub fn turn(&mut self, clockwork: &mut Clockwork, requests: &mut u64, most_rows: u32, delay: Duration) {
        let now = clockwork.now();
        let due = match &self.open {
            Some(open) => now >= open.sent + PATIENCE,
            None => !self.stopped,
        };
        if due {
            self.send(clockwork, requests, most_rows, delay);
        }
        if !self.is_done() {
            let wait = clockwork.between(self.pace / 2, self.pace * 3 / 2);
            clockwork.after(wait, Event::Send(self.number));
        }
    }

    fn send(&mut self, clockwork: &mut Clockwork, requests: &mut u64, most_rows: u32, delay: Duration) {
        if self.open.take_if(|open| *requests - open.before >= LATE).is_some() && self.stopped {
            return;
        }
        if !self.stopped && self.open.is_some() && clockwork.one_in(GIVE_UP) {
            self.open = None;
        }
        self.attempts += 1;
        let (now, attempt) = (clockwork.now(), self.attempts);
        if self.open.is_none() {
            let rows = 1 + clockwork.rng.below(u64::from(most_rows)) as u32;
            let first = self.next_id;
            self.next_id += u64::from(rows);
            self.log.insert(first, (rows, Told::Nothing));
            self.open = Some(Open { first, rows, body: body(first, rows), attempt, sent: now, before: *requests });
            *requests += 1;
        }
        let Some(open) = &mut self.open else { return };
        (open.attempt, open.sent) = (attempt, now);
        let (first, rows, body) = (open.first, open.rows, open.body.clone());
        let (sender, edge) = (self.number, self.edge);
        clockwork.note(|| format!("sender {sender}: rows {first:#x}+{rows} to edge {edge}, try {attempt}"));
        clockwork.after(delay, Event::Request { edge, sender, attempt, body });
    }

    /// An answer came.
    pub fn hear(&mut self, attempt: u64, ok: bool) {
        let Some(open) = self.open.take_if(|open| ok && open.attempt == attempt) else {
            return;
        };
        self.log.insert(open.first, (open.rows, Told::Ok));
    }

    /// It waits for no answer and sends nothing new.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stopped && self.open.is_none()
    }
}

/// The sender that a row is of, by its id.
#[must_use]
pub fn sender_of(id: u64) -> usize {
    (id / IDS) as usize - 1
}

/// An ExportLogsServiceRequest of `rows` records whose times are their ids.
fn body(first: u64, rows: u32) -> Bytes {
    let mut records = Vec::new();
    for id in first..first + u64::from(rows) {
        // LogRecord: time_unix_nano = id; body: a string.
        records.extend_from_slice(&[0x12, 14, 0x09]);
        records.extend_from_slice(&id.to_le_bytes());
        records.extend_from_slice(&[0x2A, 3, 0x0A, 1, b'x']);
    }
    // ResourceLogs.scope_logs, ExportLogsServiceRequest.resource_logs.
    Bytes::from(field(1, &field(2, &records)))
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = content.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use federation_proto::identity::Signal;
    use federation_proto::otlp;

    use super::*;

    /// What a sender sends is OTLP in its usual form, of as many rows as it says.
    #[test]
    fn a_body_is_otlp() {
        for rows in [1, 9, 40] {
            let scan = otlp::scan(Signal::Logs, &body(5 * IDS, rows), &otlp::Limits::default()).unwrap();
            assert_eq!((scan.rows, scan.canonical), (rows, true));
        }
        assert_eq!(sender_of(5 * IDS + 7), 4);
    }
}
