//! When which page has something to expire.
//!
//! A hierarchical timer wheel of pages: 64 lists for the next 64 seconds, 64 for the 64 times 64
//! seconds from there on, and so on. A page is on the list of the earliest end among its live
//! entries, rounded up to a second, by links in its record: an entry with a time to live costs no
//! more memory than one without. Each step of the wheel moves or yields one page.

use std::sync::atomic::Ordering::Relaxed;

use super::clock::{Expiry, Tick};
use super::list::List;
use super::pages::{Links, Pages};

const LEVEL_BITS: u32 = 6;
const LISTS_PER_LEVEL: usize = 1 << LEVEL_BITS;
const LEVELS: u32 = 5;

/// Ticks that are looked at together, as a power of two: a second.
const UNIT_BITS: u32 = 3;

const _: () = assert!(u32::BITS - UNIT_BITS <= LEVELS * LEVEL_BITS);

/// Seconds that one call passes over at most when nothing is due in them.
const UNITS_PER_CALL_MAX: u32 = 4096;

#[derive(Debug)]
pub(super) struct Wheel {
    lists: [List; LISTS_PER_LEVEL * LEVELS as usize],
    /// Everything before this unit was yielded.
    cursor: u32,
    /// The highest level whose list for the cursor may not have been moved down yet.
    level: u32,
    pages: u32,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Look at this page, which is no longer on the wheel.
    Page(u32),
    /// A page was moved, or a lot of time passed over; ask again.
    Busy,
    /// Nothing is due.
    Nothing,
}

/// The unit that `now` lies in.
pub(super) fn unit_of(now: Tick) -> u32 {
    now.0 >> UNIT_BITS
}

/// The first unit in all of which the entry has ended.
fn unit_after(expiry: Expiry) -> u32 {
    (expiry.to_bits() >> UNIT_BITS) + 1
}

impl Wheel {
    pub(super) fn new() -> Self {
        let lists = [List::EMPTY; LISTS_PER_LEVEL * LEVELS as usize];
        Self { lists, cursor: 0, level: 0, pages: 0 }
    }

    /// Has a page yielded within a second after `expiry`, or before if it is on the wheel for an
    /// earlier time already.
    #[inline]
    pub(super) fn watch(&mut self, pages: &Pages, page: u32, expiry: Expiry) {
        if expiry != Expiry::NEVER {
            self.watch_end(pages, page, expiry);
        }
    }

    #[inline(never)]
    fn watch_end(&mut self, pages: &Pages, page: u32, expiry: Expiry) {
        let (record, due) = (pages.record(page), unit_after(expiry));
        if record.wheel_list.load(Relaxed) != 0 {
            if record.due.load(Relaxed) <= due {
                return;
            }
            self.forget(pages, page);
        }
        record.due.store(due, Relaxed);
        self.insert(pages, page);
    }

    /// Takes a page off the wheel, if it is on it.
    #[inline]
    pub(super) fn forget(&mut self, pages: &Pages, page: u32) {
        let list = pages.record(page).wheel_list.swap(0, Relaxed);
        if list != 0 {
            self.lists[usize::from(list) - 1].remove(pages, Links::Wheel, page);
            self.pages -= 1;
        }
    }

    fn insert(&mut self, pages: &Pages, page: u32) {
        let record = pages.record(page);
        // What is late is due at once.
        let due = record.due.load(Relaxed).max(self.cursor);
        let highest_difference = (due ^ self.cursor).checked_ilog2().unwrap_or(0);
        let list = list_of(highest_difference / LEVEL_BITS, due);
        self.lists[list].push(pages, Links::Wheel, page);
        record.wheel_list.store(list as u16 + 1, Relaxed);
        self.pages += 1;
    }

    /// Takes the next step towards `now`.
    pub(super) fn advance(&mut self, pages: &Pages, now: Tick) -> Due {
        let now = unit_of(now);
        if self.pages == 0 {
            (self.cursor, self.level) = (now.max(self.cursor), 0);
            return Due::Nothing;
        }
        for _ in 0..UNITS_PER_CALL_MAX {
            while self.level > 0 {
                if let Some(page) = self.lists[list_of(self.level, self.cursor)].first() {
                    self.forget(pages, page);
                    self.insert(pages, page);
                    return Due::Busy;
                }
                self.level -= 1;
            }
            if self.cursor <= now
                && let Some(page) = self.lists[list_of(0, self.cursor)].first()
            {
                self.forget(pages, page);
                return Due::Page(page);
            }
            if self.cursor >= now {
                return Due::Nothing;
            }
            self.cursor += 1;
            self.level = (self.cursor.trailing_zeros() / LEVEL_BITS).min(LEVELS - 1);
        }
        Due::Busy
    }

    /// Checks that each page of the log that has an entry with an end is on the wheel in time: `earliest`
    /// is the earliest end among its live entries.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariant(&self, pages: &Pages, page: u32, earliest: Expiry) {
        let record = pages.record(page);
        let is_watched = record.wheel_list.load(Relaxed) != 0;
        assert!(
            earliest == Expiry::NEVER
                || is_watched && record.due.load(Relaxed) <= unit_after(earliest),
            "an end is watched: page {page} is looked at too late"
        );
    }

    /// Checks that the lists hold as many pages as are watched.
    #[cfg(debug_assertions)]
    pub(super) fn check_lists(&self, pages: &Pages) {
        let watched = self.lists.iter().map(|list| list.iter(pages, Links::Wheel).count());
        assert_eq!(watched.sum::<usize>(), self.pages as usize, "an end is watched: the lists");
    }
}

fn list_of(level: u32, unit: u32) -> usize {
    level as usize * LISTS_PER_LEVEL + (unit >> (level * LEVEL_BITS)) as usize % LISTS_PER_LEVEL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_by(wheel: &mut Wheel, pages: &Pages, now: Tick) -> Vec<u32> {
        let mut due = Vec::new();
        loop {
            match wheel.advance(pages, now) {
                Due::Page(page) => due.push(page),
                Due::Busy => {}
                Due::Nothing => break,
            }
        }
        due.sort_unstable();
        due
    }

    #[test]
    fn every_page_comes_within_a_second_of_its_time() {
        let pages = Pages::reserve(4 << 20, None).expect("address space");
        let mut wheel = Wheel::new();
        let ends: Vec<u32> = (1..300u32).map(|i| i * i * i % 70_001 + i).collect();
        for (page, &end) in (1..).zip(&ends) {
            wheel.watch(&pages, page, Expiry::from_bits(end + 1000));
            wheel.watch(&pages, page, Expiry::from_bits(end));
            wheel.watch(&pages, page, Expiry::from_bits(end + 2000));
        }
        wheel.forget(&pages, 7);
        let mut seen = 0;
        for now in (0..80_000).step_by(5) {
            for page in due_by(&mut wheel, &pages, Tick(now)) {
                let end = ends[page as usize - 1];
                assert!(end <= now && now < end + 8 + 5, "page {page} of {end} at {now}");
                seen += 1;
            }
        }
        assert_eq!(seen, ends.len() - 1);
    }

    #[test]
    fn a_page_in_the_far_future_comes_too() {
        let pages = Pages::reserve(1 << 20, None).expect("address space");
        let mut wheel = Wheel::new();
        wheel.watch(&pages, 1, Expiry::from_bits(1 << 30));
        assert!(due_by(&mut wheel, &pages, Tick((1 << 30) - 1)).is_empty());
        assert_eq!(due_by(&mut wheel, &pages, Tick((1 << 30) + 8)), [1]);
    }
}
