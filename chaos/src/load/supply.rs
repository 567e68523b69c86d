//! What is sent: requests of the wanted signals, each with rows of its own, rendered from templates.
//!
//! Memory: templates of about [`TEMPLATE_ROWS`] rows a signal (20 MiB of spans), two requests at least. Attribute values come again
//! after that many rows; ids never do, and times follow the clock.

use std::sync::atomic::{AtomicU64, Ordering};

use federation_proto::identity::Signal;

use super::SignalChoice;
use super::ids::{Ids, RowIds};
use super::template::{Stamp, Template};
use crate::telemetry::Generator;

const TEMPLATE_ROWS: usize = 32_000;
const REGION: &str = "eu-central-1";

/// Seeded requests without end; shared by all connections.
#[derive(Debug)]
pub struct Supply {
    ids: Ids,
    sender: u32,
    rows: u64,
    pattern: &'static [Signal],
    templates: Vec<(Signal, Vec<Template>)>,
    next: AtomicU64,
    last_point: AtomicU64,
}

/// A request and what it says.
#[derive(Debug)]
pub struct Request {
    /// Of which signal.
    pub signal: Signal,
    /// Encoded, behind the room that was asked for.
    pub body: Vec<u8>,
    /// Rows in it.
    pub rows: u64,
    pub(super) ids: RowIds,
}

impl Supply {
    /// Makes the templates: about 0.1 s a signal.
    #[must_use]
    pub fn new(seed: u64, choice: SignalChoice, rows_per_request: usize, now_unix_nano: u64) -> Self {
        let sender = (seed as u32).max(1);
        let mut generator = Generator::new(seed, sender, REGION);
        let pattern = choice.pattern();
        let mut templates = Vec::new();
        for &signal in Signal::ALL.iter().filter(|signal| pattern.contains(signal)) {
            let count = (TEMPLATE_ROWS / rows_per_request.max(1)).max(2);
            let made = (0..count).map(|_| Template::make(&mut generator, signal, rows_per_request, now_unix_nano)).collect();
            templates.push((signal, made));
        }
        let (next, last_point) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { ids: Ids::new(seed), sender, rows: rows_per_request as u64, pattern, templates, next, last_point }
    }

    /// Rows of every request.
    #[must_use]
    pub fn rows_per_request(&self) -> u64 {
        self.rows
    }

    /// OTLP bytes of a request of that signal, on average.
    #[must_use]
    pub fn mean_bytes(&self) -> usize {
        let all = || self.templates.iter().flat_map(|(_, templates)| templates);
        all().map(Template::len).sum::<usize>() / all().count().max(1)
    }

    /// The next request, behind `room` bytes.
    #[must_use]
    pub fn next(&self, now_unix_nano: u64, room: usize) -> Request {
        let nth = self.next.fetch_add(1, Ordering::Relaxed);
        let signal = self.pattern[nth as usize % self.pattern.len()];
        let first_row = nth * self.rows;
        let first_point = if signal == Signal::Metrics { self.reserve_points(now_unix_nano) } else { 0 };
        let ids = match signal {
            Signal::Metrics => RowIds::Points { sender: self.sender, first: first_point, rows: self.rows },
            _ => RowIds::Spans { ids: self.ids.clone(), first: first_row, rows: self.rows },
        };
        let stamp = Stamp { first_row, first_point, now_unix_nano };
        let body = self.templates.iter().find(|(of, _)| *of == signal).map(|(_, templates)| {
            // Not in step with the pattern, so that mixed loads use all templates too.
            let template = &templates[(nth as usize / self.pattern.len() + nth as usize) % templates.len()];
            template.render(&self.ids, &stamp, room)
        });
        Request { signal, body: body.unwrap_or_default(), rows: self.rows, ids }
    }

    /// A nanosecond for each point of a request: about now, never given before.
    fn reserve_points(&self, now_unix_nano: u64) -> u64 {
        let reserve = |last: u64| last.max(now_unix_nano) + self.rows;
        let before = self.last_point.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(reserve(last)));
        before.unwrap_or_default().max(now_unix_nano)
    }
}
