//! Purges of the store: what they leave, and how their memory comes back.

mod store_util;

use corekv::store::{Busy, Expiry, Store, Tick};
use store_util::*;

const NOW: Tick = Tick(0);

fn fill(store: &Store, prefix: &str, keys: std::ops::Range<u64>) {
    for key in keys {
        let name = format!("{prefix}{key}");
        put(store, name.as_bytes(), &value(key, 1, 100), Expiry::NEVER, NOW).expect("room");
    }
}

#[test]
fn what_moves_while_a_sweep_is_under_way_is_swept_as_well() {
    const KEYS: u64 = 40_000;
    let store = store(1, 2 << 20);
    fill(&store, "a/", 0..KEYS);
    assert!(statistics(&store).evicted > 0, "the store is full");
    let mut next = KEYS;
    for prefix in [&b"none/"[..], b"a/399", b"a/4", b"none/"] {
        store.purge(prefix).expect("none is under way");
        let mut steps = 0;
        loop {
            // Hits, so that these keys move when it is their turn to go.
            for key in next - 16_000..next {
                get(&store, format!("a/{key}").as_bytes(), NOW);
            }
            fill(&store, "a/", next..next + 100);
            next += 100;
            store.check_invariants();
            store.maintain(0, NOW);
            store.check_invariants();
            steps += 1;
            if store.purges_under_way() == 0 {
                break;
            }
        }
        assert!(steps > 10, "it was swept at once");
    }
}

#[test]
fn seven_purges_can_be_under_way_and_each_hides_what_was_written_before_it() {
    let store = store(3, 64 << 20);
    for round in 0..30u64 {
        for purge in 0..7u64 {
            for key in 0..9u64 {
                let (name, value) = (format!("{key}/k"), value(key, round, 3));
                put(&store, name.as_bytes(), &value, Expiry::NEVER, NOW).expect("room");
            }
            let prefix = format!("{}/", (purge + round) % 9);
            assert_eq!(store.purge(prefix.as_bytes()), Ok(()));
            for key in 0..9u64 {
                let found = get(&store, format!("{key}/k").as_bytes(), NOW);
                assert_eq!(found.is_none(), key == (purge + round) % 9);
            }
            store.check_invariants();
        }
        assert_eq!(store.purge(b"1/"), Err(Busy));
        assert_eq!(store.purges_under_way(), 7);
        maintain(&store, NOW);
        assert_eq!(store.purges_under_way(), 0);
        assert_eq!(statistics(&store).keys, 8);
    }
}

#[test]
fn the_memory_of_what_was_purged_comes_back() {
    let store = store(2, 64 << 20);
    fill(&store, "kept/", 0..10);
    let before = statistics(&store).bytes;
    fill(&store, "ci/", 0..100_000);
    for key in 0..20u64 {
        let name = format!("ci/large/{key}");
        put(&store, name.as_bytes(), &value(key, 1, 500_000), Expiry::NEVER, NOW).expect("room");
    }
    assert!(statistics(&store).bytes > 20 << 20);
    store.purge(b"ci/").expect("none is under way");
    assert_eq!(statistics(&store).keys, 100_030, "they count until they are swept");
    maintain(&store, NOW);
    // What is kept of free pages is given back a second later.
    maintain(&store, Tick(16));
    let counts = statistics(&store);
    assert_eq!((counts.keys, counts.purged), (10, 100_020));
    assert!(counts.bytes < before + (1 << 20), "{} bytes are in use", counts.bytes);
    for key in 0..10u64 {
        assert!(get(&store, format!("kept/{key}").as_bytes(), NOW).is_some());
    }
}
