use super::*;

/// The batches of a seed here: fewer than the command's, since this build is slow.
const SIZE: Size = Size { batches: 120, damage: false };

/// Whatever goes wrong, nothing that was acknowledged is lost and nothing doubled.
#[test]
fn a_few_seeds_hold() {
    let report = run_seeds(1..=20, SIZE, 60, false);
    assert_eq!(report.failed(), 0, "{report}");
}

/// The same seed is the same run, event by event; another seed is another.
#[test]
fn a_seed_is_a_run() {
    let digests = |seed| {
        let outcome = run_seed(seed, SIZE, Some(1000));
        (outcome.digest, outcome.lines)
    };
    for seed in [3, 7, 11] {
        assert_eq!(digests(seed), digests(seed));
    }
    assert_ne!(digests(3).0, digests(4).0);
}
