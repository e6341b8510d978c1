//! What readers and writers of a partition share: the index, and the pages that it leads to.
//!
//! Both are made of atomics. Readers take no lock; what they read is validated by the sequence words
//! of the index.

use std::io;
use std::sync::Arc;

use super::budget::Budget;
use super::chain::SharedChain;
use super::clock::Tick;
use super::entry::Entry;
use super::hasher::Hasher;
use super::header::Header;
use super::index::{Index, SlotHint};
use super::key::Key;
use super::namespaces::Namespaces;
use super::optimistic_read::OptimisticRead;
use super::pages::{PAGE_CHARGE, Pages};
use super::plain_value::PlainValue;
use super::policy::Policy;
use super::prefault::Prefaulter;
use super::purges::Purges;
use super::space::Space;

#[derive(Debug)]
pub(super) struct Table {
    pub(super) index: Index,
    pub(super) pages: Pages,
    pub(super) hasher: Hasher,
    pub(super) budget: Budget,
    pub(super) policy: Arc<Policy>,
    pub(super) purges: Arc<Purges>,
    pub(super) namespaces: Namespaces,
    /// Which of all partitions it is.
    pub(super) number: usize,
}

/// What a partition shares with all others.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) policy: Arc<Policy>,
    pub(super) purges: Arc<Purges>,
    pub(super) namespaces: Namespaces,
}

/// What a reader has found.
pub(super) enum Seen<R> {
    Value(R),
    /// The value is large and must be taken under the lock.
    Large,
    /// It has expired, or was purged.
    Gone,
}

impl Table {
    pub(super) fn new(
        space: Space,
        prefaulter: Option<&Prefaulter>,
        hasher: Hasher,
        budget: Budget,
        shared: Shared,
        number: usize,
    ) -> io::Result<Self> {
        let Shared { policy, purges, namespaces } = shared;
        let index = Index::reserve(space.entries_bytes_max, prefaulter)?;
        let pages = Pages::reserve(space.pages_bytes_max, prefaulter)?;
        Ok(Self { index, pages, hasher, budget, policy, purges, namespaces, number })
    }

    /// Charged bytes that can't hold values.
    pub(super) fn fixed_bytes(&self) -> u64 {
        self.budget.charged_bytes().saturating_sub(self.pages.charged_bytes())
    }

    /// Bytes that an entry takes, with its large value.
    pub(super) fn bytes_of(&self, entry: &Entry<'_>) -> u64 {
        let is_large = entry.header.is_large();
        let pages = if is_large { SharedChain::new(&self.pages, entry.large().0).len() } else { 0 };
        entry.header.words() as u64 * 8 + u64::from(pages) * PAGE_CHARGE
    }

    /// Looks where a key is that hashes to `hash`, and whose bucket is known, and starts loading its entry.
    #[inline]
    pub(super) fn slot_hint(&self, hash: u64, hint: SlotHint) -> SlotHint {
        let hint = self.index.slot_hint(hash, hint);
        self.pages.prefetch(hint.slot.place());
        hint
    }

    /// The small value where the key's hint says, if it is there.
    #[inline]
    pub(super) fn optimistic_read<'a>(
        &'a self,
        key: Key<'a>,
        now: Tick,
    ) -> Option<OptimisticRead<'a>> {
        let Key { bytes, hint, .. } = key;
        if hint.slot.is_empty() {
            return None;
        }
        let (pages, place) = (&self.pages, hint.slot.place());
        let words = pages.words_at(place);
        let header = Header::of(words)?;
        let value = PlainValue::find(pages, place, words, header, bytes)?;
        // What is of an earlier generation may have been purged.
        let shows = header.is_plain_of(self.purges.current()) && !header.expiry().is_due(now);
        shows.then(|| OptimisticRead::new(value, &self.index, hint))
    }

    /// Whether an entry was purged, for a reader.
    #[inline]
    pub(super) fn hides(&self, entry: &Entry<'_>) -> bool {
        let header = entry.header;
        !header.is_of(self.purges.current())
            && self.purges.hide(header.generation_bits(), |prefix| entry.key_begins_with(prefix))
    }

    /// Looks a key up without a lock. `read` may be called several times; the last one counts,
    /// if the result is [`Seen::Value`].
    pub(super) fn read<R>(
        &self,
        key: Key<'_>,
        now: Tick,
        mut read: impl FnMut(&Entry<'_>) -> R,
    ) -> Option<Seen<R>> {
        self.index.read(key.hash, |slot| {
            let entry = Entry::at(&self.pages, slot.place())?;
            if !entry.key_is(key.bytes) {
                return None;
            }
            Some(if entry.header.expiry().is_due(now) || self.hides(&entry) {
                Seen::Gone
            } else if entry.header.is_large() {
                Seen::Large
            } else {
                Seen::Value(read(&entry))
            })
        })
    }
}
