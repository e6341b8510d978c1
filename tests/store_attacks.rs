//! What somebody could try who may read and write, and knows how the store works.

mod store_util;

use std::sync::Arc;

use corekv::store::{
    Clock, Expiry, Full, KEY_BYTES_MAX, LargeValue, Store, TTL_SECONDS_MAX, Tick, Value,
};
use store_util::*;

const NOW: Tick = Tick(0);
const MIB: usize = 1 << 20;

fn hold(store: &Store, key: &[u8]) -> LargeValue {
    let seen = store.get(store.key(key), NOW, |value| match value {
        Value::Large(value) => Some(value),
        _ => None,
    });
    seen.flatten().expect("a large value")
}

#[test]
fn lengths_near_the_end_of_the_numbers_are_refused() {
    let store = store(1, 8 << 20);
    put(&store, b"k", b"old", Expiry::NEVER, NOW).expect("room");
    for less in (0..100).chain(4_000..4_200).chain([usize::MAX / 2, usize::MAX - (1 << 32)]) {
        let length = usize::MAX - less;
        let mut upload = store.upload(store.key(b"k"));
        assert_eq!(upload.expect(length), Err(Full), "{length}");
        upload.append(b"new").expect("room for what there is");
        assert!(upload.admit(length), "it is not to wait for what it will never have");
    }
    for length in [1 << 32, (1 << 32) + 1, 1 << 33] {
        assert_eq!(store.upload(store.key(b"k")).expect(length), Err(Full), "{length}");
    }
    assert_eq!((store.upload_bytes(), store.pinned_bytes()), (0, 0));
    assert_eq!(get(&store, b"k", NOW).as_deref(), Some(&b"old"[..]));
}

/// Each way in which an upload can fail, with a part of its memory already taken.
fn fail(store: &Arc<Store>, way: usize) {
    let upload = |key: &[u8]| store.upload(store.key(key));
    let bytes = vec![7; 3 * MIB];
    match way {
        0 => {
            let mut long = upload(&[b'k'; KEY_BYTES_MAX + 1]);
            assert_eq!((long.expect(10), long.append(&bytes)), (Err(Full), Err(Full)));
        }
        1 => {
            let mut upload = upload(b"announced");
            assert_eq!(upload.expect(9 * MIB), Err(Full));
            upload.append(&bytes).expect("room for a part of it");
        }
        2 => {
            let mut endless = upload(b"endless");
            assert!((0..9).any(|_| endless.append(&bytes[..MIB]).is_err()));
            assert_eq!(endless.append(&bytes), Err(Full));
        }
        3 => {
            let mut all: Vec<_> = (0..4).map(|n| upload(&[n])).collect();
            let admitted = all.iter_mut().map(|upload| {
                upload.expect(MIB + MIB / 2).expect("it would fit alone");
                upload.admit(1)
            });
            assert_eq!(admitted.filter(|&admitted| admitted).count(), 2);
            all[3].append(&bytes[..10_000]).expect("room for what nobody waits with");
        }
        4 => {
            let mut held = Vec::new();
            for n in 0..6u8 {
                put(store, &[n], &bytes[..MIB], Expiry::NEVER, NOW).expect("room");
                held.push(hold(store, &[n]));
            }
            let mut late = upload(b"late");
            assert_eq!(late.append(&bytes), Err(Full));
            late.expect(3 * MIB).expect("it would fit alone");
            assert!(!late.admit(1), "readers hold it");
            held.pop();
            drop(late);
            drop(held);
        }
        5 => {
            let mut broken = upload(b"broken off");
            broken.expect(bytes.len()).expect("it would fit");
            assert!(broken.admit(MIB));
            broken.append(&bytes[..MIB]).expect("room");
        }
        6 => {
            let mut replaced = upload(b"replaced");
            replaced.append(&bytes[..MIB]).expect("room");
            put(store, b"replaced", &bytes[..MIB], Expiry::NEVER, NOW).expect("room");
            let held = hold(store, b"replaced");
            let key = store.key(b"replaced");
            store.put_upload(key, replaced, Expiry::NEVER, NOW).expect("room");
            store.remove(key, NOW);
            let again = held.clone();
            drop(held);
            assert!(store.pinned_bytes() >= MIB as u64, "one of two has let go");
            drop(again);
        }
        _ => {
            // Not a page is left but for small entries.
            let mut held = Vec::new();
            for n in 0u64.. {
                if put(store, &n.to_le_bytes(), &bytes[..8_185], Expiry::NEVER, NOW).is_err() {
                    break;
                }
                held.push(hold(store, &n.to_le_bytes()));
            }
            let mut large = upload(b"large");
            assert_eq!(large.append(&bytes[..10_000]), Err(Full));
            let mut small = upload(b"small");
            small.append(&[1; 4_000]).expect("it is on the heap");
            let key = store.key(b"small");
            // Whether small ones are there to make room depends on how the last pages were used.
            let _ = store.put_upload(key, small, Expiry::NEVER, NOW);
        }
    }
}

#[test]
fn nothing_stays_claimed_however_an_upload_fails() {
    for partitions in [1, 2] {
        let store = store(partitions, 8 << 20);
        let fits = |store: &Arc<Store>| store.upload(store.key(b"k")).expect(7 * MIB).is_ok();
        assert!(fits(&store));
        for round in 0..3 {
            for way in 0..8 {
                fail(&store, way);
                let left = (store.upload_bytes(), store.pinned_bytes());
                assert_eq!(left, (0, 0), "round {round}, way {way}: bytes that nobody holds");
                // All of the memory can still be had, and by one that is to wait for its turn.
                let mut upload = store.upload(store.key(b"all"));
                upload.expect(6 * MIB).expect("it fits");
                assert!(upload.admit(1), "round {round}, way {way}");
                for _ in 0..6 {
                    upload.append(&vec![1; MIB]).expect("all else is evicted");
                }
                let key = store.key(b"all");
                store.put_upload(key, upload, Expiry::NEVER, NOW).expect("room");
                store.remove(key, NOW);
            }
        }
        assert!(fits(&store));
    }
}

/// A value that readers hold is met by eviction again and again; however many there are, what is
/// not held makes room.
#[test]
fn a_write_finds_room_however_many_values_readers_hold() {
    // More than a write looks at, in less than half of the memory.
    const HELD: u64 = 18_000;
    const KEYS: u64 = 36_000;
    let store = store(1, 300 << 20);
    let bytes = vec![7; 8_185];
    let put_next = |key: u64| put(&store, &key.to_le_bytes(), &bytes, Expiry::NEVER, NOW);
    assert!((0..KEYS).all(|key| put_next(key).is_ok()));
    let held: Vec<_> = (KEYS - HELD..KEYS).map(|key| hold(&store, &key.to_le_bytes())).collect();
    let failed = (KEYS..3 * KEYS).filter(|&key| put_next(key).is_err()).count();
    assert_eq!(failed, 0, "of {} writes", 2 * KEYS);
    assert_eq!(held.len() as u64, HELD);
    drop(held);
    assert_eq!(store.pinned_bytes(), 0);
}

#[test]
fn times_to_live_hold_at_the_end_of_the_clock() {
    let (store, now, end) = (store(1, 8 << 20), Tick(u32::MAX - 100), Tick(u32::MAX - 1));
    maintain(&store, now);
    for (key, seconds) in [(1u64, 0), (2, 1), (3, 10), (4, TTL_SECONDS_MAX), (5, u32::MAX)] {
        let expiry = if seconds == 0 { Expiry::NEVER } else { Expiry::after(now, seconds) };
        put(&store, &key.to_le_bytes(), &value(key, 1, 100), expiry, now).expect("room");
        assert_eq!(get(&store, &key.to_le_bytes(), now), Some(value(key, 1, 100)));
    }
    assert_eq!(get(&store, &2u64.to_le_bytes(), now.plus_seconds(2)), None);
    assert_eq!(get(&store, &3u64.to_le_bytes(), now.plus_seconds(9)), Some(value(3, 1, 100)));
    // The clock stops there, and so does every time to live.
    assert_eq!(end.plus_seconds(u32::MAX), Tick(u32::MAX));
    let day = std::time::Duration::from_secs(86_400);
    let late = std::time::Instant::now() + 365 * 20 * day;
    assert_eq!(Clock::start().tick(late), end);
    for (key, lives) in [(1u64, true), (2, false), (3, false), (4, false), (5, false)] {
        assert_eq!(get(&store, &key.to_le_bytes(), end).is_some(), lives, "{key}");
    }
    maintain(&store, end);
    maintain(&store, Tick(u32::MAX));
    assert_eq!(statistics(&store).keys, 1, "the others were collected");
    let ended = Expiry::after(end, 1);
    put(&store, b"late", b"v", ended, end).expect("room");
    assert!(ended.is_due(end) && get(&store, b"late", end).is_none());
}
