//! Who asks: a bearer token names its tenant. Tokens are configured and compared as SHA-256, so that a leaked configuration leaks no
//! token; the comparison looks at every token and every byte, whichever is right.
//!
//! Bound: [`MAX_TOKENS`].

use axum::http::HeaderMap;
use federation_proto::identity::TenantId;
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::Deserialize;
use service::config::Invalid;
use service::operator::{Digest, bearer, same};

/// Tokens that one router knows: each costs every request a comparison.
pub const MAX_TOKENS: usize = 4_096;

/// A token as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawToken {
    /// Whose records it reads.
    pub tenant: TenantId,
    /// SHA-256 of the token, 64 hex digits: `printf %s "$TOKEN" | sha256sum`.
    pub sha256: String,
}

/// Tokens that are known.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<(Digest, TenantId)>);

impl Tokens {
    /// Checks what the file says.
    ///
    /// # Errors
    /// A hash that is not 64 hex digits, or one that stands there twice; too many.
    pub fn check(raw: &[RawToken]) -> Result<Self, Invalid> {
        if raw.len() > MAX_TOKENS {
            return Err(Invalid::new("query.tokens", format!("{} of them: expected at most {MAX_TOKENS}", raw.len())));
        }
        let mut tokens: Vec<(Digest, TenantId)> = Vec::with_capacity(raw.len());
        for (index, token) in raw.iter().enumerate() {
            let invalid = |why: &str| Err(Invalid::new(format!("query.tokens[{index}].sha256"), why));
            let Some(hash) = from_hex(&token.sha256) else {
                return invalid("not a SHA-256: expected 64 hex digits, as from: printf %s \"$TOKEN\" | sha256sum");
            };
            if tokens.iter().any(|(known, _)| *known == hash) {
                return invalid("the same token stands above: expected each once");
            }
            tokens.push((hash, token.tenant.clone()));
        }
        Ok(Self(tokens))
    }

    /// Is nobody known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tenant that a request's `Authorization: Bearer <token>` names.
    #[must_use]
    pub fn tenant(&self, headers: &HeaderMap) -> Option<&TenantId> {
        let hash = digest(&SHA256, bearer(headers)?);
        let mut found = None;
        for (known, tenant) in &self.0 {
            if same(known, hash.as_ref()) {
                found = Some(tenant);
            }
        }
        found
    }
}

fn from_hex(hex: &str) -> Option<Digest> {
    let digits: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(out)
}
