//! Scan, encode and decode of realistic batches, per row, and how small they get against zstd-3 of the same OTLP.
//!
//! `cargo bench -p federation-proto --bench codec`. divan reports items per second; 1 Mitem/s is 1 µs per row.
#![expect(clippy::expect_used, reason = "a bench stops at what it did not expect")]

#[path = "../tests/support/mod.rs"]
mod support;

use divan::Bencher;
use divan::counter::ItemsCount;
use federation_proto::codec::{DecodeLimits, Decoder, ENCODING, Encoded, Encoder, Part};
use federation_proto::identity::Signal;
use federation_proto::otlp::{Limits, scan};
use prost::Message;
use support::realistic::Shop;

/// Requests of one signal that make one batch, with the rows of each.
struct Batch {
    signal: Signal,
    bodies: Vec<(Vec<u8>, u32)>,
}

impl Batch {
    fn of(signal: Signal, shop: &mut Shop, requests: usize) -> Self {
        let body = |shop: &mut Shop| match signal {
            Signal::Traces => shop.traces(1000).encode_to_vec(),
            Signal::Logs => shop.logs(1000).encode_to_vec(),
            _ => shop.metrics().encode_to_vec(),
        };
        let bodies = (0..requests).map(|_| body(shop)).map(|body| {
            let rows = support::rows(signal, &body);
            (body, rows)
        });
        Self { signal, bodies: bodies.collect() }
    }

    fn rows(&self) -> usize {
        self.bodies.iter().map(|(_, rows)| *rows as usize).sum()
    }

    fn encode(&self, encoder: &mut Encoder) -> Encoded {
        let parts: Vec<Part<'_>> = self.bodies.iter().map(|(body, rows)| Part { body, rows: 0..*rows }).collect();
        encoder.encode(self.signal, &parts).expect("valid bodies")
    }
}

/// Batches of 10 requests and of 1, as `divan` arguments.
const CASES: [(Signal, usize); 6] =
    [(Signal::Traces, 10), (Signal::Traces, 1), (Signal::Logs, 10), (Signal::Logs, 1), (Signal::Metrics, 3), (Signal::Metrics, 1)];

const NAMES: [&str; 6] = ["traces x 10,000", "traces x 1,000", "logs x 10,000", "logs x 1,000", "points x 12,000", "points x 4,000"];

/// Batches in a row, so that dictionaries are warm and no batch is encoded twice in succession.
fn batches(name: &str) -> Vec<Batch> {
    let case = NAMES.iter().position(|known| *known == name).expect("known case");
    let (signal, requests) = CASES[case];
    let mut shop = Shop::new(42);
    (0..6).map(|_| Batch::of(signal, &mut shop, requests)).collect()
}

#[divan::bench(args = NAMES)]
fn scan_rows(bencher: Bencher<'_, '_>, name: &str) {
    let batch = batches(name).remove(0);
    bencher.counter(ItemsCount::new(batch.rows())).bench_local(|| {
        batch.bodies.iter().map(|(body, _)| scan(batch.signal, body, &Limits::default()).expect("valid").rows).sum::<u32>()
    });
}

#[divan::bench(args = NAMES)]
fn encode_rows(bencher: Bencher<'_, '_>, name: &str) {
    let batches = batches(name);
    let mut encoder = Encoder::new();
    batches.iter().for_each(|batch| drop(batch.encode(&mut encoder)));
    let mut next = 0;
    bencher.counter(ItemsCount::new(batches[0].rows())).bench_local(|| {
        next = (next + 1) % batches.len();
        batches[next].encode(&mut encoder)
    });
}

#[divan::bench(args = NAMES)]
fn decode_rows(bencher: Bencher<'_, '_>, name: &str) {
    let batch = batches(name).remove(0);
    let encoded = batch.encode(&mut Encoder::new());
    bencher
        .counter(ItemsCount::new(batch.rows()))
        .bench_local(|| Decoder::decode(batch.signal, ENCODING, &encoded.payload, &DecodeLimits::default()).expect("own payload"));
}

/// How small: the later batches of a row, once dictionaries have settled.
fn sizes() {
    println!("{:16} {:>8} {:>10} {:>10} {:>7}", "B/row", "OTLP", "zstd-3", "batch", "times");
    for name in NAMES {
        let batches = batches(name);
        let mut encoder = Encoder::new();
        let (mut rows, mut raw, mut zstd, mut ours) = (0, 0, 0, 0);
        for (index, batch) in batches.iter().enumerate() {
            let encoded = batch.encode(&mut encoder);
            if index < 2 {
                continue;
            }
            let otlp: Vec<u8> = batch.bodies.iter().flat_map(|(body, _)| body).copied().collect();
            rows += batch.rows();
            raw += otlp.len();
            zstd += zstd::bulk::compress(&otlp, 3).expect("compresses").len();
            ours += encoded.payload.len();
        }
        let per_row = |bytes: usize| bytes as f64 / rows as f64;
        println!("{name:16} {:8.1} {:10.2} {:10.2} {:7.2}", per_row(raw), per_row(zstd), per_row(ours), zstd as f64 / ours as f64);
    }
}

fn main() {
    sizes();
    divan::main();
}
