//! Ids that are random to look at and never come twice: SplitMix64's output function, which is a bijection, over a row's number.
//!
//! Two loads with different seeds may share an id, with the odds of random ids. One id of 2^64 is all zero, which OTLP calls invalid.

use crate::telemetry::{RecordId, Rng};

/// The ids of one load.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    spans: u64,
    traces: [u64; 2],
}

impl Ids {
    /// The same seed gives the same ids.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self { spans: rng.next(), traces: [rng.next(), rng.next()] }
    }

    /// The span id of the row of that number.
    pub(super) fn span(&self, row: u64) -> [u8; 8] {
        nth(self.spans, row).to_be_bytes()
    }

    /// The trace id of that number.
    pub(super) fn trace(&self, number: u64) -> [u8; 16] {
        let [high, low] = self.traces;
        (u128::from(nth(high, number)) << 64 | u128::from(nth(low, number))).to_be_bytes()
    }
}

/// An odd step and a bijection: no two `n` give the same.
fn nth(key: u64, n: u64) -> u64 {
    Rng::new(key.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).next()
}

/// The ids of one request's rows; they follow from its first.
#[derive(Debug, Clone)]
pub(super) enum RowIds {
    /// Spans or log records.
    Spans {
        /// The load's ids.
        ids: Ids,
        /// Number of the first row.
        first: u64,
        /// How many.
        rows: u64,
    },
    /// Data points.
    Points {
        /// `service.instance.id`.
        sender: u32,
        /// Time of the first point; the others follow at a nanosecond each.
        first: u64,
        /// How many.
        rows: u64,
    },
}

impl RowIds {
    /// One a row, in the request's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = RecordId> + '_ {
        let (first, rows) = match self {
            Self::Spans { first, rows, .. } | Self::Points { first, rows, .. } => (*first, *rows),
        };
        (first..first + rows).map(move |n| match self {
            Self::Spans { ids, .. } => RecordId::Span(ids.span(n)),
            Self::Points { sender, .. } => RecordId::Point { sender: *sender, time_unix_nano: n },
        })
    }
}
