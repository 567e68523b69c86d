//! One batch as it comes: its header, then exactly the payload that the header states, each in its time.
//!
//! A payload that brings less than [`LEAST_PROGRESS`] within the time that `timeouts.payload` gives is given up: at that pace a sender
//! could hold what it holds for hours, and keep it held by a byte now and then.
//!
//! Memory follows what has come, not what was announced: at most [`MAX_HEADER_LEN`](federation_proto::header::MAX_HEADER_LEN), then the
//! payload, which the session took into its credit.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use federation_proto::frame::CloseCode;
use federation_proto::header::{BatchHeader, HEADER_PREFIX, header_len};

use super::Timeouts;
use crate::session::Violation;

/// Bytes that a payload has to bring within each of its times, unless they are its last. A dozen batches side by side on a link of 20
/// kbit/s still do.
pub const LEAST_PROGRESS: usize = 4 << 10;
/// What a payload's buffer begins with, in bytes.
const FIRST_RESERVE: usize = 256 << 10;

/// What became of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// All of it, as its checksum says.
    Whole(Bytes),
    /// All of it, and not what was sent.
    Damaged,
    /// Too little came for this long.
    Stalled(Duration),
    /// The peer took the stream back, or the connection is lost.
    GivenUp,
}

/// See the module.
#[derive(Debug)]
pub struct Incoming {
    timeouts: Timeouts,
    due: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Header(Vec<u8>),
    Payload {
        header: BatchHeader,
        bytes: BytesMut,
        /// Bytes that were there when `due` was set.
        seen: usize,
    },
}

impl Incoming {
    /// The stream has begun.
    #[must_use]
    pub fn new(now: Instant, timeouts: Timeouts) -> Self {
        Self { timeouts, due: now + timeouts.header, stage: Stage::Header(Vec::new()) }
    }

    /// When [`Incoming::late`] is to be asked.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Bytes of it, in order; what is taken is gone from `bytes`. Gives the header when it is whole: the payload follows it, if it is
    /// wanted, by the next call.
    ///
    /// # Errors
    /// [`Violation`]: no header, or a payload that is longer than its header says.
    pub fn push(&mut self, now: Instant, bytes: &mut Bytes) -> Result<Option<BatchHeader>, Violation> {
        match &mut self.stage {
            Stage::Header(head) => {
                let Some(header) = fill(head, bytes)? else { return Ok(None) };
                self.stage = Stage::Payload { header: header.clone(), bytes: BytesMut::new(), seen: 0 };
                self.due = now + self.timeouts.payload;
                Ok(Some(header))
            }
            Stage::Payload { header, bytes: payload, seen } => {
                let len = header.payload_len as usize;
                if payload.len() + bytes.len() > len {
                    return Err(wrong_length(format!("a payload is longer than its header's {len} bytes")));
                }
                if payload.is_empty() {
                    payload.reserve(len.min(FIRST_RESERVE));
                }
                payload.extend_from_slice(&bytes.split_off(0));
                if payload.len() - *seen >= LEAST_PROGRESS {
                    (self.due, *seen) = (now + self.timeouts.payload, payload.len());
                }
                Ok(None)
            }
        }
    }

    /// The stream's end came.
    ///
    /// # Errors
    /// [`Violation`]: it ended too early.
    pub fn end(self) -> Result<Payload, Violation> {
        match self.stage {
            Stage::Header(head) => Err(malformed(format!("a batch stream ended {} bytes into its header", head.len()))),
            Stage::Payload { header, bytes, .. } if bytes.len() < header.payload_len as usize => {
                Err(wrong_length(format!("a payload ended after {} of {} bytes", bytes.len(), header.payload_len)))
            }
            Stage::Payload { header, bytes, .. } => {
                let payload = bytes.freeze();
                Ok(if header.matches(&payload) { Payload::Whole(payload) } else { Payload::Damaged })
            }
        }
    }

    /// [`Incoming::due`] has passed.
    ///
    /// # Errors
    /// [`Violation`]: not even the header came in time.
    pub fn late(&self) -> Result<Payload, Violation> {
        match self.stage {
            Stage::Header(_) => Err(Violation::new(CloseCode::Timeout, "header", "a batch header did not come in time")),
            Stage::Payload { .. } => Ok(Payload::Stalled(self.timeouts.payload)),
        }
    }
}

/// Takes what the header lacks.
fn fill(head: &mut Vec<u8>, bytes: &mut Bytes) -> Result<Option<BatchHeader>, Violation> {
    loop {
        let wanted = if head.len() < HEADER_PREFIX { HEADER_PREFIX } else { header_len(head).map_err(malformed)? };
        let piece = bytes.split_to(bytes.len().min(wanted - head.len()));
        head.extend_from_slice(&piece);
        if head.len() < wanted {
            return Ok(None);
        }
        if wanted > HEADER_PREFIX {
            let (header, _) = BatchHeader::decode(head).map_err(malformed)?;
            return Ok(Some(header));
        }
    }
}

fn malformed(error: impl ToString) -> Violation {
    Violation::new(CloseCode::Malformed, "header", error.to_string())
}

fn wrong_length(message: String) -> Violation {
    Violation::new(CloseCode::Malformed, "payload_len", message)
}

#[cfg(test)]
mod tests {
    use federation_proto::identity::Signal;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{batch_id, encoded};

    const TIMEOUTS: Timeouts = Timeouts { hello: Duration::from_secs(1), header: Duration::from_secs(2), payload: Duration::from_secs(3) };

    #[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
    fn start() -> Instant {
        Instant::now()
    }

    fn wire() -> (BatchHeader, Vec<u8>) {
        let (header, _) = encoded(batch_id(1, 7), "acme", Signal::Logs, &[]);
        let payload = vec![5; 300];
        let header = BatchHeader { payload_len: 300, payload_crc: crc32c::crc32c(&payload), ..header };
        let wire = [header.encode(), payload].concat();
        (header, wire)
    }

    /// What came of the pieces, with the end behind them.
    fn feed(pieces: &[&[u8]]) -> Result<(BatchHeader, Payload), Violation> {
        let now = start();
        let (mut incoming, mut found) = (Incoming::new(now, TIMEOUTS), None);
        for piece in pieces {
            let mut bytes = Bytes::copy_from_slice(piece);
            while !bytes.is_empty() {
                found = incoming.push(now, &mut bytes)?.or(found);
            }
        }
        incoming.end().map(|payload| (found.expect("a header before a payload"), payload))
    }

    proptest! {
        /// However the stream is cut, the header and the payload come out as they went in.
        #[test]
        fn any_cut(cuts in proptest::collection::vec(0usize..400, 0..6)) {
            let (header, wire) = wire();
            let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut.min(wire.len())).chain([0, wire.len()]).collect();
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            let (found, payload) = feed(&pieces).unwrap();
            prop_assert_eq!(found, header);
            prop_assert_eq!(payload, Payload::Whole(Bytes::from(vec![5; 300])));
        }
    }

    /// More or less than the header says breaks a rule; a flipped bit is damage.
    #[test]
    fn length_is_kept_and_damage_is_seen() {
        let (_, wire) = wire();
        let reason = |bytes: &[u8]| feed(&[bytes]).err().map(|violation| violation.reason);
        assert_eq!(reason(&wire[..wire.len() - 1]), Some("payload_len"));
        assert_eq!(reason(&[&wire[..], &[0]].concat()), Some("payload_len"));
        assert_eq!(reason(&wire[..20]), Some("header"));
        assert_eq!(reason(&[0; 40]), Some("header"));
        let mut flipped = wire;
        *flipped.last_mut().unwrap() ^= 1;
        assert!(matches!(feed(&[&flipped]), Ok((_, Payload::Damaged))));
    }

    /// A header has its time; a payload has one for each step of progress, and a trickle is none.
    #[test]
    fn a_trickle_is_late() {
        let t0 = start();
        let mut incoming = Incoming::new(t0, TIMEOUTS);
        assert_eq!(incoming.due(), t0 + TIMEOUTS.header);
        assert_eq!(incoming.late().unwrap_err().code, CloseCode::Timeout);
        let (header, _) = wire();
        let header = BatchHeader { payload_len: 100_000, ..header };
        incoming.push(t0, &mut Bytes::from(header.encode())).unwrap().unwrap();
        let second = t0 + Duration::from_secs(1);
        incoming.push(second, &mut Bytes::from(vec![0; LEAST_PROGRESS - 1])).unwrap();
        assert_eq!(incoming.due(), t0 + TIMEOUTS.payload);
        incoming.push(second, &mut Bytes::from_static(&[0])).unwrap();
        assert_eq!(incoming.due(), second + TIMEOUTS.payload);
        assert_eq!(incoming.late().unwrap(), Payload::Stalled(TIMEOUTS.payload));
    }
}
