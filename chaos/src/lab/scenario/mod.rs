//! A scenario: what stands there, what is sent, what breaks when, and what must hold. Files in `chaos/scenarios/`, YAML.
//!
//! ```yaml
//! about: what it shows, in a line
//! topology:                          # all of it optional
//!   edges: [west, east, kvm]         # hosts with an edge; default: west
//!   routers: 2                       # r1, or r1 and r2, which edges take in this order; default 1
//!   rate: 10Mbit/s                   # of each edge's link, both ways
//!   weather: {west: {delay: 75ms, loss_percent: 1}}   # one way, on both ways, all the time
//!   disks: {west: 48MiB}             # hosts whose data lies on a small disk
//!   certificate_days: 365            # of the edges' certificates
//!   agent: false                     # an agent on kvm
//!   edge: "…"                        # more lines of every edge's configuration
//!   router: "…"                      # more lines of every router's
//! load: {rate: 1000, seconds: 60, tenants: 1, signal: mixed}    # of each edge; rows a second in all, same for each tenant
//! faults:                            # each says when, for how long if it is undone, and one thing
//!   - {at: 10s, for: 1m, cut: west}
//!   - {at: 80s, for: 9s, around: true, kill: r1}    # edges must go round it while it lasts
//! quick: 0.25                        # with --quick all times are so much shorter; left out: not in the quick half
//! expect: {recovery: 5s, rss: 160MiB}   # these two, and detour, home and meanwhile_percent where something is gone round; lost 0 and
//! ```                                   # doubled 0 need not be said
//!
//! At most as many rows may lie at both routers as the edges counted themselves, of batches that they sent whole to both.
//!
//! Bounds: [`MAX_SECONDS`] of load, [`MAX_FAULTS`] faults.

pub mod library;
mod raw;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use service::config::Span;

pub use raw::{Expect, HowDamaged, Load, Mood, Raw, Sent, Topology};
pub use timeline::{Event, Moment, timeline};

use super::site::Site;

/// Longest load of a scenario.
pub const MAX_SECONDS: u64 = 3_600;
/// Most faults of a scenario.
pub const MAX_FAULTS: usize = 100;

/// Delay and loss of a link, each way.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weather {
    /// One way, so half of what a round trip gains.
    #[serde(default)]
    pub delay: Span,
    /// Packets lost at random, in percent.
    #[serde(default)]
    pub loss_percent: f64,
}

impl Weather {
    /// Neither.
    pub const CLEAR: Self = Self { delay: Span(Duration::ZERO), loss_percent: 0.0 };
}

/// A thing that breaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// The link of a host: nothing passes.
    Cut(Site),
    /// The link of a host: no UDP passes.
    BlockUdp(Site),
    /// Delay and loss on the link of an edge.
    Weather(Site, Weather),
    /// `kill -9` of a host's part; started again at the end.
    Kill(Site),
    /// SIGTERM and a start, as a new version is rolled out.
    Restart(Site),
    /// A host's small disk is filled by something else.
    Fill(Site),
    /// The second tier, an OTLP endpoint, is not well.
    Tier(Mood),
    /// A host's time of day is wrong by so many seconds.
    Clock(Site, i64),
    /// The host gets another address.
    Readdress(Site),
    /// The edge is taken off the routers' allow-list.
    Revoke(Site),
    /// The edge gets a new certificate for so many days.
    Rotate(Site, u32),
    /// The part is killed, its data damaged, and it is started again.
    Damage(Site, HowDamaged),
}

/// A fault: what, from when, until when, and how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// After the load began.
    pub at: Duration,
    /// How long; none: it stays, or is over at once.
    pub lasts: Option<Duration>,
    /// So many times, this far apart.
    pub times: u32,
    /// From one time to the next.
    pub every: Duration,
    /// Edges must go round it while it lasts: to the other router, or over TCP.
    pub around: bool,
    /// What breaks.
    pub what: What,
}

/// A scenario that can be run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file's name without `.yaml`.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// What stands there.
    pub topology: Topology,
    /// What is sent.
    pub load: Load,
    /// What breaks.
    pub faults: Vec<Fault>,
    /// How much shorter its quick form is; none: there is none.
    pub quick: Option<f64>,
    /// What must hold.
    pub expect: Expect,
}

impl Scenario {
    /// Hosts with an edge, then those with a router.
    #[must_use]
    pub fn sites(&self) -> Vec<Site> {
        let routers = [Site::R1, Site::R2].into_iter().take(self.topology.routers);
        self.topology.edges.iter().copied().chain(routers).collect()
    }

    /// Links that need a relay, with what it does at the start.
    #[must_use]
    pub fn relays(&self) -> BTreeMap<Site, Weather> {
        let later = self
            .faults
            .iter()
            .filter_map(|fault| if let What::Weather(site, _) = fault.what { Some((site, Weather::CLEAR)) } else { None });
        later.chain(self.topology.weather.iter().map(|(&site, &weather)| (site, weather))).collect()
    }

    /// Hosts whose clock is changed.
    #[must_use]
    pub fn clocks(&self) -> BTreeSet<Site> {
        self.faults.iter().filter_map(|fault| if let What::Clock(site, _) = fault.what { Some(site) } else { None }).collect()
    }

    /// Does it need the second tier?
    #[must_use]
    pub fn has_second_tier(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.what, What::Tier(_)))
    }

    /// With all times shorter by that factor.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.load.seconds = (self.load.seconds as f64 * factor).ceil() as u64;
        for fault in &mut self.faults {
            fault.at = fault.at.mul_f64(factor);
            fault.lasts = fault.lasts.map(|lasts| if fault.times > 1 { lasts } else { lasts.mul_f64(factor) });
            fault.times = ((f64::from(fault.times) * factor).ceil() as u32).max(1);
        }
        self
    }
}

#[cfg(test)]
mod tests;
