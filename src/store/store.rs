//! The store as its users see it.

use std::io;
use std::sync::Arc;

use super::chain::charge;
use super::clock::{Expiry, Tick};
use super::entry::Entry;
use super::hasher::Hasher;
use super::header::{
    KEY_BYTES_MAX, LARGE_BYTES, entry_words, fits, is_small, meta_bytes, tail_bytes,
};
use super::index::SlotHint;
use super::key::{Hash, Key};
use super::large_value::LargeValue;
use super::namespaces::{NamespaceStatistics, Namespaces};
use super::optimistic_read::OptimisticRead;
use super::outcome::{Busy, Full, Written};
use super::partition::Partition;
use super::partitions::Partitions;
use super::popularity::Popularity;
use super::settings::Settings;
use super::small_value::SmallValue;
use super::statistics::Statistics;
use super::stored::{Always, Stored};
use super::table::Seen;
use super::upload::Upload;
use super::writer::{Content, ContentValue};

/// What a key takes of the index, about: a slot of 8 bytes, of which half are in use, and its share of the
/// rest of the line.
const INDEX_BYTES_PER_KEY: u64 = 19;

/// A value as [`Store::get`] shows it to its reader.
#[derive(Debug)]
pub enum Value<'a> {
    /// Small enough to be copied into the response.
    Small(SmallValue<'a>),
    /// The same, with what is kept beside it in front.
    SmallWithMeta(SmallValue<'a>, SmallValue<'a>),
    /// Shared memory that stays valid for as long as the handle lives, whatever happens to the key.
    Large(LargeValue),
}

impl<'a> Value<'a> {
    fn of(entry: &Entry<'a>) -> Self {
        if entry.header.is_plain() {
            return Self::Small(entry.plain_value());
        }
        Self::SmallWithMeta(entry.meta(), entry.value())
    }
}

/// The keys and values of the whole process, shared by all event loops.
#[derive(Debug)]
pub struct Store {
    partitions: Arc<Partitions>,
    hasher: Hasher,
}

impl Store {
    /// Reserves the store's address space; memory is touched as entries arrive.
    ///
    /// # Errors
    /// When a setting is out of its range, or the process may not have the address space; it then
    /// says how much is missing.
    pub fn new(settings: Settings) -> io::Result<Arc<Self>> {
        Self::with_namespaces(settings, Vec::new())
    }

    /// The same for a store that counts keys which begin with one of these prefixes by themselves, each
    /// in the first one that it begins with. Each write compares its key with all of them.
    ///
    /// # Errors
    /// As those of [`new`](Self::new).
    pub fn with_namespaces(settings: Settings, prefixes: Vec<Box<[u8]>>) -> io::Result<Arc<Self>> {
        settings.validate()?;
        let hasher = Hasher::with_random_seed();
        let namespaces = Namespaces::new(prefixes);
        let partitions = Arc::new(Partitions::new(settings, &hasher, &namespaces)?);
        Ok(Arc::new(Self { partitions, hasher }))
    }

    /// Hashes a key with the process's random seed.
    #[must_use]
    #[inline]
    pub fn hash(&self, key: &[u8]) -> Hash {
        Hash(self.hasher.hash(key))
    }

    /// The key of these bytes.
    #[must_use]
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::new(bytes, self.hash(bytes))
    }

    /// The partition that a key belongs to.
    #[must_use]
    #[inline]
    pub fn partition_of(&self, key: Key<'_>) -> usize {
        self.partition_of_hash(key.hash)
    }

    #[inline]
    fn partition_of_hash(&self, hash: u64) -> usize {
        // Multiply-shift takes the hash's high bits, which the index inside does not use.
        ((u128::from(hash) * self.partitions.len() as u128) >> 64) as usize
    }

    /// Starts loading a key's index line. First pass over a batch.
    #[must_use]
    #[inline]
    pub fn prefetch_index(&self, hash: Hash) -> SlotHint {
        self.partitions[self.partition_of_hash(hash.0)].index.prefetch(hash.0)
    }

    /// Looks where a key is, by now that its index line has arrived, and starts loading its entry.
    /// Second pass over a batch, with what the first one said.
    #[must_use]
    #[inline]
    pub fn prefetch_entry(&self, hash: Hash, hint: SlotHint) -> SlotHint {
        self.partitions[self.partition_of_hash(hash.0)].slot_hint(hash.0, hint)
    }

    /// The key's live value if it is small and lies where the key's [hint](Key::with_hint) says: read
    /// without a search, to be validated afterwards. `None` says nothing about the key.
    #[must_use]
    #[inline]
    pub fn optimistic_read<'a>(&'a self, key: Key<'a>, now: Tick) -> Option<OptimisticRead<'a>> {
        self.partitions[self.partition_of(key)].optimistic_read(key, now)
    }

    /// Searches for the key, whatever its hint says, and shows its live value to `read`. A concurrent
    /// write can tear what `read` saw; it is then called again, and must discard what the earlier
    /// call produced. `None`: absent, and whatever `read` may have produced before must be
    /// discarded, too.
    pub fn get<R>(
        &self,
        key: Key<'_>,
        now: Tick,
        mut read: impl FnMut(Value<'_>) -> R,
    ) -> Option<R> {
        let partition = self.partition_of(key);
        loop {
            match self.partitions[partition].read(key, now, |entry| read(Value::of(entry)))? {
                Seen::Value(result) => return Some(result),
                Seen::Gone => return None,
                Seen::Large => {}
            }
            if let Some(value) = LargeValue::take(&self.partitions, partition, key, now, true) {
                return Some(read(Value::Large(value)));
            }
            // It was replaced by a small one, or removed, since it was seen.
        }
    }

    /// Stores a value; visible to every core when the call returns.
    ///
    /// # Errors
    /// [`Full`] if the store can't hold the value whatever is evicted; the key's old value is
    /// then still there.
    #[inline(never)]
    pub fn put(
        &self,
        key: Key<'_>,
        value: &[u8],
        expiry: Expiry,
        now: Tick,
    ) -> Result<Written, Full> {
        let partition = &self.partitions[self.partition_of(key)];
        match partition.overwrite(key, value, expiry, now) {
            Some(written) => Ok(written),
            None => self.put_anywhere(key, value, expiry, now),
        }
    }

    /// The same wherever the key is, and whatever the value's length is.
    #[inline(never)]
    fn put_anywhere(
        &self,
        key: Key<'_>,
        value: &[u8],
        expiry: Expiry,
        now: Tick,
    ) -> Result<Written, Full> {
        if key.bytes.len() > KEY_BYTES_MAX {
            return Err(Full);
        }
        let written = if is_small(key.bytes.len(), 0, value.len()) {
            let content = Content { meta: &[], value: ContentValue::Small(value) };
            self.partitions.put(self.partition_of(key), key, content, expiry, now, Always)?
        } else {
            self.upload_of(key, &[], value)?.commit(key, expiry, now, Always)?
        };
        Ok(written.unwrap_or(Written::Created))
    }

    /// Stores a value and a few bytes beside it, if `judge` says so of what is stored under the key
    /// at that very moment (`None`: nothing). `judge` may be called several times, of which the last
    /// one counts. `None`: it said no, and nothing was done.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Full`] if key and meta are [too long](Self::fits) together.
    pub fn put_if(
        &self,
        key: Key<'_>,
        meta: &[u8],
        value: &[u8],
        expiry: Expiry,
        now: Tick,
        judge: impl FnMut(Option<&Stored<'_>>) -> bool,
    ) -> Result<Option<Written>, Full> {
        if !Self::fits(key.bytes.len(), meta.len()) {
            return Err(Full);
        }
        if !is_small(key.bytes.len(), meta.len(), value.len()) {
            return self.upload_of(key, meta, value)?.commit(key, expiry, now, judge);
        }
        let content = Content { meta, value: ContentValue::Small(value) };
        self.partitions.put(self.partition_of(key), key, content, expiry, now, judge)
    }

    /// Whether a key and meta of these lengths can be stored together, with a value of any length.
    #[must_use]
    pub fn fits(key_len: usize, meta_len: usize) -> bool {
        fits(key_len, meta_len)
    }

    fn upload_of(&self, key: Key<'_>, meta: &[u8], value: &[u8]) -> Result<Upload, Full> {
        let mut upload = self.upload_to(self.partition_of(key), key);
        upload.set_meta(meta)?;
        upload.expect(value.len())?;
        upload.append(value)?;
        Ok(upload)
    }

    fn upload_to(&self, partition: usize, key: Key<'_>) -> Upload {
        Upload::new(&self.partitions, partition, key)
    }

    /// Starts a value whose bytes arrive over time, with memory of the key's partition.
    #[must_use]
    pub fn upload(self: &Arc<Self>, key: Key<'_>) -> Upload {
        self.upload_to(self.partition_of(key), key)
    }

    /// Stores an upload under the key that it was started for.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_upload(
        &self,
        key: Key<'_>,
        upload: Upload,
        expiry: Expiry,
        now: Tick,
    ) -> Result<Written, Full> {
        Ok(upload.commit(key, expiry, now, Always)?.unwrap_or(Written::Created))
    }

    /// Stores an upload under the key that it was started for, if `judge` says so, as
    /// [`put_if`](Self::put_if) does.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_upload_if(
        &self,
        key: Key<'_>,
        upload: Upload,
        expiry: Expiry,
        now: Tick,
        judge: impl FnMut(Option<&Stored<'_>>) -> bool,
    ) -> Result<Option<Written>, Full> {
        upload.commit(key, expiry, now, judge)
    }

    /// Removes a key. Whether it was live.
    pub fn remove(&self, key: Key<'_>, now: Tick) -> bool {
        self.partitions[self.partition_of(key)].remove(key, now)
    }

    /// Removes a key if `judge` says so of what is stored at that very moment. Whether it was live;
    /// `None`: `judge` said no, and nothing was done.
    pub fn remove_if(
        &self,
        key: Key<'_>,
        now: Tick,
        judge: impl FnOnce(&Stored<'_>) -> bool,
    ) -> Option<bool> {
        self.partitions[self.partition_of(key)].remove_if(key, now, judge)
    }

    /// Stores what was stored before, with the popularity that it had, unless the key is there.
    /// Whether it was stored.
    ///
    /// # Errors
    /// [`Full`] if the store can't hold the value whatever is evicted.
    pub fn restore(
        &self,
        key: Key<'_>,
        meta: &[u8],
        value: &[u8],
        state: (Expiry, Popularity),
        now: Tick,
    ) -> Result<bool, Full> {
        if !Self::fits(key.bytes.len(), meta.len()) {
            return Err(Full);
        }
        if !is_small(key.bytes.len(), meta.len(), value.len()) {
            return self.upload_of(key, meta, value)?.restore(key, state, now);
        }
        let content = Content { meta, value: ContentValue::Small(value) };
        self.partitions.restore(self.partition_of(key), key, content, state, now)
    }

    /// The same with a value that came piece by piece.
    ///
    /// # Errors
    /// As those of [`restore`](Self::restore).
    pub fn restore_upload(
        &self,
        key: Key<'_>,
        upload: Upload,
        state: (Expiry, Popularity),
        now: Tick,
    ) -> Result<bool, Full> {
        upload.restore(key, state, now)
    }

    /// How the memory is divided between new keys and those that have proved themselves, as eviction
    /// has found it best: a number for [`set_share`](Self::set_share) of another store.
    #[must_use]
    pub fn share(&self) -> u64 {
        self.partitions.small_parts()
    }

    /// Goes on with the division that a store before has found best.
    pub fn set_share(&self, share: u64) {
        self.partitions.set_small_parts(share);
    }

    /// What an entry takes of the memory limit, about, in bytes.
    #[must_use]
    pub fn cost(key_len: usize, meta_len: usize, value_len: usize) -> u64 {
        let beside_value = key_len + meta_bytes(meta_len);
        if is_small(key_len, meta_len, value_len) {
            return entry_words(beside_value, value_len) as u64 * 8 + INDEX_BYTES_PER_KEY;
        }
        let tail = tail_bytes(key_len, meta_len, value_len);
        let entry = entry_words(beside_value, LARGE_BYTES + tail) as u64 * 8;
        entry + charge(value_len - tail) + INDEX_BYTES_PER_KEY
    }

    pub(super) fn partition(&self, partition: usize) -> &Partition {
        &self.partitions[partition]
    }

    /// For a walk over the keys, which says nothing of what is asked for.
    pub(super) fn take_large(
        &self,
        partition: usize,
        key: Key<'_>,
        now: Tick,
    ) -> Option<LargeValue> {
        LargeValue::take(&self.partitions, partition, key, now, false)
    }

    /// Removes all keys that begin with `prefix`, at one moment: every read that begins when the call has
    /// returned, and every read behind one that has found any of them gone, finds none that was
    /// written before. Takes no time for the keys; [`maintain`](Self::maintain) gives their memory back, and
    /// until then they count. An [`Upload`] is not written before it is stored.
    ///
    /// # Errors
    /// [`Busy`] if seven others are under way: their memory has not been given back yet.
    pub fn purge(&self, prefix: &[u8]) -> Result<(), Busy> {
        self.partitions.purges().begin(prefix)
    }

    /// Purges whose memory has not been given back yet.
    #[must_use]
    pub fn purges_under_way(&self) -> usize {
        self.partitions.purges().count()
    }

    /// Gives the memory of expired and purged entries back, a bounded step at a time, of one partition,
    /// and what was purged then of others as well. Called by the partition's core between iterations of
    /// its loop; whether more is due now.
    #[inline]
    pub fn maintain(&self, partition: usize, now: Tick) -> bool {
        let is_sweeping =
            self.partitions.purges().are_under_way() && self.partitions.sweep(partition, now);
        self.partitions[partition].maintain(now) | is_sweeping
    }

    /// Bytes of large values that readers have pinned, each value counted once. Eviction can't free them.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        self.partitions.claims().pinned_bytes()
    }

    /// Bytes that are in use for values that are being received.
    #[must_use]
    pub fn upload_bytes(&self) -> u64 {
        self.partitions.claims().upload_bytes()
    }

    /// How often a reader or an upload was told to wait until others let go of what they hold.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.partitions.claims().refusals()
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Keys of all partitions, which no writer has to wait for.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.partitions.iter().map(Partition::keys).sum()
    }

    /// Counts of one partition, which its writers wait for.
    #[must_use]
    pub fn statistics(&self, partition: usize) -> Statistics {
        self.partitions[partition].statistics()
    }

    /// Counts of the keys that begin with the prefix of that number, which the writers of all partitions
    /// wait for in turn.
    #[must_use]
    pub fn namespace_statistics(&self, namespace: usize) -> NamespaceStatistics {
        let mut sum = NamespaceStatistics::default();
        for partition in self.partitions.iter() {
            sum.add(&partition.namespace_statistics(namespace));
        }
        sum
    }

    /// With debug assertions on, checks the invariants of `docs/storage.md` as far as they show in a
    /// store at rest, and panics with the name of one that is broken. For tests, in which no other
    /// thread uses the store meanwhile; takes time in proportion to what is stored.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        #[cfg(debug_assertions)]
        self.partitions.check_invariants();
    }
}
