//! OTLP to a batch and back: nothing of a record is lost, whatever it holds and however the bodies are cut into batches.
#![allow(clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use federation_proto::codec::{Encoder, Part};
use federation_proto::columns::Columns;
use federation_proto::identity::Signal;
use proptest::prelude::*;

use support::arbitrary::Nasty;
use support::records::{self, sorted};
use support::{SIGNALS, body_with_rows, canonical, decode, encode, rows};

/// Encodes the bodies, cut at random into parts and batches, with one encoder; the records that come back.
fn through_batches(signal: Signal, bodies: &[Vec<u8>], nasty: &mut Nasty) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    let mut raw = 0;
    let mut parts: Vec<Part<'_>> = Vec::new();
    for body in bodies {
        let total = rows(signal, body);
        let mut next = 0;
        while next < total {
            let end = next + 1 + nasty.rng.below((total - next) as usize) as u32;
            parts.push(Part { body, rows: next..end });
            next = end;
            if nasty.rng.one_in(2) {
                raw += batch(&mut encoder, signal, &mut parts, &mut out);
            }
        }
    }
    raw += batch(&mut encoder, signal, &mut parts, &mut out);
    let carried: usize = bodies.iter().filter(|body| rows(signal, body) > 0).map(Vec::len).sum();
    assert_eq!(raw, carried as u64, "the parts' shares of raw bytes add up");
    out
}

fn batch<'a>(encoder: &mut Encoder, signal: Signal, parts: &mut Vec<Part<'a>>, out: &mut Vec<Vec<u8>>) -> u64 {
    let encoded = encoder.encode(signal, parts).expect("scanned parts encode");
    parts.clear();
    let columns = decode(signal, &encoded);
    assert_eq!(columns.rows(), encoded.rows as usize);
    assert_eq!(columns.signal(), signal);
    let back = records::of(signal, &columns.to_otlp());
    assert_eq!(back.len(), columns.rows());
    out.extend(back);
    encoded.raw_bytes
}

fn signal() -> impl Strategy<Value = Signal> {
    prop::sample::select(SIGNALS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// OTLP -> batches -> OTLP keeps every record with all its fields, bit by bit, however the rows are divided over parts and batches.
    #[test]
    fn no_record_changes(signal in signal(), seed: u64, size in 1usize..12, count in 1usize..4) {
        let mut nasty = Nasty::new(seed, size);
        let bodies: Vec<Vec<u8>> = (0..count).map(|_| canonical(signal, &nasty.body(signal))).collect();
        let sent = bodies.iter().flat_map(|body| records::of(signal, body)).collect();
        let received = through_batches(signal, &bodies, &mut nasty);
        prop_assert_eq!(sorted(sent), sorted(received));
    }

    /// What comes back is valid to the scan, canonical, and has as many rows and the same times as what went in.
    #[test]
    fn scan_accepts_what_comes_back(signal in signal(), seed: u64, size in 1usize..12) {
        let body = Nasty::new(seed, size).body(signal);
        let limits = federation_proto::otlp::Limits::default();
        let before = federation_proto::otlp::scan(signal, &body, &limits).expect("valid");
        let encoded = encode(&mut Encoder::new(), signal, &[body]);
        let after = federation_proto::otlp::scan(signal, &decode(signal, &encoded).to_otlp(), &limits).expect("valid");
        prop_assert!(after.canonical);
        prop_assert_eq!(before.rows, after.rows);
        prop_assert_eq!((before.oldest_unix_nano, before.newest_unix_nano), (after.oldest_unix_nano, after.newest_unix_nano));
        prop_assert_eq!((before.oldest_unix_nano, before.newest_unix_nano), (encoded.oldest_unix_nano, encoded.newest_unix_nano));
    }
}

/// Dictionaries, shapes and choices of form kept from earlier batches never leak into later ones.
#[test]
fn one_encoder_over_many_batches_gives_the_same_records() {
    let mut encoder = Encoder::new();
    for round in 0..150u64 {
        let signal = SIGNALS[round as usize % 3];
        let body = canonical(signal, &Nasty::new(round / 2, 14).body(signal));
        let sent = records::of(signal, &body);
        let encoded = encode(&mut encoder, signal, &[body]);
        let received = records::of(signal, &decode(signal, &encoded).to_otlp());
        assert_eq!(sorted(sent), sorted(received), "batch {round}");
    }
}

/// A batch sent in pieces is the batch: no row is left out, none comes twice, and pieces behind one another are one request.
#[test]
fn pieces_are_the_batch() {
    for (round, signal) in SIGNALS.into_iter().cycle().take(60).enumerate() {
        let mut nasty = Nasty::new(round as u64, 12);
        let columns = decode(signal, &encode(&mut Encoder::new(), signal, &[nasty.body(signal)]));
        let mut cuts: Vec<usize> = (0..3).map(|_| nasty.rng.below(columns.rows() + 1)).collect();
        cuts.extend([0, columns.rows()]);
        cuts.sort_unstable();
        let pieces: Vec<u8> = cuts.windows(2).flat_map(|cut| columns.rows_to_otlp(cut[0]..cut[1])).collect();
        assert_eq!(sorted(records::of(signal, &pieces)), sorted(records::of(signal, &columns.to_otlp())), "{signal} {round}");
    }
}

/// A batch without rows is a batch.
#[test]
fn no_rows_is_fine() {
    for signal in SIGNALS {
        let encoded = Encoder::new().encode(signal, &[]).expect("encodes");
        assert_eq!((encoded.rows, decode(signal, &encoded).rows()), (0, 0));
        assert!(decode(signal, &encoded).to_otlp().is_empty());
    }
}

/// Rows that a part does not have are refused, and the encoder goes on.
#[test]
fn rows_beyond_the_body_are_an_error() {
    let mut encoder = Encoder::new();
    let body = canonical(Signal::Logs, &body_with_rows(Signal::Logs, 5));
    let has = rows(Signal::Logs, &body);
    assert!(encoder.encode(Signal::Logs, &[Part { body: &body, rows: 0..has + 1 }]).is_err());
    let encoded = encode(&mut encoder, Signal::Logs, std::slice::from_ref(&body));
    let received = records::of(Signal::Logs, &decode(Signal::Logs, &encoded).to_otlp());
    assert_eq!(sorted(records::of(Signal::Logs, &body)), sorted(received));
}

/// Fields that a kind of metric does not have are unknown ones: a gauge has no temporality because its field 2 is a number, nor is a
/// histogram monotonic.
#[test]
fn only_sums_are_monotonic_and_gauges_have_no_temporality() {
    let body = |field: u8| {
        let data = [field << 3 | 2, 6, 0x0a, 0, 0x10, 2, 0x18, 1];
        let around = |inner: &[u8], tag: u8| [&[tag, inner.len() as u8][..], inner].concat();
        around(&around(&around(&data, 0x12), 0x12), 0x0a)
    };
    for (field, temporality, monotonic) in [(5, 0, false), (7, 2, true), (9, 2, false), (10, 2, false), (11, 0, false)] {
        let columns = decode(Signal::Metrics, &encode(&mut Encoder::new(), Signal::Metrics, &[body(field)]));
        let Columns::Metrics(points) = columns else { unreachable!("metrics") };
        assert_eq!((points.metric(0).temporality(), points.metric(0).monotonic()), (temporality, monotonic), "field {field}");
    }
}
