//! The bucket protocol, in every order that the memory model allows: the store's own source of
//! it, over the model checker's atomics.

/// Stands in for `src/store/atomic.rs`.
mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering, fence};

    pub(crate) fn wait(_turn: u32) {
        loom::thread::yield_now();
    }
}

#[path = "../src/store/sequence.rs"]
#[allow(unreachable_pub)]
mod sequence;

use atomic::{AtomicU32, Ordering::*, fence};
use loom::sync::Arc;
use sequence::Sequence;

struct Bucket {
    sequence: Sequence,
    slot: AtomicU32,
    memory: [AtomicU32; 2],
}

impl Bucket {
    fn new(slot: u32, value: u32) -> Self {
        let memory = [AtomicU32::new(value), AtomicU32::new(value)];
        Self { sequence: Sequence::new(), slot: AtomicU32::new(slot), memory }
    }

    /// Both words of the value, if the slot is taken; `None` if a writer was in the way.
    fn look(&self) -> Option<(u32, [u32; 2])> {
        let first = self.sequence.begin();
        let slot = self.slot.load(Relaxed);
        let value = [0, 1].map(|at: usize| self.memory[at].load(Relaxed));
        self.sequence.unchanged(first).then_some((slot, value))
    }
}

#[test]
fn a_value_overwritten_in_place_is_never_torn() {
    loom::model(|| {
        let bucket = Arc::new(Bucket::new(1, 0));
        let writer = loom::thread::spawn({
            let bucket = Arc::clone(&bucket);
            move || {
                let _writing = bucket.sequence.write();
                bucket.memory.iter().for_each(|word| word.store(1, Relaxed));
            }
        });
        if let Some((_, value)) = bucket.look() {
            assert_eq!(value[0], value[1]);
        }
        writer.join().expect("no panic");
        assert_eq!(bucket.look(), Some((1, [1, 1])));
    });
}

#[test]
fn memory_used_again_after_a_removal_is_never_taken_for_the_entry() {
    loom::model(|| {
        let bucket = Arc::new(Bucket::new(1, 0));
        let writer = loom::thread::spawn({
            let bucket = Arc::clone(&bucket);
            move || {
                {
                    let _writing = bucket.sequence.write();
                    bucket.slot.store(0, Relaxed);
                }
                // Another key's entry is written where the removed one was, as in `entry::write`.
                fence(Release);
                bucket.memory.iter().for_each(|word| word.store(7, Relaxed));
            }
        });
        if let Some((slot, value)) = bucket.look() {
            assert!(slot == 0 || value == [0, 0], "slot {slot} with {value:?}");
        }
        writer.join().expect("no panic");
    });
}

#[test]
fn a_key_is_found_while_its_bucket_is_split() {
    loom::model(|| {
        // The key's hash leads to bucket 0 of one, and to bucket 1 of two.
        let shared = Arc::new((AtomicU32::new(1), [Bucket::new(1, 5), Bucket::new(0, 0)]));
        let writer = loom::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (shape, [old, new]) = &*shared;
                let _writing = (old.sequence.write(), new.sequence.write());
                old.slot.store(0, Relaxed);
                new.slot.store(1, Relaxed);
                shape.store(2, Release);
            }
        });
        let (shape, buckets) = &*shared;
        let bucket = shape.load(Acquire) as usize - 1;
        let first = buckets[bucket].sequence.begin();
        if shape.load(Relaxed) as usize - 1 == bucket {
            let slot = buckets[bucket].slot.load(Relaxed);
            if buckets[bucket].sequence.unchanged(first) {
                assert_eq!(slot, 1, "not found in bucket {bucket}");
            }
        }
        writer.join().expect("no panic");
    });
}

/// A key whose hash leads to bucket 1 of two, and to bucket 0 of one; and how many buckets there are.
struct Table {
    shape: AtomicU32,
    buckets: [Bucket; 2],
}

impl Table {
    /// What a reader finds in the key's slot; `None` if a writer was in the way.
    fn look(&self) -> Option<u32> {
        let bucket = self.shape.load(Acquire) as usize - 1;
        let first = self.buckets[bucket].sequence.begin();
        if self.shape.load(Relaxed) as usize - 1 != bucket {
            return None;
        }
        let slot = self.buckets[bucket].slot.load(Relaxed);
        self.buckets[bucket].sequence.unchanged(first).then_some(slot)
    }
}

#[test]
fn a_key_is_found_while_its_bucket_is_merged_and_split_again() {
    loom::model(|| {
        let buckets = [Bucket::new(0, 0), Bucket::new(1, 5)];
        // The bucket was split off before.
        drop(buckets[1].sequence.write());
        let table = Arc::new(Table { shape: AtomicU32::new(2), buckets });
        let writer = loom::thread::spawn({
            let table = Arc::clone(&table);
            move || {
                let Table { shape, buckets: [into, from] } = &*table;
                let writing = (into.sequence.write(), from.sequence.write());
                from.slot.store(0, Relaxed);
                into.slot.store(1, Relaxed);
                shape.store(1, Release);
                drop(writing);
                let floor = from.sequence.later(0);
                let writing = (into.sequence.write(), from.sequence.write_after(floor));
                into.slot.store(0, Relaxed);
                from.slot.store(1, Relaxed);
                shape.store(2, Release);
                drop(writing);
            }
        });
        if let Some(slot) = table.look() {
            assert_eq!(slot, 1, "not found");
        }
        writer.join().expect("no panic");
        assert_eq!(table.look(), Some(1));
    });
}

#[test]
fn a_slot_hint_does_not_come_true_again_when_the_buckets_memory_was_given_back() {
    loom::model(|| {
        let bucket = Arc::new(Bucket::new(1, 0));
        drop(bucket.sequence.write());
        let writer = loom::thread::spawn({
            let bucket = Arc::clone(&bucket);
            move || {
                // Merged, given back, and split off with another key.
                {
                    let _writing = bucket.sequence.write();
                    bucket.slot.store(0, Relaxed);
                }
                let floor = bucket.sequence.later(0);
                bucket.sequence.zero();
                bucket.memory.iter().for_each(|word| word.store(0, Relaxed));
                fence(Release);
                bucket.memory.iter().for_each(|word| word.store(7, Relaxed));
                let _writing = bucket.sequence.write_after(floor);
                bucket.slot.store(2, Relaxed);
            }
        });
        // A hint is not taken under the number 0, see `Index::slot_hint`.
        if let Some(first) = bucket.sequence.try_begin().filter(|&first| first != 0) {
            let slot = bucket.slot.load(Relaxed);
            let value = bucket.memory[0].load(Relaxed);
            if slot == 1 && bucket.sequence.unchanged(first) {
                assert_eq!(value, 0, "another key's value");
            }
        }
        writer.join().expect("no panic");
    });
}
