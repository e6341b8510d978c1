//! A sequence word: readers take no lock and write nothing, and find out afterwards whether a
//! writer was in their way.
//!
//! ```text
//!   writer (one at a time, they hold a mutex)      reader
//!     sequence = odd                                 first = sequence, acquire; wait while odd
//!     fence release                                  read data, relaxed
//!     write data, relaxed                            fence acquire
//!     sequence = even, release                       sequence unchanged? else again
//! ```
//!
//! A reader that saw any word written after the writer's fence also sees the odd sequence. A
//! reader that saw the even one sees all that was written before. All data are atomics, so that a
//! torn read is a wrong value, which is thrown away, and not undefined behaviour.

use super::atomic::{AtomicU32, Ordering, fence, wait};

/// The word itself: odd while a writer is at work, and never the same even number twice (until
/// it wraps around: a reader would have to sleep through exactly 2^31 writes).
#[derive(Debug)]
pub(super) struct Sequence(AtomicU32);

/// A writer at work; readers are let in again when it is dropped.
#[derive(Debug)]
pub(super) struct Writing<'a>(&'a Sequence);

impl Sequence {
    /// A word that nobody has written under.
    #[allow(dead_code)] // In the store all of them begin as zeroed memory; for the model checker.
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Does what the kernel does to the word of memory that is given back.
    #[cfg(test)]
    #[allow(dead_code)] // For the model checker.
    pub(super) fn zero(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Makes it a word under which so much was written.
    #[cfg(test)]
    #[allow(dead_code)] // For the index's tests.
    pub(super) fn set(&self, number: u32) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Waits until no writer is at work; the number to give to [`unchanged`](Self::unchanged).
    #[inline]
    pub(super) fn begin(&self) -> u32 {
        let mut round = 0;
        loop {
            if let Some(first) = self.try_begin() {
                return first;
            }
            wait(round);
            round += 1;
        }
    }

    /// As [`begin`](Self::begin), but without waiting: `None` while a writer is at work.
    #[inline]
    pub(super) fn try_begin(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Acquire)).filter(|first| first & 1 == 0)
    }

    /// Whether all that was read since [`begin`](Self::begin) belongs together.
    #[inline]
    pub(super) fn unchanged(&self, first: u32) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == first
    }

    /// Keeps readers out. The caller is the only writer.
    #[inline]
    pub(super) fn write(&self) -> Writing<'_> {
        self.write_from(self.0.load(Ordering::Relaxed))
    }

    /// The same with numbers beyond `floor` from now on: the word's memory was given back, and those
    /// that it had before must not come again.
    pub(super) fn write_after(&self, floor: u32) -> Writing<'_> {
        self.write_from(self.later(floor))
    }

    #[inline]
    fn write_from(&self, first: u32) -> Writing<'_> {
        debug_assert!(first & 1 == 0, "a second writer");
        self.0.store(first.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        Writing(self)
    }

    /// Whether a writer is at work.
    #[cfg(debug_assertions)]
    pub(super) fn is_odd(&self) -> bool {
        self.0.load(Ordering::Relaxed) & 1 == 1
    }

    /// Whether nobody has written under the word, or its memory was given back.
    #[cfg(debug_assertions)]
    pub(super) fn is_zero(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// The later of the word's number and another; numbers wrap around.
    pub(super) fn later(&self, other: u32) -> u32 {
        let number = self.0.load(Ordering::Relaxed);
        if other.wrapping_sub(number).cast_signed() > 0 { other } else { number }
    }
}

impl Drop for Writing<'_> {
    #[inline]
    fn drop(&mut self) {
        let odd = self.0.0.load(Ordering::Relaxed);
        self.0.0.store(odd.wrapping_add(1), Ordering::Release);
    }
}
