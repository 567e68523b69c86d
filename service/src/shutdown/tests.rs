use std::process::Command;

use tokio::time::Instant;

use super::*;

/// Everybody who waits is told, those who come later too, and asking twice changes nothing.
#[tokio::test]
async fn all_clones_are_told() {
    let shutdown = Shutdown::new();
    let waiting = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.requested().await }
    });
    assert!(!shutdown.is_requested());
    shutdown.clone().request();
    shutdown.request();
    waiting.await.expect("told");
    shutdown.requested().await;
    assert!(shutdown.is_requested());
}

/// A wait that is given up and begun again, as in `select!`, loses no request.
#[tokio::test]
async fn waiting_can_be_cancelled() {
    let shutdown = Shutdown::new();
    tokio::select! {
        biased;
        () = shutdown.requested() => panic!("nobody asked"),
        () = std::future::ready(()) => {}
    }
    shutdown.request();
    shutdown.requested().await;
}

/// A drain gives what its work gives, or says that the deadline passed, no later than it did.
#[tokio::test]
async fn a_drain_ends_by_its_deadline() {
    let deadline = Duration::from_millis(20);
    assert_eq!(drain(deadline, async { 7 }).await, Ok(7));
    let begun = Instant::now();
    let never = drain(deadline, std::future::pending::<()>()).await;
    assert_eq!(never, Err(DrainTimeout { deadline }));
    assert!(begun.elapsed() >= deadline);
    let line = DrainTimeout { deadline }.to_string();
    assert!(line.starts_with("not drained within 20ms: "), "{line}");
}

/// What the child of [`a_second_signal_exits_at_once`] says when it begins to drain.
const DRAINING: &str = "draining";
const CHILD: &str = "TRIBUTARY_SHUTDOWN_TEST_CHILD";

/// The child's part: waits for a signal, says so, and then drains for longer than
/// its parent waits.
#[test]
fn child_that_drains_too_long() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().expect("handlers");
        eprintln!("ready");
        shutdown.requested().await;
        eprintln!("{DRAINING}");
        let _ = drain(Duration::from_secs(5), std::future::pending::<()>()).await;
    });
}

/// The first SIGTERM asks for the drain; the second one ends the process at once with 143, a
/// SIGINT with 130.
#[test]
fn a_second_signal_exits_at_once() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    for (second, code) in [("TERM", 143), ("INT", 130)] {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "--nocapture", "shutdown::tests::child_that_drains_too_long"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let stderr = child.stderr.take().expect("its stderr");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let signal = |name: &str| {
            let kill = format!("kill -s {name} {}", child.id());
            let kill = Command::new("sh").args(["-c", &kill]).status();
            assert!(kill.expect("kill runs").success());
        };
        assert!(lines.any(|line| line.contains("ready")));
        signal("TERM");
        assert!(lines.any(|line| line.contains(DRAINING)), "the drain began");
        signal(second);
        assert_eq!(child.wait().expect("it ends").code(), Some(code));
    }
}
