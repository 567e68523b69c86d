//! Who this router is, and whose certificates it believes: on a handshake, and for as long as the connection lasts.
//!
//! Certificate, key and authority are read again when one of their files changes: new handshakes use them at once, and live connections
//! are judged by them again. Files that do not fit each other (one was written before the other), or a certificate outside its dates,
//! change nothing until they do, or it is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use federation_proto::chunk;
use federation_proto::frame::{ALPN, CloseCode};
use federation_proto::identity::EdgeName;
use quinn::ConnectionError;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use service::tls::{SpiffeKind, TlsFiles, expires_at, spiffe_id_of};
use tokio::sync::watch;

use super::ListenError;
use super::connection::wall_clock;
use crate::pki::TRUST_DOMAIN;
use crate::session::Violation;
use service::watched::{Refresh, Watched};

/// QUIC's error codes for TLS alerts begin here (RFC 9001, section 4.8).
const FIRST_ALERT: u64 = 0x100;

/// See the module.
pub struct Trust {
    files: Watched<Loaded>,
    private_key: PathBuf,
}

struct Loaded {
    crypto: Arc<QuicServerConfig>,
    tcp_crypto: Arc<rustls::ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// A peer's certificates: its own, then its intermediates.
pub(super) struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    /// When each of them expires, the first first.
    expiries: Vec<SystemTime>,
}

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    /// [`ListenError::Tls`] or [`ListenError::Quic`].
    pub fn open(files: &TlsFiles) -> Result<Self, ListenError> {
        let paths = vec![files.ca.clone(), files.cert.clone(), files.key.clone()];
        let private_key = files.key.clone();
        let files = files.clone();
        // A start with a certificate outside its dates is warned of, and waits for another; it is never changed to one.
        let is_running = AtomicBool::new(false);
        let load = move || {
            let crypto = QuicServerConfig::try_from(files.server_config(&[ALPN])?).map_err(|error| ListenError::Quic(error.to_string()))?;
            let tcp_crypto = files.server_config(&[chunk::ALPN])?;
            if is_running.swap(true, Ordering::Relaxed) {
                files.valid_at(wall_clock())?;
            }
            Ok(Loaded { crypto: Arc::new(crypto), tcp_crypto, verifier: files.client_verifier()? })
        };
        Watched::open(paths, load, |_, _| false).map(|files| Self { files, private_key })
    }

    /// Reads the files again if one changed since the last look.
    pub fn refresh(&self) -> Refresh {
        self.files.refresh()
    }

    /// Changes when the files did.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.files.changes()
    }

    /// Where the private key lies.
    pub(super) fn private_key(&self) -> &Path {
        &self.private_key
    }

    /// What a handshake uses.
    pub(super) fn crypto(&self) -> Arc<QuicServerConfig> {
        Arc::clone(&self.files.current().crypto)
    }

    /// The same over TCP.
    pub(super) fn tcp_crypto(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.files.current().tcp_crypto)
    }

    /// Is this chain one to believe at `now`? A handshake that resumes an earlier one does not ask, and time goes on.
    pub(super) fn judge(&self, now: SystemTime, chain: &Chain) -> Result<(), Violation> {
        let Some((own, intermediates)) = chain.certificates.split_first() else { return Err(no_certificate()) };
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        let judged = self.files.current().verifier.verify_client_cert(own, intermediates, now);
        judged.map(drop).map_err(|error| refusal(&error))
    }
}

impl Chain {
    /// What the peer showed.
    pub(super) fn of(quic: &quinn::Connection) -> Result<Self, Violation> {
        let shown = quic.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        Self::new(*shown.ok_or_else(no_certificate)?)
    }

    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Violation> {
        let expiries = certificates.iter().map(|certificate| expires_at(certificate)).collect::<Result<Vec<_>, _>>();
        let mut expiries = expiries.map_err(|error| unknown("no_identity", error.to_string()))?;
        expiries.sort_unstable();
        Ok(Self { certificates, expiries })
    }

    /// The edge that it names.
    pub(super) fn edge(&self) -> Result<EdgeName, Violation> {
        let own = self.certificates.first().ok_or_else(no_certificate)?;
        let spiffe = spiffe_id_of(own).map_err(|error| unknown("no_identity", error.to_string()))?;
        if spiffe.kind() != SpiffeKind::Edge || spiffe.trust_domain() != TRUST_DOMAIN {
            return Err(unknown("not_an_edge", format!("{spiffe}: expected spiffe://{TRUST_DOMAIN}/edge/<name>")));
        }
        EdgeName::new(spiffe.name()).map_err(|error| unknown("edge_name", error.to_string()))
    }

    /// How long until the next of its certificates expires; `None` when all have. One that has may be one that nothing depends on, such as
    /// an authority that was replaced and is still sent along.
    pub(super) fn lasts(&self, now: SystemTime) -> Option<Duration> {
        self.expiries.iter().find_map(|expiry| expiry.duration_since(now).ok().filter(|left| !left.is_zero()))
    }
}

/// Why a handshake failed, as a label: by the TLS alert (RFC 8446, section 6) that the peer was sent.
pub(super) fn why(error: &ConnectionError) -> &'static str {
    let ConnectionError::TransportError(error) = error else { return "handshake" };
    match u64::from(error.code).checked_sub(FIRST_ALERT) {
        Some(45) => "certificate_dates",
        Some(48 | 51) => "certificate_authority",
        Some(42 | 43 | 44 | 46 | 116) => "certificate",
        _ => "handshake",
    }
}

fn no_certificate() -> Violation {
    unknown("no_certificate", "no client certificate")
}

fn unknown(reason: &'static str, message: impl Into<String>) -> Violation {
    Violation::new(CloseCode::UnknownEdge, reason, message)
}

fn refusal(error: &rustls::Error) -> Violation {
    use CertificateError::{BadSignature, Expired, ExpiredContext, NotValidYet, NotValidYetContext, UnknownIssuer};
    match error {
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            unknown("expired", "the certificate has expired: issue a new one")
        }
        rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            unknown("not_yet_valid", "the certificate is not valid yet: set the clocks, or issue a new one")
        }
        // Authorities made by `pki init` have one name, so that only the signature tells them apart.
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            unknown("foreign", "the certificate's issuer is not (or no longer) in this router's tls.ca")
        }
        other => unknown("certificate", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use federation_proto::identity::TenantId;

    use super::*;
    use crate::pki::{self, Identity, InitOptions, IssueOptions};
    use rustls::pki_types::pem::PemObject;

    fn site(dir: &Path, force: bool) -> Identity {
        let name = |name| EdgeName::new(name).unwrap();
        pki::init(dir, &InitOptions { router: name("central"), names: vec!["localhost".to_owned()], days: 30, force }).unwrap();
        let tenants = vec![TenantId::new("acme").unwrap()];
        pki::issue(dir, &IssueOptions { edge: name("eu"), tenants, days: 10, force }).unwrap()
    }

    fn chain(identity: &Identity) -> Chain {
        Chain::new(CertificateDer::pem_file_iter(&identity.cert).unwrap().map(Result::unwrap).collect()).unwrap()
    }

    /// A chain is believed from its first second to its last, and no longer than its authority.
    #[test]
    fn a_chain_is_good_within_its_dates_and_with_its_authority() {
        let dir = tempfile::tempdir().unwrap();
        let edge = site(dir.path(), false);
        let trust = Trust::open(&TlsFiles { ca: edge.ca.clone(), cert: dir.path().join("router.pem"), key: dir.path().join("router.key") })
            .unwrap();
        let chain = chain(&edge);
        assert_eq!(chain.edge().unwrap().as_str(), "eu");
        let (end, second) = (chain.expiries[0], Duration::from_secs(1));
        let days = |days: u64| Duration::from_secs(86_400 * days);
        let reason = |at| trust.judge(at, &chain).err().map(|violation| violation.reason);
        assert_eq!(reason(end - second), None);
        assert_eq!(reason(end), Some("expired"));
        assert_eq!((chain.lasts(end - second), chain.lasts(end), chain.lasts(end + second)), (Some(second), None, None));
        assert_eq!(reason(end - days(13)), Some("not_yet_valid"));
        assert_eq!(trust.refresh(), Refresh::Same);
        site(dir.path(), true);
        assert_eq!(trust.refresh(), Refresh::Changed);
        assert_eq!(reason(end - second), Some("foreign"));
        std::fs::write(dir.path().join("ca.pem"), "nothing").unwrap();
        assert!(matches!(trust.refresh(), Refresh::Kept(why) if why.contains("ca.pem")));
        assert_eq!(reason(end - second), Some("foreign"), "what was read before stays in force");
    }

    /// A certificate that has expired and that nothing depends on does not make the chain one to look at again and again without a pause:
    /// the next that expires counts.
    #[test]
    fn an_expired_certificate_beside_the_chain_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let second = Duration::from_secs(1);
        let mut chain = chain(&site(dir.path(), false));
        let end = chain.expiries[0];
        chain.expiries.insert(0, end - 9 * second);
        assert_eq!(chain.lasts(end - 10 * second), Some(second));
        for left in [9, 5, 1] {
            assert_eq!(chain.lasts(end - left * second), Some(left * second));
        }
    }
}
