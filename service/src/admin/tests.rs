use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::observe::install_metrics;

/// Longer than the server may keep any connection.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

struct Running {
    addr: SocketAddr,
    readiness: Readiness,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

fn admin() -> Admin {
    Admin {
        listen: "127.0.0.1:0".parse().expect("an address"),
        readiness: Readiness::new(),
        ledger: Arc::new(|| json!({ "received": 7 })),
        metrics: install_metrics(),
    }
}

async fn start(extra: Router) -> Running {
    let admin = admin();
    let readiness = admin.readiness.clone();
    let bound = admin.bind().await.expect("binds").merge("/extra    more\n", extra);
    let addr = bound.local_addr();
    let shutdown = Shutdown::new();
    let task = tokio::spawn(bound.serve(shutdown.clone()));
    Running { addr, readiness, shutdown, task }
}

/// Sends `request` as it is and reads until the server closes: status, head and body.
async fn send(addr: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    // A server that refuses a request may reset the connection behind its answer.
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = closed.expect("the server closes");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), head.to_owned(), body.to_owned())
}

async fn get(addr: SocketAddr, path: &str) -> (u16, String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    send(addr, &request).await
}

/// Every path that the index lists answers, and nothing else does.
#[tokio::test]
async fn every_endpoint_answers() {
    let admin = start(Router::new().route("/extra", axum::routing::get(|| async { "more" }))).await;
    admin.readiness.set("router_connected", Ok(()));
    metrics::counter!("tributary_admin_test_total").increment(1);
    let (status, _, index) = get(admin.addr, "/").await;
    assert_eq!(status, 200);
    for path in index.lines().filter_map(|line| line.split(' ').next()) {
        let (status, ..) = get(admin.addr, path).await;
        assert_eq!(status, 200, "{path}");
    }
    let (_, head, metrics) = get(admin.addr, "/metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(metrics.contains("tributary_service_condition{condition=\"router_connected\"}"), "{metrics}");
    assert!(metrics.contains("tributary_admin_test_total 1"), "{metrics}");
    assert!(metrics.contains("process_open_fds "), "{metrics}");
    let (_, head, ledger) = get(admin.addr, "/ledger").await;
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(ledger, r#"{"received":7}"#);
    assert_eq!(get(admin.addr, "/extra").await.2, "more");
    let (status, _, told) = get(admin.addr, "/secrets").await;
    assert!(status == 404 && told.contains("/ lists what there is"), "{status} {told}");
}

/// `/healthz` says that the process lives; `/readyz` says whether data moves, and if not, what
/// fails, why, and since when.
#[tokio::test]
async fn readyz_gives_the_reasons() {
    let admin = start(Router::new()).await;
    assert_eq!(get(admin.addr, "/readyz").await.0, 503, "nobody said so yet");
    assert_eq!(get(admin.addr, "/healthz").await.0, 200);
    admin.readiness.set("spool_writable", Ok(()));
    assert!(admin.readiness.is_ready());
    assert_eq!(get(admin.addr, "/readyz").await.0, 200);
    admin.readiness.set("router_connected", Err("connection refused"));
    let (status, _, body) = get(admin.addr, "/readyz").await;
    assert_eq!(status, 503);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["ready"], false);
    assert_eq!(body["holding"], json!(["spool_writable"]));
    let failing = &body["failing"][0];
    assert_eq!(failing["condition"], "router_connected");
    assert_eq!(failing["reason"], "connection refused");
    assert!(failing["since_unix_seconds"].as_u64() > Some(1_700_000_000));
    assert_eq!(get(admin.addr, "/healthz").await.0, 200);
    admin.readiness.set("router_connected", Ok(()));
    assert_eq!(get(admin.addr, "/readyz").await.0, 200);
}

/// A ledger that panics is an error of that request, not of the process.
#[tokio::test]
async fn a_failing_source_is_an_error_of_its_request() {
    let mut failing = admin();
    failing.ledger = Arc::new(|| panic!("on purpose"));
    let bound = failing.bind().await.expect("binds");
    let addr = bound.local_addr();
    tokio::spawn(bound.serve(Shutdown::new()));
    let (status, _, body) = get(addr, "/ledger").await;
    assert_eq!(status, 500);
    assert!(body.contains("see the log"), "{body}");
    assert_eq!(get(addr, "/healthz").await.0, 200);
}

/// Requests beyond their bounds are refused while others are answered.
#[tokio::test]
async fn requests_are_bounded() {
    let echo = axum::routing::post(|body: String| async move { body });
    let admin = start(Router::new().route("/echo", echo)).await;
    let huge = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    assert_eq!(send(admin.addr, &huge).await.0, 431);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100));
    assert_eq!(send(admin.addr, &many).await.0, 431);
    let post = |len: usize| {
        let body = "z".repeat(len);
        format!("POST /echo HTTP/1.1\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}")
    };
    assert_eq!(send(admin.addr, &post(server::MAX_BODY_BYTES + 1)).await.0, 413);
    assert_eq!(send(admin.addr, &post(5)).await.2, "zzzzz");
    assert_eq!(get(admin.addr, "/healthz").await.0, 200);
}

/// A client that begins a request and never ends it does not keep its connection, nor does one
/// whose request is never answered.
#[tokio::test(start_paused = true)]
async fn a_stalled_connection_is_closed() {
    let never = axum::routing::get(std::future::pending::<&str>);
    let admin = start(Router::new().route("/never", never)).await;
    for (request, at_least, at_most) in [("GET / HT", 10, 11), ("GET /never HTTP/1.1\r\nhost: admin\r\n\r\n", 60, 63)] {
        let begun = tokio::time::Instant::now();
        let (status, ..) = send(admin.addr, request).await;
        let seconds = begun.elapsed().as_secs();
        assert!((at_least..=at_most).contains(&seconds), "{request}: {seconds}");
        assert_ne!(status, 200);
    }
}

/// Half requests that take all places delay the next question by no more than a head may take, and are counted.
#[tokio::test(start_paused = true)]
async fn a_crowd_of_half_requests_is_outlasted() {
    let admin = start(Router::new()).await;
    let mut crowd = Vec::new();
    for _ in 0..server::MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(admin.addr).await.expect("connects");
        stream.write_all(b"GET / HT").await.expect("sends");
        crowd.push(stream);
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(get(admin.addr, "/healthz").await.0, 200);
    assert!(begun.elapsed().as_secs() <= 11, "{:?}", begun.elapsed());
    let (_, _, metrics) = get(admin.addr, "/metrics").await;
    assert!(metrics.contains("tributary_service_admin_ended_total{reason=\"head_timeout\"}"), "{metrics}");
    drop(crowd);
}

/// At shutdown a begun request is answered, an idle connection closed, and the address given up.
#[tokio::test]
async fn shutdown_finishes_what_was_begun() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let release = Arc::new(tokio::sync::Notify::new());
    let slow = axum::routing::get({
        let release = Arc::clone(&release);
        move || async move {
            entered.send(()).await.expect("the test waits");
            release.notified().await;
            "finished"
        }
    });
    let admin = start(Router::new().route("/slow", slow)).await;
    let idle = TcpStream::connect(admin.addr).await.expect("connects");
    let request = tokio::spawn(async move { get(admin.addr, "/slow").await });
    has_entered.recv().await.expect("entered");
    admin.shutdown.request();
    release.notify_one();
    assert_eq!(request.await.expect("answered").2, "finished");
    admin.task.await.expect("ended");
    drop(idle);
    assert!(TcpStream::connect(admin.addr).await.is_err());
}

/// An address that cannot be had is an error at start, with the key and what to do.
#[tokio::test]
async fn an_occupied_address_says_what_to_do() {
    let first = admin().bind().await.expect("binds");
    let mut second = admin();
    second.listen = first.local_addr().into();
    let error = second.bind().await.expect_err("occupied").to_string();
    let addr = first.local_addr();
    let expected = format!("admin.listen: {addr} is in use: stop the other process or set another port");
    assert_eq!(error, expected);
    let mut elsewhere = admin();
    elsewhere.listen = "192.0.2.1:80".parse().expect("an address");
    let error = elsewhere.bind().await.expect_err("not ours").to_string();
    assert!(error.contains("is not an address of this machine"), "{error}");
}
