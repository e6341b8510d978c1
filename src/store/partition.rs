//! One partition: the operations on its keys.
//!
//! Readers go to the [`Table`], and take no lock. Writers hold the mutex around everything else, the
//! [`WriterState`], one at a time.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::budget::Budget;
use super::chain::{Chain, SharedChain};
use super::clock::{Expiry, Tick};
use super::effort::Effort;
use super::fingerprint::Fingerprint;
use super::hasher::Hasher;
use super::header::{CONTENT_BYTES_MAX, Header, fits};
use super::key::Key;
use super::maintenance;
use super::namespaces::NamespaceStatistics;
use super::outcome::{Shortage, Written};
use super::pages::{Kind, page_of};
use super::popularity::Popularity;
use super::prefault::Prefaulter;
use super::reclaimer::{Reclaimer, Spared};
use super::space::Space;
use super::statistics::Statistics;
use super::stored::{Judge, Stored};
use super::sweeper;
use super::table::{Shared, Table};
use super::wheel::unit_of;
use super::writer::{Cause, Content, ContentValue, Writer, WriterState};

#[derive(Debug)]
pub(super) struct Partition {
    table: Table,
    state: Mutex<WriterState>,
    /// Keys present, as of the last write, for those who look without the lock.
    keys: AtomicU64,
    /// Nothing is to be maintained before this unit of the wheel.
    quiet_until: AtomicU32,
}

/// A large value that a reader has taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) first: u32,
    pub(super) len: u32,
    /// The end of the value, behind its pages.
    pub(super) tail: Vec<u8>,
    pub(super) meta: Vec<u8>,
    pub(super) expiry: Expiry,
    pub(super) fingerprint: Option<Fingerprint>,
    /// What the value costs if this reader is the only one.
    pub(super) claimed: Option<u64>,
}

impl Partition {
    pub(super) fn new(
        space: Space,
        prefaulter: Option<&Prefaulter>,
        hasher: Hasher,
        budget: Budget,
        shared: Shared,
        number: usize,
    ) -> io::Result<Self> {
        let state = Mutex::new(WriterState::new(shared.namespaces.len()));
        let table = Table::new(space, prefaulter, hasher, budget, shared, number)?;
        Ok(Self { table, state, keys: AtomicU64::new(0), quiet_until: AtomicU32::new(0) })
    }

    /// Runs `work` as the partition's one writer.
    #[inline(always)]
    fn write<R>(&self, now: Tick, work: impl FnOnce(&mut Writer<'_>) -> R) -> R {
        // A panic in the middle of a write would leave the tables in disorder; but only a bug
        // in this module panics here, and the process then ends with the thread that met it.
        self.write_locked(self.state.lock().unwrap_or_else(PoisonError::into_inner), now, work)
    }

    #[inline(always)]
    fn write_locked<R>(
        &self,
        mut state: MutexGuard<'_, WriterState>,
        now: Tick,
        work: impl FnOnce(&mut Writer<'_>) -> R,
    ) -> R {
        let mut writer = Writer::new(&self.table, &mut state, now);
        let result = work(&mut writer);
        self.keys.store(writer.state.index.keys(), Relaxed);
        writer.show();
        result
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys.load(Relaxed)
    }

    pub(super) fn statistics(&self) -> Statistics {
        // The method's path in the closure's stead is not general enough for the compiler.
        #[allow(clippy::redundant_closure_for_method_calls)]
        self.write(Tick(0), |writer| writer.statistics())
    }

    /// Counts of one of the namespaces.
    pub(super) fn namespace_statistics(&self, namespace: usize) -> NamespaceStatistics {
        self.write(Tick(0), |writer| writer.state.namespaces[namespace])
    }

    /// Stores a value if `judge` says so of what is stored; `None`: it does not. On success a large
    /// value's pages belong to the key from then on. `effort` is what was done to make room for it so
    /// far.
    pub(super) fn put(
        &self,
        key: Key<'_>,
        content: Content<'_>,
        expiry: Expiry,
        now: Tick,
        judge: &mut impl Judge,
        effort: &mut Effort,
    ) -> Result<Option<Written>, Shortage> {
        debug_assert!(fits(key.bytes.len(), content.meta.len()));
        self.write(now, |writer| {
            if !judge.allows(|| writer.stored(key)) {
                return Ok(None);
            }
            let header = content.header(key, expiry).in_generation(writer.generation);
            let found = writer.find(key);
            if let (Some((found, entry)), ContentValue::Small(value)) = (&found, content.value)
                && !entry.header.is_large()
                && entry.header.is_as_long_as(header)
            {
                let value = (content.meta, value);
                return Ok(Some(writer.overwrite(*found, entry, header, key, value)));
            }
            let (kind, ghost) = match found {
                Some((found, _)) => (self.kind_of_page(page_of(found.slot.place())), None),
                None => self.table.policy.queue_for_new(key.hash),
            };
            let spared = Spared { hash: key.hash, for_good: false };
            let mut reclaimer = Reclaimer::new(writer, effort, Some(spared));
            let fresh = reclaimer.make_room(kind, header.words())?;
            // Only now: this try may have been in vain, and the next one is to know it as well.
            if let Some(ghost) = ghost {
                reclaimer.count_return(ghost);
            }
            let written = writer.store((kind, fresh), header, key, content);
            if let ContentValue::Large(chain, _) = content.value {
                writer.note_use(key.hash, SharedChain::new(&self.table.pages, chain.first));
            }
            Ok(Some(written))
        })
    }

    /// Does what [`put`](Self::put) would do, if that is no more than to put a small value in the place of
    /// another, and the key is where its hint says. `None`: nothing was done.
    #[inline(always)] // Without a call, nothing of the key and the value has to lie in memory.
    pub(super) fn overwrite(
        &self,
        key: Key<'_>,
        value: &[u8],
        expiry: Expiry,
        now: Tick,
    ) -> Option<Written> {
        if key.hint.slot.is_empty() || value.len() > CONTENT_BYTES_MAX {
            return None;
        }
        self.write(now, |writer| {
            let (found, entry) = writer.find_by_hint(key)?;
            let header = Header::new(key.bytes.len(), &[], value.len(), false, expiry);
            let fits = !entry.header.is_large() && entry.header.is_as_long_as(header);
            let header = header.in_generation(writer.generation);
            fits.then(|| writer.overwrite(found, &entry, header, key, (&[], value)))
        })
    }

    /// Stores what was stored before, in the queue and with the frequency that it had, unless the key is
    /// there. Whether it was stored; a large value's pages belong to the key then.
    pub(super) fn restore(
        &self,
        key: Key<'_>,
        content: Content<'_>,
        expiry: Expiry,
        popularity: Popularity,
        now: Tick,
        effort: &mut Effort,
    ) -> Result<bool, Shortage> {
        self.write(now, |writer| {
            if writer.find(key).is_some() {
                return Ok(false);
            }
            let header = content.header(key, expiry).in_generation(writer.generation);
            let mut reclaimer = Reclaimer::new(writer, effort, None);
            let fresh = reclaimer.make_room(popularity.kind(), header.words())?;
            writer.restore((popularity, fresh), header, key, content);
            Ok(true)
        })
    }

    fn kind_of_page(&self, page: u32) -> Kind {
        self.table.pages.record(page).kind()
    }

    /// Removes a key. Whether it was live.
    pub(super) fn remove(&self, key: Key<'_>, now: Tick) -> bool {
        self.remove_if(key, now, |_| true).unwrap_or(false)
    }

    /// Removes a key if `judge` says so of what is stored. Whether it was live; `None`: `judge` did not.
    pub(super) fn remove_if(
        &self,
        key: Key<'_>,
        now: Tick,
        judge: impl FnOnce(&Stored<'_>) -> bool,
    ) -> Option<bool> {
        self.write(now, |writer| {
            let Some((found, entry)) = writer.find(key) else { return Some(false) };
            let ended = writer.ended(&entry);
            if ended.is_none() && !judge(&Stored::new(entry, &self.table.pages)) {
                return None;
            }
            writer.remove(found, &entry, ended.unwrap_or(Cause::Deleted));
            Some(ended.is_none())
        })
    }

    /// Remembers the fingerprint of a key's value, if that is still the one with this first page, which a
    /// reader holds.
    pub(super) fn remember_fingerprint(&self, key: Key<'_>, first: u32, fingerprint: Fingerprint) {
        self.write(Tick(0), |writer| {
            let Some((_, entry)) = writer.find(key) else { return };
            if entry.header.is_large() && entry.large().0 == first {
                entry.set_large_fingerprint(fingerprint);
            }
        });
    }

    /// Takes a reader's reference to a key's value, if it is live, and large. For eviction it `is_use`, or
    /// did not happen.
    pub(super) fn take_large(&self, key: Key<'_>, now: Tick, is_use: bool) -> Option<Taken> {
        self.write(now, |writer| {
            let (_, entry) = writer.find(key)?;
            let is_due = entry.header.expiry().is_due(now);
            if !entry.header.is_large() || is_due || writer.is_purged(&entry) {
                return None;
            }
            let ((first, len), mut meta, mut tail) = (entry.large(), Vec::new(), Vec::new());
            entry.meta().append_to(&mut meta);
            entry.tail().append_to(&mut tail);
            let (expiry, fingerprint) = (entry.header.expiry(), entry.large_fingerprint());
            let value = writer.value_of(&entry);
            if is_use {
                writer.note_use(key.hash, value);
            }
            if is_use && self.table.policy.is_by_use() {
                writer.renew(value);
            }
            let claimed = value.pin();
            Some(Taken { first, len, tail, meta, expiry, fingerprint, claimed })
        })
    }

    /// Takes one more reference to a value that a reader holds, so that the lock is not needed.
    pub(super) fn share_large(&self, first: u32) {
        SharedChain::new(&self.table.pages, first).add_reader();
    }

    /// Drops a reader's reference to a large value. What the value costs if it was the only one.
    pub(super) fn drop_large(&self, first: u32) -> Option<u64> {
        self.write(Tick(0), |writer| {
            SharedChain::new(&self.table.pages, first).unpin(&mut writer.state.allocator)
        })
    }

    /// Adds pages to a value that is being received until there are so many.
    pub(super) fn lengthen(
        &self,
        chain: &mut Chain,
        pages: u32,
        spared: Spared,
        effort: &mut Effort,
    ) -> Result<(), Shortage> {
        // The clock is not at hand; the partition remembers the time of its last write.
        self.write(Tick(0), |writer| {
            let mut reclaimer = Reclaimer::new(writer, effort, Some(spared));
            while chain.pages < pages {
                let page = reclaimer.make_page()?;
                chain.push(&self.table.pages, page);
            }
            Ok(())
        })
    }

    /// Frees the pages of a value that was not received to its end.
    pub(super) fn free(&self, chain: Chain) {
        self.write(Tick(0), |writer| {
            chain.free(&self.table.pages, &mut writer.state.allocator);
        });
    }

    /// Releases up to so many pages for another partition. If there are none to spare, `kind` says in
    /// which queue room is to be made.
    pub(super) fn release_pages(&self, kind: Kind, count: u32, now: Tick, effort: &mut Effort) {
        self.write(now, |writer| Reclaimer::new(writer, effort, None).release_pages(kind, count));
    }

    /// A bounded step of background work; whether more is due.
    pub(super) fn maintain(&self, now: Tick) -> bool {
        if unit_of(now) < self.quiet_until.load(Relaxed) {
            return false;
        }
        let is_busy = self.write(now, maintenance::maintain);
        if !is_busy {
            self.quiet_until.store(unit_of(now) + 1, Relaxed);
        }
        is_busy
    }

    /// Takes a step of sweeping, unless somebody else writes and it is not to wait for that. Whether it
    /// did.
    pub(super) fn sweep(&self, now: Tick, waits: bool) -> bool {
        let state = if waits {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        } else {
            match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(state)) => state.into_inner(),
                Err(TryLockError::WouldBlock) => return false,
            }
        };
        self.write_locked(state, now, |writer| {
            if let Some(swept) = sweeper::step(writer) {
                self.purges.settle(self.number, swept);
            }
        });
        true
    }

    /// Checks the invariants, and panics with the name of one that is broken.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        super::invariants::check(&self.table, &state);
    }
}

impl Deref for Partition {
    type Target = Table;

    #[inline]
    fn deref(&self) -> &Table {
        &self.table
    }
}
