use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConnection, ServerConnection};

use super::*;

const ALPN: &[&[u8]] = &[b"tributary/1"];
const EDGE: &str = "spiffe://tributary/edge/paris-1";

/// A CA of its own, and the directory in which it writes what it issues.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().expect("ASCII"))
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("ASCII"))
}

fn leaf(names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signs");
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("written");
        Self { issuer: Issuer::new(params, key), dir }
    }

    fn issue(&self, name: &str, params: &CertificateParams) -> TlsFiles {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        let path = |suffix: &str| self.dir.path().join(format!("{name}.{suffix}"));
        fs::write(path("pem"), certificate.pem()).expect("written");
        fs::write(path("key"), key.serialize_pem()).expect("written");
        TlsFiles { ca: self.dir.path().join("ca.pem"), cert: path("pem"), key: path("key") }
    }

    fn edge(&self) -> TlsFiles {
        self.issue("edge", &leaf(vec![uri(EDGE)]))
    }

    fn router(&self) -> TlsFiles {
        let id = uri("spiffe://tributary/router/one");
        self.issue("router", &leaf(vec![id, dns("router.test")]))
    }
}

fn connect(client: &TlsFiles, server: &TlsFiles) -> Result<ServerConnection, rustls::Error> {
    let client = client.client_config(ALPN).expect("a client");
    handshake(client, server, "router.test")
}

/// A whole handshake in memory; the first error of either side.
fn handshake(client: Arc<ClientConfig>, server: &TlsFiles, name: &str) -> Result<ServerConnection, rustls::Error> {
    shake(client, server.server_config(ALPN).expect("a server"), name)
}

fn shake(client: Arc<ClientConfig>, server: Arc<ServerConfig>, name: &str) -> Result<ServerConnection, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        server.read_tls(&mut wire.as_slice()).expect("memory");
        server.process_new_packets()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        client.read_tls(&mut wire.as_slice()).expect("memory");
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(server)
}

#[track_caller]
fn refused(result: Result<ServerConnection, rustls::Error>) -> CertificateError {
    match result {
        Err(rustls::Error::InvalidCertificate(error)) => error,
        other => panic!("expected a refused certificate, got {other:?}"),
    }
}

/// Both sides of one CA meet over TLS 1.3 and the protocol asked for, and the server learns who
/// the client is.
#[test]
fn peers_of_one_ca_know_each_other() {
    install_provider();
    install_provider();
    let ca = Ca::new();
    let server = connect(&ca.edge(), &ca.router()).expect("connects");
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(server.alpn_protocol(), Some(ALPN[0]));
    let peer = &server.peer_certificates().expect("certificates")[0];
    let id = spiffe_id_of(peer).expect("an id");
    assert_eq!((id.kind(), id.name()), (SpiffeKind::Edge, "paris-1"));
    assert_eq!(ca.edge().own_id().expect("an id"), id);
}

/// A certificate of another CA is refused, whichever side shows it.
#[test]
fn a_foreign_ca_is_refused() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let with_our_ca = |mut files: TlsFiles| {
        files.ca = ours.dir.path().join("ca.pem");
        files
    };
    let foreign_edge = connect(&with_our_ca(theirs.edge()), &ours.router());
    let foreign_router = connect(&ours.edge(), &with_our_ca(theirs.router()));
    for result in [foreign_edge, foreign_router] {
        let error = refused(result);
        let unknown = matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature);
        assert!(unknown, "{error:?}");
    }
}

/// A certificate outside its dates is refused, whichever side shows it.
#[test]
fn an_expired_certificate_is_refused() {
    let ca = Ca::new();
    let with_dates = |name: &str, from: i32, to: i32| {
        let mut params = leaf(vec![uri(EDGE), dns("router.test")]);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        ca.issue(name, &params)
    };
    let expired = with_dates("expired", 2001, 2002);
    let future = with_dates("future", 4000, 4001);
    let (edge, router) = (ca.edge(), ca.router());
    for result in [connect(&expired, &router), connect(&edge, &expired)] {
        let error = refused(result);
        assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
    }
    let error = refused(connect(&future, &router));
    assert!(matches!(error, CertificateError::NotValidYetContext { .. }), "{error:?}");
}

/// Who starts with a certificate outside its dates is told so by its own side, with the file and the date.
#[test]
fn dates_are_checked_where_the_certificate_is() {
    let ca = Ca::new();
    let mut params = leaf(vec![uri(EDGE)]);
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let files = ca.issue("dated", &params);
    let listener = ListenerTls { cert: files.cert.clone(), key: files.key.clone(), client_ca: None };
    let at = |year| SystemTime::from(date_time_ymd(year, 6, 1));
    assert!(files.valid_at(at(2001)).is_ok() && listener.valid_at(at(2001)).is_ok());
    for (year, told) in [(2000, "is not valid before Jan  1"), (2002, "expired at Jan  1")] {
        for error in [files.valid_at(at(year)).unwrap_err(), listener.valid_at(at(year)).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains(told) && error.starts_with(&files.cert.display().to_string()), "{error}");
        }
    }
}

/// A client without a certificate gets no connection.
#[test]
fn a_client_without_a_certificate_is_refused() {
    let ca = Ca::new();
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots(&ca.edge().ca, INIT).expect("roots"))
        .with_no_client_auth();
    let result = handshake(Arc::new(client), &ca.router(), "router.test");
    assert_eq!(result.expect_err("refused"), rustls::Error::NoCertificatesPresented);
}

/// A server that offers TLS 1.3 alone speaks nothing older.
#[test]
fn tls_1_2_is_refused() {
    let ca = Ca::new();
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("TLS 1.2")
        .with_root_certificates(roots(&ca.edge().ca, INIT).expect("roots"))
        .with_no_client_auth();
    let result = handshake(Arc::new(client), &ca.router(), "router.test");
    assert!(matches!(result, Err(rustls::Error::PeerIncompatible(_))));
}

/// A certificate for another name is refused, an edge's in a router's place too.
#[test]
fn a_server_must_have_the_name_it_was_called_by() {
    let ca = Ca::new();
    let client = ca.edge().client_config(ALPN).expect("a client");
    let error = refused(handshake(Arc::clone(&client), &ca.router(), "other.test"));
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
    refused(handshake(client, &ca.edge(), "router.test"));
}

/// What is wrong with a file is said with its path and what to do.
#[test]
fn an_unusable_file_is_named_with_a_remedy() {
    let ca = Ca::new();
    let good = ca.edge();
    let write = |name: &str, text: &str| {
        let path = ca.dir.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let absent = ca.dir.path().join("absent.pem");
    let empty = write("empty.pem", "");
    let damaged = write("damaged.pem", "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n");
    let large = write("large.pem", &"#".repeat(MAX_PEM_BYTES as usize + 1));
    let other_key = ca.router().key;
    let cases: [(&Path, TlsFiles, &str); 8] = [
        (&absent, with(&good, |f| f.cert.clone_from(&absent)), "No such file"),
        (&absent, with(&good, |f| f.ca.clone_from(&absent)), "pki init"),
        (&absent, with(&good, |f| f.key.clone_from(&absent)), "pki issue"),
        (&empty, with(&good, |f| f.cert.clone_from(&empty)), "no certificate in it"),
        (&good.cert, with(&good, |f| f.key.clone_from(&good.cert)), "no private key in it"),
        (&damaged, with(&good, |f| f.ca.clone_from(&damaged)), "not PEM"),
        (&large, with(&good, |f| f.ca.clone_from(&large)), "larger than 1MiB"),
        (&other_key, with(&good, |f| f.key.clone_from(&other_key)), "is not the key of"),
    ];
    for (path, files, expected) in cases {
        let client = files.client_config(ALPN).map(drop);
        let server = files.server_config(ALPN).map(drop);
        for result in [client, server] {
            let line = result.expect_err(expected).to_string();
            assert!(line.starts_with(&format!("{}: ", path.display())), "{line}");
            assert!(line.contains(expected), "{line}");
            assert!(line.contains("tributary-router pki"), "a remedy: {line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}

fn with(files: &TlsFiles, change: impl FnOnce(&mut TlsFiles)) -> TlsFiles {
    let mut files = files.clone();
    change(&mut files);
    files
}

/// A certificate speaks for somebody by exactly one URI, and a CA's for nobody.
#[test]
fn a_certificate_names_exactly_one_owner() {
    let ca = Ca::new();
    let owner_of = |params: &CertificateParams| {
        let files = ca.issue("someone", params);
        files.own_id().map_err(|error| error.to_string())
    };
    let id = owner_of(&leaf(vec![dns("a.test"), uri(EDGE), dns("b.test")]));
    assert_eq!(id.expect("an id").to_string(), EDGE);
    let mut authority = leaf(vec![uri(EDGE)]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (params, expected) in [
        (leaf(vec![]), "has no alternative names"),
        (leaf(vec![dns("a.test")]), "has no URI name"),
        (leaf(vec![uri(EDGE), uri(EDGE)]), "has several URI names"),
        (leaf(vec![uri("https://example.org/")]), "the scheme is not spiffe"),
        (authority, "is a CA's"),
    ] {
        let line = owner_of(&params).expect_err(expected);
        assert!(line.contains("someone.pem: "), "{line}");
        assert!(line.contains(expected), "{line}");
        assert!(line.contains("tributary-router pki issue"), "{line}");
    }
}

/// IDs are parsed by the letter of the specification.
#[test]
fn spiffe_ids_are_parsed_strictly() {
    for (text, kind, name) in [
        (EDGE, SpiffeKind::Edge, "paris-1"),
        ("spiffe://a.b_c-1/router/R.1", SpiffeKind::Router, "R.1"),
        ("spiffe://tributary", SpiffeKind::Other, ""),
        ("spiffe://tributary/agent/7", SpiffeKind::Other, "agent/7"),
        ("spiffe://tributary/edge", SpiffeKind::Other, "edge"),
        ("spiffe://tributary/edge/a/b", SpiffeKind::Other, "edge/a/b"),
    ] {
        let id: SpiffeId = text.parse().expect(text);
        assert_eq!((id.kind(), id.name()), (kind, name), "{text}");
        assert_eq!(id.to_string(), text);
    }
    let long_domain = format!("spiffe://{}/edge/a", "d".repeat(256));
    let long = format!("spiffe://tributary/edge/{}", "n".repeat(2048));
    for text in [
        "",
        "tributary/edge/a",
        "SPIFFE://tributary/edge/a",
        "http://tributary/edge/a",
        "spiffe:///edge/a",
        "spiffe://Tributary/edge/a",
        "spiffe://tributary:1/edge/a",
        "spiffe://user@tributary/edge/a",
        "spiffe://tributary/",
        "spiffe://tributary/edge/",
        "spiffe://tributary//a",
        "spiffe://tributary/edge/..",
        "spiffe://tributary/./edge",
        "spiffe://tributary/edge/a?b",
        "spiffe://tributary/edge/a#b",
        "spiffe://tributary/edge/a%20b",
        "spiffe://tributary/edge/é",
        "spiffe://tributary/edge/a\0",
        &long_domain,
        &long,
    ] {
        let error = text.parse::<SpiffeId>().expect_err(text).to_string();
        assert!(error.contains("expected spiffe://"), "{error}");
        assert!(error.len() < 600, "{error}");
    }
}

/// An ID is only made of names that parse back to the same owner.
#[test]
fn spiffe_ids_are_made_of_single_segments() {
    let id = SpiffeId::edge("tributary", "paris-1").expect("an id");
    assert_eq!(id.to_string(), EDGE);
    assert_eq!(id.trust_domain(), "tributary");
    let router = SpiffeId::router("tributary", "one").expect("an id");
    assert_eq!(router.to_string(), "spiffe://tributary/router/one");
    for (domain, name) in [("tributary", "a/b"), ("tributary", ""), ("t/edge", "a"), ("T", "a")] {
        assert!(SpiffeId::edge(domain, name).is_err(), "{domain} {name}");
    }
}

proptest! {
    /// Neither text nor bytes from a peer make parsing panic, and what parses prints as it was.
    #[test]
    fn anything_is_an_owner_or_refused(
        text in "spiffe://[a-z./]{0,12}\\PC{0,8}",
        der in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(id) = text.parse::<SpiffeId>() {
            prop_assert_eq!(id.to_string(), text);
        }
        prop_assert!(spiffe_id_of(&der).is_err());
    }
}

/// The end of a certificate is told as it was issued: after its last second.
#[test]
fn a_certificate_says_until_when() {
    let ca = Ca::new();
    let mut params = leaf(vec![uri(EDGE)]);
    params.not_after = date_time_ymd(2031, 5, 1);
    let files = ca.issue("edge", &params);
    let chain = certificates(&files.cert, ISSUE).expect("a certificate");
    let until = expires_at(&chain[0]).expect("valid").duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert_eq!(until.as_secs(), 1_935_360_001);
    assert!(expires_at(b"nonsense").is_err());
}

/// A listener asks for a certificate if it has a CA for them, and then believes none of another.
#[test]
fn a_listener_asks_for_certificates_if_it_has_a_ca() {
    let (ours, foreign) = (Ca::new(), Ca::new());
    let router = ours.router();
    let listener = |client_ca| ListenerTls { cert: router.cert.clone(), key: router.key.clone(), client_ca };
    let shake = |listener: &ListenerTls, sender: Arc<ClientConfig>| {
        let server = listener.server_config(&[]).expect("a server");
        shake(sender, server, "router.test").map(|server| server.peer_certificates().is_some())
    };
    let plain = || {
        let roots = roots(&router.ca, INIT).expect("roots");
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().expect("versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    let mut stranger = foreign.edge();
    stranger.ca.clone_from(&router.ca);
    let (open, asking) = (listener(None), listener(Some(router.ca.clone())));
    assert_eq!(shake(&open, plain()).ok(), Some(false));
    assert_eq!(shake(&asking, ours.edge().client_config(&[]).expect("a client")).ok(), Some(true));
    assert!(shake(&asking, plain()).is_err(), "no certificate");
    assert!(shake(&asking, stranger.client_config(&[]).expect("a client")).is_err(), "a foreign one");
}
