use federation_proto::control::{Ack, Nack, NackReason, SeqRange, SpoolSeen, edge_message};
use federation_proto::identity::{Class, Signal, TenantId};

use super::*;
use crate::shipper::{Limits, LinkCap};

const SPOOL: SpoolId = SpoolId([7; 16]);

#[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
fn start() -> Instant {
    Instant::now()
}

fn shipper(batches: u64) -> Shipper {
    let limits = Limits { in_flight_batches: 8, streams: 8, verdict: Duration::from_secs(30) };
    let mut shipper = Shipper::new(limits, LinkCap::new(None), Seq(0));
    for seq in 0..batches {
        shipper.add(Item {
            seq: Seq(seq),
            tenant: TenantId::new("acme").unwrap(),
            signal: Signal::Metrics,
            class: Class::Medium,
            rows: 1,
            wire_bytes: 100_000,
            payload_bytes: 99_900,
            raw_bytes: 1,
            oldest_unix_nano: 0,
        });
    }
    shipper
}

fn talk(now: Instant, shipper: &Shipper) -> Talk {
    let introduction = Introduction { name: "eu-1".parse().unwrap(), labels: Default::default() };
    Talk::new(now, &introduction, SPOOL, shipper)
}

fn welcome() -> Welcome {
    Welcome {
        protocol: PROTOCOL,
        router: "one".to_owned(),
        encodings: vec![u32::from(ENCODING)],
        credit_bytes: 10 << 20,
        max_batch_bytes: 1 << 20,
        ..Welcome::default()
    }
}

/// A conversation that is past Welcome and its first Status.
fn welcomed(now: Instant, shipper: &mut Shipper) -> Talk {
    let mut talk = talk(now, shipper);
    assert!(matches!(talk.next(now, shipper), Do::Say(EdgeMessage { kind: Some(edge_message::Kind::Hello(_)) })));
    talk.hear(now, welcome().into(), Seq(1_000), shipper);
    assert!(matches!(talk.next(now, shipper), Do::Welcomed(_)));
    assert!(matches!(talk.next(now, shipper), Do::Say(EdgeMessage { kind: Some(edge_message::Kind::Status(_)) })));
    talk
}

fn chunk(talk: &mut Talk, now: Instant, shipper: &mut Shipper) -> Chunk {
    match talk.next(now, shipper) {
        Do::Write(chunk) => chunk,
        other => panic!("{other:?}"),
    }
}

fn ack(seq: u64) -> RouterMessage {
    Ack { spool: SPOOL.0.to_vec(), ranges: vec![SeqRange { first: seq, last: seq }] }.into()
}

fn nack(seq: u64, reason: NackReason) -> RouterMessage {
    Nack { spool: SPOOL.0.to_vec(), seq, reason: reason.into(), retry_after_ms: 500, message: String::new() }.into()
}

/// Nothing is sent before Welcome, and a router that does not say it in time is left.
#[test]
fn welcome_comes_first_and_in_time() {
    let now = start();
    let mut shipper = shipper(1);
    let mut talk = talk(now, &shipper);
    assert!(matches!(talk.next(now, &mut shipper), Do::Say(_)));
    let Do::Wait(Some(by)) = talk.next(now, &mut shipper) else { panic!("it waits for Welcome") };
    assert!(matches!(talk.next(by, &mut shipper), Do::End(End { code: CloseCode::Timeout, .. })));
    assert!(!talk.is_welcomed());
}

/// What a router may not say ends the conversation with the code for it.
#[test]
fn what_is_out_of_turn_ends_it() {
    let now = start();
    let ends = |message: RouterMessage, before: bool| {
        let mut shipper = shipper(1);
        let mut talk = if before { talk(now, &shipper) } else { welcomed(now, &mut shipper) };
        talk.hear(now, message, Seq(10), &mut shipper);
        loop {
            match talk.next(now, &mut shipper) {
                Do::Say(_) | Do::Write(_) => {}
                Do::End(end) => return end.code,
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(ends(ack(0), true), CloseCode::Malformed);
    assert_eq!(ends(RouterMessage { kind: None }, true), CloseCode::Malformed);
    assert_eq!(ends(welcome().into(), false), CloseCode::Malformed);
    assert_eq!(ends(Welcome { protocol: 9, ..welcome() }.into(), true), CloseCode::Version);
    assert_eq!(ends(Welcome { encodings: Vec::new(), ..welcome() }.into(), true), CloseCode::Version);
    let seen = vec![SpoolSeen { spool: SPOOL.0.to_vec(), next: 11 }];
    assert_eq!(ends(Welcome { spools: seen, ..welcome() }.into(), true), CloseCode::Internal, "a disk that was put back");
}

/// An ack is given on once, and the stream that it makes needless is taken back; one that is being written is when its chunk is done.
#[test]
fn a_verdict_takes_the_stream_back() {
    let now = start();
    let mut shipper = shipper(2);
    let mut talk = welcomed(now, &mut shipper);
    let (idle, busy) = (chunk(&mut talk, now, &mut shipper), chunk(&mut talk, now, &mut shipper));
    talk.done(now, idle, Outcome::Written, &mut shipper);
    talk.hear(now, ack(idle.seq.0), Seq(0), &mut shipper);
    talk.hear(now, ack(idle.seq.0), Seq(0), &mut shipper);
    talk.hear(now, nack(busy.seq.0, NackReason::Again), Seq(0), &mut shipper);
    assert!(matches!(talk.next(now, &mut shipper), Do::Reset(attempt) if attempt == idle.attempt));
    assert!(matches!(talk.next(now, &mut shipper), Do::Acked(items) if items.len() == 1 && items[0].seq == idle.seq));
    let Do::Wait(Some(_)) = talk.next(now, &mut shipper) else { panic!("nothing more to do") };
    talk.done(now, busy, Outcome::Written, &mut shipper);
    assert!(matches!(talk.next(now, &mut shipper), Do::Reset(attempt) if attempt == busy.attempt));
    let again = chunk(&mut talk, now + Duration::from_millis(500), &mut shipper);
    assert_eq!((again.seq, again.from), (busy.seq, 0), "from its beginning, when the router wants it");
}

/// What a router refuses for good, and what it says is not its own, is told apart from what it wants later.
#[test]
fn refusals_for_good_are_put_aside() {
    let now = start();
    let mut shipper = shipper(1);
    let mut talk = welcomed(now, &mut shipper);
    let foreign = Ack { spool: vec![8; 16], ranges: vec![SeqRange { first: 0, last: 9 }] };
    talk.hear(now, foreign.into(), Seq(0), &mut shipper);
    let sent = chunk(&mut talk, now, &mut shipper);
    talk.hear(now, nack(0, NackReason::TenantNotAllowed), Seq(0), &mut shipper);
    assert!(matches!(talk.next(now, &mut shipper), Do::Reject(item, Reason::TenantNotAllowed) if item.seq == sent.seq));
    assert_eq!(shipper.depth().batches, 0);
}

/// A batch that the disk cannot read now is tried again; one that it never will is counted as damaged.
#[test]
fn unreadable_now_or_for_ever() {
    let now = start();
    let mut shipper = shipper(1);
    let mut talk = welcomed(now, &mut shipper);
    let first = chunk(&mut talk, now, &mut shipper);
    let source = std::sync::Arc::new(std::io::Error::other("busy"));
    let error = ReadError::Io { seq: first.seq, segment: segment_log::SegmentNo(0), source };
    talk.done(now, first, Outcome::Unreadable(error), &mut shipper);
    assert!(matches!(talk.next(now, &mut shipper), Do::Wait(Some(_))));
    let later = now + READ_AGAIN;
    assert!(matches!(talk.next(later, &mut shipper), Do::Say(_)));
    let second = chunk(&mut talk, later, &mut shipper);
    talk.done(later, second, Outcome::Unreadable(ReadError::NotPending(second.seq)), &mut shipper);
    assert!(matches!(talk.next(later, &mut shipper), Do::Damaged(item, _) if item.seq == second.seq));
}

/// A router that leaves gets nothing new, what is on its way is waited for, and not for longer than it said.
#[test]
fn a_leaving_router_is_left_in_time() {
    let now = start();
    for in_time in [true, false] {
        let mut shipper = shipper(2);
        let mut talk = welcomed(now, &mut shipper);
        let sent = chunk(&mut talk, now, &mut shipper);
        talk.hear(now, GoAway { deadline_ms: 900, message: String::new() }.into(), Seq(0), &mut shipper);
        let Do::Wait(Some(at)) = talk.next(now, &mut shipper) else { panic!("nothing new") };
        assert_eq!(at, now + Duration::from_millis(900));
        let end = if in_time {
            talk.hear(now, ack(sent.seq.0), Seq(0), &mut shipper);
            assert!(matches!(talk.next(now, &mut shipper), Do::Acked(_)));
            talk.next(now, &mut shipper)
        } else {
            talk.next(at, &mut shipper)
        };
        assert!(matches!(end, Do::End(End { code: CloseCode::Drain, .. })) && talk.is_leaving());
    }
}

/// Status goes once a second, whatever else there is.
#[test]
fn status_once_a_second() {
    let mut now = start();
    let mut shipper = shipper(0);
    let mut talk = welcomed(now, &mut shipper);
    for _ in 0..3 {
        let Do::Wait(Some(at)) = talk.next(now, &mut shipper) else { panic!("nothing to do") };
        assert_eq!(at - now, STATUS_EVERY);
        now = at;
        assert!(matches!(talk.next(now, &mut shipper), Do::Say(_)));
    }
}
