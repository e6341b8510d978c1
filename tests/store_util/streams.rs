//! A naive model of the store, and streams of operations that are run on both. The property tests
//! and the fuzzer draw the streams, each in its own way.

use std::collections::HashMap;

use corekv::store::{Expiry, Key, Sighting, Tick, Written};

use super::*;

/// The first key of a crowd.
const CROWD: u64 = 1 << 32;

/// Bytes of index and bookkeeping that a small partition keeps when it has become empty.
const EMPTY_BYTES_MAX: u64 = 24 << 10;

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Get(u64),
    Put {
        key: u64,
        len: usize,
        seconds: u32,
    },
    Upload {
        key: u64,
        len: usize,
        piece: usize,
        seconds: u32,
    },
    Abort {
        key: u64,
        len: usize,
    },
    Remove(u64),
    /// Stores so many keys of their own, so that the index grows.
    Crowd(u64),
    /// Removes those from a number on, so that it shrinks.
    Thin(u64),
    Pass(u32),
    Maintain,
}

struct Kept {
    version: u64,
    len: usize,
    expiry: Expiry,
}

/// Keys of different lengths, so that entries begin at all kinds of places.
fn name(key: u64) -> Vec<u8> {
    match key % 3 {
        0 => format!("{key}").into_bytes(),
        1 => format!("a longer key with the number {key}").into_bytes(),
        _ if key >= CROWD => key.to_be_bytes().to_vec(),
        _ => [key as u8].repeat(1 + key as usize * 5 % 300),
    }
}

/// Where keys were seen, some of it a moment ago and some of it before any number of operations:
/// whatever a sighting says, it must not change what is found.
#[derive(Default)]
struct Sightings(HashMap<u64, Sighting>);

impl Sightings {
    fn key<'a>(&mut self, store: &Store, number: u64, name: &'a [u8], anew: bool) -> Key<'a> {
        let hash = store.hash(name);
        let sighting = self.0.entry(number).or_insert(Sighting::NONE);
        if anew {
            *sighting = store.prefetch_entry(hash);
        }
        Key::new(name, hash).seen(*sighting)
    }
}

fn expiry(now: Tick, seconds: u32) -> Expiry {
    if seconds == 0 { Expiry::NEVER } else { Expiry::after(now, seconds) }
}

/// Runs the operations on both and compares all that can be seen. With `may_evict`, a key may be
/// absent from the store that the model has, but then it stays absent.
pub(crate) fn compare(
    operations: &[Operation],
    partitions: usize,
    bytes_max: u64,
    may_evict: bool,
) {
    let store = store(partitions, bytes_max);
    let mut model: HashMap<u64, Kept> = HashMap::new();
    let (mut now, mut created) = (Tick(0), 0u64);
    let mut sightings = Sightings::default();
    for (version, operation) in (1..).zip(operations) {
        let mut seen = |number: u64, name| {
            sightings.key(&store, number, name, (version + number).is_multiple_of(3))
        };
        match *operation {
            Operation::Get(key) => {
                let found = get_key(&store, seen(key, &name(key)), now);
                let kept = model.get(&key).filter(|kept| !kept.expiry.is_due(now));
                let expected = kept.map(|kept| value(key, kept.version, kept.len));
                if found.is_none() && may_evict {
                    model.remove(&key);
                } else {
                    assert_eq!(found, expected);
                }
            }
            Operation::Put { key, len, seconds } | Operation::Upload { key, len, seconds, .. } => {
                let expiry = expiry(now, seconds);
                let bytes = value(key, version, len);
                let written = match *operation {
                    Operation::Upload { piece, .. } => {
                        put_in_pieces(&store, &name(key), &bytes, piece, expiry, now)
                    }
                    _ => store.put(seen(key, &name(key)), &bytes, expiry, now),
                };
                let was_live = model.get(&key).is_some_and(|kept| !kept.expiry.is_due(now));
                let written = written.expect("the store is large enough for each value");
                if written == Written::Replaced {
                    assert!(was_live);
                } else {
                    assert!(may_evict || !was_live);
                    created += 1;
                }
                model.insert(key, Kept { version, len, expiry });
            }
            Operation::Abort { key, len } => {
                let mut upload = store.upload(store.key(&name(key)));
                upload.append(&value(key, version, len)).expect("room");
            }
            Operation::Remove(key) => {
                let kept = model.remove(&key).is_some_and(|kept| !kept.expiry.is_due(now));
                let removed = store.remove(seen(key, &name(key)), now);
                assert!(removed == kept || (may_evict && !removed));
            }
            Operation::Crowd(keys) => {
                for key in CROWD..CROWD + keys {
                    let was_live = model.contains_key(&key);
                    let (name, anew) = (name(key), key % 5 == version % 5);
                    let seen = sightings.key(&store, key, &name, anew);
                    let written = store.put(seen, &value(key, version, 3), Expiry::NEVER, now);
                    let written = written.expect("the store is large enough for each value");
                    assert!(may_evict || was_live == (written == Written::Replaced));
                    created += u64::from(written == Written::Created);
                    model.insert(key, Kept { version, len: 3, expiry: Expiry::NEVER });
                }
            }
            Operation::Thin(keys) => {
                let crowd: Vec<u64> =
                    model.keys().copied().filter(|&key| key >= CROWD + keys).collect();
                for key in crowd {
                    model.remove(&key);
                    let name = name(key);
                    let removed = store.remove(sightings.key(&store, key, &name, false), now);
                    assert!(removed || may_evict);
                }
            }
            Operation::Pass(ticks) => now = Tick(now.0 + ticks),
            Operation::Maintain => maintain(&store, now),
        }
        let counts = statistics(&store);
        assert!(counts.bytes <= bytes_max);
        assert!(may_evict || counts.evicted == 0);
        assert_eq!(counts.keys, created - counts.evicted - counts.expired - counts.deleted);
    }
    now = Tick(now.0 + 16);
    maintain(&store, now);
    let all: Vec<u64> = model.keys().copied().collect();
    let (mut found, mut just_ended) = (0, 0);
    for &key in &all {
        let kept = &model[&key];
        let ended = |by: u32| kept.expiry.is_due(Tick(by));
        just_ended += u64::from(ended(now.0) && !ended(now.0 - 8));
        let expected =
            Some(value(key, kept.version, kept.len)).filter(|_| !kept.expiry.is_due(now));
        let seen = get(&store, &name(key), now);
        assert!(seen == expected || (may_evict && seen.is_none()));
        found += u64::from(seen.is_some());
    }
    let keys = statistics(&store).keys;
    assert!(found <= keys && keys <= found + just_ended, "{keys} counted, {found} found");
    for &key in &all {
        store.remove(store.key(&name(key)), now);
    }
    let counts = statistics(&store);
    assert_eq!(counts.keys, 0);
    assert!(counts.bytes <= EMPTY_BYTES_MAX * partitions as u64, "{} bytes kept", counts.bytes);
}
