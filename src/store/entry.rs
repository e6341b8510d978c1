//! How a key and its value lie in the log.
//!
//! ```text
//!   8 bytes   key bytes        content bytes                       up to 7
//!   | header | k e y . . . . | v a l u e . . . . . . . . . . . . . . | unused |   a small entry
//!   | header | k e y . . . . | first page | length | fingerprint     | unused |   a large one
//!   | header | k e y . . . . | meta's length | meta | either of these | unused |  one with meta
//!
//!   header   63      32 31      29  28     27     26      25            13 12        0
//!          | expiry    | generat.| meta | dead | large | content bytes | key bytes |
//! ```
//!
//! Meta is what the store's user keeps beside a value: a few bytes that mean nothing here. The
//! fingerprint of a large value is 0 until somebody has asked for it. The generation says what was
//! purged before the entry was written ([`super::purges`]).
//!
//! Entries start at multiples of 8 bytes and don't cross pages. A reader may look at an entry
//! whose memory is just being used for something else: nothing here trusts what it reads further
//! than the memory's end, and the sequence word of the bucket tells afterwards that it was void.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::clock::Expiry;
use super::fingerprint::Fingerprint;
use super::generation::Generation;
use super::pages::PAGE_BYTES;
use super::word_writer::{padded, write};

/// Bytes that an entry takes beside key and value, before rounding up to 8.
pub(super) const HEADER_BYTES: usize = 8;

/// Bytes of the largest entry with a small value: half of a page, so that pages fill well. Longer
/// values are large. Only an entry with a long key has more, up to a page.
const SMALL_ENTRY_BYTES_MAX: usize = PAGE_BYTES / 2;

/// What the log holds of a large value: its first page and its length, 32 bits each, and its
/// fingerprint.
pub(super) const LARGE_BYTES: usize = 24;

/// Bytes of the meta's length.
const META_LENGTH_BYTES: usize = 2;

/// Longest key in bytes: the length of URIs that everybody should support (RFC 9110 §4.1).
pub const KEY_BYTES_MAX: usize = 8000;

const _: () = assert!(HEADER_BYTES + KEY_BYTES_MAX + LARGE_BYTES <= PAGE_BYTES);

const LENGTH_BITS: u32 = 13;
const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;
const LARGE: u64 = 1 << (2 * LENGTH_BITS);
const DEAD: u64 = LARGE << 1;
const META: u64 = DEAD << 1;

const _: () = assert!(PAGE_BYTES - HEADER_BYTES < 1 << LENGTH_BITS);
const _: () = assert!(Generation::MASK == (u32::MAX as u64 + 1) - (META << 1));

/// The entry's first word, see the drawing above.
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
        debug_assert!(HEADER_BYTES + key_len + content_len <= PAGE_BYTES);
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

    /// Words of the whole entry.
    #[inline]
    pub(super) fn words(self) -> usize {
        entry_words(self.key_len(), self.content_len())
    }

    #[inline]
    pub(super) fn is_large(self) -> bool {
        self.0 & LARGE != 0
    }

    #[inline]
    fn has_meta(self) -> bool {
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

    pub(super) fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    #[inline]
    pub(super) fn expiry(self) -> Expiry {
        Expiry::from_bits((self.0 >> 32) as u32)
    }
}

/// Whether a value is kept in its entry, since that is short, or since it takes no more there than what
/// the log holds of a large one.
pub(super) fn is_small(key_len: usize, meta_len: usize, value_len: usize) -> bool {
    entry_bytes(key_len, meta_len, value_len) <= SMALL_ENTRY_BYTES_MAX
        || (value_len <= LARGE_BYTES && fits(key_len, meta_len))
}

/// Whether key and meta can be stored with a value of any length.
pub(super) fn fits(key_len: usize, meta_len: usize) -> bool {
    key_len <= KEY_BYTES_MAX && entry_bytes(key_len, meta_len, LARGE_BYTES) <= PAGE_BYTES
}

fn entry_bytes(key_len: usize, meta_len: usize, value_len: usize) -> usize {
    (HEADER_BYTES + meta_bytes(meta_len)).saturating_add(key_len).saturating_add(value_len)
}

/// Words of an entry with a key and content of these lengths.
#[inline]
pub(super) fn entry_words(key_len: usize, content_len: usize) -> usize {
    (HEADER_BYTES + key_len + content_len).div_ceil(8)
}

/// What meta of that length takes in an entry, in bytes.
#[inline]
pub(super) fn meta_bytes(len: usize) -> usize {
    if len == 0 { 0 } else { META_LENGTH_BYTES + len }
}

/// An entry as it lies in its page: all that the header promises is inside of its words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    words: &'a [AtomicU64],
    pub(super) header: Header,
}

impl<'a> Entry<'a> {
    /// Looks at an entry that begins with these words and ends before their end. `None` if what
    /// is there is no entry, which only a reader who raced with a writer meets.
    #[inline]
    pub(super) fn at(words: &'a [AtomicU64]) -> Option<Self> {
        Self::of(words, Header::of(words)?)
    }

    /// The same where the header was read before.
    #[inline]
    pub(super) fn of(words: &'a [AtomicU64], header: Header) -> Option<Self> {
        let words = words.get(..header.words())?;
        Some(Self { words, header })
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        u64::from_le(self.words[at].load(Ordering::Relaxed))
    }

    #[inline(always)] // Into the loops over a batch.
    pub(super) fn key_is(&self, key: &[u8]) -> bool {
        if self.header.key_len() != key.len() {
            return false;
        }
        match key.len() {
            4..=8 => short_key_is(self.word(1), key).unwrap_or(false),
            _ => self.has_at_start(key),
        }
    }

    /// Whether the key begins with these bytes.
    pub(super) fn key_begins_with(&self, prefix: &[u8]) -> bool {
        self.header.key_len() >= prefix.len() && self.has_at_start(prefix)
    }

    /// Whether the key, which is as long at least, begins with these bytes.
    #[inline(always)] // Into the loops over a batch.
    fn has_at_start(&self, bytes: &[u8]) -> bool {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut at = 1;
        for word in words {
            if self.word(at) != u64::from_le_bytes(*word) {
                return false;
            }
            at += 1;
        }
        // There are others beyond these: the value's, behind the key.
        rest.is_empty() || (self.word(at) ^ padded(rest)) << (64 - 8 * rest.len()) == 0
    }

    /// Copies the key out to a buffer that has room for it, rounded up to 8.
    pub(super) fn key_to<'b>(&self, buffer: &'b mut [u8]) -> &'b [u8] {
        let len = self.header.key_len();
        let (chunks, _) = buffer.as_chunks_mut::<8>();
        for (at, chunk) in chunks[..len.div_ceil(8)].iter_mut().enumerate() {
            *chunk = self.word(1 + at).to_le_bytes();
        }
        &buffer[..len]
    }

    /// What the entry holds beside its key.
    #[inline]
    fn content(&self) -> SmallValue<'a> {
        let start = HEADER_BYTES + self.header.key_len();
        self.part(start, self.header.content_len())
    }

    #[inline]
    fn part(&self, start: usize, len: usize) -> SmallValue<'a> {
        let words = &self.words[(start / 8).min(self.words.len())..];
        SmallValue { words, shift: start as u32 % 8 * 8, len, header: self.header }
    }

    /// Where the meta and the value begin, and their lengths, which don't lead beyond the content.
    fn parts(&self) -> (SmallValue<'a>, SmallValue<'a>) {
        let content = self.content();
        let start = HEADER_BYTES + self.header.key_len();
        if !self.header.has_meta() {
            return (self.part(start, 0), content);
        }
        let len = usize::from(content.word(0) as u16);
        let meta_at = META_LENGTH_BYTES.min(content.len);
        let len = len.min(content.len - meta_at);
        let value_at = meta_at + len;
        (self.part(start + meta_at, len), self.part(start + value_at, content.len - value_at))
    }

    /// The value of a small entry without meta.
    #[inline]
    pub(super) fn plain_value(&self) -> SmallValue<'a> {
        self.content()
    }

    /// The value of a small entry.
    pub(super) fn value(&self) -> SmallValue<'a> {
        self.parts().1
    }

    /// What is kept beside the value; empty if nothing is.
    pub(super) fn meta(&self) -> SmallValue<'a> {
        self.parts().0
    }

    /// First page and length of a large entry's value.
    pub(super) fn large(&self) -> (u32, u32) {
        let word = self.value().word(0);
        ((word >> 32) as u32, word as u32)
    }

    /// The fingerprint of a large entry's value, if somebody has asked for it before.
    pub(super) fn large_fingerprint(&self) -> Option<Fingerprint> {
        let value = self.value();
        Fingerprint::from_words(value.word(1), value.word(2))
    }

    /// Remembers the fingerprint of a large entry's value. Whoever calls this holds the partition's
    /// lock, as do all who look at it.
    pub(super) fn set_large_fingerprint(&self, fingerprint: Fingerprint) {
        let mut meta = Vec::new();
        self.meta().append_to(&mut meta);
        let (first, len) = self.large();
        let mut key = [0; KEY_BYTES_MAX + 8];
        let value = large_bytes(first, len, Some(fingerprint));
        write(self.words, self.header, self.key_to(&mut key), &meta, &value);
    }

    /// Writes another entry of as many words in the place of this one.
    #[inline(always)]
    pub(super) fn overwrite(&self, header: Header, key: &[u8], meta: &[u8], value: &[u8]) {
        debug_assert_eq!(self.header.words(), header.words());
        write(self.words, header, key, meta, value);
    }

    /// Says that the index no longer refers to the entry.
    pub(super) fn mark_dead(&self) {
        self.words[0].store(self.header.0 | DEAD, Ordering::Relaxed);
    }

    /// Makes the entry one of this generation. Readers take it for one of the old or the new one.
    pub(super) fn set_generation(&self, generation: Generation) {
        // Whoever sees the new one also sees that it has begun.
        self.words[0].store(self.header.of_generation(generation).0, Ordering::Release);
    }

    /// Copies the entry's words to another place, as one of this generation. What stood there may still be
    /// read.
    pub(super) fn copy_to(&self, words: &[AtomicU64], generation: Generation) {
        fence(Ordering::Release);
        words[0].store(self.header.of_generation(generation).0, Ordering::Relaxed);
        for (from, to) in self.words.iter().zip(words).skip(1) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Whether a key is what a word begins with; `None` if it does not have four to eight bytes.
#[inline(always)]
pub(super) fn short_key_is(word: u64, key: &[u8]) -> Option<bool> {
    let (Some(first), Some(last), 4..=8) = (key.first_chunk(), key.last_chunk(), key.len()) else {
        return None;
    };
    let behind_first = 8 * (key.len() as u32 - 4);
    Some(
        word as u32 == u32::from_le_bytes(*first)
            && (word >> behind_first) as u32 == u32::from_le_bytes(*last),
    )
}

/// What the log holds of a large value.
pub(super) fn large_bytes(
    first: u32,
    len: u32,
    fingerprint: Option<Fingerprint>,
) -> [u8; LARGE_BYTES] {
    let place = u64::from(first) << 32 | u64::from(len);
    let [low, high] = fingerprint.map_or([0, 0], Fingerprint::to_words);
    let mut bytes = [0; LARGE_BYTES];
    for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip([place, low, high]) {
        *to = word.to_le_bytes();
    }
    bytes
}

/// A value that is copied out under the protection of [`Store::get`](super::Store::get).
#[derive(Debug)]
pub struct SmallValue<'a> {
    /// From the word that the value begins in to the entry's end.
    words: &'a [AtomicU64],
    /// Bits of the first word before the value.
    shift: u32,
    len: usize,
    /// That of its entry.
    header: Header,
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
    fn word(&self, at: usize) -> u64 {
        let load = |at: usize| self.words.get(at).map_or(0, |word| word.load(Ordering::Relaxed));
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
        append_long(self.words, self.shift, self.len, out);
    }
}

/// Not a method: what a call has a reference to has to lie in memory, also where it is not called.
#[inline(never)]
fn append_long(words: &[AtomicU64], shift: u32, len: usize, out: &mut Vec<u8>) {
    super::memory::append_words(out, len, words, shift);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let page: Vec<AtomicU64> = (0..1024).map(|_| AtomicU64::new(u64::MAX)).collect();
        let bytes: Vec<u8> = (0..8000).map(|i| (i * 7 + i / 256) as u8).collect();
        for key_len in (1..40).chain([1000, 4000]) {
            for value_len in (0..40).chain([999, 2000, 3000]) {
                let (key, value) = (&bytes[..key_len], &bytes[key_len..][..value_len]);
                let header = Header::new(key_len, b"", value_len, false, Expiry::NEVER);
                write(&page, header, key, b"", value);
                let entry = Entry::at(&page).expect("an entry");
                assert!(entry.key_is(key) && !entry.key_is(&bytes[1..][..key_len]));
                let mut buffer = [0; KEY_BYTES_MAX + 8];
                assert_eq!(entry.key_to(&mut buffer), key);
                let mut out = b"before".to_vec();
                entry.plain_value().append_to(&mut out);
                assert_eq!(out, [b"before", value].concat());
                assert_eq!(page[header.words()].load(Ordering::Relaxed), u64::MAX);
                write(&page, header, &bytes[..1], &[], &[]);
                page.iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
            }
        }
    }
}
