//! The inbox: requests that were answered OK and are not all in synced batches yet. Read only after a crash, or when the spool was
//! full; the batcher works from memory.
//!
//! A record's payload is the body (a canonical Export*ServiceRequest) in the form that its meta states. Meta, little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | signal |
//! | 1 | compression of the payload |
//! | 1 | length of the tenant's name |
//! | 4 | rows |
//! | 4 | length of the body when open |
//! | 16 | hash of the body as received (see [`body_hash`]) |
//! | n | tenant |

use bytes::Bytes;
use federation_proto::identity::{Signal, TenantId};
use twox_hash::XxHash3_128;

use crate::compression::{Compression, Inflate};

const VERSION: u8 = 1;
const FIXED: usize = 28;

/// What an inbox record says about its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: Signal,
    /// Rows in the body.
    pub rows: u32,
    /// Bytes of the body when open.
    pub body_len: u32,
    /// Hash of the body as it was received.
    pub hash: BodyHash,
    /// The payload's form.
    pub compression: Compression,
}

/// Names a request body among the recent ones of its tenant and signal. See [`body_hash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyHash(pub u128);

/// Bytes that are not an inbox record's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// The meta is of another version or cut short.
    #[error("the meta of the inbox record is not one that this version writes")]
    Meta,
    /// The payload does not open.
    #[error("the body of the inbox record {0}")]
    Body(#[from] Inflate),
}

/// XXH3-128 over tenant, signal and body, seeded by the inbox's random id, so that nobody outside can look for two bodies with one
/// hash. By chance two of 65,536 remembered bodies collide with a probability below 10^-29.
#[must_use]
pub fn body_hash(inbox: &[u8; 16], tenant: &TenantId, signal: Signal, body: &[u8]) -> BodyHash {
    let seed = u128::from_le_bytes(*inbox);
    let head = XxHash3_128::oneshot_with_seed(seed as u64, tenant.as_str().as_bytes());
    let body = XxHash3_128::oneshot_with_seed((seed >> 64) as u64 ^ head as u64 ^ u64::from(signal.code()), body);
    BodyHash(head.rotate_left(u32::from(signal.code())) ^ body)
}

impl Entry {
    /// The meta of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let tenant = self.tenant.as_str().as_bytes();
        let mut out = Vec::with_capacity(FIXED + tenant.len());
        out.extend_from_slice(&[VERSION, self.signal.code(), self.compression as u8, tenant.len() as u8]);
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.extend_from_slice(&self.hash.0.to_le_bytes());
        out.extend_from_slice(tenant);
        out
    }

    /// Reads what [`Entry::encode`] wrote.
    ///
    /// # Errors
    /// [`InvalidEntry::Meta`].
    pub fn decode(meta: &[u8]) -> Result<Self, InvalidEntry> {
        let Some((&[version, signal, compression, tenant_len], rest)) = meta.split_first_chunk::<4>() else {
            return Err(InvalidEntry::Meta);
        };
        let (rows, rest) = rest.split_first_chunk::<4>().ok_or(InvalidEntry::Meta)?;
        let (body_len, rest) = rest.split_first_chunk::<4>().ok_or(InvalidEntry::Meta)?;
        let (hash, tenant) = rest.split_first_chunk::<16>().ok_or(InvalidEntry::Meta)?;
        if version != VERSION || tenant.len() != usize::from(tenant_len) {
            return Err(InvalidEntry::Meta);
        }
        let tenant = std::str::from_utf8(tenant).ok().and_then(|name| TenantId::new(name).ok());
        Ok(Self {
            tenant: tenant.ok_or(InvalidEntry::Meta)?,
            signal: Signal::try_from(signal).map_err(|_| InvalidEntry::Meta)?,
            rows: u32::from_le_bytes(*rows),
            body_len: u32::from_le_bytes(*body_len),
            hash: BodyHash(u128::from_le_bytes(*hash)),
            compression: Compression::from_code(compression).ok_or(InvalidEntry::Meta)?,
        })
    }

    /// The open body of the record's payload.
    ///
    /// # Errors
    /// [`InvalidEntry::Body`] when it does not open to the stated length.
    pub fn open(&self, payload: &Bytes) -> Result<Bytes, InvalidEntry> {
        let len = self.body_len as usize;
        let body = match self.compression {
            Compression::Plain => payload.clone(),
            form => Bytes::from(form.inflate(payload, len)?),
        };
        if body.len() == len { Ok(body) } else { Err(Inflate::Malformed.into()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    proptest! {
        /// The meta says what it was told, and no cut of it is taken for one.
        #[test]
        fn round_trip(rows in any::<u32>(), body_len in any::<u32>(), hash in any::<u128>(), signal in 1u8..=4, name in "[a-z0-9][a-z0-9._-]{0,62}") {
            let entry = Entry {
                tenant: tenant(&name),
                signal: Signal::try_from(signal).unwrap(),
                rows,
                body_len,
                hash: BodyHash(hash),
                compression: Compression::Zstd,
            };
            let meta = entry.encode();
            prop_assert_eq!(Entry::decode(&meta), Ok(entry));
            for cut in 0..meta.len() {
                prop_assert_eq!(Entry::decode(&meta[..cut]), Err(InvalidEntry::Meta));
            }
        }

        /// Noise is refused, never a panic.
        #[test]
        fn noise(meta in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Entry::decode(&meta);
        }
    }

    /// A hash belongs to tenant, signal, body and inbox together.
    #[test]
    fn hashes_differ_in_everything() {
        let hashes = [
            body_hash(&[1; 16], &tenant("a"), Signal::Traces, b"x"),
            body_hash(&[2; 16], &tenant("a"), Signal::Traces, b"x"),
            body_hash(&[1; 16], &tenant("b"), Signal::Traces, b"x"),
            body_hash(&[1; 16], &tenant("a"), Signal::Logs, b"x"),
            body_hash(&[1; 16], &tenant("a"), Signal::Traces, b"y"),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{at}");
        }
    }

    /// A payload that does not open to the length that the sender's body had is damage, not data.
    #[test]
    fn a_body_of_another_length_is_damage() {
        let body = Bytes::from(vec![7; 1000]);
        let (compression, payload) = crate::compression::for_disk(&body);
        let entry = |body_len| Entry { tenant: tenant("a"), signal: Signal::Logs, rows: 1, body_len, hash: BodyHash(0), compression };
        assert_eq!(entry(1000).open(&payload), Ok(body));
        assert!(entry(999).open(&payload).is_err() && entry(1001).open(&payload).is_err());
    }
}
