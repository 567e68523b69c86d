use std::fs;
use std::sync::Arc;

use federation_proto::identity::TenantId;
use segment_log::{Log, MemoryIndex, Options, SimStore};

use super::*;
use crate::identity::Accepts;

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
    let listeners: Vec<_> = config.receive.listeners.iter().map(|l| (l.key.as_str(), l.address.to_string(), l.protocol)).collect();
    let expected = [("receive.grpc", "0.0.0.0:4317", Protocol::Grpc), ("receive.http", "0.0.0.0:4318", Protocol::Http)];
    assert_eq!(listeners, expected.map(|(key, address, protocol)| (key, address.to_owned(), protocol)));
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
        ("inbox: { budget: 127MiB, recent: 524288 }", "inbox.recent"),
        ("spool: { budget: 64MiB }", "spool.budget"),
        ("spool: { segment: 2GiB }", "spool.segment"),
        ("identity: { tokens: [ { sha256: abc, tenant: acme } ] }", "identity.tokens[0].sha256"),
        ("tenants: { acme: { class: urgent } }", "tenants.acme.class"),
        ("tenant: { acme: { class: high } }", "tenant"),
    ] {
        let error = load(&format!("{LEAST}{more}\n")).unwrap_err();
        assert!(error.contains(&format!(" {key}: ")), "{more}: {error}");
        assert!(error.contains("edge.yaml:6:"), "{more}: {error}");
    }
}

/// An inbox with the least budget for its hashes takes largest requests, one after the other, whenever the ones before are done with.
#[test]
fn the_least_budget_for_the_hashes_is_enough() {
    let config = load(&format!("{LEAST}receive: {{ max_request: 4MiB }}\ninbox: {{ budget: 16MiB, recent: 65536 }}\n")).unwrap();
    let (segment_bytes, budget_bytes) = (config.inbox.segment_bytes, config.inbox.budget_bytes);
    let options = Options { segment_bytes, budget_bytes, max_record_bytes: 9 << 20, ..Options::default() };
    let (mut log, _) = Log::open(Arc::new(SimStore::new(1)), Box::new(MemoryIndex::new()), options).unwrap();
    let (request, hashes) = (vec![0; config.receive.max_request_bytes], vec![0; 16 * config.inbox.recent]);
    for _ in 0..6 {
        let seq = log.append(b"", &request).unwrap();
        log.sync().unwrap();
        log.ack(seq);
        log.checkpoint(&hashes).unwrap();
    }
}

const IDENTITY: &str = "identity: { default_tenant: acme, tokens: [ { sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b, \
                        tenant: acme } ], certificates: [ { spiffe: spiffe://a.example/cart, tenant: shop } ] }\n";

/// A listener is an address, a mapping, or off; each takes what it says, or all that is configured for it.
#[test]
fn listeners_in_all_forms() {
    let receive = "receive:\n  grpc: off\n  http: { listen: \"127.0.0.1:4318\", tls: { cert: a.pem, key: a.key }, accept: [token] }\n  \
                   listeners:\n    - unix:/run/otlp.sock\n    - { listen: \"unix:/run/b.sock\", mode: 0600, protocol: grpc, \
                   default_tenant: node, accept: [default] }\n    - { listen: \"127.0.0.1:4320\", tls: { cert: a.pem, key: a.key, \
                   client_ca: ca.pem } }\n";
    let config = load(&format!("{LEAST}{IDENTITY}{receive}")).unwrap();
    let tenant = |name: &str| TenantId::new(name).ok();
    let found: Vec<_> = config.receive.listeners.into_iter().map(|l| (l.key, l.protocol, l.mode.0, l.accepts)).collect();
    let accepts = |certificate, token, default_tenant| Accepts { certificate, token, default_tenant };
    let expected = [
        ("receive.http".to_owned(), Protocol::Http, 0o660, accepts(false, true, None)),
        ("receive.listeners[0]".to_owned(), Protocol::Any, 0o660, accepts(false, true, tenant("acme"))),
        ("receive.listeners[1]".to_owned(), Protocol::Grpc, 0o600, accepts(false, false, tenant("node"))),
        ("receive.listeners[2]".to_owned(), Protocol::Any, 0o660, accepts(true, true, tenant("acme"))),
    ];
    assert_eq!(found, expected);
}

/// A listener that cannot be meant is refused, with the key that is wrong.
#[test]
fn impossible_listeners_name_their_key() {
    let tls = "tls: { cert: a.pem, key: a.key }";
    for (receive, key) in [
        ("{ grpc: localhost:4317 }".to_owned(), "receive.grpc"),
        ("{ grpc: unix:otlp.sock }".to_owned(), "receive.grpc"),
        (format!("{{ grpc: \"unix:/{}\" }}", "x".repeat(100)), "receive.grpc"),
        ("{ grpc: true }".to_owned(), "receive.grpc"),
        ("{ grpc: { listne: \"127.0.0.1:1\" } }".to_owned(), "receive.grpc.listne"),
        ("{ grpc: { mode: 0600 } }".to_owned(), "receive.grpc.listen"),
        ("{ grpc: { listen: \"127.0.0.1:1\", protocol: http } }".to_owned(), "receive.grpc.protocol"),
        ("{ grpc: { listen: \"127.0.0.1:1\", mode: 0600 } }".to_owned(), "receive.grpc.mode"),
        ("{ grpc: { listen: \"unix:/a.sock\", mode: 0999 } }".to_owned(), "receive.grpc.mode"),
        (format!("{{ grpc: {{ listen: \"unix:/a.sock\", {tls} }} }}"), "receive.grpc.tls"),
        ("{ grpc: { listen: \"127.0.0.1:1\", tls: { cert: a.pem } } }".to_owned(), "receive.grpc.tls.key"),
        (format!("{{ grpc: {{ listen: \"127.0.0.1:1\", {tls}, accept: [certificate] }} }}"), "receive.grpc.accept"),
        ("{ grpc: { listen: \"127.0.0.1:1\", accept: [] } }".to_owned(), "receive.grpc.accept"),
        ("{ grpc: { listen: \"127.0.0.1:1\", accept: [password] } }".to_owned(), "receive.grpc.accept[0]"),
        ("{ grpc: { listen: \"127.0.0.1:1\", accept: [token], default_tenant: x } }".to_owned(), "receive.grpc.default_tenant"),
        ("{ listeners: [ \"127.0.0.1:1\", { listen: \"127.0.0.1:1\" } ] }".to_owned(), "receive.listeners[1]"),
        ("{ grpc: off, http: off }".to_owned(), "receive"),
        ("{ connections: { max_age: 0s } }".to_owned(), "receive.connections.max_age"),
        // Nobody asks for the certificates that IDENTITY has.
        ("{}".to_owned(), "identity.certificates"),
    ] {
        let error = load(&format!("{LEAST}{IDENTITY}receive: {receive}\n")).unwrap_err();
        assert!(error.contains(&format!(" {key}: ")), "{receive}: {error}");
    }
    for accept in ["token", "default", "certificate"] {
        let asks = "tls: { cert: a.pem, key: a.key, client_ca: ca.pem }";
        let error = load(&format!("{LEAST}receive: {{ http: {{ listen: \"127.0.0.1:1\", {asks}, accept: [{accept}] }} }}\n")).unwrap_err();
        assert!(error.contains(" receive.http.accept: "), "{accept}: {error}");
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
