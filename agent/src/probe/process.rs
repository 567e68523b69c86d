//! Processes: exec and exit as log records.
//!
//! Bound: a buffer of so many events as fit its budget; past it an event is dropped and counted. A whole request's worth is
//! sent without waiting for the interval's end, so the bound is met only when the driver is behind.

use bpf::{Malformed, PROCESS, ProcessEvent};

use super::{Origin, Probe, ProbeSpec, ProgramSpec, Taken, View};
use crate::export::{MAX_ROWS, Request, process_records};
use crate::identity::CgroupId;

static SPEC: ProbeSpec = ProbeSpec {
    name: "process",
    object: PROCESS,
    programs: &[
        ProgramSpec { name: "process_exec", tracepoint: "sched_process_exec" },
        ProgramSpec { name: "process_exit", tracepoint: "sched_process_exit" },
    ],
};

/// The probe.
#[derive(Debug)]
pub struct Process {
    events: Vec<ProcessEvent>,
    max_events: usize,
}

impl Process {
    /// With a buffer of at most `budget_bytes`, and at least one event.
    pub fn new(budget_bytes: u64) -> Self {
        let max_events = usize::try_from(budget_bytes / size_of::<ProcessEvent>() as u64).unwrap_or(usize::MAX).max(1);
        Self { events: Vec::new(), max_events }
    }

    /// The events so far, for whoever wants no OTLP. Starts anew.
    pub fn take_events(&mut self) -> Vec<ProcessEvent> {
        std::mem::take(&mut self.events)
    }
}

impl Probe for Process {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn take(&mut self, event: &[u8]) -> Result<Taken, Malformed> {
        let event = ProcessEvent::parse(event)?;
        let kept = self.events.len() < self.max_events;
        if kept {
            self.events.push(event);
        }
        Ok(Taken { origin: Origin { pid: event.pid, cgroup: CgroupId(event.cgroup_id) }, kept })
    }

    fn is_full(&self) -> bool {
        self.events.len() >= MAX_ROWS.min(self.max_events)
    }

    fn collect(&mut self, view: View<'_>) -> Vec<Request> {
        process_records(view.node, view.cgroups, view.clock, view.now(), &self.take_events())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(pid: u32) -> [u8; size_of::<ProcessEvent>()] {
        let mut bytes = [0; size_of::<ProcessEvent>()];
        bytes[16..20].copy_from_slice(&pid.to_le_bytes());
        bytes[24] = 1;
        bytes
    }

    /// Past the bound an event is counted, not kept; after a collection there is room again.
    #[test]
    fn is_bounded() {
        let mut probe = Process::new(2 * size_of::<ProcessEvent>() as u64);
        assert!(probe.take(&exec(1)).unwrap().kept && !probe.is_full());
        assert!(probe.take(&exec(2)).unwrap().kept && probe.is_full());
        assert!(!probe.take(&exec(3)).unwrap().kept);
        assert_eq!(probe.take_events().iter().map(|event| event.pid).collect::<Vec<_>>(), [1, 2]);
        assert!(probe.take(&exec(4)).unwrap().kept);
    }

    /// Bytes that are no event are refused and leave no trace.
    #[test]
    fn refuses_malformed_events() {
        let mut probe = Process::new(1 << 20);
        for bytes in [&[][..], &[0; 176], &[0xff; 176], &[1; 175], &[0; 4096]] {
            assert!(probe.take(bytes).is_err());
        }
        assert!(probe.take_events().is_empty());
    }
}
