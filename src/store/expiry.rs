//! Giving expired entries' memory back, a page at a time.

use super::Expiry;
use super::eviction::RESERVE_PAGES;
use super::partition::Writer;
use super::wheel::Due;

/// Pages that one call of `maintain` looks at, or moves within the wheel, at most. A page takes
/// some ten microseconds at worst, when all of its 8 KiB are small entries that expire.
const PAGES_PER_CALL_MAX: u32 = 8;

/// Free pages that are kept in any case, as a share of those in use and as a number.
const FREE_SHARE: u32 = 4;
const FREE_PAGES_MIN: u32 = 256;

/// Free pages beyond that that one call gives back to the kernel, and no more after one of a huge page,
/// which takes the kernel some 150 us to split.
const RETURNED_PER_CALL_MAX: u32 = 8;

/// Buckets that one call takes out of the index.
const MERGED_PER_CALL_MAX: u32 = 32;

impl Writer<'_> {
    /// A bounded step of all that is to be done in the background. Whether more is due.
    pub(super) fn maintain(&mut self) -> bool {
        self.expire() | self.trim() | self.shrink_tables()
    }

    fn expire(&mut self) -> bool {
        for _ in 0..PAGES_PER_CALL_MAX {
            match self.keeper.wheel.turn(&self.partition.pages, self.now) {
                Due::Page(page) => self.expire_from(page),
                Due::Busy => {}
                Due::Nothing => return false,
            }
        }
        true
    }

    /// Removes what has ended of a page, and has the wheel bring the rest when it will have.
    fn expire_from(&mut self, page: u32) {
        let (now, mut word) = (self.now, 0);
        let kind = self.partition.pages.record(page).kind();
        let mut next = Expiry::NEVER;
        loop {
            let batch = self.gather(page, &mut word, |entry| {
                let expiry = entry.header.expiry();
                if !expiry.is_due(now) {
                    next = next.min(expiry);
                }
                expiry.is_due(now)
            });
            if batch.entries().is_empty() {
                break;
            }
            for &(place, hash) in batch.entries() {
                let Some((found, entry)) = self.resident(place, hash) else { continue };
                self.keeper.statistics.expired += 1;
                self.take_out(found, &entry);
            }
            if self.partition.pages.record(page).kind() != kind {
                return;
            }
        }
        self.keeper.wheel.watch(&self.partition.pages, page, next);
    }

    /// Gives free pages back to the kernel when they are many.
    fn trim(&mut self) -> bool {
        let partition = self.partition;
        for _ in 0..RETURNED_PER_CALL_MAX {
            let stock = &mut self.keeper.stock;
            let in_use = stock.held_pages() - stock.free_pages();
            let kept = (in_use / FREE_SHARE).max(FREE_PAGES_MIN).max(RESERVE_PAGES);
            if stock.free_pages() <= kept {
                return false;
            }
            let is_huge = stock.is_next_huge(&partition.pages);
            if !stock.give_back(&partition.pages, &partition.budget) {
                return false;
            }
            if is_huge {
                break;
            }
        }
        true
    }

    /// Lets the index and the memory of evicted keys follow the number of keys.
    fn shrink_tables(&mut self) -> bool {
        let merged = (0..MERGED_PER_CALL_MAX).take_while(|_| self.shrink_index()).count();
        let Writer { partition, keeper, .. } = self;
        let policy = &partition.policy;
        let keys = policy.keys(partition.number, keeper.keys);
        partition.index.give_back(&partition.budget)
            | policy.ghost.shrink(keys, &policy.budget, &mut keeper.tally.remembered)
            | (merged > 0)
    }
}
