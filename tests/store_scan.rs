//! A walk over all keys while others write: what is there all the time is shown once, whole, and no
//! older than when the walk began; and what it shows can be put into another store.

mod store_util;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use corekv::store::{Expiry, Popularity, Scan, Scanned, ScannedValue, Store, Tick};
use store_util::*;

fn bytes_of(value: &ScannedValue<'_>) -> Vec<u8> {
    match value {
        ScannedValue::Small(bytes) => bytes.to_vec(),
        ScannedValue::Large(value) => {
            let mut bytes = Vec::new();
            value.pieces(0, |piece| {
                bytes.extend_from_slice(piece);
                true
            });
            bytes
        }
    }
}

fn scan(store: &Arc<Store>, now: Tick, mut each: impl FnMut(&Scanned<'_>)) {
    for partition in 0..store.partitions() {
        let mut scan = Scan::new(store, partition);
        let mut show = |shown: &Scanned<'_>| -> Result<(), Infallible> {
            each(shown);
            Ok(())
        };
        while scan.step(now, &mut show).expect("it can't fail") {}
    }
}

/// Keys that stay, each with a value that says its version.
const STAYING: u64 = 2_000;

fn name(key: u64) -> Vec<u8> {
    format!("key-{key}").into_bytes()
}

fn versioned(key: u64, version: u64) -> Vec<u8> {
    let len = [0, 5, 100, 1000, 3000, 9_000, 20_000][(key + version) as usize % 7];
    let mut bytes = version.to_le_bytes().to_vec();
    bytes.extend(value(key, version, len));
    bytes
}

/// Ends the writers also when an assertion fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_is_there_all_the_time_is_shown_once_and_whole() {
    let store = store(2, 256 << 20);
    let now = Tick(0);
    let put_version = |key, version| {
        put(&store, &name(key), &versioned(key, version), Expiry::NEVER, now).expect("room");
    };
    (0..STAYING).for_each(|key| put_version(key, 1));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (store, done) = (&store, &done);
        // The tables grow and shrink all the time.
        let wave = scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                for key in 0..30_000_u64 {
                    put(store, &key.to_le_bytes(), b"v", Expiry::NEVER, now).expect("room");
                }
                for key in 0..30_000_u64 {
                    store.remove(store.key(&key.to_le_bytes()), now);
                    if key % 64 == 0 {
                        (0..2).for_each(|partition| {
                            store.maintain(partition, now);
                        });
                    }
                }
            }
        });
        let put_version = &put_version;
        let rewriting = scope.spawn(move || {
            let mut version = 1;
            while !done.load(Ordering::Relaxed) {
                version += 1;
                // Half of them stay as they are.
                (0..STAYING / 2).for_each(|key| put_version(key, version));
            }
        });
        let end = End(done);
        for _ in 0..60 {
            let mut seen = HashMap::new();
            scan(store, now, |shown| {
                let Some(number) = shown.key.strip_prefix(b"key-") else { return };
                let key: u64 = std::str::from_utf8(number).unwrap().parse().unwrap();
                let bytes = bytes_of(&shown.value);
                let version = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                assert!(bytes == versioned(key, version), "a torn value of {key}");
                assert!(key < STAYING / 2 || version == 1);
                assert!(seen.insert(key, version).is_none(), "{key} is shown twice");
            });
            assert_eq!(seen.len() as u64, STAYING, "some were not shown");
        }
        drop(end);
        wave.join().unwrap();
        rewriting.join().unwrap();
    });
    store.check_invariants();
}

#[test]
fn what_is_shown_can_be_restored_with_its_popularity() {
    let (from, to) = (store(3, 64 << 20), store(2, 64 << 20));
    let now = Tick(80);
    for key in 0..3_000_u64 {
        let meta = vec![7; key as usize % 3 * 10];
        let bytes = versioned(key, 1);
        let expiry = if key % 5 == 0 { Expiry::after(now, 10) } else { Expiry::NEVER };
        let name = name(key);
        from.put_if(from.key(&name), &meta, &bytes, expiry, now, |_| true).expect("room");
        for _ in 0..key % 4 {
            get(&from, &name, now).expect("it is there");
        }
    }
    from.put(from.key(b"ends"), b"v", Expiry::after(now, 1), now).expect("room");
    let later = now.plus_seconds(2);
    scan(&from, later, |shown| {
        let key = to.key(shown.key);
        let state = (shown.expiry, shown.popularity);
        let value = bytes_of(&shown.value);
        assert_eq!(to.restore(key, shown.meta, &value, state, later), Ok(true));
        assert_eq!(to.restore(key, b"", b"other", state, later), Ok(false), "it is there");
    });
    to.set_share(from.share());
    to.check_invariants();
    assert_eq!(to.keys(), 3_000, "what has ended is not shown");
    let mut popularities = HashMap::new();
    for store in [&from, &to] {
        scan(store, later, |shown| {
            let state = (shown.popularity, shown.expiry, shown.meta.to_vec());
            let value = bytes_of(&shown.value);
            let before = popularities.insert(shown.key.to_vec(), (state.clone(), value.clone()));
            assert!(before.is_none_or(|before| before == (state, value)), "another than before");
        });
    }
    let ranks: std::collections::HashSet<usize> =
        popularities.values().map(|((popularity, ..), _)| popularity.rank()).collect();
    assert!(ranks.len() > 2, "{ranks:?}");
    assert_eq!(Popularity::of_rank(0).map(Popularity::rank), Some(0));
}

#[test]
fn restoring_more_than_fits_keeps_the_store_in_order() {
    let store = store(2, 4 << 20);
    let popularity = |key: u64| Popularity::of_rank(key as usize % 8).expect("a rank");
    for key in 0..20_000_u64 {
        let bytes = value(key, 1, [10, 500, 9000][key as usize % 3]);
        let state = (Expiry::NEVER, popularity(key));
        let _ = store.restore(store.key(&name(key)), b"", &bytes, state, Tick(0));
    }
    store.check_invariants();
    assert!(store.keys() > 100);
}
