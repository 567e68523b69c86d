//! A simulated router: the product's intake, session, admission, dedup, journal and consumers, on a simulated disk and network.

mod life;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use central_router::admission::{Admission, Ceiling};
use central_router::edges::{self, AllowList, Edges};
use central_router::intake::{Intake, Timeouts};
use central_router::journal::{Journal, JournalOptions};
use central_router::quarantine::Quarantine;
use central_router::session::{Limits, Session};
use federation_proto::codec::ENCODING;
use federation_proto::identity::TenantId;
use parking_lot::Mutex;
use segment_log::mutation::{self, Mutation};
use segment_log::store::Lies;
use segment_log::{MemoryIndex, SimStore};

use self::life::{Answers, Life, Line};
use super::clockwork::Clockwork;
use super::edge::edge_name;
use super::event::{Down, Event, Node, RouterTask, Up};
use super::faults::Plan;
use super::network::Network;
use super::tier::{Destination, Reader};

/// How often the router looks at what is overdue.
const LOOK: Duration = Duration::from_millis(500);
/// Every so many looks the journal's state is kept.
const CHECKPOINT: u64 = 6;
/// How long an edge has to leave.
const GRACE: Duration = Duration::from_millis(400);
const TIMEOUTS: Timeouts = Timeouts { hello: Duration::from_secs(5), header: Duration::from_secs(5), payload: Duration::from_secs(8) };

/// See the module.
pub struct Router {
    number: usize,
    /// The journal's disk.
    pub disk: SimStore,
    /// How much longer its fsyncs take.
    pub slow: Duration,
    index: MemoryIndex,
    old_index: Option<MemoryIndex>,
    options: JournalOptions,
    credit: u64,
    ceilings: HashMap<TenantId, Ceiling>,
    /// Which edge may carry whom.
    pub list: Arc<Mutex<Edges>>,
    /// Encodings that it reads.
    pub encodings: Vec<u16>,
    /// Where its tiers write to: they outlive it.
    pub destinations: Vec<Destination>,
    /// How many lives it had.
    pub life: u64,
    up: Option<Life>,
    /// How far its clock runs ahead.
    pub skew: Duration,
}

impl Router {
    /// One that was never started.
    #[must_use]
    pub fn new(number: usize, seed: u64, plan: &Plan, tenants: &[TenantId]) -> Self {
        let disk = SimStore::new(seed);
        disk.set_lies(Lies { sync: mutation::is(Mutation::NoSyncBeforeAck), sync_dir: mutation::is(Mutation::NoDirectorySync) });
        let list = all(plan.edges, tenants);
        let ceiling = plan.ceiling.map(|rate| Ceiling { rate, burst: 64 << 10 });
        Self {
            number,
            disk,
            slow: Duration::ZERO,
            index: MemoryIndex::new(),
            old_index: None,
            options: JournalOptions { budget: plan.budget_bytes[2], segment: plan.segment_bytes, max_batch: 64 << 10, queue: 1 << 20 },
            credit: plan.credit,
            ceilings: ceiling.into_iter().map(|ceiling| (tenants[0].clone(), ceiling)).collect(),
            list: Arc::new(Mutex::new(list)),
            encodings: vec![ENCODING],
            destinations: (0..plan.tiers).map(|_| Destination::default()).collect(),
            life: 0,
            up: None,
            skew: Duration::ZERO,
        }
    }

    /// The journal, while the router is up.
    #[must_use]
    pub fn journal(&self) -> Option<&Journal> {
        self.up.as_ref().map(|life| &life.journal)
    }

    /// Has the power of its disk gone?
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.up.is_some() && self.disk.is_crashed()
    }

    /// The most that any session holds unanswered, in bytes.
    #[must_use]
    pub fn held(&self) -> u64 {
        let lines = self.up.iter().flat_map(|life| life.lines.values());
        lines.map(|line| line.intake.session().held()).max().unwrap_or(0)
    }

    /// Starts it; it tries again later when its disk refuses.
    pub fn start(&mut self, clockwork: &mut Clockwork) {
        if self.up.is_some() {
            return;
        }
        let number = self.number;
        let tiers: Vec<String> = (0..self.destinations.len()).map(|tier| format!("t{tier}")).collect();
        let opened = Journal::by_hand(Arc::new(self.disk.clone()), Box::new(self.index.clone()), &self.options, &tiers);
        let list = Arc::clone(&self.list);
        let allowed = AllowList::told(move || Ok(list.lock().clone()));
        let (Ok((journal, hand, opened)), Ok(allowed)) = (opened, allowed) else {
            clockwork.note(|| format!("router {number}: does not start"));
            if self.disk.is_crashed() {
                self.die(clockwork, true);
            }
            return clockwork.after(Duration::from_millis(300), Event::Start(Node::Router(number)));
        };
        clockwork.note(|| format!("router {number}: up, {} batches for its tiers; {:?}", opened.pending, opened.notes));
        let admission = Admission::new(clockwork.instant(self.skew), &self.ceilings, None);
        let readers = (0..self.destinations.len()).map(Reader::new).collect();
        let quarantine = Quarantine::new(&PathBuf::from("/nonexistent"));
        self.up = Some(Life {
            journal,
            hand,
            admission,
            allowed,
            lines: BTreeMap::new(),
            answers: Answers::default(),
            readers,
            quarantine,
            round: false,
            looks: 0,
            leaving: false,
        });
        clockwork.after(LOOK, Event::Router(number, self.life, RouterTask::Look));
        for tier in 0..self.destinations.len() {
            clockwork.after(Duration::from_millis(1), Event::Router(number, self.life, RouterTask::Tier(tier)));
        }
    }

    /// It is gone: with the power, which takes some of what was not synced, or killed.
    pub fn die(&mut self, clockwork: &mut Clockwork, power: bool) {
        let lost = clockwork.rng.next();
        self.disk = if power { self.disk.restart(lost) } else { self.disk.kill() };
        self.up = None;
        self.life += 1;
    }

    /// It is about to be stopped as an operator would: edges are told to go.
    pub fn leave(&mut self, clockwork: &mut Clockwork) {
        let (number, number_of_life) = (self.number, self.life);
        let Some(life) = self.up.as_mut().filter(|life| !life.leaving) else { return };
        life.leaving = true;
        life.lines.values_mut().for_each(|line| line.intake.leave(GRACE));
        clockwork.after(GRACE, Event::Router(number, number_of_life, RouterTask::Stop));
    }

    fn stop(&mut self) {
        if let Some(life) = self.up.take() {
            let _ = life.journal.close();
        }
        self.disk = self.disk.kill();
        self.life += 1;
    }

    /// The next start finds no index, or an old one.
    pub fn lose_index(&mut self, old: bool) {
        self.index = self.old_index.take().filter(|_| old).unwrap_or_default();
    }

    /// Its list and its encodings are as they were at first.
    pub fn restore(&mut self, edges: usize, tenants: &[TenantId]) {
        *self.list.lock() = all(edges, tenants);
        self.encodings = vec![ENCODING];
    }

    /// An edge connects; false when it is not taken.
    pub fn connected(&mut self, conn: u64, edge: usize) -> bool {
        let Some(life) = self.up.as_mut().filter(|life| !life.leaving) else { return false };
        life.allowed.refresh();
        let name = edge_name(edge);
        if !life.allowed.has(&name) {
            return false;
        }
        let limits = Limits {
            router: format!("r{}", self.number),
            credit: self.credit,
            max_batch: 64 << 10,
            encodings: self.encodings.clone(),
            journal: life.journal.id(),
        };
        let intake = Intake::new(Session::new(name, limits));
        life.lines.insert(conn, Line { edge, intake, streams: BTreeMap::new(), done: BTreeSet::new() });
        true
    }

    /// Something comes from an edge.
    pub fn hear(&mut self, clockwork: &mut Clockwork, net: &mut Network, conn: u64, up: Up) {
        let now = clockwork.instant(self.skew);
        let number = self.number;
        let Some(life) = &mut self.up else { return };
        if !life.lines.contains_key(&conn) {
            return;
        }
        let heard = match up {
            Up::Say(message) => life.said(now, net, clockwork, conn, message),
            Up::Stream(chunk, bytes) => life.stream(now, net, clockwork, conn, chunk, bytes),
            Up::Reset(attempt) => life.given_up(conn, attempt),
            Up::Closed => {
                life.close(conn);
                Ok(())
            }
        };
        if let Err(violation) = heard {
            clockwork.note(|| format!("router {number}: closes connection {conn}: {violation}"));
            life.close(conn);
            net.down(clockwork, conn, Down::Closed);
        }
    }

    /// Something that it does by a clock or a thread. True when it has stopped and is to be started again.
    pub fn task(&mut self, clockwork: &mut Clockwork, net: &mut Network, task: RouterTask) -> bool {
        let now = clockwork.instant(self.skew);
        let (number, number_of_life, slow) = (self.number, self.life, self.slow);
        let again = |clockwork: &mut Clockwork, wait, task| clockwork.after(wait, Event::Router(number, number_of_life, task));
        let Some(life) = &mut self.up else { return false };
        match task {
            RouterTask::Begin => {
                life.hand.begin();
                let sync = clockwork.between(Duration::from_micros(200), Duration::from_millis(8)) + slow;
                again(clockwork, sync, RouterTask::Finish);
            }
            RouterTask::Finish => {
                life.hand.finish();
                life.round = false;
            }
            RouterTask::Tier(tier) => {
                let (reader, destination) = (&mut life.readers[tier], &mut self.destinations[tier]);
                reader.look(clockwork, now, &life.journal, &life.quarantine, destination, (number, number_of_life, self.skew));
            }
            RouterTask::Files(tier) => {
                let (reader, destination) = (&mut life.readers[tier], &mut self.destinations[tier]);
                reader.files(clockwork, destination, (number, number_of_life));
            }
            RouterTask::Confirm(tier) => {
                life.readers[tier].confirm(now);
                again(clockwork, Duration::ZERO, RouterTask::Tier(tier));
            }
            RouterTask::Look => {
                life.look(clockwork, net);
                if clockwork.one_in(8) {
                    self.old_index = Some(self.index.snapshot());
                }
                again(clockwork, LOOK, RouterTask::Look);
            }
            RouterTask::Stop => {
                self.stop();
                return true;
            }
        }
        false
    }

    /// Whatever follows from what has just happened.
    pub fn settle(&mut self, clockwork: &mut Clockwork, net: &mut Network) {
        let (number, number_of_life) = (self.number, self.life);
        let Some(life) = &mut self.up else { return };
        life.answer(clockwork, net);
        if !life.round && !life.hand.is_idle() {
            life.round = true;
            let wait = clockwork.between(Duration::ZERO, Duration::from_millis(3));
            clockwork.after(wait, Event::Router(number, number_of_life, RouterTask::Begin));
        }
        let arrived = life.journal.book().applied();
        for (tier, reader) in life.readers.iter_mut().enumerate() {
            if reader.wakes_at(arrived) {
                clockwork.after(Duration::from_millis(1), Event::Router(number, number_of_life, RouterTask::Tier(tier)));
            }
        }
    }
}

/// Every edge may carry every tenant.
fn all(edges: usize, tenants: &[TenantId]) -> Edges {
    let edge = || edges::Edge { tenants: tenants.iter().cloned().collect() };
    Edges { edges: (0..edges).map(|number| (edge_name(number), edge())).collect() }
}
