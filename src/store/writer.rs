//! A partition in the hands of its one writer, and what keeps its parts in step: an entry of the
//! log, its slot in the index, its page's place on the expiry wheel, and the pages of its value.
//!
//! Each part has its own state behind its own methods. What is here does one thing to all of them;
//! whether it is to be done is decided elsewhere: by the operations ([`super::partition`]), by
//! eviction ([`super::reclaimer`]), and by [`super::maintenance`].

use super::bucket::Slot;
use super::chain::{Chain, SharedChain};
use super::clock::{Expiry, Tick};
use super::entry::Entry;
use super::generation::Generation;
use super::header::Header;
use super::index::{Found, tag_of};
use super::index_writer::IndexWriter;
use super::key::Key;
use super::log::{Fresh, Log};
use super::namespaces::NamespaceStatistics;
use super::outcome::Written;
use super::page_allocator::PageAllocator;
use super::pages::{Kind, page_of};
use super::popularity::Popularity;
use super::queue_sizer::Tally;
use super::statistics::Statistics;
use super::stored::Stored;
use super::sweep::Sweep;
use super::table::Table;
use super::wheel::Wheel;

/// What only writers touch.
#[derive(Debug)]
pub(super) struct WriterState {
    pub(super) index: IndexWriter,
    pub(super) allocator: PageAllocator,
    pub(super) log: Log,
    pub(super) wheel: Wheel,
    pub(super) tally: Tally,
    /// The sweep under way, if there is one.
    pub(super) sweep: Option<Sweep>,
    statistics: Statistics,
    /// Counts of each namespace.
    pub(super) namespaces: Vec<NamespaceStatistics>,
    /// The latest time that any writer knew; some have none of their own.
    now: Tick,
}

/// A partition in the hands of its one writer.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) table: &'a Table,
    pub(super) state: &'a mut WriterState,
    pub(super) now: Tick,
    /// The one that all of it happens in: looked up once, so that what is found to have been purged, and
    /// what is written thereupon, lies on the same side of each purge.
    pub(super) generation: Generation,
}

/// What is to be stored under a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    /// What is kept beside the value.
    pub(super) meta: &'a [u8],
    pub(super) value: ContentValue<'a>,
}

/// What a key's value is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum ContentValue<'a> {
    Small(&'a [u8]),
    /// Its pages, and what its entry holds.
    Large(Chain, &'a [u8]),
}

/// Why a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Deleted,
    Evicted,
    Expired,
    Purged,
}

impl Content<'_> {
    /// The header of the entry for it.
    pub(super) fn header(self, key: Key<'_>, expiry: Expiry) -> Header {
        let (len, is_large) = match self.value {
            ContentValue::Small(value) => (value.len(), false),
            ContentValue::Large(_, content) => (content.len(), true),
        };
        Header::new(key.bytes.len(), self.meta, len, is_large, expiry)
    }
}

impl WriterState {
    pub(super) fn new(namespaces: usize) -> Self {
        Self {
            index: IndexWriter::new(),
            allocator: PageAllocator::new(),
            log: Log::new(),
            wheel: Wheel::new(),
            tally: Tally::default(),
            sweep: None,
            statistics: Statistics::default(),
            namespaces: vec![NamespaceStatistics::default(); namespaces],
            now: Tick(0),
        }
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(table: &'a Table, state: &'a mut WriterState, now: Tick) -> Self {
        state.now = state.now.max(now);
        let (now, generation) = (state.now, table.purges.current());
        Self { table, state, now, generation }
    }

    /// Shows what those need to know of the partition who look without the lock.
    #[inline]
    pub(super) fn show(&mut self) {
        if self.table.policy.looks_at_summaries() {
            self.show_others();
        }
    }

    #[inline(never)]
    fn show_others(&mut self) {
        let (table, state) = (self.table, &mut *self.state);
        let policy = &table.policy;
        let weights = [Kind::Small, Kind::Main].map(|kind| state.log.queue(kind).weight());
        let summary = policy.summary(table.number);
        let spare = state.allocator.spare_pages(&table.pages);
        summary.show(state.index.keys(), spare, weights, state.log.large_pages());
        if state.log.take_moved_on() {
            for kind in [Kind::Small, Kind::Main, Kind::Large] {
                let entered = state.log.entered(&table.pages, policy, kind);
                policy.show_entered(table.number, kind, entered);
            }
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        let (table, state) = (self.table, &*self.state);
        let idle = state.allocator.idle_bytes(&table.pages) + table.index.lines.ahead_bytes();
        // What is all partitions' counts as the first one's.
        let common = if table.number == 0 { table.policy.ghosts.charged_bytes() } else { 0 };
        let bytes = table.budget.charged_bytes() - idle + common;
        Statistics { keys: state.index.keys(), bytes, ..state.statistics }
    }

    /// Finds a key, whether or not it has expired or was purged.
    pub(super) fn find(&self, key: Key<'_>) -> Option<(Found<'a>, Entry<'a>)> {
        let table = self.table;
        self.find_by_hint(key).or_else(|| {
            table.index.find(key.hash, |slot| {
                let entry = Entry::at(&table.pages, slot.place())?;
                entry.key_is(key.bytes).then_some(entry)
            })
        })
    }

    /// Finds a key where its hint says. `None` says nothing about the key.
    #[inline(always)]
    pub(super) fn find_by_hint(&self, key: Key<'_>) -> Option<(Found<'a>, Entry<'a>)> {
        let found = self.table.index.find_by(key.hint)?;
        let entry = Entry::at(&self.table.pages, found.slot.place())?;
        entry.key_is(key.bytes).then_some((found, entry))
    }

    /// What is stored under a key, if it is still there.
    pub(super) fn stored(&self, key: Key<'_>) -> Option<Stored<'a>> {
        let (_, entry) = self.find(key)?;
        self.ended(&entry).is_none().then(|| Stored::new(entry, &self.table.pages))
    }

    /// An entry by its place and its key's hash, with the slot that refers to it.
    pub(super) fn resident(&self, place: u64, hash: u64) -> Option<(Found<'a>, Entry<'a>)> {
        let table = self.table;
        let is = |slot: Slot| (slot.place() == place).then_some(());
        let found = table.index.find(hash, is);
        debug_assert!(found.is_some(), "an entry that is not dead is in the index");
        let (found, ()) = found?;
        Some((found, Entry::at(&table.pages, place)?))
    }

    /// Why an entry is not there any more, although its memory is.
    #[inline]
    pub(super) fn ended(&self, entry: &Entry<'_>) -> Option<Cause> {
        if entry.header.expiry().is_due(self.now) {
            return Some(Cause::Expired);
        }
        self.is_purged(entry).then_some(Cause::Purged)
    }

    /// Whether an entry was purged.
    #[inline]
    pub(super) fn is_purged(&self, entry: &Entry<'_>) -> bool {
        let (generation, header) = (self.generation, entry.header);
        let begins_with = |prefix: &[u8]| entry.key_begins_with(prefix);
        !header.is_of(generation)
            && self.table.purges.hide_as_of(generation, header.generation_bits(), begins_with)
    }

    /// Whether readers hold the entry's value, so that evicting it would free nothing.
    pub(super) fn is_pinned(&self, entry: &Entry<'_>) -> bool {
        entry.header.is_large() && self.value_of(entry).is_pinned()
    }

    /// The value of a large entry.
    pub(super) fn value_of(&self, entry: &Entry<'_>) -> SharedChain<'a> {
        SharedChain::new(&self.table.pages, entry.large().0)
    }

    /// A page that was allocated for the end of a queue now.
    pub(super) fn fresh(&self, page: u32) -> Fresh {
        let policy = &self.table.policy;
        Fresh { page, stamp: policy.stamp(policy.pass(1)) }
    }

    /// Takes words at a queue's end, which has room for them, with the fresh page.
    fn append(&mut self, kind: Kind, header: Header, fresh: Option<Fresh>) -> u64 {
        let pages = &self.table.pages;
        let place = self.state.log.append(pages, kind, header, fresh);
        self.state.wheel.watch(pages, page_of(place), header.expiry());
        place
    }

    /// Counts a large value towards the queue that its entry is in, from now on.
    fn count_large(&mut self, kind: Kind, value: SharedChain<'_>, place: u64) {
        let policy = &self.table.policy;
        value.set_home(place, policy.stamp(policy.pass(value.len())));
        self.state.log.count_large(kind, value.len());
    }

    /// A large value is used now.
    pub(super) fn renew(&mut self, value: SharedChain<'_>) {
        value.set_entered(self.table.policy.time());
        self.state.log.renew_large(&self.table.pages, value.first());
    }

    /// Tells the policy that a large value was asked for or stored.
    pub(super) fn note_use(&mut self, hash: u64, value: SharedChain<'_>) {
        let (table, all_pages) = (self.table, self.state.log.large_pages());
        table.policy.note_use(table.number, hash, value.len().into(), all_pages);
    }

    /// Puts a value of the same size in the place of another, so that neither the log nor the
    /// index changes.
    #[inline(always)]
    pub(super) fn overwrite(
        &mut self,
        found: Found<'_>,
        entry: &Entry<'_>,
        header: Header,
        key: Key<'_>,
        (meta, value): (&[u8], &[u8]),
    ) -> Written {
        let writing = found.write();
        entry.write(header, key.bytes, meta, value);
        drop(writing);
        found.record_hit();
        let (table, place, old) = (self.table, found.slot.place(), entry.header);
        self.state.wheel.watch(&table.pages, page_of(place), header.expiry());
        if old.expiry().is_due(self.now) || !old.is_of(self.generation) {
            return count_overwritten(table, self.state, (self.now, self.generation), place, old);
        }
        self.state.statistics.replaced += 1;
        Written::Replaced
    }

    /// Appends an entry to a queue that has room for it, with the fresh page, and makes it the key's. A
    /// large value's pages belong to the key from then on.
    pub(super) fn store(
        &mut self,
        (kind, fresh): (Kind, Option<Fresh>),
        header: Header,
        key: Key<'_>,
        content: Content<'_>,
    ) -> Written {
        let place = self.append(kind, header, fresh);
        let pages = &self.table.pages;
        let entry = Entry::to_write(pages, place, header);
        match content.value {
            ContentValue::Small(value) => {
                entry.write(header, key.bytes, content.meta, value);
            }
            ContentValue::Large(chain, value) => {
                chain.seal(pages);
                entry.write(header, key.bytes, content.meta, value);
                let value = SharedChain::new(pages, chain.first);
                value.set_entered(self.table.policy.time());
                self.state.log.add_large(pages, chain.first);
                self.count_large(kind, value, place);
            }
        }
        let written = self.publish(key, place);
        if !self.table.namespaces.is_empty() {
            self.count_in_namespace(&entry, true);
        }
        written
    }

    /// The same for a key that is not there, with a popularity that it had before.
    pub(super) fn restore(
        &mut self,
        (popularity, fresh): (Popularity, Option<Fresh>),
        header: Header,
        key: Key<'_>,
        content: Content<'_>,
    ) {
        self.store((popularity.kind(), fresh), header, key, content);
        if let Some((found, _)) = self.find(key) {
            let (tag, place) = (tag_of(key.hash), found.slot.place());
            found.replace(Slot::new(tag, popularity.frequency(), place));
        }
    }

    /// Makes a new entry the key's.
    fn publish(&mut self, key: Key<'_>, place: u64) -> Written {
        let (table, tag) = (self.table, tag_of(key.hash));
        // Looked up again, since making room may have moved or evicted it.
        if let Some((found, entry)) = self.find(key) {
            let frequency = found.slot.with_hit().frequency();
            found.replace(Slot::new(tag, frequency, place));
            let written = self.count_replaced(&entry);
            self.free(found.slot.place(), &entry);
            return written;
        }
        let (index, pages) = (&mut self.state.index, &table.pages);
        index.insert(&table.index, key.hash, Slot::new(tag, 0, place));
        index.grow(
            &table.index,
            &table.budget,
            |slot| pages.prefetch(slot.place()),
            |slot| {
                let entry = Entry::at(pages, slot.place());
                entry.map_or(0, |entry| table.hasher.hash_entry(&entry))
            },
        );
        Written::Created
    }

    fn count_replaced(&mut self, old: &Entry<'_>) -> Written {
        match self.ended(old) {
            Some(cause) => {
                self.count(cause, old);
                Written::Created
            }
            None => {
                self.state.statistics.replaced += 1;
                Written::Replaced
            }
        }
    }

    fn count(&mut self, cause: Cause, entry: &Entry<'_>) {
        let statistics = &mut self.state.statistics;
        match cause {
            Cause::Deleted => statistics.deleted += 1,
            Cause::Evicted => statistics.evicted += 1,
            Cause::Expired => statistics.expired += 1,
            Cause::Purged => statistics.purged += 1,
        }
        if let Some(namespace) = self.namespace_of(entry) {
            match cause {
                Cause::Deleted => {}
                Cause::Evicted => namespace.evicted += 1,
                Cause::Expired => namespace.expired += 1,
                Cause::Purged => namespace.purged += 1,
            }
        }
    }

    /// The counts of an entry's namespace, if it belongs to one.
    #[inline]
    fn namespace_of(&mut self, entry: &Entry<'_>) -> Option<&mut NamespaceStatistics> {
        let namespaces = &self.table.namespaces;
        if namespaces.is_empty() {
            return None;
        }
        let namespace = namespaces.find(|prefix| entry.key_begins_with(prefix))?;
        self.state.namespaces.get_mut(namespace)
    }

    /// Counts an entry that comes into its namespace, or goes.
    #[cold]
    fn count_in_namespace(&mut self, entry: &Entry<'_>, comes: bool) {
        let bytes = self.table.bytes_of(entry);
        let Some(namespace) = self.namespace_of(entry) else { return };
        let count = |number: &mut u64, n| if comes { *number += n } else { *number -= n };
        count(&mut namespace.keys, 1);
        count(&mut namespace.bytes, bytes);
    }

    /// Copies an entry, which is still there, to a queue's end; false if there is no room even for that.
    pub(super) fn move_to(
        &mut self,
        kind: Kind,
        found: Found<'_>,
        entry: &Entry<'_>,
        hash: u64,
        frequency: u8,
    ) -> bool {
        let pages = &self.table.pages;
        let mut fresh = None;
        if !self.state.log.has_room(pages, kind, entry.header.words()) {
            let Some(page) = self.state.allocator.take_free(pages) else { return false };
            fresh = Some(self.fresh(page));
        }
        let place = self.append(kind, entry.header, fresh);
        if entry.header.is_large() {
            let value = self.value_of(entry);
            if !self.table.policy.is_by_use() {
                self.renew(value);
            }
            self.count_large(kind, value, place);
        }
        entry.copy_to(&Entry::to_write(pages, place, entry.header), self.generation);
        found.replace(Slot::new(tag_of(hash), frequency, place));
        self.mark_dead(found.slot.place(), entry);
        true
    }

    /// Takes an entry out of the index and frees its memory.
    pub(super) fn remove(&mut self, found: Found<'_>, entry: &Entry<'_>, cause: Cause) {
        self.count(cause, entry);
        let (index, budget) = (&self.table.index, &self.table.budget);
        self.state.index.remove(index, budget, found);
        self.free(found.slot.place(), entry);
        self.state.index.shrink(index, budget);
    }

    /// Frees an entry that the index no longer refers to. A page without a live entry is free at once.
    fn free(&mut self, place: u64, entry: &Entry<'_>) {
        if !self.table.namespaces.is_empty() {
            self.count_in_namespace(entry, false);
        }
        self.mark_dead(place, entry);
        if entry.header.is_large() {
            let value = self.value_of(entry);
            self.state.log.forget_large(&self.table.pages, value.first());
            value.release_stored(&mut self.state.allocator);
        }
    }

    /// The same, but for the entry's large value, if it has one: that lives on under another.
    fn mark_dead(&mut self, place: u64, entry: &Entry<'_>) {
        let pages = &self.table.pages;
        for page in self.state.log.mark_dead(pages, place, entry).into_iter().flatten() {
            self.state.wheel.forget(pages, page);
            self.state.allocator.free(pages, page);
        }
    }
}

/// Counts what an entry with the header `old`, in whose place another was written, had become before.
#[inline(never)]
fn count_overwritten(
    table: &Table,
    state: &mut WriterState,
    (now, generation): (Tick, Generation),
    place: u64,
    old: Header,
) -> Written {
    let mut writer = Writer { table, state, now, generation };
    let entry = Entry::of(&table.pages, place, table.pages.words_at(place), old);
    entry.map_or(Written::Created, |entry| writer.count_replaced(&entry))
}
