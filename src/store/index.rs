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

use super::atomic::{AtomicU64, Ordering};
use super::bucket::{LINE_BYTES, Line, Slot};
use super::lines::CHUNK_LINES;
use super::memory::Region;
use super::prefault::Prefaulter;
use super::sequence::Writing;
use super::tags::slots_with;

/// Buckets of a table that was never written to.
pub(super) const BUCKETS_MIN: usize = CHUNK_LINES;

/// Buckets that their numbers of 32 bits are enough for.
const BUCKETS_MAX: usize = 1 << 31;

/// Overflow lines that there is address space for, as a share of the buckets: at the highest load, one
/// in ten is needed.
const OVERFLOW_SHARE: usize = 4;

/// Chains are this long at most for a reader that has not been led astray by a writer.
const CHAIN_LINES_MAX: usize = 1 << 10;

/// The table as its readers see it. What its writers keep beside it is the
/// [`IndexWriter`](super::index_writer::IndexWriter).
#[derive(Debug)]
pub(super) struct Index {
    pub(super) lines: Region<Line>,
    pub(super) overflow: Region<Line>,
    shape: AtomicU64,
}

/// Where a writer has found a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    /// The first line of its bucket.
    pub(super) head: &'a Line,
    pub(super) line: &'a Line,
    pub(super) at: usize,
    pub(super) slot: Slot,
}

/// A slot of a bucket's first line as it was seen, and under which sequence number. As long as the
/// bucket has that number, the slot says where its key is. Only a hint, which may be outdated: it is
/// validated before anything is concluded from it. At first it knows the bucket alone, and the slot is
/// looked at when the line has arrived. Also a bucket that is not the key's any more by then leads to no
/// other answer: what it has is where it says.
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
    #[inline]
    pub(super) fn record_hit(&self) {
        self.line.record_hit(self.at, self.slot);
    }

    /// Keeps readers of the key's bucket out.
    #[inline]
    pub(super) fn write(&self) -> Writing<'_> {
        self.head.sequence.write()
    }

    /// Puts another slot in the place of the one that was found.
    pub(super) fn replace(&self, slot: Slot) {
        let _writing = self.write();
        self.line.set(self.at, slot);
    }
}

/// How many buckets there are, and the mask of the hash's bits that choose among them, in one
/// word: `mask << 32 | buckets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape(u64);

impl Shape {
    pub(super) fn new(buckets: usize) -> Self {
        let mask = buckets.next_power_of_two() as u64 - 1;
        Self(mask << 32 | buckets as u64)
    }

    #[inline]
    pub(super) fn buckets(self) -> usize {
        self.0 as u32 as usize
    }

    /// How many of a hash's lowest bits all keys of a bucket have in common.
    pub(super) fn bits_of(self, bucket: usize) -> u32 {
        let mask = (self.0 >> 32) as usize;
        // The bucket that would be split off from it, if it is there.
        let is_split = (bucket | (mask + 1) >> 1) < self.buckets();
        mask.count_ones() - u32::from(!is_split)
    }

    #[inline]
    pub(super) fn bucket_of(self, hash: u64) -> usize {
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
        let lines =
            usize::try_from(bytes_max / 2).map_err(|_| io::ErrorKind::InvalidInput)? / LINE_BYTES;
        Ok(Self {
            lines: Region::reserve(lines.clamp(BUCKETS_MIN, BUCKETS_MAX), prefaulter)?,
            overflow: Region::reserve(
                (lines / OVERFLOW_SHARE).clamp(CHUNK_LINES, BUCKETS_MAX),
                None,
            )?,
            shape: AtomicU64::new(Shape::new(BUCKETS_MIN).0),
        })
    }

    #[inline]
    pub(super) fn shape(&self) -> Shape {
        Shape(self.shape.load(Ordering::Relaxed))
    }

    /// Publishes another number of buckets.
    pub(super) fn set_shape(&self, shape: Shape) {
        self.shape.store(shape.0, Ordering::Release);
    }

    /// Starts loading the line of a key's bucket, for a hint that knows no slot yet.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) -> SlotHint {
        let bucket = self.shape().bucket_of(hash);
        self.lines.prefetch(bucket);
        SlotHint { bucket: bucket as u32, ..SlotHint::NONE }
    }

    /// Looks for a slot with the key's tag in the hint's bucket, without making sure that the entry is the
    /// key's.
    #[inline]
    pub(super) fn slot_hint(&self, hash: u64, SlotHint { bucket, .. }: SlotHint) -> SlotHint {
        let line = &self.lines[bucket as usize];
        let Some(sequence) = line.sequence.try_begin() else { return SlotHint::NONE };
        // The number 0 may come again, see above; what was never written to holds nothing.
        if sequence == 0 {
            return SlotHint::NONE;
        }
        let Some(at) = slots_with(line, tag_of(hash)).next() else { return SlotHint::NONE };
        SlotHint { slot: line.slot(at), bucket, at: at as u32, sequence }
    }

    /// Whether the hint is still true, and with it all that was read of the entry since it was made.
    /// Records a hit if it is.
    #[inline]
    pub(super) fn validate(&self, hint: &SlotHint) -> bool {
        let line = &self.lines[hint.bucket as usize];
        let valid = line.sequence.unchanged(hint.sequence);
        if valid {
            line.record_hit(hint.at as usize, hint.slot);
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
                line.record_hit(at, slot);
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
            for at in slots_with(line, tag) {
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
    pub(super) fn next(&self, line: &Line) -> Option<&Line> {
        match line.link.load(Ordering::Relaxed) {
            0 => None,
            next => Some(&self.overflow[next as usize]),
        }
    }

    /// Gives each slot of a bucket that is in use to `each`, as long as that says to go on. A writer may
    /// be in the way, which only the bucket's sequence number tells.
    pub(super) fn each_slot(&self, bucket: usize, mut each: impl FnMut(Slot) -> bool) {
        let mut line = Some(&self.lines[bucket]);
        while let Some(current) = line {
            if !current.all().all(&mut each) {
                return;
            }
            line = self.next(current);
        }
    }

    #[inline]
    pub(super) fn head(&self, hash: u64) -> &Line {
        &self.lines[self.shape().bucket_of(hash)]
    }

    /// The slot that the hint is about, for a writer, if the hint is still true.
    #[inline]
    pub(super) fn find_by(&self, hint: &SlotHint) -> Option<Found<'_>> {
        let head = self.lines.get(hint.bucket as usize)?;
        (!hint.slot.is_empty() && head.sequence.unchanged(hint.sequence)).then(|| {
            // The slot as it is now: its frequency may have changed meanwhile.
            let at = hint.at as usize;
            Found { head, line: head, at, slot: head.slot(at) }
        })
    }

    /// Finds the slot that `probe` takes, for a writer.
    pub(super) fn find<R>(
        &self,
        hash: u64,
        mut probe: impl FnMut(Slot) -> Option<R>,
    ) -> Option<(Found<'_>, R)> {
        let (head, tag) = (self.head(hash), tag_of(hash));
        let mut line = head;
        loop {
            for at in slots_with(line, tag) {
                let slot = line.slot(at);
                if !slot.is_empty()
                    && let Some(result) = probe(slot)
                {
                    return Some((Found { head, line, at, slot }, result));
                }
            }
            line = self.next(line)?;
        }
    }
}
