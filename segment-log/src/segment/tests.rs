use std::sync::Arc;

use super::*;
use crate::store::{SimStore, Store, StoreFile};

const ID: [u8; 16] = [7; 16];

fn header() -> SegmentHeader {
    SegmentHeader { log_id: ID, number: SegmentNo(3), base: Seq(41) }
}

fn record(offset: u64, seq: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_record(&mut out, header().key(), offset, Kind::Data, Stamp { seq: Seq(seq), synced: Seq(1), checkpoints: 0 }, b"meta", payload);
    out
}

/// One damaged copy of a segment's header costs nothing, two damaged copies are noticed.
#[test]
fn header_survives_one_damaged_copy() {
    let whole = header().encode();
    assert_eq!(SegmentHeader::decode(&whole), Ok(header()));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert_eq!(SegmentHeader::decode(&damaged), Ok(header()), "byte {at}");
        damaged[(at + 64) % 128] ^= 0x10;
        assert_eq!(SegmentHeader::decode(&damaged), Err(HeaderFault::Unreadable), "byte {at}");
    }
    assert_eq!(SegmentHeader::decode(&whole[..63]), Err(HeaderFault::Unreadable));
}

/// A newer format is told from damage, so that nobody puts a good segment aside.
#[test]
fn header_of_a_newer_version_is_recognised() {
    let mut newer = header().encode();
    for copy in newer.chunks_exact_mut(64) {
        copy[8] = 2;
        let crc = crc32c::crc32c(&copy[..60]);
        copy[60..].copy_from_slice(&crc.to_le_bytes());
    }
    assert_eq!(SegmentHeader::decode(&newer), Err(HeaderFault::Version(2)));
}

/// Only names that we make are ours.
#[test]
fn names_are_strict() {
    assert_eq!(parse_file_name(&header().file_name()), Some((SegmentNo(3), Seq(41))));
    for alien in [
        "3-41.seg",
        "0000000003-00000000000000000041.seg.bak",
        "000000000x-00000000000000000041.seg",
        "lock",
        "9999999999-00000000000000000041.seg",
    ] {
        assert_eq!(parse_file_name(alien), None, "{alien}");
    }
}

/// A record counts only in its log, its segment and its place: nobody can forge one inside a payload, no stale block is taken for one.
#[test]
fn record_is_bound_to_its_place() {
    let bytes = record(128, 41, b"payload");
    let decoded = RecordHeader::decode(&bytes, header().key(), 128).unwrap();
    assert!(decoded.is_whole(header().key(), 128, b"meta", b"payload"));
    assert!(!decoded.is_whole(header().key(), 128, b"metA", b"payload"));
    assert!(!decoded.is_whole(header().key(), 128, b"meta", b"paylaod"));
    assert!(RecordHeader::decode(&bytes, header().key(), 136).is_none());
    assert!(RecordHeader::decode(&bytes, SegmentKey::new(&ID, SegmentNo(4)), 128).is_none());
    assert!(RecordHeader::decode(&bytes, SegmentKey::new(&[8; 16], SegmentNo(3)), 128).is_none());
    for at in 0..RECORD_HEADER_BYTES {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(RecordHeader::decode(&damaged, header().key(), 128).is_none(), "byte {at}");
    }
}

fn file_of(content: &[u8]) -> Arc<dyn StoreFile> {
    let store = SimStore::new(1);
    store.put("a", content);
    store.open("a").unwrap()
}

fn scan(content: &[u8]) -> Vec<String> {
    let file = file_of(content);
    let mut scanner = Scanner::new(&*file, header().key(), 128, content.len() as u64);
    std::iter::from_fn(|| scanner.next())
        .map(|found| match found {
            Found::Record { header, .. } => format!("{}", header.stamp.seq),
            Found::Unreadable(gap) => format!("gap of {} at {}", gap.bytes, gap.offset),
        })
        .collect()
}

/// A damaged payload costs exactly its record; a damaged header too, by looking for the next one.
#[test]
fn scan_loses_only_what_is_damaged() {
    let mut content = header().encode();
    for seq in 41..45 {
        let offset = content.len() as u64;
        content.extend(record(offset, seq, &[seq as u8; 100]));
    }
    let size = record_bytes(4, 100) as usize;
    assert_eq!(scan(&content), ["41", "42", "43", "44"]);
    for at in 128 + size..128 + 2 * size - 5 {
        let mut damaged = content.clone();
        damaged[at] ^= 0x80;
        let padding = (128 + size + RECORD_HEADER_BYTES + 104..128 + 2 * size).contains(&at);
        let expected =
            if padding { vec!["41".into(), "42".into()] } else { vec!["41".to_owned(), format!("gap of {size} at {}", 128 + size)] };
        assert_eq!(scan(&damaged), [expected, vec!["43".into(), "44".into()]].concat(), "byte {at}");
    }
}

/// A payload that holds a copy of real records is still one record, also when its own header is damaged.
#[test]
fn scan_is_not_fooled_by_records_inside_a_payload() {
    let inner = record(128, 77, b"forged");
    let mut content = header().encode();
    content.extend(record(128, 41, &inner.repeat(3)));
    let offset = content.len() as u64;
    content.extend(record(offset, 42, b"next"));
    content[130] ^= 1;
    assert_eq!(scan(&content), [format!("gap of {} at 128", offset - 128), "42".to_owned()]);
}
