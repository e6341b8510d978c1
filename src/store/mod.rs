//! Keys and values, and nothing of HTTP or sockets.
//!
//! Every key lives in exactly one [`Partition`], chosen by its hash; there is one partition per
//! core. Any core reads and writes any partition directly, so a write is visible to every core
//! the moment that the call which made it returns.

mod clock;
mod partition;

use std::io;
use std::sync::Arc;

use ahash::RandomState;

pub use clock::{Clock, Expiry, TTL_SECONDS_MAX, Tick};
use partition::Partition;

/// What a store is made with. Fixed for its life.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Number of partitions, one per event loop, from 1 up.
    pub partitions: usize,
    /// Hard limit on index, entries and values of all partitions together, in bytes.
    pub memory_bytes_max: u64,
}

/// A key together with its hash, so that it is hashed once per request.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The key's bytes, `1..=key_bytes_max` of them.
    pub bytes: &'a [u8],
    hash: u64,
}

/// What a write did to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The key was absent (or expired) before.
    Created,
    /// A live value was replaced.
    Replaced,
}

/// The value does not fit into the store, whatever is evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A value as [`Store::get`] shows it to its reader.
#[derive(Debug)]
pub enum Value<'a> {
    /// Small enough to be copied into the response.
    Small(SmallValue<'a>),
    /// Shared memory that stays valid for as long as the handle lives, whatever happens to the key.
    Large(LargeValue),
}

/// A value that is copied out under the protection of [`Store::get`].
#[derive(Debug)]
pub struct SmallValue<'a> {
    bytes: &'a [u8],
}

impl SmallValue<'_> {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends the value's bytes to `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes);
    }
}

/// A reference-counted value outside the small-entry memory.
#[derive(Debug, Clone)]
pub struct LargeValue {
    bytes: Arc<[u8]>,
}

impl LargeValue {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Calls `each` with the value's bytes from `from` on, in order, in as many pieces as they
    /// lie in memory, until it returns false.
    pub fn pieces<'a>(&'a self, from: usize, mut each: impl FnMut(&'a [u8]) -> bool) {
        each(&self.bytes[from..]);
    }
}

/// A value that is still arriving. Dropping it gives its memory back.
#[derive(Debug, Default)]
pub struct Upload {
    bytes: Vec<u8>,
}

impl Upload {
    /// Appends bytes to the value.
    ///
    /// # Errors
    /// [`Full`] if the store has no memory left for them even after evicting.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes received so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was received yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Counts of one partition, all since its start except `keys` and `bytes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Statistics {
    /// Keys present; an expired key counts until its memory is taken back.
    pub keys: u64,
    /// Bytes in use of the memory limit.
    pub bytes: u64,
    /// Keys dropped to make room.
    pub evicted: u64,
    /// Keys whose time to live ended.
    pub expired: u64,
    /// Live values overwritten.
    pub replaced: u64,
    /// Keys deleted by a client.
    pub deleted: u64,
}

/// The keys and values of the whole process, shared by all event loops.
#[derive(Debug)]
pub struct Store {
    partitions: Box<[Partition]>,
    hasher: RandomState,
}

impl Store {
    /// Reserves the store's address space; memory is touched as entries arrive.
    ///
    /// # Errors
    /// The operating system's, when it refuses the address space.
    pub fn new(settings: Settings) -> io::Result<Arc<Self>> {
        assert!(settings.partitions > 0, "a store needs a partition");
        Ok(Arc::new(Self {
            partitions: (0..settings.partitions).map(|_| Partition::default()).collect(),
            hasher: RandomState::new(),
        }))
    }

    /// Prepares a partition's memory. Called once by the partition's own core after it was
    /// pinned, so that the first touch puts the memory on that core's NUMA node.
    pub fn adopt(&self, _partition: usize) {}

    /// Hashes a key with the process's random seed.
    #[must_use]
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: self.hasher.hash_one(bytes) }
    }

    /// The partition that a key belongs to.
    #[must_use]
    #[inline]
    pub fn partition_of(&self, key: Key<'_>) -> usize {
        // Multiply-shift takes the hash's high bits, which the index inside does not use.
        ((u128::from(key.hash) * self.partitions.len() as u128) >> 64) as usize
    }

    /// Starts loading the key's index line. First pass over a batch.
    #[inline]
    pub fn prefetch_index(&self, _key: Key<'_>) {}

    /// Starts loading the key's entry, by now that its index line has arrived. Second pass over
    /// a batch.
    #[inline]
    pub fn prefetch_entry(&self, _key: Key<'_>) {}

    /// Shows a live value to `read`. A concurrent write can tear what `read` saw; it is then
    /// called again, and must discard what the earlier call produced. `None`: absent, and
    /// whatever `read` may have produced before must be discarded, too.
    pub fn get<R>(&self, key: Key<'_>, now: Tick, read: impl FnMut(Value<'_>) -> R) -> Option<R> {
        self.partitions[self.partition_of(key)].get(key, now, read)
    }

    /// Stores a value; visible to every core when the call returns.
    ///
    /// # Errors
    /// [`Full`] if the store can't hold the value whatever is evicted; the key's old value is
    /// then still there.
    pub fn put(
        &self,
        key: Key<'_>,
        value: &[u8],
        expiry: Expiry,
        now: Tick,
    ) -> Result<Written, Full> {
        Ok(self.partitions[self.partition_of(key)].put(key, value, expiry, now))
    }

    /// Starts a value whose bytes arrive over time, with memory of the key's partition.
    #[must_use]
    pub fn upload(self: &Arc<Self>, _key: Key<'_>) -> Upload {
        Upload::default()
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
        self.put(key, &upload.bytes, expiry, now)
    }

    /// Removes a key. Whether it was live.
    pub fn remove(&self, key: Key<'_>, now: Tick) -> bool {
        self.partitions[self.partition_of(key)].remove(key, now)
    }

    /// Gives the memory of expired entries of one partition back, a bounded step at a time.
    /// Called by the partition's core between turns of its loop; whether more is due now.
    pub fn maintain(&self, partition: usize, now: Tick) -> bool {
        self.partitions[partition].expire(now)
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Counts of one partition.
    #[must_use]
    pub fn statistics(&self, partition: usize) -> Statistics {
        self.partitions[partition].statistics()
    }
}
