//! The hash that places keys, with a seed of this process's own, so that nobody outside can make
//! up keys that collide.

use std::hash::{BuildHasher, Hasher as _};

use ahash::RandomState;

use super::entry::{Entry, KEY_BYTES_MAX};

/// Keys up to so many bytes are copied to a buffer that is cheap to clear.
const SHORT_BYTES_MAX: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct Hasher(RandomState);

impl Hasher {
    pub(super) fn with_random_seed() -> Self {
        Self(RandomState::new())
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        // Not `hash_one`, which hashes the length as well: `write` does that already.
        let mut hasher = self.0.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// The hash of an entry's key.
    #[inline]
    pub(super) fn hash_entry(&self, entry: &Entry<'_>) -> u64 {
        if entry.header.key_len() <= SHORT_BYTES_MAX {
            self.hash(entry.key_to(&mut [0; SHORT_BYTES_MAX]))
        } else {
            self.hash(entry.key_to(&mut [0; KEY_BYTES_MAX + 8]))
        }
    }
}
