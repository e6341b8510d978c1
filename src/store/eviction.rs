//! Making room: dead words are squeezed out first, and then the keys evicted that are least
//! likely to be asked for again.
//!
//! ```text
//!                evicted not long ago ───────────────┐
//!                                                    v
//!   new keys ──> small queue ── hit since? ──yes──> main queue ── hit since? ──yes──┐
//!                                └─no─> evicted,     ^             └─no─> evicted,  │
//!                                       remembered   │                    remembered│
//!                                                    └──────────────────────────────┘
//!                                                          with one mark less
//! ```
//!
//! This is S3-FIFO (SOSP '23) over pages of a log, but for the small queue's share, which changes
//! (see [`super::steering`]). While it is large, marks count once, whatever their height. A step
//! walks the oldest page of one queue and ends as soon as it has freed something, so that its
//! length is bounded by a page's entries.

use std::sync::atomic::Ordering::Relaxed;

use super::Shortage;
use super::bucket::Slot;
use super::entry::Entry;
use super::index::{Found, Sighting, tag_of};
use super::pages::{Kind, place_in};
use super::partition::Writer;

/// Free pages that are kept for moving entries. One is enough: a step moves at most a page's
/// entries, to one queue, and then frees that page.
pub(super) const RESERVE_PAGES: u32 = 1;

/// Steps that one write takes at most before it gives up.
const STEPS_MAX: u32 = 128;

/// Steps after which marks save nobody any more, so that a write need not wait until the marks
/// of a whole store have been worn down.
const STEPS_WITH_MARKS_MAX: u32 = 64;

/// A key moves from the small queue to the main one when it was hit so often.
const PROMOTE_MARK: u8 = 1;

/// Entries that are looked up together, so that their cache misses overlap.
const BATCH: usize = 32;

/// Live entries of a page, on their way to be evicted, moved, or expired.
pub(super) struct Batch {
    entries: [(u64, u64); BATCH],
    len: usize,
}

impl Batch {
    pub(super) fn entries(&self) -> &[(u64, u64)] {
        &self.entries[..self.len]
    }
}

impl<'a> Writer<'a> {
    /// Sees to it that an entry of so many words can be appended to the queue and put into the
    /// index.
    pub(super) fn make_room(&mut self, kind: Kind, words: usize) -> Result<(), Shortage> {
        for step in 0..STEPS_MAX {
            if self.index_has_room() {
                if self.keeper.log.has_room(&self.partition.pages, kind, words) {
                    return Ok(());
                }
                if let Some(page) = self.take_page() {
                    self.keeper.log.open(&self.partition.pages, kind, page);
                    return Ok(());
                }
            }
            self.reclaim(step)?;
        }
        Err(Shortage::Full)
    }

    /// A page for a large value, evicting for it as needed.
    pub(super) fn make_page(&mut self) -> Result<u32, Shortage> {
        for step in 0..STEPS_MAX {
            if let Some(page) = self.take_page() {
                return Ok(page);
            }
            self.reclaim(step)?;
        }
        Err(Shortage::Full)
    }

    /// A page that may be used now, other than the reserve.
    fn take_page(&mut self) -> Option<u32> {
        let (pages, budget) = (&self.partition.pages, &*self.partition.budget);
        let stock = &mut self.keeper.stock;
        while stock.free_pages() < RESERVE_PAGES {
            let page = stock.take_fresh(pages, budget)?;
            stock.put(pages, page);
        }
        if stock.free_pages() > RESERVE_PAGES {
            return stock.take_free(pages);
        }
        stock.take_fresh(pages, budget)
    }

    /// Whether the index can take one more key, at the cost of a free page if need be.
    fn index_has_room(&mut self) -> bool {
        let Writer { partition, keeper, .. } = self;
        let (index, budget) = (&partition.index, &*partition.budget);
        let crowded = index.is_crowded(keeper.keys + 1);
        loop {
            let lines = &mut keeper.lines;
            if lines.provide(index, budget) && (!crowded || lines.provide_bucket(index, budget)) {
                return true;
            }
            if keeper.stock.free_pages() <= RESERVE_PAGES {
                return false;
            }
            keeper.stock.give_back(&partition.pages, budget);
        }
    }

    /// One step towards a free page.
    fn reclaim(&mut self, step: u32) -> Result<(), Shortage> {
        // A partition that has less than its share takes from those that have more.
        if step == 0 && self.asks_elsewhere && self.partition.is_below_share(self.keeper) {
            return Err(Shortage::Elsewhere);
        }
        self.reclaim_here(step >= STEPS_WITH_MARKS_MAX)
    }

    fn reclaim_here(&mut self, hasty: bool) -> Result<(), Shortage> {
        if let Some(page) = self.keeper.log.sparsest() {
            self.compact(page);
            return Ok(());
        }
        let (small, main) = (self.keeper.log.queue(Kind::Small), self.keeper.log.queue(Kind::Main));
        // What is pinned weighs in its queue, but can't be evicted: then it is the other one's turn.
        let small_first = match self.pinned_in.take() {
            Some(kind) => kind == Kind::Main,
            None => self.keeper.steering.small_is_first(small.weight(), main.weight()),
        };
        let (kind, page) = match (small.oldest(), main.oldest()) {
            (Some(page), None) => (Kind::Small, page),
            (Some(page), _) if small_first => (Kind::Small, page),
            (_, Some(page)) => (Kind::Main, page),
            (None, None) => return Err(Shortage::Full),
        };
        self.evict_from(kind, page, hasty);
        self.grow_ghost();
        Ok(())
    }

    /// Gives up to so many pages back to the kernel and the budget; how many.
    pub(super) fn give_up(&mut self, count: u32) -> u32 {
        let partition = self.partition;
        for given in 0..count {
            for step in 0..STEPS_MAX {
                if self.keeper.stock.free_pages() > RESERVE_PAGES {
                    break;
                }
                if self.reclaim_here(step >= STEPS_WITH_MARKS_MAX).is_err() {
                    return given;
                }
            }
            if self.keeper.stock.free_pages() <= RESERVE_PAGES {
                return given;
            }
            self.keeper.stock.give_back(&partition.pages, &partition.budget);
        }
        count
    }

    /// Walks a page from where the last walk ended until something became free.
    fn evict_from(&mut self, kind: Kind, page: u32, hasty: bool) {
        let pages = &self.partition.pages;
        if self.keeper.log.is_open(kind, page) {
            self.keeper.log.close(pages, kind);
        }
        let free_before = self.keeper.stock.free_pages();
        let record = pages.record(page);
        while record.kind() == kind {
            let mut hand = usize::from(record.hand.load(Relaxed));
            let batch = self.gather(page, &mut hand, |_| true);
            record.hand.store(hand as u16, Relaxed);
            if batch.entries().is_empty() {
                debug_assert!(false, "a page without live entries is freed by the last one");
                return;
            }
            for &(place, hash) in batch.entries() {
                self.evict_or_keep(kind, place, hash, hasty);
            }
            if self.keeper.stock.free_pages() > free_before {
                return;
            }
        }
    }

    fn evict_or_keep(&mut self, kind: Kind, place: u64, hash: u64, hasty: bool) {
        let Some((found, entry)) = self.resident(place, hash) else { return };
        let mark = found.slot.mark();
        let stays = if kind == Kind::Main { mark > 0 } else { mark >= PROMOTE_MARK };
        let expired = entry.header.expiry().is_due(self.now);
        let is_pinned = self.is_pinned(&entry);
        if is_pinned {
            self.pinned_in = Some(kind);
        }
        let is_spared = is_pinned || (self.spared == Some(hash) && !hasty);
        if is_spared && !expired && self.move_to(Kind::Main, found, &entry, hash, mark) {
            return;
        }
        if stays && !hasty && !expired {
            let is_shifting = self.keeper.steering.is_shifting();
            let mark = if kind == Kind::Main && !is_shifting { mark - 1 } else { 0 };
            if self.move_to(Kind::Main, found, &entry, hash, mark) {
                return;
            }
        }
        self.evict(found, &entry);
        if !expired {
            let keeper = &mut *self.keeper;
            keeper.ghost.remember(hash, kind);
            keeper.steering.count_eviction(keeper.keys, keeper.ghost.remembered());
        }
    }

    /// The queue that a key starts in that is not in the store.
    pub(super) fn queue_for_new(&mut self, hash: u64) -> Kind {
        let Some(kind) = self.keeper.ghost.recall(hash) else { return Kind::Small };
        self.keeper.steering.count_return(kind);
        Kind::Main
    }

    /// Moves a page's live entries to the youngest page of its queue.
    fn compact(&mut self, page: u32) {
        let kind = self.partition.pages.record(page).kind();
        let mut word = 0;
        loop {
            let batch = self.gather(page, &mut word, |_| true);
            for &(place, hash) in batch.entries() {
                let Some((found, entry)) = self.resident(place, hash) else { continue };
                let expired = entry.header.expiry().is_due(self.now);
                if expired || !self.move_to(kind, found, &entry, hash, found.slot.mark()) {
                    self.evict(found, &entry);
                }
            }
            if self.partition.pages.record(page).kind() != kind || batch.entries().is_empty() {
                return;
            }
        }
    }

    /// The next live entries of a page that are `wanted`, from a word of it on, which is moved
    /// behind them. Their index lines are on the way when it returns.
    pub(super) fn gather(
        &self,
        page: u32,
        word: &mut usize,
        mut wanted: impl FnMut(&Entry<'_>) -> bool,
    ) -> Batch {
        let partition = self.partition;
        let used = usize::from(partition.pages.record(page).used.load(Relaxed));
        let mut batch = Batch { entries: [(0, 0); BATCH], len: 0 };
        while *word < used && batch.len < BATCH {
            let place = place_in(page, *word);
            let Some(entry) = Entry::at(partition.pages.words_at(place)) else { break };
            *word += entry.header.words();
            if !entry.header.is_dead() && wanted(&entry) {
                let hash = partition.hasher.hash_entry(&entry);
                partition.index.prefetch(hash);
                batch.entries[batch.len] = (place, hash);
                batch.len += 1;
            }
        }
        batch
    }

    /// An entry by its place and its key's hash, with the slot that refers to it.
    pub(super) fn resident(&self, place: u64, hash: u64) -> Option<(Found<'a>, Entry<'a>)> {
        let partition = self.partition;
        let found = partition.index.find(hash, Sighting::NONE, |slot| slot.place() == place);
        debug_assert!(found.is_some(), "an entry that is not dead is in the index");
        Some((found?, Entry::at(partition.pages.words_at(place))?))
    }

    /// Copies an entry to a queue's end; false if there is no room even for that.
    fn move_to(
        &mut self,
        kind: Kind,
        found: Found<'_>,
        entry: &Entry<'_>,
        hash: u64,
        mark: u8,
    ) -> bool {
        let (pages, words) = (&self.partition.pages, entry.header.words());
        if !self.keeper.log.has_room(pages, kind, words) {
            let Some(page) = self.keeper.stock.take_free(pages) else { return false };
            self.keeper.log.open(pages, kind, page);
        }
        let place = self.append(kind, words, entry.header.expiry());
        if entry.header.is_large() {
            self.count_large(kind, entry.large().0);
        }
        entry.copy_to(pages.words_at(place));
        self.partition.index.replace(found, Slot::new(tag_of(hash), mark, place));
        self.discard(found.slot.place(), entry);
        true
    }

    /// Removes an entry to make room.
    fn evict(&mut self, found: Found<'_>, entry: &Entry<'_>) {
        if entry.header.expiry().is_due(self.now) {
            self.keeper.statistics.expired += 1;
        } else {
            self.keeper.statistics.evicted += 1;
        }
        self.take_out(found, entry);
    }

    /// Lets the memory of evicted keys follow the number of keys.
    fn grow_ghost(&mut self) {
        let Writer { partition, keeper, .. } = self;
        if !keeper.ghost.is_crowded(keeper.keys) || keeper.ghost.grow(&partition.budget) {
            return;
        }
        if keeper.stock.free_pages() > RESERVE_PAGES
            && keeper.stock.give_back(&partition.pages, &partition.budget)
        {
            keeper.ghost.grow(&partition.budget);
        }
    }
}
