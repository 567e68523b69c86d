//! Payloads from anyone, and senders that mean harm: the decoder never panics and never takes more than its limits, and no mix of keys
//! makes a batch larger than the OTLP it came from.
#![allow(clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use federation_proto::codec::{DecodeError, DecodeLimits, Decoder, ENCODING, Encoder};
use federation_proto::columns::Columns;
use federation_proto::identity::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use support::arbitrary::Nasty;
use support::records::{self, sorted};
use support::rng::Rng;
use support::{SIGNALS, body_with_rows, decode, encode, try_decode};

/// Reads everything there is, as tiers do.
fn read_all(columns: &Columns) {
    let otlp = columns.to_otlp();
    let limits = federation_proto::otlp::Limits::default();
    let found = federation_proto::otlp::scan(columns.signal(), &otlp, &limits).expect("what was decoded is valid OTLP again");
    assert_eq!(found.rows as usize, columns.rows());
    match columns {
        Columns::Traces(spans) => (0..spans.len()).for_each(|row| {
            let _ = spans.attrs(row).map(|(_, value)| value.to_text().len()).sum::<usize>();
        }),
        Columns::Logs(logs) => (0..logs.len()).for_each(|row| drop(logs.body(row).map(|value| value.to_text()))),
        Columns::Metrics(points) => (0..points.len()).for_each(|row| {
            let _ = (points.kind(row), points.number(row), points.quantiles(row).count(), points.positive(row), points.sum(row));
        }),
    }
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.below(bytes.len());
        match rng.below(8) {
            0..4 => bytes[at] ^= 1 << rng.below(8),
            4 => bytes[at] = *rng.pick(&[0, 1, 2, 0x7f, 0x80, 0xff]),
            5 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            6 => bytes.truncate(at),
            _ => {
                let to = rng.below(bytes.len());
                bytes.swap(at, to);
            }
        }
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).expect("compresses")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// A mutated payload is refused or decodes to columns that can be read to the end; mutated inside the frame too, so that the
    /// damage gets past zstd.
    #[test]
    fn mutated_payloads_never_panic(signal in prop::sample::select(SIGNALS.to_vec()), seed: u64, size in 1usize..10) {
        let mut nasty = Nasty::new(seed, size);
        let payload = encode(&mut Encoder::new(), signal, &[nasty.body(signal), nasty.body(signal)]).payload;
        let inside = zstd::bulk::decompress(&payload, 1 << 24).expect("own payload");
        for _ in 0..30 {
            let mut outer = payload.clone();
            mutate(&mut outer, &mut nasty.rng);
            let mut inner = inside.clone();
            mutate(&mut inner, &mut nasty.rng);
            for payload in [outer, frame(&inner)] {
                if let Ok(columns) = try_decode(signal, &payload) {
                    read_all(&columns);
                }
            }
        }
    }

    /// A payload of one signal is not read as another.
    #[test]
    fn another_signal_is_refused(seed: u64) {
        let payload = encode(&mut Encoder::new(), Signal::Logs, &[Nasty::new(seed, 5).body(Signal::Logs)]).payload;
        prop_assert!(try_decode(Signal::Traces, &payload).is_err());
        prop_assert!(try_decode(Signal::Metrics, &payload).is_err());
    }
}

/// Every cut of a payload, and every single damaged byte inside its frame, is refused or harmless.
#[test]
fn every_cut_and_every_byte() {
    for signal in SIGNALS {
        let payload = encode(&mut Encoder::new(), signal, &[body_with_rows(signal, 4)]).payload;
        assert!(try_decode(signal, &payload).is_ok());
        for len in 0..payload.len() {
            assert!(try_decode(signal, &payload[..len]).is_err(), "cut to {len}");
        }
        let inside = zstd::bulk::decompress(&payload, 1 << 24).expect("own payload");
        assert!(try_decode(signal, &frame(&inside)).is_ok());
        for at in 0..inside.len() {
            for value in [0, 0x80, 0xff] {
                let mut damaged = inside.clone();
                damaged[at] = value;
                if let Ok(columns) = try_decode(signal, &frame(&damaged)) {
                    read_all(&columns);
                }
            }
        }
    }
}

/// What is beyond a limit is refused as such, before it is decoded.
#[test]
fn limits_are_kept() {
    let encoded = encode(&mut Encoder::new(), Signal::Traces, &[body_with_rows(Signal::Traces, 20)]);
    let decode = |limits: DecodeLimits| Decoder::decode(Signal::Traces, ENCODING, &encoded.payload, &limits).map(|columns| columns.rows());
    let open = DecodeLimits::default();
    assert_eq!(decode(open), Ok(encoded.rows as usize));
    assert!(matches!(decode(DecodeLimits { max_raw_bytes: 100, ..open }), Err(DecodeError::Limit(_))));
    assert!(matches!(decode(DecodeLimits { max_rows: encoded.rows - 1, ..open }), Err(DecodeError::Limit(_))));
    assert!(matches!(decode(DecodeLimits { max_memory_bytes: 64, ..open }), Err(DecodeError::Limit(_))));
    assert!(matches!(decode(DecodeLimits { max_text_bytes: 64, ..open }), Err(DecodeError::Limit(_))));
    let unknown = Decoder::decode(Signal::Traces, ENCODING + 1, &encoded.payload, &open);
    assert!(matches!(unknown, Err(DecodeError::Encoding(_))));
}

/// Spans whose keys are all random, or drawn at random from many, with nested values.
fn scattered(rng: &mut Rng, spans: usize, key: impl Fn(&mut Rng) -> String) -> Vec<u8> {
    let mut nasty = Nasty::new(rng.next(), 3);
    let spans = (0..spans)
        .map(|_| Span {
            trace_id: rng.bytes(16),
            span_id: rng.bytes(8),
            name: "x".to_owned(),
            attributes: (0..rng.below(20))
                .map(|_| {
                    let value = Some(Value::StringValue(nasty.text()));
                    KeyValue { key: key(rng), value: Some(AnyValue { value }), key_strindex: 0 }
                })
                .collect(),
            ..Span::default()
        })
        .collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }.encode_to_vec()
}

/// However keys are scattered over rows, a batch stays lossless and smaller than its OTLP bytes, one batch after the other.
#[test]
fn scattered_keys_do_not_blow_up() {
    let mut rng = Rng(5);
    let mut encoder = Encoder::new();
    let all_random = |rng: &mut Rng| format!("k{}", rng.next());
    let from_many = |rng: &mut Rng| format!("some.key.{}", rng.below(3000));
    let from_some = |rng: &mut Rng| format!("some.key.{}", rng.below(30));
    for round in 0..9 {
        let body = match round % 3 {
            0 => scattered(&mut rng, 300, all_random),
            1 => scattered(&mut rng, 1200, from_many),
            _ => scattered(&mut rng, 1200, from_some),
        };
        let encoded = encode(&mut encoder, Signal::Traces, std::slice::from_ref(&body));
        let plain = zstd::bulk::compress(&body, 1).expect("compresses").len();
        let received = records::of(Signal::Traces, &decode(Signal::Traces, &encoded).to_otlp());
        assert_eq!(sorted(records::of(Signal::Traces, &body)), sorted(received), "round {round}");
        assert!(encoded.payload.len() < body.len(), "round {round}: {} of {}", encoded.payload.len(), body.len());
        println!("round {round}: otlp {} zstd-1 {plain} ours {}", body.len(), encoded.payload.len());
    }
}

/// Rows that go to wire bytes for their rare keys do not leave their other values behind in dictionaries: nothing is written twice.
#[test]
fn rare_keys_beside_a_common_one_write_nothing_twice() {
    let mut rng = Rng(6);
    let string =
        |key: String, value: String| KeyValue { key, value: Some(AnyValue { value: Some(Value::StringValue(value)) }), key_strindex: 0 };
    let span = |attributes| Span { attributes, ..Span::default() };
    let mut spans: Vec<Span> = (0..4000).map(|_| span(vec![string("a".to_owned(), "x".to_owned())])).collect();
    spans.extend((0..900).map(|n| {
        let random = (0..1000).map(|_| char::from(b' ' + rng.below(95) as u8)).collect();
        span(vec![string("a".to_owned(), random), string(format!("rare {n}"), String::new())])
    }));
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let body =
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }.encode_to_vec();
    let inside = zstd::bulk::decompress(&encode(&mut Encoder::new(), Signal::Traces, std::slice::from_ref(&body)).payload, 1 << 24);
    let inside = inside.expect("own payload").len();
    assert!(inside < body.len() * 11 / 10, "{inside} from {}", body.len());
}
