//! Doubly linked lists of pages whose links lie in the pages' records.

use std::sync::atomic::Ordering::Relaxed;

use super::pages::{Links, NONE, Pages};

/// One list. All operations must name the same links.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    /// The page that has been on the list for the longest time.
    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn push(&mut self, pages: &Pages, links: Links, page: u32) {
        let link = pages.record(page).link(links);
        link.next.store(NONE, Relaxed);
        link.previous.store(self.last, Relaxed);
        match self.last {
            NONE => self.first = page,
            last => pages.record(last).link(links).next.store(page, Relaxed),
        }
        self.last = page;
    }

    /// Takes a page off the list; it must be on it.
    pub(super) fn remove(&mut self, pages: &Pages, links: Links, page: u32) {
        let link = pages.record(page).link(links);
        let (next, previous) = (link.next.load(Relaxed), link.previous.load(Relaxed));
        match previous {
            NONE => self.first = next,
            _ => pages.record(previous).link(links).next.store(next, Relaxed),
        }
        match next {
            NONE => self.last = previous,
            _ => pages.record(next).link(links).previous.store(previous, Relaxed),
        }
    }

    /// The pages of the list, the oldest first.
    #[cfg(debug_assertions)]
    pub(super) fn iter<'a>(
        &self,
        pages: &'a Pages,
        links: Links,
    ) -> impl Iterator<Item = u32> + 'a {
        let next = move |&page: &u32| {
            let next = pages.record(page).link(links).next.load(Relaxed);
            (next != NONE).then_some(next)
        };
        std::iter::successors(self.first(), next)
    }
}
