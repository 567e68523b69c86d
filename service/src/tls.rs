//! TLS identity: who this process is to its peers, and who they are.
//!
//! Every link between Tributary processes is TLS 1.3 with certificates on both sides, all issued
//! by one private CA (`tributary-router pki init`, `pki issue`). A certificate carries its owner
//! as a SPIFFE ID in its only URI name; the server's also carries the DNS names or addresses that
//! clients check, which an edge's certificate does not have, so an edge cannot pose as a router.
//! Public CAs and the system's trust store play no part. Listeners for others (OTLP senders) are
//! told apart: [`ListenerTls`]; and so are servers that are not ours: [`ClientFiles`].
//!
//! Crypto is rustls with ring. Bounds: a PEM file has at most [`MAX_PEM_BYTES`].

mod client;
mod listener;
mod spiffe;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use client::ClientFiles;
pub use listener::ListenerTls;
pub use spiffe::{InvalidSpiffeId, SpiffeId, SpiffeKind, expires_at, spiffe_id_of};

/// The largest PEM file that is read.
pub const MAX_PEM_BYTES: u64 = 1 << 20;

/// Makes ring the process's crypto provider, for libraries that use the default one. Installing
/// it again changes nothing.
pub fn install_provider() {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The three files of a process's identity, as they stand in its configuration.
#[derive(Clone, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM: the CA certificates whose peers are trusted.
    pub ca: PathBuf,
    /// PEM: this process's certificate, then its intermediates, if any.
    pub cert: PathBuf,
    /// PEM: the certificate's private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
}

/// An identity that cannot be used; one line with the path and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, too large, or may not be read.
    #[error("{}: cannot be read: {error}: {remedy}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// A file is not PEM, or holds nothing of what it should hold, or what it holds is refused.
    #[error("{}: {problem}: {remedy}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The key belongs to another certificate.
    #[error("{}: is not the key of {}: {remedy}", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A peer's certificate that names nobody.
    #[error("certificate: {problem}: {ISSUE}")]
    Identity {
        /// What is wrong.
        problem: String,
    },
}

const INIT: &str = "create a CA with `tributary-router pki init DIR` and copy its ca.pem here";
const ISSUE: &str = "make one with `tributary-router pki issue --edge NAME --tenant TENANT` (`pki init DIR` for a router)";

impl TlsFiles {
    /// For a client that shows its certificate and checks the server's name and issuer. `alpn`:
    /// the protocols it speaks, the preferred first.
    ///
    /// # Errors
    /// If a file cannot be read or used; see [`TlsError`].
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let (chain, key) = identity(&self.cert, &self.key, ISSUE)?;
        let builder = tls13(ClientConfig::builder_with_provider(provider()), &self.cert)?;
        let mut config = builder
            .with_root_certificates(roots(&self.ca, INIT)?)
            .with_client_auth_cert(chain, key)
            .map_err(|error| refused(&error, &self.cert, &self.key, ISSUE))?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// For a server that demands a certificate of every client and checks its issuer; who the
    /// client is, [`spiffe_id_of`] says afterwards. `alpn`: the protocols it speaks, the preferred
    /// first.
    ///
    /// # Errors
    /// If a file cannot be read or used; see [`TlsError`].
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let (chain, key) = identity(&self.cert, &self.key, ISSUE)?;
        let verifier = self.client_verifier()?;
        let builder = tls13(ServerConfig::builder_with_provider(provider()), &self.cert)?;
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| refused(&error, &self.cert, &self.key, ISSUE))?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// What checks a client's chain: its issuer and dates. For a server that looks again at clients that stay.
    ///
    /// # Errors
    /// If the CA file cannot be read or used; see [`TlsError`].
    pub fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let roots = Arc::new(roots(&self.ca, INIT)?);
        WebPkiClientVerifier::builder_with_provider(roots, provider()).build().map_err(|error| unusable(&self.ca, error.to_string(), INIT))
    }

    /// Who this process is by its own certificate.
    ///
    /// # Errors
    /// If the certificate cannot be read, or names nobody.
    pub fn own_id(&self) -> Result<SpiffeId, TlsError> {
        let chain = certificates(&self.cert, ISSUE)?;
        spiffe_id_of(&chain[0]).map_err(|error| match error {
            TlsError::Identity { problem } => unusable(&self.cert, problem, ISSUE),
            other => other,
        })
    }

    /// When this process's own certificate expires.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn expires_at(&self) -> Result<SystemTime, TlsError> {
        expires_at(&certificates(&self.cert, ISSUE)?[0])
    }

    /// Whether this process's own certificate is valid at `now`: TLS refuses one that is not at the peer, who cannot mend it.
    ///
    /// # Errors
    /// If it cannot be read, is expired, or is not valid yet.
    pub fn valid_at(&self, now: SystemTime) -> Result<(), TlsError> {
        valid_at(&self.cert, now, ISSUE)
    }
}

/// Whether the first certificate of the file at `path` is valid at `now`.
fn valid_at(path: &Path, now: SystemTime, remedy: &'static str) -> Result<(), TlsError> {
    let chain = certificates(path, remedy)?;
    let problem = spiffe::out_of_date(&chain[0], now).map_err(|problem| unusable(path, problem, remedy))?;
    problem.map_or(Ok(()), |problem| Err(unusable(path, problem, remedy)))
}

/// The owner's certificate first; never empty.
type Chain = Vec<CertificateDer<'static>>;

fn identity(cert: &Path, key: &Path, remedy: &'static str) -> Result<(Chain, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(cert, remedy)?;
    let pem = read(key, remedy)?;
    let found = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        use rustls_pki_types::pem::Error;
        let problem = match error {
            Error::NoItemsFound => "no private key in it".to_owned(),
            other => format!("not PEM: {other}"),
        };
        unusable(key, problem, remedy)
    })?;
    Ok((chain, found))
}

fn roots(ca: &Path, remedy: &'static str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, remedy)? {
        roots.add(certificate).map_err(|error| unusable(ca, error.to_string(), remedy))?;
    }
    Ok(roots)
}

fn refused(error: &rustls::Error, cert: &Path, key: &Path, remedy: &'static str) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch { cert: cert.to_path_buf(), key: key.to_path_buf(), remedy },
        other => unusable(key, other.to_string(), remedy),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tls13<Side: rustls::ConfigSide>(
    builder: ConfigBuilder<Side, rustls::WantsVersions>,
    cert: &Path,
) -> Result<ConfigBuilder<Side, WantsVerifier>, TlsError> {
    builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(|error| unusable(cert, error.to_string(), ISSUE))
}

fn certificates(path: &Path, remedy: &'static str) -> Result<Chain, TlsError> {
    let pem = read(path, remedy)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Chain, _>>()
        .map_err(|error| unusable(path, format!("not PEM: {error}"), remedy))?;
    if chain.is_empty() {
        return Err(unusable(path, "no certificate in it".to_owned(), remedy));
    }
    Ok(chain)
}

fn read(path: &Path, remedy: &'static str) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Read { path: path.to_path_buf(), error, remedy };
    let mut pem = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_PEM_BYTES + 1).read_to_end(&mut pem)).map_err(unreadable)?;
    if pem.len() as u64 > MAX_PEM_BYTES {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1MiB");
        return Err(unreadable(error));
    }
    Ok(pem)
}

fn unusable(path: &Path, problem: String, remedy: &'static str) -> TlsError {
    TlsError::Unusable { path: path.to_path_buf(), problem, remedy }
}

#[cfg(test)]
mod tests;
