//! What the writers of a partition do to its index: slots come and go, and the table grows and
//! shrinks by a bucket at a time with the number of keys.

use super::atomic::Ordering;
use super::bucket::{Line, SLOTS, Slot};
use super::budget::Budget;
use super::index::{BUCKETS_MIN, Found, Index, Shape};
use super::lines::Lines;

/// The table is to have so many slots in use, of a hundred. More takes longer chains, less takes
/// more memory.
const LOAD_PERCENT_MAX: usize = 50;

/// With fewer slots in use, of a hundred, it shrinks. Half of the keys that made it grow must go before
/// that, so that it does not grow and shrink in turn.
const LOAD_PERCENT_MIN: usize = 25;

/// What only writers know of the index. All operations are for the one [`Index`] that it belongs to.
#[derive(Debug)]
pub(super) struct IndexWriter {
    lines: Lines,
    keys: u64,
    /// The highest sequence number of a bucket that was merged with another. Its line may have been
    /// given back, and with it the number, which must not come again.
    pub(super) floor: u32,
    /// Slots on their way from one bucket to another. Kept for its capacity.
    scratch: Vec<Slot>,
}

/// The bucket that another one is split off, and merged with.
fn parent_of(bucket: usize) -> usize {
    bucket & ((bucket + 1).next_power_of_two() / 2 - 1)
}

impl IndexWriter {
    pub(super) fn new() -> Self {
        Self { lines: Lines::new(), keys: 0, floor: 0, scratch: Vec::new() }
    }

    /// Keys in the index.
    #[inline]
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// Sees to it that one more key will find the lines that it needs: the first buckets, an overflow
    /// line, and a new bucket if it is the key that calls for one. False if the budget does not allow
    /// for them.
    pub(super) fn make_room(&mut self, index: &Index, budget: &Budget) -> bool {
        let is_crowded = is_crowded(index, self.keys + 1);
        self.provide(index, budget) && (!is_crowded || provide_bucket(index, budget))
    }

    /// The first buckets, and an overflow line.
    fn provide(&mut self, index: &Index, budget: &Budget) -> bool {
        index.lines.extend_to(BUCKETS_MIN, budget) && self.lines.provide(&index.overflow, budget)
    }

    /// Adds a key that is not there yet. [`make_room`](Self::make_room) was called.
    pub(super) fn insert(&mut self, index: &Index, hash: u64, slot: Slot) {
        let head = index.head(hash);
        let _writing = head.sequence.write();
        self.append(index, head, slot);
        self.keys += 1;
    }

    /// Puts a slot into the first gap of a chain, which the caller has locked.
    fn append(&mut self, index: &Index, head: &Line, slot: Slot) {
        let mut line = head;
        loop {
            if let Some(at) = (0..SLOTS).find(|&at| line.slot(at).is_empty()) {
                return line.set(at, slot);
            }
            match index.next(line) {
                Some(next) => line = next,
                None => break,
            }
        }
        let number = self.lines.take(&index.overflow);
        let next = &index.overflow[number as usize];
        (0..SLOTS).for_each(|at| next.set(at, Slot::EMPTY));
        next.set(0, slot);
        next.link.store(0, Ordering::Relaxed);
        line.link.store(number, Ordering::Relaxed);
    }

    /// Takes a key out. The chain's last key takes its slot, so that chains have no gaps.
    pub(super) fn remove(&mut self, index: &Index, budget: &Budget, found: Found<'_>) {
        let _writing = found.head.sequence.write();
        self.keys -= 1;
        let (mut before, mut last) = (None, found.line);
        while let Some(next) = index.next(last) {
            (before, last) = (Some(last), next);
        }
        // Slots are filled from the front, so the last one in use is the last of the chain.
        let end = (0..SLOTS).rev().find(|&at| !last.slot(at).is_empty()).unwrap_or(0);
        found.line.set(found.at, last.slot(end));
        last.set(end, Slot::EMPTY);
        if end > 0 || std::ptr::eq(last, found.head) {
            return;
        }
        let before = before.unwrap_or_else(|| line_before(index, found.head, last));
        let number = before.link.swap(0, Ordering::Relaxed);
        self.lines.put(&index.overflow, budget, number);
    }

    /// Splits a bucket in two if there are many keys for so few, and memory for one more. `hash_of`
    /// reads the hash of a slot's key; `prefetch` is called for all of them before.
    pub(super) fn grow(
        &mut self,
        index: &Index,
        budget: &Budget,
        prefetch: impl Fn(Slot),
        hash_of: impl Fn(Slot) -> u64,
    ) {
        if is_crowded(index, self.keys) && provide_bucket(index, budget) {
            self.split(index, budget, prefetch, hash_of);
        }
    }

    /// Splits one bucket in two, for which there is memory.
    fn split(
        &mut self,
        index: &Index,
        budget: &Budget,
        prefetch: impl Fn(Slot),
        hash_of: impl Fn(Slot) -> u64,
    ) {
        let buckets = index.shape().buckets();
        let (old, new) = (&index.lines[parent_of(buckets)], &index.lines[buckets]);
        let _writing = (old.sequence.write(), new.sequence.write_after(self.floor));
        let mut slots = std::mem::take(&mut self.scratch);
        self.drain(index, budget, old, &mut slots);
        slots.iter().for_each(|&slot| prefetch(slot));
        let shape = Shape::new(buckets + 1);
        for slot in slots.drain(..) {
            let goes = shape.bucket_of(hash_of(slot)) == buckets;
            self.append(index, if goes { new } else { old }, slot);
        }
        self.scratch = slots;
        index.set_shape(shape);
    }

    /// Takes a bucket out of the index if there are few keys for so many. Whether there were.
    #[inline]
    pub(super) fn shrink(&mut self, index: &Index, budget: &Budget) -> bool {
        is_sparse(index, self.keys) && self.merge(index, budget)
    }

    /// Puts the last bucket's keys back into the one that they came from, unless there is no memory
    /// for the line that it may take.
    #[cold]
    fn merge(&mut self, index: &Index, budget: &Budget) -> bool {
        if !self.provide(index, budget) {
            return false;
        }
        let last = index.shape().buckets() - 1;
        let (into, from) = (&index.lines[parent_of(last)], &index.lines[last]);
        let writing = (into.sequence.write(), from.sequence.write());
        let mut slots = std::mem::take(&mut self.scratch);
        self.drain(index, budget, from, &mut slots);
        slots.drain(..).for_each(|slot| self.append(index, into, slot));
        self.scratch = slots;
        // Whoever sees that nobody writes to the last bucket any more also sees that it is none.
        index.set_shape(Shape::new(last));
        drop(writing);
        self.floor = from.sequence.later(self.floor);
        // The next ones, by when they are needed.
        index.lines.prefetch(last - 1);
        index.lines.prefetch(parent_of(last - 1));
        give_back(index, budget);
        true
    }

    /// Empties a chain, which the caller has locked, and puts its lines back.
    fn drain(&mut self, index: &Index, budget: &Budget, head: &Line, slots: &mut Vec<Slot>) {
        let mut line = head;
        loop {
            for at in 0..SLOTS {
                let slot = line.slot(at);
                if !slot.is_empty() {
                    slots.push(slot);
                    line.set(at, Slot::EMPTY);
                }
            }
            let Some(next) = index.next(line) else { break };
            line = next;
        }
        let mut number = head.link.swap(0, Ordering::Relaxed);
        while number != 0 {
            let next = index.overflow[number as usize].link.load(Ordering::Relaxed);
            self.lines.put(&index.overflow, budget, number);
            number = next;
        }
    }

    /// Checks the invariants of the index, and gives each slot in use to `each`, with the number of
    /// the bucket that it is in.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self, index: &Index, mut each: impl FnMut(usize, Slot)) {
        let buckets = index.shape().buckets();
        let (mut keys, mut overflow_lines) = (0, 0);
        for bucket in 0..buckets {
            let head = &index.lines[bucket];
            assert!(!head.sequence.is_odd(), "one writer: bucket {bucket} is being written to");
            let (mut line, mut has_gap) = (head, false);
            loop {
                for slot in (0..SLOTS).map(|at| line.slot(at)) {
                    assert!(slot.is_empty() || !has_gap, "chains have no gaps: bucket {bucket}");
                    has_gap |= slot.is_empty();
                    if !slot.is_empty() {
                        keys += 1;
                        each(bucket, slot);
                    }
                }
                let Some(next) = index.next(line) else { break };
                assert!(!next.slot(0).is_empty(), "chains have no gaps: an empty line");
                (line, overflow_lines) = (next, overflow_lines + 1);
            }
            let holds = !head.slot(0).is_empty();
            assert!(
                !holds || !head.sequence.is_zero(),
                "a slot hint is of one bucket: bucket {bucket} has keys under the number 0"
            );
        }
        assert_eq!(keys, self.keys, "an entry has exactly one slot: keys counted and found");
        assert_eq!(self.lines.in_use(), overflow_lines, "overflow lines in use are linked");
        for bucket in buckets..index.lines.charged_len() {
            let sequence = &index.lines[bucket].sequence;
            assert!(
                sequence.later(self.floor) == self.floor,
                "no sequence number comes again: the one of bucket {bucket} is above the floor"
            );
        }
    }
}

/// Gives memory back that buckets were merged out of, a piece at a time. Whether there was any.
pub(super) fn give_back(index: &Index, budget: &Budget) -> bool {
    index.lines.shrink_to(index.shape().buckets().max(BUCKETS_MIN), budget)
}

/// Sees to it that there is memory for one more bucket.
fn provide_bucket(index: &Index, budget: &Budget) -> bool {
    index.lines.extend_to(index.shape().buckets() + 1, budget)
}

/// Whether so many keys call for another bucket, and there is address space for it.
fn is_crowded(index: &Index, keys: u64) -> bool {
    let buckets = index.shape().buckets();
    keys as usize * 100 > buckets * SLOTS * LOAD_PERCENT_MAX && buckets < index.lines.len()
}

/// Whether so few keys call for a bucket less.
#[inline]
fn is_sparse(index: &Index, keys: u64) -> bool {
    let buckets = index.shape().buckets();
    (keys as usize) * 100 < buckets * SLOTS * LOAD_PERCENT_MIN && buckets > BUCKETS_MIN
}

/// The line whose link leads to `last`.
fn line_before<'a>(index: &'a Index, head: &'a Line, last: &Line) -> &'a Line {
    let mut line = head;
    while let Some(next) = index.next(line) {
        if std::ptr::eq(next, last) {
            return line;
        }
        line = next;
    }
    line
}
