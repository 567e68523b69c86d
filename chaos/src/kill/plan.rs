//! Which process is killed when: all from a seed, so that a run that failed can be asked for again.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::stand::Who;
use crate::telemetry::Rng;

/// Between a process that moves data again and the next strike: a batch's age, a flush of the tier and a checkpoint fit in it, so that
/// kills fall into all of them.
const BEFORE_MS: u64 = 1_500;
/// How long what was killed stays down.
const DOWN_MS: u64 = 300;
/// How soon after its start a process is killed again.
const AGAIN_MS: u64 = 100;

/// A process of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Victim {
    /// `tributary-edge`
    Edge,
    /// `tributary-router`
    Router,
    /// `tributary-agent`
    Agent,
}

impl Victim {
    /// In the order in which they take their turns.
    pub const ALL: [Self; 3] = [Self::Edge, Self::Router, Self::Agent];

    /// Its place in the stand, which has one of each.
    #[must_use]
    pub fn who(self) -> Who {
        match self {
            Self::Edge => Who::Edge(0),
            Self::Router => Who::Router,
            Self::Agent => Who::Agent,
        }
    }

    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Router => "router",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What shares of the strikes are worse than one clean kill, in percent.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// Edge and router at once.
    pub pairs: u64,
    /// The same process again while it starts.
    pub during_recovery: u64,
}

/// One blow: who, when, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    /// To wait while data moves.
    pub before: Duration,
    /// Who is killed, at once.
    pub whom: Vec<Victim>,
    /// How long they stay down.
    pub down: Duration,
    /// When they are killed again, after their start.
    pub again: Option<Duration>,
}

/// Every victim in turn, `times` times.
#[must_use]
pub fn plan(seed: u64, times: u32, victims: &[Victim], shares: Shares) -> Vec<Strike> {
    let mut rng = Rng::new(seed);
    let paired = [Victim::Edge, Victim::Router];
    let can_pair = paired.iter().all(|one| victims.contains(one));
    let turns = (0..times).flat_map(|_| victims.iter().copied());
    turns
        .map(|victim| {
            let (pair, again) = (rng.below(100) < shares.pairs, rng.below(100) < shares.during_recovery);
            let whom = if pair && can_pair && paired.contains(&victim) { paired.to_vec() } else { vec![victim] };
            let mut ms = |most| Duration::from_millis(rng.below(most));
            Strike { before: ms(BEFORE_MS), whom, down: ms(DOWN_MS), again: again.then(|| ms(AGAIN_MS)) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed says everything; each process has its turn as often as asked; pairs and second kills come as often as their shares.
    #[test]
    fn a_seed_is_a_run() {
        let shares = Shares { pairs: 20, during_recovery: 20 };
        let strikes = plan(7, 200, &Victim::ALL, shares);
        assert_eq!(strikes, plan(7, 200, &Victim::ALL, shares));
        assert_ne!(strikes, plan(8, 200, &Victim::ALL, shares));
        for (turn, strike) in strikes.iter().enumerate() {
            assert!(strike.whom.contains(&Victim::ALL[turn % 3]), "turn {turn}");
            assert!(strike.again.is_none_or(|again| again < Duration::from_millis(AGAIN_MS)));
        }
        let share = |of: fn(&Strike) -> bool| strikes.iter().filter(|strike| of(strike)).count() * 100 / strikes.len();
        assert!((8..=18).contains(&share(|strike| strike.whom.len() == 2)), "two of three turns may be pairs");
        assert!((14..=26).contains(&share(|strike| strike.again.is_some())));
    }

    /// Nobody is killed who was not asked for.
    #[test]
    fn one_process_alone() {
        let strikes = plan(1, 50, &[Victim::Router], Shares { pairs: 100, during_recovery: 0 });
        assert!(strikes.iter().all(|strike| strike.whom == [Victim::Router] && strike.again.is_none()));
    }
}
