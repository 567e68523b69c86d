//! What of a unit is still to be sent. Pure: pieces go out, answers come in, until nothing waits or the destination asks for a pause.
//!
//! A piece is a run of rows of one tenant and signal, about as large as a request may be: small batches together, a large one in parts.
//! It is delivered, rejected with a reason, cut in halves, or waits again. What is confirmed is not sent again when the unit is tried
//! again. Data points of one tenant go one piece after the other, in the order of the journal; the rest has no order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use federation_proto::identity::{Signal, TenantId};
use federation_proto::ledger::Reason;

use super::answer::Answer;
use super::config::OtlpConfig;
use crate::tier::{Delivered, Unit, UnitBatch, Write};

/// Rows that are sent as one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Whose.
    pub(super) tenant: TenantId,
    /// Which signal.
    pub(super) signal: Signal,
    /// Batches of the unit, and which of their rows. Never empty.
    pub(super) parts: Vec<(usize, Range<usize>)>,
}

impl Piece {
    /// Its rows.
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// The same rows in two pieces; `None` for a single one.
    fn halves(self) -> Option<[Self; 2]> {
        let mut left = self.rows() / 2;
        if left == 0 {
            return None;
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (batch, rows) in self.parts {
            let cut = rows.start + left.min(rows.len());
            left -= cut - rows.start;
            first.extend((cut > rows.start).then_some((batch, rows.start..cut)));
            second.extend((cut < rows.end).then_some((batch, cut..rows.end)));
        }
        let piece = |parts| Self { tenant: self.tenant.clone(), signal: self.signal, parts };
        Some([piece(first), piece(second)])
    }

    /// Must it wait for that one?
    fn follows(&self, other: &Self) -> bool {
        self.signal == Signal::Metrics && other.signal == Signal::Metrics && self.tenant == other.tenant
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Work {
    range: RangeInclusive<u64>,
    waiting: VecDeque<Piece>,
    in_flight: BTreeMap<u64, Piece>,
    next_id: u64,
    outcome: Delivered,
    pause: Option<(Duration, String)>,
}

impl Work {
    /// All of a unit, for a destination with this configuration.
    pub(super) fn new(unit: &Unit, config: &OtlpConfig) -> Self {
        let mut outcome = Delivered::default();
        let mut waiting = Vec::new();
        // The piece of each tenant and signal that has room, and its bytes.
        let mut open: BTreeMap<(&TenantId, Signal), (usize, u64)> = BTreeMap::new();
        for (at, batch) in unit.batches.iter().enumerate() {
            let rows = batch.columns.rows();
            if !config.signals.contains(&batch.signal) {
                outcome.account(&batch.tenant, batch.signal).not_routed += rows as u64;
                continue;
            }
            for (part, bytes) in parts(batch, rows, config.max_request.0) {
                let key = (&batch.tenant, batch.signal);
                match open.get_mut(&key) {
                    Some((piece, sum)) if *sum + bytes <= config.max_request.0 => {
                        let piece: &mut Piece = &mut waiting[*piece];
                        piece.parts.push((at, part));
                        *sum += bytes;
                    }
                    _ => {
                        open.insert(key, (waiting.len(), bytes));
                        waiting.push(Piece { tenant: batch.tenant.clone(), signal: batch.signal, parts: vec![(at, part)] });
                    }
                }
            }
        }
        Self { range: unit.range.clone(), waiting: waiting.into(), in_flight: BTreeMap::new(), next_id: 0, outcome, pause: None }
    }

    /// Is it the work of that unit?
    pub(super) fn is_of(&self, unit: &Unit) -> bool {
        self.range == unit.range
    }

    /// Begins again, after a pause, or after a try that was given up: what was not answered is sent again.
    pub(super) fn resume(&mut self) {
        self.pause = None;
        while let Some((_, piece)) = self.in_flight.pop_last() {
            self.waiting.push_front(piece);
        }
    }

    /// The next piece to send, with the number that its answer is to name.
    pub(super) fn next(&mut self) -> Option<(u64, Piece)> {
        if self.pause.is_some() {
            return None;
        }
        let free = |piece: &Piece| !self.in_flight.values().any(|sent| piece.follows(sent));
        let at = self.waiting.iter().position(free)?;
        let piece = self.waiting.remove(at)?;
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight.insert(id, piece.clone());
        Some((id, piece))
    }

    /// A piece was answered.
    pub(super) fn settle(&mut self, id: u64, answer: Answer) {
        let Some(piece) = self.in_flight.remove(&id) else { return };
        let rows = piece.rows() as u64;
        match answer {
            Answer::Taken { rejected, .. } => {
                let rejected = rejected.min(rows);
                let account = self.outcome.account(&piece.tenant, piece.signal);
                account.delivered += rows - rejected;
                if rejected > 0 {
                    *account.rejected.entry(Reason::PartlyRefused).or_default() += rejected;
                }
            }
            Answer::Later { after, why, .. } => {
                self.waiting.push_front(piece);
                let longest = self.pause.take().map_or(Duration::ZERO, |(before, _)| before).max(after);
                self.pause = Some((longest, why));
            }
            Answer::Smaller { .. } => {
                let (tenant, signal) = (piece.tenant.clone(), piece.signal);
                match piece.halves() {
                    Some([first, second]) => {
                        self.waiting.push_front(second);
                        self.waiting.push_front(first);
                    }
                    None => self.reject(&tenant, signal, Reason::TooLarge, rows),
                }
            }
            Answer::Refused { reason, .. } => self.reject(&piece.tenant, piece.signal, reason, rows),
        }
    }

    fn reject(&mut self, tenant: &TenantId, signal: Signal, reason: Reason, rows: u64) {
        *self.outcome.account(tenant, signal).rejected.entry(reason).or_default() += rows;
    }

    /// What the try came to: the unit's terms, or a pause. To be asked when nothing is in flight and [`Work::next`] gives nothing.
    pub(super) fn result(&self) -> Result<Delivered, Write> {
        match &self.pause {
            Some((after, why)) => Err(Write::Retry { after: *after, why: why.clone() }),
            None if self.waiting.is_empty() && self.in_flight.is_empty() => Ok(self.outcome.clone()),
            None => Err(Write::Retry { after: Duration::ZERO, why: "the last try was interrupted".to_owned() }),
        }
    }
}

/// A batch in parts of about `most` bytes: rows and bytes of each, by what its edge says of its size.
fn parts(batch: &UnitBatch, rows: usize, most: u64) -> impl Iterator<Item = (Range<usize>, u64)> {
    let count = usize::try_from(batch.raw_bytes.div_ceil(most.max(1))).unwrap_or(rows).clamp(1, rows.max(1));
    let step = rows.div_ceil(count).max(1);
    let bytes = batch.raw_bytes / count as u64;
    (0..rows).step_by(step).map(move |start| (start..rows.min(start + step), bytes))
}

#[cfg(test)]
mod tests;
