//! The index under hashes that nobody can make who does not know the seed, and numbers that take
//! years to come to.

use std::collections::HashMap;

use super::bucket::Slot;
use super::budget::Budget;
use super::index::{BUCKETS_MIN, Index, SlotHint, tag_of};
use super::index_writer::IndexWriter;

/// An index, and what is in it: the hash of each place.
struct Model {
    index: Index,
    writer: IndexWriter,
    budget: Budget,
    hashes: HashMap<u64, u64>,
}

impl Model {
    /// All sequence numbers begin with this one.
    fn new(number: u32) -> Self {
        let (budget, mut writer) = (Budget::new(16 << 20), IndexWriter::new());
        let index = Index::reserve(16 << 20, None).expect("address space");
        assert!(writer.make_room(&index, &budget));
        index.lines[..BUCKETS_MIN].iter().for_each(|line| line.sequence.set(number));
        writer.floor = number;
        Self { index, writer, budget, hashes: HashMap::new() }
    }

    fn insert(&mut self, place: u64, hash: u64) {
        let Self { index, writer, budget, hashes } = self;
        assert!(writer.make_room(index, budget));
        writer.insert(index, hash, Slot::new(tag_of(hash), 0, place));
        hashes.insert(place, hash);
        writer.grow(index, budget, |_| (), |slot| hashes[&slot.place()]);
    }

    fn remove(&mut self, place: u64) {
        let Self { index, writer, budget, hashes } = self;
        let hash = hashes.remove(&place).expect("a place");
        let is = |slot: Slot| (slot.place() == place).then_some(());
        let (found, ()) = index.find(hash, is).expect("it is there");
        writer.remove(index, budget, found);
        writer.shrink(index, budget);
    }

    fn hint(&self, place: u64) -> SlotHint {
        let hash = self.hashes[&place];
        self.index.slot_hint(hash, self.index.prefetch(hash))
    }

    /// What was seen is still so, if it is said to be.
    fn check_hint(&self, hint: SlotHint) {
        if !hint.slot.is_empty() && self.index.validate(&hint) {
            let place = hint.slot.place();
            let hash = self.hashes.get(&place).expect("an outdated hint is valid");
            let is = |slot: Slot| (slot.place() == place).then_some(());
            let found = self.index.find(*hash, is);
            assert!(found.is_some());
        }
    }

    fn check(&self) {
        for (&place, &hash) in &self.hashes {
            let read = self.index.read(hash, |slot| (slot.place() == place).then_some(place));
            assert_eq!(read, Some(place));
        }
    }
}

/// Hashes that somebody made who knows the seed: all of one bucket however many there are, with
/// one tag or several.
fn collide(number: u32) {
    const KEYS: u64 = 440;
    for tags in [1, 3, KEYS] {
        let mut model = Model::new(number);
        let mut hints = Vec::new();
        // Others, so that the table grows and shrinks around them.
        let other = |place: u64| place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for place in 1..=KEYS {
            model.insert(place, (place % tags) << 32 | 5);
            hints.push(model.hint(place));
        }
        for place in 10_001..=14_000 {
            model.insert(place, other(place));
            hints.push(model.hint(place));
        }
        model.check();
        hints.iter().for_each(|&hint| model.check_hint(hint));
        for place in (10_001..=14_000).rev() {
            model.remove(place);
            if place % 500 == 0 {
                hints.iter().for_each(|&hint| model.check_hint(hint));
            }
        }
        model.check();
        // In an order of its own, with the table as small as it gets.
        for place in (1..=KEYS).map(|n| n * 7 % KEYS + 1) {
            if model.hashes.contains_key(&place) {
                model.remove(place);
            }
        }
        model.check();
        hints.iter().for_each(|&hint| model.check_hint(hint));
    }
}

#[test]
fn keys_of_one_bucket_are_found_through_splits_and_merges() {
    collide(0);
}

#[test]
fn sequence_numbers_may_wrap_around() {
    // Some dozens to some hundreds of writes before the end.
    for before in [2, 40, 400, 1200] {
        collide(0u32.wrapping_sub(before));
    }
}
