//! Who a sender is: its certificate or its bearer token names its tenant, never what it writes. Each listener says which of them it
//! takes ([`Accepts`]); the first that names a tenant decides: certificate, token, default. An unknown token is refused even where
//! there is a default tenant, and so is any token where none is taken: whoever shows one means to be somebody.
//!
//! Tokens are configured and compared as SHA-256, so that a leaked configuration leaks no token. Certificates are told apart by their
//! SPIFFE ID, after the TLS handshake has checked who issued them and when.
//!
//! Bounds: tenants, tokens and certificates are the configuration's.

use std::collections::HashMap;
use std::sync::Arc;

use federation_proto::identity::{Class, TenantId};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use service::config::Invalid;
use service::tls::SpiffeId;

use crate::config::RawIdentity;

/// No tenant for this sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A token that is not configured, or an `authorization` of another kind.
    #[error("the bearer token is not known here")]
    Token,
    /// A token where none is taken.
    #[error("this listener takes no tokens: leave authorization out, or send to one that does")]
    NoTokens,
    /// No token, and no default tenant.
    #[error("a bearer token is needed: authorization: Bearer <token>")]
    Missing,
    /// A certificate that is good but names no tenant, and nothing else that does.
    #[error("the certificate's SPIFFE ID names no tenant here")]
    Certificate,
}

/// What a listener takes as an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepts {
    /// Certificates.
    pub certificate: bool,
    /// Bearer tokens.
    pub token: bool,
    /// Whose the records of others are.
    pub default_tenant: Option<TenantId>,
}

/// Tokens, certificates, and each tenant's class. Clones share it.
#[derive(Debug, Clone)]
pub struct Identities {
    by_token: Arc<HashMap<[u8; 32], TenantId>>,
    by_certificate: Arc<HashMap<SpiffeId, TenantId>>,
    classes: Arc<HashMap<TenantId, Class>>,
}

impl Identities {
    /// From the configuration.
    ///
    /// # Errors
    /// A hash that is not 64 hex digits, an ID that is none, or either of them twice.
    pub fn from_raw(raw: &RawIdentity, classes: HashMap<TenantId, Class>) -> Result<Self, Invalid> {
        let mut by_token = HashMap::with_capacity(raw.tokens.len());
        for (index, token) in raw.tokens.iter().enumerate() {
            let key = || format!("identity.tokens[{index}].sha256");
            let hash = digest(&token.sha256)
                .ok_or_else(|| Invalid::new(key(), "not a SHA-256: expected 64 hex digits, as from: printf %s \"$TOKEN\" | sha256sum"))?;
            if by_token.insert(hash, token.tenant.clone()).is_some() {
                return Err(Invalid::new(key(), "the same token stands above: expected each once"));
            }
        }
        let mut by_certificate = HashMap::with_capacity(raw.certificates.len());
        for (index, certificate) in raw.certificates.iter().enumerate() {
            let key = || format!("identity.certificates[{index}].spiffe");
            let id: SpiffeId = certificate.spiffe.parse().map_err(|error| Invalid::new(key(), format!("{error}")))?;
            if by_certificate.insert(id, certificate.tenant.clone()).is_some() {
                return Err(Invalid::new(key(), "the same ID stands above: expected each once"));
            }
        }
        Ok(Self { by_token: Arc::new(by_token), by_certificate: Arc::new(by_certificate), classes: Arc::new(classes) })
    }

    /// The tenant of a certificate's owner.
    #[must_use]
    pub fn certified(&self, owner: &SpiffeId) -> Option<&TenantId> {
        self.by_certificate.get(owner)
    }

    /// The tenant of a request: `certified` is that of its connection, which shows a certificate if `shown`; its headers name another.
    ///
    /// # Errors
    /// [`Unknown`]: the sender must not be told more.
    pub fn tenant<'a>(
        &'a self,
        accepts: &'a Accepts,
        certified: Option<&'a TenantId>,
        shown: bool,
        headers: &HeaderMap,
    ) -> Result<&'a TenantId, Unknown> {
        if accepts.certificate
            && let Some(tenant) = certified
        {
            return Ok(tenant);
        }
        let nobody = match (shown, accepts.token) {
            (true, false) => Unknown::Certificate,
            _ => Unknown::Missing,
        };
        match headers.get(AUTHORIZATION) {
            Some(value) if accepts.token => self.by_token(value),
            Some(_) => Err(Unknown::NoTokens),
            None => accepts.default_tenant.as_ref().ok_or(nobody),
        }
    }

    fn by_token(&self, value: &http::HeaderValue) -> Result<&TenantId, Unknown> {
        let token = value.as_bytes().split_first_chunk::<7>().filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        let (_, token) = token.ok_or(Unknown::Token)?;
        let hash = ring::digest::digest(&ring::digest::SHA256, token.trim_ascii());
        let hash: [u8; 32] = hash.as_ref().try_into().map_err(|_| Unknown::Token)?;
        self.by_token.get(&hash).ok_or(Unknown::Token)
    }

    /// The class of a tenant's batches: medium, unless configured.
    #[must_use]
    pub fn class(&self, tenant: &TenantId) -> Class {
        self.classes.get(tenant).copied().unwrap_or(Class::Medium)
    }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::{RawCertificate, RawToken};

    /// SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    const CART: &str = "spiffe://example.org/ns/shop/sa/cart";

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn identities() -> Identities {
        let raw = RawIdentity {
            default_tenant: None,
            tokens: vec![RawToken { sha256: SECRET.to_uppercase(), tenant: tenant("acme") }],
            certificates: vec![RawCertificate { spiffe: CART.to_owned(), tenant: tenant("shop") }],
        };
        Identities::from_raw(&raw, HashMap::from([(tenant("acme"), Class::High)])).unwrap()
    }

    fn accepts(certificate: bool, token: bool, default_tenant: Option<&str>) -> Accepts {
        Accepts { certificate, token, default_tenant: default_tenant.map(tenant) }
    }

    fn headers(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    /// A token gives its own tenant; anything else with credentials gives none, whatever the default is.
    #[test]
    fn a_wrong_token_is_not_the_default_tenant() {
        let (identities, accepts) = (identities(), accepts(false, true, Some("shared")));
        let name = |headers| identities.tenant(&accepts, None, false, &headers).map(TenantId::as_str);
        assert_eq!(name(headers("Bearer secret")), Ok("acme"));
        assert_eq!(name(headers("bearer secret")), Ok("acme"));
        assert_eq!(name(HeaderMap::new()), Ok("shared"));
        for wrong in ["Bearer secret2", "Bearer ", "Basic c2VjcmV0", "secret", "Bearer"] {
            assert_eq!(name(headers(wrong)), Err(Unknown::Token), "{wrong:?}");
        }
    }

    /// What a listener does not take opens nothing there: neither token nor certificate nor default.
    #[test]
    fn each_listener_takes_its_own() {
        let identities = identities();
        let owner = CART.parse().unwrap();
        let shop = identities.certified(&owner);
        assert_eq!(shop, Some(&tenant("shop")));
        assert_eq!(identities.certified(&"spiffe://example.org/ns/shop/sa/other".parse().unwrap()), None);
        let name = |accepts: &Accepts, certified, shown, headers: &HeaderMap| {
            identities.tenant(accepts, certified, shown, headers).map(|tenant| tenant.to_string())
        };
        let (none, token) = (HeaderMap::new(), headers("Bearer secret"));
        let (all, only_tokens, only_certificates) =
            (accepts(true, true, Some("shared")), accepts(false, true, None), accepts(true, false, None));
        assert_eq!(name(&all, shop, true, &token).as_deref(), Ok("shop"), "the certificate comes first");
        assert_eq!(name(&all, None, true, &token).as_deref(), Ok("acme"), "then the token");
        assert_eq!(name(&all, None, true, &none).as_deref(), Ok("shared"), "then the default");
        assert_eq!(name(&only_tokens, shop, true, &none), Err(Unknown::Missing));
        assert_eq!(name(&only_tokens, shop, true, &token).as_deref(), Ok("acme"));
        assert_eq!(name(&only_certificates, None, true, &none), Err(Unknown::Certificate));
        assert_eq!(name(&only_certificates, None, true, &token), Err(Unknown::NoTokens));
        assert_eq!(name(&accepts(false, false, Some("node")), None, false, &token), Err(Unknown::NoTokens));
    }

    /// A hash that cannot be one, or is there twice, is an error of the configuration.
    #[test]
    fn hashes_are_checked() {
        let acme = tenant("acme");
        for bad in ["", "2bb8", &SECRET.replace('2', "g"), &format!("{SECRET}00")] {
            let tokens = vec![RawToken { sha256: bad.to_owned(), tenant: acme.clone() }];
            let raw = RawIdentity { tokens, ..RawIdentity::default() };
            assert!(Identities::from_raw(&raw, HashMap::new()).is_err(), "{bad:?}");
        }
        let twice = vec![
            RawToken { sha256: SECRET.to_owned(), tenant: acme.clone() },
            RawToken { sha256: SECRET.to_uppercase(), tenant: acme.clone() },
        ];
        assert!(Identities::from_raw(&RawIdentity { tokens: twice, ..RawIdentity::default() }, HashMap::new()).is_err());
        let certificate = |spiffe: &str| RawCertificate { spiffe: spiffe.to_owned(), tenant: acme.clone() };
        for bad in [vec![certificate("https://example.org")], vec![certificate(CART), certificate(CART)]] {
            assert!(Identities::from_raw(&RawIdentity { certificates: bad, ..RawIdentity::default() }, HashMap::new()).is_err());
        }
    }

    /// Classes are the configuration's, medium otherwise.
    #[test]
    fn class_by_tenant() {
        let identities = identities();
        assert_eq!(identities.class(&TenantId::new("acme").unwrap()), Class::High);
        assert_eq!(identities.class(&TenantId::new("other").unwrap()), Class::Medium);
    }
}
