//! Which of the index's overflow lines are in use, kept by the writers of a partition.
//!
//! They are kept by the *chunk*, which is what the kernel makes resident at a time, so that
//! a chunk without a line in use can be given back.

use super::atomic::Ordering::Relaxed;
use super::bucket::{LINE_BYTES, Line};
use super::budget::Budget;
use super::mapping::SMALL_BYTES;
use super::memory::Region;

/// Lines that are charged to the budget together.
pub(super) const CHUNK_LINES: usize = SMALL_BYTES / LINE_BYTES;

/// No chunk.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Lines {
    chunks: Vec<Chunk>,
    /// Chunks that have lines to give, linked.
    open: u32,
    /// Chunks that were given back, linked by `next`.
    returned: u32,
    /// Open chunks without a line in use.
    idle_chunks: usize,
}

/// Some overflow lines next to each other.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    next: u32,
    previous: u32,
    /// Lines that were used before, linked; 0 for none.
    free: u32,
    /// Lines from here on were never used.
    fresh: u8,
    in_use: u8,
}

impl Chunk {
    const EMPTY: Self = Self { next: NONE, previous: NONE, free: 0, fresh: 0, in_use: 0 };

    fn is_full(&self) -> bool {
        self.free == 0 && usize::from(self.fresh) == CHUNK_LINES
    }
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), open: NONE, returned: NONE, idle_chunks: 0 }
    }

    /// Sees to it that one [`take`](Self::take) will find a line. False if the budget does not allow
    /// for it.
    #[inline]
    pub(super) fn provide(&mut self, overflow: &Region<Line>, budget: &Budget) -> bool {
        self.open != NONE || self.open_chunk(overflow, budget)
    }

    #[cold]
    fn open_chunk(&mut self, overflow: &Region<Line>, budget: &Budget) -> bool {
        let chunk = if self.returned != NONE {
            if !overflow.take_back(CHUNK_LINES, budget) {
                return false;
            }
            let chunk = self.returned;
            self.returned = self.chunks[chunk as usize].next;
            self.idle_chunks += 1;
            self.chunks[chunk as usize] = Chunk::EMPTY;
            chunk
        } else {
            let chunk = self.chunks.len();
            if !overflow.extend_to((chunk + 1) * CHUNK_LINES, budget) {
                return false;
            }
            // Line 0 means none in links, so that the first chunk always has one in use.
            let first = u8::from(chunk == 0);
            self.idle_chunks += usize::from(first == 0);
            self.chunks.push(Chunk { fresh: first, in_use: first, ..Chunk::EMPTY });
            chunk as u32
        };
        self.link(chunk);
        true
    }

    /// A line that nobody uses; [`provide`](Self::provide) was called.
    pub(super) fn take(&mut self, overflow: &Region<Line>) -> u32 {
        let at = self.open;
        let chunk = &mut self.chunks[at as usize];
        let mut number = chunk.free;
        if number == 0 {
            number = at * CHUNK_LINES as u32 + u32::from(chunk.fresh);
            chunk.fresh += 1;
        } else {
            chunk.free = overflow[number as usize].link.load(Relaxed);
        }
        self.idle_chunks -= usize::from(chunk.in_use == 0);
        chunk.in_use += 1;
        if chunk.is_full() {
            self.unlink(at);
        }
        number
    }

    /// Takes a line back. Of two chunks without a line in use, one is given back.
    pub(super) fn put(&mut self, overflow: &Region<Line>, budget: &Budget, number: u32) {
        let at = number / CHUNK_LINES as u32;
        if self.chunks[at as usize].is_full() {
            self.link(at);
        }
        let chunk = &mut self.chunks[at as usize];
        overflow[number as usize].link.store(chunk.free, Relaxed);
        chunk.free = number;
        chunk.in_use -= 1;
        if chunk.in_use > 0 {
            return;
        }
        let start = at as usize * CHUNK_LINES;
        if self.idle_chunks > 0 && overflow.give_back(start..start + CHUNK_LINES, budget) {
            self.unlink(at);
            self.chunks[at as usize].next = self.returned;
            self.returned = at;
        } else {
            self.idle_chunks += 1;
        }
    }

    /// Lines in use, the first of all not counted.
    #[cfg(debug_assertions)]
    pub(super) fn in_use(&self) -> usize {
        self.chunks.iter().map(|chunk| usize::from(chunk.in_use)).sum::<usize>().saturating_sub(1)
    }

    fn link(&mut self, at: u32) {
        let next = std::mem::replace(&mut self.open, at);
        self.chunks[at as usize].next = next;
        self.chunks[at as usize].previous = NONE;
        if next != NONE {
            self.chunks[next as usize].previous = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let Chunk { next, previous, .. } = self.chunks[at as usize];
        if previous == NONE {
            self.open = next;
        } else {
            self.chunks[previous as usize].next = next;
        }
        if next != NONE {
            self.chunks[next as usize].previous = previous;
        }
    }
}
