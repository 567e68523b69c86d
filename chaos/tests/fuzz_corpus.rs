//! What the fuzz targets promise, for every input that is checked in: without cargo-fuzz, with every `cargo test`.
#![allow(clippy::expect_used, reason = "a test stops at what it did not expect")]

use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Every input of the corpus, and every one that once broke a promise, keeps it; no target is left out. One test, so that nothing else
/// allocates while memory is counted.
#[test]
fn every_checked_in_input_holds() {
    let named: Vec<PathBuf> = fuzz::TARGETS.iter().map(|target| folder("fuzz_targets").join(format!("{}.rs", target.name))).collect();
    assert_eq!(files(&folder("fuzz_targets")), named, "the targets of cargo-fuzz are those of this list");
    for target in fuzz::TARGETS {
        let corpus = files(&folder("corpus").join(target.name));
        assert!(!corpus.is_empty(), "fuzz/corpus/{} is empty", target.name);
        for path in corpus.into_iter().chain(files(&folder("regressions").join(target.name))) {
            println!("{}", path.display());
            (target.check)(&std::fs::read(&path).expect("an input"));
        }
        let mut rng = fuzz::support::rng::Rng(7);
        for seed in 0..20 {
            println!("{}, fresh input {seed}", target.name);
            (target.check)(&(target.fresh)(&mut rng));
        }
    }
}
