//! Address space from the operating system, seen as a slice of atomics.
//!
//! A [`Region`] is reserved once at its full size and becomes resident page by page as it is
//! written to. It is never unmapped while the store lives, so that a reader that follows a
//! reference which a concurrent writer has just made stale meets other data, but never a fault.

#![allow(unsafe_code)] // Maps memory and hands it out as slices; the rest of the store is safe.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::prefault::{Growth, Prefaulter};

/// What the processor maps with one entry of its address cache if the kernel can arrange it.
pub(super) const HUGE_BYTES: usize = 2 << 20;

/// What the kernel makes resident at a time otherwise.
pub(super) const SMALL_BYTES: usize = 4 << 10;

/// Types that may live in a [`Region`].
///
/// # Safety
/// All-zero bytes are a valid value, every field is an atomic (the kernel may turn the memory
/// back to zeroes while others look at it), and the type needs no drop.
pub(super) unsafe trait Zeroed: Sync {}

// SAFETY: an atomic integer is valid for all bit patterns.
unsafe impl Zeroed for AtomicU64 {}

/// Address space of the process's, from a boundary of [`HUGE_BYTES`] on, for as long as anybody
/// holds it.
#[derive(Debug)]
pub(super) struct Mapping {
    /// INVARIANT: `bytes` bytes from here on lie in the mapping.
    base: NonNull<c_void>,
    bytes: usize,
    /// The mapping as the kernel knows it, for unmapping.
    whole: NonNull<c_void>,
    whole_bytes: usize,
}

// SAFETY: addresses, which are the same for all threads; the memory itself is only reached through
// a `Region`.
unsafe impl Send for Mapping {}
// SAFETY: as above; the kernel takes advice from any thread.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves so many bytes, rounded up to whole kernel pages, to be resident in small ones.
    pub(super) fn reserve(bytes: usize) -> io::Result<Self> {
        let bytes = bytes.next_multiple_of(SMALL_BYTES).max(SMALL_BYTES);
        let whole_bytes = bytes + HUGE_BYTES;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let whole = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                whole_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let skip = whole.align_offset(HUGE_BYTES);
        let whole = NonNull::new(whole).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: `skip` is less than HUGE_BYTES, by which the mapping is longer than `bytes`.
        let base = unsafe { whole.byte_add(skip) };
        let mapping = Self { base, bytes, whole, whole_bytes };
        // Whatever the system's default is.
        mapping.advise(0..bytes, Advice::LinuxNoHugepage);
        Ok(mapping)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes a stretch of [`HUGE_BYTES`] that nobody has written to resident as one huge page, if
    /// the kernel has one, and takes the time.
    pub(super) fn populate_huge(&self, start: usize) {
        let page = start..start + HUGE_BYTES;
        self.advise(page.clone(), Advice::LinuxHugepage);
        self.advise(start..start + SMALL_BYTES, Advice::LinuxPopulateWrite);
        // What is given back of it and used again comes in small pages: nobody waits, and no more
        // becomes resident than is used.
        self.advise(page, Advice::LinuxNoHugepage);
    }

    fn advise(&self, bytes: Range<usize>, advice: Advice) {
        assert!(bytes.start <= bytes.end && bytes.end <= self.bytes);
        let start = self.base.as_ptr().cast::<u8>().wrapping_add(bytes.start);
        // A kernel without huge pages refuses; the store works without them.
        // SAFETY: the range lies inside of the mapping, and zeroes are valid values of atomics.
        let _ = unsafe { madvise(start.cast(), bytes.len(), advice) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows from it any more.
        let done = unsafe { munmap(self.whole.as_ptr(), self.whole_bytes) };
        debug_assert!(done.is_ok(), "a mapping of our own can be unmapped");
    }
}

/// A reserved range of zeroes that holds `len` values of `T`.
pub(super) struct Region<T> {
    /// INVARIANT: the start of `mapping`, which has room for `len` values of `T`.
    base: NonNull<T>,
    len: usize,
    mapping: Arc<Mapping>,
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
        let (base, len) = (mapping.base.cast(), mapping.bytes / size_of::<T>());
        Ok(Self { base, len, mapping, growth, marker: PhantomData })
    }

    /// Says that values up to `end` are about to be used.
    #[inline]
    pub(super) fn extend_to(&self, end: usize) {
        if let Some(growth) = &self.growth {
            growth.reach(end * size_of::<T>());
        }
    }

    /// Turns whole values back into untouched zeroes and their memory back to the kernel.
    pub(super) fn give_back(&self, values: Range<usize>) {
        let size = size_of::<T>();
        self.mapping.advise(values.start * size..values.end * size, Advice::LinuxDontNeed);
    }

    /// Starts loading the cache line of one value.
    #[inline]
    pub(super) fn prefetch(&self, at: usize) {
        if let Some(value) = self.get(at) {
            prefetch(value);
        }
    }
}

/// Starts loading the first cache line of a value.
#[inline]
pub(super) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that can't fault, and SSE is part of every x86-64.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
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
    fence(Ordering::Release);
    let (mut word, skip) = (at / 8, at % 8);
    let mut bytes = bytes;
    if skip > 0 {
        let (now, later) = bytes.split_at(bytes.len().min(8 - skip));
        let mut joined = words[word].load(Ordering::Relaxed).to_ne_bytes();
        joined[skip..skip + now.len()].copy_from_slice(now);
        words[word].store(u64::from_ne_bytes(joined), Ordering::Relaxed);
        (word, bytes) = (word + 1, later);
    }
    let (whole, rest) = bytes.as_chunks::<8>();
    for (to, from) in words[word.min(words.len())..].iter().zip(whole) {
        to.store(u64::from_ne_bytes(*from), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut joined = [0; 8];
        joined[..rest.len()].copy_from_slice(rest);
        words[word + whole.len()].store(u64::from_ne_bytes(joined), Ordering::Relaxed);
    }
}

/// Appends `len` bytes to `out`, eight at a time as `word` gives them, in little-endian order.
#[inline]
pub(super) fn append_words(out: &mut Vec<u8>, len: usize, word: impl Fn(usize) -> u64) {
    // Whole words are written, the last one beyond the end.
    out.reserve(len + 8);
    let (chunks, _) = out.spare_capacity_mut().as_chunks_mut::<8>();
    for (at, chunk) in chunks[..len.div_ceil(8)].iter_mut().enumerate() {
        chunk.write_copy_of_slice(&word(at).to_le_bytes());
    }
    // SAFETY: the loop has initialized at least `len` bytes of the spare capacity.
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
