//! Namespaces that are counted by themselves: keys that begin with one of a few prefixes.
//!
//! Nothing is kept per entry: which namespace it counts in follows from its key, when it comes and when
//! it goes. A store without any does nothing but find that there is none.

use std::sync::Arc;

/// What keys begin with that are counted by themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Namespaces(Arc<[Box<[u8]>]>);

/// Counts of the keys of one namespace, all since the start except `keys` and `bytes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NamespaceStatistics {
    /// Keys present; one that expired or was purged counts until its memory is taken back.
    pub keys: u64,
    /// Bytes that their entries and large values take, without index and bookkeeping.
    pub bytes: u64,
    /// Keys dropped to make room.
    pub evicted: u64,
    /// Keys whose time to live ended.
    pub expired: u64,
    /// Keys that were purged and whose memory was taken back.
    pub purged: u64,
}

impl NamespaceStatistics {
    /// Adds those of another partition.
    pub(super) fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.bytes += other.bytes;
        self.evicted += other.evicted;
        self.expired += other.expired;
        self.purged += other.purged;
    }
}

impl Namespaces {
    pub(super) fn new(prefixes: Vec<Box<[u8]>>) -> Self {
        Self(prefixes.into())
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first one of whose prefix `begins_with` says that a key begins with it.
    #[cold]
    pub(super) fn find(&self, begins_with: impl Fn(&[u8]) -> bool) -> Option<usize> {
        self.0.iter().position(|prefix| begins_with(prefix))
    }
}
