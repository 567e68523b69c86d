//! A router and its edges as real processes on this machine, with a relay on each link: what the demo and the end-to-end tests stand on.

pub mod admin;
pub mod layout;
pub mod ledger;
pub(crate) mod part;
pub mod process;
pub mod relay;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use central_router::pki::{self, InitOptions, IssueOptions};
use federation_proto::identity::{EdgeName, TenantId};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::admin::Admin;
use self::layout::{EdgeSpec, Layout, Tuning};
use self::part::Part;
use self::process::Launch;
use self::relay::{Carried, Relay};
use crate::part::Role;

const READY_DEADLINE: Duration = Duration::from_secs(30);
const AGENT_DEADLINE: Duration = Duration::from_secs(10);
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// An edge: what it is, its process while it runs, and its link.
#[derive(Debug)]
pub struct Edge {
    /// Name, tenants, addresses.
    pub spec: EdgeSpec,
    /// Between it and the router.
    pub link: Relay,
    part: Part,
}

/// One of a stand's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The router.
    Router,
    /// The edge of that number.
    Edge(usize),
    /// The agent.
    Agent,
}

/// A running router with its edges. All are killed when it is dropped.
#[derive(Debug)]
pub struct Stand {
    layout: Layout,
    launch: Launch,
    admin: Admin,
    router: Part,
    agent: Option<Part>,
    /// The edges, in the order given.
    pub edges: Vec<Edge>,
}

impl Stand {
    /// Makes certificates and configurations, starts the router and the edges, and waits until all are ready. `program` is
    /// `tributary-chaos`, which plays every part.
    ///
    /// # Errors
    /// When a part does not start or is not ready in time: the message says where its log lies.
    pub async fn start(layout: &Layout, program: PathBuf, specs: Vec<EdgeSpec>) -> io::Result<Self> {
        Self::start_tuned(layout, program, specs, &Tuning::default()).await
    }

    /// The same with settings of one's own.
    ///
    /// # Errors
    /// As [`Stand::start`].
    pub async fn start_tuned(layout: &Layout, program: PathBuf, specs: Vec<EdgeSpec>, tuning: &Tuning) -> io::Result<Self> {
        make_certificates(layout, &specs)?;
        let (listen, admin) = (layout::free_address()?, layout::free_address()?);
        let yaml = layout::router_yaml(layout, listen, admin, tuning.tier) + tuning.router;
        let launch = Launch::of(&program);
        let router = Part::start(layout, &launch, (Role::Router, "router"), admin, &yaml)?;
        let mut edges = Vec::with_capacity(specs.len());
        for spec in specs {
            let link = Relay::open(listen).await?;
            let yaml = layout::edge_yaml(layout, &spec, link.listen()) + tuning.edge;
            let part = Part::start(layout, &launch, (Role::Edge, spec.name), spec.admin, &yaml)?;
            edges.push(Edge { spec, link, part });
        }
        let mut stand = Self { layout: layout.clone(), launch, admin: Admin, router, agent: None, edges };
        stand.until_ready().await?;
        Ok(stand)
    }

    /// Starts an agent that sends to the first edge as its first tenant, and waits until its probes run. False when it runs without
    /// them: its log says what is missing.
    ///
    /// # Errors
    /// When it does not start, or ends by itself.
    pub async fn start_agent(&mut self) -> io::Result<bool> {
        self.start_agent_through(self.edges[0].spec.grpc).await
    }

    /// The same, but what it sends goes to `endpoint`, which passes it on to the first edge.
    ///
    /// # Errors
    /// As [`Stand::start_agent`].
    pub async fn start_agent_through(&mut self, endpoint: SocketAddr) -> io::Result<bool> {
        let token = self.edges[0].spec.tenants.first().map_or("", |(_, token)| token);
        let admin = layout::free_address()?;
        let yaml = layout::agent_yaml(endpoint, token, admin);
        let agent = self.agent.insert(Part::start(&self.layout, &self.launch, (Role::Agent, "agent"), admin, &yaml)?);
        let deadline = Instant::now() + AGENT_DEADLINE;
        let mut ready = false;
        while !ready && Instant::now() < deadline {
            agent.still_running()?;
            ready = self.admin.ready(admin).await;
            sleep(POLL).await;
        }
        Ok(ready)
    }

    /// Ends the agent by SIGTERM: it sends what it has before it goes.
    ///
    /// # Errors
    /// When it does not drain in time or ends with an error.
    pub async fn stop_agent(&mut self) -> io::Result<()> {
        match self.agent.take() {
            Some(mut agent) => agent.stop(STOP_DEADLINE).await,
            None => Ok(()),
        }
    }

    /// The processes of the parts that run, by name.
    #[must_use]
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let parts = self.edges.iter().map(|edge| &edge.part).chain([&self.router]);
        parts.filter_map(|part| Some((part.name, part.id()?))).collect()
    }

    async fn until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        for who in [Who::Router].into_iter().chain((0..self.edges.len()).map(Who::Edge)) {
            while !self.ready(who).await {
                self.still_running()?;
                if Instant::now() > deadline {
                    return Err(self.silent(who, READY_DEADLINE));
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Does that part say that data moves through it?
    pub async fn ready(&self, who: Who) -> bool {
        match self.part(who) {
            Some(part) => self.admin.ready(part.admin).await,
            None => false,
        }
    }

    /// Does that part's admin endpoint answer?
    pub async fn answers(&self, who: Who) -> bool {
        match self.part(who) {
            Some(part) => self.admin.ledger(part.admin).await.is_ok(),
            None => false,
        }
    }

    /// The error for a part that is not ready in time.
    #[must_use]
    pub fn silent(&self, who: Who, after: Duration) -> io::Error {
        let (name, log) = self.part(who).map_or(("agent", self.layout.log("agent")), |part| (part.name, part.log().to_owned()));
        io::Error::new(io::ErrorKind::TimedOut, format!("{name} is not ready after {after:?}: see {}", log.display()))
    }

    /// An error when a part that should run has ended.
    ///
    /// # Errors
    /// When a part has ended: the message says where its log lies.
    pub fn still_running(&mut self) -> io::Result<()> {
        let edges = self.edges.iter_mut().map(|edge| &mut edge.part);
        edges.chain([&mut self.router]).chain(&mut self.agent).try_for_each(Part::still_running)
    }

    /// Kills them with -9, all at once; they stay down until [`Stand::start_again`].
    ///
    /// # Errors
    /// When one cannot be killed.
    pub async fn kill(&mut self, whom: &[Who]) -> io::Result<()> {
        let mut killed: Vec<_> = whom.iter().filter_map(|&who| self.part_mut(who)?.take()).collect();
        killed.iter_mut().try_for_each(process::Process::send_kill)?;
        for process in killed {
            process.kill_9().await?;
        }
        Ok(())
    }

    /// Starts a killed part on its disk as the kill left it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self, who: Who) -> io::Result<()> {
        self.part_mut(who).map_or(Ok(()), Part::start_again)
    }

    /// The id of a part's process, while it runs.
    #[must_use]
    pub fn id(&self, who: Who) -> Option<u32> {
        self.part(who)?.id()
    }

    fn part(&self, who: Who) -> Option<&Part> {
        match who {
            Who::Router => Some(&self.router),
            Who::Edge(at) => self.edges.get(at).map(|edge| &edge.part),
            Who::Agent => self.agent.as_ref(),
        }
    }

    fn part_mut(&mut self, who: Who) -> Option<&mut Part> {
        match who {
            Who::Router => Some(&mut self.router),
            Who::Edge(at) => self.edges.get_mut(at).map(|edge| &mut edge.part),
            Who::Agent => self.agent.as_mut(),
        }
    }

    /// The ledger of one part.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ledger(&self, who: Who) -> io::Result<Value> {
        let part = self.part(who).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such part"))?;
        self.admin.ledger(part.admin).await
    }

    /// The ledgers of router and edges, by name.
    ///
    /// # Errors
    /// When a part does not answer.
    pub async fn ledgers(&self) -> io::Result<BTreeMap<String, Value>> {
        let mut ledgers = BTreeMap::new();
        for part in self.edges.iter().map(|edge| &edge.part).chain([&self.router]) {
            ledgers.insert(part.name.to_owned(), self.admin.ledger(part.admin).await?);
        }
        Ok(ledgers)
    }

    /// Rows on the disks of the edges that answer.
    pub async fn queued_at_edges(&self) -> u64 {
        let mut rows = 0;
        for edge in &self.edges {
            rows += self.admin.ledger(edge.spec.admin).await.map_or(0, |ledger| ledger::queued(&ledger));
        }
        rows
    }

    /// Waits until no edge and no tier has a row queued and all ledgers balance, or until the deadline; gives the ledgers as they are then.
    ///
    /// # Errors
    /// When a part ends or does not answer.
    pub async fn drained(&mut self, within: Duration) -> io::Result<BTreeMap<String, Value>> {
        let deadline = Instant::now() + within;
        loop {
            self.still_running()?;
            let ledgers = self.ledgers().await?;
            let empty = ledgers.values().all(|ledger| ledger::queued(ledger) == 0 && ledger::balances(ledger));
            if empty || Instant::now() > deadline {
                return Ok(ledgers);
            }
            sleep(POLL).await;
        }
    }

    /// Ends every part by SIGTERM, edges first; gives what the links carried.
    ///
    /// # Errors
    /// When a part does not drain in time or ends with an error.
    pub async fn stop(mut self) -> io::Result<Carried> {
        self.stop_agent().await?;
        let mut carried = Carried::default();
        for mut edge in self.edges {
            edge.part.stop(STOP_DEADLINE).await?;
            carried.add(&edge.link.carried());
        }
        self.router.stop(STOP_DEADLINE).await?;
        Ok(carried)
    }
}

/// What an operator does by `tributary-router pki init` and `pki issue`.
///
/// # Errors
/// When a file cannot be written.
pub fn make_certificates(layout: &Layout, edges: &[EdgeSpec]) -> io::Result<()> {
    let dir = layout.pki();
    let router = InitOptions {
        router: EdgeName::new("router-1").map_err(io::Error::other)?,
        names: pki::DEFAULT_ROUTER_NAMES.iter().map(ToString::to_string).collect(),
        days: pki::LEAF_DAYS,
        force: false,
    };
    pki::init(&dir, &router).map_err(io::Error::other)?;
    for edge in edges {
        let tenants = edge.tenants.iter().map(|(tenant, _)| TenantId::new(tenant)).collect::<Result<_, _>>().map_err(io::Error::other)?;
        let edge = EdgeName::new(edge.name).map_err(io::Error::other)?;
        pki::issue(&dir, &IssueOptions { edge, tenants, days: pki::LEAF_DAYS, force: false }).map_err(io::Error::other)?;
    }
    Ok(())
}
