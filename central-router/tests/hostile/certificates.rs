//! Certificates that are not, not yet, or no longer good: at connect, and while connected.

use std::path::Path;
use std::time::{Duration, SystemTime};

use central_router::pki::{self, Identity, InitOptions};
use federation_proto::frame::CloseCode;
use quinn::ConnectionError;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};

use crate::client::{Client, batch, bodies, close_code};
use crate::site::{Site, Up, edge};

const DAY: Duration = Duration::from_secs(86_400);

#[expect(clippy::disallowed_methods, reason = "certificates are valid at the time of the test")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// What is wrong with a certificate.
struct Flaw {
    uri: Option<&'static str>,
    dns: &'static str,
    from: SystemTime,
    to: SystemTime,
    usage: ExtendedKeyUsagePurpose,
}

impl Flaw {
    fn none() -> Self {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        Self { uri: Some("spiffe://tributary/edge/eu"), dns: "edge.example", from: now() - DAY, to: now() + DAY, usage }
    }

    /// A certificate like this from the authority in `authority`, written to `into`; trusts the authority of `site`.
    fn issue(self, authority: &Path, site: &Path, into: &Path) -> Identity {
        let ca_key = KeyPair::from_pem(&std::fs::read_to_string(authority.join("ca.key")).unwrap()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&std::fs::read_to_string(authority.join("ca.pem")).unwrap(), ca_key).unwrap();
        let mut params = CertificateParams::new(vec![self.dns.to_owned()]).unwrap();
        params.subject_alt_names.extend(self.uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
        params.extended_key_usages = vec![self.usage];
        (params.not_before, params.not_after) = (self.from.into(), self.to.into());
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        let identity = Identity { ca: site.join("ca.pem"), cert: into.with_extension("pem"), key: into.with_extension("key") };
        std::fs::write(&identity.cert, cert.pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }
}

/// How an attempt ends that must not succeed. In TLS 1.3 a client learns after its own handshake that its certificate was refused.
async fn refusal(up: &Up, identity: &Identity) -> ConnectionError {
    match Client::dial(up.ready.listen, identity).await {
        Ok(client) => client.end().await,
        Err(error) => error,
    }
}

/// Who does not come with a certificate of our authority, within its dates, that names an edge on the list, does not get in: TLS or the
/// router says why, and counts it. An edge is untouched by all of it.
#[tokio::test(flavor = "multi_thread")]
async fn only_good_certificates_get_in() {
    let (site, other) = (Site::new(""), Site::new(""));
    let up = site.start().await;
    let mut honest = site.connect(&up, "us").await;
    let into = site.path().join("flawed");
    let refused_by_tls = [
        ("expired", Flaw { to: now() - Duration::from_secs(2), ..Flaw::none() }, site.path(), "certificate_dates"),
        ("not yet valid", Flaw { from: now() + DAY / 2, ..Flaw::none() }, site.path(), "certificate_dates"),
        ("a foreign authority", Flaw::none(), other.path(), "certificate_authority"),
        ("a server's", Flaw { usage: ExtendedKeyUsagePurpose::ServerAuth, ..Flaw::none() }, site.path(), "certificate"),
    ];
    for (seq, (name, flaw, authority, reason)) in refused_by_tls.into_iter().enumerate() {
        let error = refusal(&up, &flaw.issue(authority, site.path(), &into)).await;
        assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{name}: {error:?}");
        up.counted("tributary_router_refused_connections_total", &[&format!("reason=\"{reason}\"")]).await;
        honest.goes_on("us", seq as u64).await;
    }
    let refused_by_router = [
        ("no SPIFFE id", Flaw { uri: None, ..Flaw::none() }, "no_identity"),
        ("no edge", Flaw { uri: Some("spiffe://tributary/router/eu"), ..Flaw::none() }, "not_an_edge"),
        ("another trust domain", Flaw { uri: Some("spiffe://example.org/edge/eu"), ..Flaw::none() }, "not_an_edge"),
        ("a name that no edge has", Flaw { uri: Some("spiffe://tributary/edge/A.B_c"), ..Flaw::none() }, "edge_name"),
        ("not on the list", Flaw { uri: Some("spiffe://tributary/edge/nobody"), ..Flaw::none() }, "unknown_edge"),
    ];
    for (seq, (name, flaw, reason)) in refused_by_router.into_iter().enumerate() {
        let code = close_code(&refusal(&up, &flaw.issue(site.path(), site.path(), &into)).await);
        assert_eq!(code, CloseCode::UnknownEdge, "{name}");
        up.violated("unknown_edge", reason).await;
        honest.goes_on("us", 100 + seq as u64).await;
    }
    up.stop().await;
}

/// A certificate that expires ends the connection that came with it, within a second of its date; what was acked on it stays.
#[tokio::test(flavor = "multi_thread")]
async fn expiry_reaches_live_connections() {
    let site = Site::new("");
    let up = site.start().await;
    // Long enough to connect and ship on a busy machine.
    let short = Flaw { to: now() + Duration::from_secs(4), ..Flaw::none() };
    let identity = short.issue(site.path(), site.path(), &pki::edge_identity(site.path(), &edge("eu")).cert);
    let mut client = site.connect(&up, "eu").await;
    client.goes_on("eu", 0).await;
    assert_eq!(client.closed().await, CloseCode::UnknownEdge);
    up.violated("unknown_edge", "expired").await;
    assert!(matches!(refusal(&up, &identity).await, ConnectionError::ConnectionClosed(_)), "and does not come back");
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [0]));
}

/// An edge that is taken off the allow-list is cut off while it is connected; a tenant that is taken off it is refused from then on.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_reaches_live_connections() {
    let site = Site::new("");
    let up = site.start().await;
    let mut stays = site.connect(&up, "us").await;
    let goes = site.connect(&up, "eu").await;
    std::fs::write(site.path().join("edges.yaml"), "edges: {us: {tenants: [acme]}}").unwrap();
    assert_eq!(goes.closed().await, CloseCode::UnknownEdge);
    up.violated("unknown_edge", "revoked").await;
    let (header, _) = batch("us", 0, "beta");
    stays.ship(&header, b"").await;
    assert!(stays.nack().await.retry_after_ms == 0, "beta was taken off too");
    stays.goes_on("us", 1).await;
    up.stop().await;
}

/// A router's certificate that is replaced serves new handshakes without a restart, live connections go on; while certificate and key
/// do not fit each other, or the certificate is outside its dates, the ones before are used, and `/readyz` says which file is at fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_of_the_router_is_taken_up() {
    let site = Site::new("");
    let up = site.start().await;
    let mut before = site.connect(&up, "us").await;
    let flaw = || Flaw {
        uri: Some("spiffe://tributary/router/central"),
        dns: "elsewhere.example",
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        ..Flaw::none()
    };
    let new = flaw().issue(site.path(), site.path(), &site.path().join("new"));
    std::fs::rename(&new.cert, site.path().join("router.pem")).unwrap();
    up.until("the pair that does not fit is told of", || async { up.failing("tls").await.contains("router.key") }).await;
    site.connect(&up, "eu").await.goes_on("eu", 0).await;
    std::fs::rename(&new.key, site.path().join("router.key")).unwrap();
    let identity = pki::edge_identity(site.path(), &edge("eu"));
    let dialled = || async { Client::dial_as(up.ready.listen, "elsewhere.example", &identity).await.is_ok() };
    up.until("the new certificate is shown", dialled).await;
    up.until("the complaint is over", || async { up.failing("tls").await.is_empty() }).await;
    for (from, to, why) in [(now() - DAY, now() - DAY / 2, "expired"), (now() + DAY / 2, now() + DAY, "not valid before")] {
        Flaw { from, to, dns: "nowhere.example", ..flaw() }.issue(site.path(), site.path(), &site.path().join("router"));
        up.until("the dates are told of", || async { up.failing("tls").await.contains(why) }).await;
        assert!(dialled().await, "the certificate before is shown");
    }
    before.goes_on("us", 0).await;
    up.stop().await;
}

/// An authority that the router no longer trusts takes its edges with it, connected ones too; edges of the new one get in.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_replaced_takes_its_edges_with_it() {
    let site = Site::new("");
    let up = site.start().await;
    let before = site.connect(&up, "eu").await;
    let init = InitOptions { router: edge("central"), names: vec!["localhost".to_owned()], days: 1, force: true };
    let old_list = std::fs::read(site.path().join("edges.yaml")).unwrap();
    let old = site.path().join("old");
    std::fs::rename(site.path().join("edges"), &old).unwrap();
    pki::init(site.path(), &init).unwrap();
    site.issue("eu", &["acme"]);
    std::fs::write(site.path().join("edges.yaml"), old_list).unwrap();
    assert_eq!(before.closed().await, CloseCode::UnknownEdge);
    up.violated("unknown_edge", "foreign").await;
    site.connect(&up, "eu").await.goes_on("eu", 0).await;
    let left = Identity { ca: site.path().join("ca.pem"), cert: old.join("eu.pem"), key: old.join("eu.key") };
    assert!(matches!(refusal(&up, &left).await, ConnectionError::ConnectionClosed(_)));
    up.stop().await;
}
