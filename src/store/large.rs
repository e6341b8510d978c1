//! Values of whole pages: received piece by piece, shared with readers without a copy.
//!
//! Such a value is a chain of pages, linked by their records. The entry in the log counts as one
//! reference and each [`LargeValue`] as another; who lets go of the last one frees the pages. A
//! reference is taken under the partition's mutex, while the entry is in the index, so that no
//! value comes back to life.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::KEY_BYTES_MAX;
use super::memory::bytes_of;
use super::pages::{Kind, NONE, PAGE_BYTES, PAGE_CHARGE, Pages, Room};
use super::partition::{Content, Writer, is_small};
use super::partitions::Partitions;
use super::{Expiry, Full, Key, Shortage, Tick, Written};

/// Pages that an upload asks for under one lock.
const PAGES_PER_LOCK_MAX: usize = 8;

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
        record.references().store(1, Ordering::Relaxed);
        record.chain_pages().store(self.pages, Ordering::Relaxed);
        record.chain_last().store(self.last, Ordering::Relaxed);
    }

    /// What the log holds of the value.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.first) << 32 | u64::from(self.len)).to_le_bytes()
    }
}

impl Writer<'_> {
    /// Takes a reference to a large value.
    fn hold(&self, first: u32) {
        self.partition.pages.record(first).references().fetch_add(1, Ordering::Relaxed);
    }

    /// Lets go of a reference, and of the pages if it was the last one.
    pub(super) fn release(&mut self, first: u32) {
        let pages = &self.partition.pages;
        let record = pages.record(first);
        // Acquire and release order the readers' last looks before the pages' next use.
        if record.references().fetch_sub(1, Ordering::AcqRel) == 1 {
            let last = record.chain_last().load(Ordering::Relaxed);
            let count = record.chain_pages().load(Ordering::Relaxed);
            self.keeper.stock.put_chain(pages, first, last, count);
        }
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
}

impl LargeValue {
    /// Takes a reference to a key's value, if it is live, and large.
    pub(super) fn take(
        partitions: &Arc<Partitions>,
        partition: usize,
        key: Key<'_>,
        now: Tick,
    ) -> Option<Self> {
        partitions[partition].write(now, |writer| {
            let (_, entry) = writer.find(key)?;
            if !entry.header.is_large() || entry.header.expiry().is_due(now) {
                return None;
            }
            let (first, len) = entry.large();
            writer.hold(first);
            Some(Self { partitions: Arc::clone(partitions), partition, first, len })
        })
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
    /// lie in memory, until it returns false.
    pub fn pieces<'a>(&'a self, from: usize, mut each: impl FnMut(&'a [u8]) -> bool) {
        let (pages, mut page, mut at) = (self.pages(), self.first, 0);
        while at < self.len() {
            let (first, mut count) = (page, 1);
            page = pages.next_in_chain(page);
            while at + count * PAGE_BYTES < self.len() && page == first + count as u32 {
                page = pages.next_in_chain(page);
                count += 1;
            }
            let end = (at + count * PAGE_BYTES).min(self.len());
            if from < end {
                let skip = from.saturating_sub(at);
                if !each(&self.run(first, count)[skip..end - at]) {
                    return;
                }
            }
            at = end;
        }
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
        Self { partitions: Arc::clone(&self.partitions), ..*self }
    }
}

impl Drop for LargeValue {
    fn drop(&mut self) {
        self.partitions[self.partition].write(Tick(0), |writer| writer.release(self.first));
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
    /// The value, while it may still be small.
    buffer: Vec<u8>,
    /// The value, from then on.
    chain: Chain,
}

impl Upload {
    pub(super) fn new(partitions: &Arc<Partitions>, partition: usize, key_len: usize) -> Self {
        let partitions = Arc::clone(partitions);
        Self { partitions, partition, key_len, buffer: Vec::new(), chain: Chain::EMPTY }
    }

    /// Refuses a value of so many bytes in advance if the store can't hold it, so that nothing
    /// is evicted for it in vain.
    ///
    /// # Errors
    /// [`Full`] if the store can't hold so many bytes whatever is evicted.
    pub fn expect(&self, bytes: usize) -> Result<(), Full> {
        if self.key_len > KEY_BYTES_MAX {
            return Err(Full);
        }
        if is_small(self.key_len, bytes) {
            return Ok(());
        }
        let pages = bytes.div_ceil(PAGE_BYTES) as u64;
        if u32::try_from(bytes).is_err() || pages * PAGE_CHARGE > self.partitions.value_bytes_max()
        {
            return Err(Full);
        }
        Ok(())
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
        self.expect(len)?;
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
        // The clock is not at hand; the partition remembers the time of its last write.
        let result = self.partitions.write(partition, Tick(0), |writer| {
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
        self.expect(self.len())?;
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
