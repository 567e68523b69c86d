//! Which router to connect to, and when to look for another. Decides only; [`super::Link`] dials.
//!
//! Routers stand in the order of preference. The first that is not waiting out a failure is dialled; one that failed or was lost waits,
//! longer each time, so that the next is dialled at once. While a router is connected that is not the most preferred, those before it are
//! probed every [`PROBE_EVERY`]; one that answered every probe for `return_after` is returned to: a router that comes and goes is not.
//! While the connection is over TCP because UDP was blocked, QUIC is tried every `quic_retry`. While the router is silent, the others
//! are dialled: who moves first has the next connection before it gives up the old one. With another certificate the router that there is
//! is dialled anew, and those that refused the old one are free to be tried.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::line::Transport;
use crate::shipper::{Backoff, Jitter};

/// How often a preferred router is probed.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// A connection that held this long lets the next attempt come quickly.
const STABLE: Duration = Duration::from_secs(10);
/// A router that sent us away is left alone for this long, if there is another.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// Between attempts to have a connection with a new certificate beside the one with the old.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

/// What a probe or another connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The connected router is silent: any other will do.
    Escape,
    /// Back to a router that is preferred.
    Return,
    /// From TCP to QUIC.
    Upgrade,
    /// The same router, with another certificate.
    Renew,
}

impl Purpose {
    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Return => "return",
            Self::Upgrade => "upgrade",
            Self::Renew => "renew",
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

/// How a router looked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Look {
    /// The connection is to it.
    Connected,
    /// It answered when it was last dialled.
    Well,
    /// It did not, or the connection to it was lost.
    Failing,
    /// It was not dialled yet.
    Untried,
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
    renew_at: Option<Instant>,
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
        self.current = Some(Current { endpoint, transport, since: now, upgrade_at, renew_at: None });
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

    /// The edge has another certificate: what was refused may be taken now, and the connection that there is has the old one.
    pub fn renewed(&mut self, now: Instant) {
        for health in &mut self.health {
            health.not_before = None;
            health.backoff.reset();
        }
        if let Some(current) = &mut self.current {
            current.renew_at = Some(now);
        }
    }

    /// How each router looks, in the order of preference: failures in a row too, and how long it is left alone.
    #[must_use]
    pub fn looks(&self, now: Instant) -> Vec<(Look, u32, Duration)> {
        let look = |(at, health): (usize, &Health)| {
            let look = match health {
                _ if self.current.is_some_and(|current| current.endpoint == at) => Look::Connected,
                Health { failures: 1.., .. } => Look::Failing,
                Health { well_since: Some(_), .. } => Look::Well,
                _ => Look::Untried,
            };
            (look, health.failures, health.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)))
        };
        self.health.iter().enumerate().map(look).collect()
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
        let renew = current.renew_at.map(|at| (at, Scout { endpoint: current.endpoint, purpose: Purpose::Renew }));
        match [probe, upgrade, renew].into_iter().flatten().min_by_key(|(at, _)| *at) {
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
            Purpose::Renew => {
                if let Some(current) = &mut self.current {
                    current.renew_at = Some(now + RENEW_AGAIN);
                }
                answered
            }
            Purpose::Return => {
                let health = &mut self.health[scout.endpoint];
                health.probe_at = Some(now + PROBE_EVERY);
                if !answered {
                    health.failures = health.failures.saturating_add(1);
                    // Until the next probe has said more: should the connection be lost, this is not the one to dial first.
                    health.not_before = Some(now + 2 * PROBE_EVERY);
                    health.well_since = None;
                    return false;
                }
                (health.failures, health.not_before) = (0, None);
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
mod tests;
