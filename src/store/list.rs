//! Doubly linked lists of pages whose links lie in the pages' records.

use std::sync::atomic::Ordering::Relaxed;

use super::pages::{NONE, Pages, Room};

/// One list. All operations must name the same room.
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

    pub(super) fn push(&mut self, pages: &Pages, room: Room, page: u32) {
        let link = pages.record(page).link(room);
        link.next.store(NONE, Relaxed);
        link.previous.store(self.last, Relaxed);
        match self.last {
            NONE => self.first = page,
            last => pages.record(last).link(room).next.store(page, Relaxed),
        }
        self.last = page;
    }

    /// Takes a page off the list; it must be on it.
    pub(super) fn remove(&mut self, pages: &Pages, room: Room, page: u32) {
        let link = pages.record(page).link(room);
        let (next, previous) = (link.next.load(Relaxed), link.previous.load(Relaxed));
        match previous {
            NONE => self.first = next,
            _ => pages.record(previous).link(room).next.store(next, Relaxed),
        }
        match next {
            NONE => self.last = previous,
            _ => pages.record(next).link(room).previous.store(previous, Relaxed),
        }
    }
}
