//! What the load's rows weigh as OTLP with zstd 3: weighed before the measurement, on rows like those that are sent.

use crate::clock;
use crate::demo::baseline::Baseline;
use crate::load::Shape;
use crate::load::supply::Supply;

/// Three batches as large as ours.
const ROWS: u64 = 30_000;

/// Bytes a row, joined to 10,000 rows and compressed.
pub(super) fn otlp_zstd_bytes_per_row(shape: &Shape) -> f64 {
    let supply = Supply::new(shape.seed, shape.signal, shape.rows_per_request as usize, clock::unix_nano());
    let mut baseline = Baseline::default();
    let mut rows = 0;
    while rows < ROWS {
        let request = supply.next(clock::unix_nano(), 0);
        baseline.add(0, request.signal, &request.body, request.rows as usize);
        rows += request.rows;
    }
    baseline.finish().1 as f64 / rows as f64
}

/// Bytes of one request's body.
pub(super) fn request_bytes(shape: &Shape) -> usize {
    let supply = Supply::new(shape.seed, shape.signal, shape.rows_per_request as usize, clock::unix_nano());
    supply.next(clock::unix_nano(), 0).body.len()
}
