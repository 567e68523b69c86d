//! An OpenTelemetry SDK that nobody here wrote sends; a Parquet reader that nobody here wrote reads; every field is compared.
#![expect(clippy::expect_used, reason = "a test ends where it breaks")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos::stand::Stand;
use chaos::stand::layout::{EdgeSpec, Layout};
use tokio::process::Command;

/// Where `.ci/setup` installs the Python packages; `TRIBUTARY_INTEROP_PYTHON` names another interpreter that has them.
fn python() -> PathBuf {
    std::env::var_os("TRIBUTARY_INTEROP_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop-venv/bin/python"), PathBuf::from)
}

async fn script(name: &str, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name);
    let output = Command::new(python()).arg(script).args(arguments).output().await.expect("python of .ci/setup");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {arguments:?}\n{out}\n{err}");
    println!("{out}");
}

/// What the Python SDK exports over gRPC and over HTTP is in Parquet field by field, for all three signals.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the Python packages of .ci/setup"]
async fn python_sdk_to_parquet_field_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let specs = vec![EdgeSpec::new("edge-a", "eu-west-1", &["acme"]).unwrap()];
    let mut stand = Stand::start(&layout, env!("CARGO_BIN_EXE_tributary-chaos").into(), specs).await.unwrap();
    let edge = &stand.edges[0].spec;
    let (grpc, http, token) = (format!("http://{}", edge.grpc), format!("http://{}", edge.http), edge.tenants[0].1.clone());
    let expected = dir.path().join("expected.json");
    let expected = expected.to_str().unwrap();

    script("send.py", &[&grpc, &http, &token, expected]).await;
    stand.drained(Duration::from_secs(60)).await.unwrap();
    stand.stop().await.unwrap();
    script("compare.py", &[layout.tier().to_str().unwrap(), "acme", expected]).await;
}
