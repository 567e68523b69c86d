//! A simulated edge: [`ByHand`] on two simulated disks, requests polled by hand, and the product's conversation over the simulated network.

mod config;
mod life;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edge_gateway::clock::Clock;
use edge_gateway::config::Config;
use edge_gateway::ingest::Body;
use edge_gateway::link::Introduction;
use edge_gateway::link::talk::{Do, Outcome, Talk};
use edge_gateway::run::by_hand::ByHand;
use edge_gateway::run::{Disk, Disks};
use edge_gateway::shipper::{Backoff, Jitter};
use federation_proto::control::RouterMessage;
use federation_proto::identity::{EdgeName, Seq, Signal, TenantId};
use segment_log::mutation::{self, Mutation};
use segment_log::store::Lies;
use segment_log::{MemoryIndex, SimStore};

pub use self::config::RECENT;
use self::config::config;
use self::life::{Accepting, Life, Line};
use super::clockwork::Clockwork;
use super::event::{Down, EdgeTask, Event, Node, Up, Which};
use super::faults::Plan;
use super::network::Network;

/// How often batches are closed by age, and the backlog is read.
const TICK: Duration = Duration::from_millis(50);
/// Entries of the backlog read at a time.
const BACKLOG: usize = 16;

/// When the world began, in Unix seconds.
const FIRST_DAY: u64 = 1_700_000_000;

/// See the module.
pub struct Edge {
    number: usize,
    config: Config,
    introduction: Introduction,
    tenants: Vec<TenantId>,
    /// Its disks: inbox, spool.
    pub disks: [SimStore; 2],
    /// How much longer their fsyncs take.
    pub slow: [Duration; 2],
    index: MemoryIndex,
    old_index: Option<MemoryIndex>,
    /// How many lives it had.
    pub life: u64,
    up: Option<Life>,
    /// How far its clock runs ahead.
    pub skew: Duration,
    maintain: Duration,
    verdict: Duration,
    routers: usize,
}

impl Edge {
    /// One that was never started.
    #[must_use]
    pub fn new(number: usize, seed: u64, plan: &Plan, tenants: &[TenantId]) -> Self {
        let name = edge_name(number);
        let disks = [SimStore::new(seed), SimStore::new(seed ^ 0xD15C)];
        let no_dir = mutation::is(Mutation::NoDirectorySync);
        disks[0].set_lies(Lies { sync: mutation::is(Mutation::NoSyncBeforeOk), sync_dir: no_dir });
        disks[1].set_lies(Lies { sync: false, sync_dir: no_dir });
        Self {
            number,
            config: config(&name, plan, tenants),
            introduction: Introduction { name, labels: HashMap::new() },
            tenants: tenants.to_vec(),
            disks,
            slow: [Duration::ZERO; 2],
            index: MemoryIndex::new(),
            old_index: None,
            life: 0,
            up: None,
            skew: Duration::ZERO,
            maintain: plan.maintain,
            verdict: plan.verdict,
            routers: plan.routers,
        }
    }

    /// The edge, while it is up.
    #[must_use]
    pub fn running(&self) -> Option<&ByHand> {
        self.up.as_ref().map(|life| &life.edge)
    }

    /// The connection that it has.
    #[must_use]
    pub fn conn(&self) -> Option<u64> {
        self.up.as_ref()?.line.as_ref().map(|line| line.conn)
    }

    /// Has the power of one of its disks gone?
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.up.is_some() && self.disks.iter().any(SimStore::is_crashed)
    }

    fn plan(&self, clockwork: &mut Clockwork, wait: Duration, task: EdgeTask) {
        clockwork.after(wait, Event::Edge(self.number, self.life, task));
    }

    /// Starts it; it tries again later when its disks refuse.
    pub fn start(&mut self, clockwork: &mut Clockwork) {
        if self.up.is_some() {
            return;
        }
        let clock = Clock::told(clockwork.instant(self.skew));
        let disk = |store: &SimStore, index| Disk { store: Arc::new(store.clone()), index: Box::new(index) };
        let disks = Disks { inbox: disk(&self.disks[0], MemoryIndex::new()), spool: disk(&self.disks[1], self.index.clone()) };
        let number = self.number;
        match ByHand::open(&self.config, disks, clock.clone(), self.verdict) {
            Ok(edge) => {
                let depth = edge.link().shipper.lock().depth().batches;
                clockwork.note(|| format!("edge {number}: up, {depth} batches in the spool"));
                let jitter = Jitter::new(clockwork.rng.next());
                let backoff = Backoff::new(self.config.ship.backoff_min, self.config.ship.backoff_max, jitter);
                let accepting = Vec::new();
                self.up = Some(Life { edge, clock, accepting, line: None, backoff, endpoint: 0, round: [false; 2], encoding: false });
                for task in [EdgeTask::Age, EdgeTask::Backlog, EdgeTask::Connect] {
                    self.plan(clockwork, TICK, task);
                }
                self.plan(clockwork, self.maintain, EdgeTask::Maintain);
            }
            Err(error) => {
                clockwork.note(|| format!("edge {number}: does not start: {error}"));
                if self.disks.iter().any(SimStore::is_crashed) {
                    self.die(clockwork, true);
                }
                clockwork.after(Duration::from_millis(300), Event::Start(Node::Edge(number)));
            }
        }
    }

    /// It is gone: with the power, which takes some of what was not synced, or killed. Its connections are for the caller to cut.
    pub fn die(&mut self, clockwork: &mut Clockwork, power: bool) {
        let lost = clockwork.rng.next();
        // First the disks, so that nothing of this life is written any more.
        let [inbox, spool] = &self.disks;
        self.disks = if power { [inbox.restart(lost), spool.restart(lost ^ 1)] } else { [inbox.kill(), spool.kill()] };
        self.up = None;
        self.life += 1;
    }

    /// It is stopped as an operator would.
    pub fn stop(&mut self) {
        if let Some(life) = self.up.take() {
            let _ = life.edge.close();
        }
        self.disks = [self.disks[0].kill(), self.disks[1].kill()];
        self.life += 1;
    }

    /// The next start finds no index, or an old one.
    pub fn lose_index(&mut self, old: bool) {
        self.index = self.old_index.take().filter(|_| old).unwrap_or_default();
    }

    /// A request comes; false when there is nobody.
    pub fn request(&mut self, clockwork: &mut Clockwork, (sender, attempt): (usize, u64), tenant: usize, body: Bytes) -> bool {
        let Some(life) = &mut self.up else { return false };
        life.clock.tell(clockwork.instant(self.skew));
        let (ingest, tenant) = (life.edge.ingest().clone(), self.tenants[tenant].clone());
        let accept = async move { ingest.accept(Signal::Logs, &tenant, Body { open: body, packed: None }).await };
        life.accepting.push(Accepting { sender, attempt, accept: Box::pin(accept) });
        true
    }

    /// Something that it does by a clock or a thread. Gives a router to connect to.
    pub fn task(&mut self, clockwork: &mut Clockwork, task: EdgeTask) -> Option<usize> {
        let now = clockwork.instant(self.skew);
        let wall = self.wall(clockwork);
        let (slow, number, life_number, maintain) = (self.slow, self.number, self.life, self.maintain);
        let life = self.up.as_mut()?;
        life.clock.tell(now);
        let again = |clockwork: &mut Clockwork, wait: Duration, task| clockwork.after(wait, Event::Edge(number, life_number, task));
        match task {
            EdgeTask::Begin(which) => {
                life.hand(which).begin();
                let sync = clockwork.between(Duration::from_micros(200), Duration::from_millis(8)) + slow[which as usize];
                again(clockwork, sync, EdgeTask::Finish(which));
            }
            EdgeTask::Finish(which) => {
                life.hand(which).finish();
                life.round[which as usize] = false;
            }
            EdgeTask::Encode => {
                life.encoding = false;
                life.edge.encode();
            }
            EdgeTask::Age => {
                life.edge.close_by_age(now);
                again(clockwork, TICK, EdgeTask::Age);
            }
            EdgeTask::Backlog => {
                let read = (0..BACKLOG).take_while(|_| life.edge.read_backlog(now)).count();
                if read > 0 {
                    clockwork.note(|| format!("edge {number}: read {read} entries of the backlog"));
                }
                again(clockwork, TICK, EdgeTask::Backlog);
            }
            EdgeTask::Maintain => {
                life.edge.keep_bounds(now, wall);
                life.edge.maintain(now);
                if clockwork.one_in(8) {
                    self.old_index = Some(self.index.snapshot());
                }
                again(clockwork, maintain, EdgeTask::Maintain);
            }
            EdgeTask::Connect => return life.line.is_none().then_some(life.endpoint % self.routers),
            EdgeTask::Wake(conn) => {
                if let Some(line) = life.line.as_mut().filter(|line| line.conn == conn) {
                    line.wake_at = None;
                }
            }
            EdgeTask::Wrote(conn, chunk, outcome) => life.wrote(now, conn, chunk, outcome),
        }
        None
    }

    /// The time of day that the machine believes in: each jump of its clock also sets it, ahead or back.
    fn wall(&self, clockwork: &Clockwork) -> u64 {
        let jumped = self.skew.as_secs();
        let today = FIRST_DAY + clockwork.now().as_secs();
        if jumped.is_multiple_of(2) { today + jumped } else { today - jumped }
    }

    /// There is no way to the router.
    pub fn not_connected(&mut self, clockwork: &mut Clockwork) {
        self.line_ended(clockwork, false, false);
    }

    /// A connection is there; the conversation begins.
    pub fn connected(&mut self, clockwork: &mut Clockwork, conn: u64) {
        let now = clockwork.instant(self.skew);
        let Some(life) = &mut self.up else { return };
        let shared = life.edge.link();
        let talk = Talk::new(now, &self.introduction, shared.spool_id, &shared.shipper.lock());
        life.line = Some(Line { conn, talk, streams: BTreeMap::new(), stopped: BTreeSet::new(), wake_at: None });
    }

    fn line_ended(&mut self, clockwork: &mut Clockwork, welcomed: bool, go_away: bool) {
        let Some(life) = &mut self.up else { return };
        life.line = None;
        life.edge.link().shipper.lock().disconnected();
        life.endpoint = if welcomed && !go_away { 0 } else { (life.endpoint + 1) % self.routers };
        if welcomed {
            life.backoff.reset();
        }
        let wait = if life.endpoint == 0 || welcomed { life.backoff.wait() } else { Duration::from_millis(5) };
        self.plan(clockwork, wait, EdgeTask::Connect);
    }

    /// Something comes from a router.
    pub fn hear(&mut self, clockwork: &mut Clockwork, conn: u64, down: Down) {
        let now = clockwork.instant(self.skew);
        let number = self.number;
        let Some(life) = self.up.as_mut() else { return };
        life.clock.tell(now);
        let Some(line) = life.line.as_mut().filter(|line| line.conn == conn) else { return };
        match down {
            Down::Say(messages) => {
                for message in messages {
                    clockwork.note(|| format!("edge {number}: hears {}", said(&message)));
                    let shared = life.edge.link();
                    let spool_next = if line.talk.is_welcomed() { Seq(0) } else { shared.spool.with(|log| log.next_seq()) };
                    line.talk.hear(now, message, spool_next, &mut shared.shipper.lock());
                }
            }
            Down::Delivered(chunk) => life.wrote(now, conn, chunk, Outcome::Delivered),
            Down::Stop(attempt) => {
                line.stopped.insert(attempt);
            }
            Down::Closed => {
                let (welcomed, go_away) = (line.talk.is_welcomed(), line.talk.is_leaving());
                clockwork.note(|| format!("edge {number}: connection {conn} is gone"));
                self.line_ended(clockwork, welcomed, go_away);
            }
        }
    }

    /// Whatever follows from what has just happened. Gives the answers for senders: who, which try, OK?
    pub fn settle(&mut self, clockwork: &mut Clockwork, net: &mut Network) -> Vec<(usize, u64, bool)> {
        let now = clockwork.instant(self.skew);
        let Some(life) = &mut self.up else { return Vec::new() };
        life.clock.tell(now);
        let answers = life.poll();
        self.talk(clockwork, net);
        let (number, life_number) = (self.number, self.life);
        let Some(life) = &mut self.up else { return answers };
        for which in [Which::Inbox, Which::Spool] {
            if !life.round[which as usize] && !life.hand(which).is_idle() {
                life.round[which as usize] = true;
                let wait = clockwork.between(Duration::ZERO, Duration::from_millis(3));
                clockwork.after(wait, Event::Edge(number, life_number, EdgeTask::Begin(which)));
            }
        }
        if !life.encoding && life.edge.waiting() > 0 {
            life.encoding = true;
            let wait = clockwork.between(Duration::from_micros(100), Duration::from_millis(4));
            clockwork.after(wait, Event::Edge(number, life_number, EdgeTask::Encode));
        }
        answers
    }

    /// Does what the conversation says until that is to wait.
    fn talk(&mut self, clockwork: &mut Clockwork, net: &mut Network) {
        let now = clockwork.instant(self.skew);
        let number = self.number;
        loop {
            let Some(life) = &mut self.up else { return };
            let Some(line) = &mut life.line else { return };
            let shared = life.edge.link();
            let step = line.talk.next(now, &mut shared.shipper.lock());
            match step {
                Do::Say(message) => net.up(clockwork, line.conn, Up::Say(message)),
                Do::Write(chunk) => {
                    let outcome = line.write(clockwork, net, chunk, |seq| shared.read(seq));
                    let wait = clockwork.between(Duration::ZERO, Duration::from_millis(2));
                    let task = EdgeTask::Wrote(line.conn, chunk, outcome);
                    clockwork.after(wait, Event::Edge(number, self.life, task));
                }
                Do::Reset(attempt) => {
                    line.streams.remove(&attempt);
                    net.up(clockwork, line.conn, Up::Reset(attempt));
                }
                Do::Welcomed(_) => clockwork.note(|| format!("edge {number}: welcomed")),
                Do::Acked(items) => shared.shipped(&items),
                Do::Reject(item, reason) => {
                    clockwork.note(|| format!("edge {number}: batch {} leaves: {reason}", item.seq));
                    shared.reject(&item, reason);
                    line.talk.put_aside();
                }
                Do::Damaged(item, error) => {
                    clockwork.note(|| format!("edge {number}: batch {} is damaged: {error}", item.seq));
                    shared.damaged(&item, &error);
                    line.talk.put_aside();
                }
                Do::Wait(at) => {
                    let at = at.map(|at| clockwork.now() + clockwork.until(at, self.skew));
                    if let Some(at) = at.filter(|at| line.wake_at.is_none_or(|before| *at < before)) {
                        line.wake_at = Some(at);
                        clockwork.at(at, Event::Edge(number, self.life, EdgeTask::Wake(line.conn)));
                    }
                    return;
                }
                Do::End(end) => {
                    let (conn, welcomed, go_away) = (line.conn, line.talk.is_welcomed(), line.talk.is_leaving());
                    clockwork.note(|| format!("edge {number}: ends connection {conn}: {}", end.why));
                    net.up(clockwork, conn, Up::Closed);
                    self.line_ended(clockwork, welcomed, go_away);
                }
            }
        }
    }
}

/// The name of an edge.
#[must_use]
pub fn edge_name(number: usize) -> EdgeName {
    #[expect(clippy::expect_used, reason = "a letter and digits")]
    EdgeName::new(&format!("e{number}")).expect("a name")
}

fn said(message: &RouterMessage) -> String {
    format!("{:?}", message.kind).chars().take(300).collect()
}
