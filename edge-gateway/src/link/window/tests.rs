use std::collections::VecDeque;

use federation_proto::identity::{Class, Seq, Signal, TenantId};

use super::*;
use crate::shipper::{Chunk, Item, Limits, LinkCap, Shipper, Step};

#[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
fn start() -> Instant {
    Instant::now()
}

/// A link that carries `rate` bytes a second, with that round trip, kept full: gives the window after `time`.
fn full(rate: u64, round_trip: Duration, time: Duration) -> u64 {
    let t0 = start();
    let (mut window, mut sent) = (Window::new(t0), 0);
    for at in 1..=(time.as_millis() / LOOK.as_millis()) as u32 {
        let by_window = window.bytes() as f64 / round_trip.as_secs_f64();
        sent += (by_window.min(rate as f64) * LOOK.as_secs_f64()) as u64;
        window.observe(t0 + at * LOOK, sent, round_trip);
    }
    window.bytes()
}

/// On a slow link no more is on its way than it carries in half a second; a fast one, near or far, is not held back.
#[test]
fn the_window_is_what_the_link_carries() {
    let (ms, second) = (Duration::from_millis, Duration::from_secs(1));
    assert_eq!(full(1_250_000, ms(1), second), 625_000);
    assert_eq!(full(1_250_000, ms(150), 3 * second), 625_000);
    assert_eq!(full(125_000_000, ms(1), second), MOST);
    assert_eq!(full(125_000_000, ms(60), 2 * second), MOST);
    let far = full(1_250_000, ms(700), 10 * second);
    assert!(far >= 1_250_000 * 7 / 10, "{far} is less than a round trip's worth");
    assert_eq!(full(10_000, ms(10), second), LEAST);
}

/// A link that becomes slow has its window within seconds.
#[test]
fn the_window_follows_a_link_that_slows() {
    let now = start();
    let mut window = Window::new(now);
    window.observe(now + LOOK, 100 << 20, Duration::from_millis(10));
    assert_eq!(window.bytes(), MOST);
    let mut sent = 100 << 20;
    for at in 2..=32 {
        sent += 125_000;
        window.observe(now + at * LOOK, sent, Duration::from_millis(10));
    }
    assert_eq!(window.bytes(), 625_000);
}

/// A link that carries so many bytes a second, in the order in which it is given them, and takes what its window has room for.
struct Link {
    rate: u64,
    window: Window,
    queue: VecDeque<(Chunk, u64)>,
    queued: u64,
    blocked: VecDeque<Chunk>,
    sent: u64,
}

impl Link {
    fn new(now: Instant, rate: u64) -> Self {
        Self { rate, window: Window::new(now), queue: VecDeque::new(), queued: 0, blocked: VecDeque::new(), sent: 0 }
    }

    /// A millisecond: takes chunks, carries bytes; gives the batches that have arrived.
    fn run(&mut self, now: Instant, shipper: &mut Shipper) -> Vec<Seq> {
        let mut arrived = Vec::new();
        let mut left = self.rate / 1_000;
        while left > 0
            && let Some((chunk, rest)) = self.queue.front_mut()
        {
            let part = left.min(*rest);
            (left, *rest, self.queued, self.sent) = (left - part, *rest - part, self.queued - part, self.sent + part);
            if *rest == 0 {
                let chunk = *chunk;
                self.queue.pop_front();
                if chunk.last {
                    shipper.delivered(now, chunk);
                    assert_eq!(shipper.acked(chunk.seq, chunk.seq).len(), 1);
                    arrived.push(chunk.seq);
                }
            }
        }
        if self.window.is_due(now) {
            self.window.observe(now, self.sent, Duration::from_millis(20));
        }
        loop {
            while let Some(chunk) = self.blocked.front().copied().filter(|chunk| self.queued + chunk.len <= self.window.bytes()) {
                self.blocked.pop_front();
                self.queue.push_back((chunk, chunk.len));
                self.queued += chunk.len;
                shipper.written(chunk);
            }
            let Step::Write(chunk) = shipper.next(now) else { return arrived };
            self.blocked.push_back(chunk);
        }
    }
}

/// Behind an outage that left 1 GiB, on 10 Mbit/s: each second's batch of new log records is there within 2 s from the first second on,
/// and the backlog takes all that is left.
#[test]
fn fresh_data_is_there_within_two_seconds() {
    const MINUTE_MS: u32 = 60_000;
    let (batch, old, fresh) = (400_000, (1 << 30) / 400_000, 50_000);
    let t0 = start();
    let limits = Limits { in_flight_batches: 64, streams: 4, verdict: Duration::from_secs(30) };
    let mut shipper = Shipper::new(limits, LinkCap::new(None), Seq(0));
    let tenant = TenantId::new("acme").unwrap();
    let item = |seq, wire_bytes| Item {
        seq: Seq(seq),
        tenant: tenant.clone(),
        signal: Signal::Logs,
        class: Class::Medium,
        rows: 1,
        wire_bytes,
        payload_bytes: wire_bytes,
        raw_bytes: wire_bytes,
        oldest_unix_nano: 0,
    };
    for seq in 0..old {
        shipper.add_old(item(seq, batch));
    }
    shipper.connected(64 << 20, u64::MAX);
    let (mut link, mut waits, mut backlog) = (Link::new(t0, 1_250_000), Vec::new(), 0);
    for ms in 0..MINUTE_MS {
        if ms % 1_000 == 0 {
            shipper.add(item(old + u64::from(ms / 1_000), fresh));
        }
        for seq in link.run(t0 + Duration::from_millis(ms.into()), &mut shipper) {
            match seq.0.checked_sub(old) {
                Some(nth) => waits.push(u64::from(ms) - 1_000 * nth),
                None => backlog += batch,
            }
        }
    }
    assert!(waits.len() >= 58 && waits.iter().all(|ms| *ms <= 2_000), "{waits:?}");
    assert!(backlog >= 60 * (1_250_000 - fresh) * 9 / 10, "{backlog} bytes of the backlog in a minute");
}
