//! The proof that the simulation would notice: each fault put into the product on purpose is found within 500 seeds. Takes a build with
//! `--features mutations`, and an optimized one to be quick.

use chaos::sim::run_seeds;
use chaos::sim::world::Size;
use segment_log::mutation::{self, Mutation};

const SEEDS: u64 = 500;
const SIZE: Size = Size { batches: 300, damage: false };

/// Each of the twelve is found; how soon is told.
#[test]
fn each_fault_on_purpose_is_found() {
    let mut missed = Vec::new();
    for fault in Mutation::ALL {
        mutation::set(Some(fault));
        let report = run_seeds(1..=SEEDS, SIZE, 0, true);
        eprintln!("{}: seed {}: {report}", fault.name(), report.seeds());
        if report.failed() == 0 {
            missed.push(fault.name());
        }
    }
    mutation::set(None);
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
