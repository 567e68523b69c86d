use std::fs;

use super::*;

const LEAST: &str =
    "name: eu-1\ndata_dir: /tmp/edge\nship:\n  endpoints: [\"router:4433\"]\n  tls: { ca: ca.pem, cert: edge.pem, key: edge.key }\n";

fn load(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.yaml");
    fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|error| error.to_string())
}

/// The shortest file that says what only the operator knows is enough, and the defaults are the documented ones.
#[test]
fn the_least_file_runs() {
    let config = load(LEAST).unwrap();
    assert_eq!(config.receive.grpc.to_string(), "0.0.0.0:4317");
    assert_eq!(config.receive.http.to_string(), "0.0.0.0:4318");
    assert_eq!((config.batch.rows, config.batch.raw_bytes, config.batch.age), (10_000, 6 << 20, Duration::from_secs(5)));
    assert_eq!(config.ship.endpoints, [Endpoint { address: "router:4433".to_owned(), server_name: "router".to_owned() }]);
    assert_eq!(config.ship.link_cap, None);
    assert!(config.workers >= 1);
}

/// Every bound that a type cannot say is said with its key and what is expected.
#[test]
fn impossible_values_name_their_key() {
    for (more, key) in [
        ("receive: { max_request: 1KiB }", "receive.max_request"),
        ("receive: { memory: 17MiB }", "receive.memory"),
        ("receive: { grpc: \"0.0.0.0:4318\" }", "receive.http"),
        ("batch: { rows: 0 }", "batch.rows"),
        ("batch: { age: 0s }", "batch.age"),
        ("batch: { open: 1MiB }", "batch.open"),
        ("inbox: { budget: 20MiB }", "inbox.budget"),
        ("inbox: { commit_wait: 20ms }", "inbox.commit_wait"),
        ("spool: { budget: 64MiB }", "spool.budget"),
        ("identity: { tokens: [ { sha256: abc, tenant: acme } ] }", "identity.tokens[0].sha256"),
        ("tenants: { acme: { class: urgent } }", "tenants.acme.class"),
        ("tenant: { acme: { class: high } }", "tenant"),
    ] {
        let error = load(&format!("{LEAST}{more}\n")).unwrap_err();
        assert!(error.contains(&format!(" {key}: ")), "{more}: {error}");
        assert!(error.contains("edge.yaml:6:"), "{more}: {error}");
    }
}

/// An endpoint is a host and a port, with the host as the expected name unless another is given.
#[test]
fn endpoints_are_host_and_port() {
    for bad in ["router", "router:", ":4433", "router:0", "router:70000", ""] {
        assert!(endpoint(bad, None).is_err(), "{bad:?}");
    }
    assert_eq!(endpoint("[::1]:4433", None).unwrap().server_name, "::1");
    assert_eq!(endpoint("10.0.0.1:4433", Some("router.example")).unwrap().server_name, "router.example");
}
