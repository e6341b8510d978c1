//! From a key's hash to its entry's place: linear hashing over buckets of one cache line.
//!
//! The table grows in place, one bucket at a time: bucket `n` takes over its keys from the bucket
//! whose number is `n` without its highest bit. There is no second table and no pause. A reader
//! computes the bucket from the number of buckets, takes that bucket's sequence number, and then
//! makes sure that the number of buckets still leads to the same one; a split changes the
//! sequence words of both buckets and publishes the new number in between.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{Line, SLOTS, Slot};
use super::budget::Budget;
use super::memory::{Region, SMALL_BYTES};
use super::prefault::Prefaulter;

/// Lines that are charged to the budget together: what the kernel makes resident at a time.
const LINES_PER_CHARGE: usize = SMALL_BYTES / size_of::<Line>();

/// Buckets of a table that was never written to.
const BUCKETS_MIN: usize = LINES_PER_CHARGE;

/// The table is to have so many slots in use, of a hundred. More takes longer chains, less takes
/// more memory.
const LOAD_PERCENT_MAX: usize = 50;

/// Chains are this long at most for a reader that has not been led astray by a writer.
const CHAIN_LINES_MAX: usize = 1 << 10;

/// The table, shared with readers.
#[derive(Debug)]
pub(super) struct Index {
    lines: Region<Line>,
    overflow: Region<Line>,
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

/// A slot of a bucket's first line that somebody has seen, and under which sequence number. As long
/// as the bucket has that number, the key is where the slot says. Only a hint: it can be told whether
/// it still holds.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    /// Empty if nothing was seen.
    pub(super) slot: Slot,
    bucket: u32,
    at: u32,
    sequence: u32,
}

impl Sighting {
    /// Nothing was seen.
    pub const NONE: Self = Self { slot: Slot::EMPTY, bucket: 0, at: 0, sequence: 1 };
}

/// The lines that are not in use, kept by the writers of a partition.
#[derive(Debug)]
pub(super) struct Lines {
    /// Bucket lines that are charged.
    charged: usize,
    /// Overflow lines that were used before, linked.
    free: u32,
    /// Overflow lines from here on were never used. 0 means none in links.
    fresh: usize,
    overflow_charged: usize,
    scratch: Vec<Slot>,
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

impl Index {
    /// Reserves address space for a store of so many bytes.
    pub(super) fn reserve(bytes_max: u64, prefaulter: Option<&Prefaulter>) -> io::Result<Self> {
        // The smallest entries, of two words, could do with somewhat more than half of the store for
        // their index at half load; the chains grow instead.
        let lines = usize::try_from(bytes_max / 2).map_err(|_| io::ErrorKind::InvalidInput)?
            / size_of::<Line>();
        Ok(Self {
            lines: Region::reserve(lines.max(BUCKETS_MIN), prefaulter)?,
            overflow: Region::reserve(lines.max(BUCKETS_MIN), prefaulter)?,
            shape: AtomicU64::new(Shape::new(BUCKETS_MIN).0),
        })
    }

    #[inline]
    fn shape(&self) -> Shape {
        Shape(self.shape.load(Ordering::Relaxed))
    }

    /// Writes to the first line without changing it, so that it is resident on this core's node.
    pub(super) fn touch(&self) {
        // Not `fetch_or(0)`, which compilers turn into a mere load.
        let _ = self.lines[0].link.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        self.lines.prefetch(self.shape().bucket_of(hash));
    }

    /// Looks for a slot with the key's tag, without making sure that the entry is the key's.
    #[inline]
    pub(super) fn sight(&self, hash: u64) -> Sighting {
        let bucket = self.shape().bucket_of(hash);
        let line = &self.lines[bucket];
        let (Some(sequence), Some(at)) =
            (line.sequence.try_begin(), line.with_tag(tag_of(hash)).next())
        else {
            return Sighting::NONE;
        };
        Sighting { slot: line.slot(at), bucket: bucket as u32, at: at as u32, sequence }
    }

    /// Whether what was seen is still so, and with it all that was read of the entry since. Records
    /// a hit if it is.
    #[inline]
    pub(super) fn confirms(&self, sighting: Sighting) -> bool {
        let line = &self.lines[sighting.bucket as usize];
        let confirmed = line.sequence.unchanged(sighting.sequence);
        if confirmed {
            line.mark(sighting.at as usize, sighting.slot);
        }
        confirmed
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
        sighting: Sighting,
        mut is: impl FnMut(Slot) -> bool,
    ) -> Option<Found<'_>> {
        let seen = &self.lines[sighting.bucket as usize];
        if !sighting.slot.is_empty() && seen.sequence.unchanged(sighting.sequence) {
            // The slot as it is now: its mark may have changed meanwhile.
            let (at, slot) = (sighting.at as usize, seen.slot(sighting.at as usize));
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

    /// Adds a key that is not there yet. `lines` has a spare one, see [`Lines::provide`].
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
    pub(super) fn remove(&self, lines: &mut Lines, found: Found<'_>) {
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
        lines.put(self, number);
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

    /// Splits one bucket in two. `hash_of` reads the hash of a slot's key; `prefetch` is called
    /// for all of them before. [`Lines::provide_bucket`] was called.
    pub(super) fn split(
        &self,
        lines: &mut Lines,
        prefetch: impl Fn(Slot),
        hash_of: impl Fn(Slot) -> u64,
    ) {
        let buckets = self.shape().buckets();
        debug_assert!(buckets < lines.charged);
        let parent = buckets & ((buckets + 1).next_power_of_two() / 2 - 1);
        let (old, new) = (&self.lines[parent], &self.lines[buckets]);
        let _writing = (old.sequence.write(), new.sequence.write());
        let mut slots = std::mem::take(&mut lines.scratch);
        self.drain(lines, old, &mut slots);
        slots.iter().for_each(|&slot| prefetch(slot));
        let shape = Shape::new(buckets + 1);
        for slot in slots.drain(..) {
            let goes = shape.bucket_of(hash_of(slot)) == buckets;
            self.append(lines, if goes { new } else { old }, slot);
        }
        lines.scratch = slots;
        self.shape.store(shape.0, Ordering::Release);
    }

    /// Empties a chain, which the caller has locked, and puts its lines back.
    fn drain(&self, lines: &mut Lines, head: &Line, slots: &mut Vec<Slot>) {
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
            lines.put(self, number);
            number = next;
        }
    }
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { charged: 0, free: 0, fresh: 1, overflow_charged: 0, scratch: Vec::new() }
    }

    /// Bytes of the budget that the index has taken.
    pub(super) fn charged_bytes(&self) -> u64 {
        ((self.charged + self.overflow_charged) * size_of::<Line>()) as u64
    }

    /// Sees to it that [`Index::insert`] will find the lines that it needs: the first buckets,
    /// and an overflow line. False if the budget does not allow for them.
    pub(super) fn provide(&mut self, index: &Index, budget: &Budget) -> bool {
        if self.charged == 0 {
            if !budget.charge((BUCKETS_MIN * size_of::<Line>()) as u64) {
                return false;
            }
            self.charged = BUCKETS_MIN;
        }
        if self.free != 0 || self.fresh < self.overflow_charged {
            return true;
        }
        let charged = self.overflow_charged + LINES_PER_CHARGE;
        if charged > index.overflow.len() || !budget.charge(SMALL_BYTES as u64) {
            return false;
        }
        self.overflow_charged = charged;
        index.overflow.extend_to(charged);
        true
    }

    /// Sees to it that there is memory for one more bucket.
    pub(super) fn provide_bucket(&mut self, index: &Index, budget: &Budget) -> bool {
        if index.shape().buckets() < self.charged {
            return true;
        }
        if !budget.charge(SMALL_BYTES as u64) {
            return false;
        }
        self.charged += LINES_PER_CHARGE;
        index.lines.extend_to(self.charged.min(index.lines.len()));
        true
    }

    fn take(&mut self, index: &Index) -> u32 {
        let number = self.free;
        if number != 0 {
            self.free = index.overflow[number as usize].link.load(Ordering::Relaxed);
            return number;
        }
        debug_assert!(self.fresh < self.overflow_charged, "provide was not called");
        self.fresh += 1;
        (self.fresh - 1) as u32
    }

    fn put(&mut self, index: &Index, number: u32) {
        index.overflow[number as usize].link.store(self.free, Ordering::Relaxed);
        self.free = number;
    }
}
