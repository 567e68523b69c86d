//! A router and its edges as real processes on this machine, with a relay on each link: what the demo and the end-to-end tests stand on.

pub mod admin;
pub mod layout;
pub mod ledger;
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
use self::layout::{EdgeSpec, Layout};
use self::process::Process;
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
    process: Option<Process>,
    config: PathBuf,
}

/// A running router with its edges. All are killed when it is dropped.
#[derive(Debug)]
pub struct Stand {
    layout: Layout,
    program: PathBuf,
    admin: Admin,
    router: Process,
    router_admin: SocketAddr,
    agent: Option<(Process, SocketAddr)>,
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
        make_certificates(layout, &specs)?;
        let (listen, router_admin) = (layout::free_address()?, layout::free_address()?);
        let config = layout.write_config("router", &layout::router_yaml(layout, listen, router_admin, layout::PROMPT_TIER))?;
        let router = Process::start(&program, Role::Router, &config, &layout.log("router"))?;
        let mut edges = Vec::with_capacity(specs.len());
        for spec in specs {
            let link = Relay::open(listen).await?;
            let config = layout.write_config(spec.name, &layout::edge_yaml(layout, &spec, link.listen()))?;
            let process = Some(Process::start(&program, Role::Edge, &config, &layout.log(spec.name))?);
            edges.push(Edge { spec, link, process, config });
        }
        let mut stand = Self { layout: layout.clone(), program, admin: Admin, router, router_admin, agent: None, edges };
        stand.until_ready().await?;
        Ok(stand)
    }

    /// Starts an agent that sends to the first edge as its first tenant, and waits until its probes run. False when it runs without
    /// them: its log says what is missing.
    ///
    /// # Errors
    /// When it does not start, or ends by itself.
    pub async fn start_agent(&mut self) -> io::Result<bool> {
        let edge = &self.edges[0].spec;
        let token = edge.tenants.first().map_or("", |(_, token)| token);
        let admin = layout::free_address()?;
        let config = self.layout.write_config("agent", &layout::agent_yaml(edge, token, admin))?;
        let mut process = Process::start(&self.program, Role::Agent, &config, &self.layout.log("agent"))?;
        let deadline = Instant::now() + AGENT_DEADLINE;
        let mut ready = false;
        while !ready && Instant::now() < deadline {
            process.still_running()?;
            ready = self.admin.ready(admin).await;
            sleep(POLL).await;
        }
        self.agent = Some((process, admin));
        Ok(ready)
    }

    /// Ends the agent by SIGTERM: it sends what it has before it goes.
    ///
    /// # Errors
    /// When it does not drain in time or ends with an error.
    pub async fn stop_agent(&mut self) -> io::Result<()> {
        match self.agent.take() {
            Some((process, _)) => process.stop(STOP_DEADLINE).await,
            None => Ok(()),
        }
    }

    /// The processes of the parts that run, by name.
    #[must_use]
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let edges = self.edges.iter().map(|edge| (edge.spec.name, edge.process.as_ref().and_then(Process::id)));
        edges.chain([("router", self.router.id())]).filter_map(|(name, id)| Some((name, id?))).collect()
    }

    async fn until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        let edges = self.edges.iter().map(|edge| (edge.spec.name, edge.spec.admin));
        let parts: Vec<_> = [("router", self.router_admin)].into_iter().chain(edges).collect();
        for (name, admin) in parts {
            while !self.admin.ready(admin).await {
                self.still_running()?;
                if Instant::now() > deadline {
                    let log = self.layout.log(name);
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("{name} is not ready after {READY_DEADLINE:?}: see {}", log.display()),
                    ));
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// An error when a part that should run has ended.
    ///
    /// # Errors
    /// When a part has ended: the message says where its log lies.
    pub fn still_running(&mut self) -> io::Result<()> {
        self.router.still_running()?;
        self.agent.iter_mut().try_for_each(|(process, _)| process.still_running())?;
        self.edges.iter_mut().filter_map(|edge| edge.process.as_mut()).try_for_each(Process::still_running)
    }

    /// Kills an edge with -9; it stays down until [`Stand::restart_edge`].
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill_edge(&mut self, at: usize) -> io::Result<()> {
        match self.edges[at].process.take() {
            Some(process) => process.kill_9().await,
            None => Ok(()),
        }
    }

    /// Starts a killed edge on its disk as the kill left it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart_edge(&mut self, at: usize) -> io::Result<()> {
        let edge = &mut self.edges[at];
        edge.process = Some(Process::start(&self.program, Role::Edge, &edge.config, &self.layout.log(edge.spec.name))?);
        Ok(())
    }

    /// The ledgers of all parts, by name.
    ///
    /// # Errors
    /// When a part does not answer.
    pub async fn ledgers(&self) -> io::Result<BTreeMap<String, Value>> {
        let mut ledgers = BTreeMap::new();
        for edge in &self.edges {
            ledgers.insert(edge.spec.name.to_owned(), self.admin.ledger(edge.spec.admin).await?);
        }
        ledgers.insert("router".to_owned(), self.admin.ledger(self.router_admin).await?);
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
        for edge in self.edges {
            if let Some(process) = edge.process {
                process.stop(STOP_DEADLINE).await?;
            }
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
