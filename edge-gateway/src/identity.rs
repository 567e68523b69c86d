//! Who a sender is: its bearer token names its tenant, never what it writes. Without a token it is the default tenant's, if there
//! is one; an unknown token is refused even then.
//!
//! Tokens are configured and compared as SHA-256, so that a leaked configuration leaks no token.
//!
//! Bounds: tenants and tokens are the configuration's.

use std::collections::HashMap;
use std::sync::Arc;

use federation_proto::identity::{Class, TenantId};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use service::config::Invalid;

use crate::config::RawIdentity;

/// No tenant for this sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A token that is not configured, or an `authorization` of another kind.
    #[error("the bearer token is not known here")]
    Token,
    /// No token, and no default tenant.
    #[error("a bearer token is needed: authorization: Bearer <token>")]
    Missing,
}

/// Tokens, the default, and each tenant's class. Clones share it.
#[derive(Debug, Clone)]
pub struct Identities {
    by_token: Arc<HashMap<[u8; 32], TenantId>>,
    default_tenant: Option<TenantId>,
    classes: Arc<HashMap<TenantId, Class>>,
}

impl Identities {
    /// From the configuration.
    ///
    /// # Errors
    /// A hash that is not 64 hex digits, or one that stands there twice.
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
        Ok(Self { by_token: Arc::new(by_token), default_tenant: raw.default_tenant.clone(), classes: Arc::new(classes) })
    }

    /// The tenant that a request's headers name.
    ///
    /// # Errors
    /// [`Unknown`]: the sender must not be told more.
    pub fn tenant(&self, headers: &HeaderMap) -> Result<&TenantId, Unknown> {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return self.default_tenant.as_ref().ok_or(Unknown::Missing);
        };
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
    use crate::config::RawToken;

    /// SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn identities(default_tenant: Option<&str>) -> Identities {
        let tenant = |name| TenantId::new(name).unwrap();
        let raw = RawIdentity {
            default_tenant: default_tenant.map(tenant),
            tokens: vec![RawToken { sha256: SECRET.to_uppercase(), tenant: tenant("acme") }],
        };
        Identities::from_raw(&raw, HashMap::from([(tenant("acme"), Class::High)])).unwrap()
    }

    fn headers(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    /// A token gives its own tenant; anything else with credentials gives none, whatever the default is.
    #[test]
    fn a_wrong_token_is_not_the_default_tenant() {
        let identities = identities(Some("shared"));
        let name = |headers| identities.tenant(&headers).map(TenantId::as_str);
        assert_eq!(name(headers("Bearer secret")), Ok("acme"));
        assert_eq!(name(headers("bearer secret")), Ok("acme"));
        assert_eq!(name(HeaderMap::new()), Ok("shared"));
        for wrong in ["Bearer secret2", "Bearer ", "Basic c2VjcmV0", "secret", "Bearer"] {
            assert_eq!(name(headers(wrong)), Err(Unknown::Token), "{wrong:?}");
        }
    }

    /// Without a default, a sender must say who it is.
    #[test]
    fn no_token_no_default_no_tenant() {
        assert_eq!(identities(None).tenant(&HeaderMap::new()), Err(Unknown::Missing));
    }

    /// A hash that cannot be one, or is there twice, is an error of the configuration.
    #[test]
    fn hashes_are_checked() {
        let tenant = TenantId::new("acme").unwrap();
        for bad in ["", "2bb8", &SECRET.replace('2', "g"), &format!("{SECRET}00")] {
            let raw = RawIdentity { default_tenant: None, tokens: vec![RawToken { sha256: bad.to_owned(), tenant: tenant.clone() }] };
            assert!(Identities::from_raw(&raw, HashMap::new()).is_err(), "{bad:?}");
        }
        let twice =
            vec![RawToken { sha256: SECRET.to_owned(), tenant: tenant.clone() }, RawToken { sha256: SECRET.to_uppercase(), tenant }];
        assert!(Identities::from_raw(&RawIdentity { default_tenant: None, tokens: twice }, HashMap::new()).is_err());
    }

    /// Classes are the configuration's, medium otherwise.
    #[test]
    fn class_by_tenant() {
        let identities = identities(None);
        assert_eq!(identities.class(&TenantId::new("acme").unwrap()), Class::High);
        assert_eq!(identities.class(&TenantId::new("other").unwrap()), Class::Medium);
    }
}
