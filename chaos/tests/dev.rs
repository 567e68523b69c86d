//! `dev` as a user runs it: started, fed over OTLP/HTTP, read back with the commands that it prints, and ended by Ctrl-C.
#![expect(clippy::unwrap_used, reason = "a test ends where it breaks")]

use std::process::Stdio;
use std::time::Duration;

use chaos::stand::layout::free_address;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Long enough for the slowest machine; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(dir: &std::path::Path, http: u16) -> (Child, String) {
    let ports: Vec<String> = [http, port(), port(), port()].iter().map(ToString::to_string).collect();
    let options = ["--port-http", &ports[0], "--port-grpc", &ports[1], "--port-router", &ports[2], "--port-edge", &ports[3]];
    let mut dev = Command::new(env!("CARGO_BIN_EXE_tributary-chaos"))
        .args(["dev", "--dir", dir.to_str().unwrap()])
        .args(options)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let mut page = String::new();
    let printed = async {
        while !page.contains("files are in") {
            page += &lines.next_line().await.unwrap().unwrap();
            page.push('\n');
        }
    };
    timeout(PATIENCE, printed).await.unwrap();
    (dev, page)
}

fn port() -> u16 {
    free_address().unwrap().port()
}

async fn stop(mut dev: Child) {
    let pid = Pid::from_raw(i32::try_from(dev.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert!(timeout(PATIENCE, dev.wait()).await.unwrap().unwrap().success());
}

async fn send(http: u16, body: &str) {
    let text = |text: &str| Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
    let record = LogRecord { time_unix_nano: chaos::clock::unix_nano(), body: text(body), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] };
    let (request, mut answer) = (request.encode_to_vec(), String::new());
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: edge\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        request.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", http)).await.unwrap();
    stream.write_all(&[head.as_bytes(), &request].concat()).await.unwrap();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The command in the page that has these words, as a user pastes it.
fn command(page: &str, words: &str) -> String {
    page.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words}: {page}")).trim().to_owned()
}

async fn paste(line: &str) -> (bool, String) {
    let output = timeout(PATIENCE, Command::new("sh").args(["-c", line]).output()).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// What is sent is there seconds later, by the commands as they are printed; Ctrl-C ends it cleanly; and what was kept is gone on with.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_read_back_by_what_is_printed() {
    let (parent, http) = (tempfile::tempdir().unwrap(), port());
    let dir = parent.path().join("it's mine");
    let (dev, page) = start(&dir, http).await;
    send(http, "first").await;
    let look = command(&page, " traces --limit").replace(" traces ", " logs ");
    let there = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while !paste(&look).await.1.contains("first") {
            tick.tick().await;
        }
    };
    assert!(timeout(PATIENCE, there).await.is_ok(), "{look}: {:?}", paste(&look).await);
    for (words, expected) in [("look --dir", "otel_logs"), (" edge status", "ready"), (" router ledger", "it balances")] {
        let (well, said) = paste(&command(&page, words)).await;
        assert!(well && said.contains(expected), "{words}: {said}");
    }
    let (well, said) = paste(&command(&page, " router ledger").replace(" ledger ", " edges ")).await;
    assert!(well && said.contains("connected") && said.contains("1 of 1 allowed edges"), "{said}");
    let tail = command(&page, " router tail") + " --limit 1 --json";
    let mut tail = Command::new("sh").args(["-c", &tail]).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut said = BufReader::new(tail.stderr.take().unwrap()).lines();
    assert!(timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap().contains("tailing dev"));
    send(http, "second").await;
    let mut shown = String::new();
    timeout(PATIENCE, tail.stdout.take().unwrap().read_to_string(&mut shown)).await.unwrap().unwrap();
    assert!(shown.contains("\"body\":\"second\""), "{shown}");
    stop(dev).await;

    let (dev, page) = start(&dir, port()).await;
    let (_, said) = paste(&command(&page, " traces --limit").replace(" traces ", " logs ")).await;
    assert!(said.contains("first") && said.contains("second"), "{said}");
    stop(dev).await;
}
