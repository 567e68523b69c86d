//! One edge's connections to a router, whatever it says in whatever order: no panic; held bytes are what was accepted and not answered and
//! stay within the credit; nothing is accepted twice, for a tenant that is not allowed, from a spool that was not named, or once draining.
//!
//! Input: options (1), then steps: which (1) and what it needs. Option 1: the book begins with a state out of the input (length 1, bytes), as a
//! damaged checkpoint might have it; then only panics count.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use central_router::admission::{Admission, Ceiling};
use central_router::edges::AllowList;
use central_router::journal::book::Book;
use central_router::session::{Desk, Limits, Session, Verdict};
use federation_proto::codec::ENCODING;
use federation_proto::control::{EdgeMessage, Hello, Status, edge_message};
use federation_proto::frame::CloseCode;
use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Class, EdgeName, Seq, Signal, SpoolId, TenantId};
use prost::Message;

use super::control;
use super::input::Input;
use super::support::rng::Rng;

const CREDIT: u64 = 100_000;
const MAX_BATCH: u32 = 10_000;
const BUDGET: u64 = 10 << 20;
const RATE: u64 = 1 << 20;

/// `eu` may carry `acme` and `beta`. Read once.
static ALLOWED: LazyLock<AllowList> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("edges.yaml");
    std::fs::write(&path, "edges: {eu: {tenants: [acme, beta]}}").expect("a file");
    AllowList::open(&path).expect("a list")
});

#[expect(clippy::disallowed_methods, reason = "an origin for times that the script makes up")]
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What the session is held against.
struct World {
    session: Session,
    book: Book,
    admission: Admission,
    now: Instant,
    journal: u64,
    draining: bool,
    /// Accepted and not answered, with their sizes.
    open: BTreeMap<BatchId, (BatchHeader, u64)>,
    journalled: BTreeMap<BatchId, BatchHeader>,
}

pub fn check(input: &[u8]) {
    let mut input = Input::new(input);
    let any_state = input.u8() & 1 == 1;
    let state = any_state.then(|| {
        let len = usize::from(input.u8());
        input.bytes(len)
    });
    let Ok((book, _)) = Book::open(state, &["t".to_owned()], Seq(1), BUDGET) else { return };
    let ceilings = HashMap::from([(name("acme"), Ceiling { rate: RATE, burst: RATE })]);
    let admission = Admission::new(*ORIGIN, &ceilings, None);
    let mut world = World {
        session: session(),
        book,
        admission,
        now: *ORIGIN,
        journal: 1,
        draining: false,
        open: BTreeMap::new(),
        journalled: BTreeMap::new(),
    };
    while !input.is_done() {
        world.step(&mut input, !any_state);
    }
    let state = world.book.encode();
    Book::open(Some(&state), &["t".to_owned()], Seq(1), BUDGET).expect("its own state");
}

fn name(name: &str) -> TenantId {
    TenantId::new(name).expect("a name")
}

fn session() -> Session {
    let limits = Limits { router: "r".to_owned(), credit: CREDIT, max_batch: MAX_BATCH, encodings: vec![ENCODING], journal: [9; 16] };
    Session::new(EdgeName::new("eu").expect("a name"), limits)
}

impl World {
    fn step(&mut self, input: &mut Input<'_>, holds: bool) {
        match input.u8() % 8 {
            0 | 1 => {
                let len = usize::from(input.u8());
                self.message(input.bytes(len));
            }
            2..=4 => self.batch(input, holds),
            5 => self.answer(input.u8()),
            6 => self.now += Duration::from_millis(input.u16().into()),
            _ if input.u8() & 3 == 0 => {
                self.session.drain();
                self.draining = true;
            }
            _ => self.reconnect(),
        }
        assert_eq!(self.session.held(), self.open.values().map(|(_, size)| size).sum::<u64>());
        assert!(self.session.held() <= CREDIT);
        assert!(self.session.spools().len() <= central_router::session::MAX_SPOOLS);
        assert!(self.session.labels().len() <= central_router::session::MAX_LABELS);
    }

    fn message(&mut self, bytes: &[u8]) {
        let Ok(EdgeMessage { kind: Some(kind) }) = EdgeMessage::decode(bytes) else { return };
        let spoke = self.session.spoke(self.now);
        let outcome = match kind {
            _ if spoke.is_err() => spoke,
            edge_message::Kind::Hello(hello) => self.session.hello(&hello, &ALLOWED, &mut self.book).map(drop),
            edge_message::Kind::Status(status) => self.session.status(&status, &ALLOWED, &mut self.book),
        };
        if let Err(violation) = outcome {
            assert!(!violation.reason.is_empty() && violation.message.len() < 1024, "{violation:?}");
            assert!(!matches!(violation.code, CloseCode::Drain | CloseCode::Internal), "{violation:?}");
            self.reconnect();
        }
    }

    fn batch(&mut self, input: &mut Input<'_>, holds: bool) {
        let header = header(input);
        let named = self.session.spools().contains(&header.id.spool);
        let mut desk = Desk { allowed: &ALLOWED, admission: &self.admission, book: &mut self.book };
        let verdict = match self.session.judge(self.now, &header, &mut desk) {
            Ok(verdict) => verdict,
            Err(violation) => {
                assert!(!named, "{violation:?}");
                return self.reconnect();
            }
        };
        assert!(named, "a spool that no Hello named");
        match verdict {
            Verdict::Accept => {
                assert!(!self.draining && header.tenant.as_str() != "other" && header.payload_len <= MAX_BATCH);
                assert!(header.encoding == ENCODING && header.signal != Signal::Profiles);
                assert!(!self.open.contains_key(&header.id), "its twin is being written");
                assert!(!holds || !self.journalled.contains_key(&header.id), "it is on the journal");
                let size = u64::from(header.payload_len) + header.encode().len() as u64;
                self.open.insert(header.id, (header, size));
            }
            Verdict::Duplicate => {}
            Verdict::Refuse { retry_after, message, .. } => {
                assert!(retry_after <= Duration::from_secs(60) && !message.is_empty());
            }
        }
    }

    /// The batch was journalled, or given up.
    fn answer(&mut self, pick: u8) {
        let Some(id) = self.open.keys().nth(usize::from(pick / 2) % self.open.len().max(1)).copied() else { return };
        let Some((header, _)) = self.open.remove(&id) else { return };
        if pick & 1 == 0 {
            self.book.journalled(Seq(self.journal), &header);
            self.journal += 1;
            self.journalled.insert(id, header.clone());
        } else {
            self.book.give_up(id);
        }
        self.session.answered(&header);
    }

    /// The connection goes, with what it held, and the edge comes again.
    fn reconnect(&mut self) {
        for (id, (header, _)) in std::mem::take(&mut self.open) {
            self.book.give_up(id);
            self.session.answered(&header);
        }
        self.session.close(&mut self.book);
        self.session = session();
        self.draining = false;
    }
}

fn header(input: &mut Input<'_>) -> BatchHeader {
    let bits = input.u8();
    let seq = if bits & 0x80 == 0 { u64::from(input.u8()) } else { u64::MAX - u64::from(input.u8()) };
    BatchHeader {
        id: BatchId { spool: SpoolId([bits & 3; 16]), seq: Seq(seq) },
        tenant: name(["acme", "beta", "acme", "other"][usize::from(bits >> 2 & 3)]),
        signal: [Signal::Logs, Signal::Traces, Signal::Metrics, Signal::Profiles][usize::from(bits >> 4 & 3)],
        class: Class::Medium,
        rows: 10,
        raw_bytes: u64::from(input.u16()) << (input.u8() & 63),
        oldest_unix_nano: 1,
        newest_unix_nano: 2,
        encoding: if bits & 0x40 == 0 { ENCODING } else { u16::from(input.u8()) },
        payload_len: input.u16().into(),
        payload_crc: 0,
    }
}

/// A Hello, then some batches and answers.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let mut out = vec![0];
    for _ in 0..1 + rng.below(3) {
        let message = match control::from_edge(rng).kind {
            Some(edge_message::Kind::Hello(hello)) => EdgeMessage::from(Hello { spools: hello.spools, ..hello }),
            Some(edge_message::Kind::Status(status)) => EdgeMessage::from(Status { demand: Vec::new(), ..status }),
            None => EdgeMessage::default(),
        };
        let bytes = message.encode_to_vec();
        out.extend([0, bytes.len() as u8]);
        out.extend(bytes);
    }
    for _ in 0..rng.below(20) {
        match rng.below(4) {
            0 => out.extend([5, rng.next() as u8]),
            1 => out.extend([6, rng.next() as u8, rng.below(9) as u8]),
            _ => {
                out.extend([2, rng.next() as u8 & 0x2b, rng.below(12) as u8, 0, 4, rng.below(4) as u8]);
                out.extend((rng.below(12_000) as u16).to_le_bytes());
            }
        }
    }
    out
}
