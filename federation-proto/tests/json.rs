//! OTLP/JSON becomes the protobuf that it stands for: for arbitrary requests in every form that the rules allow, rule by rule, and for
//! bodies that mean harm.
#![allow(clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use federation_proto::identity::Signal;
use federation_proto::otlp::json::{JsonError, JsonFault, to_protobuf};
use federation_proto::otlp::{Limits, scan};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;

use support::SIGNALS;
use support::arbitrary::Nasty;
use support::json::JsonWriter;
use support::realistic::Shop;
use support::rng::Rng;

const MAX_BYTES: usize = 64 << 20;

fn convert(signal: Signal, body: &[u8]) -> Result<Vec<u8>, JsonError> {
    to_protobuf(signal, body, MAX_BYTES)
}

/// What prost writes for what it reads: equal for equal requests, NaN included.
fn through_prost(signal: Signal, body: &[u8]) -> Vec<u8> {
    match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(body).expect("valid").encode_to_vec(),
        Signal::Logs => ExportLogsServiceRequest::decode(body).expect("valid").encode_to_vec(),
        _ => ExportMetricsServiceRequest::decode(body).expect("valid").encode_to_vec(),
    }
}

/// A request of one span with these fields.
fn with_span(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

fn span(fields: &str) -> Result<Span, JsonError> {
    let body = convert(Signal::Traces, with_span(fields).as_bytes())?;
    let found = scan(Signal::Traces, &body, &Limits::default()).expect("valid");
    assert!(found.canonical && found.rows == 1);
    let mut request = ExportTraceServiceRequest::decode(&*body).expect("valid");
    Ok(request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0))
}

/// The error for a span with these fields: its path within the span, and what it says.
fn refusal(fields: &str) -> (String, String) {
    let error = span(fields).expect_err("refused");
    (error.path.replace("resourceSpans[0].scopeSpans[0].spans[0].", ""), error.fault.to_string())
}

/// The value of a span's one attribute.
fn attr(value: &str) -> Result<Option<Any>, JsonError> {
    let mut span = span(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#))?;
    Ok(span.attributes.remove(0).value.and_then(|any| any.value))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every request, in any form that the rules allow, becomes protobuf that the scan calls canonical and prost reads as the original.
    #[test]
    fn nothing_changes(signal in prop::sample::select(SIGNALS.to_vec()), seed: u64, size in 1usize..8) {
        let body = Nasty::new(seed, size).with_one_nan().body(signal);
        let text = JsonWriter(Rng(seed)).body(signal, &body);
        let made = convert(signal, &text).expect("valid");
        let found = scan(signal, &made, &Limits::default()).expect("valid");
        prop_assert!(found.canonical);
        prop_assert_eq!(found.rows, scan(signal, &body, &Limits::default()).expect("valid").rows);
        prop_assert_eq!(through_prost(signal, &made), body);
    }

    /// A cut body is refused, wherever it is cut; a changed one is refused, or becomes protobuf that the scan takes.
    #[test]
    fn damage_is_refused_or_harmless(signal in prop::sample::select(SIGNALS.to_vec()), seed: u64) {
        let body = Nasty::new(seed, 2).body(signal);
        let mut rng = Rng(seed);
        let text = JsonWriter(rng.clone()).body(signal, &body);
        let whole = text.trim_ascii_end().len();
        for _ in 0..60 {
            prop_assert!(convert(signal, &text[..rng.below(whole)]).is_err());
            let mut changed = text.clone();
            let at = rng.below(whole);
            changed[at] = *rng.pick(b"\"\\{}[]:,0-9enull\x00\x80\xff ");
            if let Ok(made) = convert(signal, &changed) {
                prop_assert!(scan(signal, &made, &Limits::default()).expect("valid").canonical);
            }
        }
    }
}

/// A second opinion: what opentelemetry-proto writes as JSON is read as what it writes as protobuf.
#[test]
fn the_json_of_opentelemetry_proto_is_read() {
    let (traces, logs, metrics) = (Shop::new(7).traces(300), Shop::new(7).logs(300), Shop::new(7).metrics());
    for (signal, text, body) in [
        (Signal::Traces, serde_json::to_vec(&traces), traces.encode_to_vec()),
        (Signal::Logs, serde_json::to_vec(&logs), logs.encode_to_vec()),
        (Signal::Metrics, serde_json::to_vec(&metrics), metrics.encode_to_vec()),
    ] {
        let made = convert(signal, &text.expect("writes")).expect("valid");
        assert!(made.len() > 10_000 && through_prost(signal, &made) == body, "{signal:?}");
    }
}

/// The example of the OTLP specification's repository (examples/trace.json), shortened.
#[test]
fn the_specifications_example() {
    let body = br#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
        "scopeSpans":[{"scope":{"name":"my.library","version":"1.0.0","attributes":[]},"spans":[{
        "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173",
        "name":"I'm a server span","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","kind":2,
        "attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}]}]}]}]}"#;
    let made = convert(Signal::Traces, body).expect("valid");
    let request = ExportTraceServiceRequest::decode(&*made).expect("valid");
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.trace_id[..4], [0x5b, 0x8e, 0xff, 0xf7]);
    assert_eq!((span.span_id.len(), span.kind, span.start_time_unix_nano), (8, 2, 1_544_712_660_000_000_000));
    assert_eq!(span.name, "I'm a server span");
}

/// Ids are hexadecimal in either case, of any length, as protobuf takes them; half bytes and base64 are refused.
#[test]
fn ids_are_hexadecimal() {
    assert_eq!(span(r#""traceId":"00ffAbCD""#).expect("valid").trace_id, [0, 0xff, 0xab, 0xcd]);
    assert_eq!(span(r#""spanId":"""#).expect("valid").span_id, [0u8; 0]);
    for id in ["abc", "AAECAwQFBgcICQoLDA0ODw==", "0x12", "zz", "+1"] {
        let (path, fault) = refusal(&format!(r#""parentSpanId":"{id}""#));
        assert_eq!(path, "parentSpanId");
        assert!(fault.contains("hexadecimal") && fault.contains(id), "{fault}");
    }
}

/// Enums are numbers, also ones that we do not know; their names are refused, and the message says so.
#[test]
fn enums_are_numbers() {
    assert_eq!(span(r#""kind":-7"#).expect("valid").kind, -7);
    for kind in [r#""SPAN_KIND_SERVER""#, r#""2""#, "2147483648", "true"] {
        let (path, fault) = refusal(&format!(r#""kind":{kind}"#));
        assert!(path == "kind" && fault.contains("does not allow names"), "{fault}");
    }
    assert_eq!(refusal(r#""status":{"code":"STATUS_CODE_OK"}"#).0, "status.code");
}

/// 64-bit integers come as decimal strings and as numbers, also with an exponent or a fraction of zero; never beyond their range.
#[test]
fn integers_are_strings_or_numbers() {
    let int = |value: &str| attr(&format!(r#"{{"intValue":{value}}}"#));
    for (text, value) in [
        (r#""9223372036854775807""#, i64::MAX),
        ("9223372036854775807", i64::MAX),
        (r#""-9223372036854775808""#, i64::MIN),
        ("-9223372036854775808", i64::MIN),
        ("1.5e3", 1500),
        ("-2.0", -2),
        ("0", 0),
        ("-0", 0),
    ] {
        assert_eq!(int(text).expect("valid"), Some(Any::IntValue(value)), "{text}");
    }
    for text in [
        r#""9223372036854775808""#,
        "9223372036854775808",
        "1e19",
        "1e300",
        "0.5",
        r#""""#,
        r#"" 1""#,
        r#""+1""#,
        r#""0x10""#,
        r#""1.5e3x""#,
        "true",
        r#""99999999999999999999999999999999999999999999""#,
    ] {
        assert!(int(text).is_err(), "{text}");
    }
    assert_eq!(span(r#""startTimeUnixNano":18446744073709551615"#).expect("valid").start_time_unix_nano, u64::MAX);
    assert_eq!(refusal(r#""startTimeUnixNano":-1"#).0, "startTimeUnixNano");
    assert_eq!(refusal(r#""flags":4294967296"#).0, "flags");
    assert_eq!(span(r#""flags":"257""#).expect("valid").flags, 257);
}

/// Doubles are read to the last bit, as numbers and as strings; the three words are known and no others.
#[test]
fn doubles_are_exact() {
    let double = |value: &str| attr(&format!(r#"{{"doubleValue":{value}}}"#));
    let mut rng = Rng(3);
    for _ in 0..2000 {
        let value = f64::from_bits(rng.next());
        if value.is_finite() {
            assert_eq!(double(&format!("{value:e}")).expect("valid"), Some(Any::DoubleValue(value)));
            assert_eq!(double(&format!("\"{value}\"")).expect("valid"), Some(Any::DoubleValue(value)));
        }
    }
    assert_eq!(double(r#""-Infinity""#).expect("valid"), Some(Any::DoubleValue(f64::NEG_INFINITY)));
    assert_eq!(double(r#""Infinity""#).expect("valid"), Some(Any::DoubleValue(f64::INFINITY)));
    assert!(matches!(double(r#""NaN""#), Ok(Some(Any::DoubleValue(value))) if value.is_nan()));
    assert!(matches!(double("-0.0"), Ok(Some(Any::DoubleValue(value))) if value.is_sign_negative()));
    for text in
        [r#""nan""#, r#""inf""#, r#""infinity""#, r#""+Infinity""#, r#""1e999""#, "1e999", "NaN", "-Infinity", r#""""#, r#""1,5""#, "[1]"]
    {
        assert!(double(text).is_err(), "{text}");
    }
}

/// Bytes are base64 in either alphabet, padded or not.
#[test]
fn bytes_are_base64() {
    let bytes = |text: &str| attr(&format!(r#"{{"bytesValue":"{text}"}}"#));
    for (text, value) in [
        ("", &[][..]),
        ("+/8=", &[0xfb, 0xff]),
        ("-_8", &[0xfb, 0xff]),
        ("-_8=", &[0xfb, 0xff]),
        ("AA==", &[0]),
        ("AA", &[0]),
        ("AAEC", &[0, 1, 2]),
        ("AAECAw", &[0, 1, 2, 3]),
    ] {
        assert_eq!(bytes(text).expect(text), Some(Any::BytesValue(value.to_vec())), "{text}");
    }
    for text in ["A", "AAECA", "AA=", "A===", "=", "AA==AA==", "AA EC", "AAé=", "AA\\n"] {
        assert!(bytes(text).is_err(), "{text}");
    }
}

/// Keys that are not the schema's are passed over, whatever they hold: the original names of fields too.
#[test]
fn unknown_keys_are_passed_over() {
    let read = span(r#""name":"a","new":{"traceId":[null,{"":1e400}]},"trace_id":5,"Name":"b","":[],"trace":"\ud83d\ude00""#);
    assert_eq!(read.expect("valid"), Span { name: "a".to_owned(), ..Span::default() });
}

/// Null is as if the key were absent, for every kind of field, and does not count as given; in a list it is refused.
#[test]
fn null_is_absent() {
    let read =
        span(r#""name":null,"traceId":null,"kind":null,"attributes":null,"status":null,"flags":null,"startTimeUnixNano":null,"name":"x""#);
    assert_eq!(read.expect("valid"), Span { name: "x".to_owned(), ..Span::default() });
    assert_eq!(attr(r#"{"stringValue":null,"intValue":"4","kvlistValue":null}"#).expect("valid"), Some(Any::IntValue(4)));
    assert_eq!(attr("null").expect("valid"), None);
    assert_eq!(refusal(r#""events":[{},null]"#), ("events[1]".to_owned(), "expected an object, found null".to_owned()));
    assert!(convert(Signal::Logs, b"null").expect_err("refused").to_string().starts_with("request: expected an object, found null"));
}

/// A default that is written is a default; but a value that is set to its default is set.
#[test]
fn defaults_are_kept_where_they_mean_something() {
    assert_eq!(span(r#""name":"","kind":0,"flags":0,"attributes":[],"endTimeUnixNano":"0""#).expect("valid"), Span::default());
    assert_eq!(attr(r#"{"boolValue":false}"#).expect("valid"), Some(Any::BoolValue(false)));
    assert_eq!(attr(r#"{"stringValue":""}"#).expect("valid"), Some(Any::StringValue(String::new())));
    assert_eq!(attr("{}").expect("valid"), None);
}

/// A known key twice in one object, or two members of a oneof, are refused: which one counts cannot be known.
#[test]
fn what_is_given_twice_is_refused() {
    assert_eq!(refusal(r#""name":"a","name":"b""#), ("name".to_owned(), "given twice in one object".to_owned()));
    assert_eq!(refusal(r#""events":[],"events":[]"#).1, "given twice in one object");
    let error = attr(r#"{"stringValue":"a","intValue":1}"#).expect_err("refused");
    assert_eq!(error.fault, JsonFault::Both("stringValue"));
    assert!(error.path.ends_with("attributes[0].value.intValue"));
}

/// An error names the path, the line and the column, and repeats little of a long value.
#[test]
fn errors_say_where() {
    let body = "{\"resourceLogs\": [{},\n {\"scopeLogs\": [{\"logRecords\": [{}, {}, {\"severityNumber\": \"x\"}]}]}]}";
    let error = convert(Signal::Logs, body.as_bytes()).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "resourceLogs[1].scopeLogs[0].logRecords[2].severityNumber: expected the enum's number from -2147483648 to 2147483647 \
         (OTLP/JSON does not allow names), found the string \"x\" (line 2, column 62)"
    );
    let long = span(&format!(r#""kind":"{}""#, "é".repeat(1 << 20))).expect_err("refused").to_string();
    assert!(long.len() < 400, "{long}");
    let syntax = span(r#""name":}"#).expect_err("refused").to_string();
    assert_eq!(syntax, "resourceSpans[0].scopeSpans[0].spans[0].name: malformed JSON: expected value (line 1, column 52)");
    for (body, says) in [("", "EOF"), ("{} {}", "trailing"), ("[]", "found a list"), ("5", "found 5"), ("\u{feff}{}", "expected value")] {
        let error = convert(Signal::Traces, body.as_bytes()).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(convert(Signal::Profiles, b"{}").expect_err("refused").fault, JsonFault::Unsupported);
    assert_eq!(convert(Signal::Traces, b" {} \n"), Ok(vec![]));
}

/// Text that is not Unicode is refused: bytes that are not UTF-8, halves of surrogate pairs, raw control characters.
#[test]
fn text_must_be_unicode() {
    assert_eq!(span(r#""name":"\ud83d\ude00 \u0000 \/""#).expect("valid").name, "\u{1f600} \0 /");
    for name in [&b"\\ud83d"[..], b"\\ude00", b"\\ud83dx", b"\\ud83d\\u0041", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\n", b"\\x"] {
        let body = [br#"{"resourceSpans":[{"schemaUrl":""#, name, br#""}]}"#].concat();
        let error = convert(Signal::Traces, &body).expect_err("refused");
        assert!(matches!(error.fault, JsonFault::Syntax(_)) && error.path == "resourceSpans[0].schemaUrl", "{error}");
    }
}

/// An attribute of arrays in arrays is taken as deep as the scan takes it, and refused with that limit from there on, 10,000 levels too.
#[test]
fn nesting_ends_where_the_scans_does() {
    let nested = |open: &str, close: &str, levels: usize| format!("{}{{}}{}", open.repeat(levels), close.repeat(levels));
    for (open, close, deepest) in [(r#"{"arrayValue":{"values":["#, "]}}", 47), (r#"{"kvlistValue":{"values":[{"value":"#, "}]}}", 31)] {
        for levels in [1, deepest] {
            assert!(attr(&nested(open, close, levels)).is_ok(), "{levels}");
        }
        for levels in [deepest + 1, 10_000] {
            let error = attr(&nested(open, close, levels)).expect_err("refused");
            assert_eq!(error.fault, JsonFault::Depth);
            assert!(error.path.len() < 1500);
        }
    }
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        assert!(span(&format!(r#""new":{}"#, nested(open, close, 1_000_000))).is_ok(), "what is unknown may be nested");
        assert!(span(&format!(r#""events":{}"#, nested(open, close, 1_000_000))).is_err());
        assert!(span(&format!(r#""name":{}"#, nested(open, close, 1_000_000))).is_err());
    }
}

/// The output never passes its cap: refused a byte below its length, taken at it; numbers, strings and nested messages alike.
#[test]
fn output_is_capped() {
    for signal in SIGNALS {
        for seed in 0..20 {
            let body = Nasty::new(seed, 6).with_one_nan().body(signal);
            let text = JsonWriter(Rng(seed)).body(signal, &body);
            let whole = convert(signal, &text).expect("valid");
            assert_eq!(to_protobuf(signal, &text, whole.len()), Ok(whole.clone()));
            for cap in [whole.len().saturating_sub(1), whole.len() / 2, 0].into_iter().filter(|cap| *cap < whole.len()) {
                assert_eq!(to_protobuf(signal, &text, cap).expect_err("refused").fault, JsonFault::TooLarge(cap));
            }
        }
    }
}

/// What grows most, a list of short doubles, grows to less than four times the body.
#[test]
fn output_is_at_most_four_times_the_body() {
    let bounds = vec!["0"; 100_000].join(",");
    let point = format!(r#"{{"histogram":{{"dataPoints":[{{"explicitBounds":[{bounds}]}}]}}}}"#);
    let text = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{point}]}}]}}]}}"#);
    let made = convert(Signal::Metrics, text.as_bytes()).expect("valid");
    assert!((800_000..4 * text.len()).contains(&made.len()), "{} from {}", made.len(), text.len());
}

/// 100,000 attributes are taken and all kept; 100,000 unknown keys, or one of 8 MiB, are passed over.
#[test]
fn many_and_long_keys() {
    let attrs = (0..100_000).map(|n| format!(r#"{{"key":"k{n}","value":{{"intValue":{n}}}}}"#)).collect::<Vec<_>>().join(",");
    assert_eq!(span(&format!(r#""attributes":[{attrs}]"#)).expect("valid").attributes.len(), 100_000);
    let keys = (0..100_000).map(|n| format!(r#""k{n}":{n}"#)).collect::<Vec<_>>().join(",");
    assert_eq!(span(&keys).expect("valid"), Span::default());
    assert_eq!(span(&format!(r#""{}":1"#, "k".repeat(8 << 20))).expect("valid"), Span::default());
    let name = "n".repeat(8 << 20);
    assert_eq!(span(&format!(r#""name":"{name}""#)).expect("valid").name, name);
}
