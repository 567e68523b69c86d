//! A payload from anyone is refused or gives columns that can be read to the end, within the limits; and those encode again to the same.
//!
//! Input: form and signal (1), then by form the payload, what stands in its zstd frame, or the streams of [`container`].

use federation_proto::codec::{DecodeLimits, Decoder, ENCODING, Encoder, Part};
use federation_proto::columns::Columns;
use federation_proto::identity::Signal;
use federation_proto::otlp::{Limits, scan};

use super::container::{self, Stream};
use super::mutate::Bytes;
use super::support::arbitrary::Nasty;
use super::support::rng::Rng;
use super::support::{SIGNALS, encode, records};
use super::{memory, otlp_scan};

const LIMITS: DecodeLimits = DecodeLimits { max_raw_bytes: 1 << 20, max_rows: 1 << 14, max_memory_bytes: 4 << 20, max_text_bytes: 4 << 20 };

/// Beside the limits: the decompressed payload's list of streams, 56 bytes for each of 22 there, and the small change of building columns.
const BESIDE: usize = 3 * LIMITS.max_raw_bytes + (256 << 10);
/// Bytes of OTLP that a row, event, link and so on has beside its text and numbers: tags and lengths.
const WRITTEN: usize = 4 * (LIMITS.max_text_bytes + 4 * LIMITS.max_memory_bytes);

pub fn check(input: &[u8]) {
    let Some((&pick, rest)) = input.split_first() else { return };
    let signal = SIGNALS[usize::from(pick) % SIGNALS.len()];
    let payload = match pick / 3 % 4 {
        0 => rest.to_vec(),
        1 => container::frame(rest),
        _ => container::frame(&container::pack(container::parse(rest))),
    };
    assert!(Decoder::decode(signal, ENCODING.wrapping_add(u16::from(pick) + 1), &payload, &LIMITS).is_err(), "an unknown encoding");
    assert!(Decoder::decode(Signal::Profiles, ENCODING, &payload, &LIMITS).is_err(), "a signal without columns");
    let (decoded, taken) = memory::peak(|| Decoder::decode(signal, ENCODING, &payload, &LIMITS));
    assert!(taken <= LIMITS.max_raw_bytes + LIMITS.max_memory_bytes + BESIDE, "decoding takes {taken} bytes");
    if let Ok(columns) = decoded {
        assert!(columns.rows() <= LIMITS.max_rows as usize);
        read(signal, &columns);
    }
}

/// Reads everything there is, as tiers do, and makes a payload of it again.
fn read(signal: Signal, columns: &Columns) {
    let otlp = columns.to_otlp();
    assert!(otlp.len() <= WRITTEN, "{} bytes written out", otlp.len());
    let found = scan(signal, &otlp, &Limits::default()).expect("what was decoded is OTLP again");
    assert!(found.canonical, "what was decoded is canonical");
    assert_eq!(found.rows as usize, columns.rows());
    match columns {
        Columns::Traces(spans) => (0..spans.len()).for_each(|row| {
            let _ = spans.attrs(row).map(|(key, value)| key.len() + value.to_text().len()).sum::<usize>();
        }),
        Columns::Logs(logs) => (0..logs.len()).for_each(|row| drop(logs.body(row).map(|value| value.to_text()))),
        Columns::Metrics(points) => (0..points.len()).for_each(|row| {
            let _ = (points.kind(row), points.number(row), points.quantiles(row).count(), points.positive(row), points.sum(row));
        }),
    }
    if otlp.len() > 64 << 10 {
        return;
    }
    let again = Encoder::new().encode(signal, &[Part { body: &otlp, rows: 0..found.rows }]).expect("what was decoded encodes");
    let again = Decoder::decode(signal, ENCODING, &again.payload, &DecodeLimits::default()).expect("own payload decodes");
    assert_eq!(records::sorted(records::of(signal, &again.to_otlp())), records::sorted(records::of(signal, &otlp)));
}

/// A payload of our own: mostly by its streams.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let pick = rng.below(SIGNALS.len());
    let signal = SIGNALS[pick];
    let body = if rng.one_in(8) { otlp_scan::usual(signal, rng) } else { Nasty::new(rng.next(), 1 + rng.below(6)).body(signal) };
    let payload = encode(&mut Encoder::new(), signal, &[body]).payload;
    let inside = || zstd::bulk::decompress(&payload, 1 << 24).expect("own payload");
    match rng.below(10) {
        0 => [&[pick as u8][..], &payload].concat(),
        1 => [&[3 + pick as u8][..], &inside()].concat(),
        _ => [&[6 + pick as u8][..], &container::write(&container::unpack(&inside()))].concat(),
    }
}

/// Changes one stream, or which there are.
pub fn change(input: &[u8], rng: &mut Rng, bytes: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let (&pick, rest) = input.split_first()?;
    if pick / 3 % 4 < 2 {
        return None;
    }
    let mut streams = container::parse(rest);
    if streams.is_empty() {
        return None;
    }
    let at = rng.below(streams.len());
    match rng.below(12) {
        0 => drop(streams.remove(at)),
        1 => {
            let other = Stream { column: streams[at].column.wrapping_add(rng.below(5) as u16), ..streams[at].clone() };
            streams.push(other);
        }
        2 => {
            let other = streams[rng.below(streams.len())].data.clone();
            streams[at].data = other;
        }
        3 => streams[at].column = streams[at].column.wrapping_add(1).wrapping_sub(2 * u16::from(rng.one_in(2))),
        4 => streams[at].width = rng.below(10) as u8,
        5 => streams[at].base = if rng.one_in(2) { rng.next() } else { u64::MAX - rng.below(4) as u64 },
        6 => streams[at].values = streams[at].values.wrapping_add(rng.below(3) as u32).wrapping_sub(1),
        7 => {
            let from = rng.below(3) as u32;
            let to = if rng.one_in(3) { rng.next() as u32 } else { rng.below(2000) as u32 };
            let was = streams[at].values.wrapping_add(from);
            streams.iter_mut().filter(|stream| stream.values == was).for_each(|stream| stream.values = to);
        }
        _ => streams[at].data = bytes.mutate(&streams[at].data),
    }
    Some([&[pick][..], &container::write(&streams)].concat())
}
