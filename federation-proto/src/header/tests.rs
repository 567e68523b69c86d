//! The header is read back whole and right, or not at all.

use proptest::prelude::*;

use super::*;

fn any_header() -> impl Strategy<Value = BatchHeader> {
    let ids = (any::<[u8; 16]>(), any::<u64>(), "[a-z0-9][a-z0-9._-]{0,62}", 1u8..=4, 1u8..=3);
    let sizes = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u16>(), any::<u32>(), any::<u32>());
    (ids, sizes).prop_map(|((spool, seq, tenant, signal, class), (rows, raw_bytes, oldest, newest, encoding, len, crc))| BatchHeader {
        id: BatchId { spool: SpoolId(spool), seq: Seq(seq) },
        tenant: TenantId::new(&tenant).unwrap(),
        signal: Signal::try_from(signal).unwrap(),
        class: Class::try_from(class).unwrap(),
        rows,
        raw_bytes,
        oldest_unix_nano: oldest,
        newest_unix_nano: newest,
        encoding,
        payload_len: len,
        payload_crc: crc,
    })
}

proptest! {
    /// What was written is what is read, and the payload behind it is not touched.
    #[test]
    fn round_trip(header in any_header(), tail in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = header.encode();
        let len = bytes.len();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(BatchHeader::decode(&bytes), Ok((header, len)));
    }

    /// One changed bit anywhere is an error, never another header.
    #[test]
    fn a_flipped_bit_is_found(header in any_header(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = header.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(BatchHeader::decode(&bytes).is_err());
    }

    /// Garbage and cuts are errors, not panics.
    #[test]
    fn garbage_is_an_error(header in any_header(), cut in any::<prop::sample::Index>(), noise in proptest::collection::vec(any::<u8>(), 0..600)) {
        let bytes = header.encode();
        prop_assert!(BatchHeader::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(BatchHeader::decode(&noise).is_err());
    }
}

/// A later version may append fields: this one skips them.
#[test]
fn extensions_are_skipped() {
    let header = BatchHeader {
        id: BatchId { spool: SpoolId([7; 16]), seq: Seq(9) },
        tenant: TenantId::new("acme").unwrap(),
        signal: Signal::Logs,
        class: Class::Low,
        rows: 3,
        raw_bytes: 400,
        oldest_unix_nano: 1,
        newest_unix_nano: 2,
        encoding: 1,
        payload_len: 10,
        payload_crc: 11,
    };
    let mut bytes = header.encode();
    bytes.truncate(bytes.len() - CRC_LEN);
    bytes.extend_from_slice(b"later");
    let len = (bytes.len() + CRC_LEN) as u16;
    bytes[4..6].copy_from_slice(&len.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(BatchHeader::decode(&bytes), Ok((header, usize::from(len))));
}
