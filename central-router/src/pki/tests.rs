use std::os::unix::fs::PermissionsExt;

use service::tls::TlsFiles;

use super::*;

fn init_options() -> InitOptions {
    InitOptions {
        router: EdgeName::new("central").unwrap(),
        names: DEFAULT_ROUTER_NAMES.iter().map(|&n| n.to_owned()).collect(),
        days: LEAF_DAYS,
        force: false,
    }
}

fn issue_options(edge: &str, tenants: &[&str]) -> IssueOptions {
    IssueOptions {
        edge: EdgeName::new(edge).unwrap(),
        tenants: tenants.iter().map(|t| TenantId::new(t).unwrap()).collect(),
        days: LEAF_DAYS,
        force: false,
    }
}

fn files_of(identity: &Identity) -> TlsFiles {
    TlsFiles { ca: identity.ca.clone(), cert: identity.cert.clone(), key: identity.key.clone() }
}

/// What is issued loads as both ends' TLS configuration, carries its SPIFFE id, and its keys are for their owner alone.
#[test]
fn issued_identities_load() {
    service::tls::install_provider();
    let dir = tempfile::tempdir().unwrap();
    let made = init(dir.path(), &init_options()).unwrap();
    let edge = issue(dir.path(), &issue_options("eu-1", &["acme", "beta"])).unwrap();
    files_of(&made.router).server_config(&[b"tributary/1"]).unwrap();
    files_of(&edge).client_config(&[b"tributary/1"]).unwrap();
    for key in [&made.ca_key, &made.router.key, &edge.key] {
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
    let pem = std::fs::read(&edge.cert).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    assert_eq!(service::tls::spiffe_id_of(&pem.contents).unwrap().to_string(), "spiffe://tributary/edge/eu-1");
    let listed = Edges::load(&made.edges).unwrap();
    assert_eq!(listed.edges[&EdgeName::new("eu-1").unwrap()].tenants.len(), 2);
}

/// Neither an authority nor an edge's key is overwritten by accident; `--force` does it, and other edges stay listed.
#[test]
fn nothing_is_overwritten_without_force() {
    let dir = tempfile::tempdir().unwrap();
    let made = init(dir.path(), &init_options()).unwrap();
    issue(dir.path(), &issue_options("eu-1", &["acme"])).unwrap();
    issue(dir.path(), &issue_options("us-1", &["acme"])).unwrap();
    let before = std::fs::read(&made.ca_key).unwrap();
    assert!(matches!(init(dir.path(), &init_options()), Err(PkiError::Exists(_))));
    assert!(matches!(issue(dir.path(), &issue_options("eu-1", &["beta"])), Err(PkiError::Exists(_))));
    assert_eq!(std::fs::read(&made.ca_key).unwrap(), before);
    issue(dir.path(), &IssueOptions { force: true, ..issue_options("eu-1", &["beta"]) }).unwrap();
    let listed = Edges::load(&made.edges).unwrap();
    assert_eq!(listed.edges.len(), 2);
    assert!(listed.edges[&EdgeName::new("eu-1").unwrap()].tenants.contains("beta"));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
}

/// Without an authority the message names the command that makes one.
#[test]
fn issue_without_init_says_what_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let error = issue(dir.path(), &issue_options("eu-1", &["acme"])).unwrap_err().to_string();
    assert!(error.contains("pki init") && error.contains("ca.pem"), "{error}");
}
