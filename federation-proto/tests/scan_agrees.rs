//! The scan accepts exactly what prost accepts: for arbitrary requests, for mutated ones, and for the rare forms of protobuf.
#![allow(clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use federation_proto::identity::Signal;
use federation_proto::otlp::{Fault, Limits, normalise, scan};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;

use support::arbitrary::Nasty;
use support::rng::Rng;
use support::{SIGNALS, records};

fn prost_accepts(signal: Signal, body: &[u8]) -> bool {
    match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(body).is_ok(),
        Signal::Logs => ExportLogsServiceRequest::decode(body).is_ok(),
        _ => ExportMetricsServiceRequest::decode(body).is_ok(),
    }
}

/// Compares the verdicts, and what is counted of a body that both accept.
fn agree(signal: Signal, body: &[u8]) -> Result<bool, TestCaseError> {
    let found = scan(signal, body, &Limits::default());
    let accepts = prost_accepts(signal, body);
    prop_assert_eq!(found.is_ok(), accepts, "{:?} says {:?}, prost {} {:02x?}", signal, found, accepts, body);
    if let Ok(found) = found {
        prop_assert_eq!(found.raw_bytes, body.len() as u64);
        let again = normalise(signal, body).expect("both accept");
        let normal = scan(signal, &again, &Limits::default()).expect("prost's own output");
        prop_assert!(normal.canonical, "prost's own output is canonical");
        if found.canonical {
            prop_assert_eq!(found.rows as usize, records::of(signal, body).len());
            prop_assert_eq!(
                (found.rows, found.oldest_unix_nano, found.newest_unix_nano),
                (normal.rows, normal.oldest_unix_nano, normal.newest_unix_nano)
            );
        }
    }
    Ok(accepts)
}

/// One to three changes: a flipped bit, another byte, a cut, an inserted or removed byte, a piece copied elsewhere.
fn mutate(body: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        if body.is_empty() {
            return;
        }
        let at = rng.below(body.len());
        match rng.below(6) {
            0 => body[at] ^= 1 << rng.below(8),
            1 => body[at] = *rng.pick(&[0, 1, 0x0a, 0x0b, 0x0c, 0x12, 0x7f, 0x80, 0xff, 8, 2]),
            2 => body.truncate(at),
            3 => body.insert(at, rng.next() as u8),
            4 => drop(body.remove(at)),
            _ => {
                let len = rng.below(12).min(body.len() - at);
                let piece = body[at..at + len].to_vec();
                let to = rng.below(body.len());
                body.splice(to..to, piece);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// What prost wrote is accepted, is canonical, and is counted right.
    #[test]
    fn on_valid_requests(signal in prop::sample::select(SIGNALS.to_vec()), seed: u64, size in 1usize..8) {
        let body = Nasty::new(seed, size).body(signal);
        prop_assert!(agree(signal, &body)?);
        prop_assert!(scan(signal, &body, &Limits::default()).expect("accepted").canonical);
    }

    /// After any mutation, both accept or both refuse.
    #[test]
    fn on_mutated_requests(signal in prop::sample::select(SIGNALS.to_vec()), seed: u64, size in 1usize..5) {
        let mut nasty = Nasty::new(seed, size);
        let body = nasty.body(signal);
        for _ in 0..40 {
            let mut body = body.clone();
            mutate(&mut body, &mut nasty.rng);
            agree(signal, &body)?;
        }
    }

    /// On a body that is valid as one signal and read as another, both accept or both refuse.
    #[test]
    fn on_another_signals_requests(signal in prop::sample::select(SIGNALS.to_vec()), other in prop::sample::select(SIGNALS.to_vec()), seed: u64) {
        agree(other, &Nasty::new(seed, 4).body(signal))?;
    }

    /// On arbitrary bytes of a protobuf-like kind, both accept or both refuse.
    #[test]
    fn on_junk(signal in prop::sample::select(SIGNALS.to_vec()), junk in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 8, 10, 11, 12, 18, 26, 0x7f, 0x80, 0xff]), 0..24)) {
        agree(signal, &junk)?;
    }
}

/// `field` as a length-delimited field around `inner`.
fn wrap(field: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    let mut len = inner.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(inner);
    out
}

/// An attribute value of arrays in arrays is accepted down to prost's limit of 100 messages, and refused one deeper.
#[test]
fn nesting_ends_where_prosts_does() {
    let mut deepest = None;
    for levels in 30..60 {
        let mut any = vec![0x10, 1];
        for _ in 0..levels {
            any = wrap(5, &wrap(1, &any));
        }
        let span = wrap(9, &wrap(2, &any));
        let body = wrap(1, &wrap(2, &wrap(2, &span)));
        if agree(Signal::Traces, &body).expect("same verdict") {
            deepest = Some(levels);
        }
    }
    assert!(deepest.is_some_and(|levels| levels < 59), "the limit lies in the range tried: {deepest:?}");
}

/// Groups in groups, as unknown fields, end at prost's limit too; and each must be closed by its own number.
#[test]
fn groups_are_skipped_as_prost_skips_them() {
    for levels in 1..130 {
        let mut body = vec![0x7b; levels];
        body.extend(vec![0x7c; levels]);
        agree(Signal::Logs, &body).expect("same verdict");
    }
    for body in [&[0x7b, 0x74][..], &[0x7b], &[0x7c], &[0x7b, 0x08, 0x80, 0x7c], &[0x7b, 0x0a, 0x02, 0x7c]] {
        assert!(!agree(Signal::Logs, body).expect("same verdict"));
    }
    assert!(agree(Signal::Logs, &[0x7b, 0x08, 0x05, 0x7c]).expect("same verdict"));
}

/// The rare but legal forms are flagged, and normalising gives what prost reads.
#[test]
fn unusual_forms_are_not_canonical() {
    let any_twice = wrap(9, &[wrap(2, &[0x10, 1]), wrap(2, &[0x18, 7])].concat());
    let oneof_twice = wrap(9, &wrap(2, &[0x10, 1, 0x18, 7]));
    let status_twice = [wrap(15, &[0x18, 1]), wrap(15, &wrap(2, b"late"))].concat();
    let name_twice = [wrap(5, b"a"), wrap(5, b"b")].concat();
    for span in [any_twice, oneof_twice, status_twice, name_twice] {
        let body = wrap(1, &wrap(2, &wrap(2, &span)));
        let found = scan(Signal::Traces, &body, &Limits::default()).expect("valid");
        assert!(!found.canonical && found.rows == 1);
        let normal = normalise(Signal::Traces, &body).expect("valid");
        assert_eq!(records::of(Signal::Traces, &normal), records::of(Signal::Traces, &body));
    }
    // Unpacked bucket counts.
    let point = [&[0x31][..], &[1; 8], &[0x31], &[2; 8]].concat();
    let body = wrap(1, &wrap(2, &wrap(2, &wrap(9, &wrap(1, &point)))));
    assert!(!scan(Signal::Metrics, &body, &Limits::default()).expect("valid").canonical);
}

/// Limits are enforced before and within the pass.
#[test]
fn limits_are_kept() {
    let body = wrap(1, &wrap(2, &[wrap(2, &[]), wrap(2, &[]), wrap(2, &[])].concat()));
    let scan = |limits: &Limits| scan(Signal::Traces, &body, limits).map_err(|malformed| malformed.fault);
    assert_eq!(scan(&Limits::default()).map(|found| found.rows), Ok(3));
    assert_eq!(scan(&Limits { max_rows: 2, ..Limits::default() }), Err(Fault::TooManyRows));
    assert_eq!(scan(&Limits { max_bytes: body.len() - 1, ..Limits::default() }), Err(Fault::TooLarge));
}

/// A body of few rows cannot hold so many events or bucket counts, two bytes or one each, that no reader takes the batch it becomes.
#[test]
fn parts_of_rows_are_limited_too() {
    let limits = |max_rows| Limits { max_rows, ..Limits::default() };
    let fault = |signal, body: &[u8], max_rows| scan(signal, body, &limits(max_rows)).map(|found| found.rows).map_err(|found| found.fault);
    let events = wrap(1, &wrap(2, &wrap(2, &[wrap(11, &[]), wrap(13, &[]), wrap(11, &[])].concat())));
    assert_eq!(fault(Signal::Traces, &events, 3), Ok(1));
    assert_eq!(fault(Signal::Traces, &events, 2), Err(Fault::TooManyParts));
    let buckets = wrap(1, &wrap(2, &wrap(2, &wrap(10, &wrap(1, &wrap(8, &wrap(2, &[1; 12])))))));
    assert_eq!(fault(Signal::Metrics, &buckets, 3), Ok(1));
    assert_eq!(fault(Signal::Metrics, &buckets, 2), Err(Fault::TooManyParts));
}

/// The largest numbers of events that the default limits let in, with values as wide as they can be, make batches that a reader takes.
#[test]
fn what_is_let_in_can_be_decoded() {
    let mut span = vec![];
    for _ in 0..(1 << 20) - 1 {
        span.extend([0x5a, 0]);
    }
    span.extend(wrap(11, &[&[0x09][..], &[0xff; 8], &[0x20, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat()));
    let body = wrap(1, &wrap(2, &wrap(2, &span)));
    let encoded = support::encode(&mut federation_proto::codec::Encoder::new(), Signal::Traces, std::slice::from_ref(&body));
    assert_eq!(support::decode(Signal::Traces, &encoded).rows(), 1);
}
