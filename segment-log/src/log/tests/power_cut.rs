//! The power is cut at every write of a scripted run.

use super::world::{Check, Op, World, script};
use crate::*;

/// Runs a script with the power cut at the n-th operation, then a restart (cut short once more if `again`), then the rest, then two more
/// restarts. Gives how many operations the script took, if the cut never came.
fn run(seed: u64, cut_at: u64, lies: Lies, again: bool) -> Result<Option<u64>, String> {
    let ops = script(seed, 70);
    let mut world = World::new(SimStore::new(seed));
    world.store.set_lies(lies);
    world.store.crash_at(cut_at);
    world.open()?;
    let mut done = ops.len();
    for (n, op) in ops.iter().enumerate() {
        if world.store.is_crashed() {
            done = n;
            break;
        }
        world.step(op)?;
        if n % 20 == 10 {
            world.step(&Op::OldIndex)?;
            world.index = MemoryIndex::new();
        }
    }
    if !world.store.is_crashed() {
        return Ok(Some(world.store.operations()));
    }
    lose_an_index(&mut world, seed ^ cut_at)?;
    if again {
        world.log = None;
        world.store = world.store.restart(seed ^ cut_at.rotate_left(9));
        world.store.crash_at(1 + cut_at % 9);
        world.open()?;
    }
    world.power_cut(seed.wrapping_mul(31) ^ cut_at)?;
    for op in ops[done..].iter().chain(&[Op::Sync]) {
        world.step(op)?;
    }
    world.step(&Op::Kill)?;
    world.step(&Op::Append(100))?;
    world.power_cut(seed)?;
    Ok(None)
}

/// No index, an old one, or the one that was there.
fn lose_an_index(world: &mut World, pick: u64) -> Check {
    match pick % 3 {
        0 => world.step(&Op::LoseIndex),
        1 => world.step(&Op::OldIndex),
        _ => Ok(()),
    }
}

fn every_cut(seeds: std::ops::Range<u64>, lies: Lies) -> Result<u64, String> {
    let mut cuts = 0;
    for seed in seeds {
        for cut_at in 1.. {
            let outcome = run(seed, cut_at, lies, cut_at % 4 == 0).map_err(|broken| format!("seed {seed}, cut at {cut_at}: {broken}"))?;
            cuts += 1;
            if outcome.is_some() {
                break;
            }
        }
    }
    Ok(cuts)
}

/// Whatever write is the last that survives, and however the unsynced ones are lost, torn and reordered: what was reported synced is there
/// once and unchanged, what was acked in a checkpoint stays acked, state and replay count each record once, no seq serves twice, and
/// nothing of it is called damage.
#[test]
fn a_power_cut_at_any_write_breaks_no_promise() {
    let cuts = every_cut(0..16, Lies::default()).unwrap();
    assert!(cuts > 1000, "only {cuts} cuts");
}

/// The same run notices a disk, or a log, that leaves out the fsync of files.
#[test]
fn a_missing_fsync_is_noticed() {
    every_cut(0..4, Lies { sync: true, sync_dir: false }).unwrap_err();
}

/// The same run notices a disk, or a log, that leaves out the fsync of the directory.
#[test]
fn a_missing_directory_fsync_is_noticed() {
    every_cut(0..4, Lies { sync: false, sync_dir: true }).unwrap_err();
}
