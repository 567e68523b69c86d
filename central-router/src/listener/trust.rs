//! Who this router is, and whose certificates it believes: on a handshake, and for as long as the connection lasts.
//!
//! Certificate, key and authority are read again when one of their files changes: new handshakes use them at once, and live connections
//! are judged by them again. Files that do not fit each other (one was written before the other) change nothing until they do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use federation_proto::frame::{ALPN, CloseCode};
use federation_proto::identity::EdgeName;
use quinn::ConnectionError;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use service::tls::{SpiffeKind, TlsFiles, spiffe_id_of};
use tokio::sync::watch;

use super::ListenError;
use crate::pki::TRUST_DOMAIN;
use crate::session::Violation;
use crate::watched::{Refresh, Watched};

/// QUIC's error codes for TLS alerts begin here (RFC 9001, section 4.8).
const FIRST_ALERT: u64 = 0x100;
/// Seconds since 1970 beyond which a date is as good as for ever: the system's clock can still say them.
const FAR: u64 = 1 << 40;

/// See the module.
pub struct Trust {
    files: Watched<Loaded>,
    private_key: PathBuf,
}

struct Loaded {
    crypto: Arc<QuicServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// A peer's certificates: its own, then its intermediates.
pub(super) struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    /// When the first of them has expired: a certificate's dates are whole seconds, both included.
    expired: SystemTime,
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
        let load = move || {
            let crypto = QuicServerConfig::try_from(files.server_config(&[ALPN])?).map_err(|error| ListenError::Quic(error.to_string()))?;
            Ok(Loaded { crypto: Arc::new(crypto), verifier: files.client_verifier()? })
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

    fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Violation> {
        let mut expires = i64::MAX;
        for certificate in &certificates {
            let parsed = x509_parser::parse_x509_certificate(certificate);
            let (_, parsed) = parsed.map_err(|error| unknown("no_identity", error.to_string()))?;
            expires = expires.min(parsed.validity().not_after.timestamp());
        }
        let expired = UNIX_EPOCH + Duration::from_secs(u64::try_from(expires).map_or(0, |last| last.saturating_add(1)).min(FAR));
        Ok(Self { certificates, expired })
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

    /// How long it is still good for.
    pub(super) fn lasts(&self, now: SystemTime) -> Duration {
        self.expired.duration_since(now).unwrap_or_default()
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
        let (end, second) = (chain.expired, Duration::from_secs(1));
        let days = |days: u64| Duration::from_secs(86_400 * days);
        let reason = |at| trust.judge(at, &chain).err().map(|violation| violation.reason);
        assert_eq!(reason(end - second), None);
        assert_eq!(reason(end), Some("expired"));
        assert_eq!((chain.lasts(end - second), chain.lasts(end + second)), (second, Duration::ZERO));
        assert_eq!(reason(end - days(13)), Some("not_yet_valid"));
        assert_eq!(trust.refresh(), Refresh::Same);
        site(dir.path(), true);
        assert_eq!(trust.refresh(), Refresh::Changed);
        assert_eq!(reason(end - second), Some("foreign"));
        std::fs::write(dir.path().join("ca.pem"), "nothing").unwrap();
        assert!(matches!(trust.refresh(), Refresh::Kept(why) if why.contains("ca.pem")));
        assert_eq!(reason(end - second), Some("foreign"), "what was read before stays in force");
    }
}
