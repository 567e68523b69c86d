//! The file as written, and the checks that make a [`Scenario`] of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use service::config::{ByteSize, Invalid, Rate, Span};

use super::{Fault, MAX_FAULTS, MAX_SECONDS, Scenario, Weather, What};
use crate::lab::site::Site;
use crate::load::SignalChoice;

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    about: String,
    #[serde(default)]
    topology: Topology,
    load: Load,
    #[serde(default)]
    faults: Vec<RawFault>,
    #[serde(default)]
    quick: Option<f64>,
    expect: Expect,
}

/// What stands there; see the module above.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// Hosts with an edge.
    pub edges: Vec<Site>,
    /// One or two.
    pub routers: usize,
    /// Of each edge's link.
    pub rate: Rate,
    /// Delay and loss of edges' links from the start.
    pub weather: BTreeMap<Site, Weather>,
    /// Hosts with a small disk, and its size.
    pub disks: BTreeMap<Site, ByteSize>,
    /// Lifetime of the edges' certificates.
    pub certificate_days: u32,
    /// An agent on `kvm`.
    pub agent: bool,
    /// More lines of every edge's configuration.
    pub edge: String,
    /// More lines of every router's configuration.
    pub router: String,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            edges: vec![Site::West],
            routers: 1,
            rate: Rate(1_250_000),
            weather: BTreeMap::new(),
            disks: BTreeMap::new(),
            certificate_days: 365,
            agent: false,
            edge: String::new(),
            router: String::new(),
        }
    }
}

/// What is sent to each edge.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Rows a second over all tenants.
    pub rate: u64,
    /// How long.
    pub seconds: u64,
    /// One to three.
    #[serde(default = "one")]
    pub tenants: usize,
    /// Which signals.
    #[serde(default)]
    pub signal: Sent,
}

fn one() -> usize {
    1
}

/// Which signals are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sent {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
    /// All three.
    #[default]
    Mixed,
}

impl From<Sent> for SignalChoice {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Traces => Self::Traces,
            Sent::Logs => Self::Logs,
            Sent::Metrics => Self::Metrics,
            Sent::Mixed => Self::Mixed,
        }
    }
}

/// What must hold.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Acknowledged rows that may be missing when the edges' ledgers count as many as dropped: only where a disk was damaged.
    #[serde(default)]
    pub lost_if_counted: bool,
    /// From the end of the last fault until every edge was told of a batch that it is on a router's journal.
    pub recovery: Span,
    /// From the end of the last fault until every edge was told so of a batch that was made since then; not waited for unless it is said.
    #[serde(default)]
    pub fresh: Option<Span>,
    /// From the end of the last fault until nothing that waited during it is on an edge's disk.
    #[serde(default = "a_minute")]
    pub drained: Span,
    /// From the beginning of a fault that edges go round until each was told of a batch that it is on a journal, by the other way.
    #[serde(default)]
    pub detour: Option<Span>,
    /// Of the rows that senders were told OK for in the first half of such a fault: the share that is in a tier before it ends.
    #[serde(default)]
    pub meanwhile_percent: Option<f64>,
    /// From the end of the last fault until every edge is at the router that it prefers again, over QUIC.
    #[serde(default)]
    pub home: Option<Span>,
    /// Peak of resident memory of each process.
    pub rss: ByteSize,
    /// Share of the load's rows that must have been acknowledged to the senders, in percent.
    #[serde(default = "half")]
    pub acknowledged_percent: f64,
}

fn a_minute() -> Span {
    Span::from_secs(60)
}

fn half() -> f64 {
    50.0
}

/// How the OTLP endpoint behind the second tier behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mood {
    /// Takes a second for each request.
    Slow,
    /// Answers UNAVAILABLE.
    Refusing,
    /// Nobody listens.
    Down,
}

/// What happens to the files of a spool while its edge is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HowDamaged {
    /// Bytes in the middle of the oldest segment are other ones.
    Flipped,
    /// The newest segment ends early.
    Truncated,
    /// The index is garbage.
    Index,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFault {
    at: Span,
    #[serde(default, rename = "for")]
    lasts: Option<Span>,
    #[serde(default)]
    times: Option<u32>,
    #[serde(default)]
    every: Option<Span>,
    #[serde(default)]
    around: bool,
    #[serde(default)]
    cut: Option<Site>,
    #[serde(default)]
    block_udp: Option<Site>,
    #[serde(default)]
    weather: Option<RawWeather>,
    #[serde(default)]
    kill: Option<Site>,
    #[serde(default)]
    restart: Option<Site>,
    #[serde(default)]
    fill: Option<Site>,
    #[serde(default)]
    tier: Option<Mood>,
    #[serde(default)]
    clock: Option<RawClock>,
    #[serde(default)]
    readdress: Option<Site>,
    #[serde(default)]
    revoke: Option<Site>,
    #[serde(default)]
    rotate: Option<RawRotate>,
    #[serde(default)]
    damage: Option<RawDamage>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWeather {
    of: Site,
    #[serde(default)]
    delay: Span,
    #[serde(default)]
    loss_percent: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClock {
    of: Site,
    offset: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRotate {
    of: Site,
    days: u32,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDamage {
    of: Site,
    how: HowDamaged,
}

impl Raw {
    /// Checks it.
    ///
    /// # Errors
    /// The key, what is wrong, what is expected.
    pub fn check(self, name: &str) -> Result<Scenario, Invalid> {
        let Self { about, topology, load, faults, quick, expect } = self;
        check_topology(&topology)?;
        if !(1..=MAX_SECONDS).contains(&load.seconds) {
            return Err(Invalid::new("load.seconds", format!("{}: expected 1 to {MAX_SECONDS}", load.seconds)));
        }
        if !(1..=3).contains(&load.tenants) || !(100..=100_000).contains(&load.rate) {
            return Err(Invalid::new("load", "expected 1 to 3 tenants and 100 to 100000 rows a second"));
        }
        if faults.len() > MAX_FAULTS || quick.is_some_and(|factor| !(0.01..=1.0).contains(&factor)) {
            return Err(Invalid::new("faults", format!("expected at most {MAX_FAULTS} of them, and quick between 0.01 and 1")));
        }
        let checked = faults.into_iter().enumerate().map(|(nth, fault)| fault.check(&format!("faults[{nth}]"), &topology));
        let faults = checked.collect::<Result<Vec<_>, _>>()?;
        let said = [expect.detour.is_some(), expect.meanwhile_percent.is_some(), expect.home.is_some()];
        if said != [faults.iter().any(|fault| fault.around); 3] {
            return Err(Invalid::new("expect", "expected detour, meanwhile_percent and home exactly where a fault is `around`"));
        }
        let scenario = Scenario { name: name.to_owned(), about, topology, load, faults, quick, expect };
        let last = super::timeline(&scenario.faults).last().map_or(Duration::ZERO, |event| event.at);
        if last >= Duration::from_secs(load.seconds) {
            return Err(Invalid::new("load.seconds", format!("the last fault ends after {last:?}: expected the load to go on behind it")));
        }
        Ok(scenario)
    }
}

fn check_topology(topology: &Topology) -> Result<(), Invalid> {
    if topology.edges.is_empty() || topology.edges.iter().any(|site| site.is_router()) {
        return Err(Invalid::new("topology.edges", "expected some of west, east, kvm"));
    }
    if !(1..=2).contains(&topology.routers) {
        return Err(Invalid::new("topology.routers", "expected 1 or 2"));
    }
    if topology.agent && !topology.edges.contains(&Site::Kvm) {
        return Err(Invalid::new("topology.agent", "the agent is on kvm: expected kvm among topology.edges"));
    }
    match topology.weather.keys().find(|site| !topology.edges.contains(site)) {
        Some(site) => Err(Invalid::new(format!("topology.weather.{site}"), "expected one of topology.edges")),
        None => Ok(()),
    }
}

impl RawFault {
    fn check(self, key: &str, topology: &Topology) -> Result<Fault, Invalid> {
        let clock = self.clock.map(|clock| offset_seconds(&clock.offset).map(|seconds| What::Clock(clock.of, seconds)));
        let clock = clock.transpose().map_err(|error| Invalid::new(format!("{key}.clock.offset"), error))?;
        let said = [
            self.cut.map(What::Cut),
            self.block_udp.map(What::BlockUdp),
            self.weather.map(|of| What::Weather(of.of, Weather { delay: of.delay, loss_percent: of.loss_percent })),
            self.kill.map(What::Kill),
            self.restart.map(What::Restart),
            self.fill.map(What::Fill),
            self.tier.map(What::Tier),
            clock,
            self.readdress.map(What::Readdress),
            self.revoke.map(What::Revoke),
            self.rotate.map(|of| What::Rotate(of.of, of.days)),
            self.damage.map(|of| What::Damage(of.of, of.how)),
        ];
        let mut said = said.into_iter().flatten();
        let (Some(what), None) = (said.next(), said.next()) else {
            return Err(Invalid::new(key, "expected exactly one thing that breaks, such as cut: west"));
        };
        if let Some(site) = what.site() {
            let stands = topology.edges.contains(&site) || site == Site::R1 || (site == Site::R2 && topology.routers == 2);
            if !stands {
                return Err(Invalid::new(key, format!("{site} does not stand in topology")));
            }
        }
        if matches!(what, What::Fill(site) if !topology.disks.contains_key(&site)) {
            return Err(Invalid::new(key, "only a small disk can be filled: expected it in topology.disks"));
        }
        let lasts = self.lasts.map(Span::as_duration);
        let every = self.every.map_or(Duration::ZERO, Span::as_duration);
        let times = self.times.unwrap_or(1);
        if times > 1 && every <= lasts.unwrap_or_default() {
            return Err(Invalid::new(format!("{key}.every"), "expected more than `for`"));
        }
        let can_go_round = topology.routers == 2 && what.site().is_some_and(Site::is_router) || matches!(what, What::BlockUdp(_));
        if self.around && !(can_go_round && lasts.is_some() && times == 1) {
            return Err(Invalid::new(
                format!("{key}.around"),
                "expected one fault with `for`, of one of two routers, or that blocks UDP: nothing else can be gone round",
            ));
        }
        Ok(Fault { at: self.at.as_duration(), lasts, times: times.max(1), every, around: self.around, what })
    }
}

impl What {
    /// The host it hits.
    #[must_use]
    pub fn site(self) -> Option<Site> {
        match self {
            Self::Cut(site)
            | Self::BlockUdp(site)
            | Self::Weather(site, _)
            | Self::Kill(site)
            | Self::Restart(site)
            | Self::Fill(site)
            | Self::Clock(site, _)
            | Self::Readdress(site)
            | Self::Revoke(site)
            | Self::Rotate(site, _)
            | Self::Damage(site, _) => Some(site),
            Self::Tier(_) => None,
        }
    }
}

/// `+1h`, `-90s`.
fn offset_seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?}: expected a sign and a time, such as +1h or -90s");
    let (sign, span) = text.strip_prefix('+').map(|span| (1, span)).or_else(|| Some((-1, text.strip_prefix('-')?))).ok_or_else(wrong)?;
    let seconds = span.parse::<Span>().map_err(|_| wrong())?.as_duration().as_secs();
    i64::try_from(seconds).map(|seconds| sign * seconds).map_err(|_| wrong())
}
