//! SPIFFE IDs: `spiffe://tributary/edge/paris-1` is the edge `paris-1` of the trust domain
//! `tributary`.
//!
//! Parsed as strictly as the SPIFFE ID specification (sections 2.1 to 2.3) has it, since an ID is
//! compared as text and becomes part of paths: a trust domain of `[a-z0-9._-]`, path segments of
//! `[a-zA-Z0-9._-]` of which none is empty, `.` or `..`; no port, user, query or fragment, no
//! percent encoding; at most 2048 bytes, 255 of them the trust domain.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::TlsError;

const MAX_ID_BYTES: usize = 2048;
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// Who a certificate speaks for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SpiffeId {
    trust_domain: String,
    kind: SpiffeKind,
    name: String,
}

/// What the owner is: the first segment of the ID's path.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SpiffeKind {
    /// `spiffe://<trust domain>/edge/<name>`
    Edge,
    /// `spiffe://<trust domain>/router/<name>`
    Router,
    /// Any other valid path.
    Other,
}

/// Text that is not a SPIFFE ID.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{value:?} is no SPIFFE ID: {problem}: expected spiffe://<trust domain>/edge/<name>")]
pub struct InvalidSpiffeId {
    value: String,
    problem: &'static str,
}

impl SpiffeId {
    /// The ID of an edge.
    ///
    /// # Errors
    /// If `trust_domain` or `name` has characters that an ID may not have.
    pub fn edge(trust_domain: &str, name: &str) -> Result<Self, InvalidSpiffeId> {
        Self::of(trust_domain, "edge", name)
    }

    /// The ID of a router.
    ///
    /// # Errors
    /// If `trust_domain` or `name` has characters that an ID may not have.
    pub fn router(trust_domain: &str, name: &str) -> Result<Self, InvalidSpiffeId> {
        Self::of(trust_domain, "router", name)
    }

    fn of(trust_domain: &str, kind: &str, name: &str) -> Result<Self, InvalidSpiffeId> {
        let value = format!("spiffe://{trust_domain}/{kind}/{name}");
        let id = parse(&value).map_err(|problem| invalid(&value, problem))?;
        if id.trust_domain != trust_domain || id.name != name {
            return Err(invalid(&value, "a name is one segment, without a slash"));
        }
        Ok(id)
    }

    /// Who vouches for the owner.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// What the owner is.
    pub fn kind(&self) -> SpiffeKind {
        self.kind
    }

    /// The owner's name; for [`SpiffeKind::Other`] the whole path without its first slash.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, kind, name } = self;
        match kind {
            SpiffeKind::Edge => write!(f, "spiffe://{trust_domain}/edge/{name}"),
            SpiffeKind::Router => write!(f, "spiffe://{trust_domain}/router/{name}"),
            SpiffeKind::Other if name.is_empty() => write!(f, "spiffe://{trust_domain}"),
            SpiffeKind::Other => write!(f, "spiffe://{trust_domain}/{name}"),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        parse(text).map_err(|problem| invalid(text, problem))
    }
}

fn invalid(value: &str, problem: &'static str) -> InvalidSpiffeId {
    InvalidSpiffeId { value: value.chars().take(128).collect(), problem }
}

fn parse(text: &str) -> Result<SpiffeId, &'static str> {
    if text.len() > MAX_ID_BYTES {
        return Err("longer than 2048 bytes");
    }
    let rest = text.strip_prefix("spiffe://").ok_or("the scheme is not spiffe")?;
    let (trust_domain, path) = match rest.split_once('/') {
        Some((trust_domain, path)) => (trust_domain, Some(path)),
        None => (rest, None),
    };
    if trust_domain.is_empty() || trust_domain.len() > MAX_TRUST_DOMAIN_BYTES {
        return Err("the trust domain has not 1 to 255 bytes");
    }
    let in_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if !trust_domain.bytes().all(in_domain) {
        return Err("the trust domain has more than [a-z0-9._-]");
    }
    let mut segments = Vec::new();
    for segment in path.into_iter().flat_map(|path| path.split('/')) {
        let in_path = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if matches!(segment, "" | "." | "..") {
            return Err("a segment of the path is empty or relative");
        }
        if !segment.bytes().all(in_path) {
            return Err("the path has more than [a-zA-Z0-9._-]");
        }
        segments.push(segment);
    }
    let (kind, name) = match segments.as_slice() {
        ["edge", name] => (SpiffeKind::Edge, *name),
        ["router", name] => (SpiffeKind::Router, *name),
        _ => (SpiffeKind::Other, path.unwrap_or_default()),
    };
    Ok(SpiffeId { trust_domain: trust_domain.to_owned(), kind, name: name.to_owned() })
}

/// Who the owner of a certificate (DER) is: the SPIFFE ID in its only URI name, as the X.509-SVID
/// specification demands (section 2). The certificate's signature and dates were checked by the
/// TLS handshake, not here.
///
/// # Errors
/// If it is not a certificate, is a CA's, or has no URI name, several, or one that is no SPIFFE ID.
pub fn spiffe_id_of(cert_der: &[u8]) -> Result<SpiffeId, TlsError> {
    owner(cert_der).map_err(|problem| TlsError::Identity { problem })
}

/// The moment from which a certificate (DER) is expired: its dates are whole seconds, the last included. At most about the year 36,000.
///
/// # Errors
/// If it is not a certificate.
pub fn expires_at(cert_der: &[u8]) -> Result<SystemTime, TlsError> {
    /// As good as for ever, and a time that the system's clock can say.
    const FAR: u64 = 1 << 40;
    let (_, certificate) = X509Certificate::from_der(cert_der)
        .map_err(|error| TlsError::Identity { problem: format!("not an X.509 certificate: {error}") })?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).map_or(0, |last| last.saturating_add(1));
    Ok(UNIX_EPOCH + Duration::from_secs(seconds.min(FAR)))
}

/// What is wrong with a certificate's (DER) dates at `now`; `None`: nothing.
///
/// # Errors
/// If it is not a certificate.
pub(super) fn out_of_date(cert_der: &[u8], now: SystemTime) -> Result<Option<String>, String> {
    let (_, certificate) = X509Certificate::from_der(cert_der).map_err(|error| format!("not an X.509 certificate: {error}"))?;
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    Ok(match () {
        () if now > until.timestamp() => Some(format!("the certificate expired at {until}")),
        () if now < from.timestamp() => Some(format!("the certificate is not valid before {from}")),
        () => None,
    })
}

fn owner(cert_der: &[u8]) -> Result<SpiffeId, String> {
    let (rest, certificate) = X509Certificate::from_der(cert_der).map_err(|error| format!("not an X.509 certificate: {error}"))?;
    if !rest.is_empty() {
        return Err("not an X.509 certificate: bytes follow it".to_owned());
    }
    if certificate.is_ca() {
        return Err("is a CA's, which speaks for nobody".to_owned());
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| format!("its alternative names are malformed: {error}"))?
        .ok_or("has no alternative names, so no SPIFFE ID")?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (None, _) => Err("has no URI name, so no SPIFFE ID".to_owned()),
        (Some(_), Some(_)) => Err("has several URI names: expected exactly one".to_owned()),
        (Some(uri), None) => uri.parse().map_err(|error: InvalidSpiffeId| error.to_string()),
    }
}
