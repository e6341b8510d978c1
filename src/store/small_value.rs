//! A small value where it lies in the log.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Expiry;
use super::header::Header;
use super::memory::append_words;

/// A value that is copied out under the protection of [`Store::get`](super::Store::get).
#[derive(Debug)]
pub struct SmallValue<'a> {
    /// From the word that the value begins in to the entry's end, or that of the page.
    pub(super) words: &'a [AtomicU64],
    /// The entry's words in the next page.
    pub(super) rest: &'a [AtomicU64],
    /// Bits of the first word before the value.
    pub(super) shift: u32,
    pub(super) len: usize,
    /// That of its entry.
    pub(super) header: Header,
}

impl SmallValue<'_> {
    /// Length in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Eight bytes of the value, some of them beyond its end.
    #[inline]
    pub(super) fn word(&self, at: usize) -> u64 {
        let in_rest = |at: usize| self.rest.get(at.wrapping_sub(self.words.len()));
        let load = |at: usize| {
            let word = self.words.get(at).or_else(|| in_rest(at));
            word.map_or(0, |word| word.load(Ordering::Relaxed))
        };
        let low = u64::from_le(load(at)) >> self.shift;
        if self.shift == 0 {
            return low;
        }
        low | u64::from_le(load(at + 1)) << (64 - self.shift)
    }

    /// When the entry that it is part of ends.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.header.expiry()
    }

    /// Its bytes as the first ones of a word, if there are no more than that.
    #[must_use]
    #[inline]
    pub fn as_word(&self) -> Option<[u8; 8]> {
        (self.len <= 8).then(|| self.word(0).to_le_bytes())
    }

    /// Appends the value's bytes to `out`.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        if self.len > 8 {
            return self.append_long_to(out);
        }
        // A constant number of bytes takes one move, and the end is put right afterwards.
        let end = out.len() + self.len;
        out.extend_from_slice(&self.word(0).to_le_bytes());
        out.truncate(end);
    }

    /// Appends the value's bytes to `out`, most often more than a word of them.
    #[inline(always)]
    pub fn append_long_to(&self, out: &mut Vec<u8>) {
        if self.rest.is_empty() {
            return append_long(self.words, self.shift, self.len, out);
        }
        let here = 8 * self.words.len() - (self.shift / 8) as usize;
        let here = here.min(self.len);
        append_long(self.words, self.shift, here, out);
        append_long(self.rest, 0, self.len - here, out);
    }
}

/// Not a method: what a call has a reference to has to lie in memory, also where it is not called.
#[inline(never)]
fn append_long(words: &[AtomicU64], shift: u32, len: usize, out: &mut Vec<u8>) {
    append_words(out, len, words, shift);
}
