//! Random operations on the store and on a naive model of it.

mod store_util;

use proptest::prelude::*;
use store_util::streams::{Operation, compare};

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..40usize,
        3 => 0..1000usize,
        2 => 1000..8000usize,
        1 => 8100..8300usize,
        2 => 0..100_000usize,
    ]
}

fn seconds() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 2 => 1..4u32, 1 => 60..10_000u32]
}

fn operation(keys: u64) -> impl Strategy<Value = Operation> {
    let key = 0..keys;
    prop_oneof![
        5 => key.clone().prop_map(Operation::Get),
        6 => (key.clone(), len(), seconds())
            .prop_map(|(key, len, seconds)| Operation::Put { key, len, seconds }),
        2 => (key.clone(), len(), 1..30_000usize, seconds())
            .prop_map(|(key, len, piece, seconds)| Operation::Upload { key, len, piece, seconds }),
        1 => (key.clone(), len()).prop_map(|(key, len)| Operation::Abort { key, len }),
        2 => key.clone().prop_map(Operation::Remove),
        1 => (0..7usize).prop_map(Operation::Purge),
        2 => key.clone().prop_map(Operation::Hold),
        1 => Just(Operation::LetGo),
        1 => (key, 0..100_000usize).prop_map(|(key, len)| Operation::Begin { key, len }),
        1 => Just(Operation::Finish),
        1 => prop_oneof![4 => 0..20u32, 1 => 0..100_000u32].prop_map(Operation::Pass),
        1 => Just(Operation::Maintain),
        2 => (0..3usize).prop_map(Operation::MaintainOnce),
        1 => prop_oneof![(0..800u64).prop_map(Operation::Crowd), Just(Operation::Thin(0))],
        1 => (0..400u64).prop_map(Operation::Thin),
    ]
}

/// Lengths of which a few fill a store of 4 MiB.
fn large_len() -> impl Strategy<Value = usize> {
    prop_oneof![2 => len(), 3 => 100_000..300_000usize, 1 => 900_000..1_100_000usize]
}

fn large_operation() -> impl Strategy<Value = Operation> {
    let key = 0..12u64;
    prop_oneof![
        4 => key.clone().prop_map(Operation::Get),
        5 => (key.clone(), large_len(), seconds())
            .prop_map(|(key, len, seconds)| Operation::Upload { key, len, piece: 50_000, seconds }),
        1 => (key.clone(), large_len()).prop_map(|(key, len)| Operation::Abort { key, len }),
        1 => key.prop_map(Operation::Remove),
        1 => (0..7usize).prop_map(Operation::Purge),
        1 => (0..20u32).prop_map(Operation::Pass),
        1 => Just(Operation::Maintain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn a_store_with_room_is_a_map(
        operations in prop::collection::vec(operation(60), 1..400),
    ) {
        compare(&operations, 2, 64 << 20, false);
    }

    #[test]
    fn a_full_store_forgets_but_never_lies(
        operations in prop::collection::vec(operation(200), 1..1200),
    ) {
        compare(&operations, 1, 320 << 10, true);
    }

    #[test]
    fn full_partitions_share_their_memory(
        operations in prop::collection::vec(operation(100), 1..800),
    ) {
        compare(&operations, 3, 640 << 10, true);
    }

    #[test]
    fn a_few_large_values_share_a_small_memory(
        operations in prop::collection::vec(large_operation(), 1..60),
        partitions in prop_oneof![Just(1usize), Just(2), Just(4)],
    ) {
        compare(&operations, partitions, 4 << 20, true);
    }
}
