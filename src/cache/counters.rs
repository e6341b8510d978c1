//! What one event loop counts of its look-ups.

use crate::net::Counter;

/// Hits and misses of GET and HEAD.
#[derive(Debug, Default)]
pub struct Counters {
    /// Keys that were there.
    pub hits: Counter,
    /// Keys that were absent.
    pub misses: Counter,
}
