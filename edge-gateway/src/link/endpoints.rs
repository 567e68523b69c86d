//! Which router to connect to, and when to look for another. Decides only; [`super::Link`] dials.
//!
//! Routers stand in the order of preference. The first that is not waiting out a failure is dialled; one that failed or was lost waits,
//! longer each time, so that the next is dialled at once. While a router is connected that is not the most preferred, those before it are
//! probed every [`PROBE_EVERY`]; one that answered every probe for `return_after` is returned to: a router that comes and goes is not.
//! While the connection is over TCP because UDP was blocked, QUIC is tried every `quic_retry`. While the router is silent, the others
//! are dialled: who moves first has the next connection before it gives up the old one.

use std::time::{Duration, Instant};

use super::line::Transport;
use crate::shipper::{Backoff, Jitter};

/// How often a preferred router is probed.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// A connection that held this long lets the next attempt come quickly.
const STABLE: Duration = Duration::from_secs(10);
/// A router that sent us away is left alone for this long, if there is another.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// What a probe or another connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The connected router is silent: any other will do.
    Escape,
    /// Back to a router that is preferred.
    Return,
    /// From TCP to QUIC.
    Upgrade,
}

impl Purpose {
    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Return => "return",
            Self::Upgrade => "upgrade",
        }
    }
}

/// What to dial beside the connection that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scout {
    /// Which router.
    pub endpoint: usize,
    /// What for.
    pub purpose: Purpose,
}

/// How to come to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Dial this one.
    Dial(usize),
    /// All have failed of late: not before then.
    Wait(Instant),
}

#[derive(Debug)]
struct Health {
    backoff: Backoff,
    /// Failures since the last success.
    failures: u32,
    not_before: Option<Instant>,
    /// It has answered every probe since then.
    well_since: Option<Instant>,
    probe_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    endpoint: usize,
    transport: Transport,
    since: Instant,
    upgrade_at: Option<Instant>,
}

/// See the module. Bounded by the configured endpoints.
#[derive(Debug)]
pub struct Endpoints {
    health: Vec<Health>,
    current: Option<Current>,
    return_after: Duration,
    /// None: the transport is not chosen by itself.
    quic_retry: Option<Duration>,
}

impl Endpoints {
    /// `count` routers, of which none has been tried; waits between `min` and `max`, spread by `seed`.
    #[must_use]
    pub fn new(count: usize, (min, max): (Duration, Duration), seed: u64, return_after: Duration, quic_retry: Option<Duration>) -> Self {
        let health = |n: usize| Health {
            backoff: Backoff::new(min, max, Jitter::new(seed.wrapping_add(n as u64))),
            failures: 0,
            not_before: None,
            well_since: None,
            probe_at: None,
        };
        Self { health: (0..count.max(1)).map(health).collect(), current: None, return_after, quic_retry }
    }

    /// Whom to dial, while there is no connection.
    #[must_use]
    pub fn choose(&self, now: Instant) -> Choice {
        let free = |health: &Health| health.not_before.is_none_or(|at| at <= now);
        let first = self.health.iter().position(free);
        let soonest = self.health.iter().filter_map(|health| health.not_before).min();
        first.map_or_else(|| Choice::Wait(soonest.unwrap_or(now)), Choice::Dial)
    }

    /// There is a connection to it now.
    pub fn connected(&mut self, now: Instant, endpoint: usize, transport: Transport) {
        let health = &mut self.health[endpoint];
        (health.failures, health.not_before) = (0, None);
        let upgrade_at = self.quic_retry.filter(|_| transport == Transport::Tcp).map(|retry| now + retry);
        self.current = Some(Current { endpoint, transport, since: now, upgrade_at });
        for preferred in &mut self.health[..endpoint] {
            (preferred.well_since, preferred.probe_at) = (None, Some(now + PROBE_EVERY));
        }
    }

    /// It could not be had. Gives the failures in a row.
    pub fn failed(&mut self, now: Instant, endpoint: usize) -> u32 {
        let health = &mut self.health[endpoint];
        health.failures = health.failures.saturating_add(1);
        health.not_before = Some(now + health.backoff.wait());
        health.well_since = None;
        health.failures
    }

    /// The connection is gone; `sent_away` when the router asked for it.
    pub fn lost(&mut self, now: Instant, sent_away: bool) {
        let Some(current) = self.current.take() else { return };
        let alone = self.health.len() == 1;
        let health = &mut self.health[current.endpoint];
        if now.saturating_duration_since(current.since) >= STABLE {
            health.backoff.reset();
        }
        let wait = health.backoff.wait();
        health.not_before = Some(now + if sent_away && !alone { wait.max(LEFT_ALONE) } else { wait });
        health.failures = health.failures.saturating_add(1);
        health.well_since = None;
    }

    /// Is there another router than the connected one?
    #[must_use]
    pub fn has_another(&self) -> bool {
        self.health.len() > 1
    }

    /// What to dial beside the connection.
    ///
    /// # Errors
    /// When to ask again, if nothing else happens: nothing now.
    pub fn scout(&self, now: Instant, silent: bool) -> Result<Scout, Option<Instant>> {
        let Some(current) = self.current else { return Err(None) };
        if silent {
            let others = (0..self.health.len()).filter(|at| *at != current.endpoint);
            let best = others.min_by_key(|at| (self.health[*at].not_before.filter(|at| *at > now), *at));
            return best.map(|endpoint| Scout { endpoint, purpose: Purpose::Escape }).ok_or(None);
        }
        let probes = self.health[..current.endpoint].iter().enumerate().filter_map(|(at, health)| Some((health.probe_at?, at)));
        let probe = probes.min().map(|(at, endpoint)| (at, Scout { endpoint, purpose: Purpose::Return }));
        let upgrade = current.upgrade_at.map(|at| (at, Scout { endpoint: current.endpoint, purpose: Purpose::Upgrade }));
        match [probe, upgrade].into_iter().flatten().min_by_key(|(at, _)| *at) {
            Some((at, scout)) if at <= now => Ok(scout),
            Some((at, _)) => Err(Some(at)),
            None => Err(None),
        }
    }

    /// What came of it. True when the new connection is to be used from now on.
    pub fn scouted(&mut self, now: Instant, scout: Scout, answered: bool) -> bool {
        match scout.purpose {
            Purpose::Escape => {
                if !answered {
                    self.failed(now, scout.endpoint);
                }
                answered
            }
            Purpose::Upgrade => {
                if let Some(current) = &mut self.current {
                    current.upgrade_at = self.quic_retry.map(|retry| now + retry);
                }
                answered
            }
            Purpose::Return => {
                let health = &mut self.health[scout.endpoint];
                health.probe_at = Some(now + PROBE_EVERY);
                if !answered {
                    health.well_since = None;
                    return false;
                }
                let since = *health.well_since.get_or_insert(now);
                now.saturating_duration_since(since) >= self.return_after
            }
        }
    }

    /// Over what the connection is, if there is one.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        self.current.map(|current| current.transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETURN: Duration = Duration::from_secs(30);
    const RETRY: Duration = Duration::from_secs(60);
    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(10);

    #[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
    fn start() -> Instant {
        Instant::now()
    }

    fn endpoints(count: usize) -> Endpoints {
        Endpoints::new(count, (MIN, MAX), 7, RETURN, Some(RETRY))
    }

    /// Runs the probes of the preferred router until `end`; gives when it was returned to.
    fn probe(endpoints: &mut Endpoints, from: Instant, end: Instant, well: impl Fn(Duration) -> bool) -> Option<Duration> {
        let mut now = from;
        while now < end {
            match endpoints.scout(now, false) {
                Ok(scout) => {
                    assert_eq!(scout, Scout { endpoint: 0, purpose: Purpose::Return });
                    if endpoints.scouted(now, scout, well(now - from)) {
                        return Some(now - from);
                    }
                }
                Err(at) => now = at.expect("there is a preferred one"),
            }
        }
        None
    }

    /// A router that is lost lets the next be dialled at once; when all have failed, the wait is bounded and grows.
    #[test]
    fn the_next_is_dialled_at_once() {
        let now = start();
        let mut endpoints = endpoints(2);
        assert_eq!(endpoints.choose(now), Choice::Dial(0));
        endpoints.connected(now, 0, Transport::Quic);
        endpoints.lost(now, false);
        assert_eq!(endpoints.choose(now), Choice::Dial(1));
        assert_eq!(endpoints.failed(now, 1), 1);
        let Choice::Wait(at) = endpoints.choose(now) else { panic!("both have failed") };
        assert!(at > now && at <= now + MIN);
        let mut last = now;
        for _ in 0..20 {
            for endpoint in 0..2 {
                endpoints.failed(last, endpoint);
            }
            let Choice::Wait(at) = endpoints.choose(last) else { panic!("both have failed") };
            assert!(at <= last + MAX);
            last = at;
        }
        assert!(matches!(endpoints.choose(last), Choice::Dial(_)));
    }

    /// The preferred router is returned to once it has answered for as long as was set, and not by one that fails in between.
    #[test]
    fn a_return_needs_a_steady_router() {
        let now = start();
        let mut endpoints = endpoints(2);
        endpoints.connected(now, 1, Transport::Quic);
        let back = probe(&mut endpoints, now, now + Duration::from_secs(300), |_| true).unwrap();
        assert!(back >= RETURN && back <= RETURN + 2 * PROBE_EVERY, "{back:?}");
        endpoints.connected(now, 1, Transport::Quic);
        let flapping = |at: Duration| at.as_secs() % 30 >= 5;
        assert_eq!(probe(&mut endpoints, now, now + Duration::from_secs(600), flapping), None);
    }

    /// On TCP, QUIC is tried now and then and taken when it answers; on QUIC, or where the transport is set, never.
    #[test]
    fn quic_is_tried_again() {
        let now = start();
        let mut one = endpoints(1);
        one.connected(now, 0, Transport::Tcp);
        assert_eq!(one.scout(now, false), Err(Some(now + RETRY)));
        let scout = one.scout(now + RETRY, false).unwrap();
        assert_eq!(scout.purpose, Purpose::Upgrade);
        assert!(!one.scouted(now + RETRY, scout, false));
        assert_eq!(one.scout(now + RETRY, false), Err(Some(now + 2 * RETRY)));
        assert!(one.scouted(now + 2 * RETRY, scout, true));
        one.connected(now, 0, Transport::Quic);
        assert_eq!(one.scout(now + 2 * RETRY, false), Err(None));
        let mut set = Endpoints::new(1, (MIN, MAX), 7, RETURN, None);
        set.connected(now, 0, Transport::Tcp);
        assert_eq!(set.scout(now + 2 * RETRY, false), Err(None));
    }

    /// A silent router is escaped to another, the one that failed least lately first; alone there is nowhere to go.
    #[test]
    fn silence_is_escaped() {
        let now = start();
        let mut three = endpoints(3);
        three.connected(now, 0, Transport::Quic);
        let escape = |endpoint| Ok(Scout { endpoint, purpose: Purpose::Escape });
        assert_eq!(three.scout(now, true), escape(1));
        assert!(!three.scouted(now, three.scout(now, true).unwrap(), false));
        assert_eq!(three.scout(now, true), escape(2));
        assert!(three.scouted(now, three.scout(now, true).unwrap(), true));
        let mut one = endpoints(1);
        one.connected(now, 0, Transport::Quic);
        assert_eq!(one.scout(now, true), Err(None));
        assert!(!one.has_another());
    }
}
