//! Driver: from the kernel's rings to requests.
//!
//! Rings are read by the clock, since the kernel's side wakes nobody (see `bpf/src/ring.h`): [`pace`] says when. At the end
//! of each interval every probe is asked for its requests. A probe without programs takes part with nothing.

mod pace;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use service::admin::Readiness;
use service::shutdown::Shutdown;

use crate::clock::{BootClock, UnixNanos, unix_now};
use crate::config::{Config, Mode};
use crate::dispatch::Dispatch;
use crate::export::{Node, Window};
use crate::identity::{Cgroups, find_cgroup2, host_name};
use crate::ledger::EventCounts;
use crate::loader::{Attached, Privileges, attach};
use crate::probe::{Origin, Probe, View, registry};
use pace::Pace;

const PROBE_UP: &str = "tributary_agent_probe_up";
const EVENTS: &str = "tributary_agent_events_total";
const MALFORMED: &str = "tributary_agent_events_malformed_total";
const OVER_BOUND: &str = "tributary_agent_events_over_bound_total";
const LOST: &str = "tributary_agent_events_lost_total";

/// Events taken from one ring before others have their turn.
const MAX_EVENTS: usize = 8_192;
/// Cgroups remembered: at most 1 KiB of path each, so 8 MiB.
const CGROUPS: usize = 4_096;
/// The condition in `/readyz`.
const CONDITION: &str = "probes";

/// Says what the metrics declared here mean.
pub fn describe() {
    describe_gauge!(PROBE_UP, Unit::Count, "1 while all programs of the probe run, else 0, by probe; the log and /ledger say why");
    describe_counter!(EVENTS, Unit::Count, "Events read from the kernel's ring, by probe");
    describe_counter!(MALFORMED, Unit::Count, "Events read that were none, by probe");
    describe_counter!(
        OVER_BOUND,
        Unit::Count,
        "Events that found their probe at its bound, by probe: put into overflow series, or dropped"
    );
    describe_counter!(LOST, Unit::Count, "What the kernel's side could not tell us, by probe and reason");
}

/// A probe and, where the kernel lets us, its programs at work.
struct Station {
    probe: Box<dyn Probe>,
    attached: Option<Attached>,
    counts: EventCounts,
}

/// All of them, with what they share.
pub struct Driver {
    stations: Vec<Station>,
    cgroups: Cgroups,
    node: Node,
    interval: Duration,
    window_start: UnixNanos,
    dispatch: Arc<Dispatch>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Driver {
    /// Loads what can be loaded, says what cannot in the log, the ledger, the metrics and `readiness`.
    pub fn start(config: &Config, dispatch: Arc<Dispatch>, readiness: &Readiness) -> Self {
        let proc = Path::new("/proc");
        let privileges = Privileges::read(proc);
        let mount = find_cgroup2(proc);
        if mount.is_none() {
            tracing::warn!("no cgroup2 mount: cgroups have ids but no paths; mount cgroup2 to have both");
        }
        let mut stations = Vec::new();
        let mut required = Vec::new();
        for (mode, probe) in registry(config) {
            if mode == Mode::Off {
                continue;
            }
            let station = station(probe, config.limits.ring, &privileges);
            if mode == Mode::On {
                required.extend(station.counts.missing.first().cloned());
            }
            stations.push(station);
        }
        readiness.set(CONDITION, judge(&stations, &required).as_deref().map_or(Ok(()), Err));
        let node = Node { name: config.node.clone().unwrap_or_else(|| host_name(proc)) };
        let cgroups = Cgroups::new(proc, mount.as_deref(), CGROUPS);
        let driver = Self { stations, cgroups, node, interval: config.interval, window_start: unix_now(), dispatch };
        driver.publish();
        driver
    }

    /// Drains and exports until `shutdown` is requested, then what is left, once.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut pace = Pace::new();
        let mut next_flush = now() + self.interval;
        while !shutdown.is_requested() {
            let now = now();
            let most = self.drain(now);
            if now >= next_flush {
                self.flush();
                next_flush = pace::next_tick(next_flush, now, self.interval);
            } else {
                self.flush_full();
            }
            let pause = pace.after(most, MAX_EVENTS).min(next_flush.saturating_duration_since(now));
            tokio::select! {
                () = shutdown.requested() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.finish();
    }

    /// One round over the rings; the most events that one of them gave.
    fn drain(&mut self, now: Instant) -> usize {
        let cgroups = &mut self.cgroups;
        self.stations.iter_mut().map(|station| station.drain(now, cgroups)).max().unwrap_or(0)
    }

    fn flush_full(&mut self) {
        for station in self.stations.iter_mut().filter(|station| station.probe.is_full()) {
            let window = Window { start: self.window_start, end: unix_now() };
            let clock = BootClock::measure();
            let view = View { node: &self.node, cgroups: &self.cgroups, clock: &clock, window };
            self.dispatch.push(station.probe.collect(view));
        }
    }

    fn flush(&mut self) {
        // The wall clock may have stepped back; an interval never ends before it began.
        let window = Window { start: self.window_start, end: unix_now().max(self.window_start) };
        let clock = BootClock::measure();
        let view = View { node: &self.node, cgroups: &self.cgroups, clock: &clock, window };
        for station in &mut self.stations {
            let requests = station.probe.collect(view);
            self.dispatch.push(requests);
            station.read_kernel_counts();
        }
        self.window_start = window.end;
        self.publish();
    }

    /// What was in the rings when the shutdown was requested, and the last interval.
    fn finish(&mut self) {
        let now = now();
        // A ring holds no more than its bytes; others keep writing, so there is a bound to the rounds.
        for _ in 0..64 {
            let most = self.drain(now);
            self.flush_full();
            if most < MAX_EVENTS {
                break;
            }
        }
        self.flush();
    }

    fn publish(&self) {
        self.dispatch.with_ledger(|ledger| {
            for station in &self.stations {
                *ledger.probe(station.name()) = station.counts.clone();
            }
        });
    }
}

/// Why data does not move, as far as probes are concerned: one that must run does not, or none does.
fn judge(stations: &[Station], required: &[String]) -> Option<String> {
    if let Some(missing) = required.first() {
        return Some(missing.clone());
    }
    if stations.is_empty() || stations.iter().any(|station| station.attached.is_some()) {
        return None;
    }
    let first = stations.iter().find_map(|station| station.counts.missing.first());
    Some(format!("no probe runs: {}", first.map_or("", String::as_str)))
}

fn station(probe: Box<dyn Probe>, ring_bytes: u32, privileges: &Privileges) -> Station {
    let spec = probe.spec();
    let (attached, missing) = match attach(spec, ring_bytes, privileges) {
        Ok(attached) => {
            let missing = attached.missing.clone();
            tracing::info!(probe = spec.name, programs = ?attached.running, "probe runs");
            (Some(attached), missing)
        }
        Err(missing) => (None, missing),
    };
    for missing in &missing {
        tracing::warn!("{missing}");
    }
    let up = attached.is_some() && missing.is_empty();
    gauge!(PROBE_UP, "probe" => spec.name).set(if up { 1.0 } else { 0.0 });
    let missing = missing.iter().map(ToString::to_string).collect();
    Station { probe, attached, counts: EventCounts { up, missing, ..EventCounts::default() } }
}

impl Station {
    fn name(&self) -> &'static str {
        self.probe.spec().name
    }

    fn drain(&mut self, now: Instant, cgroups: &mut Cgroups) -> usize {
        let Self { probe, attached, counts } = self;
        let Some(attached) = attached else { return 0 };
        let mut round = Round::default();
        let drained = attached.drain(MAX_EVENTS, |event| {
            if let Some(Origin { pid, cgroup }) = round.take(probe.as_mut(), event) {
                cgroups.saw(now, cgroup, pid);
            }
        });
        if drained > 0 {
            round.add_to(counts, probe.spec().name);
        }
        drained
    }

    fn read_kernel_counts(&mut self) {
        let Some(attached) = &self.attached else { return };
        match attached.counts() {
            Ok(counts) => {
                let name = self.probe.spec().name;
                let lost = [
                    ("ring_full", counts.ring_full),
                    ("no_start", counts.no_start),
                    ("no_slot", counts.no_slot),
                    ("skipped", counts.skipped),
                ];
                for (reason, total) in lost {
                    counter!(LOST, "probe" => name, "reason" => reason).absolute(total);
                }
                if counts.ring_full > self.counts.kernel.ring_full {
                    let lost = counts.ring_full - self.counts.kernel.ring_full;
                    tracing::warn!(probe = name, lost, "ring buffer full: raise limits.ring");
                }
                self.counts.kernel = counts;
            }
            Err(error) => tracing::warn!(%error, "cannot read the kernel's counters"),
        }
    }
}

/// What one round over one ring brought.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    drained: u64,
    malformed: u64,
    over_bound: u64,
}

impl Round {
    /// One event's bytes; who it is about, where it is an event.
    fn take(&mut self, probe: &mut dyn Probe, event: &[u8]) -> Option<Origin> {
        self.drained += 1;
        match probe.take(event) {
            Ok(taken) => {
                self.over_bound += u64::from(!taken.kept);
                Some(taken.origin)
            }
            Err(error) => {
                self.malformed += 1;
                tracing::debug!(%error, "malformed event");
                None
            }
        }
    }

    fn add_to(self, counts: &mut EventCounts, probe: &'static str) {
        counts.drained += self.drained;
        counts.malformed += self.malformed;
        counts.over_bound += self.over_bound;
        counter!(EVENTS, "probe" => probe).increment(self.drained);
        counter!(MALFORMED, "probe" => probe).increment(self.malformed);
        counter!(OVER_BOUND, "probe" => probe).increment(self.over_bound);
    }
}

#[expect(clippy::disallowed_methods, reason = "driver: reads the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
