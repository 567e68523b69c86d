//! What is fresh goes first, and the backlog ends all the same.

use super::*;

const WIDE: Limits = Limits { in_flight_batches: 10_000, streams: 4, verdict: Duration::from_secs(30) };

fn of(signal: Signal, seq: u64, wire_bytes: u64) -> Item {
    Item { signal, ..item(seq, Class::Medium, "a", wire_bytes) }
}

/// A shipper with a backlog of `batches` numbered from nought, connected.
fn behind(batches: u64, wire_bytes: u64) -> Shipper {
    let mut shipper = Shipper::new(WIDE, LinkCap::new(None), Seq(0));
    for seq in 0..batches {
        shipper.add(of(Signal::Logs, seq, wire_bytes));
    }
    shipper.connected(u64::MAX / 2, u64::MAX);
    shipper
}

/// Writes one chunk; gives its batch and length.
fn write(shipper: &mut Shipper, now: Instant) -> (u64, u64) {
    let Step::Write(chunk) = shipper.next(now) else { panic!("nothing to write") };
    shipper.written(chunk);
    (chunk.seq.0, chunk.len)
}

/// What comes after an outage is sent before what it left behind, in the order in which it came.
#[test]
fn fresh_goes_before_the_backlog() {
    let now = start();
    let mut shipper = behind(3, 1_000);
    for seq in 3..6 {
        shipper.add(of(if seq == 4 { Signal::Traces } else { Signal::Logs }, seq, 1_000));
    }
    let order: Vec<u64> = (0..6).map(|_| write(&mut shipper, now).0).collect();
    assert_eq!(order, [3, 0, 4, 5, 1, 2], "one byte in four is the backlog's");
}

/// While fresh data never ends the backlog has a quarter of the link; alone it has all of it.
#[test]
fn the_backlog_has_its_share() {
    let now = start();
    let mut shipper = behind(2_000, 100_000);
    let (mut next, mut bytes) = (2_000, [0, 0]);
    while bytes[0] + bytes[1] < 100_000_000 {
        while next < 2_005 + bytes[1] / 50_000 {
            shipper.add(of(Signal::Traces, next, 50_000));
            next += 1;
        }
        let (seq, len) = write(&mut shipper, now);
        bytes[usize::from(seq >= 2_000)] += len;
    }
    assert!((24_000_000..26_000_000).contains(&bytes[0]), "{bytes:?}");
    let mut alone = behind(10, 100_000);
    assert_eq!(pump(&mut alone, now), (0..10).collect::<Vec<_>>());
}

/// Old batches that wait for the transport leave a stream to what is fresh.
#[test]
fn a_stream_is_left_to_what_is_fresh() {
    let now = start();
    let mut shipper = behind(10, 1_000_000);
    let busy: Vec<Step> = std::iter::from_fn(|| Some(shipper.next(now)).filter(|step| matches!(step, Step::Write(_)))).collect();
    assert_eq!(busy.len(), WIDE.streams - 1);
    shipper.add(of(Signal::Logs, 10, 1_000));
    assert_eq!(write(&mut shipper, now), (10, 1_000));
}

/// Metrics leave in the order in which they came, whatever came since the connection was made.
#[test]
fn metrics_leave_in_order() {
    let now = start();
    let mut shipper = Shipper::new(WIDE, LinkCap::new(None), Seq(0));
    for seq in 0..4 {
        shipper.add(of(Signal::Metrics, seq, 1_000));
    }
    shipper.connected(u64::MAX / 2, u64::MAX);
    for seq in 4..8 {
        shipper.add(of(Signal::Metrics, seq, 1_000));
    }
    shipper.add(of(Signal::Logs, 8, 1_000));
    let order: Vec<u64> = (0..9).map(|_| write(&mut shipper, now).0).collect();
    assert_eq!(order, [8, 0, 1, 2, 3, 4, 5, 6, 7]);
}

/// On a link that does not keep up what was fresh is backlog soon, and what came last goes before it.
#[test]
fn fresh_grows_old() {
    let mut now = start();
    let mut shipper = behind(0, 0);
    shipper.add(of(Signal::Logs, 0, 1_000_000));
    write(&mut shipper, now);
    for seq in 1..5 {
        shipper.add(of(Signal::Logs, seq, 1_000));
    }
    for _ in 0..3 {
        now += Duration::from_secs(10);
        shipper.credit(0);
        shipper.hold(Seq(0), now + Duration::from_secs(100), false);
        assert_eq!(shipper.next(now), Step::Wait(Some(now + Duration::from_secs(100))));
    }
    shipper.credit(u64::MAX / 2);
    shipper.add(of(Signal::Logs, 5, 1_000));
    assert_eq!(write(&mut shipper, now).0, 5);
    assert_eq!(pump(&mut shipper, now)[..4], [1, 2, 3, 4]);
}

/// A batch that a router may have in whole, and whose verdict was lost, is counted once it goes to another journal; one that goes to the
/// same, or of which a part was missing, is not.
#[test]
fn what_may_lie_twice_is_counted() {
    let now = start();
    let mut shipper = behind(3, 100_000);
    shipper.goes_to(1);
    while let Step::Write(chunk) = shipper.next(now) {
        if chunk.seq == Seq(2) {
            break;
        }
        shipper.written(chunk);
    }
    shipper.acked(Seq(0), Seq(0));
    shipper.disconnected();
    for (journal, batches) in [(1, 0), (2, 1), (1, 1)] {
        shipper.goes_to(journal);
        shipper.connected(u64::MAX / 2, u64::MAX);
        while let Step::Write(chunk) = shipper.next(now) {
            if chunk.from > 0 {
                break;
            }
            shipper.written(chunk);
        }
        assert_eq!(shipper.doubtful(), Doubtful { possibly_doubled_batches: batches, possibly_doubled_rows: batches }, "journal {journal}");
        shipper.disconnected();
    }
}
