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
//!                                                          with frequency 1 less
//! ```
//!
//! This is S3-FIFO (SOSP '23) over pages of a log, but for the small queue's share, which changes
//! (see [`super::queue_sizer`]). While it is large, a frequency counts once, whatever its height. A step
//! walks the oldest page of one queue and ends as soon as it has freed something, which a large
//! value does by itself, so that its length is bounded by a page's entries. Which partition's queue
//! it is, is for [`super::policy`] to say.

use std::sync::atomic::Ordering::Relaxed;

use super::batch::Batch;
use super::chain::SharedChain;
use super::compaction;
use super::effort::Effort;
use super::entry::Entry;
use super::ghosts::Ghost;
use super::index::Found;
use super::log::Fresh;
use super::outcome::Shortage;
use super::pages::{Kind, page_of};
use super::policy::Choice;
use super::writer::{Cause, Writer};

/// A key moves from the small queue to the main one when it was hit so often.
const PROMOTE_FREQUENCY: u8 = 1;

/// Makes room for one write.
#[derive(Debug)]
pub(super) struct Reclaimer<'w, 'a> {
    writer: &'w mut Writer<'a>,
    effort: &'w mut Effort,
    /// The key whose value is to stay if the write fails.
    spared: Option<Spared>,
    /// The queue in which the last step of eviction met a value that readers have pinned.
    pinned_in: Option<Kind>,
}

/// A key, by its hash, whose value is evicted last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spared {
    pub(super) hash: u64,
    /// Not even then: the write would fail with its memory, too.
    pub(super) for_good: bool,
}

impl<'w, 'a> Reclaimer<'w, 'a> {
    pub(super) fn new(
        writer: &'w mut Writer<'a>,
        effort: &'w mut Effort,
        spared: Option<Spared>,
    ) -> Self {
        Self { writer, effort, spared, pinned_in: None }
    }

    /// Sees to it that an entry of so many words can be appended to the queue and put into the
    /// index: with the page, if the queue's open one has no room.
    pub(super) fn make_room(
        &mut self,
        kind: Kind,
        words: usize,
    ) -> Result<Option<Fresh>, Shortage> {
        loop {
            if self.index_has_room() {
                if self.writer.state.log.has_room(&self.writer.table.pages, kind, words) {
                    return Ok(None);
                }
                if let Some(page) = self.allocate() {
                    return Ok(Some(self.writer.fresh(page)));
                }
            }
            self.reclaim()?;
        }
    }

    /// A page for a large value, evicting for it as needed.
    pub(super) fn make_page(&mut self) -> Result<u32, Shortage> {
        loop {
            if let Some(page) = self.allocate() {
                return Ok(page);
            }
            self.reclaim()?;
        }
    }

    fn compact(&mut self) -> bool {
        compaction::compact(self.writer, self.effort)
    }

    fn allocate(&mut self) -> Option<u32> {
        let table = self.writer.table;
        self.writer.state.allocator.allocate(&table.pages, &table.budget)
    }

    /// Whether the index can take one more key, at the cost of a free page if need be.
    fn index_has_room(&mut self) -> bool {
        let (table, state) = (self.writer.table, &mut *self.writer.state);
        while !state.index.make_room(&table.index, &table.budget) {
            if !state.allocator.give_spare_back(&table.pages, &table.budget) {
                return false;
            }
        }
        true
    }

    /// One step towards a free page, here or elsewhere.
    fn reclaim(&mut self) -> Result<(), Shortage> {
        if self.effort.is_spent() {
            return Err(Shortage::Full);
        }
        if self.compact() {
            return Ok(());
        }
        let (table, log) = (self.writer.table, &self.writer.state.log);
        let number = table.number;
        let choice = if table.policy.looks_at_summaries() {
            self.writer.show();
            table.policy.choose(number)
        } else {
            let weights = [Kind::Small, Kind::Main].map(|kind| log.queue(kind).weight());
            let small = table.policy.share().small_is_first(weights);
            let kind = if small { Kind::Small } else { Kind::Main };
            Some(Choice { partition: number, kind })
        };
        match choice {
            Some(choice) if choice.partition != number => Err(Shortage::Elsewhere(choice)),
            Some(choice) if self.evict_from(choice.kind) => Ok(()),
            _ => Err(Shortage::Full),
        }
    }

    /// Releases up to so many pages to the kernel and the budget, for another partition. If there are
    /// none to spare, room is made for as long as it is to be made here.
    pub(super) fn release_pages(&mut self, kind: Kind, count: u32) {
        let table = self.writer.table;
        let mut next = (kind != Kind::Free).then_some(kind);
        while !self.writer.state.allocator.has_spare(&table.pages)
            && !self.effort.is_spent()
            && let Some(kind) = next
            && (self.compact() || self.evict_from(kind))
        {
            self.writer.show();
            // What comes next may be younger than what others have.
            let choice = table.policy.choose(table.number);
            next = choice.filter(|choice| choice.partition == table.number).map(|c| c.kind);
        }
        let allocator = &mut self.writer.state.allocator;
        for _ in 0..count {
            let is_huge = allocator.is_next_huge(&table.pages);
            // To split a huge page takes long enough for one lock.
            if !allocator.give_spare_back(&table.pages, &table.budget) || is_huge {
                return;
            }
        }
    }

    /// Walks the oldest page of a queue, or of the other if that one is empty, from where the last
    /// walk ended, until something became free or a large value was looked at: what comes next may
    /// be in another queue then. False if both are empty.
    fn evict_from(&mut self, kind: Kind) -> bool {
        if kind == Kind::Large {
            return self.evict_least_recent();
        }
        let other = if kind == Kind::Main { Kind::Small } else { Kind::Main };
        // What is pinned weighs in its queue, but can't be evicted: then it is the other one's turn.
        let is_pinned = self.pinned_in.take() == Some(kind);
        let (kind, other) = if is_pinned { (other, kind) } else { (kind, other) };
        let (table, state) = (self.writer.table, &mut *self.writer.state);
        let oldest = |kind| Some((kind, state.log.queue(kind).oldest()?));
        let Some((kind, page)) = oldest(kind).or_else(|| oldest(other)) else { return false };
        self.effort.entries += 1;
        state.log.begin_eviction(&table.pages, page);
        let free_before = state.allocator.free_pages();
        let record = table.pages.record(page);
        while record.kind() == kind && self.writer.state.allocator.free_pages() <= free_before {
            let mut hand = usize::from(record.hand.load(Relaxed));
            let batch = Batch::gather(table, page, &mut hand, |_| true);
            record.hand.store(hand as u16, Relaxed);
            if batch.entries().is_empty() {
                debug_assert!(false, "a page without live entries is freed by the last one");
                break;
            }
            self.effort.entries += batch.entries().len() as u32;
            for &(place, hash) in batch.entries() {
                self.evict_or_keep(kind, place, hash);
            }
            if batch.ends_with_large {
                break;
            }
        }
        self.report();
        true
    }

    /// Evicts the large value that was used last the longest ago. False if there is none.
    fn evict_least_recent(&mut self) -> bool {
        let writer = &mut *self.writer;
        let pages = &writer.table.pages;
        let Some((place, first)) = writer.state.log.least_recent(pages) else { return false };
        self.effort.entries += 1;
        let Some(entry) = Entry::at(pages, place) else { return false };
        let hash = writer.table.hasher.hash_entry(&entry);
        let Some((found, entry)) = writer.resident(place, hash) else { return false };
        let is_pinned = writer.is_pinned(&entry);
        self.effort.pinned += u32::from(is_pinned);
        let ended = writer.ended(&entry);
        if ended.is_none() && (is_pinned || self.is_spared(hash)) {
            self.writer.renew(SharedChain::new(pages, first));
            return true;
        }
        self.give_up(pages.record(page_of(place)).kind(), found, &entry, hash, ended);
        self.report();
        true
    }

    /// Whether a key is the one whose value is to stay.
    fn is_spared(&self, hash: u64) -> bool {
        let is_patient = self.effort.is_patient();
        self.spared.is_some_and(|key| key.hash == hash && (is_patient || key.for_good))
    }

    /// Removes an entry that has ended, or evicts it.
    fn give_up(
        &mut self,
        kind: Kind,
        found: Found<'_>,
        entry: &Entry<'_>,
        hash: u64,
        ended: Option<Cause>,
    ) {
        let writer = &mut *self.writer;
        writer.remove(found, entry, ended.unwrap_or(Cause::Evicted));
        if ended.is_none() {
            writer.state.tally.count_eviction(&writer.table.policy.ghosts, hash, kind);
        }
    }

    fn evict_or_keep(&mut self, kind: Kind, place: u64, hash: u64) {
        let is_patient = self.effort.is_patient();
        let is_spared = self.is_spared(hash);
        let writer = &mut *self.writer;
        let Some((found, entry)) = writer.resident(place, hash) else { return };
        let is_pinned = writer.is_pinned(&entry);
        if is_pinned {
            self.pinned_in = Some(kind);
            self.effort.pinned += 1;
        }
        let (frequency, ended) = (found.slot.frequency(), writer.ended(&entry));
        let is_by_use = writer.table.policy.is_by_use();
        let stays = if is_pinned || is_spared {
            Some((Kind::Main, frequency))
        } else if is_by_use && is_patient && entry.header.is_large() {
            // Its turn comes by its last use.
            Some((kind, frequency))
        } else if is_patient && frequency >= PROMOTE_FREQUENCY {
            let is_shifting = is_by_use || writer.table.policy.share().is_shifting();
            Some((Kind::Main, if kind == Kind::Main && !is_shifting { frequency - 1 } else { 0 }))
        } else {
            None
        };
        if ended.is_none()
            && let Some((kind, left)) = stays
            && writer.move_to(kind, found, &entry, hash, left)
        {
            return;
        }
        self.give_up(kind, found, &entry, hash, ended);
    }

    /// Counts that a key is back that was remembered.
    pub(super) fn count_return(&mut self, ghost: Ghost<'_>) {
        self.writer.state.tally.count_return(ghost);
        self.report();
    }

    /// Reports to the policy what was counted, and lets the ghosts follow the number of keys.
    fn report(&mut self) {
        let (table, state) = (self.writer.table, &mut *self.writer.state);
        let own_keys = state.index.keys();
        if !state.tally.is_due(own_keys) {
            return;
        }
        let policy = &table.policy;
        let keys = policy.keys(table.number, own_keys);
        let remembered = &mut state.tally.remembered;
        if !policy.ghosts.follow(keys, &policy.budget, remembered)
            && state.allocator.give_spare_back(&table.pages, &table.budget)
        {
            policy.ghosts.follow(keys, &policy.budget, remembered);
        }
        policy.record(&std::mem::take(&mut state.tally), keys);
    }
}
