//! Values of whole pages.
//!
//! Such a value is a chain of pages, linked by their records; its end may be in its entry. The entry in
//! the log counts as one reference and each reader as another; who drops the last one frees the pages. A
//! reference is taken under the partition's mutex, while the entry is in the index, so that no value comes
//! back to life. As long as a reader has one, the value is *pinned*: evicting it would free nothing.

use std::sync::atomic::Ordering;

use super::memory::{bytes_of, write_bytes};
use super::page_allocator::PageAllocator;
use super::pages::{Kind, Links, NONE, PAGE_BYTES, PAGE_CHARGE, Pages};

/// The entry's reference, among those of the readers, of which there are fewer.
const STORED: u32 = 1 << 31;

/// What a value of so many bytes costs of the memory limit, its entry not counted.
pub(super) fn charge(bytes: usize) -> u64 {
    bytes.div_ceil(PAGE_BYTES) as u64 * PAGE_CHARGE
}

/// The pages of a large value that is being received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) pages: u32,
    pub(super) len: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE, pages: 0, len: 0 };

    /// Bytes that still fit into the last page.
    pub(super) fn room(&self) -> usize {
        self.pages as usize * PAGE_BYTES - self.len as usize
    }

    pub(super) fn push(&mut self, pages: &Pages, page: u32) {
        pages.record(page).set_kind(Kind::Large);
        match self.last {
            NONE => self.first = page,
            last => pages.record(last).link(Links::Queue).next.store(page, Ordering::Relaxed),
        }
        self.last = page;
        self.pages += 1;
    }

    /// Writes bytes to the end. `from` is the first page that has room.
    pub(super) fn write(&mut self, pages: &Pages, from: u32, bytes: &[u8]) {
        let (mut page, mut bytes) = (from, bytes);
        while !bytes.is_empty() {
            let at = self.len as usize % PAGE_BYTES;
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_BYTES - at));
            write_bytes(pages.page(page), at, now);
            self.len += now.len() as u32;
            bytes = later;
            page = pages.next_in_chain(page);
        }
    }

    /// Takes the last page out, of several, with the bytes in it.
    pub(super) fn pop(&mut self, pages: &Pages) -> Self {
        let before = |page: &u32| Some(pages.next_in_chain(*page));
        let mut all = std::iter::successors(Some(self.first), before);
        let last = self.last;
        self.pages -= 1;
        self.last = all.nth(self.pages as usize - 1).unwrap_or(self.first);
        let paged = self.pages * PAGE_BYTES as u32;
        let popped = Self { first: last, last, pages: 1, len: self.len - paged };
        self.len = paged;
        popped
    }

    /// Notes in the first page's record what freeing the value needs, with one reference.
    pub(super) fn seal(&self, pages: &Pages) {
        let record = pages.record(self.first);
        record.references().store(STORED, Ordering::Relaxed);
        record.chain_pages().store(self.pages, Ordering::Relaxed);
        record.chain_last().store(self.last, Ordering::Relaxed);
    }

    /// Frees the pages of a value that nobody else has seen.
    pub(super) fn free(self, pages: &Pages, allocator: &mut PageAllocator) {
        if self.pages > 0 {
            allocator.free_chain(pages, self.first, self.last, self.pages);
        }
    }
}

/// A value that was sealed, by the record of its first page.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedChain<'a> {
    pages: &'a Pages,
    first: u32,
}

impl<'a> SharedChain<'a> {
    pub(super) fn new(pages: &'a Pages, first: u32) -> Self {
        Self { pages, first }
    }

    /// Number of its pages.
    pub(super) fn len(self) -> u32 {
        self.pages.record(self.first).chain_pages().load(Ordering::Relaxed)
    }

    /// What it costs of the memory limit.
    fn charge(self) -> u64 {
        u64::from(self.len()) * PAGE_CHARGE
    }

    /// The first page.
    pub(super) fn first(self) -> u32 {
        self.first
    }

    /// Notes when the value entered its queue, or was used last, by the policy's clock.
    pub(super) fn set_entered(self, time: u64) {
        self.pages.record(self.first).entered().store(time as u32, Ordering::Relaxed);
    }

    /// Notes where its entry lies, and since when.
    pub(super) fn set_home(self, place: u64, stamp: u16) {
        let record = self.pages.record(self.first);
        record.set_home(place);
        record.stamp.store(stamp, Ordering::Relaxed);
    }

    /// Whether readers hold it, so that evicting it would free nothing.
    pub(super) fn is_pinned(self) -> bool {
        let references = self.pages.record(self.first).references();
        references.load(Ordering::Relaxed) & !STORED > 0
    }

    /// Takes a reader's reference. What the value costs if it is the only one.
    pub(super) fn pin(self) -> Option<u64> {
        (self.add_reader() == STORED).then(|| self.charge())
    }

    /// Takes one more reader's reference; the references before.
    pub(super) fn add_reader(self) -> u32 {
        self.pages.record(self.first).references().fetch_add(1, Ordering::Relaxed)
    }

    /// Drops a reader's reference. What the value costs if it was the only one.
    pub(super) fn unpin(self, allocator: &mut PageAllocator) -> Option<u64> {
        let charge = self.charge();
        let left = self.release(1, allocator);
        (left & !STORED == 0).then_some(charge)
    }

    /// Drops the entry's reference.
    pub(super) fn release_stored(self, allocator: &mut PageAllocator) {
        self.release(STORED, allocator);
    }

    /// Drops a reference, and frees the pages if it was the last one. Those that are left.
    fn release(self, reference: u32, allocator: &mut PageAllocator) -> u32 {
        let record = self.pages.record(self.first);
        // Acquire and release order the readers' last looks before the pages' next use.
        let left = record.references().fetch_sub(reference, Ordering::AcqRel) - reference;
        if left == 0 {
            let last = record.chain_last().load(Ordering::Relaxed);
            allocator.free_chain(self.pages, self.first, last, self.len());
        }
        left
    }

    /// Calls `each` with the `len` bytes in the value's pages in order, a page at a time. The caller holds
    /// the partition's lock, so that the entry keeps the value.
    #[allow(unsafe_code)] // Shows pages of atomics as bytes.
    pub(super) fn each_page(self, len: usize, mut each: impl FnMut(&[u8])) {
        let (mut page, mut left) = (self.first, len);
        while left > 0 {
            let part = left.min(PAGE_BYTES);
            // SAFETY: the page is part of a sealed value, which nobody writes to, and is not freed
            // while the entry has its reference, which only the lock's holder could drop.
            each(&unsafe { bytes_of(self.pages.page(page)) }[..part]);
            left -= part;
            page = self.pages.next_in_chain(page);
        }
    }

    /// Checks that a value in the log is whole, and gives each of its pages to `each`.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(self, len: usize, mut each: impl FnMut(u32)) {
        let references = self.pages.record(self.first).references().load(Ordering::Relaxed);
        assert!(references & STORED != 0, "an entry is a reference to its value: {}", self.first);
        assert_eq!(self.len() as usize, len.div_ceil(PAGE_BYTES), "a value has its pages");
        let (mut page, mut last) = (self.first, NONE);
        for _ in 0..self.len() {
            assert!(page == self.first || self.pages.record(page).kind() == Kind::Large, "a chain");
            each(page);
            (last, page) = (page, self.pages.next_in_chain(page));
        }
        let noted = self.pages.record(self.first).chain_last().load(Ordering::Relaxed);
        assert_eq!(last, noted, "a value has its pages: the last one");
    }
}
