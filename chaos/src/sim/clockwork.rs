//! Simulated time and what happens in it: an ordered queue of events, one source of randomness, and the lines that a failing run tells.
//!
//! Everything that a run decides by chance comes from [`Clockwork::rng`], and events of one moment come in the order in which they were
//! planned: the same seed gives the same run, bit for bit. [`Clockwork::digest`] is that run in one number.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::event::Event;
use crate::telemetry::Rng;

/// Lines that a failing run tells at most.
const MAX_LINES: usize = 10_000;

/// See the module.
pub struct Clockwork {
    origin: Instant,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    /// The one source of chance.
    pub rng: Rng,
    lines: Option<(usize, VecDeque<String>)>,
    digest: Digest,
}

impl Clockwork {
    /// Time begins. With `lines` that many of the last are kept.
    #[must_use]
    pub fn new(seed: u64, lines: Option<usize>) -> Self {
        Self {
            origin: origin(),
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            planned: 0,
            rng: Rng::new(seed),
            lines: lines.map(|lines| (lines.min(MAX_LINES), VecDeque::new())),
            digest: Digest(0xCBF2_9CE4_8422_2325),
        }
    }

    /// Since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The same as a machine's clock shows it that runs ahead by `skew`.
    #[must_use]
    pub fn instant(&self, skew: Duration) -> Instant {
        self.origin + self.now + skew
    }

    /// How long until that machine's clock shows `at`.
    #[must_use]
    pub fn until(&self, at: Instant, skew: Duration) -> Duration {
        at.saturating_duration_since(self.instant(skew))
    }

    /// Plans an event.
    pub fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    /// Plans an event for a moment, now at the earliest.
    pub fn at(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.queue.insert((at.max(self.now), self.planned), event);
    }

    /// Time goes on to the next event.
    pub fn advance(&mut self) -> Option<Event> {
        let ((at, number), event) = self.queue.pop_first()?;
        self.now = at;
        self.digest.add(at.as_nanos() as u64);
        self.digest.add(number);
        Some(event)
    }

    /// The run so far in one number.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.0
    }

    /// Something that a person should read if the run fails.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some((most, lines)) = &mut self.lines {
            if lines.len() == *most {
                lines.pop_front();
            }
            lines.push_back(format!("{:>10.6} {}", now.as_secs_f64(), line()));
        }
    }

    /// The lines kept.
    #[must_use]
    pub fn lines(self) -> Vec<String> {
        self.lines.map_or(Vec::new(), |(_, lines)| lines.into())
    }

    /// A time between two, evenly.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_nanos() as u64;
        least + Duration::from_nanos(self.rng.below(span + 1))
    }

    /// True once in `of` times.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.rng.below(of) == 0
    }
}

#[expect(clippy::disallowed_methods, reason = "an origin for times that are made up: nothing depends on which it is")]
fn origin() -> Instant {
    Instant::now()
}

/// FNV-1a: a digest that is the same everywhere and for ever.
struct Digest(u64);

impl Digest {
    fn add(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}
