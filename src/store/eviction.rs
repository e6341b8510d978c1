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
//! walks the oldest page of one queue and ends as soon as it has freed something, which a large
//! value does by itself, so that its length is bounded by a page's entries. Which partition's queue
//! it is, is for [`super::policy`] to say.

use std::sync::atomic::Ordering::Relaxed;

use super::Shortage;
use super::bucket::Slot;
use super::entry::Entry;
use super::ghost::Memory;
use super::index::{Found, SlotHint, tag_of};
use super::pages::{Kind, place_in};
use super::partition::Writer;
use super::policy::Choice;

/// Free pages that are kept for moving entries. One is enough: a step moves at most a page's
/// entries, to one queue, and then frees that page.
pub(super) const RESERVE_PAGES: u32 = 1;

/// Entries that one write looks at at most before it gives up.
const EFFORT_MAX: u32 = 16_384;

/// What emptying a page of its last live entries counts.
const SQUEEZE_EFFORT: u32 = 64;

/// Entries after which marks save nobody any more, so that a write need not wait until the marks
/// of a whole store have been worn down.
const EFFORT_WITH_MARKS_MAX: u32 = 8_192;

/// Evictions that a partition counts for itself before it tells the policy.
const EVICTIONS_PER_TALLY: u64 = 16;

/// A key moves from the small queue to the main one when it was hit so often.
const PROMOTE_MARK: u8 = 1;

/// Entries that are looked up together, so that their cache misses overlap.
const BATCH: usize = 32;

/// Live entries of a page, on their way to be evicted, moved, or expired.
pub(super) struct Batch {
    entries: [(u64, u64); BATCH],
    len: usize,
    ends_with_large: bool,
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
        loop {
            if self.index_has_room() {
                if self.keeper.log.has_room(&self.partition.pages, kind, words) {
                    return Ok(());
                }
                if let Some(page) = self.take_page() {
                    self.open_page(kind, page);
                    return Ok(());
                }
            }
            self.reclaim()?;
        }
    }

    /// A page for a large value, evicting for it as needed.
    pub(super) fn make_page(&mut self) -> Result<u32, Shortage> {
        loop {
            if let Some(page) = self.take_page() {
                return Ok(page);
            }
            self.reclaim()?;
        }
    }

    /// A page that may be used now, other than the reserve.
    fn take_page(&mut self) -> Option<u32> {
        let (pages, budget) = (&self.partition.pages, &self.partition.budget);
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
        let (index, budget) = (&partition.index, &partition.budget);
        let crowded = index.is_crowded(keeper.keys + 1);
        loop {
            let provided = index.provide(&mut keeper.lines, budget);
            if provided && (!crowded || index.provide_bucket(budget)) {
                return true;
            }
            if keeper.stock.free_pages() <= RESERVE_PAGES
                || !keeper.stock.give_back(&partition.pages, budget)
            {
                return false;
            }
        }
    }

    /// One step towards a free page, here or elsewhere.
    fn reclaim(&mut self) -> Result<(), Shortage> {
        if self.effort >= EFFORT_MAX {
            return Err(Shortage::Full);
        }
        if self.squeeze() {
            return Ok(());
        }
        let number = self.partition.number;
        let choice = if self.partition.policy.is_shared() {
            self.show();
            self.partition.policy.choose(number)
        } else {
            let weights =
                [Kind::Small, Kind::Main].map(|kind| self.keeper.log.queue(kind).weight());
            let small = self.partition.policy.share().small_is_first(weights);
            let kind = if small { Kind::Small } else { Kind::Main };
            Some(Choice { partition: number, kind })
        };
        match choice {
            Some(choice) if choice.partition != number => Err(Shortage::Elsewhere(choice)),
            Some(choice) if self.evict_from(choice.kind) => Ok(()),
            _ => Err(Shortage::Full),
        }
    }

    /// Empties the page with the most dead words, if that is worth it and nobody has to go for it.
    fn squeeze(&mut self) -> bool {
        if self.keeper.stock.free_pages() < RESERVE_PAGES {
            return false;
        }
        let Some(page) = self.keeper.log.sparsest() else { return false };
        self.effort += SQUEEZE_EFFORT;
        self.compact(page);
        true
    }

    /// Gives up to so many pages back to the kernel and the budget. If there are none, room is made
    /// for as long as it is to be made here.
    pub(super) fn give_up(&mut self, kind: Kind, count: u32) {
        let policy = &self.partition.policy;
        let mut next = (kind != Kind::Free).then_some(kind);
        while self.keeper.stock.free_pages() <= RESERVE_PAGES
            && self.effort < EFFORT_MAX
            && let Some(kind) = next
            && (self.squeeze() || self.evict_from(kind))
        {
            self.show();
            // What comes next may be younger than what others have.
            let choice = policy.choose(self.partition.number);
            next =
                choice.filter(|choice| choice.partition == self.partition.number).map(|c| c.kind);
        }
        for _ in 0..count {
            let stock = &mut self.keeper.stock;
            let is_huge = stock.is_next_huge(&self.partition.pages);
            if stock.free_pages() <= RESERVE_PAGES
                || !stock.give_back(&self.partition.pages, &self.partition.budget)
                // To split a huge page has taken long enough for one lock.
                || is_huge
            {
                return;
            }
        }
    }

    /// Walks the oldest page of a queue, or of the other if that one is empty, from where the last
    /// walk ended, until something became free or a large value was looked at: what comes next may
    /// be in another queue then. False if both are empty.
    fn evict_from(&mut self, kind: Kind) -> bool {
        let other = if kind == Kind::Main { Kind::Small } else { Kind::Main };
        // What is pinned weighs in its queue, but can't be evicted: then it is the other one's turn.
        let is_pinned = self.pinned_in.take() == Some(kind);
        let (kind, other) = if is_pinned { (other, kind) } else { (kind, other) };
        let oldest = |kind| Some((kind, self.keeper.log.queue(kind).oldest()?));
        let Some((kind, page)) = oldest(kind).or_else(|| oldest(other)) else { return false };
        let pages = &self.partition.pages;
        self.effort += 1;
        self.keeper.log.unclassify(pages, page);
        self.keeper.log.moved_on = true;
        let free_before = self.keeper.stock.free_pages();
        let record = pages.record(page);
        while record.kind() == kind && self.keeper.stock.free_pages() <= free_before {
            let mut hand = usize::from(record.hand.load(Relaxed));
            let batch = self.gather(page, &mut hand, |_| true);
            record.hand.store(hand as u16, Relaxed);
            if batch.entries().is_empty() {
                debug_assert!(false, "a page without live entries is freed by the last one");
                break;
            }
            self.effort += batch.entries().len() as u32;
            for &(place, hash) in batch.entries() {
                self.evict_or_keep(kind, place, hash);
            }
            if batch.ends_with_large {
                break;
            }
        }
        self.tell();
        true
    }

    fn evict_or_keep(&mut self, kind: Kind, place: u64, hash: u64) {
        let Some((found, entry)) = self.resident(place, hash) else { return };
        let mark = found.slot.mark();
        let stays = if kind == Kind::Main { mark > 0 } else { mark >= PROMOTE_MARK };
        let expired = entry.header.expiry().is_due(self.now);
        let is_patient = self.effort < EFFORT_WITH_MARKS_MAX;
        let is_pinned = self.is_pinned(&entry);
        if is_pinned {
            self.pinned_in = Some(kind);
        }
        let is_spared = is_pinned
            || self.spared.is_some_and(|key| key.hash == hash && (is_patient || key.for_good));
        if is_spared && !expired && self.move_to(Kind::Main, found, &entry, hash, mark) {
            return;
        }
        if stays && !expired && is_patient {
            let is_shifting = self.partition.policy.share().is_shifting();
            let mark = if kind == Kind::Main && !is_shifting { mark - 1 } else { 0 };
            if self.move_to(Kind::Main, found, &entry, hash, mark) {
                return;
            }
        }
        self.evict(found, &entry);
        if !expired {
            let tally = &mut self.keeper.tally;
            tally.evictions += 1;
            self.partition.policy.ghost.remember(hash, kind, &mut tally.remembered);
        }
    }

    /// The queue that a key starts in that is not in the store, and what is remembered of it.
    pub(super) fn queue_for_new(&self, hash: u64) -> (Kind, Option<Memory<'a>>) {
        let memory = self.partition.policy.ghost.recall(hash);
        (if memory.is_some() { Kind::Main } else { Kind::Small }, memory)
    }

    /// A key is back that was remembered.
    pub(super) fn count_return(&mut self, memory: Memory<'_>) {
        let tally = &mut self.keeper.tally;
        tally.returned[memory.kind().queue()] += 1;
        memory.forget(&mut tally.remembered);
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
    /// behind them. Their index lines are on the way when it returns. A batch ends with a large
    /// value, whose pages may be all that is needed.
    pub(super) fn gather(
        &self,
        page: u32,
        word: &mut usize,
        mut wanted: impl FnMut(&Entry<'_>) -> bool,
    ) -> Batch {
        let partition = self.partition;
        let used = usize::from(partition.pages.record(page).used.load(Relaxed));
        let mut batch = Batch { entries: [(0, 0); BATCH], len: 0, ends_with_large: false };
        while *word < used && batch.len < BATCH && !batch.ends_with_large {
            let place = place_in(page, *word);
            let Some(entry) = Entry::at(partition.pages.words_at(place)) else { break };
            *word += entry.header.words();
            if !entry.header.is_dead() && wanted(&entry) {
                let hash = partition.hasher.hash_entry(&entry);
                partition.index.prefetch(hash);
                batch.entries[batch.len] = (place, hash);
                batch.len += 1;
                batch.ends_with_large = entry.header.is_large();
            }
        }
        batch
    }

    /// An entry by its place and its key's hash, with the slot that refers to it.
    pub(super) fn resident(&self, place: u64, hash: u64) -> Option<(Found<'a>, Entry<'a>)> {
        let partition = self.partition;
        let found = partition.index.find(hash, SlotHint::NONE, |slot| slot.place() == place);
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
            self.open_page(kind, page);
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

    /// Tells the policy what was counted, and lets the ghosts follow the number of keys.
    fn tell(&mut self) {
        let Writer { partition, keeper, .. } = self;
        if keeper.tally.evictions < EVICTIONS_PER_TALLY {
            return;
        }
        let policy = &partition.policy;
        let keys = policy.keys(partition.number, keeper.keys);
        let remembered = &mut keeper.tally.remembered;
        if !policy.ghost.follow(keys, &policy.budget, remembered)
            && keeper.stock.free_pages() > RESERVE_PAGES
            && keeper.stock.give_back(&partition.pages, &partition.budget)
        {
            policy.ghost.follow(keys, &policy.budget, remembered);
        }
        policy.hear(&std::mem::take(&mut keeper.tally), keys);
    }
}
