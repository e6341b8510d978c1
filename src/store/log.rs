//! The log that entries are appended to: two queues of pages by age, and the account of what in
//! them is live.

use std::sync::atomic::Ordering::Relaxed;

use super::entry::Entry;
use super::header::Header;
use super::list::List;
use super::pages::{Kind, Links, NONE, PAGE_WORDS, Pages, page_of, place_in};
use super::policy::Policy;

/// Dead words of a page are counted in so many parts of a page to find the sparsest ones.
const SPARSE_CLASSES: usize = 8;

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
    /// The first pages of all large values, the one that was used last the longest ago first. It is in the
    /// order in which they entered a queue as long as eviction does not go by their last use.
    by_use: List,
    /// Closed pages by the number of dead words in them; class 0 is not kept.
    sparse: [List; SPARSE_CLASSES],
    dead_words: u64,
    /// Whether what is next in a queue may be another entry than before.
    moved_on: bool,
}

/// A page that was allocated for the end of a queue, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fresh {
    pub(super) page: u32,
    /// By the policy's clock.
    pub(super) stamp: u16,
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
        Self {
            small: Queue::EMPTY,
            main: Queue::EMPTY,
            by_use: List::EMPTY,
            sparse: [List::EMPTY; SPARSE_CLASSES],
            dead_words: 0,
            moved_on: false,
        }
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

    /// Appends to a fresh page from now on.
    fn open(&mut self, pages: &Pages, kind: Kind, Fresh { page, stamp }: Fresh) {
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
        queue.pages.push(pages, Links::Queue, page);
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

    /// Whether it is the page that a queue's entries are appended to.
    pub(super) fn is_open(&self, kind: Kind, page: u32) -> bool {
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

    /// Leaves a sparse page as it is until more of it is dead.
    pub(super) fn keep(&mut self, pages: &Pages, page: u32) {
        self.unclassify(pages, page);
    }

    /// Whether what is next in a queue may be another entry than when this was asked the last time.
    pub(super) fn take_moved_on(&mut self) -> bool {
        std::mem::take(&mut self.moved_on)
    }

    /// Notes that eviction walks over a page's entries from now on.
    pub(super) fn begin_eviction(&mut self, pages: &Pages, page: u32) {
        self.unclassify(pages, page);
        self.moved_on = true;
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
                self.sparse[class].push(pages, Links::Sparse, page);
            }
        }
    }

    /// Takes a page off the list that it is on, if any.
    fn unclassify(&mut self, pages: &Pages, page: u32) {
        let class = usize::from(pages.record(page).sparse.swap(0, Relaxed));
        if class != 0 {
            self.sparse[class].remove(pages, Links::Sparse, page);
        }
    }

    /// Takes a page out of the log.
    fn remove(&mut self, pages: &Pages, kind: Kind, page: u32) {
        self.unclassify(pages, page);
        self.moved_on = true;
        self.dead_words -= u64::from(pages.record(page).used.load(Relaxed));
        let queue = self.queue_mut(kind);
        queue.pages.remove(pages, Links::Queue, page);
        queue.log_pages -= 1;
        if queue.open == page {
            queue.open = NONE;
        }
    }

    /// Takes words for an entry at a queue's end: of its open page, if that [has room](Self::has_room), and
    /// otherwise of a fresh page, or of both. The caller writes the entry, and then makes it visible.
    #[inline]
    pub(super) fn append(
        &mut self,
        pages: &Pages,
        kind: Kind,
        header: Header,
        fresh: Option<Fresh>,
    ) -> u64 {
        match fresh {
            None => self.take_words(pages, kind, header.words()),
            Some(fresh) => self.append_to_fresh(pages, kind, header, fresh),
        }
    }

    fn append_to_fresh(&mut self, pages: &Pages, kind: Kind, header: Header, fresh: Fresh) -> u64 {
        let begun = match self.queue(kind).open {
            NONE => 0,
            open => {
                let used = pages.record(open).used.load(Relaxed);
                header.words_in(PAGE_WORDS - usize::from(used))
            }
        };
        if begun == 0 {
            self.open(pages, kind, fresh);
            return self.take_words(pages, kind, header.words());
        }
        let place = self.take_words(pages, kind, begun);
        self.open(pages, kind, fresh);
        let rest = Header::of_rest(header.words() - begun);
        let rest_at = self.take_words(pages, kind, rest.words());
        rest.write_to(&pages.words_at(rest_at)[0]);
        place
    }

    /// Takes words of the open page, which has room for them.
    #[inline]
    fn take_words(&mut self, pages: &Pages, kind: Kind, words: usize) -> u64 {
        let page = self.queue(kind).open;
        let record = pages.record(page);
        let used = record.used.load(Relaxed);
        debug_assert!(page != NONE && usize::from(used) + words <= PAGE_WORDS);
        record.used.store(used + words as u16, Relaxed);
        record.live.store(record.live.load(Relaxed) + words as u16, Relaxed);
        place_in(page, usize::from(used))
    }

    /// Counts the pages of a large value towards the queue that its entry is in, from now on.
    pub(super) fn count_large(&mut self, kind: Kind, pages: u32) {
        self.queue_mut(kind).large_pages += pages;
    }

    /// Pages of all large values.
    pub(super) fn large_pages(&self) -> u64 {
        u64::from(self.small.large_pages) + u64::from(self.main.large_pages)
    }

    /// The place of the large value's entry that was used last the longest ago, and its first page.
    pub(super) fn least_recent(&self, pages: &Pages) -> Option<(u64, u32)> {
        self.by_use.first().map(|first| (pages.record(first).home(), first))
    }

    /// A large value is there from now on.
    pub(super) fn add_large(&mut self, pages: &Pages, first: u32) {
        self.by_use.push(pages, Links::Sparse, first);
        self.moved_on = true;
    }

    /// A large value is gone.
    pub(super) fn forget_large(&mut self, pages: &Pages, first: u32) {
        self.by_use.remove(pages, Links::Sparse, first);
        self.moved_on = true;
    }

    /// A large value becomes the one that was used last.
    pub(super) fn renew_large(&mut self, pages: &Pages, first: u32) {
        self.forget_large(pages, first);
        self.add_large(pages, first);
    }

    /// Counts an entry as dead that the index no longer refers to, and its large value out of the
    /// queue. The pages that have no live entry left, and were taken out of the log.
    #[inline]
    pub(super) fn mark_dead(
        &mut self,
        pages: &Pages,
        place: u64,
        entry: &Entry<'_>,
    ) -> [Option<u32>; 2] {
        let page = page_of(place);
        let kind = pages.record(page).kind();
        entry.mark_dead();
        if entry.header.is_large() {
            let value = pages.record(entry.large().0).chain_pages().load(Relaxed);
            self.queue_mut(kind).large_pages -= value;
        }
        let next = if entry.crosses() { self.bury_rest(pages, kind, page, entry) } else { None };
        let (words, _) = entry.words_in_pages();
        [self.bury(pages, kind, page, words).then_some(page), next]
    }

    /// Counts what an entry has in the next page as dead. That page, if it has no live entry left.
    #[cold]
    fn bury_rest(
        &mut self,
        pages: &Pages,
        kind: Kind,
        page: u32,
        entry: &Entry<'_>,
    ) -> Option<u32> {
        let next = pages.next_in_chain(page);
        let (_, rest) = entry.words_in_pages();
        let words = 1 + rest;
        if pages.record(page).hand.load(Relaxed) > 0 {
            // Eviction goes on there next.
            self.begin_eviction(pages, next);
            pages.record(next).hand.store(words, Relaxed);
        }
        self.bury(pages, kind, next, words).then_some(next)
    }

    /// Counts words of a page as dead. Whether it has no live entry left, and was taken out of the log.
    #[inline]
    fn bury(&mut self, pages: &Pages, kind: Kind, page: u32, words: u16) -> bool {
        let record = pages.record(page);
        let live = record.live.load(Relaxed) - words;
        record.live.store(live, Relaxed);
        self.dead_words += u64::from(words);
        if live == 0 {
            self.remove(pages, kind, page);
        } else if !self.is_open(kind, page) {
            self.classify(pages, page);
        }
        live == 0
    }

    /// When what is next in a queue entered it, or the next large value by last use was used, by the
    /// policy's clock.
    pub(super) fn entered(&self, pages: &Pages, policy: &Policy, kind: Kind) -> Option<u64> {
        let is_by_use = policy.is_by_use();
        if kind == Kind::Large {
            let first = self.by_use.first().filter(|_| is_by_use)?;
            let used = policy.time_of_bits(pages.record(first).entered().load(Relaxed));
            // To be compared with stamps.
            return Some(policy.time_of_stamp(policy.stamp(used)));
        }
        let page = self.queue(kind).oldest()?;
        let record = pages.record(page);
        let (mut word, used) = (record.hand.load(Relaxed), record.used.load(Relaxed));
        while word < used {
            let Some(entry) = Entry::at(pages, place_in(page, usize::from(word))) else {
                break;
            };
            if !entry.header.is_dead() && entry.header.is_large() {
                let first = pages.record(entry.large().0);
                if is_by_use {
                    return Some(policy.time_of_stamp(first.stamp.load(Relaxed)));
                }
                return Some(policy.time_of_bits(first.entered().load(Relaxed)));
            }
            if !entry.header.is_dead() {
                break;
            }
            word += entry.header.words() as u16;
        }
        // A page is as old as the youngest of its entries, since they go together.
        let next = record.link(Links::Queue).next.load(Relaxed);
        let stamp = match next {
            NONE => policy.stamp(policy.time()),
            next => pages.record(next).stamp.load(Relaxed),
        };
        Some(policy.time_of_stamp(stamp))
    }

    /// Checks the invariants of the log, and gives each entry that is not dead to `each`, with the page
    /// that it is in and its place.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(
        &self,
        pages: &Pages,
        mut each: impl FnMut(u32, Option<(u64, Entry<'_>)>),
    ) {
        let (mut dead_words, mut larges) = (0, 0);
        for kind in [Kind::Small, Kind::Main] {
            let (mut log_pages, mut large_pages) = (0, 0);
            let queue = self.queue(kind);
            let mut rest_words = 0;
            for page in queue.pages.iter(pages, Links::Queue) {
                log_pages += 1;
                assert_eq!(pages.record(page).kind(), kind, "a live page is in one queue: {page}");
                each(page, None);
                let (dead, large) = check_page(pages, page, &mut rest_words, |place, entry| {
                    if entry.header.is_large() {
                        let home = pages.record(entry.large().0).home();
                        assert_eq!(home, place, "a large value knows its entry");
                        larges += 1;
                    }
                    each(page, Some((place, entry)));
                });
                dead_words += dead;
                large_pages += large;
                let is_empty = pages.record(page).live.load(Relaxed) == 0;
                assert!(!is_empty || queue.open == page, "a page without live entries is free");
            }
            assert_eq!(log_pages, queue.log_pages, "a live page is in one queue: pages counted");
            assert_eq!(large_pages, queue.large_pages, "large values count in their entry's queue");
        }
        let by_use = self.by_use.iter(pages, Links::Sparse).count();
        assert_eq!(larges, by_use, "a large value is in the order of last use");
        assert_eq!(dead_words, self.dead_words, "dead words are counted");
        for (class, list) in self.sparse.iter().enumerate().skip(1) {
            for page in list.iter(pages, Links::Sparse) {
                let on_list = usize::from(pages.record(page).sparse.load(Relaxed));
                assert_eq!(on_list, class, "a sparse page is in the list of its class: {page}");
            }
        }
    }
}

/// Walks the entries of a page, which begins with so many words of the last one before: words of dead
/// ones, and pages of the large values.
#[cfg(debug_assertions)]
fn check_page(
    pages: &Pages,
    page: u32,
    rest_words: &mut usize,
    mut each: impl FnMut(u64, Entry<'_>),
) -> (u64, u32) {
    let record = pages.record(page);
    let used = usize::from(record.used.load(Relaxed));
    let (mut word, mut live, mut large) = (0, std::mem::take(rest_words), 0);
    while word < used {
        let place = place_in(page, word);
        let entry = Entry::at(pages, place);
        let entry = entry.expect("no trust in what is read: an entry leads beyond the memory");
        word += entry.header.words();
        if !entry.header.is_dead() {
            let (words, rest) = entry.words_in_pages();
            live += usize::from(words);
            *rest_words = if rest > 0 { 1 + usize::from(rest) } else { 0 };
            if entry.header.is_large() {
                large += pages.record(entry.large().0).chain_pages().load(Relaxed);
            }
            each(place, entry);
        }
    }
    let is_full = used == PAGE_WORDS && word > used;
    assert!(word == used || is_full, "entries lie one behind the other: page {page}");
    let counted = usize::from(record.live.load(Relaxed));
    assert_eq!(live, counted, "live words are counted: page {page}");
    ((used - live) as u64, large)
}
