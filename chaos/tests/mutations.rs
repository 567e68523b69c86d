//! The proof that the simulation would notice: each fault put into the product on purpose is found within 500 seeds. Takes a build with
//! `--features mutations`, and an optimized one to be quick.

use chaos::sim::run_seed;
use chaos::sim::world::Size;
use segment_log::mutation::{self, Mutation};

const SEEDS: u64 = 500;
const SIZE: Size = Size { batches: 300, damage: false };

/// What a seed says of the product with this fault in it.
fn failure(seed: u64, fault: Option<Mutation>) -> Option<String> {
    mutation::set(fault);
    let outcome = run_seed(seed, SIZE, None);
    mutation::set(None);
    outcome.failure.map(|failure| format!("{failure:?}"))
}

/// Each of the twelve is found, by a seed that holds without it; how soon is told.
#[test]
fn each_fault_on_purpose_is_found() {
    let mut missed = Vec::new();
    for fault in Mutation::ALL {
        let found = (1..=SEEDS).find_map(|seed| {
            let why = failure(seed, Some(fault))?;
            failure(seed, None).is_none().then_some((seed, why))
        });
        match found {
            Some((seed, why)) => eprintln!("{}: seed {seed}: {why}", fault.name()),
            None => missed.push(fault.name()),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
