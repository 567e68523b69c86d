use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

mod order;

const LIMITS: Limits = Limits { in_flight_batches: 4, streams: 2, verdict: Duration::from_secs(30) };

#[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
fn start() -> Instant {
    Instant::now()
}

fn item(seq: u64, class: Class, tenant: &str, wire_bytes: u64) -> Item {
    Item {
        seq: Seq(seq),
        tenant: TenantId::new(tenant).unwrap(),
        signal: Signal::Traces,
        class,
        rows: 1,
        wire_bytes,
        payload_bytes: wire_bytes - 1,
        raw_bytes: wire_bytes * 10,
        oldest_unix_nano: 0,
    }
}

fn shipper() -> Shipper {
    Shipper::new(LIMITS, LinkCap::new(None), Seq(0))
}

/// Writes whatever may be written now; gives back the batches in the order in which they were completed.
fn pump(shipper: &mut Shipper, now: Instant) -> Vec<u64> {
    let mut done = Vec::new();
    while let Step::Write(chunk) = shipper.next(now) {
        shipper.written(chunk);
        if chunk.last {
            shipper.delivered(now, chunk);
            done.push(chunk.seq.0);
        }
    }
    done
}

/// What the proptest does to a shipper.
#[derive(Debug, Clone)]
enum Event {
    Add { class: u8, tenant: u8, bytes: u64 },
    Connect { credit: u64 },
    Disconnect,
    Credit { bytes: u64 },
    Step,
    Written,
    Stopped { pick: usize },
    Ack { pick: usize },
    Hold { pick: usize, ms: u64, whole_tenant: bool },
    Settle,
    Wait { ms: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u8..=3, 0u8..3, 1u64..200_000).prop_map(|(class, tenant, bytes)| Event::Add { class, tenant, bytes }),
        2 => (0u64..1_000_000).prop_map(|credit| Event::Connect { credit }),
        1 => Just(Event::Disconnect),
        1 => (0u64..1_000_000).prop_map(|bytes| Event::Credit { bytes }),
        12 => Just(Event::Step),
        10 => Just(Event::Written),
        1 => (0usize..50).prop_map(|pick| Event::Stopped { pick }),
        3 => (0usize..50).prop_map(|pick| Event::Ack { pick }),
        2 => (0usize..50, 1u64..5_000, any::<bool>()).prop_map(|(pick, ms, whole_tenant)| Event::Hold { pick, ms, whole_tenant }),
        1 => Just(Event::Settle),
        2 => (1u64..40_000).prop_map(|ms| Event::Wait { ms }),
    ]
}

/// The world around the shipper, with its own account of what is on its way.
struct Model {
    shipper: Shipper,
    now: Instant,
    next: u64,
    pending: BTreeSet<u64>,
    settled: u64,
    credit: Option<u64>,
    writing: Vec<Chunk>,
}

impl Model {
    fn pick(&self, pick: usize) -> Option<Seq> {
        (!self.pending.is_empty()).then(|| Seq(*self.pending.iter().nth(pick % self.pending.len()).unwrap()))
    }

    fn apply(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Add { class, tenant, bytes } => {
                self.next += 1 + u64::from(tenant);
                self.pending.insert(self.next);
                self.shipper.add(item(self.next, Class::try_from(class).unwrap(), &format!("t{tenant}"), bytes));
            }
            Event::Connect { credit } => {
                self.shipper.disconnected();
                self.writing.clear();
                self.credit = Some(credit);
                self.shipper.connected(credit, u64::MAX);
            }
            Event::Disconnect => {
                self.credit = None;
                self.writing.clear();
                self.shipper.disconnected();
            }
            Event::Credit { bytes } => {
                self.credit = self.credit.map(|_| bytes);
                self.shipper.credit(bytes);
            }
            Event::Step => self.step()?,
            Event::Written => {
                if let Some(chunk) = self.writing.pop() {
                    self.shipper.written(chunk);
                }
            }
            Event::Stopped { pick } => {
                if !self.writing.is_empty() {
                    let chunk = self.writing.remove(pick % self.writing.len());
                    self.shipper.delivered(self.now, chunk);
                    prop_assert!(!self.shipper.is_sending(chunk));
                }
            }
            Event::Ack { pick } => {
                if let Some(seq) = self.pick(pick) {
                    self.pending.remove(&seq.0);
                    prop_assert_eq!(self.shipper.acked(seq, seq).len(), 1);
                    prop_assert!(self.shipper.acked(seq, seq).is_empty(), "an ack counts once");
                }
            }
            Event::Hold { pick, ms, whole_tenant } => {
                if let Some(seq) = self.pick(pick) {
                    self.shipper.hold(seq, self.now + Duration::from_millis(ms), whole_tenant);
                }
            }
            Event::Settle => {
                self.settled = self.pending.first().copied().unwrap_or(self.next);
                self.shipper.settled(Seq(self.settled));
            }
            Event::Wait { ms } => self.now += Duration::from_millis(ms),
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), TestCaseError> {
        let before = self.shipper.depth().in_flight_bytes;
        if let Step::Write(chunk) = self.shipper.next(self.now) {
            let credit = self.credit.expect("nothing is sent without a connection");
            prop_assert!(self.pending.contains(&chunk.seq.0), "sent what is not there");
            prop_assert!(!self.writing.iter().any(|other| other.attempt == chunk.attempt), "two chunks of one stream at once");
            if chunk.from == 0 {
                prop_assert!(self.shipper.depth().in_flight_bytes <= credit, "beyond the credit");
            } else {
                prop_assert!(self.shipper.depth().in_flight_bytes <= before);
            }
            self.writing.push(chunk);
        }
        Ok(())
    }
}

proptest! {
    /// Whatever happens: the floor is what was settled and never above a batch that is here, credit is kept, streams are written in order, and once
    /// events stop and a router takes everything, everything leaves.
    #[test]
    fn any_run(events in proptest::collection::vec(event(), 1..200)) {
        let mut model = Model { shipper: shipper(), now: start(), next: 0, pending: BTreeSet::new(), settled: 0, credit: None, writing: Vec::new() };
        for event in events {
            model.apply(event)?;
            prop_assert_eq!(model.shipper.floor().0, model.pending.first().map_or(model.settled, |first| model.settled.min(*first)));
            prop_assert_eq!(model.shipper.depth().batches, model.pending.len() as u64);
        }
        model.shipper.disconnected();
        model.shipper.connected(u64::MAX / 2, u64::MAX);
        for _ in 0..=model.pending.len() {
            for seq in pump(&mut model.shipper, model.now) {
                model.shipper.acked(Seq(seq), Seq(seq));
                model.pending.remove(&seq);
            }
        }
        prop_assert!(model.pending.is_empty(), "stuck: {:?}", model.pending);
        prop_assert_eq!(model.shipper.depth(), Depth::default());
    }
}

/// Chunks of one batch are consecutive, cover it, and only the last says so.
#[test]
fn chunks_cover_the_batch() {
    let now = start();
    let mut shipper = shipper();
    shipper.add(item(1, Class::Medium, "a", 70_000));
    shipper.connected(1_000_000, u64::MAX);
    let mut at = 0;
    while let Step::Write(chunk) = shipper.next(now) {
        assert_eq!((chunk.seq, chunk.from, chunk.last), (Seq(1), at, at + chunk.len == 70_000));
        assert!(shipper.next(now) == Step::Wait(None), "one chunk of a stream at a time");
        at += chunk.len;
        shipper.written(chunk);
    }
    assert_eq!(at, 70_000);
}

/// A high batch that comes in the middle of a low one is finished first.
#[test]
fn high_overtakes_low_in_the_middle() {
    let now = start();
    let mut shipper = shipper();
    shipper.add(item(1, Class::Low, "a", 100_000));
    shipper.add(item(2, Class::Low, "a", 100_000));
    shipper.add(item(3, Class::Low, "a", 100_000));
    shipper.connected(1_000_000, u64::MAX);
    let Step::Write(chunk) = shipper.next(now) else { panic!("nothing to write") };
    shipper.written(chunk);
    shipper.add(item(4, Class::High, "b", 50_000));
    assert_eq!(pump(&mut shipper, now), [4, 1, 2, 3]);
}

/// Over quota: nothing of that tenant is begun before the time stated, others go on, and then it goes.
#[test]
fn an_over_quota_tenant_waits_alone() {
    let now = start();
    let mut shipper = shipper();
    for seq in 1..=3 {
        shipper.add(item(seq, Class::Medium, if seq == 3 { "b" } else { "a" }, 10));
    }
    shipper.connected(1_000, u64::MAX);
    let Step::Write(chunk) = shipper.next(now) else { panic!("nothing to write") };
    shipper.written(chunk);
    let until = now + Duration::from_secs(2);
    shipper.hold(Seq(1), until, true);
    assert_eq!(pump(&mut shipper, now), [3]);
    shipper.acked(Seq(3), Seq(3));
    assert_eq!(shipper.next(now), Step::Wait(Some(until)));
    assert_eq!(pump(&mut shipper, until), [1, 2]);
}

/// A batch larger than the credit waits, and is not overtaken by smaller ones of its class for ever.
#[test]
fn credit_is_kept_without_starving_the_large() {
    let now = start();
    let mut shipper = shipper();
    shipper.add(item(1, Class::Medium, "a", 500));
    shipper.add(item(2, Class::Medium, "a", 900));
    shipper.add(item(3, Class::Medium, "a", 100));
    shipper.connected(1_000, u64::MAX);
    assert_eq!(pump(&mut shipper, now), [1]);
    shipper.acked(Seq(1), Seq(1));
    assert_eq!(pump(&mut shipper, now), [2, 3]);
    shipper.credit(10);
    assert_eq!(shipper.depth().in_flight_bytes, 1_000);
}

/// A batch that waits for credit is not starved by smaller ones of a lower class; what is begun goes on.
#[test]
fn a_lower_class_does_not_go_around() {
    let now = start();
    let mut shipper = shipper();
    shipper.add(item(1, Class::Low, "a", 600));
    shipper.connected(1_000, u64::MAX);
    assert_eq!(pump(&mut shipper, now), [1]);
    shipper.add(item(2, Class::High, "b", 500));
    shipper.add(item(3, Class::Low, "a", 300));
    assert!(pump(&mut shipper, now).is_empty());
    shipper.acked(Seq(1), Seq(1));
    assert_eq!(pump(&mut shipper, now), [2, 3]);
}

/// What the router never takes is named as such, even beyond its credit, and holds up nothing behind it.
#[test]
fn a_batch_too_large_for_the_router_is_named() {
    let now = start();
    let mut shipper = shipper();
    shipper.add(item(1, Class::Medium, "a", 2_000));
    shipper.add(item(2, Class::Medium, "a", 100));
    shipper.connected(1_000, 900);
    assert_eq!(shipper.next(now), Step::TooLarge(Seq(1)));
    assert_eq!(shipper.next(now), Step::TooLarge(Seq(1)), "until it is removed");
    shipper.remove(Seq(1));
    assert_eq!(pump(&mut shipper, now), [2]);
}

/// On a link so slow that a batch is on its way for longer than a verdict may take, it is not sent twice.
#[test]
fn the_verdict_is_due_after_the_delivery() {
    let now = start();
    let mut shipper = shipper();
    shipper.add(item(1, Class::Medium, "a", 10));
    shipper.connected(1_000, u64::MAX);
    let Step::Write(chunk) = shipper.next(now) else { panic!("nothing to write") };
    shipper.written(chunk);
    let later = now + 3 * LIMITS.verdict;
    assert_eq!(shipper.next(later), Step::Wait(None));
    shipper.delivered(later, chunk);
    assert_eq!(shipper.next(later), Step::Wait(Some(later + LIMITS.verdict)));
    assert_eq!(pump(&mut shipper, later + LIMITS.verdict), [1]);
}

/// A verdict that never comes is asked for again.
#[test]
fn silence_is_answered_by_a_retry() {
    let now = start();
    let mut shipper = shipper();
    shipper.add(item(1, Class::Medium, "a", 10));
    shipper.connected(1_000, u64::MAX);
    assert_eq!(pump(&mut shipper, now), [1]);
    assert_eq!(shipper.next(now), Step::Wait(Some(now + LIMITS.verdict)));
    assert_eq!(pump(&mut shipper, now + LIMITS.verdict), [1]);
}

/// Under a cap the link is asked for one window's worth, then for patience.
#[test]
fn the_cap_paces() {
    let mut now = start();
    let t0 = now;
    let mut shipper = Shipper::new(LIMITS, LinkCap::new(Some(1_250_000)), Seq(0));
    shipper.add(item(1, Class::Medium, "a", 1_250_000));
    shipper.connected(10_000_000, u64::MAX);
    loop {
        match shipper.next(now) {
            Step::Write(chunk) => {
                shipper.written(chunk);
                if chunk.last {
                    break;
                }
            }
            Step::Wait(at) => now = at.expect("a time, since only the cap is in the way"),
            Step::TooLarge(batch) => panic!("{batch} is taken"),
        }
    }
    let took = now - t0;
    assert!(took >= Duration::from_millis(900) && took <= Duration::from_millis(1_000), "10 Mbit at 10 Mbit/s took {took:?}");
}

/// What was acked here may come back with a crash: only what a checkpoint settled is below the floor, which never falls.
#[test]
fn the_floor_follows_checkpoints() {
    let mut shipper = shipper();
    for seq in 0..3 {
        shipper.add(item(seq, Class::Medium, "a", 10));
    }
    shipper.acked(Seq(0), Seq(1));
    assert_eq!(shipper.floor(), Seq(0));
    shipper.settled(Seq(2));
    shipper.settled(Seq(1));
    assert_eq!(shipper.floor(), Seq(2));
}
