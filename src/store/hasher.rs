//! The hash that places keys, with a seed of this process's own, so that nobody outside can make
//! up keys that collide.

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
        self.0.hash_one(key)
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
