//! Does data move? Every part says so for itself, under a name; the process is ready if all do.
//!
//! A process of which no part has spoken yet is not ready: silence is no proof that data moves.
//! Bounds: [`MAX_CONDITIONS`] names, [`MAX_REASON_CHARS`] per reason. The metric
//! `tributary_service_condition{condition}` is 1 while a condition holds, else 0.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;

/// More parts than any process has; names come from code and configuration, not from input.
const MAX_CONDITIONS: usize = 128;
/// A longer reason is cut.
const MAX_REASON_CHARS: usize = 256;

const CONDITION: &str = "tributary_service_condition";

/// Describes the metric; after the recorder is installed.
pub(super) fn describe_metrics() {
    metrics::describe_gauge!(CONDITION, "1 while the condition for data to move holds, else 0, by condition");
}

/// The conditions under which data moves; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Conditions>>,
}

impl Readiness {
    /// With no condition yet, so not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether the condition `name` (`router_connected`) holds, or why not. Cheap, to be
    /// called whenever a part looks; only a change is logged.
    pub fn set(&self, name: &str, state: Result<(), &str>) {
        let now = now();
        let mut conditions = self.conditions.lock();
        let change = conditions.set(now, name, state);
        if matches!(change, Change::Holds | Change::Fails) {
            // Under the lock, so that the metric's last value is the condition's.
            let value = if state.is_ok() { 1.0 } else { 0.0 };
            metrics::gauge!(CONDITION, "condition" => name.to_owned()).set(value);
        }
        drop(conditions);
        match change {
            Change::None => {}
            Change::Refused => tracing::error!(name, "readiness: too many conditions; this one is not reported"),
            Change::Holds => tracing::info!(condition = name, "data moves"),
            Change::Fails => {
                tracing::warn!(condition = name, reason = state.err(), "data does not move");
            }
        }
    }

    /// Whether every condition holds, and there is one.
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }

    /// All conditions, as `/readyz` gives them.
    pub fn report(&self) -> Report {
        self.conditions.lock().report(now())
    }
}

#[expect(clippy::disallowed_methods, reason = "driver: reads the clock for the conditions")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// What `/readyz` answers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Every condition holds, and there is one.
    pub ready: bool,
    /// Those that do not.
    pub failing: Vec<Failing>,
    /// Names of those that do.
    pub holding: Vec<String>,
}

/// A condition that does not hold.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Failing {
    /// Its name.
    pub condition: String,
    /// Why it does not hold now.
    pub reason: String,
    /// Since when it has not held, in seconds since 1970.
    pub since_unix_seconds: u64,
    /// The same, in seconds before now.
    pub for_seconds: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    None,
    Holds,
    Fails,
    Refused,
}

/// What decides; `now` is given.
#[derive(Debug, Default)]
struct Conditions {
    by_name: BTreeMap<String, State>,
}

#[derive(Debug)]
struct State {
    /// `None` while it holds.
    reason: Option<String>,
    /// When it last began to hold, or ceased to.
    since: SystemTime,
}

impl Conditions {
    fn set(&mut self, now: SystemTime, name: &str, state: Result<(), &str>) -> Change {
        let reason = state.err().map(|reason| reason.chars().take(MAX_REASON_CHARS).collect::<String>());
        let turned = match &reason {
            None => Change::Holds,
            Some(_) => Change::Fails,
        };
        if let Some(known) = self.by_name.get_mut(name) {
            let change = known.reason.is_some() != reason.is_some();
            known.reason = reason;
            if !change {
                return Change::None;
            }
            known.since = now;
            return turned;
        }
        if self.by_name.len() == MAX_CONDITIONS {
            return Change::Refused;
        }
        self.by_name.insert(name.to_owned(), State { reason, since: now });
        turned
    }

    fn report(&self, now: SystemTime) -> Report {
        let seconds = |span: Result<std::time::Duration, _>| span.map_or(0, |span| span.as_secs());
        let mut failing = Vec::new();
        let mut holding = Vec::new();
        for (name, state) in &self.by_name {
            match &state.reason {
                None => holding.push(name.clone()),
                Some(reason) => failing.push(Failing {
                    condition: name.clone(),
                    reason: reason.clone(),
                    since_unix_seconds: seconds(state.since.duration_since(UNIX_EPOCH)),
                    for_seconds: seconds(now.duration_since(state.since)),
                }),
            }
        }
        Report { ready: failing.is_empty() && !holding.is_empty(), failing, holding }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A failure keeps the time it began, whatever its reason becomes, until the condition holds.
    #[test]
    fn a_failure_keeps_the_time_it_began() {
        let mut conditions = Conditions::default();
        let set = |conditions: &mut Conditions, now, state| conditions.set(at(now), "link", state);
        assert_eq!(set(&mut conditions, 5, Ok(())), Change::Holds);
        assert_eq!(set(&mut conditions, 10, Err("refused")), Change::Fails);
        assert_eq!(set(&mut conditions, 20, Err("timed out")), Change::None);
        let report = conditions.report(at(25));
        assert!(!report.ready);
        let expected = Failing { condition: "link".into(), reason: "timed out".into(), since_unix_seconds: 10, for_seconds: 15 };
        assert_eq!(report.failing, [expected]);
        assert_eq!(set(&mut conditions, 30, Ok(())), Change::Holds);
        assert!(conditions.report(at(31)).ready);
        set(&mut conditions, 40, Err("cut"));
        assert_eq!(conditions.report(at(40)).failing[0].since_unix_seconds, 40);
    }

    /// A clock that steps back gives no negative or wrapped length.
    #[test]
    fn a_clock_that_steps_back_is_survived() {
        let mut conditions = Conditions::default();
        conditions.set(at(100), "link", Err("cut"));
        assert_eq!(conditions.report(at(50)).failing[0].for_seconds, 0);
    }

    /// Silence is not readiness, and one failing condition is enough.
    #[test]
    fn ready_means_that_all_have_said_so() {
        let mut conditions = Conditions::default();
        assert!(!conditions.report(at(1)).ready);
        conditions.set(at(1), "link", Ok(()));
        assert!(conditions.report(at(1)).ready);
        conditions.set(at(1), "spool", Err("full"));
        assert!(!conditions.report(at(1)).ready);
        assert_eq!(conditions.report(at(1)).holding, ["link"]);
    }

    /// Neither names nor reasons grow without bound.
    #[test]
    fn conditions_are_bounded() {
        let mut conditions = Conditions::default();
        for n in 0..MAX_CONDITIONS {
            conditions.set(at(1), &format!("part_{n}"), Ok(()));
        }
        assert_eq!(conditions.set(at(1), "one_more", Ok(())), Change::Refused);
        let long = "é".repeat(10_000);
        assert_eq!(conditions.set(at(1), "part_0", Err(&long)), Change::Fails);
        let reason = &conditions.report(at(1)).failing[0].reason;
        assert_eq!(reason.chars().count(), MAX_REASON_CHARS);
    }
}
