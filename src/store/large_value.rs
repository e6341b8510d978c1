//! A large value in the hands of a reader: shared, and sent without a copy.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use super::clock::{Expiry, Tick};
use super::fingerprint::{Fingerprint, Fingerprinter};
use super::key::Key;
use super::memory::bytes_of;
use super::pages::{PAGE_BYTES, Pages};
use super::partitions::Partitions;

/// Pages in a row that are shown as one piece: more than is sent at once.
const PAGES_PER_PIECE_MAX: usize = 128;

/// A reference-counted value outside the small-entry memory.
pub struct LargeValue {
    partitions: Arc<Partitions>,
    partition: usize,
    first: u32,
    len: u32,
    /// The value's end, behind its pages: a copy.
    tail: Vec<u8>,
    exceeds: bool,
    meta: Box<[u8]>,
    expiry: Expiry,
    fingerprint: Option<Fingerprint>,
    /// Where the last look at the value began.
    cursor: Cell<Cursor>,
}

/// A page of a value, and where in the value it begins.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    page: u32,
    at: usize,
}

impl LargeValue {
    /// Takes a reference to a key's value, if it is live, and large. For eviction it `is_use`, or did not
    /// happen.
    pub(super) fn take(
        partitions: &Arc<Partitions>,
        partition: usize,
        key: Key<'_>,
        now: Tick,
        is_use: bool,
    ) -> Option<Self> {
        let taken = partitions[partition].take_large(key, now, is_use)?;
        let exceeds = taken.claimed.is_some_and(|bytes| partitions.claims().pin(bytes));
        Some(Self {
            partitions: Arc::clone(partitions),
            partition,
            first: taken.first,
            len: taken.len,
            tail: taken.tail,
            exceeds,
            meta: taken.meta.into(),
            expiry: taken.expiry,
            fingerprint: taken.fingerprint,
            cursor: Cell::new(Cursor { page: taken.first, at: 0 }),
        })
    }

    /// What is kept beside the value; empty if nothing is.
    #[must_use]
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// When the key ends that the value was taken from.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// The value's fingerprint. Whoever asks first walks over all of the value; `key`, which it was
    /// taken from, then remembers it.
    pub fn fingerprint(&mut self, key: Key<'_>) -> Fingerprint {
        if let Some(fingerprint) = self.fingerprint {
            return fingerprint;
        }
        let mut fingerprinter = Fingerprinter::default();
        self.pieces(0, |piece| {
            fingerprinter.push(piece);
            true
        });
        let fingerprint = fingerprinter.fingerprint();
        self.fingerprint = Some(fingerprint);
        self.partitions[self.partition].remember_fingerprint(key, self.first, fingerprint);
        fingerprint
    }

    /// Whether readers hold more than their share of the memory since this value was taken. Who can
    /// wait is to let go of it, and to read the key again when others have let go of theirs.
    #[must_use]
    pub fn exceeds_share(&self) -> bool {
        self.exceeds
    }

    fn pages(&self) -> &Pages {
        &self.partitions[self.partition].pages
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes of it that are in its pages.
    fn paged_len(&self) -> usize {
        self.len() - self.tail.len()
    }

    /// Bytes on the heap, outside of the store's memory.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.tail.capacity() + self.meta.len()
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Calls `each` with the value's bytes from `from` on, in order, in as many pieces as they
    /// lie in memory, until it returns false. Who goes on where the last call began, or later, has
    /// the pages before that not walked again.
    pub fn pieces<'a>(&'a self, from: usize, mut each: impl FnMut(&'a [u8]) -> bool) {
        let (pages, paged_len) = (self.pages(), self.paged_len());
        let Cursor { mut page, mut at } = self.seek(from);
        while at < paged_len {
            let (first, mut count) = (page, 1);
            page = pages.next_in_chain(page);
            while at + count * PAGE_BYTES < paged_len
                && page == first + count as u32
                && count < PAGES_PER_PIECE_MAX
            {
                page = pages.next_in_chain(page);
                count += 1;
            }
            let end = (at + count * PAGE_BYTES).min(paged_len);
            let skip = from.saturating_sub(at);
            if skip < end - at && !each(&self.run(first, count)[skip..end - at]) {
                return;
            }
            at = end;
        }
        if let Some(rest @ [_, ..]) = self.tail.get(from.saturating_sub(paged_len)..) {
            each(rest);
        }
    }

    /// The page that the byte lies in, or the last one.
    fn seek(&self, byte: usize) -> Cursor {
        let mut cursor = self.cursor.get();
        if byte < cursor.at {
            cursor = Cursor { page: self.first, at: 0 };
        }
        while byte >= cursor.at + PAGE_BYTES && cursor.at + PAGE_BYTES < self.paged_len() {
            cursor.page = self.pages().next_in_chain(cursor.page);
            cursor.at += PAGE_BYTES;
        }
        self.cursor.set(cursor);
        cursor
    }

    #[allow(unsafe_code)] // Shows pages of atomics as bytes.
    fn run(&self, first: u32, count: usize) -> &[u8] {
        // SAFETY: the pages are part of a sealed value, which nobody writes to, and are not
        // freed while this reference to it lives.
        unsafe { bytes_of(self.pages().run(first, count)) }
    }
}

impl Clone for LargeValue {
    fn clone(&self) -> Self {
        self.partitions[self.partition].share_large(self.first);
        Self {
            partitions: Arc::clone(&self.partitions),
            exceeds: false,
            tail: self.tail.clone(),
            meta: self.meta.clone(),
            cursor: self.cursor.clone(),
            ..*self
        }
    }
}

impl Drop for LargeValue {
    fn drop(&mut self) {
        let partition = &self.partitions[self.partition];
        if let Some(bytes) = partition.drop_large(self.first) {
            self.partitions.claims().unpin(bytes);
        }
    }
}

impl fmt::Debug for LargeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeValue").field("len", &self.len).finish_non_exhaustive()
    }
}
