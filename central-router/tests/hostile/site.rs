//! A router on loopback, in a directory of its own, with its authority and its edges.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};
use std::time::Duration;

use arrow_array::cast::AsArray;
use central_router::config::Config;
use central_router::pki::{self, Identity, InitOptions, IssueOptions};
use central_router::{Ready, RunError, run_with};
use federation_proto::control::router_message;
use federation_proto::identity::{EdgeName, TenantId};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use service::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Client, hello};

/// Long enough for the slowest machine; reached only when something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Panics that were no failed test's.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what tasks and threads of routers say when they panic. A test runs on a thread of its own, which has its path for a name.
fn watch_for_panics() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread.name().is_none_or(|name| name != "main" && !name.contains("::")) {
                PANICS.lock().unwrap().push(panic.to_string());
            }
            before(panic);
        }));
    });
}

/// A router with its authority and its edges `eu` (acme) and `us` (acme, beta), in a directory of its own.
pub(crate) struct Site {
    dir: tempfile::TempDir,
    /// Lines of the configuration: those of `tiers`, and more.
    pub(crate) tiers: String,
    extra: String,
}

/// A router that is up.
pub(crate) struct Up {
    pub(crate) ready: Ready,
    pub(crate) shutdown: Shutdown,
    running: JoinHandle<Result<(), RunError>>,
}

impl Site {
    pub(crate) fn new(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let init = InitOptions { router: edge("central"), names: vec!["localhost".to_owned()], days: 1, force: false };
        pki::init(dir.path(), &init).unwrap();
        let tiers = format!("parquet: {{local: {{path: {}/parquet, flush_interval: 20ms}}}}", dir.path().display());
        let site = Self { dir, tiers, extra: extra.to_owned() };
        site.issue("eu", &["acme"]);
        site.issue("us", &["acme", "beta"]);
        site
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn issue(&self, name: &str, tenants: &[&str]) -> Identity {
        let tenants = tenants.iter().map(|tenant| TenantId::new(tenant).unwrap()).collect();
        pki::issue(self.path(), &IssueOptions { edge: edge(name), tenants, days: 1, force: false }).unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        let dir = self.path().display();
        let text = format!(
            "data_dir: {dir}/data\nlisten: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\ntls: {{ca: {dir}/ca.pem, cert: {dir}/router.pem, key: {dir}/router.key}}\n\
             edges: {dir}/edges.yaml\ntiers: {{{}}}\n{}",
            self.tiers, self.extra
        );
        let path = self.path().join("router.yaml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).unwrap()
    }

    pub(crate) async fn start(&self) -> Up {
        let (tell, told) = oneshot::channel();
        watch_for_panics();
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run_with(self.config(), shutdown.clone(), move |ready| tell.send(ready).unwrap()));
        let ready = tokio::time::timeout(PATIENCE, told).await.unwrap().expect("the router starts");
        Up { ready, shutdown, running }
    }

    pub(crate) async fn connect(&self, up: &Up, name: &str) -> Client {
        let mut client = Client::dial(up.ready.listen, &pki::edge_identity(self.path(), &edge(name))).await.unwrap();
        client.say(hello(name)).await;
        let Some(router_message::Kind::Welcome(welcome)) = client.hear().await else { panic!("no Welcome") };
        client.welcome = welcome;
        client
    }

    /// All log bodies in the Parquet files, with how often each is there.
    pub(crate) fn bodies(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for path in parquet_files(&self.path().join("parquet")) {
            let content = bytes::Bytes::from(std::fs::read(path).unwrap());
            for batch in ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap() {
                for body in batch.unwrap().column_by_name("Body").unwrap().as_string::<i32>() {
                    *found.entry(body.unwrap().to_owned()).or_default() += 1;
                }
            }
        }
        found
    }
}

impl Up {
    /// No task of a router may have panicked by then: of this one's, or of those of other tests.
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        tokio::time::timeout(PATIENCE, self.running).await.expect("the router stops").unwrap().unwrap();
        assert_eq!(*PANICS.lock().unwrap(), [""; 0], "a task panicked");
    }

    /// Asks the admin endpoint: status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.ready.admin).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) async fn ledger(&self) -> Value {
        serde_json::from_str(&self.get("/ledger").await.1).unwrap()
    }

    /// Why the condition does not hold; empty when it does, or nobody spoke of it.
    pub(crate) async fn failing(&self, condition: &str) -> String {
        let report: Value = serde_json::from_str(&self.get("/readyz").await.1).unwrap();
        let failing = report["failing"].as_array().unwrap().iter().find(|failing| failing["condition"] == condition);
        failing.map_or(String::new(), |failing| failing["reason"].as_str().unwrap().to_owned())
    }

    /// Waits until `is_so`, which is asked again and again.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) {
        let asked = async { while !is_so().await {} };
        assert!(tokio::time::timeout(PATIENCE, asked).await.is_ok(), "not in time: {what}");
    }

    /// Waits until the metric has a series with these labels that counted something. Counters are of the whole process: of all tests.
    pub(crate) async fn counted(&self, metric: &str, labels: &[&str]) {
        let has = |line: &str| line.starts_with(metric) && labels.iter().all(|label| line.contains(label)) && !line.ends_with(" 0");
        let asked = || async { self.get("/metrics").await.1.lines().any(has) };
        self.until(&format!("{metric} {labels:?}"), asked).await;
    }

    /// Waits until a violation of this reason is counted.
    pub(crate) async fn violated(&self, code: &str, reason: &str) {
        let (code, reason) = (format!("code=\"{code}\""), format!("reason=\"{reason}\""));
        self.counted("tributary_router_violations_total", &[&code, &reason]).await;
    }
}

pub(crate) fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| if path.is_dir() { parquet_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "parquet"))
        .collect()
}

pub(crate) fn edge(name: &str) -> EdgeName {
    EdgeName::new(name).unwrap()
}
