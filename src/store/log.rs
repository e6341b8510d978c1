//! The log that entries are appended to: two queues of pages by age, and the account of what in
//! them is live.

use std::sync::atomic::Ordering::Relaxed;

use super::Expiry;
use super::entry::Entry;
use super::list::List;
use super::pages::{Kind, NONE, PAGE_WORDS, Pages, Room, page_of, place_in};
use super::partition::Writer;

/// Dead words of a page are counted in so many parts of a page to find the sparsest ones.
pub(super) const SPARSE_CLASSES: usize = 8;

/// Pages of one kind, oldest first.
#[derive(Debug)]
pub(super) struct Queue {
    pages: List,
    /// The page that is appended to, the youngest; or none.
    open: u32,
    log_pages: u32,
    /// Pages of the large values whose entries are in this queue.
    large_pages: u32,
}

/// The log as its writers know it.
#[derive(Debug)]
pub(super) struct Log {
    small: Queue,
    main: Queue,
    /// Closed pages by the number of dead words in them; class 0 is not kept.
    sparse: [List; SPARSE_CLASSES],
    dead_words: u64,
    /// Whether what is next in a queue may be another entry than before.
    pub(super) moved_on: bool,
}

impl Queue {
    const EMPTY: Self = Self { pages: List::EMPTY, open: NONE, log_pages: 0, large_pages: 0 };

    pub(super) fn oldest(&self) -> Option<u32> {
        self.pages.first()
    }

    /// Pages in the queue and of the values that it leads to.
    pub(super) fn weight(&self) -> u64 {
        u64::from(self.log_pages) + u64::from(self.large_pages)
    }
}

impl Log {
    pub(super) fn new() -> Self {
        let sparse = [List::EMPTY; SPARSE_CLASSES];
        Self { small: Queue::EMPTY, main: Queue::EMPTY, sparse, dead_words: 0, moved_on: false }
    }

    pub(super) fn queue(&self, kind: Kind) -> &Queue {
        if kind == Kind::Main { &self.main } else { &self.small }
    }

    fn queue_mut(&mut self, kind: Kind) -> &mut Queue {
        if kind == Kind::Main { &mut self.main } else { &mut self.small }
    }

    /// Whether the open page has room for so many words.
    #[inline]
    pub(super) fn has_room(&self, pages: &Pages, kind: Kind, words: usize) -> bool {
        let open = self.queue(kind).open;
        open != NONE && usize::from(pages.record(open).used.load(Relaxed)) + words <= PAGE_WORDS
    }

    /// Appends to a fresh page from now on, which gets the stamp.
    pub(super) fn open(&mut self, pages: &Pages, kind: Kind, page: u32, stamp: u16) {
        self.close(pages, kind);
        let record = pages.record(page);
        record.set_kind(kind);
        record.used.store(0, Relaxed);
        record.live.store(0, Relaxed);
        record.hand.store(0, Relaxed);
        record.sparse.store(0, Relaxed);
        record.stamp.store(stamp, Relaxed);
        self.moved_on = true;
        let queue = self.queue_mut(kind);
        queue.pages.push(pages, Room::Queue, page);
        queue.log_pages += 1;
        queue.open = page;
    }

    /// Appends no more to the queue's open page.
    fn close(&mut self, pages: &Pages, kind: Kind) {
        let queue = self.queue_mut(kind);
        let page = std::mem::replace(&mut queue.open, NONE);
        if page != NONE {
            self.classify(pages, page);
        }
    }

    fn is_open(&self, kind: Kind, page: u32) -> bool {
        self.queue(kind).open == page
    }

    /// The closed page with the most dead words, if freeing such pages is worth the copying: it
    /// is at least half dead, or an eighth of the whole log is.
    pub(super) fn sparsest(&self) -> Option<u32> {
        let log_words =
            (u64::from(self.small.log_pages) + u64::from(self.main.log_pages)) * PAGE_WORDS as u64;
        let class_min = if self.dead_words * 8 > log_words { 1 } else { SPARSE_CLASSES / 2 };
        self.sparse[class_min..].iter().rev().find_map(List::first)
    }

    /// Puts a closed page on the list for its number of dead words, unless eviction is about to
    /// empty it anyway.
    #[inline]
    fn classify(&mut self, pages: &Pages, page: u32) {
        let record = pages.record(page);
        if record.hand.load(Relaxed) > 0 {
            return;
        }
        let dead = usize::from(record.used.load(Relaxed) - record.live.load(Relaxed));
        let class = (dead * SPARSE_CLASSES / PAGE_WORDS).min(SPARSE_CLASSES - 1);
        if class != usize::from(record.sparse.load(Relaxed)) {
            self.unclassify(pages, page);
            record.sparse.store(class as u8, Relaxed);
            if class != 0 {
                self.sparse[class].push(pages, Room::Sparse, page);
            }
        }
    }

    /// Takes a page off the list that it is on, if any.
    pub(super) fn unclassify(&mut self, pages: &Pages, page: u32) {
        let class = usize::from(pages.record(page).sparse.swap(0, Relaxed));
        if class != 0 {
            self.sparse[class].remove(pages, Room::Sparse, page);
        }
    }

    /// Takes a page out of the log.
    fn remove(&mut self, pages: &Pages, kind: Kind, page: u32) {
        self.unclassify(pages, page);
        self.moved_on = true;
        self.dead_words -= u64::from(pages.record(page).used.load(Relaxed));
        let queue = self.queue_mut(kind);
        queue.pages.remove(pages, Room::Queue, page);
        queue.log_pages -= 1;
        if queue.open == page {
            queue.open = NONE;
        }
    }
}

impl Writer<'_> {
    /// Takes words of the open page, which has room for them. The caller writes the entry, and
    /// then makes it visible.
    pub(super) fn append(&mut self, kind: Kind, words: usize, expiry: Expiry) -> u64 {
        let pages = &self.partition.pages;
        let page = self.keeper.log.queue(kind).open;
        let record = pages.record(page);
        let used = record.used.load(Relaxed);
        debug_assert!(page != NONE && usize::from(used) + words <= PAGE_WORDS);
        record.used.store(used + words as u16, Relaxed);
        record.live.store(record.live.load(Relaxed) + words as u16, Relaxed);
        self.keeper.wheel.watch(pages, page, expiry);
        place_in(page, usize::from(used))
    }

    /// Opens a page for a queue's entries.
    pub(super) fn open_page(&mut self, kind: Kind, page: u32) {
        let policy = &self.partition.policy;
        let stamp = policy.stamp(policy.pass(1));
        self.keeper.log.open(&self.partition.pages, kind, page, stamp);
    }

    /// Counts a large value towards the queue that its entry is in, from now on.
    pub(super) fn count_large(&mut self, kind: Kind, first: u32) {
        let record = self.partition.pages.record(first);
        let pages = record.chain_pages().load(Relaxed);
        record.entered().store(self.partition.policy.pass(pages) as u32, Relaxed);
        self.keeper.log.queue_mut(kind).large_pages += pages;
    }

    /// When what is next in a queue entered it, by the policy's clock.
    pub(super) fn entered(&self, kind: Kind) -> Option<u64> {
        let (pages, policy) = (&self.partition.pages, &self.partition.policy);
        let page = self.keeper.log.queue(kind).oldest()?;
        let record = pages.record(page);
        let (mut word, used) = (record.hand.load(Relaxed), record.used.load(Relaxed));
        while word < used {
            let Some(entry) = Entry::at(pages.words_at(place_in(page, usize::from(word)))) else {
                break;
            };
            if !entry.header.is_dead() && entry.header.is_large() {
                let first = pages.record(entry.large().0);
                return Some(policy.time_of_bits(first.entered().load(Relaxed)));
            }
            if !entry.header.is_dead() {
                break;
            }
            word += entry.header.words() as u16;
        }
        Some(policy.time_of_stamp(record.stamp.load(Relaxed)))
    }

    /// Lets go of an entry that the index no longer refers to. A page without a live entry is
    /// free at once.
    pub(super) fn bury(&mut self, place: u64, entry: &Entry<'_>) {
        self.discard(place, entry);
        if entry.header.is_large() {
            self.release_stored(entry.large().0);
        }
    }

    /// The same, but for the entry's large value, if it has one: that lives on under another.
    pub(super) fn discard(&mut self, place: u64, entry: &Entry<'_>) {
        let (pages, page) = (&self.partition.pages, page_of(place));
        let (record, words) = (pages.record(page), entry.header.words() as u16);
        let kind = record.kind();
        entry.bury();
        let log = &mut self.keeper.log;
        if entry.header.is_large() {
            let value = pages.record(entry.large().0).chain_pages().load(Relaxed);
            log.queue_mut(kind).large_pages -= value;
        }
        let live = record.live.load(Relaxed) - words;
        record.live.store(live, Relaxed);
        log.dead_words += u64::from(words);
        if live == 0 {
            log.remove(pages, kind, page);
            self.keeper.wheel.forget(pages, page);
            self.keeper.stock.put(pages, page);
        } else if !log.is_open(kind, page) {
            log.classify(pages, page);
        }
    }
}
