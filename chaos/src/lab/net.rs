//! The wide area network: a namespace for each host, links of a set rate through one in the middle, and what breaks on them.
//!
//! ```text
//! west ─up0──────────────w-west─ wan ─w-r1──up0─ r1          tbf on both ends of an edge's link
//! kvm ──up0─ry0 x-kvm ry1─w-kvm─┘                            x-: a relay, where a scenario wants delay or loss
//! lab ─m-west──mgmt0─ west                                   senders and admin endpoints; no fault touches these
//! ```
//!
//! A cut drops packets in the middle and tells nobody, as a dead route does; so does a firewall that blocks UDP.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};

use super::command::{run, run_words};
use super::scenario::Weather;
use super::site::Site;
use crate::stand::process::Launch;

const RULES: &str = "table inet lab {
  set cut { type ifname; }
  set no_udp { type ifname; }
  chain passing {
    type filter hook forward priority 0;
    iifname @cut drop
    oifname @cut drop
    iifname @no_udp meta l4proto udp drop
    oifname @no_udp meta l4proto udp drop
  }
}";

/// The built network; its namespaces go with the lab's process.
pub(super) struct Network {
    relays: BTreeMap<Site, Relay>,
}

struct Relay {
    _process: Child,
    orders: ChildStdin,
}

/// Bytes on the edges' links, Ethernet frames and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireBytes {
    /// From the edges.
    pub up: u64,
    /// To the edges.
    pub down: u64,
}

/// A way to break a link that is undone by its opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// Nothing passes.
    Cut,
    /// No UDP passes.
    NoUdp,
}

impl Break {
    fn set(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::NoUdp => "no_udp",
        }
    }
}

impl Network {
    /// Makes the hosts and links. `rate_bits` is that of edges' links, in bits a second; `relays`: links with delay and loss.
    pub(super) async fn build(sites: &[Site], rate_bits: u64, relays: &BTreeMap<Site, Weather>, launch: &Launch) -> io::Result<Self> {
        namespace("wan")?;
        inside("wan", "sysctl -qw net.ipv4.ip_forward=1")?;
        run_words(&["ip", "netns", "exec", "wan", "nft", RULES])?;
        let mut network = Self { relays: BTreeMap::new() };
        for &site in sites {
            namespace(site.as_str())?;
            if let Some(weather) = relays.get(&site) {
                let relay = Relay::start(site, launch).await?;
                network.relays.insert(site, relay);
                network.set_weather(site, *weather).await?;
            } else {
                run(&format!("ip link add name up0 netns {site} type veth peer name w-{site} netns wan"))?;
            }
            connect(site, rate_bits)?;
        }
        Ok(network)
    }

    /// From now on this link has that delay and loss.
    pub(super) async fn set_weather(&mut self, site: Site, weather: Weather) -> io::Result<()> {
        let relay = self.relays.get_mut(&site).ok_or_else(|| io::Error::other(format!("{site}: its link has no relay")))?;
        let order = format!("{} {}\n", weather.delay.as_duration().as_micros(), (weather.loss_percent * 1e4).round() as u64);
        relay.orders.write_all(order.as_bytes()).await?;
        relay.orders.flush().await
    }

    /// Breaks the link of a host.
    pub(super) fn damage(&self, site: Site, how: Break) -> io::Result<()> {
        in_wan(&format!("add element inet lab {} {{ \"w-{site}\" }}", how.set()))
    }

    /// Undoes it.
    pub(super) fn mend(&self, site: Site, how: Break) -> io::Result<()> {
        in_wan(&format!("delete element inet lab {} {{ \"w-{site}\" }}", how.set()))
    }

    /// Gives a host its other address, or its first one back. Its old one is gone at once.
    pub(super) fn readdress(&self, site: Site, other: bool) -> io::Result<()> {
        run(&format!("ip -n {site} address flush dev up0"))?;
        address(site, other)
    }

    /// What the edges' links carried so far.
    pub(super) fn carried(&self, edges: &[Site]) -> io::Result<WireBytes> {
        let mut bytes = WireBytes::default();
        for site in edges {
            let text = run(&format!("ip -n wan -j -s link show dev w-{site}"))?;
            let links: serde_json::Value = serde_json::from_str(&text)?;
            let count =
                |way: &str| links.pointer(&format!("/0/stats64/{way}/bytes")).and_then(serde_json::Value::as_u64).unwrap_or_default();
            bytes.up += count("rx");
            bytes.down += count("tx");
        }
        Ok(bytes)
    }
}

impl Relay {
    /// Makes the namespace in the middle of the link, and starts the relay there.
    async fn start(site: Site, launch: &Launch) -> io::Result<Self> {
        let middle = format!("x-{site}");
        namespace(&middle)?;
        run(&format!("ip link add name up0 netns {site} type veth peer name ry0 netns {middle}"))?;
        run(&format!("ip link add name ry1 netns {middle} type veth peer name w-{site} netns wan"))?;
        for interface in ["ry0", "ry1"] {
            run(&format!("ip -n {middle} link set dev {interface} up"))?;
        }
        // What the relay passes on must be whole: no segments to be cut, no checksums to be filled in by a card that is not there.
        for (namespace, interface) in [(site.as_str(), "up0".to_owned()), ("wan", format!("w-{site}"))] {
            inside(namespace, &format!("ethtool -K {interface} tso off gso off gro off tx off rx off"))?;
        }
        let mut command = launch.clone().by(&["nsenter", &format!("--net=/run/netns/{middle}"), "--"]).command();
        let mut process =
            command.args(["lab-relay", "ry0", "ry1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (Some(orders), Some(said)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the relay has no pipes"));
        };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).await?;
        if line.trim() != "ready" {
            return Err(io::Error::other(format!("the relay of {site} did not start")));
        }
        Ok(Self { _process: process, orders })
    }
}

/// The part that is started by this is on that host.
pub(super) fn on(site: Site, launch: &Launch) -> Launch {
    launch.clone().by(&["nsenter", &format!("--net=/run/netns/{site}"), "--"])
}

fn namespace(name: &str) -> io::Result<()> {
    run(&format!("ip netns add {name}"))?;
    inside(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")?;
    run(&format!("ip -n {name} link set dev lo up")).map(drop)
}

fn inside(namespace: &str, line: &str) -> io::Result<()> {
    run(&format!("ip netns exec {namespace} {line}")).map(drop)
}

fn in_wan(order: &str) -> io::Result<()> {
    run_words(&["ip", "netns", "exec", "wan", "nft", order]).map(drop)
}

/// Addresses, routes and rates of a host's link, whose ends are there; and its link to the lab.
fn connect(site: Site, rate_bits: u64) -> io::Result<()> {
    run(&format!("ip link add name m-{site} type veth peer name mgmt0 netns {site}"))?;
    run(&format!("ip address add {}/24 dev m-{site}", site.lab()))?;
    run(&format!("ip -n {site} address add {}/24 dev mgmt0", site.control(0).ip()))?;
    run(&format!("ip link set dev m-{site} up"))?;
    run(&format!("ip -n {site} link set dev mgmt0 up"))?;
    run(&format!("ip -n wan address add {}/24 dev w-{site}", site.gateway()))?;
    run(&format!("ip -n wan link set dev w-{site} up"))?;
    run(&format!("ip -n {site} link set dev up0 up"))?;
    address(site, false)?;
    if !site.is_router() {
        // A queue of 100 ms, as small routers have.
        let shape = format!("root tbf rate {rate_bits} burst 32kb latency 100ms");
        run(&format!("tc -n {site} qdisc add dev up0 {shape}"))?;
        run(&format!("tc -n wan qdisc add dev w-{site} {shape}"))?;
    }
    Ok(())
}

fn address(site: Site, other: bool) -> io::Result<()> {
    run(&format!("ip -n {site} address add {}/24 dev up0", site.address(other)))?;
    run(&format!("ip -n {site} route replace default via {}", site.gateway())).map(drop)
}
