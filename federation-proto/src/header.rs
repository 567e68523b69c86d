//! The batch header: all that admission, quotas, journalling and routing by tenant need, without touching the payload.
//!
//! Little-endian, self-delimiting, checksummed:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic `TBH1` |
//! | 2 | length of the whole header, checksum included: [`MIN_HEADER_LEN`] to [`MAX_HEADER_LEN`] |
//! | 2 | encoding version of the payload |
//! | 16 + 8 | batch id: spool id, seq |
//! | 1 | signal |
//! | 1 | class |
//! | 4 | rows |
//! | 8 | raw bytes (OTLP protobuf bytes that became this batch) |
//! | 8 + 8 | oldest and newest record time, Unix nanoseconds |
//! | 4 + 4 | payload length, CRC32C of the payload |
//! | 1 + n | tenant: length, name |
//! | e | extensions of later versions, skipped by this one |
//! | 4 | CRC32C of all before it |

use crate::identity::{BatchId, Class, InvalidName, MAX_NAME_LEN, Seq, Signal, SpoolId, TenantId, UnknownCode};

const MAGIC: [u8; 4] = *b"TBH1";
const FIXED_LEN: usize = 4 + 2 + 2 + 16 + 8 + 1 + 1 + 4 + 8 + 8 + 8 + 4 + 4 + 1;
const CRC_LEN: usize = 4;

/// Bytes to read before [`header_len`] can tell how many there are.
pub const HEADER_PREFIX: usize = 6;
/// Shortest header: a tenant of one letter.
pub const MIN_HEADER_LEN: usize = FIXED_LEN + 1 + CRC_LEN;
/// Longest header that a peer may send; leaves room for extensions.
pub const MAX_HEADER_LEN: usize = 512;

/// What a router admits, journals and routes a batch by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchHeader {
    /// The batch's name; a retry keeps it.
    pub id: BatchId,
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal; one per batch.
    pub signal: Signal,
    /// Quality of service.
    pub class: Class,
    /// Spans, log records or data points in it.
    pub rows: u32,
    /// OTLP protobuf bytes that these rows were received as: what quotas count.
    pub raw_bytes: u64,
    /// Earliest record time, Unix nanoseconds; 0 when no record has one.
    pub oldest_unix_nano: u64,
    /// Latest record time, Unix nanoseconds.
    pub newest_unix_nano: u64,
    /// Version of the payload's encoding (`codec::ENCODING`).
    pub encoding: u16,
    /// Bytes of payload that follow.
    pub payload_len: u32,
    /// CRC32C of the payload.
    pub payload_crc: u32,
}

/// Bytes that are not a header of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Cut short.
    #[error("batch header is cut short: {have} of {need} bytes")]
    Truncated {
        /// Bytes at hand.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Does not start as a header does.
    #[error("batch header does not start with TBH1")]
    Magic,
    /// States a length that no header has.
    #[error("batch header states a length of {0} bytes: expected {MIN_HEADER_LEN} to {MAX_HEADER_LEN}")]
    Length(usize),
    /// Damaged on the way.
    #[error("batch header fails its checksum")]
    Checksum,
    /// A signal or class of a later version.
    #[error(transparent)]
    Code(#[from] UnknownCode),
    /// Not a tenant's name.
    #[error("batch header: tenant: {0}")]
    Tenant(#[from] InvalidName),
}

/// Length of the header that starts with `prefix` (at least [`HEADER_PREFIX`] bytes), checked against the caps.
///
/// # Errors
/// [`HeaderError`] when the prefix is short, of another kind, or states an impossible length.
pub fn header_len(prefix: &[u8]) -> Result<usize, HeaderError> {
    let Some((magic, rest)) = prefix.split_first_chunk::<4>() else {
        return Err(HeaderError::Truncated { have: prefix.len(), need: HEADER_PREFIX });
    };
    if *magic != MAGIC {
        return Err(HeaderError::Magic);
    }
    let Some((len, _)) = rest.split_first_chunk::<2>() else {
        return Err(HeaderError::Truncated { have: prefix.len(), need: HEADER_PREFIX });
    };
    let len = usize::from(u16::from_le_bytes(*len));
    if (MIN_HEADER_LEN..=MAX_HEADER_LEN).contains(&len) { Ok(len) } else { Err(HeaderError::Length(len)) }
}

impl BatchHeader {
    /// The header as it goes on the wire and into a journal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let tenant = self.tenant.as_str().as_bytes();
        debug_assert!(tenant.len() <= MAX_NAME_LEN, "TenantId checks its length");
        let len = FIXED_LEN + tenant.len() + CRC_LEN;
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&(len as u16).to_le_bytes());
        out.extend_from_slice(&self.encoding.to_le_bytes());
        out.extend_from_slice(&self.id.spool.0);
        out.extend_from_slice(&self.id.seq.0.to_le_bytes());
        out.push(self.signal.code());
        out.push(self.class.code());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
        out.extend_from_slice(&self.oldest_unix_nano.to_le_bytes());
        out.extend_from_slice(&self.newest_unix_nano.to_le_bytes());
        out.extend_from_slice(&self.payload_len.to_le_bytes());
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        out.push(tenant.len() as u8);
        out.extend_from_slice(tenant);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header at the start of `bytes` and says how many bytes it took.
    ///
    /// # Errors
    /// [`HeaderError`]; nothing is allocated before the checksum is found right.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), HeaderError> {
        let len = header_len(bytes)?;
        let Some(whole) = bytes.get(..len) else {
            return Err(HeaderError::Truncated { have: bytes.len(), need: len });
        };
        let (body, crc) = whole.split_at(len - CRC_LEN);
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return Err(HeaderError::Checksum);
        }
        let mut fields = Fields { rest: &body[HEADER_PREFIX..] };
        let encoding = u16::from_le_bytes(fields.take()?);
        let id = BatchId { spool: SpoolId(fields.take()?), seq: Seq(u64::from_le_bytes(fields.take()?)) };
        let [signal] = fields.take()?;
        let [class] = fields.take()?;
        let header = Self {
            id,
            signal: Signal::try_from(signal)?,
            class: Class::try_from(class)?,
            rows: u32::from_le_bytes(fields.take()?),
            raw_bytes: u64::from_le_bytes(fields.take()?),
            oldest_unix_nano: u64::from_le_bytes(fields.take()?),
            newest_unix_nano: u64::from_le_bytes(fields.take()?),
            encoding,
            payload_len: u32::from_le_bytes(fields.take()?),
            payload_crc: u32::from_le_bytes(fields.take()?),
            tenant: fields.tenant()?,
        };
        Ok((header, len))
    }

    /// Is this the payload that the header speaks of?
    #[must_use]
    pub fn matches(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_len as usize && crc32c::crc32c(payload) == self.payload_crc
    }
}

/// A reader over the checked body of a header.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(HeaderError::Truncated { have: self.rest.len(), need: N })?;
        self.rest = rest;
        Ok(*head)
    }

    fn tenant(&mut self) -> Result<TenantId, HeaderError> {
        let [len] = self.take()?;
        let name = self.rest.get(..usize::from(len)).ok_or(HeaderError::Truncated { have: self.rest.len(), need: usize::from(len) })?;
        Ok(TenantId::new(&String::from_utf8_lossy(name))?)
    }
}

#[cfg(test)]
mod tests;
