//! Starts and ends of processes as log records: events in OpenTelemetry's sense, by their `event_name`.

use bpf::{ExitStatus, ProcessEvent, ProcessKind};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1 as otlp;
use prost::Message;

use super::attributes::{cgroup, integer, text};
use super::{MAX_ROWS, Node, Request, Signal, scope};
use crate::clock::{BootClock, UnixNanos};
use crate::identity::{CgroupId, Cgroups};

/// One log record per event, in requests of at most [`MAX_ROWS`]. `observed` is when the agent took them.
pub fn process_records(node: &Node, cgroups: &Cgroups, clock: &BootClock, observed: UnixNanos, events: &[ProcessEvent]) -> Vec<Request> {
    let chunks = events.chunks(MAX_ROWS);
    chunks.map(|chunk| request(node, chunk.iter().map(|event| record(cgroups, clock, observed, event)).collect())).collect()
}

fn request(node: &Node, log_records: Vec<otlp::LogRecord>) -> Request {
    let rows = log_records.len() as u64;
    let scope_logs = otlp::ScopeLogs { scope: Some(scope("process")), log_records, ..Default::default() };
    let resource_logs = otlp::ResourceLogs { resource: Some(node.resource()), scope_logs: vec![scope_logs], ..Default::default() };
    let message = ExportLogsServiceRequest { resource_logs: vec![resource_logs] };
    Request { signal: Signal::Logs, rows, body: Bytes::from(message.encode_to_vec()) }
}

fn record(cgroups: &Cgroups, clock: &BootClock, observed: UnixNanos, event: &ProcessEvent) -> otlp::LogRecord {
    let mut attributes = vec![
        integer("process.pid", event.pid),
        integer("process.parent_pid", event.parent_pid),
        text("process.executable.name", event.comm.to_string()),
    ];
    let event_name = match event.kind() {
        ProcessKind::Exec => {
            attributes.push(text("process.executable.path", String::from_utf8_lossy(event.path())));
            "process.exec"
        }
        ProcessKind::Exit(ExitStatus::Code(code)) => {
            attributes.push(integer("process.exit.code", code));
            "process.exit"
        }
        ProcessKind::Exit(ExitStatus::Signal(signal)) => {
            // As shells report it, so that every exit has a code; the signal stands by itself, too.
            attributes.push(integer("process.exit.code", 128 + i64::from(signal)));
            attributes.push(integer("process.exit.signal", signal));
            "process.exit"
        }
    };
    cgroup(&mut attributes, CgroupId(event.cgroup_id), cgroups);
    otlp::LogRecord {
        time_unix_nano: clock.unix(event.time_ns).0,
        observed_time_unix_nano: observed.0,
        severity_number: otlp::SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        event_name: event_name.to_owned(),
        attributes,
        ..otlp::LogRecord::default()
    }
}
