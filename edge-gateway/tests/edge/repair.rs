//! `spool fsck|export|drop` by the program itself, with the edge running and stopped; and what a start makes of a spool that is not as it
//! was left: each obstacle has a test of its name.

use std::fs;
use std::path::{Path, PathBuf};

use edge_gateway::Edge;
use edge_gateway::config::Config;
use serde_json::{Value, json};
use service::shutdown::Shutdown;

use super::operator::ask;
use super::router::Router;
use super::support::*;

const MORE: &str = "drain: 100ms\nspool: { segment: 1MiB }\n";
/// Batches of ten rows each.
const BATCHES: u64 = 4;

struct Site {
    pki: Pki,
    data: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { pki: Pki::new(), data: tempfile::tempdir().unwrap() }
    }

    fn config(&self, admin: &str) -> (Config, String) {
        let config = config(&self.pki, self.data.path(), nowhere(), &format!("{RECEIVE}{MORE}"));
        let path = self.pki.dir.path().join("edge.yaml");
        let text =
            fs::read_to_string(&path).unwrap().replace("admin: { listen: \"127.0.0.1:0\" }", &format!("admin: {{ listen: \"{admin}\" }}"));
        fs::write(&path, text).unwrap();
        (config, path.display().to_string())
    }

    /// An edge with four batches in its spool and no router.
    async fn filled(&self) -> Edge {
        let edge = Edge::start(self.config("127.0.0.1:0").0).await.unwrap();
        for n in 0..BATCHES {
            assert_eq!(post_logs(&edge, n * 10..n * 10 + 10).await, 200);
            eventually("the batch is in the spool", || edge.ledger()["queue"]["batches"] == n + 1).await;
        }
        edge
    }

    /// The same, and the edge is stopped.
    async fn lived() -> Self {
        let site = Self::new();
        stop(site.filled().await).await;
        site
    }

    fn spool(&self) -> PathBuf {
        self.data.path().join("spool")
    }

    fn index(&self) -> PathBuf {
        self.data.path().join("spool-index")
    }

    /// The segment that has records, the first of them.
    fn segment(&self) -> PathBuf {
        let all = fs::read_dir(self.spool()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).min().unwrap()
    }

    /// Starts an edge with a router: the rows that arrive, and the ledger. All are in it, or counted as dropped.
    async fn arrives(&self, rows: u64) -> Value {
        self.arrives_of(rows, 10 * BATCHES).await
    }

    /// The same, where so many are known to have been received.
    async fn arrives_of(&self, rows: u64, received: u64) -> Value {
        let router = Router::acks_all(&self.pki);
        let edge = Edge::start(config(&self.pki, self.data.path(), router.address, &format!("{RECEIVE}{MORE}"))).await.unwrap();
        eventually("what is whole arrives", || router.seen.lock().rows.len() as u64 == rows).await;
        let account = || account(&edge.ledger(), "shared", "logs");
        eventually("it is counted", || account()["shipped"] == rows && account()["queued"] == 0).await;
        let account = account();
        assert_eq!((&account["received"], &account["balanced"]), (&received.into(), &true.into()), "{account}");
        stop(edge).await;
        account
    }
}

async fn stop(edge: Edge) {
    let shutdown = Shutdown::new();
    shutdown.request();
    edge.run(shutdown).await;
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => assert!(fs::copy(&path, &to).is_ok()),
        }
    }
}

async fn json_of(arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, text) = ask(arguments).await;
    (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// A damaged batch is found with the edge stopped, named, put aside by the repair, counted, and found no more; the others arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_is_named_repaired_and_counted() {
    let site = Site::lived().await;
    let (_, config) = site.config("127.0.0.1:9");
    let listed = json_of(&["spool", "ls", "--json", "--config", &config]).await.1;
    let at = listed["batches"][1]["offset"].as_u64().unwrap() as usize + 200;
    let mut content = fs::read(site.segment()).unwrap();
    content[at] ^= 1;
    fs::write(site.segment(), &content).unwrap();
    let (code, found) = json_of(&["spool", "fsck", "--json", "--config", &config]).await;
    let lost = &found["damaged"][0];
    assert_eq!((code, found["damaged"].as_array().unwrap().len(), &found["whole"]["batches"]), (Some(3), 1, &(BATCHES - 1).into()));
    assert_eq!((&lost["tenant"], &lost["signal"], &lost["rows"]), (&"shared".into(), &"logs".into(), &10.into()));
    assert_eq!(lost["oldest_unix_nano"], 1_700_000_000_000_000_010u64);
    assert_eq!(fs::read(site.segment()).unwrap(), content, "looking changes nothing");
    fs::remove_dir_all(site.index()).unwrap();
    let (code, repaired) = json_of(&["spool", "fsck", "--repair", "--json", "--config", &config]).await;
    assert_eq!((code, &repaired["repaired"]["lost"][0]["rows"]), (Some(0), &10.into()), "{repaired:#}");
    assert_eq!(ask(&["spool", "fsck", "--config", &config]).await.0, Some(0), "nothing is left to do");
    assert_eq!(site.arrives(10 * (BATCHES - 1)).await["dropped"], json!({"damaged": 10}));
}

/// Dropping says what would go and changes nothing; applied, it is counted and noted, with the edge stopped.
#[tokio::test(flavor = "multi_thread")]
async fn drop_with_the_edge_stopped() {
    let site = Site::lived().await;
    let (_, config) = site.config("127.0.0.1:9");
    let seq = json_of(&["spool", "ls", "--json", "--config", &config]).await.1["batches"][2]["seq"].to_string();
    let arguments = ["spool", "drop", "--seqs", &seq, "--reason", "test", "--json", "--config", &config];
    let (code, told) = json_of(&arguments).await;
    assert_eq!((code, &told["applied"], &told["rows"]), (Some(0), &false.into(), &10.into()));
    let (code, told) = json_of(&[&arguments[..], &["--apply"]].concat()).await;
    assert_eq!((code, &told["applied"], &told["rows"]), (Some(0), &true.into(), &10.into()));
    assert_eq!(json_of(&arguments).await.1["rows"], 0, "it is gone");
    assert!(fs::read_to_string(site.data.path().join("drops.jsonl")).unwrap().contains("\"reason\":\"test\""));
    let account = site.arrives(10 * (BATCHES - 1)).await;
    assert_eq!((&account["dropped"], &account["possibly_delivered"]), (&json!({"operator": 10}), &10.into()));
}

/// A running edge is asked, which only its operator may; export works beside it, and what it writes are the batches.
#[tokio::test(flavor = "multi_thread")]
async fn drop_and_export_with_the_edge_running() {
    let site = Site::new();
    let edge = site.filled().await;
    let (_, config) = site.config(&edge.bound.admin.to_string());
    let out = site.data.path().join("out");
    let export = ["spool", "export", "--config", &config, "--format", "otlp", "--json", "--out", out.to_str().unwrap()];
    let (code, told) = json_of(&export).await;
    assert_eq!((code, &told["batches"], &told["rows"]), (Some(0), &BATCHES.into(), &(10 * BATCHES).into()));
    let request = fs::read(files(&out).into_iter().min().unwrap()).unwrap();
    let request: opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest = prost::Message::decode(&request[..]).unwrap();
    assert_eq!(request.resource_logs[0].scope_logs[0].log_records.len(), 10);

    let drop = ["spool", "drop", "--tenant", "shared", "--seqs", "1-2", "--reason", "test", "--json", "--apply", "--config", &config];
    let token = site.data.path().join("operator.token");
    let secret = fs::read(&token).unwrap();
    fs::write(&token, "guessed").unwrap();
    let (code, text) = ask(&drop).await;
    assert!(code == Some(1) && text.contains("401") && edge.ledger()["queue"]["batches"] == BATCHES, "{text}");
    fs::write(&token, secret).unwrap();
    let (code, told) = json_of(&drop).await;
    assert_eq!((code, &told["batches"], &edge.ledger()["queue"]["batches"]), (Some(0), &2.into(), &(BATCHES - 2).into()));
    let account = account(&edge.ledger(), "shared", "logs");
    assert_eq!(
        (&account["dropped"], &account["possibly_delivered"], &account["balanced"]),
        (&json!({"operator": 20}), &0.into(), &true.into())
    );
    let (code, text) = ask(&["spool", "drop", "--reason", "test", "--config", &config]).await;
    assert!(code == Some(1) && text.contains("nothing is selected"), "{text}");
    let (code, text) = ask(&["spool", "fsck", "--repair", "--config", &config]).await;
    assert!(code == Some(1) && text.contains("stop that process"), "{text}");
    stop(edge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_index_is_made_anew() {
    let site = Site::lived().await;
    fs::remove_dir_all(site.index()).unwrap();
    site.arrives(10 * BATCHES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_made_anew() {
    let site = Site::lived().await;
    for file in files(&site.index()) {
        fs::write(file, b"noise").unwrap();
    }
    site.arrives(10 * BATCHES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_index_is_made_anew() {
    let (site, other) = (Site::lived().await, Site::lived().await);
    fs::remove_dir_all(site.index()).unwrap();
    copy(&other.index(), &site.index());
    site.arrives(10 * BATCHES).await;
}

/// An index that knows more than the segments do.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_index_is_made_anew() {
    let site = Site::lived().await;
    let old = tempfile::tempdir().unwrap();
    copy(site.data.path(), old.path());
    let edge = Edge::start(site.config("127.0.0.1:0").0).await.unwrap();
    assert_eq!(post_logs(&edge, 100..110).await, 200);
    eventually("the batch is in the spool", || edge.ledger()["queue"]["batches"] == BATCHES + 1).await;
    stop(edge).await;
    let newer = tempfile::tempdir().unwrap();
    copy(&site.index(), newer.path());
    for dir in ["spool", "inbox", "spool-index"] {
        fs::remove_dir_all(site.data.path().join(dir)).unwrap();
        let from = if dir == "spool-index" { newer.path().to_owned() } else { old.path().join(dir) };
        copy(&from, &site.data.path().join(dir));
    }
    site.arrives(10 * BATCHES).await;
}

/// An end of the last segment that is gone, with the checkpoint in it, costs what was in it: nothing on the disk remembers its rows, and
/// the ledger is made anew from what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_segment_costs_its_end() {
    let site = Site::lived().await;
    let (_, config) = site.config("127.0.0.1:9");
    let listed = json_of(&["spool", "ls", "--json", "--config", &config]).await.1;
    let last = listed["batches"][BATCHES as usize - 1]["offset"].as_u64().unwrap();
    fs::OpenOptions::new().write(true).open(site.segment()).unwrap().set_len(last + 60).unwrap();
    let rows = 10 * (BATCHES - 1);
    site.arrives_of(rows, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alien_file_is_left_alone() {
    let site = Site::lived().await;
    let alien = site.spool().join("0000000099-00000000000000000777.seg.bak");
    fs::write(&alien, b"mine").unwrap();
    site.arrives(10 * BATCHES).await;
    assert_eq!(fs::read(alien).unwrap(), b"mine");
}

/// A segment of a later version: the edge does not start, and names the file, the version, and what to run.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_a_newer_format_says_what_to_run() {
    let site = Site::lived().await;
    let mut content = fs::read(site.segment()).unwrap();
    for at in [0, 64] {
        content[at + 8] = 9;
        let crc = crc32c::crc32c(&content[at..at + 60]).to_le_bytes();
        content[at + 60..at + 64].copy_from_slice(&crc);
    }
    fs::write(site.segment(), &content).unwrap();
    let error = Edge::start(site.config("127.0.0.1:0").0).await.unwrap_err().to_string();
    let name = site.segment().file_name().unwrap().to_str().unwrap().to_owned();
    for expected in ["spool", &name, "format version 9", "run the newer version"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert_eq!(fs::read(site.segment()).unwrap(), content);
}

/// A disk that takes no write, as root cannot be kept from writing otherwise: the edge does not start and says what it tried where.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_says_so() {
    let site = Site::new();
    let config = Config { data_dir: PathBuf::from("/proc/tributary"), ..site.config("127.0.0.1:0").0 };
    let error = Edge::start(config).await.unwrap_err().to_string();
    assert!(error.contains("/proc/tributary") && error.contains("check data_dir"), "{error}");
}

/// The same of a spool that is there, on a mount that became read-only.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: mounts"]
async fn a_mount_that_became_read_only_says_so() {
    let site = Site::lived().await;
    let mount = |arguments: &[&str]| {
        let done = std::process::Command::new("mount").args(arguments).arg(site.data.path()).status().unwrap();
        assert!(done.success());
    };
    let data = site.data.path().to_str().unwrap();
    mount(&["--bind", data]);
    mount(&["-o", "remount,ro,bind"]);
    let error = Edge::start(site.config("127.0.0.1:0").0).await.unwrap_err().to_string();
    let unmounted = std::process::Command::new("umount").arg(site.data.path()).status().unwrap();
    assert!(unmounted.success());
    for expected in [data, "Read-only file system", "check that the directory is writable"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
