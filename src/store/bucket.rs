//! One cache line of the index.
//!
//! ```text
//!   0          4          8                                                      64
//!   | sequence | link     | slot 0 | slot 1 | slot 2 | slot 3 | slot 4 | slot 5 | slot 6 |
//!
//!   slot    63        48 47  46 45                                   0
//!          | tag        | freq | place of the entry, in 8-byte words |     0: empty
//! ```
//!
//! The tag is 16 bits of the key's hash, so that a lookup seldom touches another key's entry.
//! The frequency counts recent hits for eviction, as in S3-FIFO; readers raise it in place. The link names the next
//! line of a chain when more than seven keys share a bucket; the sequence word of the chain's
//! first line guards all of them.

#![allow(unsafe_code)] // Says that a line may live in zeroed memory.

use super::atomic::{AtomicU32, AtomicU64, Ordering};
use super::memory::Zeroed;
use super::sequence::Sequence;

/// Bytes of a line.
pub(super) const LINE_BYTES: usize = 64;

/// Keys that a line has room for.
pub(super) const SLOTS: usize = 7;

/// Highest frequency; further hits write nothing.
pub(super) const FREQUENCY_MAX: u8 = 3;

const PLACE_BITS: u32 = 46;
pub(super) const TAG_SHIFT: u32 = 48;

/// One line of the index or of the overflow chains.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Line {
    pub(super) sequence: Sequence,
    /// The next line's number among the overflow lines, 0 for none.
    pub(super) link: AtomicU32,
    pub(super) slots: [AtomicU64; SLOTS],
}

// A model checker's atomics are larger.
const _: () = assert!(size_of::<AtomicU32>() > 4 || size_of::<Line>() == LINE_BYTES);

// SAFETY: nothing but atomic integers.
unsafe impl Zeroed for Line {}

/// The value of a slot, see the drawing above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(pub(super) u64);

impl Slot {
    pub(super) const EMPTY: Self = Self(0);

    #[inline]
    pub(super) fn new(tag: u16, frequency: u8, place: u64) -> Self {
        debug_assert!(place != 0 && place >> PLACE_BITS == 0 && frequency <= FREQUENCY_MAX);
        Self(u64::from(tag) << TAG_SHIFT | u64::from(frequency) << PLACE_BITS | place)
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    #[inline]
    pub(super) fn frequency(self) -> u8 {
        (self.0 >> PLACE_BITS) as u8 & FREQUENCY_MAX
    }

    #[inline]
    pub(super) fn place(self) -> u64 {
        self.0 & ((1 << PLACE_BITS) - 1)
    }

    /// The same with another hit on record.
    #[inline]
    pub(super) fn with_hit(self) -> Self {
        if self.frequency() == FREQUENCY_MAX { self } else { Self(self.0 + (1 << PLACE_BITS)) }
    }
}

impl Line {
    #[inline]
    pub(super) fn slot(&self, at: usize) -> Slot {
        Slot(self.slots[at].load(Ordering::Relaxed))
    }

    /// The slots that are in use.
    pub(super) fn all(&self) -> impl Iterator<Item = Slot> {
        (0..SLOTS).map(|at| self.slot(at)).filter(|slot| !slot.is_empty())
    }

    #[inline]
    pub(super) fn set(&self, at: usize, slot: Slot) {
        self.slots[at].store(slot.0, Ordering::Relaxed);
    }

    /// Records a hit, at no write when the frequency is at its height. When the slot has changed
    /// since it was read, the hit is not recorded.
    #[inline]
    pub(super) fn record_hit(&self, at: usize, seen: Slot) {
        let raised = seen.with_hit();
        if raised != seen {
            let word = &self.slots[at];
            let _ = word.compare_exchange(seen.0, raised.0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_its_parts_apart() {
        let parts = |slot: Slot| (slot.0 >> TAG_SHIFT, slot.frequency(), slot.place());
        let slot = Slot::new(u16::MAX, 0, (1 << PLACE_BITS) - 1);
        assert_eq!(parts(slot), (0xffff, 0, (1 << 46) - 1));
        let top = slot.with_hit().with_hit().with_hit().with_hit();
        assert_eq!(parts(top), (0xffff, FREQUENCY_MAX, (1 << 46) - 1));
        assert!(Slot::EMPTY.is_empty() && !slot.is_empty());
    }
}
