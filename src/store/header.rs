//! What an entry's first word says, and how long entries are. The drawing is in [`super::entry`].

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::clock::Expiry;
use super::generation::Generation;
use super::pages::PAGE_BYTES;

/// Bytes that an entry takes beside key and value, before rounding up to 8.
pub(super) const HEADER_BYTES: usize = 8;

/// Bytes of the largest entry; values that don't fit into one are large.
const ENTRY_BYTES_MAX: usize = PAGE_BYTES;

/// Words that an entry begins with at a page's end at least if it goes on in the next page. An entry
/// that is no longer than that never does.
const CROSSING_WORDS_MIN: usize = 32;

/// Content of so many bytes begins at a word: whole words are copied several times as fast as those that
/// are put together, and what that takes is little next to it.
const ALIGNED_BYTES_MIN: usize = 256;

/// What the log holds of a large value in any case: its first page and its length, 32 bits each, and
/// its fingerprint.
pub(super) const LARGE_BYTES: usize = 24;

/// The end of a large value lies in its entry if its last page would be unused by more than one in so many
/// of the value's bytes.
const UNUSED_SHARE_MAX: usize = 20;

/// Bytes of the meta's length.
pub(super) const META_LENGTH_BYTES: usize = 2;

/// Longest key in bytes: the length of URIs that everybody should support (RFC 9110 §4.1).
pub const KEY_BYTES_MAX: usize = 8000;

const _: () = assert!(HEADER_BYTES + KEY_BYTES_MAX + LARGE_BYTES <= ENTRY_BYTES_MAX);

const LENGTH_BITS: u32 = 13;
const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;
const LENGTHS_MASK: u64 = (1 << (2 * LENGTH_BITS)) - 1;

/// No entry has longer content, and no header can say so.
pub(super) const CONTENT_BYTES_MAX: usize = LENGTH_MASK as usize;

const LARGE: u64 = 1 << (2 * LENGTH_BITS);
const DEAD: u64 = LARGE << 1;
const META: u64 = DEAD << 1;

const _: () = assert!(ENTRY_BYTES_MAX - HEADER_BYTES <= CONTENT_BYTES_MAX);
const _: () = assert!(Generation::MASK == (u32::MAX as u64 + 1) - (META << 1));

/// The entry's first word, see the drawing in [`super::entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header(pub(super) u64);

impl Header {
    /// That of an entry that begins with these words.
    #[inline]
    pub(super) fn of(words: &[AtomicU64]) -> Option<Self> {
        Some(Self(words.first()?.load(Ordering::Relaxed)))
    }

    #[inline]
    pub(super) fn new(
        key_len: usize,
        meta: &[u8],
        value_len: usize,
        large: bool,
        expiry: Expiry,
    ) -> Self {
        let content_len = meta_bytes(meta.len()) + value_len;
        debug_assert!(key_len.max(content_len) <= CONTENT_BYTES_MAX);
        let large = if large { LARGE } else { 0 };
        let has_meta = if meta.is_empty() { 0 } else { META };
        let lengths = (content_len as u64) << LENGTH_BITS | key_len as u64;
        Self(u64::from(expiry.to_bits()) << 32 | large | has_meta | lengths)
    }

    #[inline]
    pub(super) fn key_len(self) -> usize {
        (self.0 & LENGTH_MASK) as usize
    }

    #[inline]
    pub(super) fn content_len(self) -> usize {
        (self.0 >> LENGTH_BITS & LENGTH_MASK) as usize
    }

    /// Where the content begins, in bytes.
    #[inline]
    pub(super) fn content_at(self) -> usize {
        content_at(self.key_len(), self.content_len())
    }

    /// That of a piece that goes on with the entry at the end of the page before, in so many words. Who
    /// walks over a page takes it for a dead entry.
    pub(super) fn of_rest(words: usize) -> Self {
        Self(DEAD | ((8 * words) as u64) << LENGTH_BITS)
    }

    /// Writes it where something else may still be read, see [`super::word_writer`].
    pub(super) fn write_to(self, word: &AtomicU64) {
        fence(Ordering::Release);
        word.store(self.0, Ordering::Relaxed);
    }

    /// Words of the whole entry.
    #[inline]
    pub(super) fn words(self) -> usize {
        entry_words(self.key_len(), self.content_len())
    }

    /// Whether another entry takes as many words: most often both have the same lengths.
    #[inline]
    pub(super) fn is_as_long_as(self, other: Self) -> bool {
        (self.0 ^ other.0) & LENGTHS_MASK == 0 || self.words() == other.words()
    }

    /// Words of the header and the key, which lie in one page.
    pub(super) fn head_words(self) -> usize {
        entry_words(self.key_len(), 0)
    }

    /// How many words of an entry lie in a page that has room for `room` of them: all, or as many as fit
    /// if it goes on in the next page, or none.
    pub(super) fn words_in(self, room: usize) -> usize {
        if self.words() <= room {
            return self.words();
        }
        let crosses = room >= self.head_words().max(CROSSING_WORDS_MIN);
        if crosses { room } else { 0 }
    }

    #[inline]
    pub(super) fn is_large(self) -> bool {
        self.0 & LARGE != 0
    }

    #[inline]
    pub(super) fn has_meta(self) -> bool {
        self.0 & META != 0
    }

    /// Whether all of the content is a small value.
    #[inline]
    pub(super) fn is_plain(self) -> bool {
        self.0 & (LARGE | META) == 0
    }

    /// The same, and whether the entry is of this generation.
    #[inline]
    pub(super) fn is_plain_of(self, generation: Generation) -> bool {
        (self.0 ^ generation.to_word()) & (LARGE | META | Generation::MASK) == 0
    }

    /// What the header has of the generation.
    #[inline]
    pub(super) fn generation_bits(self) -> u64 {
        self.0 & Generation::MASK
    }

    /// Whether the entry is of this generation.
    #[inline]
    pub(super) fn is_of(self, generation: Generation) -> bool {
        (self.0 ^ generation.to_word()) & Generation::MASK == 0
    }

    /// A new header as one of this generation.
    #[inline]
    pub(super) fn in_generation(self, generation: Generation) -> Self {
        debug_assert!(self.generation_bits() == 0);
        Self(self.0 | generation.bits())
    }

    /// The same header of another generation.
    #[inline]
    pub(super) fn of_generation(self, generation: Generation) -> Self {
        Self(self.0 & !Generation::MASK | generation.bits())
    }

    /// The same of an entry that the index no longer refers to.
    pub(super) fn dead(self) -> Self {
        Self(self.0 | DEAD)
    }

    pub(super) fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    #[inline]
    pub(super) fn expiry(self) -> Expiry {
        Expiry::from_bits((self.0 >> 32) as u32)
    }
}

/// Whether a value is kept in its entry.
pub(super) fn is_small(key_len: usize, meta_len: usize, value_len: usize) -> bool {
    key_len <= KEY_BYTES_MAX && entry_bytes(key_len, meta_len, value_len) <= ENTRY_BYTES_MAX
}

/// Bytes at the end of a large value that its entry holds, behind its pages.
pub(super) fn tail_bytes(key_len: usize, meta_len: usize, value_len: usize) -> usize {
    let tail = value_len % PAGE_BYTES;
    let is_alone = value_len < PAGE_BYTES;
    let wastes = tail > 0 && (PAGE_BYTES - tail) * UNUSED_SHARE_MAX > value_len;
    let fits = entry_bytes(key_len, meta_len, LARGE_BYTES + tail) <= ENTRY_BYTES_MAX;
    if wastes && fits && !is_alone { tail } else { 0 }
}

/// Whether key and meta can be stored with a value of any length.
pub(super) fn fits(key_len: usize, meta_len: usize) -> bool {
    key_len <= KEY_BYTES_MAX && entry_bytes(key_len, meta_len, LARGE_BYTES) <= ENTRY_BYTES_MAX
}

fn entry_bytes(key_len: usize, meta_len: usize, value_len: usize) -> usize {
    let content_len = meta_bytes(meta_len).saturating_add(value_len);
    content_at(key_len, content_len).saturating_add(content_len)
}

/// Where the content of so many bytes begins behind a key, in bytes.
#[inline]
fn content_at(key_len: usize, content_len: usize) -> usize {
    let padding = if content_len >= ALIGNED_BYTES_MIN { 7 } else { 0 };
    (HEADER_BYTES + key_len + padding) & !padding
}

/// Words of an entry with a key and content of these lengths.
#[inline]
pub(super) fn entry_words(key_len: usize, content_len: usize) -> usize {
    (content_at(key_len, content_len) + content_len).div_ceil(8)
}

/// What meta of that length takes in an entry, in bytes.
#[inline]
pub(super) fn meta_bytes(len: usize) -> usize {
    if len == 0 { 0 } else { META_LENGTH_BYTES + len }
}
