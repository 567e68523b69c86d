//! Disks that take nothing. A disk that is full by its budget is in `edge/receiver.rs`, one that fails under way in `src/ingest/tests.rs`.

use edge_gateway::Edge;

use super::support::*;

/// A data_dir that cannot be written is an error at start, with its path and what to do; the addresses are free again.
#[tokio::test]
async fn a_read_only_data_dir_is_an_error_at_start() {
    let (pki, dir) = (Pki::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("otlp.sock");
    let text = format!("receive: {{ grpc: off, http: \"unix:{}\" }}\n", path.display());
    // sysfs takes no directories, not even root's.
    let read_only = std::path::Path::new("/sys/tributary");
    let error = Edge::start(config(&pki, read_only, nowhere(), &text)).await.unwrap_err().to_string();
    assert!(error.contains("/sys/tributary") && error.contains("check data_dir"), "{error}");
    assert!(!path.exists());
}

/// A data_dir that is a file is told as such.
#[tokio::test]
async fn a_data_dir_that_is_a_file_is_an_error_at_start() {
    let (pki, dir) = (Pki::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("data");
    std::fs::write(&file, "").unwrap();
    let error = Edge::start(config(&pki, &file, nowhere(), RECEIVE)).await.unwrap_err().to_string();
    assert!(error.contains(&*file.display().to_string()) && error.contains("check data_dir"), "{error}");
}
