//! What a full store keeps, whatever the sizes of its values and the number of its partitions.

mod store_util;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use corekv::store::{Expiry, Store, Tick, Value};
use store_util::*;
use testkit::{Numbers, Zipf};

const NOW: Tick = Tick(0);
const PARTITIONS: [usize; 3] = [1, 2, 8];

/// What a full store may have unused beside the room of one value: each partition's page in reserve,
/// and pages that another one gives up ahead.
fn slack_bytes(partitions: usize) -> u64 {
    (partitions as u64 * 24 + 32) * 8232
}

/// Stores values under new keys, and looks how much of the memory is in use at any time after the
/// first one had to go; the least.
fn least_used(store: &Arc<Store>, lens: impl Iterator<Item = usize>) -> u64 {
    let bytes = value(1, 1, 64 << 10);
    let mut least = u64::MAX;
    for (key, len) in (0u64..).zip(lens) {
        let name = key.to_le_bytes();
        let mut upload = store.upload(store.key(&name));
        let mut left = len;
        while left > 0 {
            let now = left.min(bytes.len());
            upload.append(&bytes[..now]).expect("room");
            left -= now;
            let counts = statistics(store);
            if counts.evicted > 0 {
                least = least.min(counts.bytes);
            }
        }
        store.put_upload(store.key(&name), upload, Expiry::NEVER, NOW).expect("room");
        let seen = store.get(store.key(&name), NOW, |_| ()).is_some();
        assert!(seen, "a value of {len} bytes that was just stored is there");
    }
    assert!(statistics(store).evicted > 0, "the store was full");
    least
}

#[test]
fn a_full_store_of_large_values_stays_full() {
    const MEMORY: u64 = 32 << 20;
    for partitions in PARTITIONS {
        for len in [5000, 8192, 100_000, 1 << 20, 7 << 20] {
            let store = store(partitions, MEMORY);
            let values = 4 * MEMORY as usize / len;
            let least = least_used(&store, std::iter::repeat_n(len, values));
            let pages = (len as u64).div_ceil(8192) * 8232;
            let bound = MEMORY - pages - slack_bytes(partitions);
            assert!(least >= bound, "{partitions} partitions, {len} bytes: {least} in use");
            // Without the share of one value and of the partitions' own pages, that is 95 %.
            assert!(len > 1 << 20 || partitions > 2 || least * 20 >= MEMORY * 19, "{len}: {least}");
        }
    }
}

#[test]
fn a_full_store_is_full_of_values_whatever_their_length() {
    const MEMORY: u64 = 32 << 20;
    // What a key takes beside its value, and the rounding.
    const BESIDE: u64 = 48;
    let lens = (1_000..9_000).step_by(1_300).chain((9_000..40_000).step_by(5_800));
    for len in lens.chain([8_150, 8_190, 8_200, 16_384, 16_400, 100_000, 300_000]) {
        for replaces in [false, true] {
            let store = store(1, MEMORY);
            let keys = MEMORY / len as u64;
            for round in 0..if replaces { 6 } else { 1 } {
                // Replaced in another order by values of other lengths, so that what dies lies all over.
                for key in (0..2 * keys).map(|key| key * (2 * round + 1) % (2 * keys)) {
                    let len =
                        if replaces { len - (key * 7 + round) as usize % (len / 3) } else { len };
                    put(&store, &key.to_le_bytes(), &vec![7; len], Expiry::NEVER, NOW)
                        .expect("room");
                }
            }
            let held = (0..2 * keys).filter_map(|key| get(&store, &key.to_le_bytes(), NOW));
            let bytes: u64 = held.map(|value| value.len() as u64 + BESIDE).sum();
            let percent = if replaces { 92 } else { 95 };
            assert!(
                bytes * 100 >= MEMORY * percent,
                "{len} bytes: {bytes} of {MEMORY}, {replaces}"
            );
        }
    }
}

/// Waits until no thread that touches memory ahead of its use is at work.
fn wait_until_touched() {
    let is_at_work = |thread: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(thread.expect("a thread").path().join("stat"));
        // Others may end meanwhile.
        stat.is_ok_and(|stat| stat.contains("(prefault)") && !stat.contains("(prefault) S"))
    };
    while std::fs::read_dir("/proc/self/task").expect("threads").any(is_at_work) {
        std::thread::yield_now();
    }
}

/// Of what grows slowly, the store has memory touched ahead of its use. What one partition has of it is
/// used before another one evicts.
#[test]
fn memory_that_one_partition_has_ahead_is_anothers_before_it_evicts() {
    const MEMORY: u64 = 80 << 20;
    const LEN: usize = 13 << 13;
    // Huge pages begin at 32 MiB of a partition, and one is asked for where 512 KiB took 10 ms.
    const FAST: u64 = 60 << 20;
    const SLOW: u64 = 72 << 20;
    let bytes = value(1, 1, LEN);
    for _ in 0..4 {
        let store = store(2, MEMORY);
        for key in 0u64.. {
            let used = statistics(&store).bytes;
            if used > SLOW {
                break;
            }
            if used > FAST && key.is_multiple_of(8) {
                std::thread::sleep(Duration::from_millis(10));
            }
            put(&store, &key.to_le_bytes(), &bytes, Expiry::NEVER, NOW).expect("room");
        }
        // What is just being touched can't be given back.
        wait_until_touched();
        let mut upload = store.upload(store.key(b"large"));
        let mut least = u64::MAX;
        for _ in 0..200 {
            upload.append(&bytes).expect("room");
            let counts = statistics(&store);
            least = least.min(if counts.evicted > 0 { counts.bytes } else { u64::MAX });
        }
        assert!(least >= MEMORY - LEN as u64 - slack_bytes(2), "{least} in use");
    }
}

/// Bytes of the largest value that a store takes that was full before.
fn longest(store: &Arc<Store>) -> usize {
    for key in 0..40u64 {
        let bytes = value(key, 1, 1 << 20);
        put(store, &key.to_be_bytes(), &bytes, Expiry::NEVER, NOW).expect("room");
    }
    for key in 0..40u64 {
        store.remove(store.key(&key.to_be_bytes()), NOW);
    }
    let takes = |len| store.upload(store.key(b"k")).expect(len).is_ok();
    let (mut low, mut high) = (0, usize::MAX);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if takes(middle) { low = middle } else { high = middle }
    }
    low
}

/// What is unused of a full store is less than one value: nothing but that some number of them fits.
#[test]
fn as_many_values_of_one_size_stay_as_fit() {
    const MEMORY: u64 = 8 << 20;
    for partitions in PARTITIONS {
        for count in [1, 2, 7, 8, 31] {
            let store = store(partitions, MEMORY);
            // Beside them there is what a partition may keep for itself.
            let slack = if partitions == 1 { 0 } else { slack_bytes(partitions) as usize };
            let pages = (longest(&store) - slack) / 8192 / count;
            let bytes = value(1, 1, pages * 8192);
            for key in 0..3 * count as u64 {
                put(&store, &key.to_le_bytes(), &bytes, Expiry::NEVER, NOW).expect("room");
                let keys = statistics(&store).keys;
                let expected = (key + 1).min(count as u64);
                assert!(
                    keys >= expected,
                    "{partitions} partitions: {keys} of {count} after {}",
                    key + 1
                );
            }
        }
    }
}

#[test]
fn smaller_values_fill_what_larger_ones_leave() {
    const MEMORY: u64 = 32 << 20;
    const LARGE: usize = 4_300_000;
    for partitions in PARTITIONS {
        let store = store(partitions, MEMORY);
        for key in 0..30u64 {
            let bytes = value(key, 1, LARGE);
            put(&store, &key.to_le_bytes(), &bytes, Expiry::NEVER, NOW).expect("room");
        }
        let before = statistics(&store);
        assert_eq!(before.keys, 7, "{partitions} partitions");
        let gap = MEMORY - before.bytes - slack_bytes(partitions);
        let cost = Store::cost(8, 0, 100_000);
        for key in 100..100 + gap / cost {
            let bytes = value(key, 1, 100_000);
            put(&store, &key.to_le_bytes(), &bytes, Expiry::NEVER, NOW).expect("room");
        }
        let after = statistics(&store);
        assert_eq!(after.evicted, before.evicted, "{partitions} partitions: there was room");
        assert!(after.bytes + slack_bytes(partitions) + cost + 8232 > MEMORY);
    }
}

#[test]
fn a_full_store_of_mixed_values_stays_full() {
    const MEMORY: u64 = 64 << 20;
    const LEN_MAX: u64 = 8 << 20;
    for partitions in PARTITIONS {
        let store = store(partitions, MEMORY);
        let mut numbers = Numbers::new(1);
        let lens = std::iter::repeat_with(|| {
            // As many of each order of magnitude.
            8 + (numbers.next() % (1 << numbers.below(24))).min(LEN_MAX) as usize
        });
        let least = least_used(&store, lens.take(1000));
        let bound = MEMORY - LEN_MAX - LEN_MAX / 200 - slack_bytes(partitions);
        assert!(least >= bound, "{partitions} partitions: {least} in use");
    }
}

#[test]
fn eviction_stops_as_soon_as_enough_is_free() {
    const LEN: usize = 1 << 20;
    for partitions in PARTITIONS {
        let store = store(partitions, 16 << 20);
        let bytes = value(1, 1, LEN);
        let mut before = 0;
        for key in 0..200u64 {
            put(&store, &key.to_le_bytes(), &bytes, Expiry::NEVER, NOW).expect("room");
            let evicted = statistics(&store).evicted;
            assert!(evicted - before <= 2, "one value takes the room of one");
            before = evicted;
        }
        let keys = statistics(&store).keys;
        assert!(keys >= 14, "{partitions} partitions: {keys} values of a sixteenth");
    }
}

/// A key's place among those of the main queue shows in how long it stays: as long as nobody asks
/// for others twice, keys that are new make room for each other.
#[test]
fn a_key_that_returns_is_remembered_also_if_its_write_is_tried_again() {
    const LEN: usize = 1 << 20;
    let store = store(2, 8 << 20);
    let bytes = value(1, 1, LEN);
    // All in one partition, so that the other has to ask for memory for the key that returns.
    let of = |partition| {
        let store = Arc::clone(&store);
        (0u64..).filter(move |key| store.partition_of(store.key(&key.to_le_bytes())) == partition)
    };
    let key = of(0).next().expect("a key of the first partition").to_le_bytes();
    let mut others = of(1);
    let mut flood = |count: usize| {
        for other in others.by_ref().take(count) {
            put(&store, &other.to_le_bytes(), &bytes, Expiry::NEVER, NOW).expect("room");
        }
    };
    let is_there = || store.get(store.key(&key), NOW, |_| ()).is_some();
    flood(20);
    put(&store, &key, &bytes, Expiry::NEVER, NOW).expect("room");
    // Nobody has asked for it, so that it goes, and is forgotten only after as many again.
    flood(8);
    assert!(!is_there(), "the key was evicted");
    put(&store, &key, &bytes, Expiry::NEVER, NOW).expect("room");
    flood(30);
    assert!(is_there(), "the key came back soon and is in the main queue");
}

#[test]
fn a_few_large_values_that_are_asked_for_stay() {
    const LEN: usize = 1 << 20;
    for partitions in PARTITIONS {
        let store = store(partitions, 16 << 20);
        let bytes = value(1, 1, LEN);
        let (mut hits, mut asked) = (0, 0);
        // The queues take a while until they fit.
        for new in 1000..3000u64 {
            if new == 2500 {
                (hits, asked) = (0, 0);
            }
            put(&store, &new.to_le_bytes(), &bytes, Expiry::NEVER, NOW).expect("room");
            for popular in 0..6u64 {
                let name = popular.to_le_bytes();
                asked += 1;
                if store.get(store.key(&name), NOW, |_| ()).is_some() {
                    hits += 1;
                } else {
                    put(&store, &name, &bytes, Expiry::NEVER, NOW).expect("room");
                }
            }
        }
        assert!(hits * 100 >= asked * 97, "{partitions} partitions: {hits} of {asked}");
    }
}

/// Keys by Zipf's law, of which others are popular after every few requests.
fn moving_on(keys: u64, requests: u64) -> impl Iterator<Item = u64> {
    let (zipf, mut random) = (Zipf::new(keys, 0.99), Numbers::new(44));
    let moved = move |at: u64| at * 10 / (6 * keys) * (keys / 10);
    (0..requests).map(move |at| (zipf.rank(&mut random) + moved(at)) % keys)
}

#[test]
fn large_values_go_by_their_last_use_where_that_is_what_counts() {
    const LEN: usize = 128 << 10;
    const REQUESTS: u64 = 6000;
    for values in [7, 31] {
        let store = store(1, (values as u64 + 1) * LEN as u64);
        let bytes = value(1, 1, LEN);
        let (mut missed, mut missed_by_lru) = (0, 0);
        let mut lru = VecDeque::new();
        for (at, key) in (0..).zip(moving_on(values as u64 * 10 / 3, REQUESTS)) {
            let name = key.to_le_bytes();
            let is_there = store.get(store.key(&name), NOW, |_| ()).is_some();
            if !is_there {
                put(&store, &name, &bytes, Expiry::NEVER, NOW).expect("room");
            }
            let in_lru = lru.iter().position(|&other| other == key);
            in_lru.and_then(|at| lru.remove(at));
            lru.push_back(key);
            if lru.len() > values {
                lru.pop_front();
            }
            if at > REQUESTS / 3 {
                missed += u32::from(!is_there);
                missed_by_lru += u32::from(in_lru.is_none());
            }
        }
        let percent = 100 * missed / missed_by_lru;
        assert!(percent <= 102, "{values} values: {missed} missed, and {missed_by_lru} by LRU");
    }
}

/// A page of the log holds many small values, and with many partitions it takes long to fill.
#[test]
fn small_values_among_large_ones_stay_as_long_as_with_lru_in_many_partitions() {
    const MEMORY: u64 = 8 << 20;
    const REQUESTS: u64 = 12_000;
    let store = store(8, MEMORY);
    let bytes = value(1, 1, 128 << 10);
    let (mut missed, mut missed_by_lru) = (0, 0);
    let (mut lru, mut lru_bytes) = (VecDeque::new(), 0);
    for (at, key) in (0..).zip(moving_on(400, REQUESTS)) {
        let len = if key.is_multiple_of(2) { 50 } else { bytes.len() };
        let name = key.to_le_bytes();
        let is_there = store.get(store.key(&name), NOW, |_| ()).is_some();
        if !is_there {
            put(&store, &name, &bytes[..len], Expiry::NEVER, NOW).expect("room");
        }
        let in_lru = lru.iter().position(|&(other, _)| other == key);
        if let Some((_, len)) = in_lru.and_then(|at| lru.remove(at)) {
            lru_bytes -= len;
        }
        lru.push_back((key, len));
        lru_bytes += len;
        while lru_bytes as u64 > MEMORY {
            lru_bytes -= lru.pop_front().map_or(0, |(_, len)| len);
        }
        if at > REQUESTS / 3 && len == 50 {
            missed += u32::from(!is_there);
            missed_by_lru += u32::from(in_lru.is_none());
        }
    }
    assert!(missed <= missed_by_lru, "{missed} missed, and {missed_by_lru} by LRU");
}

/// Requests by Zipf's law, with an exponent of 1.2.
fn by_popularity(keys: u64, requests: u64) -> impl Iterator<Item = u64> {
    let shares = (1..=keys).map(|rank| (1e6 / (rank as f64).powf(1.2)) as u64).collect::<Vec<_>>();
    let all = shares.iter().sum();
    let mut numbers = Numbers::new(12);
    (0..requests).map(move |_| {
        let mut at = numbers.below(all);
        let rank = shares.iter().position(|&share| {
            let is_here = at < share;
            at = at.saturating_sub(share);
            is_here
        });
        rank.expect("less than all of them") as u64
    })
}

/// Values are evicted in one partition and come back to another, which has hardly any evictions to count.
#[test]
fn few_values_in_many_partitions_stay_as_long_as_in_one() {
    const STORES: u64 = 4;
    let bytes = value(1, 1, 512 << 10);
    let missed = |partitions| {
        let store = store(partitions, 4 << 20);
        let misses = by_popularity(23, 6000).filter(|key| {
            let name = key.to_le_bytes();
            let is_there = store.get(store.key(&name), NOW, |_| ()).is_some();
            if !is_there {
                put(&store, &name, &bytes, Expiry::NEVER, NOW).expect("room");
            }
            !is_there
        });
        misses.count() as u64
    };
    let in_one = missed(1);
    let in_many = (0..STORES).map(|_| missed(8)).sum::<u64>() / STORES;
    assert!(in_many * 100 <= in_one * 102, "{in_many} missed, and {in_one} in one partition");
}

#[test]
fn what_goes_by_last_use_stays_in_order_whatever_readers_hold() {
    const LEN: usize = 64 << 10;
    for partitions in PARTITIONS {
        let store = store(partitions, 6 << 20);
        let (mut held, mut small) = (VecDeque::new(), 0);
        for (at, key) in (0..).zip(moving_on(200, 6000)) {
            let (name, bytes) = (key.to_le_bytes(), value(key, 1, LEN));
            let large = |value: Value<'_>| match value {
                Value::Large(value) => value,
                _ => panic!("a small value"),
            };
            match store.get(store.key(&name), NOW, large) {
                Some(value) if at % 5 == 0 => held.push_back((key, value)),
                Some(_) => {}
                None => {
                    put(&store, &name, &bytes, Expiry::NEVER, NOW).expect("room");
                }
            }
            if at % 3 == 0 {
                let name = format!("small-{at}");
                put(&store, name.as_bytes(), &bytes[..1000], Expiry::NEVER, NOW).expect("room");
                let earlier = format!("small-{}", at - at.min(30));
                small += u64::from(store.get(store.key(earlier.as_bytes()), NOW, |_| ()).is_some());
            }
            if held.len() > 8 {
                let (key, held) = held.pop_front().expect("there are some");
                let mut all = Vec::new();
                held.pieces(0, |piece| {
                    all.extend_from_slice(piece);
                    true
                });
                assert!(all == value(key, 1, LEN), "a value stays as it is for its reader");
            }
            if at % 100 == 0 {
                store.check_invariants();
            }
        }
        assert!(small > 1900, "{partitions} partitions: {small} small values were there still");
    }
}
