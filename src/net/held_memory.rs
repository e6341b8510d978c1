//! The memory that a loop holds for its connections: what was received and not answered yet, and
//! what was answered and not sent yet. Large values are not counted.

use std::time::Instant;

use mio::Token;

use super::counters::Counters;

/// What the loops may hold together, in bytes. From half of its share on, a loop keeps each of its
/// connections short. When all of it but a sixteenth is held, which is for the connections that are
/// being served, those that have waited longest are closed.
const HELD_BYTES_MAX: usize = 64 << 20;

/// A loop's share at least.
const HELD_BYTES_PER_LOOP_MIN: usize = 4 << 20;

/// What a loop holds.
#[derive(Debug)]
pub(super) struct HeldMemory<'a> {
    bytes: usize,
    bytes_max: usize,
    counters: &'a Counters,
    /// Connections for which some is held, who has waited longest last; made when the limit is
    /// passed.
    holders: Vec<(Instant, Token)>,
}

impl<'a> HeldMemory<'a> {
    /// That of one of so many loops.
    pub(super) fn new(loops: usize, counters: &'a Counters) -> Self {
        let bytes_max = (HELD_BYTES_MAX / loops).max(HELD_BYTES_PER_LOOP_MIN);
        Self { bytes: 0, bytes_max, counters, holders: Vec::new() }
    }

    /// What is held for a connection has changed.
    #[inline]
    pub(super) fn change(&mut self, before: usize, after: usize) {
        if before != after {
            self.bytes = self.bytes + after - before;
            self.counters.held_bytes.set(self.bytes as u64);
        }
    }

    /// Whether each connection is to hold only little.
    #[inline]
    pub(super) fn is_pressed(&self) -> bool {
        self.bytes > self.bytes_max / 2
    }

    /// Whether connections are to be closed.
    #[inline]
    pub(super) fn is_over_limit(&self) -> bool {
        self.bytes > self.bytes_max - self.bytes_max / 16
    }

    /// Takes the one that has waited longest of the connections that `collect` gives with the time
    /// since when they wait. It is called when the last ones are used up.
    pub(super) fn next_holder<I: Iterator<Item = (Instant, Token)>>(
        &mut self,
        collect: impl FnOnce() -> I,
    ) -> Option<(Instant, Token)> {
        if self.holders.is_empty() {
            self.holders.extend(collect());
            self.holders.sort_unstable_by_key(|&(since, _)| std::cmp::Reverse(since));
        }
        self.holders.pop()
    }
}
