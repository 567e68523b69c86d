//! A router that died without a goodbye is missed at once, not after the idle timeout: the process after it answers what still comes for
//! the old connections with QUIC's stateless reset (RFC 9000, 10.3), and their edges connect anew.
//!
//! An edge believes a reset only by a token that the old process gave it, so both make tokens from one key: from the private key of the
//! certificate, which is as secret and lives as long. Connection ids are random rather than quinn's hashed ones, whose key would be the old
//! process's own: it would drop such packets unanswered. Resets are rare by quinn's bound, 50 a second, and smaller than what they answer.

use std::io;
use std::path::Path;
use std::sync::Arc;

use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

const CONNECTION_ID_BYTES: usize = 8;

/// The configuration of an endpoint whose resets are believed by the connections of earlier processes with this private key.
pub(super) fn endpoint_config(private_key: &Path) -> io::Result<EndpointConfig> {
    let mut config = EndpointConfig::new(Arc::new(reset_key(&std::fs::read(private_key)?)));
    config.cid_generator(|| Box::new(RandomIds::default()));
    Ok(config)
}

fn reset_key(private_key: &[u8]) -> hmac::Key {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, private_key), b"tributary: QUIC stateless reset");
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}

#[derive(Debug, Default)]
struct RandomIds {
    made: u64,
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CONNECTION_ID_BYTES];
        if SystemRandom::new().fill(&mut id).is_err() {
            // Ids need only differ; without randomness nothing else of QUIC would work either.
            self.made += 1;
            id = self.made.to_le_bytes();
        }
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use quinn::crypto::HmacKey;

    use super::*;

    /// The same private key gives the same tokens in every process, another gives others.
    #[test]
    fn tokens_outlive_the_process() {
        let token = |private_key: &[u8]| {
            let mut token = [0; 32];
            HmacKey::sign(&reset_key(private_key), b"connection", &mut token);
            token
        };
        assert_eq!(token(b"one"), token(b"one"));
        assert_ne!(token(b"one"), token(b"two"));
        let mut ids = RandomIds::default();
        assert_ne!(ids.generate_cid(), ids.generate_cid());
    }
}
