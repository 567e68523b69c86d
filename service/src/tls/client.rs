//! The TLS of a client whose server is not ours: a tier's destination.

use std::path::PathBuf;

use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, certificates, identity, provider, refused, unusable};

const TRUST: &str = "name a file with the authorities to trust, such as /etc/ssl/certs/ca-certificates.crt";
const SHOW: &str = "give the certificate and key that the server's operator issued";

/// Whom a client of a server that is not ours trusts, and who it says it is. As they stand in a configuration.
#[derive(Clone, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFiles {
    /// PEM: the authorities whose servers are trusted; the system's are in /etc/ssl/certs/ca-certificates.crt.
    pub ca: PathBuf,
    /// PEM: the certificate to show to a server that asks for one, then its intermediates. With `key`.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// PEM: the certificate's private key. With `cert`.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

impl ClientFiles {
    /// For a client of TLS 1.3 or 1.2 that checks the server's name and issuer. No ALPN is set.
    ///
    /// # Errors
    /// If a file cannot be read or used; see [`TlsError`].
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        // A system's list may have certificates that webpki does not take; the others count.
        let (taken, _) = roots.add_parsable_certificates(certificates(&self.ca, TRUST)?);
        if taken == 0 {
            return Err(unusable(&self.ca, "no certificate in it that can be an authority".to_owned(), TRUST));
        }
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| unusable(&self.ca, error.to_string(), TRUST))?.with_root_certificates(roots);
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let (chain, private) = identity(cert, key, SHOW)?;
                builder.with_client_auth_cert(chain, private).map_err(|error| refused(&error, cert, key, SHOW))
            }
            _ => Ok(builder.with_no_client_auth()),
        }
    }
}
