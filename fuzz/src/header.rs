//! A batch header that decodes says what is in its bytes, whatever stands behind it and however it is cut.
//!
//! Input: whether to make length and checksum right (1), bytes.

use federation_proto::header::{BatchHeader, HEADER_PREFIX, HeaderError, MAX_HEADER_LEN, MIN_HEADER_LEN, header_len};
use federation_proto::identity::{BatchId, Class, Seq, Signal, SpoolId, TenantId};

use super::memory;
use super::support::rng::Rng;

pub fn check(input: &[u8]) {
    let Some((&right, bytes)) = input.split_first() else { return };
    let bytes = if right & 1 == 0 { bytes.to_vec() } else { made_right(bytes) };
    let (decoded, taken) = memory::peak(|| BatchHeader::decode(&bytes));
    assert!(taken <= 2048, "a header takes {taken} bytes");
    assert_eq!(header_len(&bytes).is_ok(), header_len(&bytes[..bytes.len().min(HEADER_PREFIX)]).is_ok(), "the prefix is enough");
    let Ok((header, len)) = decoded else { return };
    assert!((MIN_HEADER_LEN..=MAX_HEADER_LEN).contains(&len) && len <= bytes.len());
    assert_eq!(header_len(&bytes), Ok(len));
    assert_eq!(BatchHeader::decode(&bytes[..len]), Ok((header.clone(), len)), "what stands behind it does not matter");
    for cut in 0..len {
        assert!(matches!(BatchHeader::decode(&bytes[..cut]), Err(HeaderError::Truncated { .. })), "cut to {cut} of {len}");
    }
    let again = header.encode();
    assert!(again.len() <= len, "extensions go, nothing comes");
    assert_eq!(BatchHeader::decode(&again), Ok((header.clone(), again.len())));
    assert_eq!(TenantId::new(header.tenant.as_str()).as_ref(), Ok(&header.tenant));
    let _ = header.matches(&bytes);
}

/// The bytes as a header with the right length and checksum, so that more than those is tried.
fn made_right(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes[..bytes.len().min(MAX_HEADER_LEN - 4)].to_vec();
    out.resize(out.len().max(MIN_HEADER_LEN - 4), b'a');
    let len = (out.len() + 4) as u16;
    out[..4].copy_from_slice(b"TBH1");
    out[4..6].copy_from_slice(&len.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// A header as an edge sends it.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let tenant = (0..1 + rng.below(63)).map(|_| char::from(*rng.pick(b"abz09"))).collect::<String>();
    let header = BatchHeader {
        id: BatchId { spool: SpoolId([rng.next() as u8; 16]), seq: Seq(rng.next()) },
        tenant: TenantId::new(&tenant).expect("a name"),
        signal: *rng.pick(&[Signal::Traces, Signal::Logs, Signal::Metrics, Signal::Profiles]),
        class: Class::Medium,
        rows: rng.next() as u32,
        raw_bytes: rng.next(),
        oldest_unix_nano: rng.next(),
        newest_unix_nano: rng.next(),
        encoding: 1,
        payload_len: rng.next() as u32,
        payload_crc: rng.next() as u32,
    };
    let mut bytes = header.encode();
    let right = rng.below(2) as u8;
    bytes.truncate(bytes.len() - 4 * usize::from(right));
    [&[right][..], &bytes].concat()
}
