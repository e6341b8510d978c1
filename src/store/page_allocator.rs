//! Which pages of a partition are in use, kept by its writers.

use std::sync::atomic::Ordering;

use super::budget::Budget;
use super::pages::{Kind, Links, NONE, PAGE_BYTES, PAGE_CHARGE, PAGE_WORDS, Pages, RECORD_BYTES};

/// Free pages that are kept for moving entries. Two are enough: a step of eviction moves at most the
/// entries that begin in a page, to one queue, and then frees that page; of these the last one may be
/// nearly a page by itself. So does compaction, with the entry that ends in the page.
pub(super) const RESERVE_PAGES: u32 = 2;

/// The pages that are not in use.
#[derive(Debug)]
pub(super) struct PageAllocator {
    /// Resident pages, last in first out, linked by [`Links::Queue`].
    first_free: u32,
    free_pages: u32,
    /// Pages that were given back to the kernel, linked likewise. Their records stay.
    returned: u32,
    returned_pages: u32,
    /// Pages from here on were never used.
    fresh: u32,
    /// The kernel did not take what was to be given back last.
    is_refused: bool,
}

impl PageAllocator {
    pub(super) fn new() -> Self {
        Self {
            first_free: NONE,
            free_pages: 0,
            returned: NONE,
            returned_pages: 0,
            fresh: 1,
            is_refused: false,
        }
    }

    pub(super) fn free_pages(&self) -> u32 {
        self.free_pages
    }

    /// Pages from here on were never used.
    pub(super) fn pages_end(&self) -> u32 {
        self.fresh
    }

    /// Pages that may be resident: in use or free.
    pub(super) fn held_pages(&self) -> u32 {
        self.fresh - 1 - self.returned_pages
    }

    /// Charged bytes that hold nothing.
    pub(super) fn idle_bytes(&self, pages: &Pages) -> u64 {
        u64::from(self.free_pages) * PAGE_CHARGE
            + u64::from(self.returned_pages) * RECORD_BYTES
            + pages.words.ahead_bytes()
    }

    /// A resident page that was freed before, the reserve included.
    pub(super) fn take_free(&mut self, pages: &Pages) -> Option<u32> {
        let page = self.first_free;
        if page == NONE {
            return None;
        }
        self.first_free = pages.next_in_chain(page);
        self.free_pages -= 1;
        Some(page)
    }

    /// A page that is not resident yet, if the budget allows for it.
    fn take_fresh(&mut self, pages: &Pages, budget: &Budget) -> Option<u32> {
        if self.returned != NONE {
            if !pages.words.take_back(PAGE_WORDS, budget) {
                return None;
            }
            let page = self.returned;
            self.returned = pages.next_in_chain(page);
            self.returned_pages -= 1;
            return Some(page);
        }
        let (page, end) = (self.fresh, self.fresh as usize + 1);
        if !pages.records.extend_to(end, budget) || !pages.words.extend_to(end * PAGE_WORDS, budget)
        {
            return None;
        }
        self.fresh += 1;
        Some(page)
    }

    /// A page that may be used now, other than the reserve.
    pub(super) fn allocate(&mut self, pages: &Pages, budget: &Budget) -> Option<u32> {
        while self.free_pages < RESERVE_PAGES {
            let page = self.take_fresh(pages, budget)?;
            self.free(pages, page);
        }
        if self.free_pages > RESERVE_PAGES {
            return self.take_free(pages);
        }
        self.take_fresh(pages, budget)
    }

    /// Frees a page that nothing refers to any more. Readers may still look at it.
    pub(super) fn free(&mut self, pages: &Pages, page: u32) {
        self.free_chain(pages, page, page, 1);
    }

    /// Frees linked pages, at the cost of one.
    pub(super) fn free_chain(&mut self, pages: &Pages, first: u32, last: u32, count: u32) {
        pages.record(first).set_kind(Kind::Free);
        pages.record(last).link(Links::Queue).next.store(self.first_free, Ordering::Relaxed);
        self.first_free = first;
        self.free_pages += count;
    }

    fn has_free(&self) -> bool {
        self.free_pages > RESERVE_PAGES
    }

    /// Whether there is anything to [give back](Self::give_spare_back).
    pub(super) fn has_spare(&self, pages: &Pages) -> bool {
        self.has_free() || pages.words.spare_bytes() > 0
    }

    /// Pages that others may count on: free ones beside the reserve, and what is charged ahead of its
    /// use. None while the kernel refuses them.
    pub(super) fn spare_pages(&self, pages: &Pages) -> u32 {
        let ahead = pages.words.spare_bytes() / PAGE_BYTES as u64;
        let free = self.free_pages.saturating_sub(RESERVE_PAGES);
        if self.is_refused { 0 } else { free + ahead as u32 }
    }

    /// Whether what is given back next lies in a huge page, which takes its time to be split.
    pub(super) fn is_next_huge(&self, pages: &Pages) -> bool {
        !self.has_free() || pages.words.is_huge(self.first_free as usize * PAGE_WORDS)
    }

    /// Gives a spare page back to the kernel and its bytes back to the budget, or all that is charged
    /// ahead of its use. False if there is nothing, or the kernel does not take it now.
    pub(super) fn give_spare_back(&mut self, pages: &Pages, budget: &Budget) -> bool {
        if !self.has_spare(pages) {
            return false;
        }
        let given = if self.has_free() {
            self.give_back(pages, budget)
        } else {
            pages.words.give_ahead_back(budget)
        };
        self.is_refused = !given;
        given
    }

    fn give_back(&mut self, pages: &Pages, budget: &Budget) -> bool {
        let Some(page) = self.take_free(pages) else { return false };
        let first = page as usize * PAGE_WORDS;
        if !pages.words.give_back(first..first + PAGE_WORDS, budget) {
            self.free(pages, page);
            return false;
        }
        pages.record(page).link(Links::Queue).next.store(self.returned, Ordering::Relaxed);
        self.returned = page;
        self.returned_pages += 1;
        true
    }

    /// Checks the invariants of the pages that are not in use, and gives each of them to `each`. Every
    /// page below the number that it returns was in use at some time.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self, pages: &Pages, mut each: impl FnMut(u32)) -> u32 {
        let lists = [(self.first_free, self.free_pages), (self.returned, self.returned_pages)];
        for (first, count) in lists {
            let mut page = first;
            for _ in 0..count {
                assert!(page != NONE && page < self.fresh, "a free page is in one list: {page}");
                each(page);
                page = pages.next_in_chain(page);
            }
        }
        let charged = pages.words.charged_len() / PAGE_WORDS;
        assert!(self.fresh as usize <= charged.max(1), "charged is never less: pages in use");
        assert!(self.fresh as usize <= pages.records.charged_len().max(1), "charged: records");
        self.fresh
    }
}
