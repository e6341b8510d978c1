//! What one event loop counts of its look-ups.

use crate::net::Counter;

/// Hits and misses of GET and HEAD.
#[derive(Debug, Default)]
pub struct Counters {
    /// Keys that were there.
    pub hits: Counter,
    /// Keys that were absent.
    pub misses: Counter,
    /// The same of each namespace that is counted by itself.
    pub namespaces: Box<[Self]>,
}

impl Counters {
    /// Those of a loop that counts so many namespaces by themselves.
    #[must_use]
    pub fn new(namespaces: usize) -> Self {
        let namespaces = (0..namespaces).map(|_| Self::default()).collect();
        Self { namespaces, ..Self::default() }
    }

    /// Hits and misses so far.
    pub(super) fn counts(&self) -> [u64; 2] {
        [self.hits.get(), self.misses.get()]
    }
}
