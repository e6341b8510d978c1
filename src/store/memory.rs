//! Memory as a slice of atomics, charged to the budget as it is used.
//!
//! A [`Region`] grows and shrinks at its end. What it has is charged before it can become resident, and
//! refunded after the kernel has it back, so that what is charged is never less than what is resident.

#![allow(unsafe_code)] // Hands mapped memory out as slices; the rest of the store is safe.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, Release},
    fence,
};

use super::budget::Budget;
use super::mapping::{Block, HUGE_BYTES, Mapping, SMALL_BYTES};
use super::prefault::{Growth, Prefaulter};

/// Types that may live in a [`Region`].
///
/// # Safety
/// All-zero bytes are a valid value, every field is an atomic (the kernel may turn the memory
/// back to zeroes while others look at it), and the type needs no drop.
pub(super) unsafe trait Zeroed: Sync {}

// SAFETY: an atomic integer is valid for all bit patterns.
unsafe impl Zeroed for AtomicU64 {}

/// A reserved range of zeroes that holds `len` values of `T`. Values may be read anywhere, and written
/// to as far as [`extend_to`](Self::extend_to) said.
pub(super) struct Region<T> {
    /// INVARIANT: the start of `mapping`, which has room for `len` values of `T`.
    base: NonNull<T>,
    len: usize,
    mapping: Arc<Mapping>,
    /// Bytes from the start that are in use.
    used: AtomicUsize,
    /// Bytes from the start that are charged: those in use, and a huge page that is touched ahead.
    charged: AtomicUsize,
    /// Bytes among them that are not: skipped, or given back.
    absent: AtomicUsize,
    growth: Option<Growth>,
    marker: PhantomData<T>,
}

// SAFETY: the region owns its mapping, and `T` is made of atomics.
unsafe impl<T: Zeroed + Send> Send for Region<T> {}
// SAFETY: shared access only gives `&[T]` out, and `T` is `Sync`.
unsafe impl<T: Zeroed> Sync for Region<T> {}

impl<T: Zeroed> Region<T> {
    /// Reserves room for at least `len` values, rounded up to whole kernel pages. With a prefaulter
    /// it uses huge pages as it grows.
    pub(super) fn reserve(len: usize, prefaulter: Option<&Prefaulter>) -> io::Result<Self> {
        let mapping = Arc::new(Mapping::reserve(len * size_of::<T>())?);
        let growth = prefaulter.map(|prefaulter| Growth::new(prefaulter, &mapping));
        let (base, len) = (mapping.base().cast(), mapping.bytes() / size_of::<T>());
        let [used, charged, absent] = std::array::from_fn(|_| AtomicUsize::new(0));
        Ok(Self { base, len, mapping, used, charged, absent, growth, marker: PhantomData })
    }

    /// Leaves so many values at the start alone, which thus cost nothing.
    pub(super) fn skip(&self, values: usize) {
        let bytes = values * size_of::<T>();
        [&self.used, &self.charged, &self.absent]
            .iter()
            .for_each(|count| count.store(bytes, Relaxed));
    }

    /// Bytes that are charged.
    pub(super) fn charged_bytes(&self) -> u64 {
        (self.charged.load(Relaxed) - self.absent.load(Relaxed)) as u64
    }

    /// Values from the start that are charged or were skipped or given back: none beyond is resident.
    #[cfg(debug_assertions)]
    pub(super) fn charged_len(&self) -> usize {
        self.charged.load(Relaxed) / size_of::<T>()
    }

    /// Bytes of them that are not in use yet.
    pub(super) fn ahead_bytes(&self) -> u64 {
        (self.charged.load(Relaxed) - self.used.load(Relaxed)) as u64
    }

    /// Bytes of those that can be [given back](Self::give_ahead_back) now.
    pub(super) fn spare_bytes(&self) -> u64 {
        let (ahead, charged) = (self.ahead_bytes(), self.charged.load(Relaxed));
        let is_busy = ahead > 0 && self.mapping.block(charged - 1) == Block::Touching;
        if is_busy { 0 } else { ahead }
    }

    /// Sees to it that values up to `end` may be written to. False if the region, the budget, or the
    /// operating system does not allow for it. For the region's writer, as all that changes its size.
    #[inline]
    pub(super) fn extend_to(&self, end: usize, budget: &Budget) -> bool {
        let end = end * size_of::<T>();
        end <= self.used.load(Relaxed) || self.extend(end.next_multiple_of(SMALL_BYTES), budget)
    }

    #[cold]
    fn extend(&self, end: usize, budget: &Budget) -> bool {
        let used = self.used.load(Relaxed);
        if end > self.mapping.bytes() {
            return false;
        }
        let begins_block = (end - 1) / HUGE_BYTES > used.saturating_sub(1) / HUGE_BYTES;
        if begins_block && self.mapping.change_block(end - 1, Block::Asked, Block::Small) {
            // It was not touched in time.
            self.uncharge_to(used, budget);
        }
        if !self.charge_to(end, budget) {
            return false;
        }
        self.used.store(end, Relaxed);
        if let Some(growth) = &self.growth
            && let Some(start) = growth.reach(end)
        {
            self.touch_ahead(growth, start, budget);
        }
        true
    }

    /// Has the huge page from `start` on touched before it is used, if the budget allows for it.
    fn touch_ahead(&self, growth: &Growth, start: usize, budget: &Budget) {
        let (before, end) = (self.charged.load(Relaxed), start + HUGE_BYTES);
        if before > start || end > self.mapping.bytes() || !self.charge_to(end, budget) {
            return;
        }
        let asked = self.mapping.change_block(start, Block::Small, Block::Asked);
        if !asked || !growth.ask(start) {
            self.mapping.change_block(start, Block::Asked, Block::Small);
            self.uncharge_to(before, budget);
        }
    }

    fn charge_to(&self, end: usize, budget: &Budget) -> bool {
        let charged = self.charged.load(Relaxed);
        if end <= charged {
            return true;
        }
        if !budget.charge((end - charged) as u64) {
            return false;
        }
        if let Err(error) = self.mapping.make_writable(end) {
            budget.refund((end - charged) as u64);
            warn_of(&error);
            return false;
        }
        self.charged.store(end, Relaxed);
        true
    }

    /// Takes charges back for what did not become resident.
    fn uncharge_to(&self, end: usize, budget: &Budget) {
        let before = self.charged.swap(end, Relaxed);
        budget.refund((before - end) as u64);
    }

    /// Gives the last piece of memory beyond `end` back to the kernel, which can free it by itself, and
    /// to the budget. Whether there was one.
    pub(super) fn shrink_to(&self, end: usize, budget: &Budget) -> bool {
        let end = (end * size_of::<T>()).next_multiple_of(SMALL_BYTES);
        let charged = self.charged.load(Relaxed);
        if charged <= end {
            return false;
        }
        let start = match self.mapping.block(charged - 1) {
            Block::Small => charged - SMALL_BYTES,
            _ => (charged - 1) / HUGE_BYTES * HUGE_BYTES,
        };
        if start < end || !self.mapping.give_back(start..charged) {
            return false;
        }
        self.uncharge_to(start, budget);
        self.used.fetch_min(start, Relaxed);
        if let Some(growth) = &self.growth {
            growth.retreat(start);
        }
        true
    }

    /// Gives what is charged ahead of its use back to the kernel and to the budget: all of it, or what of
    /// it lies in the last huge page. Whether there was any that the kernel takes now.
    pub(super) fn give_ahead_back(&self, budget: &Budget) -> bool {
        let (used, charged) = (self.used.load(Relaxed), self.charged.load(Relaxed));
        if used == charged {
            return false;
        }
        let start = used.max((charged - 1) / HUGE_BYTES * HUGE_BYTES);
        let given = self.mapping.give_back(start..charged);
        if given {
            self.uncharge_to(start, budget);
        }
        given
    }

    /// Turns values into untouched zeroes, and gives their memory back to the kernel and to the budget.
    /// False if the kernel does not take it now. They are whole kernel pages.
    pub(super) fn give_back(&self, values: Range<usize>, budget: &Budget) -> bool {
        let size = size_of::<T>();
        let bytes = values.start * size..values.end * size;
        let given = self.mapping.give_back(bytes.clone());
        if given {
            self.absent.fetch_add(bytes.len(), Relaxed);
            budget.refund(bytes.len() as u64);
        }
        given
    }

    /// Has so many values back that were given back. False if the budget does not allow for them.
    pub(super) fn take_back(&self, values: usize, budget: &Budget) -> bool {
        let bytes = values * size_of::<T>();
        let granted = budget.charge(bytes as u64);
        self.absent.fetch_sub(if granted { bytes } else { 0 }, Relaxed);
        granted
    }

    /// Whether a value lies in a huge page.
    pub(super) fn is_huge(&self, value: usize) -> bool {
        self.mapping.block(value * size_of::<T>()) == Block::Huge
    }

    /// Starts loading the cache line of one value. There need not be one: an address that leads nowhere is
    /// loaded from by nobody.
    #[inline]
    pub(super) fn prefetch(&self, at: usize) {
        prefetch(self.base.as_ptr().wrapping_add(at));
    }
}

/// Says once that the operating system has less memory for the process than its settings say.
#[cold]
fn warn_of(error: &io::Error) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Relaxed) {
        log::warn!(
            "no more memory from the operating system ({error}): the store makes do with what it has"
        );
    }
}

/// Starts loading the first cache line of a value, if there is one.
#[inline]
pub(super) fn prefetch<T>(value: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that can't fault whatever the address is, and SSE is part of every x86-64.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(value.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Looks at words as bytes, in memory order.
///
/// # Safety
/// Nobody writes to the words for as long as the slice lives.
pub(super) unsafe fn bytes_of(words: &[AtomicU64]) -> &[u8] {
    // SAFETY: initialized memory of that length; the caller keeps writers out.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// Writes bytes to words, in memory order, from a byte of them on. The bytes beyond the end of
/// what is written, up to a whole word, become zero.
pub(super) fn write_bytes(words: &[AtomicU64], at: usize, bytes: &[u8]) {
    // Stale readers may still look at the words, so that they are written as atomics.
    fence(Release);
    let (mut word, skip) = (at / 8, at % 8);
    let mut bytes = bytes;
    if skip > 0 {
        let (now, later) = bytes.split_at(bytes.len().min(8 - skip));
        let mut joined = words[word].load(Relaxed).to_ne_bytes();
        joined[skip..skip + now.len()].copy_from_slice(now);
        words[word].store(u64::from_ne_bytes(joined), Relaxed);
        (word, bytes) = (word + 1, later);
    }
    let (whole, rest) = bytes.as_chunks::<8>();
    each_pair(&words[word.min(words.len())..], whole, |to, from| {
        to.store(u64::from_ne_bytes(*from), Relaxed);
    });
    if !rest.is_empty() {
        let mut joined = [0; 8];
        joined[..rest.len()].copy_from_slice(rest);
        words[word + whole.len()].store(u64::from_ne_bytes(joined), Relaxed);
    }
}

/// Words that are copied per turn of a loop.
const UNROLLED: usize = 8;

/// Calls `each` with one of both after the other, in order, as long as both have some: several per turn of
/// a loop, since the compiler unrolls none with atomics.
#[inline(always)]
pub(super) fn each_pair<A, B>(to: &[A], from: &[B], mut each: impl FnMut(&A, &B)) {
    let len = to.len().min(from.len());
    let (to, to_rest) = to[..len].as_chunks::<UNROLLED>();
    let (from, from_rest) = from[..len].as_chunks::<UNROLLED>();
    let mut each_of =
        |to: &[A], from: &[B]| to.iter().zip(from).for_each(|(to, from)| each(to, from));
    to.iter().zip(from).for_each(|(to, from)| each_of(to, from));
    each_of(to_rest, from_rest);
}

/// Appends `len` bytes to `out` that begin behind `shift` bits of the first word, fewer than 64.
/// What the words don't have is zero.
#[inline]
pub(super) fn append_words(out: &mut Vec<u8>, len: usize, words: &[AtomicU64], shift: u32) {
    // Whole words are written, the last one beyond the end.
    out.reserve(len + 8);
    let (chunks, _) = out.spare_capacity_mut().as_chunks_mut::<8>();
    let chunks = &mut chunks[..len.div_ceil(8)];
    let load = |word: &AtomicU64| u64::from_le(word.load(Relaxed));
    // Each word is loaded once, and what is left of it goes into the next chunk.
    let (mut left, words) = match words.split_first() {
        Some((first, others)) if shift > 0 => (load(first) >> shift, others),
        _ => (0, words),
    };
    let (most, rest) = chunks.split_at_mut(words.len().min(chunks.len()));
    if shift == 0 {
        let words = &words[..most.len()];
        let (to, to_rest) = most.as_chunks_mut::<UNROLLED>();
        let (from, from_rest) = words.as_chunks::<UNROLLED>();
        let copy = |to: &mut [[MaybeUninit<u8>; 8]], from: &[AtomicU64]| {
            for (chunk, word) in to.iter_mut().zip(from) {
                chunk.write_copy_of_slice(&load(word).to_le_bytes());
            }
        };
        for (to, from) in to.iter_mut().zip(from) {
            copy(to, from);
        }
        copy(to_rest, from_rest);
    } else {
        for (chunk, word) in most.iter_mut().zip(words) {
            let word = load(word);
            chunk.write_copy_of_slice(&(left | word << (64 - shift)).to_le_bytes());
            left = word >> shift;
        }
    }
    for chunk in rest {
        chunk.write_copy_of_slice(&std::mem::take(&mut left).to_le_bytes());
    }
    // SAFETY: the loops have initialized at least `len` bytes of the spare capacity.
    unsafe { out.set_len(out.len() + len) };
}

impl<T: Zeroed> Deref for Region<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the invariant of `base`; zeroes are valid and all fields are atomics.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl<T> fmt::Debug for Region<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("base", &self.base).field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::prefault::{QUARTER_BYTES, QUARTER_TIME_MIN, Request};
    use super::*;

    const QUARTERS: usize = QUARTER_BYTES / 8;

    /// Extends a region to so many quarters, slowly.
    fn grow(region: &Region<AtomicU64>, quarters: usize, budget: &Budget) {
        thread::sleep(QUARTER_TIME_MIN);
        assert!(region.extend_to(quarters * QUARTERS, budget));
    }

    fn charged(region: &Region<AtomicU64>) -> usize {
        region.charged_bytes() as usize / QUARTER_BYTES
    }

    #[test]
    fn what_is_touched_ahead_is_charged_and_given_back() {
        let (prefaulter, requests) = Prefaulter::without_thread(9);
        let budget = Budget::new(64 << 20);
        let region = Region::reserve(12 * QUARTERS, Some(&prefaulter)).expect("address space");
        (1..=4).for_each(|quarters| grow(&region, quarters, &budget));
        assert_eq!((charged(&region), region.ahead_bytes()), (8, HUGE_BYTES as u64));
        let Request { mapping, start } = requests.try_recv().expect("the second page");
        assert_eq!(mapping.block(start), Block::Asked);
        mapping.touch_huge(start);
        assert_eq!(mapping.block(start), Block::Huge);
        (5..=8).for_each(|quarters| grow(&region, quarters, &budget));
        assert_eq!((charged(&region), mapping.block(2 * start)), (12, Block::Asked));
        // Reached before it was touched, it is left to small pages.
        assert!(region.extend_to(8 * QUARTERS + 1, &budget));
        assert_eq!(region.ahead_bytes(), 0);
        let late = requests.try_recv().expect("the third page");
        late.mapping.touch_huge(late.start);
        assert_eq!(mapping.block(2 * start), Block::Small);
        // The huge one goes as a whole.
        let pieces = (0..).take_while(|_| region.shrink_to(7 * QUARTERS, &budget)).count();
        assert_eq!((pieces, charged(&region)), (1, 8));
        assert!(region.shrink_to(4 * QUARTERS, &budget));
        assert_eq!((charged(&region), mapping.block(start)), (4, Block::Small));
        while region.shrink_to(0, &budget) {}
        assert!(budget.charge(64 << 20), "all of it was refunded");
    }

    #[test]
    fn what_is_touched_ahead_is_given_back_alone() {
        let (prefaulter, requests) = Prefaulter::without_thread(9);
        let budget = Budget::new(64 << 20);
        let region = Region::reserve(12 * QUARTERS, Some(&prefaulter)).expect("address space");
        assert!(!region.give_ahead_back(&budget), "there is nothing");
        (1..=3).for_each(|quarters| grow(&region, quarters, &budget));
        grow(&region, 4, &budget);
        // Nobody has touched it yet.
        assert_eq!(region.spare_bytes(), HUGE_BYTES as u64);
        assert!(region.give_ahead_back(&budget));
        assert_eq!((charged(&region), region.spare_bytes()), (4, 0));
        let Request { mapping, start } = requests.try_recv().expect("the second page");
        mapping.touch_huge(start);
        assert_eq!(mapping.block(start), Block::Small, "nobody asks for it any more");
        (5..=8).for_each(|quarters| grow(&region, quarters, &budget));
        let third = requests.try_recv().expect("the third page").start;
        assert!(mapping.change_block(third, Block::Asked, Block::Touching));
        assert_eq!(region.spare_bytes(), 0, "the thread is at it");
        assert!(!region.give_ahead_back(&budget));
        assert!(mapping.change_block(third, Block::Touching, Block::Huge));
        grow(&region, 9, &budget);
        // What is in use of it stays.
        assert!(region.give_ahead_back(&budget));
        assert_eq!((charged(&region), mapping.block(third)), (9, Block::Small));
        while region.shrink_to(0, &budget) {}
        assert!(budget.charge(64 << 20), "all of it was refunded");
    }

    #[test]
    fn nothing_is_asked_for_that_cant_be_had() {
        let (prefaulter, requests) = Prefaulter::without_thread(1);
        let budget = Budget::new(5 << 20);
        let region = Region::reserve(12 * QUARTERS, Some(&prefaulter)).expect("address space");
        (1..=4).for_each(|quarters| grow(&region, quarters, &budget));
        (5..=8).for_each(|quarters| grow(&region, quarters, &budget));
        assert_eq!(charged(&region), 8, "the budget is spent");
        let first = requests.try_recv().expect("the second page");
        assert_eq!(first.start, HUGE_BYTES);
        assert!(requests.try_recv().is_err());
        let budget = Budget::new(64 << 20);
        let other = Region::reserve(12 * QUARTERS, Some(&prefaulter)).expect("address space");
        prefaulter.requests.try_send(first).expect("room for one");
        (1..=4).for_each(|quarters| grow(&other, quarters, &budget));
        assert_eq!(charged(&other), 4, "the thread is busy");
        (9..=12).for_each(|quarters| grow(&other, quarters, &budget));
        assert_eq!(charged(&other), 12, "the region ends there");
    }
}
