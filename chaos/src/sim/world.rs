//! One seed's world: everything in it, and the loop that moves it.

mod trouble;

use std::time::Duration;

use edge_gateway::shipper::Depth;
use federation_proto::identity::TenantId;

use super::check::{self, Failure};
use super::clockwork::Clockwork;
use super::edge::Edge;
use super::event::{Event, Node};
use super::faults::Plan;
use super::network::Network;
use super::router::Router;
use super::sender::Sender;

/// Faults stop at the latest then, whatever has been sent.
const LONGEST: Duration = Duration::from_secs(300);
/// After the faults everything must have arrived within this.
const PROGRESS: Duration = Duration::from_secs(240);
/// What a disk may hold beside a log's budget: its quarantine.
const BEYOND_BUDGET: u64 = 1 << 20;

/// See the module.
pub struct World {
    /// Time and chance.
    pub clockwork: Clockwork,
    /// How it was set up.
    pub plan: Plan,
    net: Network,
    /// Different requests that were sent to each edge.
    requests: Vec<u64>,
    /// Senders.
    pub senders: Vec<Sender>,
    /// Edges.
    pub edges: Vec<Edge>,
    /// Routers.
    pub routers: Vec<Router>,
    /// Tenants, by number.
    pub tenants: Vec<TenantId>,
    /// The faults have stopped, at that time.
    calm: Option<Duration>,
    mute: bool,
    /// Faults so far.
    pub faults: u64,
    /// A disk was made to forget or lie: rows may be counted as damaged.
    pub damaged: bool,
}

/// How much a seed has to go through.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Batches that come into the spools before the faults stop.
    pub batches: u64,
    /// Bits may flip on disks.
    pub damage: bool,
}

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// Batches that came into spools.
    pub batches: u64,
    /// Rows whose senders were told OK.
    pub acknowledged: u64,
    /// Faults.
    pub faults: u64,
    /// The run in one number: the same for the same seed.
    pub digest: u64,
    /// What was wrong.
    pub failure: Option<Failure>,
    /// The last lines, when they were asked for.
    pub lines: Vec<String>,
}

impl World {
    /// That of a seed, before its first event.
    #[must_use]
    pub fn new(seed: u64, size: Size, lines: Option<usize>) -> Self {
        let plan = Plan::of(seed, size.batches, size.damage);
        let mut clockwork = Clockwork::new(seed, lines);
        #[expect(clippy::expect_used, reason = "letters")]
        let tenants: Vec<TenantId> = ["acme", "beta", "gamma"].iter().map(|name| TenantId::new(name).expect("a name")).collect();
        let edges: Vec<Edge> = (0..plan.edges).map(|n| Edge::new(n, clockwork.rng.next(), &plan, &tenants)).collect();
        let routers: Vec<Router> = (0..plan.routers).map(|n| Router::new(n, clockwork.rng.next(), &plan, &tenants)).collect();
        let sender = |n: usize| Sender::new(n, n % plan.edges, (n / plan.edges) % tenants.len(), plan.pace);
        let senders: Vec<Sender> = (0..plan.edges * plan.senders).map(sender).collect();
        for n in 0..edges.len() {
            clockwork.after(Duration::ZERO, Event::Start(Node::Edge(n)));
        }
        for n in 0..routers.len() {
            clockwork.after(Duration::ZERO, Event::Start(Node::Router(n)));
        }
        for n in 0..senders.len() {
            let wait = clockwork.between(Duration::ZERO, plan.pace);
            clockwork.after(wait, Event::Send(n));
        }
        clockwork.after(plan.trouble, Event::Trouble);
        let net = Network::new(plan.weather);
        let requests = vec![0; plan.edges];
        Self { clockwork, plan, net, requests, senders, edges, routers, tenants, calm: None, mute: false, faults: 0, damaged: false }
    }

    /// Runs it to its end and judges it.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let mut failure = None;
        let mut events = 0_u64;
        while let Some(event) = self.clockwork.advance() {
            self.happen(event);
            events += 1;
            if let Err(broken) = self.look(events) {
                failure = Some(broken);
                break;
            }
            if self.is_over() {
                break;
            }
        }
        let failure = failure.or_else(|| check::judge(&self).err());
        let batches = self.batches();
        let acknowledged = self.senders.iter().map(check::acknowledged).sum();
        Outcome { batches, acknowledged, faults: self.faults, digest: self.clockwork.digest(), failure, lines: self.clockwork.lines() }
    }

    /// Batches that came into spools.
    fn batches(&self) -> u64 {
        self.edges.iter().filter_map(Edge::running).map(|edge| edge.link().spool.with(|log| log.next_seq().0)).sum()
    }

    fn happen(&mut self, event: Event) {
        let node = match event {
            Event::Send(sender) => {
                let delay = self.clockwork.between(self.net.weather.least, self.net.weather.most);
                let requests = &mut self.requests[self.senders[sender].edge];
                self.senders[sender].turn(&mut self.clockwork, requests, self.plan.request_rows, delay);
                None
            }
            Event::Answer { sender, attempt, ok } => {
                self.senders[sender].hear(attempt, ok);
                None
            }
            Event::Request { edge, sender, attempt, body } => {
                let tenant = self.senders[sender].tenant;
                self.edges[edge].request(&mut self.clockwork, (sender, attempt), tenant, body);
                Some(Node::Edge(edge))
            }
            Event::Edge(edge, life, task) if self.edges[edge].life == life => {
                if let Some(router) = self.edges[edge].task(&mut self.clockwork, task) {
                    self.connect(edge, router);
                }
                Some(Node::Edge(edge))
            }
            Event::Router(router, life, task) if self.routers[router].life == life => {
                if self.routers[router].task(&mut self.clockwork, &mut self.net, task) {
                    self.cut_all(Node::Router(router));
                    self.start_later(Node::Router(router));
                }
                Some(Node::Router(router))
            }
            Event::Up(conn, up) => self.net.get(conn).map(|conn| conn.router).map(|router| {
                self.routers[router].hear(&mut self.clockwork, &mut self.net, conn, up);
                Node::Router(router)
            }),
            Event::Down(conn, down) => self.net.get(conn).map(|conn| conn.edge).map(|edge| {
                self.edges[edge].hear(&mut self.clockwork, conn, down);
                Node::Edge(edge)
            }),
            Event::Fault(fault) => self.fault(fault),
            Event::Start(node) => {
                self.start(node);
                Some(node)
            }
            Event::Trouble => self.trouble(),
            Event::Edge(..) | Event::Router(..) => None,
        };
        if let Some(node) = node {
            self.settle(node);
        }
    }

    /// What follows from an event at a machine. One whose disk stood still in it is dead from then on: it says nothing more to anyone.
    fn settle(&mut self, node: Node) {
        if self.has_crashed(node) {
            return self.crash(node);
        }
        match node {
            Node::Edge(edge) => {
                for (sender, attempt, ok) in self.edges[edge].settle(&mut self.clockwork, &mut self.net) {
                    if !(self.mute && self.clockwork.one_in(2)) {
                        let wait = self.clockwork.between(self.net.weather.least, self.net.weather.most);
                        self.clockwork.after(wait, Event::Answer { sender, attempt, ok });
                    }
                }
            }
            Node::Router(router) => self.routers[router].settle(&mut self.clockwork, &mut self.net),
        }
        if self.has_crashed(node) {
            self.crash(node);
        }
    }

    fn has_crashed(&self, node: Node) -> bool {
        match node {
            Node::Edge(edge) => self.edges[edge].has_crashed(),
            Node::Router(router) => self.routers[router].has_crashed(),
        }
    }

    fn crash(&mut self, node: Node) {
        let power = self.clockwork.one_in(2);
        self.clockwork.note(|| format!("{node:?}: its disk stood still"));
        self.die(node, power);
    }

    fn connect(&mut self, edge: usize, router: usize) {
        let apart = self.net.apart.contains(&(edge, router));
        let conn = (!apart).then(|| self.net.connect(edge, router));
        match conn.filter(|conn| self.routers[router].connected(*conn, edge)) {
            Some(conn) => {
                self.clockwork.note(|| format!("edge {edge}: connection {conn} to router {router}"));
                self.edges[edge].connected(&mut self.clockwork, conn);
            }
            None => self.edges[edge].not_connected(&mut self.clockwork),
        }
    }

    fn start(&mut self, node: Node) {
        match node {
            Node::Edge(edge) => self.edges[edge].start(&mut self.clockwork),
            Node::Router(router) => self.routers[router].start(&mut self.clockwork),
        }
    }

    fn start_later(&mut self, node: Node) {
        let most = if self.calm.is_some() { 20 } else { 800 };
        let wait = self.clockwork.between(Duration::from_millis(5), Duration::from_millis(most));
        self.clockwork.after(wait, Event::Start(node));
    }

    fn cut_all(&mut self, node: Node) {
        let is_of = |conn: &super::network::Conn| match node {
            Node::Edge(edge) => conn.edge == edge,
            Node::Router(router) => conn.router == router,
        };
        for conn in self.net.find(is_of) {
            self.net.cut(&mut self.clockwork, conn);
        }
    }

    fn die(&mut self, node: Node, power: bool) {
        self.clockwork.note(|| format!("{node:?}: {}", if power { "power cut" } else { "killed" }));
        match node {
            Node::Edge(edge) => self.edges[edge].die(&mut self.clockwork, power),
            Node::Router(router) => self.routers[router].die(&mut self.clockwork, power),
        }
        self.cut_all(node);
        self.start_later(node);
    }

    /// Bounds and the edges' ledgers, looked at as the world goes: what is wrong is found near to what made it so.
    fn look(&self, events: u64) -> Result<(), Failure> {
        if !events.is_multiple_of(64) {
            return Ok(());
        }
        for (number, edge) in self.edges.iter().enumerate() {
            let Some(running) = edge.running() else { continue };
            let Depth { in_flight_bytes, .. } = running.link().shipper.lock().depth();
            let most = self.plan.credit.max(64 << 10);
            if in_flight_bytes > most {
                return Err(Failure::Bound(format!("edge {number} has {in_flight_bytes} bytes on their way: at most {most} are allowed")));
            }
            let logs = [(running.inbox_log(), "inbox"), (&running.link().spool, "spool")];
            for ((log, what), budget) in logs.into_iter().zip(self.plan.budget_bytes) {
                let bytes = log.with(|log| log.bytes_on_disk());
                if bytes > budget + BEYOND_BUDGET {
                    return Err(Failure::Bound(format!("edge {number}: its {what} has {bytes} bytes: at most {budget} are allowed")));
                }
            }
        }
        check::edges(self)?;
        for (number, router) in self.routers.iter().enumerate() {
            let (held, budget) = (router.held(), self.plan.budget_bytes[2]);
            if held > self.plan.credit {
                return Err(Failure::Bound(format!("router {number} holds {held} bytes of an edge beyond its credit")));
            }
            let bytes = router.journal().map_or(0, |journal| journal.book().stored_bytes());
            if bytes > budget + BEYOND_BUDGET {
                return Err(Failure::Bound(format!("router {number}: its journal has {bytes} bytes: at most {budget} are allowed")));
            }
        }
        Ok(())
    }

    /// All is done, or will never be.
    fn is_over(&self) -> bool {
        let Some(calm) = self.calm else { return false };
        self.clockwork.now() > calm + PROGRESS || self.is_idle()
    }

    /// Nothing waits anywhere.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.senders.iter().all(Sender::is_done)
            && self.edges.iter().all(check::is_empty_edge)
            && self.routers.iter().all(check::is_empty_router)
    }
}
