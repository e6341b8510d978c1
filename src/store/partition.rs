//! One partition: what the operations do to the index, the log and the large values.
//!
//! Readers touch the index and the pages, which are made of atomics, and take no lock. Writers
//! hold the mutex around everything else, the [`Keeper`], one at a time.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::bucket::Slot;
use super::budget::Budget;
use super::entry::{
    self, ENTRY_BYTES_MAX, Entry, HEADER_BYTES, Header, KEY_BYTES_MAX, LARGE_BYTES,
};
use super::hasher::Hasher;
use super::index::{Found, Index, SlotHint, tag_of};
use super::large::Chain;
use super::lines::Lines;
use super::log::Log;
use super::optimistic_read::OptimisticRead;
use super::pages::{Kind, Pages, Stock, page_of};
use super::policy::Policy;
use super::prefault::Prefaulter;
use super::space::Space;
use super::steering::Tally;
use super::wheel::{Wheel, unit_of};
use super::{Expiry, Key, Shortage, SmallValue, Statistics, Tick, Written};

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) index: Index,
    pub(super) pages: Pages,
    pub(super) hasher: Hasher,
    pub(super) budget: Budget,
    pub(super) policy: Arc<Policy>,
    /// Which of all partitions it is.
    pub(super) number: usize,
    keeper: Mutex<Keeper>,
    /// Keys present, as of the last write, for those who look without the lock.
    keys: AtomicU64,
    /// Nothing is to be maintained before this unit of the wheel.
    quiet_until: AtomicU32,
}

/// What only writers touch.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) lines: Lines,
    pub(super) stock: Stock,
    pub(super) log: Log,
    pub(super) wheel: Wheel,
    pub(super) tally: Tally,
    pub(super) keys: u64,
    /// The latest time that any writer knew; some have none of their own.
    now: Tick,
    pub(super) statistics: Statistics,
}

/// A partition in the hands of its one writer.
pub(super) struct Writer<'a> {
    pub(super) partition: &'a Partition,
    pub(super) keeper: &'a mut Keeper,
    pub(super) now: Tick,
    /// Entries that were looked at to make room, for all tries of this write together.
    pub(super) effort: u32,
    /// The key whose value is to stay if the write fails.
    pub(super) spared: Option<Spared>,
    /// The queue in which the last step of eviction met a value that readers have pinned.
    pub(super) pinned_in: Option<Kind>,
}

/// A key, by its hash, whose value is evicted last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spared {
    pub(super) hash: u64,
    /// Not even then: the write would fail with its memory, too.
    pub(super) for_good: bool,
}

/// What a key's value is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Small(&'a [u8]),
    Large(Chain),
}

/// What a reader has found.
pub(super) enum Seen<R> {
    Value(R),
    /// The value is large and must be taken under the lock.
    Large,
    Expired,
}

impl Content<'_> {
    fn len(self) -> usize {
        match self {
            Self::Small(value) => value.len(),
            Self::Large(_) => LARGE_BYTES,
        }
    }
}

/// Whether key and value fit into an entry of the log.
pub(super) fn is_small(key_len: usize, value_len: usize) -> bool {
    HEADER_BYTES + key_len + value_len <= ENTRY_BYTES_MAX
}

impl Partition {
    pub(super) fn new(
        space: Space,
        prefaulter: Option<&Prefaulter>,
        hasher: Hasher,
        budget: Budget,
        policy: Arc<Policy>,
        number: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            index: Index::reserve(space.entries_bytes_max, prefaulter)?,
            pages: Pages::reserve(space.pages_bytes_max, prefaulter)?,
            hasher,
            budget,
            policy,
            number,
            keeper: Mutex::new(Keeper {
                lines: Lines::new(),
                stock: Stock::new(),
                log: Log::new(),
                wheel: Wheel::new(),
                tally: Tally::default(),
                keys: 0,
                now: Tick(0),
                statistics: Statistics::default(),
            }),
            keys: AtomicU64::new(0),
            quiet_until: AtomicU32::new(0),
        })
    }

    /// Runs `work` as the partition's one writer.
    pub(super) fn write<R>(&self, now: Tick, work: impl FnOnce(&mut Writer<'_>) -> R) -> R {
        // A panic in the middle of a write would leave the tables in disorder; but only a bug
        // in this module panics here, and the process then ends with the thread that met it.
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let keeper = &mut *keeper;
        keeper.now = keeper.now.max(now);
        let now = keeper.now;
        let (effort, spared, pinned_in) = (0, None, None);
        let mut writer = Writer { partition: self, keeper, now, effort, spared, pinned_in };
        let result = work(&mut writer);
        writer.show();
        result
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys.load(Relaxed)
    }

    /// Charged bytes that can't hold values.
    pub(super) fn fixed_bytes(&self) -> u64 {
        self.budget.charged_bytes().saturating_sub(self.pages.charged_bytes())
    }

    /// Looks where a key is that hashes to `hash`, and starts loading its entry.
    #[inline]
    pub(super) fn slot_hint(&self, hash: u64) -> SlotHint {
        let hint = self.index.slot_hint(hash);
        self.pages.prefetch(hint.slot.place());
        hint
    }

    /// The small value where the key's hint says, if it is there.
    #[inline]
    pub(super) fn optimistic_read(&self, key: Key<'_>, now: Tick) -> Option<OptimisticRead<'_>> {
        let Key { bytes, hint, .. } = key;
        if hint.slot.is_empty() {
            return None;
        }
        let entry = Entry::at(self.pages.words_at(hint.slot.place()))?;
        let header = entry.header;
        let shows = entry.key_is(bytes) && !header.is_large() && !header.expiry().is_due(now);
        shows.then(|| OptimisticRead::new(entry.value(), &self.index, hint))
    }

    /// Looks a key up without a lock. `read` may be called several times; the last one counts,
    /// if the result is [`Seen::Value`].
    pub(super) fn read<R>(
        &self,
        key: Key<'_>,
        now: Tick,
        mut read: impl FnMut(SmallValue<'_>) -> R,
    ) -> Option<Seen<R>> {
        self.index.read(key.hash, |slot| {
            let entry = Entry::at(self.pages.words_at(slot.place()))?;
            if !entry.key_is(key.bytes) {
                return None;
            }
            Some(if entry.header.expiry().is_due(now) {
                Seen::Expired
            } else if entry.header.is_large() {
                Seen::Large
            } else {
                Seen::Value(read(entry.value()))
            })
        })
    }

    /// A bounded step of background work; whether more is due.
    pub(super) fn maintain(&self, now: Tick) -> bool {
        if unit_of(now) < self.quiet_until.load(Relaxed) {
            return false;
        }
        // The method's path in the closure's stead is not general enough for the compiler.
        #[allow(clippy::redundant_closure_for_method_calls)]
        let busy = self.write(now, |writer| writer.maintain());
        if !busy {
            self.quiet_until.store(unit_of(now) + 1, Relaxed);
        }
        busy
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.write(Tick(0), |writer| {
            let keeper = &*writer.keeper;
            let idle = keeper.stock.idle_bytes(&self.pages) + self.index.lines.ahead_bytes();
            // What is all partitions' counts as the first one's.
            let common = if self.number == 0 { self.policy.ghost.charged_bytes() } else { 0 };
            let bytes = self.budget.charged_bytes() - idle + common;
            Statistics { keys: keeper.keys, bytes, ..keeper.statistics }
        })
    }
}

impl<'a> Writer<'a> {
    /// Shows what those need to know of the partition who look without the lock.
    pub(super) fn show(&mut self) {
        let (partition, keeper) = (self.partition, &mut *self.keeper);
        partition.keys.store(keeper.keys, Relaxed);
        if !partition.policy.is_shared() {
            return;
        }
        let summary = partition.policy.summary(partition.number);
        summary.keys.store(keeper.keys, Relaxed);
        summary.free_pages.store(keeper.stock.free_pages(), Relaxed);
        for (weight, kind) in summary.weights.iter().zip([Kind::Small, Kind::Main]) {
            weight.store(keeper.log.queue(kind).weight(), Relaxed);
        }
        if std::mem::take(&mut keeper.log.moved_on) {
            for kind in [Kind::Small, Kind::Main] {
                partition.policy.show_entered(partition.number, kind, self.entered(kind));
            }
        }
    }

    /// Finds a key, whether or not it has expired.
    pub(super) fn find(&self, key: Key<'_>) -> Option<(Found<'a>, Entry<'a>)> {
        let partition = self.partition;
        let at = |slot: Slot| Entry::at(partition.pages.words_at(slot.place()));
        let is = |slot| at(slot).is_some_and(|entry| entry.key_is(key.bytes));
        let found = partition.index.find(key.hash, key.hint, is)?;
        Some((found, at(found.slot)?))
    }

    /// Stores a value. On success a large value's pages belong to the key from then on.
    pub(super) fn put(
        &mut self,
        key: Key<'_>,
        content: Content<'_>,
        expiry: Expiry,
    ) -> Result<Written, Shortage> {
        debug_assert!(key.bytes.len() <= KEY_BYTES_MAX);
        let large = matches!(content, Content::Large(_));
        let header = Header::new(key.bytes.len(), content.len(), large, expiry);
        let found = self.find(key);
        if let (Some((found, entry)), Content::Small(value)) = (&found, content)
            && !entry.header.is_large()
            && entry.header.words() == header.words()
        {
            self.overwrite(*found, entry, header, key, value);
            return Ok(self.count_replaced(entry));
        }
        let (kind, memory) = match found {
            Some((found, _)) => {
                (self.partition.pages.record(page_of(found.slot.place())).kind(), None)
            }
            None => self.queue_for_new(key.hash),
        };
        self.spared = Some(Spared { hash: key.hash, for_good: false });
        self.make_room(kind, header.words())?;
        // Only now: this try may have been in vain, and the next one is to know it as well.
        if let Some(memory) = memory {
            self.count_return(memory);
        }
        let place = self.append(kind, header.words(), expiry);
        self.write_entry(kind, place, header, key, content);
        Ok(self.publish(key, place))
    }

    /// Puts a value of the same size in the place of another, so that neither the log nor the
    /// index changes.
    fn overwrite(
        &mut self,
        found: Found<'_>,
        entry: &Entry<'_>,
        header: Header,
        key: Key<'_>,
        value: &[u8],
    ) {
        let (pages, place) = (&self.partition.pages, found.slot.place());
        let words = &pages.words_at(place)[..entry.header.words()];
        let write = || entry::write(words, header, key.bytes, value);
        self.partition.index.change(found, write);
        found.mark();
        self.keeper.wheel.watch(pages, page_of(place), header.expiry());
    }

    fn write_entry(
        &mut self,
        kind: Kind,
        place: u64,
        header: Header,
        key: Key<'_>,
        content: Content<'_>,
    ) {
        let words = self.partition.pages.words_at(place);
        match content {
            Content::Small(value) => entry::write(words, header, key.bytes, value),
            Content::Large(chain) => {
                chain.seal(&self.partition.pages);
                entry::write(words, header, key.bytes, &chain.to_bytes());
                self.count_large(kind, chain.first);
            }
        }
    }

    /// Makes a new entry the key's.
    fn publish(&mut self, key: Key<'_>, place: u64) -> Written {
        let (partition, tag) = (self.partition, tag_of(key.hash));
        // Looked up again, since making room may have moved or evicted it.
        if let Some((found, entry)) = self.find(key) {
            let mark = found.slot.marked().mark();
            partition.index.replace(found, Slot::new(tag, mark, place));
            let written = self.count_replaced(&entry);
            self.bury(found.slot.place(), &entry);
            return written;
        }
        partition.index.insert(&mut self.keeper.lines, key.hash, Slot::new(tag, 0, place));
        self.keeper.keys += 1;
        self.grow_index();
        Written::Created
    }

    fn count_replaced(&mut self, old: &Entry<'_>) -> Written {
        if old.header.expiry().is_due(self.now) {
            self.keeper.statistics.expired += 1;
            return Written::Created;
        }
        self.keeper.statistics.replaced += 1;
        Written::Replaced
    }

    fn grow_index(&mut self) {
        let (partition, keeper) = (self.partition, &mut *self.keeper);
        let (index, pages) = (&partition.index, &partition.pages);
        if !index.is_crowded(keeper.keys) || !index.provide_bucket(&partition.budget) {
            return;
        }
        index.split(
            &mut keeper.lines,
            &partition.budget,
            |slot| pages.prefetch(slot.place()),
            |slot| {
                let entry = Entry::at(pages.words_at(slot.place()));
                entry.map_or(0, |entry| partition.hasher.hash_entry(&entry))
            },
        );
    }

    /// Takes a bucket out of the index if there are few keys for so many. Whether there were.
    #[inline]
    pub(super) fn shrink_index(&mut self) -> bool {
        self.partition.index.is_sparse(self.keeper.keys) && self.merge_bucket()
    }

    #[cold]
    fn merge_bucket(&mut self) -> bool {
        let (index, budget) = (&self.partition.index, &self.partition.budget);
        let lines = &mut self.keeper.lines;
        // Without the memory for it, it is for another time.
        if !index.provide(lines, budget) {
            return false;
        }
        index.merge(lines, budget);
        index.give_back(budget);
        true
    }

    /// Removes a key. Whether it was live.
    pub(super) fn remove(&mut self, key: Key<'_>) -> bool {
        let Some((found, entry)) = self.find(key) else { return false };
        let live = !entry.header.expiry().is_due(self.now);
        if live {
            self.keeper.statistics.deleted += 1;
        } else {
            self.keeper.statistics.expired += 1;
        }
        self.take_out(found, &entry);
        live
    }

    /// Takes an entry out of the index and lets go of its memory.
    pub(super) fn take_out(&mut self, found: Found<'_>, entry: &Entry<'_>) {
        let partition = self.partition;
        partition.index.remove(&mut self.keeper.lines, &partition.budget, found);
        self.keeper.keys -= 1;
        self.bury(found.slot.place(), entry);
        self.shrink_index();
    }
}
