use std::collections::BTreeSet;

use super::*;

fn written(store: &SimStore, name: &str, chunks: &[&[u8]]) -> Arc<dyn StoreFile> {
    let file = store.create_new(name).unwrap();
    let mut offset = 0;
    for chunk in chunks {
        file.write_at(chunk, offset).unwrap();
        offset += chunk.len() as u64;
    }
    file
}

/// Synced bytes under a synced name survive every power cut; the unsynced ones behind them take many shapes.
#[test]
fn power_cut_keeps_what_was_synced_and_anything_of_the_rest() {
    let mut shapes = BTreeSet::new();
    for seed in 0..64 {
        let store = SimStore::new(1);
        let file = written(&store, "a", &[&[1; 600]]);
        file.sync().unwrap();
        store.sync_dir().unwrap();
        file.write_at(&[2; 600], 600).unwrap();
        file.write_at(&[3; 600], 1200).unwrap();
        let after = store.restart(seed).content("a").unwrap();
        assert_eq!(after[..600], [1; 600]);
        shapes.insert(after);
    }
    assert!(shapes.len() >= 6, "only {} shapes", shapes.len());
    assert!(shapes.iter().any(|shape| shape.len() == 1800 && shape[600..1200] == [0; 600] && shape[1200..] == [3; 600]), "no reordering");
}

/// A file whose name was not synced may vanish, synced bytes and all; a removal that was not synced may be undone.
#[test]
fn power_cut_may_take_back_names() {
    let outcomes: BTreeSet<(bool, bool)> = (0..64)
        .map(|seed| {
            let store = SimStore::new(1);
            written(&store, "old", &[b"x"]).sync().unwrap();
            store.sync_dir().unwrap();
            store.remove("old").unwrap();
            written(&store, "new", &[b"y"]).sync().unwrap();
            let after = store.restart(seed);
            (after.content("old").is_some(), after.content("new").is_some())
        })
        .collect();
    assert_eq!(outcomes.len(), 4);
}

/// From the n-th operation on everything fails and says why; the same seed leaves the same disk.
#[test]
fn crash_at_is_final_and_repeatable() {
    let run = |seed| {
        let store = SimStore::new(7);
        store.crash_at(4);
        let file = written(&store, "a", &[b"one", b"two"]);
        let error = file.write_at(b"three", 6).unwrap_err();
        assert!(SimStore::is_power_cut(&error));
        assert!(SimStore::is_power_cut(&file.sync().unwrap_err()));
        assert!(SimStore::is_power_cut(&store.list().unwrap_err()));
        store.restart(seed).content("a")
    };
    for seed in 0..16 {
        assert_eq!(run(seed), run(seed));
    }
}

/// A failed sync may lose what it covered although a later sync succeeds.
#[test]
fn a_failed_sync_loses_data_for_good() {
    let mut lost = 0;
    for seed in 0..16 {
        let store = SimStore::new(seed);
        store.fail_at(3, Fault::Io);
        let file = written(&store, "a", &[b"data"]);
        file.sync().unwrap_err();
        file.sync().unwrap();
        store.sync_dir().unwrap();
        assert_eq!(store.content("a").unwrap(), b"data", "the cache still has it");
        lost += usize::from(store.restart(0).content("a").unwrap() != b"data");
    }
    assert!((1..16).contains(&lost), "lost {lost} of 16");
}

/// A full disk takes what fits and says so; a killed process leaves its writes to be seen and not yet durable.
#[test]
fn full_disk_and_kill() {
    let store = SimStore::new(1);
    store.set_capacity(10);
    let file = written(&store, "a", &[b"12345678"]);
    assert_eq!(file.write_at(b"abcd", 8).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(store.content("a").unwrap(), b"12345678ab");
    let next = store.kill();
    assert!(SimStore::is_power_cut(&file.sync().unwrap_err()));
    assert_eq!(next.content("a").unwrap(), b"12345678ab");
    assert!((0..16).any(|seed| next.kill().restart(seed).content("a").is_none()));
}
