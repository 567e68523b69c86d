//! Runs one scenario: builds, sends, breaks, waits, counts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use federation_proto::identity::{Signal, TenantId};
use serde_json::Value;
use service::config::Span;
use service::shutdown::Shutdown;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::collector::Collector;
use super::damage;
use super::detour::{self, Detour, Detoured, Sender};
use super::net::{Break, Network};
use super::plant::{Plant, TENANTS, tier};
use super::report::{Measured, Outcome, Recovered};
use super::scenario::{Event, Fault, Moment, Mood, Scenario, Weather, What, timeline};
use super::site::Site;
use crate::load::tally::Tally;
use crate::load::{self, Compression, Ended, Plan, Protocol, Shape, Target};
use crate::progress::Progress;
use crate::stand::layout::Layout;
use crate::stand::ledger;
use crate::stand::process::Launch;
use crate::telemetry::RecordId;
use crate::verify::{self, Verdict, ack_log};

const DRAIN_DEADLINE: Duration = Duration::from_secs(120);
/// Longer than what a scenario may expect.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(180);
/// Senders make their requests first, which takes a while on a busy machine.
const FIRST_OK_DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
const ROWS_PER_REQUEST: u64 = 100;
const CONNECTIONS: u64 = 4;

/// A scenario on its way.
struct Lab<'a> {
    scenario: &'a Scenario,
    layout: Layout,
    network: Network,
    plant: Plant,
    collector: Option<Collector>,
    load: JoinSet<io::Result<Ended>>,
    senders: Vec<Sender>,
    detours: Vec<Detour>,
}

/// Runs it to its end.
///
/// # Errors
/// When something does not start or ends by itself. What does not hold is in the outcome.
pub(super) async fn run(scenario: &Scenario, seed: u64, dir: &Path, progress: &Progress) -> io::Result<Outcome> {
    let began = Instant::now();
    let layout = Layout::create(dir)?;
    let launch = Launch::of(&std::env::current_exe()?);
    let sites = scenario.sites();
    let network = Network::build(&sites, scenario.topology.rate.as_u64() * 8, &scenario.relays(), &launch).await?;
    let collector = if scenario.has_second_tier() { Some(Collector::start()?) } else { None };
    let plant = Plant::start(&layout, scenario, &launch).await?;
    let (load, senders, detours) = (JoinSet::new(), Vec::new(), Vec::new());
    let mut lab = Lab { scenario, layout, network, plant, collector, load, senders, detours };
    lab.send(seed)?;
    lab.until_all_send().await?;
    lab.faults(progress).await?;
    let recovered = lab.recovered().await?;
    while let Some(ended) = lab.load.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    progress.say(&format!("{}: senders are done; waiting until edges and tiers are empty", scenario.name));
    let mut measured = lab.finish().await?;
    (measured.recovered, measured.took) = (recovered, began.elapsed());
    Ok(measured.judge(scenario))
}

impl Lab<'_> {
    /// Starts a sender for each edge and tenant; each repeats what is not acknowledged, as SDKs do.
    fn send(&mut self, seed: u64) -> io::Result<()> {
        let load = self.scenario.load;
        let mut nth = 0;
        for (site, spec) in &self.plant.edges {
            for (tenant, token) in spec.tenants.iter().take(load.tenants) {
                nth += 1;
                let ack_log = self.layout.acknowledged().join(format!("{site}-{tenant}.log"));
                let known = TenantId::new(tenant).map_err(io::Error::other)?;
                let shape = Shape {
                    protocol: Protocol::Grpc,
                    signal: load.signal.into(),
                    rate: Some((load.rate / load.tenants as u64).max(1)),
                    connections: CONNECTIONS,
                    rows_per_request: ROWS_PER_REQUEST,
                    compression: Compression::None,
                    seed: seed.wrapping_mul(64).wrapping_add(nth),
                };
                let plan = Plan {
                    target: Target::new(&format!("http://{}", spec.grpc), shape.protocol, shape.compression, Some(token))?,
                    shape,
                    most: Duration::from_secs(load.seconds),
                    rows: None,
                    ack_log: Some(ack_log.clone()),
                    retry: true,
                    stop: Shutdown::new(),
                };
                let tally = Arc::new(Tally::default());
                self.senders.push(Sender { site: *site, tenant: known, ack_log, tally: Arc::clone(&tally) });
                self.load.spawn(load::run(plan, tally, None));
            }
        }
        Ok(())
    }

    /// A sender that finds nobody at its very first connect gives up: nothing breaks before each was told its first OK.
    async fn until_all_send(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + FIRST_OK_DEADLINE;
        while self.senders.iter().any(|sender| sender.tally.acknowledged_rows() == 0) {
            self.plant.still_running()?;
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("an edge acknowledged nothing for {FIRST_OK_DEADLINE:?}")));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Breaks and mends as the scenario says.
    async fn faults(&mut self, progress: &Progress) -> io::Result<()> {
        let began = Instant::now();
        for event in timeline(&self.scenario.faults) {
            self.look_until(began + event.at).await;
            let fault = self.scenario.faults[event.fault];
            if fault.times == 1 || event.moment == Moment::Begins {
                let moment = if event.moment == Moment::Begins { "begins" } else { "ends" };
                progress.say(&format!("{}: {moment}: {:?}", self.scenario.name, fault.what));
            }
            self.end_detour(fault, event)?;
            self.turn(fault, event).await?;
            if fault.around && event.moment == Moment::Begins {
                self.detours.push(Detour::begin(event.fault, fault, self.scenario, &self.senders));
            }
            self.plant.still_running()?;
            self.plant.look_at_memory();
        }
        Ok(())
    }

    /// Waits, and looks at edges that go round a fault.
    async fn look_until(&mut self, at: Instant) {
        while !self.detours.is_empty() && Instant::now() + POLL < at {
            for detour in &mut self.detours {
                detour.look(&self.plant, &self.senders).await;
            }
            sleep(POLL).await;
        }
        sleep_until(at).await;
    }

    fn end_detour(&mut self, fault: Fault, event: Event) -> io::Result<()> {
        if !fault.around || event.moment == Moment::Begins {
            return Ok(());
        }
        let folder = self.layout.dir.join("meanwhile").join(event.fault.to_string());
        let tiers = self.tiers();
        let ours = self.detours.iter_mut().filter(|detour| detour.fault == event.fault);
        ours.into_iter().try_for_each(|detour| detour.end(&tiers, &folder))
    }

    fn tiers(&self) -> Vec<PathBuf> {
        self.scenario.sites().into_iter().filter(|site| site.is_router()).map(|site| tier(&self.layout, site)).collect()
    }

    async fn turn(&mut self, fault: Fault, event: Event) -> io::Result<()> {
        let begins = event.moment == Moment::Begins;
        let link = |network: &Network, site, how| if begins { network.damage(site, how) } else { network.mend(site, how) };
        match fault.what {
            What::Cut(site) => link(&self.network, site, Break::Cut),
            What::BlockUdp(site) => link(&self.network, site, Break::NoUdp),
            What::Weather(site, weather) => {
                let clear = self.scenario.topology.weather.get(&site).copied().unwrap_or(Weather::CLEAR);
                self.network.set_weather(site, if begins { weather } else { clear }).await
            }
            What::Kill(site) if begins => {
                self.plant.kill(site).await?;
                if fault.lasts.is_none() { self.plant.start_again(site) } else { Ok(()) }
            }
            What::Restart(site) if begins => {
                self.plant.stop(site).await?;
                if fault.lasts.is_none() { self.plant.start_again(site) } else { Ok(()) }
            }
            What::Kill(site) | What::Restart(site) => self.plant.start_again(site),
            What::Fill(site) if begins => self.plant.disk(site)?.fill(),
            What::Fill(site) => self.plant.disk(site)?.empty(),
            What::Tier(mood) => self.mood(begins.then_some(mood)),
            What::Clock(site, offset) => self.plant.set_clock(site, if begins { offset } else { 0 }),
            What::Readdress(site) => self.network.readdress(site, begins),
            What::Revoke(site) if begins => self.plant.revoke(site),
            What::Revoke(site) => self.plant.issue(site, self.scenario.topology.certificate_days),
            What::Rotate(site, days) => self.plant.issue(site, days),
            What::Damage(site, how) => {
                self.plant.kill(site).await?;
                damage::damage(&self.plant.data(site), how)?;
                self.plant.start_again(site)
            }
        }
    }

    fn mood(&mut self, mood: Option<Mood>) -> io::Result<()> {
        self.collector.as_mut().map_or(Ok(()), |collector| collector.set(mood))
    }

    /// Waits until every edge has had an ack since now, and one of a batch that came since now, until its queue was down to what comes and
    /// goes, and, where there was a way round, until it is back.
    async fn recovered(&mut self) -> io::Result<Recovered> {
        let began = Instant::now();
        let sites: Vec<Site> = self.plant.edges.keys().copied().collect();
        let (mut before, mut moved, mut empty, mut home) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut ends, mut fresh) = (BTreeMap::new(), BTreeMap::new());
        let wanted = |expected: Option<Span>| if expected.is_some() { sites.len() } else { 0 };
        let (home_sites, fresh_sites) = (wanted(self.scenario.expect.home), wanted(self.scenario.expect.fresh));
        while began.elapsed() < RECOVERY_DEADLINE && (empty.len() < sites.len() || home.len() < home_sites || fresh.len() < fresh_sites) {
            for &site in &sites {
                let Some(ledger) = self.plant.ledger(site).await else { continue };
                if detour::is_home(&ledger) {
                    home.entry(site).or_insert_with(|| began.elapsed());
                } else {
                    home.remove(&site);
                }
                let shipped = ledger::sum(&ledger, "shipped");
                // An edge that has nothing left to send has nothing to recover from.
                if shipped > *before.entry(site).or_insert(shipped) || batches(&ledger) == 0 {
                    moved.entry(site).or_insert_with(|| began.elapsed());
                }
                if queue(&ledger, "acked_end") > *ends.entry(site).or_insert_with(|| queue(&ledger, "end")) {
                    fresh.entry(site).or_insert_with(|| began.elapsed());
                }
                if moved.contains_key(&site) && batches(&ledger) <= MOST_IN_PASSING {
                    empty.entry(site).or_insert_with(|| began.elapsed());
                }
            }
            self.plant.still_running()?;
            self.plant.look_at_memory();
            sleep(POLL).await;
        }
        let last = |times: &BTreeMap<Site, Duration>| if times.len() == sites.len() { times.values().max().copied() } else { None };
        let home = last(&home).filter(|_| home_sites > 0);
        Ok(Recovered { moved: last(&moved), fresh: last(&fresh), drained: last(&empty), home })
    }

    async fn finish(mut self) -> io::Result<Measured> {
        let ledgers = self.plant.drained(DRAIN_DEADLINE).await?;
        let edges: Vec<Site> = self.plant.edges.keys().copied().collect();
        let wire_bytes = self.network.carried(&edges)?;
        let sent_twice = self.plant.sent_twice().await;
        self.plant.end().await?;
        let ack_logs: Vec<_> = self.senders.iter().map(|sender| (sender.tenant.clone(), sender.ack_log.clone())).collect();
        let signals = verify::verify_all(&self.tiers(), &ack_logs)?;
        let detours = self.detours.iter().map(|detour| detour.judge(&self.senders, &self.layout.dir.join("meanwhile")));
        let detours: Vec<Detoured> = detours.collect::<io::Result<_>>()?;
        let missing = self.collector.as_ref().map(|collector| self.missing_at(collector)).transpose()?;
        let unbalanced = ledgers.iter().filter(|(_, ledger)| !ledger::balances(ledger) && !ledger::accounts(ledger).is_empty());
        Ok(Measured {
            total: Verdict::sum(signals.values()),
            dropped_counted: edges.iter().filter_map(|site| ledgers.get(site)).map(dropped).sum(),
            missing_at_collector: missing,
            queued: ledgers.values().map(ledger::queued).sum(),
            unbalanced: unbalanced.map(|(site, _)| site.to_string()).collect(),
            sent: self.senders.iter().map(|sender| sender.tally.sent_rows()).sum(),
            sent_twice,
            detours,
            recovered: Recovered::default(),
            peaks: self.plant.peaks().iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect(),
            wire_bytes,
            took: Duration::ZERO,
            dir: self.layout.dir.clone(),
        })
    }

    /// Acknowledged spans and log records that the second tier's endpoint never said OK to.
    fn missing_at(&self, collector: &Collector) -> io::Result<u64> {
        let (ids, mut missing) = (collector.ids(), 0);
        for sender in &self.senders {
            ack_log::read(&sender.ack_log, |signal, id| {
                let RecordId::Span(id) = id else { return };
                missing += u64::from(signal != Signal::Metrics && !ids.contains(&id));
            })?;
        }
        Ok(missing)
    }
}

/// Batches that are on an edge's disk at any moment though nothing holds them up: one or two of each tenant and signal.
const MOST_IN_PASSING: u64 = 2 * 3 * TENANTS.len() as u64;

fn batches(ledger: &Value) -> u64 {
    queue(ledger, "batches")
}

fn queue(ledger: &Value, key: &str) -> u64 {
    ledger["queue"][key].as_u64().unwrap_or(u64::MAX)
}

/// Rows that an edge counts as dropped, for whatever reason.
fn dropped(ledger: &Value) -> u64 {
    let reasons = ledger::accounts(ledger).into_iter().filter_map(|account| account.get("dropped"));
    reasons.map(|dropped| dropped.as_object().map_or(0, |by| by.values().filter_map(Value::as_u64).sum())).sum()
}
