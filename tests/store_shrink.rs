//! A store that held very many small keys has its memory for values again when they are gone.

mod store_util;

use corekv::store::{Expiry, Store, Tick};
use store_util::*;

const LIMIT: u64 = 64 << 20;
const NOW: Tick = Tick(0);

/// As many tiny keys as fit, half of whose memory is index.
fn crowd(store: &Store) -> u64 {
    let mut key = 0;
    while statistics(store).evicted == 0 {
        for _ in 0..10_000 {
            put(store, &u64::to_be_bytes(key), b"", Expiry::NEVER, NOW).expect("room");
            key += 1;
        }
    }
    key
}

/// Values of 4,000 bytes that a store holds after twice as many were written as fit.
fn values_held(store: &Store) -> u64 {
    let keys = 2 * LIMIT / 4000;
    for key in 0..keys {
        let now = Tick(key as u32);
        put(store, &key.to_le_bytes(), &[7; 4000], Expiry::NEVER, now).expect("room");
        maintain(store, now);
    }
    (0..keys).filter(|key| get(store, &key.to_le_bytes(), NOW).is_some()).count() as u64
}

/// The largest value that an upload may be of, to 64 KiB.
fn value_bytes_max(store: &std::sync::Arc<Store>) -> usize {
    let mut upload = store.upload(store.key(b"large"));
    (1..)
        .map(|n: usize| n << 16)
        .take_while(|&bytes| upload.expect(bytes).is_ok())
        .last()
        .expect("one")
}

#[test]
fn evicted_tiny_keys_leave_no_index_behind() {
    let fresh = values_held(&store(1, LIMIT));
    let store = store(1, LIMIT);
    crowd(&store);
    let held = values_held(&store);
    println!("{held} values of 4,000 bytes, {fresh} in a new store");
    assert!(held * 100 >= fresh * 97, "{held} values instead of {fresh}");
}

#[test]
fn deleted_tiny_keys_leave_an_empty_store() {
    let store = store(1, LIMIT);
    let largest = value_bytes_max(&store);
    let keys = crowd(&store);
    assert!(value_bytes_max(&store) < largest * 3 / 4, "half of it is index");
    for key in 0..keys {
        store.remove(store.key(&u64::to_be_bytes(key)), NOW);
    }
    maintain(&store, NOW);
    let counts = statistics(&store);
    println!("{} bytes in use after {keys} keys", counts.bytes);
    assert_eq!(counts.keys, 0);
    assert!(counts.bytes <= 32 << 10, "{} bytes in use by nothing", counts.bytes);
    let after = value_bytes_max(&store);
    assert!(after + (1 << 20) >= largest, "{after} instead of {largest}");
    let bytes = vec![9; after];
    put(&store, b"large", &bytes, Expiry::NEVER, NOW).expect("it said so");
    assert!(get(&store, b"large", NOW) == Some(bytes));
}
