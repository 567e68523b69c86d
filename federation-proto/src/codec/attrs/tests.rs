//! What the encoder of attributes keeps from batch to batch.

use super::encode::{AttrsEncoder, MAX_HELD_BYTES};
use crate::otlp::wire::{Reader, Writer};

fn pair(key: &str, value: &str) -> Vec<u8> {
    let mut w = Writer::default();
    w.bytes(1, key.as_bytes());
    w.message(2, |w| w.bytes(1, value.as_bytes()));
    w.into_bytes()
}

/// Keys that come once, with much behind them, leave no memory behind: neither with distinct values, which make a column plain, nor with
/// few rows each, which tell nothing.
#[test]
fn memory_is_bounded_over_batches() {
    for (columns, rows, len) in [(1, 100, 40_000), (500, 60, 3)] {
        let mut attrs = AttrsEncoder::default();
        for batch in 0..30 {
            attrs.begin();
            assert!(attrs.held_bytes() <= MAX_HELD_BYTES, "batch {batch} of {rows} rows begins with {} bytes", attrs.held_bytes());
            for column in 0..columns {
                let key = if columns == 1 { format!("key {batch}") } else { format!("key {column}") };
                for row in 0..rows {
                    let value = format!("{:0len$x}", batch * rows + row);
                    let mut building = attrs.start();
                    attrs.push(&mut building, Reader::new(&pair(&key, &value))).expect("valid");
                    attrs.finish(building);
                }
            }
        }
    }
}
