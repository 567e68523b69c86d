//! The parts on their hosts: certificates, configurations, processes, small disks.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use central_router::edges::Edges;
use central_router::pki::{self, IssueOptions};
use federation_proto::identity::{EdgeName, TenantId};
use serde_json::Value;
use service::admin::client::Client;
use tokio::time::{Instant, sleep};

use super::collector::PORT as COLLECTOR_PORT;
use super::disk::SmallDisk;
use super::net;
use super::scenario::Scenario;
use super::site::Site;
use crate::part::Role;
use crate::stand::admin::Admin;
use crate::stand::layout::{self, EdgeSpec, Layout};
use crate::stand::part::Part;
use crate::stand::process::Launch;
use crate::stand::{ledger, make_certificates};
use crate::usage;

/// Tenants of a scenario: so many of these.
pub(super) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const GRPC: u16 = 4317;
const HTTP: u16 = 4318;
const ADMIN: u16 = 9464;
const AGENT_ADMIN: u16 = 9465;
const QUIC: u16 = 4433;
const READY_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);
/// Interposes on what asks for the time of day; Debian's `libfaketime` has it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// Prompt, so that recovery is measured and not the wait for a batch to fill; small segments, so that faults also fall into their change.
const EDGE: &str = "spool: {budget: 1GiB, segment: 4MiB}\n";
/// Home again within the scenario, not half a minute or a minute later.
const SHIP: &str = "ship:\n  return_after: 5s\n  quic_retry: 5s\n";
const ROUTER: &str = "journal: {budget: 1GiB, segment: 4MiB}\n";
const TIER: &str = "flush_interval: 500ms";

/// What stands.
pub(super) struct Plant {
    layout: Layout,
    parts: BTreeMap<Site, Part>,
    agent: Option<Part>,
    disks: BTreeMap<Site, SmallDisk>,
    /// Edges with their senders' addresses.
    pub(super) edges: BTreeMap<Site, EdgeSpec>,
    peaks: BTreeMap<&'static str, u64>,
    /// Rows that edges sent whole to two routers: of processes that have ended, and of those that run.
    sent_twice: BTreeMap<Site, (u64, u64)>,
}

impl Plant {
    /// Makes certificates and configurations and starts every part on its host; waits until all are ready.
    pub(super) async fn start(layout: &Layout, scenario: &Scenario, launch: &Launch) -> io::Result<Self> {
        let (mut edges, mut disks, mut parts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for &site in &scenario.topology.edges {
            edges.insert(site, edge_spec(site));
        }
        let specs: Vec<EdgeSpec> = edges.values().cloned().collect();
        make_certificates(layout, &specs)?;
        // Before an edge starts that would find half of it.
        if scenario.topology.certificate_days != pki::LEAF_DAYS {
            edges.iter().try_for_each(|(&site, spec)| issue(layout, site, spec, scenario.topology.certificate_days))?;
        }
        for (&site, size) in &scenario.topology.disks {
            disks.insert(site, SmallDisk::mount(&layout.data(site.as_str()), size.as_u64())?);
        }
        let sites = scenario.sites();
        let routers: Vec<SocketAddr> =
            sites.iter().filter(|site| site.is_router()).map(|site| (site.address(false), QUIC).into()).collect();
        for site in sites.into_iter().rev() {
            let launch = with_clock(layout, scenario, site, net::on(site, launch))?;
            let (role, yaml) = match edges.get(&site) {
                Some(spec) => (Role::Edge, edge_yaml(layout, scenario, spec, &routers)),
                None => (Role::Router, router_yaml(layout, scenario, site)),
            };
            parts.insert(site, Part::start(layout, &launch, (role, site.as_str()), site.control(ADMIN), &yaml)?);
        }
        let mut plant =
            Self { layout: layout.clone(), parts, agent: None, disks, edges, peaks: BTreeMap::new(), sent_twice: BTreeMap::new() };
        plant.until_ready().await?;
        if scenario.topology.agent {
            plant.start_agent(launch)?;
        }
        Ok(plant)
    }

    fn start_agent(&mut self, launch: &Launch) -> io::Result<()> {
        let token = self.edges[&Site::Kvm].tenants.first().map_or("", |(_, token)| token.as_str());
        let yaml = layout::agent_yaml(Site::Kvm.control(GRPC), token, Site::Kvm.control(AGENT_ADMIN));
        let launch = net::on(Site::Kvm, launch);
        self.agent = Some(Part::start(&self.layout, &launch, (Role::Agent, "agent"), Site::Kvm.control(AGENT_ADMIN), &yaml)?);
        Ok(())
    }

    async fn until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        for (site, part) in &mut self.parts {
            while !Admin.ready(part.admin).await {
                part.still_running()?;
                if Instant::now() > deadline {
                    let why = format!("{site} is not ready after {READY_DEADLINE:?}: see {}", part.log().display());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    fn part(&mut self, site: Site) -> io::Result<&mut Part> {
        self.parts.get_mut(&site).ok_or_else(|| io::Error::other(format!("{site} does not stand")))
    }

    /// `kill -9`; it stays down until [`Plant::start_again`].
    pub(super) async fn kill(&mut self, site: Site) -> io::Result<()> {
        self.last_look(site).await;
        match self.part(site)?.take() {
            Some(process) => process.kill_9().await,
            None => Ok(()),
        }
    }

    /// Starts a part that is down on its disk as it is.
    pub(super) fn start_again(&mut self, site: Site) -> io::Result<()> {
        self.part(site)?.start_again()
    }

    /// SIGTERM, and the wait for its end.
    pub(super) async fn stop(&mut self, site: Site) -> io::Result<()> {
        self.last_look(site).await;
        self.part(site)?.stop(STOP_DEADLINE).await
    }

    /// Before the process ends that knows.
    async fn last_look(&mut self, site: Site) {
        self.look_at_memory();
        self.look_at_doubles().await;
        if let Some((ended, running)) = self.sent_twice.get_mut(&site) {
            *ended += std::mem::take(running);
        }
    }

    async fn look_at_doubles(&mut self) {
        for site in self.edges.keys().copied().collect::<Vec<_>>() {
            let Some(status) = self.status(site).await else { continue };
            let rows = status.pointer("/link/possibly_doubled_rows").and_then(Value::as_u64).unwrap_or_default();
            self.sent_twice.entry(site).or_default().1 = rows;
        }
    }

    /// Rows that edges counted as sent whole to one router and then, for want of a verdict, to another: as many may lie at both.
    pub(super) async fn sent_twice(&mut self) -> u64 {
        self.look_at_doubles().await;
        self.sent_twice.values().map(|(ended, running)| ended + running).sum()
    }

    /// A host's small disk.
    pub(super) fn disk(&self, site: Site) -> io::Result<&SmallDisk> {
        self.disks.get(&site).ok_or_else(|| io::Error::other(format!("{site} has no small disk")))
    }

    /// Where a host's part keeps its data.
    pub(super) fn data(&self, site: Site) -> PathBuf {
        self.layout.data(site.as_str())
    }

    /// Sets a host's time of day so many seconds off; within a second it is.
    pub(super) fn set_clock(&self, site: Site, offset_s: i64) -> io::Result<()> {
        std::fs::write(clock_file(&self.layout, site), format!("{offset_s:+}"))
    }

    /// What `pki issue --force` does: a new certificate, and the edge is on the list of all routers.
    pub(super) fn issue(&self, site: Site, days: u32) -> io::Result<()> {
        let spec = self.edges.get(&site).ok_or_else(|| io::Error::other(format!("{site} has no edge")))?;
        issue(&self.layout, site, spec, days)
    }

    /// Takes an edge off the list.
    pub(super) fn revoke(&self, site: Site) -> io::Result<()> {
        let path = pki::edges_file(&self.layout.pki());
        let mut edges = Edges::load(&path).map_err(io::Error::other)?;
        edges.edges.remove(&edge_name(site)?);
        std::fs::write(path, edges.to_yaml())
    }

    /// An error when a part that should run has ended.
    pub(super) fn still_running(&mut self) -> io::Result<()> {
        self.parts.values_mut().chain(&mut self.agent).try_for_each(Part::still_running)
    }

    /// Remembers how much memory each process has had at most.
    pub(super) fn look_at_memory(&mut self) {
        for part in self.parts.values().chain(&self.agent) {
            // A process that has just ended has no peak any more.
            let peak = part.id().and_then(|id| usage::peak_memory(id).ok()).unwrap_or_default();
            let most = self.peaks.entry(part.name).or_default();
            *most = (*most).max(peak);
        }
    }

    /// Peaks so far, in bytes.
    pub(super) fn peaks(&self) -> &BTreeMap<&'static str, u64> {
        &self.peaks
    }

    /// The ledger of a part that answers.
    pub(super) async fn ledger(&self, site: Site) -> Option<Value> {
        Admin.ledger(self.parts.get(&site)?.admin).await.ok()
    }

    /// What a part that answers says of itself.
    pub(super) async fn status(&self, site: Site) -> Option<Value> {
        Client::new(self.parts.get(&site)?.admin).json("/status").await.ok()
    }

    /// Waits until no edge and no tier has a row queued, or the time is over; the ledgers as they are then.
    pub(super) async fn drained(&mut self, within: Duration) -> io::Result<BTreeMap<Site, Value>> {
        let deadline = Instant::now() + within;
        loop {
            self.still_running()?;
            self.look_at_memory();
            let mut ledgers = BTreeMap::new();
            for &site in self.parts.keys() {
                ledgers.extend(self.ledger(site).await.map(|ledger| (site, ledger)));
            }
            let all = ledgers.len() == self.parts.len();
            if all && ledgers.values().all(|ledger| ledger::queued(ledger) == 0) || Instant::now() > deadline {
                return Ok(ledgers);
            }
            sleep(POLL).await;
        }
    }

    /// Ends every part by SIGTERM, edges first.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        if let Some(mut agent) = self.agent.take() {
            agent.stop(STOP_DEADLINE).await?;
        }
        for part in self.parts.values_mut() {
            part.stop(STOP_DEADLINE).await?;
        }
        Ok(())
    }
}

fn issue(layout: &Layout, site: Site, spec: &EdgeSpec, days: u32) -> io::Result<()> {
    let tenants = spec.tenants.iter().map(|(tenant, _)| TenantId::new(tenant)).collect::<Result<_, _>>().map_err(io::Error::other)?;
    let options = IssueOptions { edge: edge_name(site)?, tenants, days, force: true };
    pki::issue(&layout.pki(), &options).map(drop).map_err(io::Error::other)
}

fn edge_name(site: Site) -> io::Result<EdgeName> {
    EdgeName::new(site.as_str()).map_err(io::Error::other)
}

fn edge_spec(site: Site) -> EdgeSpec {
    let tenants = TENANTS.iter().map(|&tenant| (tenant, format!("token-of-{tenant}"))).collect();
    let (grpc, http, admin) = (site.control(GRPC), site.control(HTTP), site.control(ADMIN));
    EdgeSpec { name: site.as_str(), region: site.region(), tenants, grpc, http, admin }
}

fn edge_yaml(layout: &Layout, scenario: &Scenario, spec: &EdgeSpec, routers: &[SocketAddr]) -> String {
    let yaml = layout::edge_yaml_to(layout, spec, routers).replace("batch: {age: 2s}", "batch: {age: 500ms}").replace("ship:\n", SHIP);
    yaml + &with_default(&scenario.topology.edge, "spool:", EDGE)
}

fn router_yaml(layout: &Layout, scenario: &Scenario, site: Site) -> String {
    let (part, tier) = (site.as_str(), tier(layout, site));
    let listen = (site.address(false), QUIC).into();
    let mut yaml = layout::router_yaml_at(layout, (part, &tier), (listen, site.control(ADMIN)), TIER);
    if scenario.has_second_tier() {
        yaml.push_str(&format!("  collector:\n    otlp: {{endpoint: \"http://{}:{COLLECTOR_PORT}\"}}\n", site.lab()));
    }
    yaml + &with_default(&scenario.topology.router, "journal:", ROUTER)
}

/// The scenario's lines, and ours unless it has that key itself.
fn with_default<'a>(lines: &'a str, key: &str, ours: &'a str) -> String {
    if lines.contains(key) { lines.to_owned() } else { format!("{lines}\n{ours}") }
}

/// Where a router's local tier is.
pub(super) fn tier(layout: &Layout, site: Site) -> PathBuf {
    layout.tier().join(site.as_str())
}

fn clock_file(layout: &Layout, site: Site) -> PathBuf {
    layout.config().join(format!("{site}.clock"))
}

/// A part whose time of day the scenario changes asks a library of ours, which reads the offset from a file.
fn with_clock(layout: &Layout, scenario: &Scenario, site: Site, launch: Launch) -> io::Result<Launch> {
    if !scenario.clocks().contains(&site) {
        return Ok(launch);
    }
    if !std::path::Path::new(FAKETIME).exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{FAKETIME} is not there: install the package libfaketime")));
    }
    let file = clock_file(layout, site);
    std::fs::write(&file, "+0")?;
    // Only the time of day: what decides goes by the monotonic clock.
    let launch = launch.with("LD_PRELOAD", FAKETIME).with("FAKETIME_TIMESTAMP_FILE", file);
    Ok(launch.with("FAKETIME_CACHE_DURATION", "1").with("FAKETIME_DONT_FAKE_MONOTONIC", "1").with("NO_FAKE_STAT", "1"))
}
