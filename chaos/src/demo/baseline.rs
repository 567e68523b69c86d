//! What the same records would weigh as OTLP with zstd level 3: the bytes that today's collectors send.
//!
//! The comparison is kind to them: requests are joined to up to 10,000 rows before they are compressed (concatenated OTLP requests
//! are one OTLP request), as large as our batches, though collectors rarely send such large ones; no framing is added.

use std::collections::BTreeMap;

use federation_proto::identity::Signal;

const ROWS: usize = 10_000;
const LEVEL: i32 = 3;

#[derive(Debug, Default)]
struct Open {
    body: Vec<u8>,
    rows: usize,
}

/// Sums up what OTLP+zstd would have cost. Holds one open batch a stream.
#[derive(Debug, Default)]
pub struct Baseline {
    open: BTreeMap<(u32, Signal), Open>,
    raw_bytes: u64,
    compressed_bytes: u64,
}

impl Baseline {
    /// Adds a request's protobuf bytes as sender `sender` sent them.
    pub fn add(&mut self, sender: u32, signal: Signal, body: &[u8], rows: usize) {
        self.raw_bytes += body.len() as u64;
        let open = self.open.entry((sender, signal)).or_default();
        open.body.extend_from_slice(body);
        open.rows += rows;
        if open.rows >= ROWS {
            self.compressed_bytes += compressed_len(&open.body);
            *open = Open::default();
        }
    }

    /// Protobuf bytes, and bytes after zstd, of all that was added.
    #[must_use]
    pub fn finish(self) -> (u64, u64) {
        let rest: u64 = self.open.values().filter(|open| open.rows > 0).map(|open| compressed_len(&open.body)).sum();
        (self.raw_bytes, self.compressed_bytes + rest)
    }
}

fn compressed_len(body: &[u8]) -> u64 {
    zstd::bulk::compress(body, LEVEL).map_or(body.len(), |compressed| compressed.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every request is weighed once, in joined batches of one sender and signal.
    #[test]
    fn weighs_every_request_once() {
        let body = b"the same bytes over and over, which compress well when joined".repeat(20);
        let mut baseline = Baseline::default();
        for _ in 0..5 {
            baseline.add(1, Signal::Logs, &body, ROWS / 4);
        }
        baseline.add(2, Signal::Logs, &body, 1);
        let (raw, compressed) = baseline.finish();
        assert_eq!(raw, 6 * body.len() as u64);
        assert_eq!(compressed, compressed_len(&body.repeat(4)) + 2 * compressed_len(&body));
    }
}
