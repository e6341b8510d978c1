//! Address space from the operating system, and which of it is memory.
//!
//! A [`Mapping`] is reserved once at its full size and never unmapped while the store lives, so that
//! a reader that follows a reference which a concurrent writer has just made stale meets other data,
//! but never a fault. It is reserved for reading only: that is what the kernel does not count as
//! memory that may be asked for, with `vm.overcommit_memory=2` or `RLIMIT_DATA`. It becomes writable
//! from the start on, as it is used.
//!
//! Memory is given back by pieces of what the kernel frees. Giving back a part of a huge page frees
//! nothing, and the huge page stays charged to the process's cgroup until there is pressure. So a
//! huge page of which a part is given back is split into small ones first.

#![allow(unsafe_code)] // Maps memory and advises the kernel on it.

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap,
};

/// What the processor maps with one entry of its address cache if the kernel can arrange it.
pub(super) const HUGE_BYTES: usize = 2 << 20;

/// What the kernel makes resident at a time otherwise.
pub(super) const SMALL_BYTES: usize = 4 << 10;

/// What is writable from the beginning: a small store needs no more of most of its regions.
const WRITABLE_BYTES_MIN: usize = 64 << 10;

/// What a stretch of [`HUGE_BYTES`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Block {
    /// Of small pages, as far as it is resident.
    Small = 0,
    /// Of nothing yet; a thread was asked to touch it as a huge page. Whoever changes this may go on:
    /// the thread to touch it, or the region, which came first, to use small pages.
    Asked = 1,
    /// The thread is at it.
    Touching = 2,
    /// Of one huge page, or what the kernel had in its stead.
    Huge = 3,
}

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
    /// INVARIANT: so many bytes from `base` on may be written to. Changed by the region's writer alone.
    writable: AtomicUsize,
    blocks: Box<[AtomicU8]>,
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
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let whole =
            unsafe { mmap_anonymous(std::ptr::null_mut(), whole_bytes, ProtFlags::READ, flags) }?;
        let skip = whole.align_offset(HUGE_BYTES);
        let whole = NonNull::new(whole).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: `skip` is less than HUGE_BYTES, by which the mapping is longer than `bytes`.
        let base = unsafe { whole.byte_add(skip) };
        let blocks = (0..bytes.div_ceil(HUGE_BYTES)).map(|_| AtomicU8::new(0)).collect();
        let writable = AtomicUsize::new(0);
        let mapping = Self { base, bytes, whole, whole_bytes, writable, blocks };
        // Whatever the system's default is. A kernel without huge pages refuses.
        let _ = mapping.advise(0..bytes, Advice::LinuxNoHugepage);
        mapping.make_writable(bytes.min(WRITABLE_BYTES_MIN))?;
        Ok(mapping)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first byte.
    pub(super) fn base(&self) -> NonNull<c_void> {
        self.base
    }

    /// Sees to it that the bytes up to `end` may be written to.
    ///
    /// # Errors
    /// The operating system's, when it won't let the process have so much memory.
    pub(super) fn make_writable(&self, end: usize) -> io::Result<()> {
        let writable = self.writable.load(Relaxed);
        if end <= writable {
            return Ok(());
        }
        assert!(end <= self.bytes);
        let more = if writable == 0 { end } else { end.next_multiple_of(HUGE_BYTES) };
        let more = more.min(self.bytes);
        let start = self.base.as_ptr().cast::<u8>().wrapping_add(writable);
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the range lies inside of the mapping, and what could be read still can.
        unsafe { mprotect(start.cast(), more - writable, flags) }?;
        self.writable.store(more, Relaxed);
        Ok(())
    }

    /// What the stretch that a byte lies in is made of.
    pub(super) fn block(&self, at: usize) -> Block {
        match self.blocks[at / HUGE_BYTES].load(Relaxed) {
            1 => Block::Asked,
            2 => Block::Touching,
            3 => Block::Huge,
            _ => Block::Small,
        }
    }

    /// Turns the stretch that a byte lies in into another, if it is what it is taken for.
    pub(super) fn change_block(&self, at: usize, from: Block, to: Block) -> bool {
        let block = &self.blocks[at / HUGE_BYTES];
        block.compare_exchange(from as u8, to as u8, Relaxed, Relaxed).is_ok()
    }

    /// Makes a stretch that was [asked](Block::Asked) for, and that is writable and nobody has written
    /// to, resident as one huge page, if the kernel has one, and takes the time.
    pub(super) fn touch_huge(&self, start: usize) {
        if !self.change_block(start, Block::Asked, Block::Touching) {
            return;
        }
        let page = start..start + HUGE_BYTES;
        // Where the kernel refuses, small pages are used.
        let _ = self.advise(page.clone(), Advice::LinuxHugepage);
        let _ = self.advise(start..start + SMALL_BYTES, Advice::LinuxPopulateWrite);
        // What is given back of it and used again comes in small pages: nobody waits, and no more
        // becomes resident than is used.
        let _ = self.advise(page, Advice::LinuxNoHugepage);
        self.change_block(start, Block::Touching, Block::Huge);
    }

    /// Turns a range within one stretch of [`HUGE_BYTES`] back into zeroes, and its memory back to the
    /// kernel. False if it is not to be had now, and nothing was done.
    pub(super) fn give_back(&self, bytes: Range<usize>) -> bool {
        let (start, len) = (bytes.start, bytes.len());
        debug_assert_eq!(start / HUGE_BYTES, (bytes.end - 1) / HUGE_BYTES);
        match self.block(start) {
            Block::Small => {}
            Block::Asked if self.change_block(start, Block::Asked, Block::Small) => {}
            Block::Asked | Block::Touching => return false,
            Block::Huge => {
                // The kernel splits a huge page when a part of it is said to be free.
                if len < HUGE_BYTES && self.advise(bytes.clone(), Advice::LinuxFree).is_err() {
                    return false;
                }
                self.change_block(start, Block::Huge, Block::Small);
            }
        }
        self.advise(bytes, Advice::LinuxDontNeed).is_ok()
    }

    fn advise(&self, bytes: Range<usize>, advice: Advice) -> io::Result<()> {
        assert!(bytes.start <= bytes.end && bytes.end <= self.bytes);
        let start = self.base.as_ptr().cast::<u8>().wrapping_add(bytes.start);
        // SAFETY: the range lies inside of the mapping, and zeroes are valid values of atomics.
        Ok(unsafe { madvise(start.cast(), bytes.len(), advice) }?)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows from it any more.
        let done = unsafe { munmap(self.whole.as_ptr(), self.whole_bytes) };
        debug_assert!(done.is_ok(), "a mapping of our own can be unmapped");
    }
}
