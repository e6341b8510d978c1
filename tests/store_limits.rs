//! Values that don't fit, values that are still being read, and a million keys that end at once.

mod store_util;

use std::time::{Duration, Instant};

use corekv::store::{Expiry, Full, KEY_BYTES_MAX, LargeValue, Store, Tick, Value, Written};
use store_util::*;

const NOW: Tick = Tick(0);

fn large(store: &Store, key: &[u8]) -> LargeValue {
    let seen = store.get(store.key(key), NOW, |value| match value {
        Value::Large(value) => Some(value),
        _ => None,
    });
    seen.flatten().expect("a large value")
}

fn bytes_of(value: &LargeValue) -> Vec<u8> {
    let mut out = Vec::new();
    value.pieces(0, |piece| {
        out.extend_from_slice(piece);
        true
    });
    out
}

#[test]
fn a_value_larger_than_the_store_costs_nobody_anything() {
    for partitions in [1, 4] {
        let store = store(partitions, 4 << 20);
        for key in 0..100u64 {
            let stored = put(&store, &key.to_le_bytes(), &value(key, 0, 3000), Expiry::NEVER, NOW);
            assert_eq!(stored, Ok(Written::Created));
        }
        let too_large = vec![1; 5 << 20];
        assert_eq!(put(&store, &0u64.to_le_bytes(), &too_large, Expiry::NEVER, NOW), Err(Full));
        let mut upload = store.upload(store.key(b"another"));
        assert_eq!(upload.expect(5 << 20), Err(Full));
        assert_eq!(upload.expect(1 << 20), Ok(()));
        for key in 0..100u64 {
            assert_eq!(get(&store, &key.to_le_bytes(), NOW), Some(value(key, 0, 3000)));
        }
        assert_eq!(statistics(&store).evicted, 0);
    }
}

#[test]
fn a_value_as_large_as_most_of_the_store_fits_in_any_partition() {
    let store = store(4, 4 << 20);
    for key in 0..20u64 {
        let bytes = value(key, 1, 3 << 20);
        let written = put(&store, &key.to_le_bytes(), &bytes, Expiry::NEVER, NOW);
        assert_eq!(written, Ok(Written::Created));
        assert_eq!(get(&store, &key.to_le_bytes(), NOW), Some(bytes));
        assert!(statistics(&store).bytes <= 4 << 20);
    }
}

#[test]
fn the_longest_key_fits_and_a_longer_one_does_not() {
    let store = store(1, 4 << 20);
    let key = vec![b'k'; KEY_BYTES_MAX + 1];
    for value in [&b""[..], b"small", &[7; 100_000]] {
        assert!(put(&store, &key[1..], value, Expiry::NEVER, NOW).is_ok());
        assert_eq!(get(&store, &key[1..], NOW).as_deref(), Some(value));
        assert_eq!(put(&store, &key, value, Expiry::NEVER, NOW), Err(Full));
    }
}

#[test]
fn a_value_stays_when_readers_leave_no_room_for_the_one_that_replaces_it() {
    const MIB: usize = 1 << 20;
    let store = store(1, 16 << 20);
    put(&store, b"old", &value(0, 1, 2 * MIB), Expiry::NEVER, NOW).expect("room");
    let mut held = Vec::new();
    for key in 0..12u64 {
        put(&store, &key.to_le_bytes(), &value(key, 1, MIB), Expiry::NEVER, NOW).expect("room");
        held.push(large(&store, &key.to_le_bytes()));
    }
    assert_eq!(put(&store, b"old", &value(0, 2, 6 * MIB), Expiry::NEVER, NOW), Err(Full));
    assert_eq!(bytes_of(&large(&store, b"old")), value(0, 1, 2 * MIB));
    // Where its memory is enough, it is given for that.
    held.truncate(8);
    assert!(put(&store, b"old", &value(0, 2, 6 * MIB), Expiry::NEVER, NOW).is_ok());
    assert_eq!(bytes_of(&large(&store, b"old")), value(0, 2, 6 * MIB));
}

#[test]
fn a_slow_reader_keeps_what_it_holds() {
    let store = store(1, 8 << 20);
    let bytes = value(1, 1, 1_000_000);
    put(&store, b"slow", &bytes, Expiry::NEVER, NOW).expect("room");
    let held = large(&store, b"slow");
    let again = held.clone();
    put(&store, b"slow", b"replaced", Expiry::NEVER, NOW).expect("room");
    for key in 0..2000u64 {
        let len = key as usize * 37 % 30_000;
        put(&store, &key.to_le_bytes(), &value(key, 2, len), Expiry::NEVER, NOW).expect("room");
    }
    assert!(statistics(&store).evicted > 0, "the store was full");
    drop(again);
    assert_eq!(bytes_of(&held), bytes);
    let mut tail = Vec::new();
    held.pieces(999_000, |piece| {
        tail.extend_from_slice(piece);
        true
    });
    assert_eq!(tail, bytes[999_000..]);
    let with_it = statistics(&store).bytes;
    drop(held);
    assert!(statistics(&store).bytes + 1_000_000 <= with_it, "its pages are free");
}

#[test]
fn a_value_that_is_read_is_not_evicted_in_vain() {
    let store = store(1, 8 << 20);
    let name = |key: u64| key.to_le_bytes();
    for key in 0..7u64 {
        put(&store, &name(key), &value(key, 0, 1_000_000), Expiry::NEVER, NOW).expect("room");
    }
    let held: Vec<LargeValue> = (0..4).map(|key| large(&store, &name(key))).collect();
    assert!(store.pinned_bytes() >= 4_000_000 && held.iter().all(|value| !value.exceeds_share()));
    // Many times what is left, and each finds room.
    for key in 100..140u64 {
        put(&store, &name(key), &value(key, 0, 500_000), Expiry::NEVER, NOW).expect("room");
    }
    for key in 0..4u64 {
        let still = get(&store, &name(key), NOW);
        assert_eq!(still, Some(value(key, 0, 1_000_000)), "{key} was evicted, and freed nothing");
    }
    // More than half of the memory is too much; for who can't wait it is there.
    let refusals = store.refusals();
    let last = large(&store, &name(139));
    assert!(last.exceeds_share() && store.refusals() == refusals + 1);
    assert_eq!(bytes_of(&last), value(139, 0, 500_000));
    let again = large(&store, &name(139));
    assert!(!again.exceeds_share(), "what is pinned already costs nothing more");
    drop((held, last, again));
    assert_eq!(store.pinned_bytes(), 0);
}

#[test]
fn who_goes_on_in_a_value_sees_what_who_begins_anew_sees() {
    let store = store(1, 64 << 20);
    // Pages of two values alternate, so that no piece is long.
    let (mut one, mut other) = (store.upload(store.key(b"one")), store.upload(store.key(b"two")));
    let bytes = value(1, 1, 3_000_000);
    for part in bytes.chunks(20_000) {
        one.append(part).expect("room");
        other.append(part).expect("room");
    }
    store.put_upload(store.key(b"one"), one, Expiry::NEVER, NOW).expect("room");
    let value = large(&store, b"one");
    for from in (0..bytes.len()).step_by(7_919).chain([0, 8_191, 8_192, 5, 2_999_999, 3_000_000]) {
        let mut seen = Vec::new();
        value.pieces(from, |piece| {
            seen.extend_from_slice(piece);
            seen.len() < 30_000
        });
        let end = (from + seen.len()).min(bytes.len());
        assert!(seen == bytes[from..end] && (end == bytes.len() || seen.len() >= 30_000), "{from}");
    }
}

#[test]
fn an_upload_waits_as_long_as_others_have_claimed_the_memory() {
    let store = store(2, 8 << 20);
    let mut first = store.upload(store.key(b"first"));
    first.expect(1_500_000).expect("it fits");
    assert!(first.admit(10_000));
    let claimed = store.upload_bytes();
    assert!(claimed >= 1_500_000, "what is expected is claimed at once");
    let mut second = store.upload(store.key(b"second"));
    second.expect(1_500_000).expect("it fits");
    assert!(second.admit(1), "one may exceed the share");
    let mut third = store.upload(store.key(b"third"));
    third.expect(1_500_000).expect("it fits");
    assert!(!third.admit(1) && store.upload_bytes() < 2 * claimed + 10_000);
    let mut small = store.upload(store.key(b"small"));
    assert!(small.admit(100), "a small value needs nothing of it");
    drop(first);
    assert!(!third.admit(1), "it would be a second one that exceeds the share");
    drop(second);
    assert!(third.admit(1));
    third.append(&[0; 1_500_000]).expect("room");
    store.put_upload(store.key(b"third"), third, Expiry::NEVER, NOW).expect("room");
    drop(small);
    assert_eq!(store.upload_bytes(), 0);
}

#[test]
fn what_is_replaced_or_deleted_comes_back_without_a_loss() {
    // Two thirds full of live entries, with dead ones among them everywhere.
    let store = store(1, 4 << 20);
    let name = |key: u64| key.to_le_bytes();
    for round in 1..30u64 {
        for at in 0..5000u64 {
            // In another order each time, so that no page dies as a whole, and of another size,
            // so that nothing is overwritten in place.
            let key = at * (2 * round + 1) * 7 % 5000;
            let len = 300 + (key + round * 97) as usize % 400;
            put(&store, &name(key), &value(key, round, len), Expiry::NEVER, NOW).expect("room");
        }
        for key in (0..5000u64).step_by(3) {
            store.remove(store.key(&name(key)), NOW);
        }
    }
    assert_eq!(statistics(&store).evicted, 0);
}

#[test]
fn a_million_keys_that_end_at_once_are_removed_in_small_steps() {
    const KEYS: u64 = 1_000_000;
    /// Eight pages of the smallest entries.
    const STEP_KEYS_MAX: u64 = 8 * 512;
    let store = store(1, 1 << 30);
    let expiry = Expiry::after(NOW, 10);
    for key in 0..KEYS {
        put(&store, key.to_string().as_bytes(), b"12345", expiry, NOW).expect("room");
    }
    let full = statistics(&store).bytes;
    let end = Tick(expiry.to_bits());
    assert!(!store.maintain(0, Tick(end.0 - 1)));
    assert_eq!(get(&store, b"77", Tick(end.0 - 1)).as_deref(), Some(&b"12345"[..]));
    assert_eq!(get(&store, b"77", end), None, "absent before it is collected");
    let two_seconds_later = Tick(end.0 + 16);
    let (mut steps, mut before, mut longest) = (0, 0, Duration::ZERO);
    loop {
        let start = Instant::now();
        let busy = store.maintain(0, two_seconds_later);
        longest = longest.max(start.elapsed());
        let expired = statistics(&store).expired;
        assert!(expired - before <= STEP_KEYS_MAX);
        (steps, before) = (steps + 1, expired);
        if !busy || expired == KEYS {
            break;
        }
    }
    let counts = statistics(&store);
    println!("{steps} steps, the longest {longest:?}, {full} to {} bytes", counts.bytes);
    assert_eq!((counts.keys, counts.expired), (0, KEYS));
    assert!(counts.bytes < full / 2, "only the index is left");
}

#[test]
fn keys_made_to_collide_under_a_known_seed_do_not_collide_here() {
    // Keys whose hash under a fixed seed ends in the same 16 bits: one bucket, if it were used.
    let known = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let keys: Vec<[u8; 8]> = (0..40_000_000u64)
        .map(u64::to_le_bytes)
        .filter(|key| known.hash_one(&key[..]) & 0xffff == 0)
        .collect();
    assert!(keys.len() > 400);
    let (one, other) = (store(64, 1 << 30), store(64, 1 << 30));
    let spread = |store: &Store| {
        let mut counts = [0; 64];
        keys.iter().for_each(|key| counts[store.partition_of(store.key(key))] += 1);
        counts
    };
    assert!(spread(&one).iter().all(|&count| count < 40));
    assert_ne!(spread(&one), spread(&other), "each store has its own seed");
    for key in &keys {
        put(&one, key, b"v", Expiry::NEVER, NOW).expect("room");
    }
    assert!(keys.iter().all(|key| get(&one, key, NOW).is_some()));
}
