//! TLS of a listener that others than Tributary's own processes connect to: TLS 1.3 and 1.2, a server certificate of any CA, and
//! client certificates only if they are asked for.
//!
//! Where client certificates are asked for, sessions are not resumed: each connection shows its certificate anew, so that one that
//! expired opens none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::{TlsError, identity, provider, refused, roots, unusable, valid_at};

/// The files of a listener's identity, as they stand in a configuration.
#[derive(Clone, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// PEM: the server's certificate, then its intermediates, if any.
    pub cert: PathBuf,
    /// PEM: the certificate's private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
    /// PEM: the CA certificates whose clients are believed. When given, every client must show a certificate (mTLS); when left out,
    /// none is asked for.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

const PAIR: &str = "give the server's certificate and its key in PEM";
const CLIENT_CA: &str = "give the certificates of the CA that issues the clients' certificates, in PEM";

impl ListenerTls {
    /// Whether the certificate that it shows is valid at `now`.
    ///
    /// # Errors
    /// If it cannot be read, is expired, or is not valid yet.
    pub fn valid_at(&self, now: SystemTime) -> Result<(), TlsError> {
        valid_at(&self.cert, now, PAIR)
    }

    /// For a server. `alpn`: the protocols it speaks, the preferred first.
    ///
    /// # Errors
    /// If a file cannot be read or used; see [`TlsError`].
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let (chain, key) = identity(&self.cert, &self.key, PAIR)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&self.cert, error.to_string(), PAIR))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path, CLIENT_CA)?), provider())
                    .build()
                    .map_err(|error| unusable(path, error.to_string(), CLIENT_CA))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| refused(&error, &self.cert, &self.key, PAIR))?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        if self.client_ca.is_some() {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }
}
