//! Values as text, and the accessors on a small batch of each signal.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use prost::Message;

use super::{AnyWire, Value};

fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn pair(key: &str, value: Option<Any>) -> KeyValue {
    KeyValue { key: key.into(), value: value.map(any), key_strindex: 0 }
}

fn text(value: Any) -> String {
    AnyWire(&any(value).encode_to_vec()).value().to_text()
}

/// Scalars read as the ClickHouse exporter writes them: doubles by the rule of ECMAScript, bytes in base64.
#[test]
fn scalars_as_text() {
    assert_eq!(Value::Empty.to_text(), "");
    assert_eq!(text(Any::StringValue("a\"b".into())), "a\"b");
    assert_eq!(text(Any::BoolValue(true)), "true");
    assert_eq!(text(Any::IntValue(i64::MIN)), "-9223372036854775808");
    for (double, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-7"),
        (-2.5e-9, "-2.5e-9"),
    ] {
        assert_eq!(text(Any::DoubleValue(double)), expected);
    }
    assert_eq!(text(Any::DoubleValue(f64::NEG_INFINITY)), "json: unsupported value: -Inf");
    for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("\0\x10?>", "ABA/Pg==")] {
        assert_eq!(text(Any::BytesValue(bytes.into())), expected);
    }
}

/// Arrays and key-value lists read as Go's JSON: keys sorted, the last of equal keys, its escapes; nothing if a number has no JSON form.
#[test]
fn nested_values_as_json() {
    let list = Any::KvlistValue(KeyValueList {
        values: vec![
            pair("z", Some(Any::BytesValue(vec![1, 2, 3]))),
            pair("a", Some(Any::IntValue(1))),
            pair("a", Some(Any::StringValue("<\u{2028}\u{1}\n\"".into()))),
            pair("n", None),
            pair("s", Some(Any::ArrayValue(ArrayValue { values: vec![any(Any::DoubleValue(0.5)), AnyValue { value: None }] }))),
        ],
    });
    assert_eq!(text(list), r#"{"a":"\u003c\u2028\u0001\n\"","n":null,"s":[0.5,null],"z":"AQID"}"#);
    assert_eq!(text(Any::ArrayValue(ArrayValue { values: Vec::new() })), "[]");
    // A field of a later version before the array changes nothing.
    assert_eq!(AnyWire(&[0x48, 1, 0x2a, 4, 0x0a, 2, 0x10, 1]).value().to_text(), "[true]");
    assert_eq!(text(Any::ArrayValue(ArrayValue { values: vec![any(Any::DoubleValue(f64::NAN))] })), "");
}

/// The elements and entries of nested values can be walked without JSON.
#[test]
fn nested_values_by_element() {
    let bytes = any(Any::ArrayValue(ArrayValue { values: vec![any(Any::IntValue(7)), any(Any::BoolValue(false))] })).encode_to_vec();
    let Value::Nested(array) = AnyWire(&bytes).value() else { panic!("an array is nested") };
    assert_eq!(array.elements().collect::<Vec<_>>(), [Value::Int(7), Value::Bool(false)]);
    assert_eq!(array.entries().count(), 0);
    let bytes = any(Any::KvlistValue(KeyValueList { values: vec![pair("k", Some(Any::IntValue(7))), pair("k", None)] })).encode_to_vec();
    let Value::Nested(list) = AnyWire(&bytes).value() else { panic!("a list is nested") };
    assert_eq!(list.entries().collect::<Vec<_>>(), [("k", Value::Int(7)), ("k", Value::Empty)]);
}
