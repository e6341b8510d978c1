//! From a key's hash to its entry's place: linear hashing over buckets of one cache line.
//!
//! The table grows in place, one bucket at a time: bucket `n` takes over its keys from the bucket
//! whose number is `n` without its highest bit. It shrinks the same way, the last bucket's keys going
//! back to where they came from. There is no second table and no pause. A reader computes the bucket
//! from the number of buckets, takes that bucket's sequence number, and then makes sure that the
//! number of buckets still leads to the same one; a split or a merge changes the sequence words of
//! both buckets and publishes the new number in between.
//!
//! The memory of buckets that were merged is given back, and reads as zeroes from then on. So no
//! bucket ever has the sequence number 0 when it has keys, and a bucket that comes into use again goes
//! on from the highest number that any merged one had.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{Line, SLOTS, Slot};
use super::budget::Budget;
use super::lines::{CHUNK_LINES, Lines};
use super::memory::Region;
use super::prefault::Prefaulter;

/// Buckets of a table that was never written to.
const BUCKETS_MIN: usize = CHUNK_LINES;

/// The table is to have so many slots in use, of a hundred. More takes longer chains, less takes
/// more memory.
const LOAD_PERCENT_MAX: usize = 50;

/// With fewer slots in use, of a hundred, it shrinks. Half of the keys that made it grow must go before
/// that, so that it does not grow and shrink in turn.
const LOAD_PERCENT_MIN: usize = 25;

/// Overflow lines that there is address space for, as a share of the buckets: at the highest load, one
/// in ten is needed.
const OVERFLOW_SHARE: usize = 4;

/// Chains are this long at most for a reader that has not been led astray by a writer.
const CHAIN_LINES_MAX: usize = 1 << 10;

/// The table, shared with readers.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) lines: Region<Line>,
    pub(super) overflow: Region<Line>,
    shape: AtomicU64,
}

/// Where a writer has found a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    head: &'a Line,
    line: &'a Line,
    at: usize,
    pub(super) slot: Slot,
}

/// A slot of a bucket's first line as it was seen, and under which sequence number. As long as the
/// bucket has that number, the slot says where its key is. Only a hint, which may be outdated: it is
/// validated before anything is concluded from it.
#[derive(Debug, Clone, Copy)]
pub struct SlotHint {
    /// Empty if there is none.
    pub(super) slot: Slot,
    bucket: u32,
    at: u32,
    sequence: u32,
}

impl SlotHint {
    /// No hint.
    pub const NONE: Self = Self { slot: Slot::EMPTY, bucket: 0, at: 0, sequence: 1 };
}

impl Found<'_> {
    /// Records a hit.
    pub(super) fn mark(&self) {
        self.line.mark(self.at, self.slot);
    }
}

/// How many buckets there are, and the mask of the hash's bits that choose among them, in one
/// word: `mask << 32 | buckets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape(u64);

impl Shape {
    fn new(buckets: usize) -> Self {
        let mask = buckets.next_power_of_two() as u64 - 1;
        Self(mask << 32 | buckets as u64)
    }

    #[inline]
    fn buckets(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    fn bucket_of(self, hash: u64) -> usize {
        let mask = (self.0 >> 32) as usize;
        let bucket = hash as usize & mask;
        if bucket < self.buckets() { bucket } else { bucket & (mask >> 1) }
    }
}

/// Neither the bits that choose the bucket nor those that choose the partition, in practice.
#[inline]
pub(super) fn tag_of(hash: u64) -> u16 {
    (hash >> 32) as u16
}

/// The bucket that another one is split off, and merged with.
fn parent_of(bucket: usize) -> usize {
    bucket & ((bucket + 1).next_power_of_two() / 2 - 1)
}

impl Index {
    /// Reserves address space for a store of so many bytes.
    pub(super) fn reserve(bytes_max: u64, prefaulter: Option<&Prefaulter>) -> io::Result<Self> {
        // The smallest entries, of two words, could do with somewhat more than half of the store for
        // their index at half load; the chains grow instead.
        let lines = usize::try_from(bytes_max / 2).map_err(|_| io::ErrorKind::InvalidInput)?
            / size_of::<Line>();
        Ok(Self {
            lines: Region::reserve(lines.max(BUCKETS_MIN), prefaulter)?,
            overflow: Region::reserve((lines / OVERFLOW_SHARE).max(CHUNK_LINES), None)?,
            shape: AtomicU64::new(Shape::new(BUCKETS_MIN).0),
        })
    }

    #[inline]
    fn shape(&self) -> Shape {
        Shape(self.shape.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        self.lines.prefetch(self.shape().bucket_of(hash));
    }

    /// Looks for a slot with the key's tag, without making sure that the entry is the key's.
    #[inline]
    pub(super) fn slot_hint(&self, hash: u64) -> SlotHint {
        let bucket = self.shape().bucket_of(hash);
        let line = &self.lines[bucket];
        // The number 0 may come again, see above; what was never written to holds nothing.
        let sequence = line.sequence.try_begin().filter(|&sequence| sequence != 0);
        let (Some(sequence), Some(at)) = (sequence, line.with_tag(tag_of(hash)).next()) else {
            return SlotHint::NONE;
        };
        SlotHint { slot: line.slot(at), bucket: bucket as u32, at: at as u32, sequence }
    }

    /// Whether the hint is still true, and with it all that was read of the entry since it was made.
    /// Records a hit if it is.
    #[inline]
    pub(super) fn validate(&self, hint: SlotHint) -> bool {
        let line = &self.lines[hint.bucket as usize];
        let valid = line.sequence.unchanged(hint.sequence);
        if valid {
            line.mark(hint.at as usize, hint.slot);
        }
        valid
    }

    /// Offers the slots with the key's tag to `probe` until it takes one, and records a hit on
    /// that. Started over when a writer was in the way: what `probe` did before is then void.
    pub(super) fn read<R>(&self, hash: u64, mut probe: impl FnMut(Slot) -> Option<R>) -> Option<R> {
        loop {
            let shape = Shape(self.shape.load(Ordering::Acquire));
            let bucket = shape.bucket_of(hash);
            let head = &self.lines[bucket];
            let first = head.sequence.begin();
            let now = self.shape();
            if now != shape && now.bucket_of(hash) != bucket {
                continue;
            }
            let found = self.probe(head, tag_of(hash), &mut probe);
            if head.sequence.unchanged(first) {
                let (line, at, slot, result) = found?;
                line.mark(at, slot);
                return Some(result);
            }
        }
    }

    #[inline]
    fn probe<'a, R>(
        &'a self,
        head: &'a Line,
        tag: u16,
        mut probe: impl FnMut(Slot) -> Option<R>,
    ) -> Option<(&'a Line, usize, Slot, R)> {
        let mut line = head;
        // A line that was unlinked and used again may lead a reader in circles.
        for _ in 0..CHAIN_LINES_MAX {
            for at in line.with_tag(tag) {
                let slot = line.slot(at);
                if !slot.is_empty()
                    && let Some(result) = probe(slot)
                {
                    return Some((line, at, slot, result));
                }
            }
            line = self.next(line)?;
        }
        None
    }

    #[inline]
    fn next(&self, line: &Line) -> Option<&Line> {
        match line.link.load(Ordering::Relaxed) {
            0 => None,
            next => Some(&self.overflow[next as usize]),
        }
    }

    #[inline]
    fn head(&self, hash: u64) -> &Line {
        &self.lines[self.shape().bucket_of(hash)]
    }

    /// Finds the slot that `is` says is the right one, for a writer.
    pub(super) fn find(
        &self,
        hash: u64,
        hint: SlotHint,
        mut is: impl FnMut(Slot) -> bool,
    ) -> Option<Found<'_>> {
        let seen = &self.lines[hint.bucket as usize];
        if !hint.slot.is_empty() && seen.sequence.unchanged(hint.sequence) {
            // The slot as it is now: its mark may have changed meanwhile.
            let (at, slot) = (hint.at as usize, seen.slot(hint.at as usize));
            if is(slot) {
                return Some(Found { head: seen, line: seen, at, slot });
            }
        }
        let (head, tag) = (self.head(hash), tag_of(hash));
        let mut line = head;
        loop {
            for at in line.with_tag(tag) {
                let slot = line.slot(at);
                if !slot.is_empty() && is(slot) {
                    return Some(Found { head, line, at, slot });
                }
            }
            line = self.next(line)?;
        }
    }

    /// Runs `change` while readers of the key's bucket are kept out.
    pub(super) fn change<R>(&self, found: Found<'_>, change: impl FnOnce() -> R) -> R {
        let _writing = found.head.sequence.write();
        change()
    }

    /// Puts another slot in the place of one that was found.
    pub(super) fn replace(&self, found: Found<'_>, slot: Slot) {
        let _writing = found.head.sequence.write();
        found.line.set(found.at, slot);
    }

    /// Sees to it that [`insert`](Self::insert) will find the lines that it needs: the first buckets,
    /// and an overflow line. False if the budget does not allow for them.
    pub(super) fn provide(&self, lines: &mut Lines, budget: &Budget) -> bool {
        self.lines.extend_to(BUCKETS_MIN, budget) && lines.provide(self, budget)
    }

    /// Sees to it that there is memory for one more bucket.
    pub(super) fn provide_bucket(&self, budget: &Budget) -> bool {
        self.lines.extend_to(self.shape().buckets() + 1, budget)
    }

    /// Adds a key that is not there yet. [`provide`](Self::provide) was called.
    pub(super) fn insert(&self, lines: &mut Lines, hash: u64, slot: Slot) {
        let head = self.head(hash);
        let _writing = head.sequence.write();
        self.append(lines, head, slot);
    }

    /// Puts a slot into the first gap of a chain, which the caller has locked.
    fn append(&self, lines: &mut Lines, head: &Line, slot: Slot) {
        let mut line = head;
        loop {
            if let Some(at) = (0..SLOTS).find(|&at| line.slot(at).is_empty()) {
                return line.set(at, slot);
            }
            match self.next(line) {
                Some(next) => line = next,
                None => break,
            }
        }
        let number = lines.take(self);
        let next = &self.overflow[number as usize];
        (0..SLOTS).for_each(|at| next.set(at, Slot::EMPTY));
        next.set(0, slot);
        next.link.store(0, Ordering::Relaxed);
        line.link.store(number, Ordering::Relaxed);
    }

    /// Takes a key out. The chain's last key takes its slot, so that chains have no gaps.
    pub(super) fn remove(&self, lines: &mut Lines, budget: &Budget, found: Found<'_>) {
        let _writing = found.head.sequence.write();
        let (mut before, mut last) = (None, found.line);
        while let Some(next) = self.next(last) {
            (before, last) = (Some(last), next);
        }
        // Slots are filled from the front, so the last one in use is the last of the chain.
        let end = (0..SLOTS).rev().find(|&at| !last.slot(at).is_empty()).unwrap_or(0);
        found.line.set(found.at, last.slot(end));
        last.set(end, Slot::EMPTY);
        if end > 0 || std::ptr::eq(last, found.head) {
            return;
        }
        let before = before.unwrap_or_else(|| self.before(found.head, last));
        let number = before.link.swap(0, Ordering::Relaxed);
        lines.put(self, budget, number);
    }

    /// The line whose link leads to `last`.
    fn before<'a>(&'a self, head: &'a Line, last: &Line) -> &'a Line {
        let mut line = head;
        while let Some(next) = self.next(line) {
            if std::ptr::eq(next, last) {
                return line;
            }
            line = next;
        }
        line
    }

    /// Whether so many keys call for another bucket, and there is address space for it.
    pub(super) fn is_crowded(&self, keys: u64) -> bool {
        let buckets = self.shape().buckets();
        keys as usize * 100 > buckets * SLOTS * LOAD_PERCENT_MAX && buckets < self.lines.len()
    }

    /// Whether so few keys call for a bucket less.
    #[inline]
    pub(super) fn is_sparse(&self, keys: u64) -> bool {
        let buckets = self.shape().buckets();
        (keys as usize) * 100 < buckets * SLOTS * LOAD_PERCENT_MIN && buckets > BUCKETS_MIN
    }

    /// Splits one bucket in two. `hash_of` reads the hash of a slot's key; `prefetch` is called
    /// for all of them before. [`provide_bucket`](Self::provide_bucket) was called.
    pub(super) fn split(
        &self,
        lines: &mut Lines,
        budget: &Budget,
        prefetch: impl Fn(Slot),
        hash_of: impl Fn(Slot) -> u64,
    ) {
        let buckets = self.shape().buckets();
        let (old, new) = (&self.lines[parent_of(buckets)], &self.lines[buckets]);
        let _writing = (old.sequence.write(), new.sequence.write_after(lines.floor));
        let mut slots = std::mem::take(&mut lines.scratch);
        self.drain(lines, budget, old, &mut slots);
        slots.iter().for_each(|&slot| prefetch(slot));
        let shape = Shape::new(buckets + 1);
        for slot in slots.drain(..) {
            let goes = shape.bucket_of(hash_of(slot)) == buckets;
            self.append(lines, if goes { new } else { old }, slot);
        }
        lines.scratch = slots;
        self.shape.store(shape.0, Ordering::Release);
    }

    /// Puts the last bucket's keys back into the one that they came from. [`provide`](Self::provide)
    /// was called.
    pub(super) fn merge(&self, lines: &mut Lines, budget: &Budget) {
        let last = self.shape().buckets() - 1;
        let (into, from) = (&self.lines[parent_of(last)], &self.lines[last]);
        let writing = (into.sequence.write(), from.sequence.write());
        let mut slots = std::mem::take(&mut lines.scratch);
        self.drain(lines, budget, from, &mut slots);
        slots.drain(..).for_each(|slot| self.append(lines, into, slot));
        lines.scratch = slots;
        // Whoever sees that nobody writes to the last bucket any more also sees that it is none.
        self.shape.store(Shape::new(last).0, Ordering::Release);
        drop(writing);
        lines.floor = from.sequence.later(lines.floor);
        // The next ones, by when they are needed.
        self.lines.prefetch(last - 1);
        self.lines.prefetch(parent_of(last - 1));
    }

    /// Gives memory back that buckets were merged out of, a piece at a time. Whether there was any.
    pub(super) fn give_back(&self, budget: &Budget) -> bool {
        self.lines.shrink_to(self.shape().buckets().max(BUCKETS_MIN), budget)
    }

    /// Empties a chain, which the caller has locked, and puts its lines back.
    fn drain(&self, lines: &mut Lines, budget: &Budget, head: &Line, slots: &mut Vec<Slot>) {
        let mut line = head;
        loop {
            for at in 0..SLOTS {
                let slot = line.slot(at);
                if !slot.is_empty() {
                    slots.push(slot);
                    line.set(at, Slot::EMPTY);
                }
            }
            let Some(next) = self.next(line) else { break };
            line = next;
        }
        let mut number = head.link.swap(0, Ordering::Relaxed);
        while number != 0 {
            let next = self.overflow[number as usize].link.load(Ordering::Relaxed);
            lines.put(self, budget, number);
            number = next;
        }
    }
}
