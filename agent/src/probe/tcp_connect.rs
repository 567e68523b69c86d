//! Outgoing TCP connects: latency and failures by process, cgroup and remote, as `tributary.tcp.connect.duration`.
//!
//! Exact: every connect that the kernel began and ended is in one data point's count, also refused, unanswered and
//! non-blocking ones. Bound: the table's (see `aggregate`).

use bpf::{Malformed, TCP_CONNECT, TcpConnectEvent};

use super::{Origin, Probe, ProbeSpec, ProgramSpec, Taken, View};
use crate::aggregate::{ConnectTable, SeriesKey};
use crate::export::{Request, connect_durations};
use crate::identity::CgroupId;

static SPEC: ProbeSpec = ProbeSpec {
    name: "tcp_connect",
    object: TCP_CONNECT,
    programs: &[ProgramSpec { name: "tcp_connect", tracepoint: "inet_sock_set_state" }],
};

/// The probe.
#[derive(Debug)]
pub struct TcpConnect {
    table: ConnectTable,
}

impl TcpConnect {
    /// With a table of at most `budget_bytes`.
    pub fn new(budget_bytes: u64) -> Self {
        Self { table: ConnectTable::new(budget_bytes) }
    }

    /// The series so far, for whoever wants no OTLP. Starts anew.
    pub fn take_delta(&mut self) -> crate::aggregate::Delta {
        self.table.take()
    }
}

impl Probe for TcpConnect {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn take(&mut self, event: &[u8]) -> Result<Taken, Malformed> {
        let event = TcpConnectEvent::parse(event)?;
        let cgroup = CgroupId(event.cgroup_id);
        let key = SeriesKey { pid: event.pid, comm: event.comm, cgroup, remote: event.remote(), outcome: event.outcome() };
        let kept = self.table.record(key, event.latency_ns);
        Ok(Taken { origin: Origin { pid: event.pid, cgroup }, kept })
    }

    fn is_full(&self) -> bool {
        // Never: a series that is sent twice in an interval costs more than one that overflows.
        false
    }

    fn collect(&mut self, view: View<'_>) -> Vec<Request> {
        connect_durations(view.node, view.cgroups, view.window, &self.table.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are no event are refused and leave no trace.
    #[test]
    fn refuses_malformed_events() {
        let mut probe = TcpConnect::new(1 << 20);
        for bytes in [&[][..], &[0; 87], &[0; 88], &[0xff; 88], &[0; 4096]] {
            assert!(probe.take(bytes).is_err());
        }
        assert!(probe.take_delta().series.is_empty());
    }
}
