//! A value that is being received piece by piece.

use std::fmt;
use std::sync::Arc;

use super::chain::{Chain, charge};
use super::clock::{Expiry, Tick};
use super::entry;
use super::fingerprint::{Fingerprint, Fingerprinter};
use super::header::{fits, is_small, tail_bytes};
use super::key::Key;
use super::memory::append_words;
use super::outcome::{Full, Written};
use super::pages::{NONE, PAGE_BYTES};
use super::partitions::Partitions;
use super::popularity::Popularity;
use super::reclaimer::Spared;
use super::stored::Judge;
use super::writer::{Content, ContentValue};

/// Pages that an upload asks for under one lock.
const PAGES_PER_LOCK_MAX: usize = 8;

/// A value that is still arriving. Dropping it gives its memory back.
pub struct Upload {
    partitions: Arc<Partitions>,
    partition: usize,
    key_len: usize,
    key_hash: u64,
    /// What is to be kept beside the value.
    meta: Box<[u8]>,
    /// What works the value's fingerprint out while it arrives, if anything does.
    fingerprinter: Option<Fingerprinter>,
    /// Its number among the uploads that there were.
    number: u64,
    /// Bytes that the value will have at least.
    expected: usize,
    /// What it counts among the uploads' claims.
    claimed_bytes: u64,
    /// The value, while it may still be small; at the end, what the entry of a large one holds.
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
            meta: Box::default(),
            fingerprinter: None,
            number: partitions.claims().begin_upload(),
            expected: 0,
            claimed_bytes: 0,
            buffer: Vec::new(),
            chain: Chain::EMPTY,
        }
    }

    /// Keeps a few bytes beside the value. To be called before anything else.
    ///
    /// # Errors
    /// [`Full`] if they are too many for a key of that length.
    pub fn set_meta(&mut self, meta: &[u8]) -> Result<(), Full> {
        if !fits(self.key_len, meta.len()) {
            return Err(Full);
        }
        self.meta = meta.into();
        Ok(())
    }

    /// Has the value's fingerprint worked out while it arrives. To be called before the first byte.
    pub fn fingerprint_as_it_arrives(&mut self) {
        debug_assert!(self.is_empty());
        self.fingerprinter = Some(Fingerprinter::default());
    }

    /// The fingerprint of what has arrived, if it is [worked out](Self::fingerprint_as_it_arrives).
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprinter.as_ref().map(Fingerprinter::fingerprint)
    }

    fn is_small(&self, bytes: usize) -> bool {
        is_small(self.key_len, self.meta.len(), bytes)
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
        if !fits(self.key_len, self.meta.len()) {
            return Err(Full);
        }
        if self.is_small(bytes) {
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
        let whole = self.expected.max(self.len().saturating_add(bytes));
        if self.is_small(whole) || self.check(whole).is_err() {
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

    /// Bytes of the store's memory that it has claimed so far.
    #[must_use]
    pub fn claimed_bytes(&self) -> u64 {
        self.claimed_bytes
    }

    /// Bytes on the heap, outside of the store's memory.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.buffer.capacity() + self.meta.len()
    }

    /// Appends bytes to the value.
    ///
    /// # Errors
    /// [`Full`] if the store has no memory left for them even after evicting.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let len = self.len() + bytes.len();
        if let Some(fingerprinter) = &mut self.fingerprinter {
            fingerprinter.push(bytes);
        }
        if self.chain.pages == 0 && self.is_small(len) {
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
        let for_good = !self.fits_beside_others(self.expected.max(self.len()));
        let spared = Spared { hash: self.key_hash, for_good };
        let pages = self.chain.pages + count as u32;
        self.partitions.lengthen(self.partition, &mut self.chain, pages, spared)
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

    /// Makes the upload a key's value if `judge` says so of what is stored; `None`: it does not.
    pub(super) fn commit(
        self,
        key: Key<'_>,
        expiry: Expiry,
        now: Tick,
        judge: impl Judge,
    ) -> Result<Option<Written>, Full> {
        self.store(key, |partitions, partition, content| {
            partitions.put(partition, key, content, expiry, now, judge)
        })
    }

    /// Makes the upload the value of a key that is not there, with the popularity that it had. Whether
    /// the key was not there.
    pub(super) fn restore(
        self,
        key: Key<'_>,
        state: (Expiry, Popularity),
        now: Tick,
    ) -> Result<bool, Full> {
        let stored = self.store(key, |partitions, partition, content| {
            Ok(partitions.restore(partition, key, content, state, now)?.then_some(()))
        });
        Ok(stored?.is_some())
    }

    /// Moves the end of the value to what its entry holds, if it does not fill its page well.
    fn move_tail(&mut self) {
        let tail = tail_bytes(self.key_len, self.meta.len(), self.chain.len as usize);
        if tail > 0 {
            let partition = &self.partitions[self.partition];
            let last = self.chain.pop(&partition.pages);
            append_words(&mut self.buffer, tail, partition.pages.page(last.first), 0);
            partition.free(last);
        }
    }

    /// Has `put` store the value; its pages belong to the key if it did.
    fn store<R>(
        mut self,
        key: Key<'_>,
        put: impl FnOnce(&Partitions, usize, Content<'_>) -> Result<Option<R>, Full>,
    ) -> Result<Option<R>, Full> {
        debug_assert_eq!(self.key_len, key.bytes.len(), "an upload is for one key");
        self.check(self.len())?;
        let value = if self.chain.pages == 0 {
            ContentValue::Small(&self.buffer)
        } else {
            let (len, fingerprint) = (self.chain.len, self.fingerprint());
            self.buffer = entry::large_bytes(self.chain.first, len, fingerprint).to_vec();
            self.move_tail();
            ContentValue::Large(self.chain, &self.buffer)
        };
        let content = Content { meta: &self.meta, value };
        let written = put(&self.partitions, self.partition, content)?;
        if written.is_some() {
            self.chain = Chain::EMPTY;
        }
        Ok(written)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.partitions.claims().end_upload(self.number, self.claimed_bytes);
        if self.chain.pages > 0 {
            self.partitions[self.partition].free(self.chain);
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("len", &self.len()).finish_non_exhaustive()
    }
}
