//! The requests, decoded again by prost.

use std::path::Path;

use bpf::{Comm, Outcome, ProcessEvent};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, HistogramDataPoint};
use prost::Message;

use super::*;
use crate::aggregate::{ConnectTable, Delta, Histogram, SeriesKey};
use crate::clock::BootClock;
use crate::identity::{CgroupId, Cgroups};

const WINDOW: Window = Window { start: UnixNanos(1_000), end: UnixNanos(6_000) };

fn node() -> Node {
    Node { name: "n1".to_owned() }
}

fn no_cgroups() -> Cgroups {
    Cgroups::new(Path::new("/nonexistent"), None, 1)
}

fn comm(name: &str) -> Comm {
    let mut raw = [0; 16];
    raw[..name.len()].copy_from_slice(name.as_bytes());
    Comm::new(raw)
}

fn key(pid: u32, outcome: Outcome) -> SeriesKey {
    SeriesKey { pid, comm: comm("curl"), cgroup: CgroupId(42), remote: "10.0.0.1:443".parse().unwrap(), outcome }
}

fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| format!("{}={}", attribute.key, value(attribute))).collect()
}

fn points(request: &Request) -> Vec<HistogramDataPoint> {
    assert_eq!(request.signal, Signal::Metrics);
    let message = ExportMetricsServiceRequest::decode(request.body.clone()).unwrap();
    let metric = &message.resource_metrics[0].scope_metrics[0].metrics[0];
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("tributary.tcp.connect.duration", "s"));
    let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Delta);
    histogram.data_points.clone()
}

/// A series becomes one delta point in seconds, with its process, cgroup, peer and error.
#[test]
fn a_series_is_a_point() {
    let mut table = ConnectTable::new(1 << 20);
    table.record(key(7, Outcome::Failed(111)), 1_500_000);
    table.record(key(7, Outcome::Failed(111)), 500_000);
    let requests = connect_durations(&node(), &no_cgroups(), WINDOW, &table.take());
    assert_eq!((requests.len(), requests[0].rows), (1, 1));
    let point = &points(&requests[0])[0];
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano, point.count), (1_000, 6_000, 2));
    assert_eq!((point.sum, point.min, point.max), (Some(0.002), Some(0.0005), Some(0.0015)));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!((point.explicit_bounds[0], point.explicit_bounds[16]), (0.00005, 10.0));
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    assert_eq!(
        shown(&point.attributes),
        [
            "process.pid=7",
            "process.executable.name=curl",
            "linux.cgroup.id=42",
            "network.transport=tcp",
            "network.type=ipv4",
            "network.peer.address=10.0.0.1",
            "network.peer.port=443",
            "error.type=ECONNREFUSED",
        ]
    );
}

/// Success has no error.type; an abort and an unknown errno have one of few values.
#[test]
fn errors_have_types() {
    let error_of = |outcome| {
        let mut attributes = Vec::new();
        attributes::error_type(&mut attributes, outcome);
        shown(&attributes).concat()
    };
    assert_eq!(error_of(Outcome::Established), "");
    assert_eq!(error_of(Outcome::Failed(110)), "error.type=ETIMEDOUT");
    assert_eq!(error_of(Outcome::Failed(u32::MAX)), "error.type=_OTHER");
    assert_eq!(error_of(Outcome::Aborted), "error.type=aborted");
}

/// The overflow series carries its mark and nothing else.
#[test]
fn overflow_is_marked() {
    let mut overflow = Histogram::default();
    overflow.record(5);
    let delta = Delta { series: Vec::new(), overflow: Some(overflow) };
    let requests = connect_durations(&node(), &no_cgroups(), WINDOW, &delta);
    assert_eq!(shown(&points(&requests[0])[0].attributes), ["otel.metric.overflow=true"]);
}

/// Many series go in several requests, each row in one of them; an empty interval makes none.
#[test]
fn requests_are_bounded() {
    let mut table = ConnectTable::new(16 << 20);
    for pid in 0..2_500 {
        table.record(key(pid, Outcome::Established), 1);
    }
    let requests = connect_durations(&node(), &no_cgroups(), WINDOW, &table.take());
    let rows: Vec<u64> = requests.iter().map(|request| request.rows).collect();
    assert_eq!(rows, [1_000, 1_000, 500]);
    assert!(requests.iter().all(|request| request.body.len() < 1 << 20));
    let pids: std::collections::BTreeSet<String> =
        requests.iter().flat_map(points).map(|point| shown(&point.attributes)[0].clone()).collect();
    assert_eq!(pids.len(), 2_500);
    assert!(connect_durations(&node(), &no_cgroups(), WINDOW, &table.take()).is_empty());
}

/// The resource is the node.
#[test]
fn the_resource_is_the_node() {
    assert_eq!(
        shown(&node().resource().attributes),
        ["service.name=tributary-agent", concat!("service.version=", env!("CARGO_PKG_VERSION")), "host.name=n1", "os.type=linux"]
    );
}

fn process(kind: u32, exit_code: u32) -> ProcessEvent {
    let mut bytes = [0; size_of::<ProcessEvent>()];
    bytes[..8].copy_from_slice(&500_u64.to_le_bytes());
    bytes[8..16].copy_from_slice(&42_u64.to_le_bytes());
    bytes[16..20].copy_from_slice(&77_u32.to_le_bytes());
    bytes[20..24].copy_from_slice(&1_u32.to_le_bytes());
    bytes[24..28].copy_from_slice(&kind.to_le_bytes());
    bytes[28..32].copy_from_slice(&exit_code.to_le_bytes());
    bytes[32..34].copy_from_slice(b"sh");
    bytes[48..55].copy_from_slice(b"/bin/sh");
    ProcessEvent::parse(&bytes).unwrap()
}

/// Exec and exit are events by name, in wall-clock time; a signal shows as code and as itself.
#[test]
fn processes_are_log_records() {
    let clock = BootClock::new(0, UnixNanos(1_000_000));
    let events = [process(1, 0), process(2, 3 << 8), process(2, 9)];
    let requests = process_records(&node(), &no_cgroups(), &clock, UnixNanos(2_000_000), &events);
    assert_eq!((requests.len(), requests[0].signal, requests[0].rows), (1, Signal::Logs, 3));
    let message = ExportLogsServiceRequest::decode(requests[0].body.clone()).unwrap();
    let records = &message.resource_logs[0].scope_logs[0].log_records;
    let names: Vec<&str> = records.iter().map(|record| record.event_name.as_str()).collect();
    assert_eq!(names, ["process.exec", "process.exit", "process.exit"]);
    assert_eq!((records[0].time_unix_nano, records[0].observed_time_unix_nano), (1_000_500, 2_000_000));
    let base = ["process.pid=77", "process.parent_pid=1", "process.executable.name=sh"];
    let with = |more: &[&'static str]| [&base[..], more, &["linux.cgroup.id=42"]].concat();
    assert_eq!(shown(&records[0].attributes), with(&["process.executable.path=/bin/sh"]));
    assert_eq!(shown(&records[1].attributes), with(&["process.exit.code=3"]));
    assert_eq!(shown(&records[2].attributes), with(&["process.exit.code=137", "process.exit.signal=9"]));
}

/// A cgroup whose path is known brings path, container and pod.
#[test]
fn cgroups_bring_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let path = format!("kubepods/pod{pod}/{}", "a1".repeat(32));
    std::fs::create_dir_all(dir.path().join(&path)).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(dir.path().join(&path)).unwrap());
    let mut cgroups = Cgroups::new(Path::new("/nonexistent"), Some(dir.path()), 10);
    #[expect(clippy::disallowed_methods, reason = "an origin for the test's own clock")]
    cgroups.saw(std::time::Instant::now(), CgroupId(inode), 1);
    let mut attributes = Vec::new();
    attributes::cgroup(&mut attributes, CgroupId(inode), &cgroups);
    assert_eq!(
        shown(&attributes),
        [
            format!("linux.cgroup.id={inode}"),
            format!("process.linux.cgroup=0::/{path}"),
            format!("container.id={}", "a1".repeat(32)),
            format!("k8s.pod.uid={pod}"),
        ]
    );
}
