//! The index in every order that the memory model allows: the store's own look-up, insertion, removal,
//! split and merge, over the model checker's atomics.
//!
//! The files of the index are compiled into this test beside a stand-in for what they lie in: memory
//! of a few lines, two of which the kernel would make resident at a time. What is not driven: entries
//! and pages, whose words and link are stood for by atomics that are written and read in the same order
//! (`entry::write`, `Entry::at`, `List::push`, `PageAllocator::free`), and the writers' mutex, since each
//! model has one writer.

#![allow(dead_code, unreachable_pub)] // The models need a part of the index's methods.

/// Stands in for `src/store/atomic.rs`.
mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    pub(crate) fn wait(_round: u32) {
        loom::thread::yield_now();
    }
}

/// Stands in for `src/store/budget.rs`: there is always enough.
mod budget {
    pub(crate) struct Budget;
}

/// Stands in for `src/store/mapping.rs`: two lines are charged together.
mod mapping {
    pub(crate) const SMALL_BYTES: usize = 2 * crate::bucket::LINE_BYTES;
}

/// Stands in for `src/store/tags.rs`, which reads the slots in a way that the model checker can't see.
mod tags {
    use super::bucket::{Line, SLOTS, TAG_SHIFT};

    pub(crate) fn slots_with(line: &Line, tag: u16) -> impl Iterator<Item = usize> {
        (0..SLOTS).filter(move |&at| line.slot(at).0 >> TAG_SHIFT == u64::from(tag))
    }
}

/// Stands in for `src/store/prefault.rs`.
mod prefault {
    pub(crate) struct Prefaulter;
}

/// Stands in for `src/store/memory.rs`: lines that turn back into zeroes when they are given back.
mod memory {
    use std::ops::{Deref, Range};
    use std::sync::atomic::AtomicUsize;

    use super::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};
    use super::bucket::Line;
    use super::budget::Budget;
    use super::lines::CHUNK_LINES;
    use super::prefault::Prefaulter;
    use super::sequence::Sequence;

    /// # Safety
    /// None is needed here: lines are made, and not found in zeroed memory.
    #[allow(unsafe_code)] // As in the store.
    pub(crate) unsafe trait Zeroed {}

    #[derive(Debug)]
    pub(crate) struct Region<T> {
        values: Vec<T>,
        charged: AtomicUsize,
    }

    impl Region<Line> {
        pub(crate) fn reserve(len: usize, _: Option<&Prefaulter>) -> std::io::Result<Self> {
            let line = || Line {
                sequence: Sequence::new(),
                link: AtomicU32::new(0),
                slots: std::array::from_fn(|_| AtomicU64::new(0)),
            };
            let values = (0..len).map(|_| line()).collect();
            Ok(Self { values, charged: AtomicUsize::new(0) })
        }

        pub(crate) fn extend_to(&self, end: usize, _: &Budget) -> bool {
            self.charged.fetch_max(end.next_multiple_of(CHUNK_LINES), Relaxed);
            end <= self.values.len()
        }

        pub(crate) fn shrink_to(&self, end: usize, budget: &Budget) -> bool {
            let charged = self.charged.load(Relaxed);
            if charged <= end.next_multiple_of(CHUNK_LINES) {
                return false;
            }
            self.charged.store(charged - CHUNK_LINES, Relaxed);
            self.give_back(charged - CHUNK_LINES..charged, budget)
        }

        pub(crate) fn give_back(&self, lines: Range<usize>, _: &Budget) -> bool {
            // Who sees the zeroes has been to the kernel for them, which orders that after what the
            // writer did before it gave the memory back.
            fence(Release);
            for line in &self.values[lines] {
                line.sequence.zero();
                line.link.store(0, Relaxed);
                line.slots.iter().for_each(|slot| slot.store(0, Relaxed));
            }
            true
        }

        pub(crate) fn take_back(&self, _: usize, _: &Budget) -> bool {
            true
        }

        pub(crate) fn charged_len(&self) -> usize {
            self.charged.load(Relaxed)
        }

        pub(crate) fn prefetch(&self, _: usize) {}
    }

    impl<T> Deref for Region<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.values
        }
    }
}

#[path = "../src/store/bucket.rs"]
mod bucket;
#[path = "../src/store/index.rs"]
#[allow(missing_docs)]
mod index;
#[path = "../src/store/index_writer.rs"]
mod index_writer;
#[path = "../src/store/lines.rs"]
mod lines;
#[path = "../src/store/sequence.rs"]
mod sequence;

use atomic::{AtomicU32, Ordering::*, fence};
use bucket::{FREQUENCY_MAX, SLOTS, Slot};
use budget::Budget;
use index::{Found, Index, tag_of};
use index_writer::IndexWriter;
use loom::sync::Arc;

/// Bytes of a store whose index has address space for four buckets.
const BYTES: u64 = 2 * 4 * bucket::LINE_BYTES as u64;

/// A key in bucket 0 of two, and in bucket 2 of three.
const MOVING: Key = Key { hash: 5 << 32 | 2, place: 8 };

/// Another one, for the same buckets and with the same place.
const OTHER: Key = Key { hash: 6 << 32 | 2, place: 8 };

/// Keys of the first bucket whose number is odd: they make the index grow, and stay where they are.
fn still(number: u64) -> Key {
    Key { hash: (10 + number) << 32 | 1, place: 100 + number }
}

#[derive(Clone, Copy)]
struct Key {
    hash: u64,
    place: u64,
}

/// What readers share with the writer.
struct Shared {
    index: Index,
    /// The words of the entry at place 8.
    memory: [AtomicU32; 2],
    /// Which of the two other pages comes behind that of the entry, and the word that each begins with.
    link: AtomicU32,
    next: [AtomicU32; 2],
}

/// The writer.
struct Writer {
    shared: Arc<Shared>,
    state: IndexWriter,
}

impl Writer {
    fn new() -> Self {
        let index = Index::reserve(BYTES, None).expect("memory");
        let words = || [AtomicU32::new(0), AtomicU32::new(0)];
        let link = AtomicU32::new(0);
        let shared = Shared { index, memory: words(), link, next: words() };
        Self { shared: Arc::new(shared), state: IndexWriter::new() }
    }

    fn insert(&mut self, key: Key) {
        let index = &self.shared.index;
        assert!(self.state.make_room(index, &Budget), "there is enough");
        // At its height, the frequency is not written to by readers. Of a write that another thread is
        // known to come after, the model checker may still show the value, other than the memory model.
        let slot = Slot::new(tag_of(key.hash), FREQUENCY_MAX, key.place);
        self.state.insert(index, key.hash, slot);
    }

    fn find(&self, key: Key) -> Found<'_> {
        let is = |slot: Slot| (slot.place() == key.place).then_some(());
        self.shared.index.find(key.hash, is).expect("it is there").0
    }

    fn remove(&mut self, key: Key) {
        let shared = Arc::clone(&self.shared);
        let is = |slot: Slot| (slot.place() == key.place).then_some(());
        let (found, ()) = shared.index.find(key.hash, is).expect("it is there");
        self.state.remove(&shared.index, &Budget, found);
    }

    /// Splits a bucket if there are keys enough, and says how many there are then.
    fn grow(&mut self) -> usize {
        let hash_of = |slot: Slot| match slot.place() {
            8 => MOVING.hash,
            place => still(place - 100).hash,
        };
        self.state.grow(&self.shared.index, &Budget, |_| (), hash_of);
        self.shared.index.shape().buckets()
    }

    /// Merges two buckets if there are few keys enough, and says how many there are then.
    fn shrink(&mut self) -> usize {
        self.state.shrink(&self.shared.index, &Budget);
        self.shared.index.shape().buckets()
    }

    /// Puts a page behind that of the entry, as a queue does with a fresh one, and the allocator with a freed
    /// one.
    fn link(&self, page: u32) {
        self.shared.link.store(page, Relaxed);
    }

    /// Writes a word into one of the two pages, as `entry::write` does it.
    fn write_rest(&self, page: usize, word: u32) {
        fence(Release);
        self.shared.next[page].store(word, Relaxed);
    }

    /// Writes another entry's words where one was, as `entry::write` does it.
    fn reuse_memory(&self) {
        fence(Release);
        self.shared.memory.iter().for_each(|word| word.store(7, Relaxed));
    }
}

impl Shared {
    /// Both words of a key's entry, read as the store reads it.
    fn read(&self, key: Key) -> Option<[u32; 2]> {
        self.index.read(key.hash, |slot| {
            let is_there = slot.place() == key.place;
            is_there.then(|| [0, 1].map(|at: usize| self.memory[at].load(Relaxed)))
        })
    }

    /// The word in the next page of a key's entry, read as the store reads an entry that crosses pages.
    fn read_rest(&self, key: Key) -> Option<u32> {
        self.index.read(key.hash, |slot| {
            let is_there = slot.place() == key.place;
            is_there.then(|| self.next[self.link.load(Relaxed) as usize].load(Relaxed))
        })
    }
}

/// Which of the two has the main thread. The model checker explores the orders from where that one
/// runs first, and does not find the same ones from the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Reader,
    Writer,
}

/// So often one thread may be stopped in the middle of its work. Without the limit, the longest models
/// take hours.
const PREEMPTIONS_MAX: usize = 2;

/// Runs a writer beside a reader, in every order.
fn model(
    first: First,
    prepare: impl Fn(&mut Writer) + Sync + Send + 'static,
    write: impl Fn(&mut Writer) + Sync + Send + 'static + Copy,
    read: impl Fn(&Shared) + Sync + Send + 'static + Copy,
) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(move || {
        let mut writer = Writer::new();
        prepare(&mut writer);
        let shared = Arc::clone(&writer.shared);
        let thread = if first == First::Writer {
            let thread = loom::thread::spawn(move || read(&shared));
            write(&mut writer);
            thread
        } else {
            let thread = loom::thread::spawn(move || write(&mut writer));
            read(&shared);
            thread
        };
        thread.join().expect("no panic");
    });
}

/// Keys enough for another bucket, one of them the one that moves to it.
fn fill(writer: &mut Writer) {
    writer.insert(MOVING);
    (0..SLOTS as u64).for_each(|number| writer.insert(still(number)));
}

/// Three buckets, and keys for two.
fn fill_and_thin(writer: &mut Writer) {
    fill(writer);
    assert_eq!(writer.grow(), 3);
    (0..3).for_each(|number| writer.remove(still(number)));
}

#[test]
fn a_value_overwritten_in_place_is_never_torn() {
    model(
        First::Writer,
        |writer| writer.insert(MOVING),
        |writer| {
            let memory = &writer.shared.memory;
            let found = writer.find(MOVING);
            let _writing = found.write();
            memory.iter().for_each(|word| word.store(1, Relaxed));
        },
        |shared| {
            let [first, second] = shared.read(MOVING).expect("it is there");
            assert_eq!(first, second);
        },
    );
}

#[test]
fn memory_used_again_after_a_removal_is_never_taken_for_the_entry() {
    model(
        First::Writer,
        |writer| writer.insert(MOVING),
        |writer| {
            writer.remove(MOVING);
            writer.reuse_memory();
        },
        |shared| {
            let value = shared.read(MOVING);
            assert!(value.is_none_or(|words| words == [0, 0]), "another's: {value:?}");
        },
    );
}

#[test]
fn an_entry_goes_on_in_the_page_that_was_linked_before_it_was_there() {
    model(
        First::Writer,
        |_| (),
        |writer| {
            writer.link(1);
            writer.write_rest(1, 7);
            writer.insert(MOVING);
        },
        |shared| {
            let rest = shared.read_rest(MOVING);
            assert!(rest.is_none_or(|word| word == 7), "another page's: {rest:?}");
        },
    );
}

#[test]
fn the_page_behind_an_entry_that_was_removed_is_never_taken_for_its_rest() {
    model(
        First::Writer,
        |writer| {
            writer.write_rest(1, 7);
            writer.insert(MOVING);
        },
        |writer| {
            writer.remove(MOVING);
            // Of two pages that are freed, one is linked to the other. There is no fence of its own for that.
            writer.link(1);
            writer.write_rest(0, 8);
        },
        |shared| {
            let rest = shared.read_rest(MOVING);
            assert!(rest.is_none_or(|word| word == 0), "another page's: {rest:?}");
        },
    );
}

#[test]
fn a_key_is_found_while_its_bucket_is_split() {
    model(
        First::Writer,
        fill,
        |writer| assert_eq!(writer.grow(), 3),
        |shared| assert!(shared.read(MOVING).is_some(), "not found"),
    );
}

#[test]
fn a_key_is_found_while_its_bucket_is_merged() {
    model(
        First::Writer,
        fill_and_thin,
        |writer| assert_eq!(writer.shrink(), 2),
        |shared| assert!(shared.read(MOVING).is_some(), "not found"),
    );
}

#[test]
fn a_key_is_found_while_its_bucket_is_merged_and_split_again() {
    model(
        First::Reader,
        fill_and_thin,
        |writer| {
            assert_eq!(writer.shrink(), 2);
            (0..3).for_each(|number| writer.insert(still(number)));
            assert_eq!(writer.grow(), 3);
        },
        |shared| assert!(shared.read(MOVING).is_some(), "not found"),
    );
}

#[test]
fn a_key_is_found_while_it_takes_the_slot_of_one_that_is_removed() {
    model(
        First::Writer,
        |writer| (0..=SLOTS as u64).for_each(|number| writer.insert(still(number))),
        |writer| writer.remove(still(2)),
        |shared| {
            let last = still(SLOTS as u64);
            assert!(shared.read(last).is_some(), "not found");
        },
    );
}

#[test]
fn a_slot_hint_does_not_come_true_again_when_the_buckets_memory_was_given_back() {
    model(
        First::Reader,
        fill_and_thin,
        |writer| {
            writer.remove(MOVING);
            assert_eq!(writer.shrink(), 2);
            writer.reuse_memory();
            writer.insert(OTHER);
            (0..3).for_each(|number| writer.insert(still(number)));
            assert_eq!(writer.grow(), 3);
        },
        |shared| {
            let hint = shared.index.prefetch(MOVING.hash);
            let hint = shared.index.slot_hint(MOVING.hash, hint);
            let value = shared.memory[0].load(Relaxed);
            if !hint.slot.is_empty() && shared.index.validate(&hint) {
                assert_eq!(value, 0, "another key's value");
            }
        },
    );
}
