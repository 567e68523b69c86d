//! The building blocks: the container is Arrow IPC to Arrow's own reader; integers choose their frame; strings choose their form.

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt32Type, UInt64Type};

use super::container::{Packer, read, unpack};
use super::decoder::DecodeLimits;
use super::dictionary::{Dictionary, equal, hash_pair};
use super::payload::Payload;
use super::source::Sources;
use super::streams::{Kind, Streams};
use super::strings::{self, Strings};

fn packed(fill: impl FnOnce(&mut Streams)) -> Vec<u8> {
    let mut streams = Streams::default();
    streams.begin();
    fill(&mut streams);
    let (rows, data) = streams.finish();
    Packer::default().pack(&rows, data).expect("packs")
}

/// Writes columns, reads them back.
fn through<T>(fill: impl FnOnce(&mut Streams), read: impl FnOnce(&mut Payload<'_>) -> T) -> T {
    let limits = DecodeLimits::default();
    let container = unpack(&packed(fill), &limits).expect("own payload");
    let mut payload = Payload::new(&container, &limits).expect("own payload");
    let found = read(&mut payload);
    payload.finish().expect("all is read");
    found
}

/// Arrow's own reader sees the streams that ours sees.
#[test]
fn a_payload_is_arrow_ipc_in_zstd() {
    let payload = packed(|out| {
        out.number(7);
        out.ints([1000u64, 2000, 70_000].into_iter(), 1);
        out.blobs([b"ab".as_slice(), b"", b"cde"].into_iter(), Kind::Text);
        out.blobs([[0xab; 16].as_slice(); 3].into_iter(), Kind::Noise);
    });
    let container = unpack(&payload, &DecodeLimits::default()).expect("own payload");
    let reader = arrow_ipc::reader::StreamReader::try_new(container.bytes.as_slice(), None).expect("a stream");
    let batches: Vec<_> = reader.collect::<Result<_, _>>().expect("batches");
    assert_eq!(batches.len(), 1);
    let batch = &batches[0];
    assert_eq!(batch.num_rows(), container.streams.len());
    for (row, (stream, range)) in container.streams.iter().enumerate() {
        assert_eq!(batch.column(0).as_primitive::<UInt32Type>().value(row), stream.column);
        assert_eq!(batch.column(4).as_primitive::<UInt64Type>().value(row), stream.base);
        assert_eq!(batch.column(5).as_binary::<i32>().value(row), &container.bytes[range.clone()]);
    }
    assert_eq!(read(&container.bytes).expect("again"), container.streams);
}

/// Any integers come back, and take no more planes than the narrower of the signed and the unsigned range needs.
#[test]
fn integers_take_the_narrower_frame() {
    let cases: [(&[u64], usize); 6] = [
        (&[5, 5, 5], 0),
        (&[0, u64::MAX], 1),
        (&[1 << 40, (1 << 40) + 300], 2),
        (&[u64::MAX - 3, 200], 1),
        (&[i64::MAX as u64, 1 << 63], 1),
        (&[0, i64::MAX as u64, 1 << 63, u64::MAX], 8),
    ];
    for (values, width) in cases {
        for noise in [0, 1, 8] {
            let payload = packed(|out| out.ints(values.iter().copied(), noise));
            let container = unpack(&payload, &DecodeLimits::default()).expect("own payload");
            let planes: usize =
                container.streams.iter().filter(|(stream, _)| stream.column == 1).map(|(stream, _)| stream.len / values.len()).sum();
            assert_eq!(planes, width, "{values:?}");
            let back = through(|out| out.ints(values.iter().copied(), noise), |payload| payload.list(values.len()).expect("a list"));
            assert_eq!(back, values);
        }
    }
}

/// A column of zeros alone takes no stream; a column of another constant takes no bytes.
#[test]
fn constants_take_nothing() {
    let container = unpack(&packed(|out| out.ints([0; 100].into_iter(), 3)), &DecodeLimits::default()).expect("own payload");
    assert_eq!(container.streams.len(), 1, "the structure alone");
    let container = unpack(&packed(|out| out.ints([9; 100].into_iter(), 3)), &DecodeLimits::default()).expect("own payload");
    assert_eq!(container.streams.iter().map(|(stream, _)| stream.len).sum::<usize>(), 0);
}

/// A code belongs to its batch; what a dictionary knows from earlier ones does not show.
#[test]
fn codes_start_afresh_with_each_batch() {
    let mut dictionary = Dictionary::default();
    for round in 0..3u32 {
        dictionary.begin();
        for number in 0..500u32 {
            let string = format!("string {}", (number * 7 + round) % 500);
            assert_eq!(dictionary.code(string.as_bytes()), number);
            assert_eq!(dictionary.code(string.as_bytes()), number);
            assert_eq!(dictionary.value(number), string.as_bytes());
        }
        assert_eq!(dictionary.len(), 500);
    }
}

/// What the structure says first of a column.
fn form(fill: impl FnOnce(&mut Streams)) -> usize {
    let limits = DecodeLimits::default();
    let container = unpack(&packed(fill), &limits).expect("own payload");
    Payload::new(&container, &limits).and_then(|mut payload| payload.number()).expect("a number")
}

/// Few distinct strings make a dictionary, many go plain, and either way they come back.
#[test]
fn strings_choose_their_form() {
    for (distinct, rows, expected) in [(3usize, 400usize, 4), (1, 1, 2), (200, 400, 0), (0, 0, 0)] {
        let strings: Vec<String> = (0..rows).map(|row| format!("é{}", row % distinct)).collect();
        let mut dictionary = Dictionary::default();
        dictionary.begin();
        let codes: Vec<u32> = strings.iter().map(|string| dictionary.code(string.as_bytes())).collect();
        let fill = |out: &mut Streams| strings::emit(&dictionary, codes.iter().copied(), Kind::Text, out);
        let column = through(fill, |payload| payload.strings(rows).expect("strings"));
        assert_eq!((0..rows).map(|row| column.get(row)).collect::<Vec<_>>(), strings);
        assert_eq!(form(fill), expected, "{distinct} of {rows}");
    }
}

/// A column of many strings with numbers goes as patterns from its second batch on, one without numbers plain; whatever part of the
/// rows is written, they come back.
#[test]
fn distinct_strings_with_numbers_go_as_patterns() {
    let numbered: fn(usize) -> String = |n| format!("é{n}/{:03}{}", n % 7, if n.is_multiple_of(3) { "x9" } else { "" });
    let spelled: fn(usize) -> String = |n| "yz".repeat(n);
    for (spell, expected) in [(numbered, 1), (spelled, 0)] {
        let mut strings = Strings::default();
        for batch in 0..3 {
            let all: Vec<String> = (0..300).map(|n| spell(n + batch)).collect();
            let text = all.concat();
            let parts = [super::Part { body: text.as_bytes(), rows: 0..0 }];
            let sources = Sources::new(&parts).expect("small");
            strings.begin();
            let mut at = 0;
            let mut push = |string: &String| {
                at += string.len();
                strings.push(string.as_bytes(), at - string.len())
            };
            let slots: Vec<u64> = all.iter().map(&mut push).collect();
            for step in [1, 7] {
                let used: Vec<u64> = slots.iter().copied().rev().step_by(step).collect();
                let fill = |out: &mut Streams| strings.emit(&used, &sources, out);
                let column = through(fill, |payload| payload.strings(used.len()).expect("strings"));
                let expected_rows: Vec<&String> = all.iter().rev().step_by(step).collect();
                assert_eq!((0..used.len()).map(|row| column.get(row)).collect::<Vec<_>>(), expected_rows);
                assert!(batch == 0 || form(fill) == expected, "batch {batch}");
            }
        }
    }
}

/// Patterns that claim more than they have are refused: numbers beyond their place, codes beyond the dictionary, too many numbers in a
/// string, more text than the limit.
#[test]
fn patterns_that_do_not_fit_are_refused() {
    let column = |pattern: &'static [u8], code: u64, number: u64, limits: DecodeLimits| {
        let fill = |out: &mut Streams| {
            out.number(strings::PATTERNS);
            out.number(1);
            out.blobs([pattern].into_iter(), Kind::Text);
            out.ints([0, code].into_iter(), 0);
            out.ints([number, 7].into_iter(), 1);
        };
        let container = unpack(&packed(fill), &limits).expect("own payload");
        Payload::new(&container, &limits).and_then(|mut payload| payload.strings(2)).map(|column| column.get(0).to_owned())
    };
    let open = DecodeLimits::default();
    assert_eq!(column(b"a\x02b", 0, 42, open).as_deref(), Ok("a042b"));
    assert!(column(b"a\x02b", 0, 1042, open).is_err(), "four digits in a place of three");
    assert!(column(b"a\x02b", 1, 42, open).is_err(), "the only pattern is 0");
    assert!(column(&[0; 17], 0, 42, open).is_err(), "seventeen numbers");
    assert!(column(b"a\x02b", 0, 42, DecodeLimits { max_text_bytes: 9, ..open }).is_err(), "ten bytes in all");
    assert!(column(b"a\xff\x02b", 0, 42, open).is_err(), "not UTF-8");
}

/// A column that was nearly all distinct is taken in plain in the next batch, without interning, and tried again later.
#[test]
fn high_cardinality_columns_are_not_interned_again() {
    let text: String = (0..100).map(|n| format!("{n:04}")).collect();
    let parts = [super::Part { body: text.as_bytes(), rows: 0..0 }];
    let sources = Sources::new(&parts).expect("small");
    let mut strings = Strings::default();
    let mut interned = Vec::new();
    for _ in 0..140 {
        strings.begin();
        let slots: Vec<u64> = (0..100).map(|n| strings.push(&text.as_bytes()[4 * n..4 * n + 4], 4 * n)).collect();
        assert!(slots.iter().enumerate().all(|(n, &slot)| strings.get(slot, &sources) == &text.as_bytes()[4 * n..4 * n + 4]));
        interned.push(strings.is_interned());
    }
    assert_eq!(interned.iter().filter(|interned| **interned).count(), 3, "the first, and one in about 64 after");
}

/// A string that starts or ends within a character is refused, though the column as a whole is UTF-8.
#[test]
fn strings_are_cut_on_character_borders() {
    let column = |lens: [u64; 2]| {
        through(
            move |out| {
                out.number(0);
                out.ints(lens.into_iter(), 0);
                out.bytes(["aé".as_bytes()].into_iter(), Kind::Text);
            },
            |payload| payload.strings(2).is_ok(),
        )
    };
    assert!(column([1, 2]) && column([3, 0]));
    assert!(!column([2, 1]));
}

/// What is not the expected number of values, or points beyond what there is, is refused.
#[test]
fn columns_that_do_not_fit_are_refused() {
    let three = |out: &mut Streams| out.ints([4u64, 5, 6].into_iter(), 0);
    assert!(through(three, |payload| payload.ints_below(3, 7).is_ok()));
    assert!(through(three, |payload| payload.ints_below(3, 6).is_err()));
    assert!(through(three, |payload| payload.ints(4).is_err()));
    let long = |out: &mut Streams| out.ints([u64::from(u32::MAX); 2].into_iter(), 0);
    assert!(through(long, |payload| payload.offsets(2, 0).is_err()), "beyond 4 GiB");
    let many = |out: &mut Streams| out.ints([1 << 30].into_iter(), 0);
    assert!(through(many, |payload| payload.offsets(1, 16).is_err()), "rows of another table out of nothing");
}

/// Ids that differ in their last bytes alone, or by as much as their traces do, spread over a hash table as random ones do: neither a
/// counter nor somebody who means it makes a batch quadratic.
#[test]
fn hashes_of_ids_spread() {
    const SLOTS: usize = 1 << 15;
    let counters: fn(u64) -> (u64, u64) = |n| (n.swap_bytes(), 0);
    let one_per_trace: fn(u64) -> (u64, u64) = |n| (0x0123_4567_89ab_cdef ^ n << 32, n);
    let low: fn(u64) -> (u64, u64) = |n| (n, 7);
    for pairs in [counters, one_per_trace, low] {
        let seed = Dictionary::default().seed();
        let mut slots = vec![0u32; SLOTS];
        for (id, trace) in (0..10_000).map(pairs) {
            slots[hash_pair(id, trace, seed) as usize % SLOTS] += 1;
        }
        let most = slots.iter().max().copied();
        assert!(most < Some(12), "{most:?} of 10,000 in one of {SLOTS} slots");
    }
}

/// Strings that are not written in this batch's column, because their rows went elsewhere, do not stand in its dictionary.
#[test]
fn a_dictionary_holds_what_is_used() {
    let parts = [super::Part { body: &[], rows: 0..0 }];
    let sources = Sources::new(&parts).expect("small");
    let mut strings = Strings::default();
    strings.begin();
    let slots: Vec<u64> = (0..400).map(|n| strings.push(format!("string {}", n % 80).as_bytes(), 0)).collect();
    let used: Vec<u64> = slots.iter().copied().filter(|slot| slot % 40 == 3).collect();
    let fill = |out: &mut Streams| strings.emit(&used, &sources, out);
    let column = through(fill, |payload| payload.strings(used.len()).expect("strings"));
    assert!((0..used.len()).all(|row| column.get(row).as_bytes() == strings.get(used[row], &sources)));
    assert_eq!(form(fill), 1 + 2, "a dictionary of two");
}

/// Strings are equal if they are, whatever their lengths and wherever they differ.
#[test]
fn strings_are_compared_whole() {
    for len in 0..40 {
        let string: Vec<u8> = (0..len).collect();
        assert!(equal(&string, &string.clone()));
        assert!(!equal(&string, &string.iter().copied().chain([0]).collect::<Vec<u8>>()));
        for at in 0..string.len() {
            let mut other = string.clone();
            other[at] ^= 0x80;
            assert!(!equal(&string, &other), "byte {at} of {len}");
        }
    }
}
