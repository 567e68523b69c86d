//! Promises of the queue, with a clock of their own.

use bytes::Bytes;

use super::*;

fn request(byte: u8, len: usize, rows: u64) -> Request {
    Request { signal: Signal::Logs, rows, body: Bytes::from(vec![byte; len]) }
}

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an origin for the test's own clock")]
    Instant::now()
}

fn sent(outbox: &mut Outbox, now: Instant) -> u8 {
    match outbox.next(now) {
        Next::Send(request) => request.body[0],
        other => panic!("{other:?}"),
    }
}

/// A retry is the same bytes, not before its time, and nothing overtakes it.
#[test]
fn retries_the_same_bytes() {
    let mut outbox = Outbox::new(1_000, 7);
    let now = start();
    outbox.push(request(1, 10, 1));
    outbox.push(request(2, 10, 1));
    let Next::Send(first) = outbox.next(now) else { panic!() };
    outbox.settle(now, Verdict::Later);
    let Next::WaitUntil(at) = outbox.next(now) else { panic!() };
    assert!(at > now && at <= now + BACKOFF_MIN);
    assert_eq!(outbox.next(at), Next::Send(first));
    let settled = outbox.settle(at, Verdict::Accepted { rejected: 0 });
    assert_eq!(settled, Some(Settled { signal: Signal::Logs, exported: 1, dropped: None }));
    assert_eq!(sent(&mut outbox, at), 2, "success ends the wait");
    outbox.settle(at, Verdict::Accepted { rejected: 0 });
    assert_eq!(outbox.next(at), Next::Idle);
    assert_eq!(outbox.bytes(), 0);
}

/// Waits grow to the cap and stay there, and are never shorter than half.
#[test]
fn backs_off_up_to_the_cap() {
    let mut outbox = Outbox::new(1_000, 99);
    let mut now = start();
    outbox.push(request(1, 10, 1));
    for failure in 0..40 {
        assert_eq!(sent(&mut outbox, now), 1);
        outbox.settle(now, Verdict::Later);
        let Next::WaitUntil(at) = outbox.next(now) else { panic!() };
        let full = BACKOFF_MIN.saturating_mul(1 << failure.min(16)).min(BACKOFF_MAX);
        assert!(at - now >= full / 2 && at - now <= full, "failure {failure}: {:?}", at - now);
        now = at;
    }
}

/// Past the bound the oldest go, with their rows and the reason; the one in flight stays, since the edge may have it by now.
#[test]
fn drops_the_oldest_past_the_bound() {
    let mut outbox = Outbox::new(100, 1);
    let now = start();
    for byte in 1..=3 {
        assert!(outbox.push(request(byte, 30, u64::from(byte))).is_empty());
    }
    assert_eq!(sent(&mut outbox, now), 1);
    let dropped = outbox.push(request(4, 50, 4));
    let rows: Vec<u64> = dropped.iter().map(|dropped| dropped.rows).collect();
    assert_eq!(rows, [2, 3]);
    assert!(dropped.iter().all(|dropped| dropped.reason == DropReason::QueueFull));
    assert_eq!(outbox.bytes(), 80);
    outbox.settle(now, Verdict::Accepted { rejected: 0 });
    assert_eq!(sent(&mut outbox, now), 4);
}

/// A request that alone is beyond the bound is counted, and the queue goes on.
#[test]
fn drops_what_can_never_fit() {
    let mut outbox = Outbox::new(100, 1);
    assert_eq!(outbox.push(request(1, 101, 9)).len(), 1);
    assert_eq!((outbox.bytes(), outbox.next(start())), (0, Next::Idle));
}

/// What the edge refuses is gone at once; what it keeps failing on is gone after a bound; what it cannot be reached for is kept.
#[test]
fn gives_up_only_with_a_reason() {
    let now = start();
    let mut outbox = Outbox::new(1_000, 1);
    outbox.push(request(1, 10, 5));
    sent(&mut outbox, now);
    let refused = outbox.settle(now, Verdict::Refused).unwrap();
    assert_eq!(refused.dropped, Some(Dropped { signal: Signal::Logs, rows: 5, reason: DropReason::Refused }));

    outbox.push(request(2, 10, 6));
    let mut now = now;
    let mut tries = 0;
    let dropped = loop {
        tries += 1;
        assert_eq!(sent(&mut outbox, now), 2);
        let settled = outbox.settle(now, Verdict::Failed).unwrap();
        if settled.dropped.is_some() {
            break settled.dropped;
        }
        let Next::WaitUntil(at) = outbox.next(now) else { panic!() };
        now = at;
        // Not being reached in between does not count.
        sent(&mut outbox, now);
        outbox.settle(now, Verdict::Later);
        let Next::WaitUntil(at) = outbox.next(now) else { panic!() };
        now = at;
    };
    assert_eq!(tries, MAX_ANSWERED_FAILURES);
    assert_eq!(dropped, Some(Dropped { signal: Signal::Logs, rows: 6, reason: DropReason::Failing }));
}

/// Rows of a partial success are exported or rejected, none twice, whatever number the edge says.
#[test]
fn counts_partial_success() {
    let now = start();
    let mut outbox = Outbox::new(1_000, 1);
    outbox.push(request(1, 10, 5));
    sent(&mut outbox, now);
    let settled = outbox.settle(now, Verdict::Accepted { rejected: 2 }).unwrap();
    assert_eq!((settled.exported, settled.dropped.map(|dropped| dropped.rows)), (3, Some(2)));
    outbox.push(request(1, 10, 5));
    sent(&mut outbox, now);
    let settled = outbox.settle(now, Verdict::Accepted { rejected: 99 }).unwrap();
    assert_eq!((settled.exported, settled.dropped.map(|dropped| dropped.rows)), (0, Some(5)));
}

/// At the end what is left is counted, in flight or not.
#[test]
fn abandons_with_a_reason() {
    let mut outbox = Outbox::new(1_000, 1);
    outbox.push(request(1, 10, 5));
    outbox.push(request(2, 10, 6));
    sent(&mut outbox, start());
    assert_eq!(outbox.queued_rows(Signal::Logs), 11);
    assert_eq!(outbox.abandon().iter().map(|dropped| dropped.rows).sum::<u64>(), 11);
    assert_eq!((outbox.bytes(), outbox.queued_rows(Signal::Logs)), (0, 0));
    assert_eq!(outbox.settle(start(), Verdict::Accepted { rejected: 0 }), None, "a late answer changes nothing");
}
