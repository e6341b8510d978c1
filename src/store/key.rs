//! A key as the store is asked for it.

use super::index::SlotHint;

/// What a key hashes to with the seed of its [`Store`](super::Store).
#[derive(Debug, Clone, Copy)]
pub struct Hash(pub(super) u64);

/// A key, and what is known of it, so that it is worked out once per request.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The key's bytes, `1..=key_bytes_max` of them.
    pub bytes: &'a [u8],
    pub(super) hash: u64,
    pub(super) hint: &'a SlotHint,
}

impl<'a> Key<'a> {
    /// The key of these bytes, which hash to `hash`.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8], hash: Hash) -> Self {
        Self { bytes, hash: hash.0, hint: &SlotHint::NONE }
    }

    /// The same key with a hint at its slot.
    #[must_use]
    #[inline]
    pub fn with_hint(self, hint: &'a SlotHint) -> Self {
        Self { hint, ..self }
    }
}
