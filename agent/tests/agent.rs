//! The whole agent: against an edge that is a few lines here, and as a process without capabilities.

#![expect(clippy::unwrap_used, reason = "helpers outside of #[test] functions: a panic fails the test")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use agent::Config;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use service::shutdown::Shutdown;
use support::{Child, OwnCgroup, Sink};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

type Attributes = BTreeMap<String, String>;

/// Keeps what it is sent: data points with their counts, log records with their event names.
#[derive(Clone, Default)]
struct FakeEdge {
    points: Arc<Mutex<Vec<(Attributes, u64)>>>,
    records: Arc<Mutex<Vec<(Attributes, String)>>>,
}

fn attributes(attributes: &[KeyValue]) -> Attributes {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

#[tonic::async_trait]
impl MetricsService for FakeEdge {
    async fn export(&self, request: Request<ExportMetricsServiceRequest>) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let Some(Data::Histogram(histogram)) = metric.data else { panic!("only histograms") };
            let points = histogram.data_points.iter().map(|point| (attributes(&point.attributes), point.count));
            self.points.lock().unwrap().extend(points);
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for FakeEdge {
    async fn export(&self, request: Request<ExportLogsServiceRequest>) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        let records = scopes.flat_map(|scope| scope.log_records).map(|record| (attributes(&record.attributes), record.event_name));
        self.records.lock().unwrap().extend(records);
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn config_file(dir: &Path, edge: SocketAddr, admin: SocketAddr, more: &str) -> std::path::PathBuf {
    let path = dir.join("agent.yaml");
    let text = format!("edge: {{ endpoint: 'http://{edge}' }}\nadmin: {{ listen: '{admin}' }}\n{more}");
    std::fs::write(&path, text).unwrap();
    path
}

async fn ready(admin: SocketAddr) {
    loop {
        let answer = tokio::task::spawn_blocking(move || get(admin, "/readyz")).await.unwrap();
        if answer.starts_with("HTTP/1.1 200") && answer.contains("probes") {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// One HTTP answer; empty where nobody listens yet.
fn get(address: SocketAddr, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

/// 1,000 connects made just before the shutdown are 1,000 at the edge, by pid, cgroup and path; so are the exec and exit of
/// who made them. The interval is longer than the test: it is the drain that brings them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and BPF"]
async fn a_shutdown_brings_everything_to_the_edge() {
    let edge = FakeEdge::default();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (endpoint, admin) = (incoming.local_addr().unwrap(), free_address());
    let services = Server::builder().add_service(MetricsServiceServer::new(edge.clone())).add_service(LogsServiceServer::new(edge.clone()));
    tokio::spawn(services.serve_with_incoming(incoming));
    let dir = tempfile::tempdir().unwrap();
    let config = Config::read(&config_file(dir.path(), endpoint, admin, "interval: 5m\nprobes: { tcp_connect: on, process: on }")).unwrap();
    let shutdown = Shutdown::new();
    let agent = tokio::spawn(agent::run(config, shutdown.clone()));
    ready(admin).await;

    let sink = Sink::start();
    let cgroup = OwnCgroup::create("drain");
    let script = format!("for ((i = 0; i < 1000; i++)); do true 3<>/dev/tcp/127.0.0.1/{} || exit 1; done; exit 3", sink.port);
    let mut child = Child::start(&script);
    cgroup.take(child.pid);
    child.run();
    assert_eq!(tokio::task::block_in_place(|| child.wait()), Some(3));
    shutdown.request();
    agent.await.unwrap().unwrap();

    let pid = child.pid.to_string();
    let of_child = |attributes: &Attributes| attributes.get("process.pid") == Some(&pid);
    let points: Vec<_> = edge.points.lock().unwrap().iter().filter(|(attributes, _)| of_child(attributes)).cloned().collect();
    let [(point, 1_000)] = &points[..] else { panic!("{points:?}") };
    let cgroup_line = format!("0::{}", cgroup.path);
    for (key, value) in [
        ("process.executable.name", "bash"),
        ("linux.cgroup.id", cgroup.id.to_string().as_str()),
        ("process.linux.cgroup", cgroup_line.as_str()),
        ("network.peer.address", "127.0.0.1"),
        ("network.peer.port", sink.port.to_string().as_str()),
        ("network.type", "ipv4"),
    ] {
        assert_eq!(point.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(!point.contains_key("error.type"));
    let records = edge.records.lock().unwrap();
    let names: Vec<_> = records.iter().filter(|(attributes, _)| of_child(attributes)).map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["process.exec", "process.exit"]);
    let exit = records.iter().find(|(attributes, name)| of_child(attributes) && name == "process.exit").unwrap();
    assert_eq!(exit.0.get("process.exit.code").map(String::as_str), Some("3"));
}

/// A process that does not outlive a test that fails.
struct Spawned(std::process::Child);

impl Drop for Spawned {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Without capabilities the agent says which ones are missing and where to give them, runs on, is not ready for want of any
/// probe, and leaves in good order.
#[test]
#[ignore = "needs root and setpriv"]
fn without_capabilities_it_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    open(dir.path());
    let binary = dir.path().join("tributary-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_tributary-agent"), &binary).unwrap();
    let admin = free_address();
    let config = config_file(dir.path(), free_address(), admin, "drain: 100ms");
    open(&config);
    let spawned = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"])
        .arg(&binary)
        .args(["run", "--config"])
        .arg(&config)
        .stderr(Stdio::piped())
        .spawn();
    let mut process = Spawned(spawned.unwrap());
    let mut log = BufReader::new(process.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    for probe in ["tcp_connect", "process"] {
        let line = log.find(|line| line.contains(&format!("probe {probe}: "))).expect("said so");
        assert!(line.contains("EPERM") && line.contains("missing CAP_BPF and CAP_PERFMON"), "{line}");
        assert!(line.contains("AmbientCapabilities=CAP_BPF CAP_PERFMON"), "{line}");
    }
    assert!(get(admin, "/healthz").starts_with("HTTP/1.1 200"));
    let ready = get(admin, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("no probe runs: "), "{ready}");
    assert!(get(admin, "/metrics").contains("tributary_agent_probe_up{probe=\"tcp_connect\"} 0"));
    assert!(get(admin, "/ledger").contains("missing CAP_BPF and CAP_PERFMON"));
    let pid = rustix::process::Pid::from_raw(process.0.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    log.for_each(drop);
    assert_eq!(process.0.wait().unwrap().code(), Some(0));
}

/// A wrong configuration is one line with its place and exit code 2.
#[test]
fn a_wrong_configuration_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_file(dir.path(), free_address(), free_address(), "interval: 0s");
    for command in ["run", "check"] {
        let output = Command::new(env!("CARGO_BIN_EXE_tributary-agent")).args([command, "--config"]).arg(&config).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.lines().count() == 1 && said.contains("agent.yaml:3:11: interval: 0s is out of bounds"), "{said}");
    }
}
