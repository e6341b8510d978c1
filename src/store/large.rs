//! Values of whole pages: received piece by piece, shared with readers without a copy.
//!
//! Such a value is a chain of pages, linked by their records. The entry in the log counts as one
//! reference and each [`LargeValue`] as another; who lets go of the last one frees the pages. A
//! reference is taken under the partition's mutex, while the entry is in the index, so that no
//! value comes back to life. As long as a reader has one, evicting the value would free nothing.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::{Entry, KEY_BYTES_MAX};
use super::memory::bytes_of;
use super::pages::{Kind, NONE, PAGE_BYTES, PAGE_CHARGE, Pages, Room};
use super::partition::{Content, Spared, Writer, is_small};
use super::partitions::Partitions;
use super::{Expiry, Full, Key, Shortage, Tick, Written};

/// Pages that an upload asks for under one lock.
const PAGES_PER_LOCK_MAX: usize = 8;

/// Pages in a row that are shown as one piece: more than is sent at once.
const PAGES_PER_PIECE_MAX: usize = 128;

/// The entry's reference, among those of the readers, of which there are fewer.
const STORED: u32 = 1 << 31;

/// What a value of so many bytes costs of the memory limit, its entry not counted.
fn charge(bytes: usize) -> u64 {
    bytes.div_ceil(PAGE_BYTES) as u64 * PAGE_CHARGE
}

/// The pages of a large value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub(super) first: u32,
    last: u32,
    pages: u32,
    len: u32,
}

impl Chain {
    const EMPTY: Self = Self { first: NONE, last: NONE, pages: 0, len: 0 };

    /// Bytes that still fit into the last page.
    fn room(&self) -> usize {
        self.pages as usize * PAGE_BYTES - self.len as usize
    }

    fn push(&mut self, pages: &Pages, page: u32) {
        pages.record(page).set_kind(Kind::Large);
        match self.last {
            NONE => self.first = page,
            last => pages.record(last).link(Room::Queue).next.store(page, Ordering::Relaxed),
        }
        self.last = page;
        self.pages += 1;
    }

    /// Writes bytes to the end. `from` is the first page that has room.
    fn write(&mut self, pages: &Pages, from: u32, bytes: &[u8]) {
        let (mut page, mut bytes) = (from, bytes);
        while !bytes.is_empty() {
            let at = self.len as usize % PAGE_BYTES;
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_BYTES - at));
            super::memory::write_bytes(pages.page(page), at, now);
            self.len += now.len() as u32;
            bytes = later;
            page = pages.next_in_chain(page);
        }
    }

    /// Notes in the first page's record what freeing the value needs, with one reference.
    pub(super) fn seal(&self, pages: &Pages) {
        let record = pages.record(self.first);
        record.references().store(STORED, Ordering::Relaxed);
        record.chain_pages().store(self.pages, Ordering::Relaxed);
        record.chain_last().store(self.last, Ordering::Relaxed);
    }

    /// What the log holds of the value.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.first) << 32 | u64::from(self.len)).to_le_bytes()
    }
}

impl Writer<'_> {
    /// Takes a reader's reference to a large value. What it costs if it is the only one.
    fn pin(&self, first: u32) -> Option<u64> {
        let record = self.partition.pages.record(first);
        let before = record.references().fetch_add(1, Ordering::Relaxed);
        (before == STORED).then(|| self.charge_of(first))
    }

    /// Lets go of a reader's reference. What the value costs if it was the only one.
    fn unpin(&mut self, first: u32) -> Option<u64> {
        let charge = self.charge_of(first);
        let left = self.release(first, 1);
        (left & !STORED == 0).then_some(charge)
    }

    /// Lets go of the entry's reference to a large value.
    pub(super) fn release_stored(&mut self, first: u32) {
        self.release(first, STORED);
    }

    /// Lets go of a reference, and of the pages if it was the last one. Those that are left.
    fn release(&mut self, first: u32, reference: u32) -> u32 {
        let pages = &self.partition.pages;
        let record = pages.record(first);
        // Acquire and release order the readers' last looks before the pages' next use.
        let left = record.references().fetch_sub(reference, Ordering::AcqRel) - reference;
        if left == 0 {
            let last = record.chain_last().load(Ordering::Relaxed);
            let count = record.chain_pages().load(Ordering::Relaxed);
            self.keeper.stock.put_chain(pages, first, last, count);
        }
        left
    }

    /// Whether readers hold the entry's value, so that evicting it would free nothing.
    pub(super) fn is_pinned(&self, entry: &Entry<'_>) -> bool {
        entry.header.is_large() && {
            let record = self.partition.pages.record(entry.large().0);
            record.references().load(Ordering::Relaxed) & !STORED > 0
        }
    }

    fn charge_of(&self, first: u32) -> u64 {
        let pages = self.partition.pages.record(first).chain_pages().load(Ordering::Relaxed);
        u64::from(pages) * PAGE_CHARGE
    }

    /// Adds up to so many pages to a value that is being received.
    fn lengthen(&mut self, chain: &mut Chain, count: usize) -> Result<(), Shortage> {
        for _ in 0..count {
            let page = self.make_page()?;
            chain.push(&self.partition.pages, page);
        }
        Ok(())
    }
}

/// A reference-counted value outside the small-entry memory.
pub struct LargeValue {
    partitions: Arc<Partitions>,
    partition: usize,
    first: u32,
    len: u32,
    exceeds: bool,
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
    /// Takes a reference to a key's value, if it is live, and large.
    pub(super) fn take(
        partitions: &Arc<Partitions>,
        partition: usize,
        key: Key<'_>,
        now: Tick,
    ) -> Option<Self> {
        let (first, len, claimed) = partitions[partition].write(now, |writer| {
            let (_, entry) = writer.find(key)?;
            if !entry.header.is_large() || entry.header.expiry().is_due(now) {
                return None;
            }
            let (first, len) = entry.large();
            Some((first, len, writer.pin(first)))
        })?;
        let exceeds = claimed.is_some_and(|bytes| partitions.claims().pin(bytes));
        let cursor = Cell::new(Cursor { page: first, at: 0 });
        Some(Self { partitions: Arc::clone(partitions), partition, first, len, exceeds, cursor })
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

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Calls `each` with the value's bytes from `from` on, in order, in as many pieces as they
    /// lie in memory, until it returns false. Who goes on where the last call began, or later, has
    /// the pages before that not walked again.
    pub fn pieces<'a>(&'a self, from: usize, mut each: impl FnMut(&'a [u8]) -> bool) {
        let (pages, Cursor { mut page, mut at }) = (self.pages(), self.seek(from));
        while at < self.len() {
            let (first, mut count) = (page, 1);
            page = pages.next_in_chain(page);
            while at + count * PAGE_BYTES < self.len()
                && page == first + count as u32
                && count < PAGES_PER_PIECE_MAX
            {
                page = pages.next_in_chain(page);
                count += 1;
            }
            let end = (at + count * PAGE_BYTES).min(self.len());
            let skip = from.saturating_sub(at);
            if skip < end - at && !each(&self.run(first, count)[skip..end - at]) {
                return;
            }
            at = end;
        }
    }

    /// The page that the byte lies in, or the last one.
    fn seek(&self, byte: usize) -> Cursor {
        let mut cursor = self.cursor.get();
        if byte < cursor.at {
            cursor = Cursor { page: self.first, at: 0 };
        }
        while byte >= cursor.at + PAGE_BYTES && cursor.at + PAGE_BYTES < self.len() {
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
        // The value is held already, so the count is not 0 and the lock not needed.
        self.pages().record(self.first).references().fetch_add(1, Ordering::Relaxed);
        Self {
            partitions: Arc::clone(&self.partitions),
            exceeds: false,
            cursor: self.cursor.clone(),
            ..*self
        }
    }
}

impl Drop for LargeValue {
    fn drop(&mut self) {
        let partition = &self.partitions[self.partition];
        if let Some(bytes) = partition.write(Tick(0), |writer| writer.unpin(self.first)) {
            self.partitions.claims().unpin(bytes);
        }
    }
}

impl fmt::Debug for LargeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeValue").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A value that is still arriving. Dropping it gives its memory back.
pub struct Upload {
    partitions: Arc<Partitions>,
    partition: usize,
    key_len: usize,
    key_hash: u64,
    /// Its number among the uploads that there were.
    number: u64,
    /// Bytes that the value will have at least.
    expected: usize,
    /// What it counts among the uploads' claims.
    claimed_bytes: u64,
    /// The value, while it may still be small.
    buffer: Vec<u8>,
    /// The value, from then on.
    chain: Chain,
}

impl Upload {
    pub(super) fn new(partitions: &Arc<Partitions>, partition: usize, key: Key<'_>) -> Self {
        Self {
            partitions: Arc::clone(partitions),
            partition,
            key_len: key.bytes.len(),
            key_hash: key.hash,
            number: partitions.claims().begin_upload(),
            expected: 0,
            claimed_bytes: 0,
            buffer: Vec::new(),
            chain: Chain::EMPTY,
        }
    }

    /// Refuses a value of so many bytes in advance if the store can't hold it, so that nothing
    /// is evicted for it in vain.
    ///
    /// # Errors
    /// [`Full`] if the store can't hold so many bytes whatever is evicted.
    pub fn expect(&mut self, bytes: usize) -> Result<(), Full> {
        self.check(bytes)?;
        self.expected = bytes;
        Ok(())
    }

    fn check(&self, bytes: usize) -> Result<(), Full> {
        if self.key_len > KEY_BYTES_MAX {
            return Err(Full);
        }
        if is_small(self.key_len, bytes) {
            return Ok(());
        }
        if u32::try_from(bytes).is_err() || charge(bytes) > self.partitions.value_bytes_max() {
            return Err(Full);
        }
        Ok(())
    }

    /// Asks for room for so many more bytes, and for all that are expected. False if what readers
    /// and other uploads have claimed leaves none for now, and then nothing was evicted: who can wait
    /// is to ask again later.
    #[must_use]
    pub fn admit(&mut self, bytes: usize) -> bool {
        let whole = self.expected.max(self.len() + bytes);
        if is_small(self.key_len, whole) || self.check(whole).is_err() {
            // It needs nothing that others could hold, or will never have it.
            return true;
        }
        let claims = self.partitions.claims();
        let more = charge(whole).saturating_sub(self.claimed_bytes);
        let admitted = self.fits_beside_others(whole) && claims.try_grow_upload(self.number, more);
        if admitted {
            self.claimed_bytes += more;
        } else {
            claims.refuse();
        }
        admitted
    }

    /// Whether a value of so many bytes fits beside what readers and other uploads hold now, if
    /// everything else is evicted.
    fn fits_beside_others(&self, bytes: usize) -> bool {
        let claims = self.partitions.claims();
        let others = claims.pinned_bytes() + claims.upload_bytes() - self.claimed_bytes;
        charge(bytes) + others <= self.partitions.value_bytes_max()
    }

    /// Bytes on the heap, outside of the store's memory.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Appends bytes to the value.
    ///
    /// # Errors
    /// [`Full`] if the store has no memory left for them even after evicting.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let len = self.len() + bytes.len();
        if self.chain.pages == 0 && is_small(self.key_len, len) {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.check(len)?;
        let more = charge(len).saturating_sub(self.claimed_bytes);
        self.partitions.claims().grow_upload(more);
        self.claimed_bytes += more;
        let buffer = std::mem::take(&mut self.buffer);
        self.append_to_chain(&buffer)?;
        self.append_to_chain(bytes)
    }

    fn append_to_chain(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let (last, room) = (self.chain.last, self.chain.room());
            if room == 0 {
                self.lengthen(bytes.len().div_ceil(PAGE_BYTES).min(PAGES_PER_LOCK_MAX))?;
            }
            let pages = &self.partitions[self.partition].pages;
            let from = match (room, last) {
                (0, NONE) => self.chain.first,
                (0, last) => pages.next_in_chain(last),
                (_, last) => last,
            };
            let (now, later) = bytes.split_at(bytes.len().min(self.chain.room()));
            self.chain.write(pages, from, now);
            bytes = later;
        }
        Ok(())
    }

    fn lengthen(&mut self, count: usize) -> Result<(), Full> {
        let (mut chain, before) = (self.chain, self.chain.pages);
        let partition = self.partition;
        let for_good = !self.fits_beside_others(self.expected.max(self.len()));
        let spared = Spared { hash: self.key_hash, for_good };
        // The clock is not at hand; the partition remembers the time of its last write.
        let result = self.partitions.write(partition, Tick(0), |writer| {
            writer.spared = Some(spared);
            let done = chain.pages - before;
            writer.lengthen(&mut chain, count - done as usize)
        });
        self.chain = chain;
        result
    }

    /// Bytes received so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + self.chain.len as usize
    }

    /// Whether nothing was received yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the upload a key's value.
    pub(super) fn commit(
        mut self,
        key: Key<'_>,
        expiry: Expiry,
        now: Tick,
    ) -> Result<Written, Full> {
        debug_assert_eq!(self.key_len, key.bytes.len(), "an upload is for one key");
        self.check(self.len())?;
        let content = match self.chain.pages {
            0 => Content::Small(&self.buffer),
            _ => Content::Large(self.chain),
        };
        let write = |writer: &mut Writer<'_>| writer.put(key, content, expiry);
        let written = self.partitions.write(self.partition, now, write)?;
        self.chain = Chain::EMPTY;
        Ok(written)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.partitions.claims().end_upload(self.number, self.claimed_bytes);
        let chain = self.chain;
        if chain.pages > 0 {
            self.partitions[self.partition].write(Tick(0), |writer| {
                let pages = &writer.partition.pages;
                writer.keeper.stock.put_chain(pages, chain.first, chain.last, chain.pages);
            });
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("len", &self.len()).finish_non_exhaustive()
    }
}
