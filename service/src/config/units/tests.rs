use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn value<T: FromStr<Err = InvalidUnit> + Debug>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn problem<T: FromStr<Err = InvalidUnit> + Debug>(text: &str) -> String {
    text.parse::<T>().expect_err(text).to_string()
}

/// Sizes are exact, in powers of 1024 or 1000 as the unit says.
#[test]
fn sizes_are_exact() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("7B", 7),
        ("10KB", 10_000),
        ("10kB", 10_000),
        ("10 KiB", 10_240),
        ("64MiB", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("0.001KB", 1),
        ("2TB", 2_000_000_000_000),
        ("16777215TiB", 16_777_215 << 40),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(value::<ByteSize>(text).0, bytes, "{text}");
    }
}

/// A size that is not one says what is expected, never rounds and never wraps.
#[test]
fn impossible_sizes_are_refused() {
    for text in ["", "MiB", "64Mib", "64mb", "-1", "1,5GiB", "1.", ".5KB", "1.2.3KB", "1e3", "٣KB"] {
        assert!(problem::<ByteSize>(text).ends_with("expected a size such as 64MiB or 10MB"), "{text}");
    }
    for text in ["16777216TiB", "18446744073709551616", "99999999999999999999999999TiB"] {
        assert!(problem::<ByteSize>(text).contains("too large"), "{text}");
    }
    for text in ["0.5B", "0.3KiB", "0.0000000000000000000001TiB"] {
        assert!(problem::<ByteSize>(text).contains("not a whole number"), "{text}");
    }
    let long = "9x".repeat(100_000);
    assert!(problem::<ByteSize>(&long).len() < 200, "a long value is cut");
}

/// Rates count bytes per second, bits in powers of 1000, and need their unit.
#[test]
fn rates_are_bytes_per_second() {
    for (text, bytes) in [
        ("8bit/s", 1),
        ("10Mbit/s", 1_250_000),
        ("28.8kbit/s", 3_600),
        ("1Gbit/s", 125_000_000),
        ("4MiB/s", 4 << 20),
        ("1.5MB/s", 1_500_000),
        ("3KB/s", 3_000),
        ("2GiB/s", 2 << 30),
        ("0B/s", 0),
    ] {
        assert_eq!(value::<Rate>(text).0, bytes, "{text}");
    }
    assert_eq!(problem::<Rate>("10 Mbps"), "invalid value \"10 Mbps\": expected a rate such as 10Mbit/s or 4MiB/s");
    assert!(problem::<Rate>("1000").contains("expected a rate"));
    assert!(problem::<Rate>("12bit/s").contains("not a whole number of bytes"));
    assert!(problem::<Rate>("20000000000GiB/s").contains("too large"));
}

/// Spans add their parts, from days down to nanoseconds.
#[test]
fn spans_add_their_parts() {
    for (text, nanos) in [
        ("0s", 0),
        ("1ns", 1),
        ("3us", 3_000),
        ("3µs", 3_000),
        ("200ms", 200_000_000),
        ("1.5s", 1_500_000_000),
        ("1m30s", 90_000_000_000),
        ("1m 30s", 90_000_000_000),
        ("2h1ns", 7_200_000_000_001),
        ("7d", 604_800_000_000_000),
    ] {
        let span = value::<Span>(text);
        assert_eq!(span.0, Duration::from_nanos(nanos), "{text}");
    }
    assert_eq!(value::<Span>("36500d"), Span::MAX);
    for text in ["", "5", "s", "30s1m", "1s1s", "1us1µs", "5 sec", "-1s", "1m30"] {
        assert!(problem::<Span>(text).contains("expected a length of time"), "{text}");
    }
    for text in ["36501d", "99999999999999999999s", "36500d1ns"] {
        assert!(problem::<Span>(text).contains("too long"), "{text}");
    }
    assert!(problem::<Span>("0.5ns").contains("not a whole number"));
}

/// Listen takes an address with its port and nothing that would have to be resolved.
#[test]
fn listen_is_an_address_and_a_port() {
    assert_eq!(value::<Listen>("127.0.0.1:4317").0.port(), 4317);
    assert!(value::<Listen>("[::1]:0").0.is_ipv6());
    for text in ["localhost:4317", "127.0.0.1", ":4317", "127.0.0.1:70000", "::1:80"] {
        assert!(problem::<Listen>(text).contains("127.0.0.1:4317"), "{text}");
    }
}

/// What is printed is short, in the unit one would write.
#[test]
fn display_is_what_one_would_write() {
    assert_eq!(ByteSize::mib(64).to_string(), "64MiB");
    assert_eq!(ByteSize(10_000_000).to_string(), "10MB");
    assert_eq!(ByteSize(1_025).to_string(), "1025B");
    assert_eq!(ByteSize(0).to_string(), "0B");
    assert_eq!(Rate::mbit(10).to_string(), "10Mbit/s");
    assert_eq!(Rate(4 << 20).to_string(), "4MiB/s");
    assert_eq!(Span::from_millis(90_500).to_string(), "1m30s500ms");
    assert_eq!(Span::default().to_string(), "0s");
}

/// JSON has numbers without units too: a size takes them, a rate says what it needs.
#[test]
fn numbers_without_a_unit_are_bytes_or_refused() {
    assert_eq!(serde_json::from_str::<ByteSize>("4096").expect("size"), ByteSize(4096));
    for number in ["10", "-10", "1.5"] {
        let error = serde_json::from_str::<Rate>(number).expect_err("no unit");
        assert!(error.to_string().contains("expected a rate"), "{error}");
    }
}

fn round_trip<T>(value: T) -> Result<(), TestCaseError>
where
    T: FromStr<Err = InvalidUnit> + ToString + Debug + PartialEq + Copy,
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    prop_assert_eq!(value.to_string().parse::<T>(), Ok(value));
    let json = serde_json::to_string(&value).expect("serializes");
    prop_assert_eq!(serde_json::from_str::<T>(&json).expect("parses"), value);
    Ok(())
}

/// Any number, and often one that some unit expresses.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..10_000u64, 0..5u32).prop_map(|(n, power)| n * 1000u64.pow(power)),
        (0..10_000u64, 0..5u32).prop_map(|(n, power)| n << (10 * power)),
    ]
}

proptest! {
    /// Every size, rate, span and address prints as what it parses from.
    #[test]
    fn display_and_serde_round_trip(amount in amount(), address in any::<std::net::SocketAddr>()) {
        round_trip(ByteSize(amount))?;
        round_trip(Rate(amount))?;
        let most = u64::try_from(Span::MAX.0.as_nanos()).expect("fits");
        round_trip(Span(Duration::from_nanos(amount % most)))?;
        // Flow labels and scopes are not what one listens on.
        round_trip(Listen(std::net::SocketAddr::new(address.ip(), address.port())))?;
    }

    /// No text makes a parser panic.
    #[test]
    fn any_text_is_parsed_or_refused(text in "[0-9. a-zA-Zµ/:]{0,40}|\\PC{0,40}") {
        let _ = text.parse::<ByteSize>();
        let _ = text.parse::<Rate>();
        let _ = text.parse::<Span>();
        let _ = text.parse::<Listen>();
    }
}
