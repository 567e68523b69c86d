//! Any sequence of operations, faults and crashes.

use proptest::prelude::*;

use super::world::{Op, World};
use crate::*;

fn op() -> impl Strategy<Value = Op> {
    let fault = prop_oneof![Just(Fault::Io), Just(Fault::Full)];
    prop_oneof![
        12 => (0_usize..2000).prop_map(Op::Append),
        6 => Just(Op::Sync),
        6 => (0_usize..6).prop_map(Op::Ack),
        3 => Just(Op::Checkpoint),
        2 => (0_u64..6, fault).prop_map(|(after, fault)| Op::Fail(after, fault)),
        1 => (0_u64..3000).prop_map(Op::Tight),
        1 => Just(Op::Roomy),
        2 => any::<u64>().prop_map(Op::PowerCut),
        1 => Just(Op::Kill),
        1 => Just(Op::LoseIndex),
        1 => Just(Op::OldIndex),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A log keeps its promises through any mixture of work, failing writes and syncs, a full disk, power cuts, kills and lost indexes.
    #[test]
    fn promises_hold_through_anything(ops in prop::collection::vec(op(), 1..120), seed in any::<u64>()) {
        let mut world = World::new(SimStore::new(seed));
        world.open().unwrap();
        for op in &ops {
            world.step(op).unwrap();
        }
        world.store.set_capacity(u64::MAX);
        world.power_cut(seed).unwrap();
        world.step(&Op::Append(10)).unwrap();
        world.step(&Op::Sync).unwrap();
        world.power_cut(seed ^ 1).unwrap();
    }
}
