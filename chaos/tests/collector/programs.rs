//! The processes of the test: an edge and a router as ever, and two Collectors, with the configuration of each.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chaos::part::Role;
use chaos::stand::admin::Admin;
use chaos::stand::layout::{self, EdgeSpec, Layout, free_address};
use chaos::stand::process::Process;
use chaos::stand::{ledger, make_certificates};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

pub(crate) const SIGNALS: [&str; 3] = ["traces", "logs", "metrics"];
/// What is not ready, not drained or not ended by then is a failure.
const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// A way into us and out of us again.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// `grpc` or `http`.
    pub(crate) protocol: &'static str,
    /// `gzip`, `zstd` or `none`.
    pub(crate) compression: &'static str,
    /// Collector A takes here what goes this way.
    pub(crate) into_a: SocketAddr,
    /// Collector B takes here what the tier of this way sends.
    pub(crate) into_b: SocketAddr,
}

impl Route {
    pub(crate) fn all() -> Vec<Self> {
        let kinds = ["grpc", "http"].into_iter().flat_map(|protocol| ["gzip", "zstd", "none"].map(|compression| (protocol, compression)));
        let free = || free_address().expect("a port");
        kinds.map(|(protocol, compression)| Self { protocol, compression, into_a: free(), into_b: free() }).collect()
    }

    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.protocol, self.compression)
    }
}

/// A Collector that runs.
pub(crate) struct Collector {
    child: Child,
    log: PathBuf,
}

impl Collector {
    /// Starts it and waits until it listens on all of these.
    pub(crate) async fn start(name: &str, layout: &Layout, config: &str, listens: &[SocketAddr]) -> Self {
        let program = std::env::var_os("TRIBUTARY_COLLECTOR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/collector/otelcol"), PathBuf::from);
        assert!(program.is_file(), "{}: not there: run .ci/setup, which builds it", program.display());
        let (config, log) = (layout.write_config(name, config).unwrap(), layout.log(name));
        let out = File::create(&log).unwrap();
        let child = Command::new(program)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut collector = Self { child, log };
        let listening = async {
            for listen in listens {
                while tokio::net::TcpStream::connect(listen).await.is_err() {
                    assert!(collector.child.try_wait().unwrap().is_none(), "{name} ended: {}", collector.said());
                    sleep(POLL).await;
                }
            }
        };
        let in_time = timeout(DEADLINE, listening).await;
        assert!(in_time.is_ok(), "{name} does not listen: {}", collector.said());
        collector
    }

    pub(crate) fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Ends it by SIGTERM: what it has goes to its files.
    pub(crate) async fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap();
        assert!(status.success(), "{status}: {}", self.said());
    }
}

/// Collector A: what comes by a route goes to the control and, by the route's protocol and compression, to the edge.
pub(crate) fn config_a(routes: &[Route], control: SocketAddr, edge: &EdgeSpec) -> String {
    let (mut receivers, mut exporters, mut pipelines) = (String::new(), String::new(), String::new());
    // Without a queue its OK means that both exporters had theirs.
    let common = "tls: {insecure: true}, sending_queue: {enabled: false}";
    let _ = writeln!(exporters, "  otlp/control: {{endpoint: \"{control}\", compression: none, {common}}}");
    for route in routes {
        let (name, compression) = (route.name(), route.compression);
        let (kind, endpoint) = match route.protocol {
            "grpc" => ("otlp", edge.grpc.to_string()),
            _ => ("otlphttp", format!("http://{}", edge.http)),
        };
        let grpc = format!("{{endpoint: \"{}\", max_recv_msg_size_mib: 64}}", route.into_a);
        let _ = writeln!(receivers, "  otlp/{name}: {{protocols: {{grpc: {grpc}}}}}");
        let headers = format!("headers: {{authorization: \"Bearer {}\"}}", edge.tenants[0].1);
        let _ = writeln!(exporters, "  {kind}/{name}: {{endpoint: \"{endpoint}\", compression: {compression}, {headers}, {common}}}");
        for signal in SIGNALS {
            let _ = writeln!(pipelines, "    {signal}/{name}: {{receivers: [otlp/{name}], exporters: [otlp/control, {kind}/{name}]}}");
        }
    }
    collector(&receivers, &exporters, &pipelines)
}

/// Collector B: what comes from the control and from each tier goes to a file for each signal.
pub(crate) fn config_b(routes: &[Route], control: SocketAddr, dir: &Path) -> String {
    let (mut receivers, mut exporters, mut pipelines) = (String::new(), String::new(), String::new());
    // The control takes requests of any size; a tier has to cut its own to what a receiver takes by default.
    let control = format!("grpc: {{endpoint: \"{control}\", max_recv_msg_size_mib: 64}}");
    let tier = |route: &Route| (route.name(), format!("{}: {{endpoint: \"{}\"}}", route.protocol, route.into_b));
    for (name, protocol) in std::iter::once(("control".to_owned(), control)).chain(routes.iter().map(tier)) {
        let _ = writeln!(receivers, "  otlp/{name}: {{protocols: {{{protocol}}}}}");
        for signal in SIGNALS {
            let file = file(dir, &name, signal);
            let _ = writeln!(exporters, "  file/{name}-{signal}: {{path: \"{}\", format: proto}}", file.display());
            let _ = writeln!(pipelines, "    {signal}/{name}: {{receivers: [otlp/{name}], exporters: [file/{name}-{signal}]}}");
        }
    }
    collector(&receivers, &exporters, &pipelines)
}

fn collector(receivers: &str, exporters: &str, pipelines: &str) -> String {
    let telemetry = "  telemetry: {metrics: {level: none}, logs: {level: warn}}";
    format!("receivers:\n{receivers}exporters:\n{exporters}service:\n{telemetry}\n  pipelines:\n{pipelines}")
}

/// Where Collector B writes what came by `name`.
pub(crate) fn file(dir: &Path, name: &str, signal: &str) -> PathBuf {
    dir.join(format!("{name}-{signal}.bin"))
}

/// A router with an otlp tier for each route, beside its local one, and an edge.
pub(crate) struct Federation {
    pub(crate) edge: EdgeSpec,
    router: Process,
    edge_process: Process,
    router_admin: SocketAddr,
    admin: Admin,
}

impl Federation {
    pub(crate) async fn start(layout: &Layout, routes: &[Route]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_tributary-chaos"));
        let edge = EdgeSpec::new("edge-a", "eu-west-1", &["acme"]).unwrap();
        make_certificates(layout, std::slice::from_ref(&edge)).unwrap();
        let (listen, router_admin) = (free_address().unwrap(), free_address().unwrap());
        let mut router = layout::router_yaml(layout, listen, router_admin, layout::PROMPT_TIER);
        for route in routes {
            let protocol = if route.protocol == "grpc" { "grpc" } else { "http/protobuf" };
            let more = format!("protocol: {protocol}, compression: {}, flush_interval: 200ms", route.compression);
            let _ = writeln!(router, "  {}:\n    otlp: {{endpoint: \"http://{}\", {more}}}", route.name(), route.into_b);
        }
        let config = layout.write_config("router", &router).unwrap();
        let router = Process::start(program, Role::Router, &config, &layout.log("router")).unwrap();
        let config = layout.write_config(edge.name, &layout::edge_yaml(layout, &edge, listen)).unwrap();
        let edge_process = Process::start(program, Role::Edge, &config, &layout.log(edge.name)).unwrap();
        let mut federation = Self { edge, router, edge_process, router_admin, admin: Admin };
        let admins = [federation.router_admin, federation.edge.admin];
        for admin in admins {
            federation.until(async |federation| federation.admin.ready(admin).await.then_some(())).await;
        }
        federation
    }

    async fn until<T>(&mut self, look: impl AsyncFn(&Self) -> Option<T>) -> T {
        let looking = async {
            loop {
                self.router.still_running().unwrap();
                self.edge_process.still_running().unwrap();
                if let Some(found) = look(self).await {
                    return found;
                }
                sleep(POLL).await;
            }
        };
        timeout(DEADLINE, looking).await.expect("in time")
    }

    /// Waits until nothing is queued and every account balances; gives the router's ledger.
    pub(crate) async fn drained(&mut self) -> Value {
        self.until(async |federation| {
            let edge = federation.admin.ledger(federation.edge.admin).await.ok()?;
            let router = federation.admin.ledger(federation.router_admin).await.ok()?;
            let done = |ledger: &Value| ledger::queued(ledger) == 0 && ledger::balances(ledger);
            (done(&edge) && done(&router)).then_some(router)
        })
        .await
    }

    pub(crate) async fn stop(self) {
        self.edge_process.stop(DEADLINE).await.unwrap();
        self.router.stop(DEADLINE).await.unwrap();
    }
}
