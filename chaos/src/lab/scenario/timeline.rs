//! Faults as one list of moments, in order.

use std::time::Duration;

use super::Fault;

/// Begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// It breaks.
    Begins,
    /// It is whole again.
    Ends,
}

/// One moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// After the load began.
    pub at: Duration,
    /// Which of the scenario's faults.
    pub fault: usize,
    /// What of it.
    pub moment: Moment,
}

/// All moments, in order of time; faults of the same time in the order of the file.
#[must_use]
pub fn timeline(faults: &[Fault]) -> Vec<Event> {
    let mut events = Vec::new();
    for (nth, fault) in faults.iter().enumerate() {
        for time in 0..fault.times {
            let at = fault.at + fault.every * time;
            events.push(Event { at, fault: nth, moment: Moment::Begins });
            events.extend(fault.lasts.map(|lasts| Event { at: at + lasts, fault: nth, moment: Moment::Ends }));
        }
    }
    events.sort_unstable();
    events
}
