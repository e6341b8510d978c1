//! Readers and writers on the same few keys: no torn value, and no version going backwards.

mod store_util;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use corekv::store::{Expiry, Tick};
use store_util::*;

const KEYS: u64 = 16;
const DURATION: Duration = Duration::from_secs(2);

/// A value of a version: the version, and bytes that follow from it and the key.
fn versioned(key: u64, version: u64) -> Vec<u8> {
    // Sizes change, so that entries move; some are large.
    let len = [0, 5, 5, 100, 1000, 3000, 20_000][version as usize % 7];
    let mut bytes = version.to_le_bytes().to_vec();
    bytes.extend(value(key, version, len));
    bytes
}

fn version_of(key: u64, bytes: &[u8]) -> u64 {
    let (version, _) = bytes.split_first_chunk::<8>().expect("a version");
    let version = u64::from_le_bytes(*version);
    assert!(bytes == versioned(key, version), "a torn value of key {key}, version {version}");
    version
}

/// Each key has one writer, which counts up. What a reader sees must never be older than what
/// was acknowledged before it looked, nor than what it saw before.
fn contend(partitions: usize, memory_bytes_max: u64, filler: bool) {
    let store = store(partitions, memory_bytes_max);
    let acknowledged: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (store, acknowledged, done) = (&store, &acknowledged, &done);
            scope.spawn(move || {
                let mut version = 1;
                while !done.load(Ordering::Relaxed) {
                    for key in (writer..KEYS).step_by(2) {
                        let (name, bytes) = (key.to_le_bytes(), versioned(key, version));
                        put(store, &name, &bytes, Expiry::NEVER, Tick(0)).expect("room");
                        acknowledged[key as usize].store(version, Ordering::Release);
                        if filler {
                            let other = (version * 1_000 + key).to_be_bytes();
                            put(store, &other, &bytes, Expiry::NEVER, Tick(0)).expect("room");
                        }
                    }
                    version += 1;
                }
            });
        }
        for _ in 0..2 {
            let (store, acknowledged, done, reads) = (&store, &acknowledged, &done, &reads);
            scope.spawn(move || {
                let mut seen = [0; KEYS as usize];
                while !done.load(Ordering::Relaxed) {
                    for key in 0..KEYS {
                        let least = acknowledged[key as usize].load(Ordering::Acquire);
                        let read = if key % 2 == 0 { get } else { get_hinted };
                        match read(store, &key.to_le_bytes(), Tick(0)) {
                            None => assert!(filler || least == 0, "key {key} is lost"),
                            Some(bytes) => {
                                let version = version_of(key, &bytes);
                                let last = &mut seen[key as usize];
                                assert!(version >= least.max(*last), "{version} after {last}");
                                *last = version;
                                reads.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < DURATION {
            store.maintain(0, Tick(0));
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(reads.into_inner() > 1000);
}

#[test]
fn values_are_whole_and_never_older_than_acknowledged() {
    contend(2, 64 << 20, false);
}

#[test]
fn values_are_whole_while_entries_are_moved_and_evicted() {
    contend(2, 2 << 20, true);
}

#[test]
fn keys_are_found_while_the_index_grows() {
    const GROWN: u64 = 300_000;
    let store = store(1, 256 << 20);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (store, written) = (&store, &written);
        scope.spawn(move || {
            for key in 0..GROWN {
                put(store, &key.to_le_bytes(), &key.to_be_bytes(), Expiry::NEVER, Tick(0))
                    .expect("room");
                written.store(key + 1, Ordering::Release);
            }
        });
        for (step, read) in [(7919, get as fn(&_, &_, _) -> _), (104_729, get_hinted)] {
            scope.spawn(move || {
                let mut at = 0u64;
                loop {
                    let until = written.load(Ordering::Acquire);
                    if until == GROWN {
                        return;
                    }
                    at = at.wrapping_add(step);
                    if let Some(key) = at.checked_rem(until) {
                        let seen: Option<Vec<u8>> = read(store, &key.to_le_bytes(), Tick(0));
                        assert_eq!(seen.as_deref(), Some(&key.to_be_bytes()[..]));
                    }
                }
            });
        }
    });
}

/// Keys that stay are looked for while others come and go, so that the index grows and shrinks.
fn crowd_and_thin(kept: u64, crowd: u64, rounds: u64) {
    let store = store(1, 256 << 20);
    let name = |key: u64| key.to_le_bytes();
    for key in 0..kept {
        put(&store, &name(key), &key.to_be_bytes(), Expiry::NEVER, Tick(0)).expect("room");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (store, done) = (&store, &done);
        scope.spawn(move || {
            for round in 0..rounds {
                let crowd = kept + round * crowd..kept + (round + 1) * crowd;
                for key in crowd.clone() {
                    put(store, &name(key), b"crowd", Expiry::NEVER, Tick(0)).expect("room");
                }
                for key in crowd {
                    assert!(store.remove(store.key(&name(key)), Tick(0)));
                }
            }
            done.store(true, Ordering::Release);
        });
        for (step, read) in [(7919, get as fn(&_, &_, _) -> _), (104_729, get_hinted)] {
            scope.spawn(move || {
                let mut at = 0u64;
                while !done.load(Ordering::Acquire) {
                    at = at.wrapping_add(step);
                    let key = at % kept;
                    let seen: Option<Vec<u8>> = read(store, &name(key), Tick(0));
                    assert_eq!(seen.as_deref(), Some(&key.to_be_bytes()[..]));
                }
            });
        }
    });
    maintain(&store, Tick(0));
    let bytes = statistics(&store).bytes;
    assert!(bytes < 512 << 10, "{bytes} bytes are in use for {kept} keys");
}

#[test]
fn keys_are_found_while_the_index_shrinks_by_much() {
    crowd_and_thin(3000, 100_000, 3);
}

#[test]
fn keys_are_found_while_the_index_shrinks_often() {
    crowd_and_thin(300, 1500, 1000);
}

/// Purges while two threads write, and two others read. What is purged does not come back, and nothing
/// else is lost.
#[test]
fn what_was_purged_does_not_come_back_and_nothing_else_goes() {
    const ROUNDS: u64 = 3_000;
    const PURGED: u64 = 3_000;
    let store = &store(2, 16 << 20);
    let numbers = || (0..KEYS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    // Versions that were acknowledged, after how many purges they were sent, and the latest of them
    // that were purged.
    let (acknowledged, sent_after, purged) = (&numbers(), &numbers(), &numbers());
    let (begun, ended, done) = (&AtomicU64::new(0), &AtomicU64::new(0), &AtomicBool::new(false));
    let name =
        |key: u64| if key.is_multiple_of(4) { format!("b/{key}") } else { format!("a/{key}") };
    std::thread::scope(|scope| {
        for writer in 0..2 {
            scope.spawn(move || {
                for version in 1.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    for key in (writer..KEYS).step_by(2) {
                        let after = ended.load(Ordering::SeqCst);
                        let bytes = versioned(key, version);
                        put(store, name(key).as_bytes(), &bytes, Expiry::NEVER, Tick(0))
                            .expect("room");
                        sent_after[key as usize].store(after, Ordering::SeqCst);
                        acknowledged[key as usize].store(version, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for key in 0..KEYS {
                        let at = key as usize;
                        let after = sent_after[at].load(Ordering::SeqCst);
                        let least = acknowledged[at].load(Ordering::SeqCst);
                        let gone = purged[at].load(Ordering::SeqCst);
                        let read = if key % 3 == 0 { get } else { get_hinted };
                        match read(store, name(key).as_bytes(), Tick(0)) {
                            None => {
                                let may_be_gone = least == 0
                                    || key % 4 != 0 && begun.load(Ordering::SeqCst) > after;
                                assert!(may_be_gone, "key {key} is lost");
                            }
                            Some(bytes) => {
                                let version = version_of(key, &bytes);
                                assert!(version > gone, "key {key}: {version} came back");
                                assert!(version >= least, "{version} after {least}");
                            }
                        }
                    }
                }
            });
        }
        let (mut round, mut tries) = (0, 0);
        while round < ROUNDS || statistics(store).purged < PURGED {
            let before: Vec<u64> = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
            begun.fetch_add(1, Ordering::SeqCst);
            if store.purge(b"a/").is_ok() {
                round += 1;
                for key in (0..KEYS as usize).filter(|key| key % 4 != 0) {
                    purged[key].store(before[key], Ordering::SeqCst);
                }
            }
            ended.fetch_add(1, Ordering::SeqCst);
            // Sometimes none, so that purges pile up, and sometimes one partition more than the other.
            tries += 1;
            for partition in 0..tries % 3 {
                store.maintain(partition, Tick(0));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    maintain(store, Tick(0));
    assert_eq!(store.purges_under_way(), 0);
}

/// Keys of all partitions go at one moment: who has seen one of them gone sees none of them any more.
#[test]
fn a_purge_is_one_moment_for_all_partitions() {
    const ROUNDS: u64 = 20_000;
    let store = &store(4, 16 << 20);
    let done = &AtomicBool::new(false);
    let name = |key: u64| format!("a/{key}");
    let round_of = |bytes: Option<Vec<u8>>| {
        bytes.map(|bytes| u64::from_le_bytes(bytes.try_into().expect("a round")))
    };
    std::thread::scope(|scope| {
        for reader in 0..2u64 {
            scope.spawn(move || {
                let mut numbers = testkit::Numbers::new(reader);
                while !done.load(Ordering::Relaxed) {
                    // The one that is written later, and the one before it.
                    let [one, two] = [(); 2].map(|()| numbers.below(KEYS));
                    let (one, two) = (name(one.max(two)), name(one.min(two)));
                    let look = |name: &str| round_of(get_hinted(store, name.as_bytes(), Tick(0)));
                    let before = look(&one);
                    let gone = look(&two).is_none();
                    let after = look(&one);
                    assert!(
                        before.is_none() || !gone || after.is_none() || after > before,
                        "{one} of round {before:?} is there although {two} is gone"
                    );
                }
            });
        }
        for round in 1..=ROUNDS {
            for key in 0..KEYS {
                put(store, name(key).as_bytes(), &round.to_le_bytes(), Expiry::NEVER, Tick(0))
                    .expect("room");
            }
            while store.purge(b"a/").is_err() {
                store.maintain(0, Tick(0));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
