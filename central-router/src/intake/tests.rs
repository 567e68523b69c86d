use std::collections::HashMap;

use federation_proto::codec::ENCODING;
use federation_proto::control::{Hello, SpoolFloor, router_message};
use federation_proto::identity::{EdgeName, Seq};

use super::*;
use crate::admission::Ceiling;
use crate::edges::AllowList;
use crate::journal::book::Book;
use crate::session::Limits;
use crate::testing::{header, origin, tenant};

const MIB: u64 = 1 << 20;

/// A connection of edge `eu`, past Hello, and all that it decides with.
struct World {
    intake: Intake,
    allowed: AllowList,
    admission: Admission,
    book: Book,
    now: Instant,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edges.yaml");
        std::fs::write(&path, "edges: {eu: {tenants: [acme]}}").unwrap();
        let now = origin();
        let ceilings = HashMap::from([(tenant("acme"), Ceiling { rate: 1024, burst: MIB })]);
        let mut world = Self {
            intake: intake(),
            allowed: AllowList::open(&path).unwrap(),
            admission: Admission::new(now, &ceilings, None),
            book: Book::open(None, &["t".to_owned()], Seq(1), 10 * MIB).unwrap().0,
            now,
            _dir: dir,
        };
        world.hello();
        world
    }

    fn with<R>(&mut self, decide: impl FnOnce(&mut Intake, Instant, &mut Desk<'_>) -> R) -> R {
        let mut desk = Desk { allowed: &self.allowed, admission: &self.admission, book: &mut self.book };
        decide(&mut self.intake, self.now, &mut desk)
    }

    fn hello(&mut self) {
        let hello = Hello {
            protocol: 1,
            edge: "eu".to_owned(),
            encodings: vec![u32::from(ENCODING)],
            spools: vec![SpoolFloor { spool: vec![1; 16], floor: 0 }],
            ..Hello::default()
        };
        assert_eq!(self.with(|intake, now, desk| intake.hear(now, hello.into(), desk)), Ok(Heard::Hello));
        let said = self.said();
        let [router_message::Kind::Welcome(welcome)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(welcome.journal, [9; 16]);
    }

    fn begin(&mut self, header: &BatchHeader) -> bool {
        self.with(|intake, now, desk| intake.header(now, header, desk)).unwrap()
    }

    fn end(&mut self, header: &BatchHeader, payload: Payload) -> Option<Bytes> {
        self.with(|intake, _, desk| intake.payload(header, payload, desk)).unwrap()
    }

    fn said(&mut self) -> Vec<router_message::Kind> {
        self.intake.take().unwrap().into_iter().filter_map(|message| message.kind).collect()
    }

    fn nacks(&mut self) -> Vec<(u64, NackReason)> {
        let said = self.said().into_iter();
        said.map(|kind| match kind {
            router_message::Kind::Nack(nack) => (nack.seq, NackReason::try_from(nack.reason).unwrap()),
            other => panic!("{other:?}"),
        })
        .collect()
    }
}

fn intake() -> Intake {
    let limits = Limits { router: "r".to_owned(), credit: 100_000, max_batch: 10_000, encodings: vec![ENCODING], journal: [9; 16] };
    Intake::new(Session::new(EdgeName::new("eu").unwrap(), limits))
}

fn batch(seq: u64) -> BatchHeader {
    BatchHeader { payload_len: 2_000, raw_bytes: MIB, ..header(1, seq, b"payload") }
}

fn whole() -> Payload {
    Payload::Whole(Bytes::from_static(b"payload"))
}

/// Nothing is acked before the journal said that it has it; then it is, once.
#[test]
fn an_ack_follows_the_journal() {
    let mut world = World::new();
    let first = batch(1);
    assert!(world.begin(&first));
    assert!(world.end(&first, whole()).is_some());
    assert!(!world.intake.has_word() && !world.intake.is_answered());
    world.book.journalled(Seq(1), &first);
    world.intake.journalled(&first, &Ok(()), &world.admission).unwrap();
    assert!(world.intake.is_answered());
    let said = world.said();
    assert!(matches!(&said[..], [router_message::Kind::Ack(ack)] if ack.ranges[0].first == 1 && ack.ranges[0].last == 1), "{said:?}");
    assert!(!world.begin(&first), "it is there");
    assert!(matches!(&world.said()[..], [router_message::Kind::Ack(_)]));
}

/// However an accepted batch ends that does not get onto the journal, its id, its credit and its tenant's quota are free again: the
/// same batch is accepted at once, although the quota has room for one.
#[test]
fn what_is_not_journalled_is_given_back() {
    let mut world = World::new();
    let one = batch(1);
    let again = NackReason::Again;
    let stalled = Payload::Stalled(Duration::from_secs(1));
    for (payload, nacked) in [(Payload::Damaged, Some(again)), (stalled, Some(again)), (Payload::GivenUp, None)] {
        assert!(world.begin(&one), "before {payload:?}");
        assert!(!world.begin(&batch(2)), "the quota is used up");
        assert_eq!(world.nacks(), [(2, NackReason::OverQuota)]);
        assert_eq!(world.end(&one, payload), None);
        assert_eq!(world.nacks(), nacked.map(|reason| (1, reason)).into_iter().collect::<Vec<_>>());
        assert!(world.intake.is_answered());
    }
    assert!(world.begin(&one));
    assert!(world.end(&one, whole()).is_some());
    world.book.give_up(one.id);
    world.intake.journalled(&one, &Err(AppendError::Busy { queued_bytes: 1, limit_bytes: 1 }), &world.admission).unwrap();
    assert_eq!(world.nacks(), [(1, again)]);
    assert!(world.begin(&one), "after a journal that was busy");
}

/// A connection that closes gives back what has not come whole and leaves to the journal what it was given: the next connection gets
/// the first accepted, and the second is its own twin until the journal has answered.
#[test]
fn a_closed_connection_gives_back() {
    let mut world = World::new();
    let (half, given) = (BatchHeader { raw_bytes: MIB / 2, ..batch(1) }, BatchHeader { raw_bytes: MIB / 2, ..batch(2) });
    assert!(world.begin(&half) && world.begin(&given));
    assert!(world.end(&given, whole()).is_some());
    world.with(|intake, _, desk| intake.close(desk));
    assert_eq!(world.end(&half, whole()), None, "a task that was still reading");
    let mut old = std::mem::replace(&mut world.intake, intake());
    world.hello();
    assert!(world.begin(&half));
    assert!(!world.begin(&given));
    assert_eq!(world.nacks(), [(2, NackReason::Again)]);
    world.book.journalled(Seq(1), &given);
    old.journalled(&given, &Ok(()), &world.admission).unwrap();
    assert!(!world.begin(&given), "a duplicate now");
    assert!(matches!(&world.said()[..], [router_message::Kind::Ack(_)]));
}

/// A router that leaves says so, takes nothing new, and says its last word after the last answer.
#[test]
fn leaving_answers_what_was_taken() {
    let mut world = World::new();
    let taken = BatchHeader { raw_bytes: 10, ..batch(1) };
    assert!(world.begin(&taken));
    world.intake.leave(Duration::from_secs(5));
    assert!(matches!(&world.said()[..], [router_message::Kind::GoAway(_)]));
    assert!(!world.begin(&batch(2)));
    assert_eq!(world.nacks(), [(2, NackReason::Draining)]);
    assert!(!world.intake.is_answered());
    assert!(world.end(&taken, whole()).is_some());
    world.intake.journalled(&taken, &Ok(()), &world.admission).unwrap();
    assert!(world.intake.is_answered());
    world.intake.finish();
    assert_eq!(world.said().len(), 1);
    assert_eq!(world.intake.take(), None);
}
