use std::collections::HashMap;

use federation_proto::codec::ENCODING;
use federation_proto::identity::Seq;

use super::*;
use crate::admission::Ceiling;
use crate::testing::{batch_id, header, origin, tenant};

const MIB: u64 = 1 << 20;

/// A session of edge `eu`, which may carry `acme`, and all that it decides with.
struct Fixture {
    session: Session,
    allowed: AllowList,
    path: std::path::PathBuf,
    admission: Admission,
    book: Book,
    now: Instant,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edges.yaml");
        std::fs::write(&path, "edges: {eu: {tenants: [acme]}}").unwrap();
        let now = origin();
        let ceilings = HashMap::from([(tenant("acme"), Ceiling { rate: MIB, burst: MIB })]);
        let limits = Limits { router: "r".to_owned(), credit: 100_000, max_batch: 10_000, encodings: vec![ENCODING], journal: [9; 16] };
        Self {
            session: Session::new(EdgeName::new("eu").unwrap(), limits),
            allowed: AllowList::open(&path).unwrap(),
            path,
            admission: Admission::new(now, &ceilings, None),
            book: Book::open(None, &["t".to_owned()], Seq(1), 10 * MIB).unwrap().0,
            now,
            _dir: dir,
        }
    }

    fn welcomed() -> Self {
        let mut fixture = Self::new();
        fixture.hello(&hello()).unwrap();
        fixture
    }

    fn allowed_are(&mut self, yaml: &str) {
        std::fs::write(&self.path, yaml).unwrap();
        self.allowed.refresh();
    }

    fn hello(&mut self, hello: &Hello) -> Result<Welcome, Violation> {
        self.session.hello(hello, &self.allowed, &mut self.book)
    }

    fn judge(&mut self, header: &BatchHeader) -> Result<Verdict, Violation> {
        let mut desk = Desk { allowed: &self.allowed, admission: &self.admission, book: &mut self.book };
        self.session.judge(self.now, header, &mut desk)
    }

    fn refusal(&mut self, header: &BatchHeader) -> (NackReason, Duration) {
        match self.judge(header) {
            Ok(Verdict::Refuse { reason, retry_after, .. }) => (reason, retry_after),
            other => panic!("{other:?}"),
        }
    }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        edge: "eu".to_owned(),
        encodings: vec![u32::from(ENCODING)],
        spools: vec![SpoolFloor { spool: vec![1; 16], floor: 5 }],
        ..Hello::default()
    }
}

fn batch(seq: u64) -> BatchHeader {
    header(1, seq, &[7; 100])
}

/// An older or newer edge gets the version both speak, the router's encodings, its credit and its largest batch.
#[test]
fn hello_is_answered_with_what_holds() {
    for speaks in [PROTOCOL, PROTOCOL + 7] {
        let mut fixture = Fixture::new();
        let welcome = fixture.hello(&Hello { protocol: speaks, ..hello() }).unwrap();
        assert_eq!((welcome.protocol, welcome.credit_bytes, welcome.max_batch_bytes), (PROTOCOL, 100_000, 10_000));
        assert_eq!(welcome.encodings, [u32::from(ENCODING)]);
    }
}

/// A Hello that cannot be agreed on closes the connection with a code that says which way, and nothing is taken in.
#[test]
fn a_bad_hello_is_named() {
    let spool = |len: usize| SpoolFloor { spool: vec![1; len], floor: 0 };
    for (bad, code) in [
        (Hello { protocol: 0, ..hello() }, CloseCode::Version),
        (Hello { encodings: vec![999], ..hello() }, CloseCode::Version),
        (Hello { encodings: vec![], ..hello() }, CloseCode::Version),
        (Hello { edge: "us".to_owned(), ..hello() }, CloseCode::UnknownEdge),
        (Hello { spools: vec![spool(15)], ..hello() }, CloseCode::Malformed),
        (Hello { spools: vec![spool(16); MAX_SPOOLS + 1], ..hello() }, CloseCode::TooLarge),
    ] {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.hello(&bad).unwrap_err().code, code, "{bad:?}");
        assert!(fixture.judge(&batch(9)).is_err(), "a batch was taken after a refused Hello");
    }
    let mut twice = Fixture::welcomed();
    assert_eq!(twice.hello(&hello()).unwrap_err().code, CloseCode::Malformed);
}

/// Nothing is judged before Hello, and no spool that Hello did not name.
#[test]
fn hello_comes_first_and_names_the_spools() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.judge(&batch(9)).unwrap_err().reason, "no_hello");
    let status = Status { spools: vec![SpoolFloor { spool: vec![2; 16], floor: 1 }], ..Status::default() };
    assert_eq!(fixture.session.status(&status, &fixture.allowed, &mut fixture.book).unwrap_err().reason, "no_hello");
    fixture.hello(&hello()).unwrap();
    assert_eq!(fixture.session.status(&status, &fixture.allowed, &mut fixture.book).unwrap_err().reason, "undeclared_spool");
    assert_eq!(fixture.judge(&header(2, 9, b"x")).unwrap_err().reason, "undeclared_spool");
}

/// What no retry can mend is refused for good, and takes neither credit nor quota nor the id.
#[test]
fn permanent_refusals_are_permanent() {
    let mut fixture = Fixture::welcomed();
    for (bad, reason) in [
        (BatchHeader { tenant: tenant("beta"), ..batch(9) }, NackReason::TenantNotAllowed),
        (BatchHeader { payload_len: 10_001, ..batch(9) }, NackReason::TooLarge),
        (BatchHeader { rows: 0, ..batch(9) }, NackReason::Malformed),
        (BatchHeader { rows: u32::MAX, ..batch(9) }, NackReason::TooLarge),
        (batch(u64::MAX), NackReason::Malformed),
        (BatchHeader { encoding: 999, ..batch(9) }, NackReason::UnknownEncoding),
        (BatchHeader { signal: Signal::Profiles, ..batch(9) }, NackReason::UnknownEncoding),
    ] {
        let (found, retry_after) = fixture.refusal(&bad);
        assert_eq!((found, retry_after), (reason, Duration::ZERO));
        assert!(found.is_permanent());
    }
    assert_eq!(fixture.session.held(), 0);
    assert_eq!(fixture.judge(&batch(9)), Ok(Verdict::Accept));
}

/// A batch below the floor, and one that is journalled, is acked again, counted apart, and not charged to the quota.
#[test]
fn duplicates_are_acked_and_cost_nothing() {
    let mut fixture = Fixture::welcomed();
    assert_eq!(fixture.judge(&batch(4)), Ok(Verdict::Duplicate), "below the floor of Hello");
    let full = BatchHeader { raw_bytes: MIB, ..batch(9) };
    assert_eq!(fixture.judge(&full), Ok(Verdict::Accept));
    assert_eq!(fixture.refusal(&full).0, NackReason::Again, "its twin is being written");
    fixture.book.journalled(Seq(1), &full);
    fixture.session.answered(&full);
    assert_eq!(fixture.judge(&full), Ok(Verdict::Duplicate));
    assert_eq!(fixture.book.duplicates().batches, 2);
    let status = Status { spools: vec![SpoolFloor { spool: vec![1; 16], floor: 20 }], ..Status::default() };
    fixture.session.status(&status, &fixture.allowed, &mut fixture.book).unwrap();
    assert_eq!(fixture.judge(&batch(19)), Ok(Verdict::Duplicate), "below the floor of Status");
}

/// A batch whose ack was lost gets it, and one that is being written is not refused for good, whatever its tenant has become since: the
/// edge would count as dropped what the tiers deliver. What never came is refused.
#[test]
fn what_is_journalled_is_acked_also_when_its_tenant_is_struck_off() {
    let mut fixture = Fixture::welcomed();
    let [done, under_way] = [9, 10].map(|seq| BatchHeader { raw_bytes: 10, ..batch(seq) });
    assert_eq!(fixture.judge(&done), Ok(Verdict::Accept));
    assert_eq!(fixture.judge(&under_way), Ok(Verdict::Accept));
    fixture.book.journalled(Seq(1), &done);
    fixture.allowed_are("edges: {eu: {tenants: [beta]}}");
    assert_eq!(fixture.judge(&done), Ok(Verdict::Duplicate));
    assert!(!fixture.refusal(&under_way).0.is_permanent());
    assert_eq!(fixture.refusal(&batch(11)).0, NackReason::TenantNotAllowed);
}

/// A batch that was not journalled after all may come again and is then new.
#[test]
fn a_batch_given_up_is_new_again() {
    let mut fixture = Fixture::welcomed();
    let small = BatchHeader { raw_bytes: 10, ..batch(9) };
    assert_eq!(fixture.judge(&small), Ok(Verdict::Accept));
    fixture.book.give_up(batch_id(1, 9));
    fixture.session.answered(&small);
    assert_eq!((fixture.session.held(), fixture.judge(&small)), (0, Ok(Verdict::Accept)));
}

/// A header that understates its raw bytes is charged what its payload takes on the link.
#[test]
fn a_header_cannot_make_a_batch_cheaper_than_its_payload() {
    let mut fixture = Fixture::welcomed();
    let lying = |seq| BatchHeader { raw_bytes: 0, payload_len: 10_000, ..batch(seq) };
    let admitted = (9..500).take_while(|&seq| {
        let accepted = fixture.judge(&lying(seq)) == Ok(Verdict::Accept);
        fixture.session.answered(&lying(seq));
        accepted
    });
    assert_eq!(admitted.count(), 102, "1 MiB in 10 KiB cells");
}

/// Over its rate a tenant is told when to come again; then the same batch gets in, and no sooner.
#[test]
fn over_quota_is_deferred_for_as_long_as_it_says() {
    let mut fixture = Fixture::welcomed();
    assert_eq!(fixture.judge(&BatchHeader { raw_bytes: MIB, ..batch(9) }), Ok(Verdict::Accept));
    let next = BatchHeader { raw_bytes: MIB / 2, ..batch(10) };
    let (reason, wait) = fixture.refusal(&next);
    assert_eq!(reason, NackReason::OverQuota);
    fixture.now += wait - Duration::from_millis(2);
    assert_eq!(fixture.refusal(&next).0, NackReason::OverQuota);
    fixture.now += Duration::from_millis(2);
    assert_eq!(fixture.judge(&next), Ok(Verdict::Accept));
}

/// What is held for an edge never passes its credit, however it sends; what was refused for that gets in after an answer.
#[test]
fn the_credit_is_a_bound() {
    let mut fixture = Fixture::welcomed();
    let large = |seq| BatchHeader { payload_len: 10_000, raw_bytes: 1, ..batch(seq) };
    let accepted = (9..100).filter(|&seq| {
        let verdict = fixture.judge(&large(seq)).unwrap();
        assert!(fixture.session.held() <= 100_000);
        verdict == Verdict::Accept
    });
    assert_eq!(accepted.count(), 9, "nine of 10,000 bytes and their headers fit 100,000");
    assert_eq!(fixture.refusal(&large(50)).0, NackReason::Again);
    fixture.book.journalled(Seq(1), &large(9));
    fixture.session.answered(&large(9));
    assert_eq!(fixture.judge(&large(50)), Ok(Verdict::Accept));
    assert_eq!(fixture.judge(&large(9)), Ok(Verdict::Duplicate), "a duplicate needs no credit");
}

/// A full journal refuses with a retry, and takes the batch once there is room.
#[test]
fn a_full_journal_is_retried() {
    let mut fixture = Fixture::welcomed();
    fixture.book.set_stored_bytes(10 * MIB);
    let (reason, wait) = fixture.refusal(&batch(9));
    assert_eq!(reason, NackReason::JournalFull);
    assert!(!reason.is_permanent() && wait > Duration::ZERO);
    fixture.book.set_stored_bytes(0);
    assert_eq!(fixture.judge(&batch(9)), Ok(Verdict::Accept));
}

/// A router that leaves takes nothing new, still acks what it has, and says that elsewhere is better.
#[test]
fn draining_takes_nothing_new() {
    let mut fixture = Fixture::welcomed();
    fixture.session.drain();
    assert_eq!(fixture.refusal(&batch(9)).0, NackReason::Draining);
}

/// An edge taken off the list is cut off on its live connection; a tenant taken off is refused from then on.
#[test]
fn revocation_reaches_live_connections() {
    let mut fixture = Fixture::welcomed();
    fixture.allowed_are("edges: {eu: {tenants: [another-tenant]}}");
    assert_eq!(fixture.refusal(&batch(9)).0, NackReason::TenantNotAllowed);
    fixture.allowed_are("edges: {}");
    assert_eq!(fixture.judge(&batch(9)).unwrap_err().code, CloseCode::UnknownEdge);
    assert_eq!(fixture.session.status(&Status::default(), &fixture.allowed, &mut fixture.book).unwrap_err().reason, "revoked");
}

/// A closed session lets go of its spools.
#[test]
fn a_closed_session_holds_no_spool() {
    let mut fixture = Fixture::welcomed();
    fixture.session.close(&mut fixture.book);
    assert_eq!(fixture.judge(&batch(9)).unwrap_err().reason, "undeclared_spool");
}

/// Status once a second is heard for ever, a minute of them at once too; a flood is not.
#[test]
fn a_flood_of_messages_is_a_violation() {
    let mut fixture = Fixture::new();
    let start = fixture.now;
    for second in 0..1_000 {
        fixture.session.spoke(start + Duration::from_secs(second)).unwrap();
    }
    let late = start + Duration::from_secs(1_060);
    let heard = (0..1_000).take_while(|_| fixture.session.spoke(late).is_ok()).count();
    assert_eq!(heard, MAX_MESSAGES as usize);
    let refused = fixture.session.spoke(late).unwrap_err();
    assert_eq!((refused.code, refused.reason), (CloseCode::TooLarge, "control_flood"));
}

/// A Hello that names another edge's spool is refused, and the spool stays as it was; the owner learns how far it was seen.
#[test]
fn another_edges_spool_is_refused() {
    let mut fixture = Fixture::new();
    fixture.allowed_are("edges: {eu: {tenants: [acme]}, us: {tenants: [acme]}}");
    let us = EdgeName::new("us").unwrap();
    fixture.book.dedup_mut().connect(&us, SpoolId([1; 16]), 0, |_| true).unwrap();
    let refused = fixture.hello(&hello()).unwrap_err();
    assert_eq!((refused.code, refused.reason), (CloseCode::UnknownEdge, "foreign_spool"));
    fixture.book.journalled(Seq(1), &batch(41));
    let mut owner = Session::new(us, fixture.session.limits.clone());
    let welcome = owner.hello(&Hello { edge: "us".to_owned(), ..hello() }, &fixture.allowed, &mut fixture.book).unwrap();
    assert_eq!(welcome.spools, [SpoolSeen { spool: vec![1; 16], next: 42 }]);
}
