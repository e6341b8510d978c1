//! How a key and its value lie in the log.
//!
//! ```text
//!   8 bytes   key bytes        content bytes                       up to 7
//!   | header | k e y . . . . | v a l u e . . . . . . . . . . . . . . | unused |   a small entry
//!   | header | k e y . . . . | first page | length | fingerprint | tail| unused |   a large one
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
//! Entries start at multiples of 8 bytes, and so does content that is not short. One that does not fit
//! into what is left of a page may go on in the next page of its queue, behind a header that says so
//! ([`Header::of_rest`]); its key does not.
//!
//! ```text
//!   page: | … | header | key | value's first part |  the next one: | header of the rest | value's rest | …
//! ```
//!
//! A reader may look at an entry whose memory is just being used for something else: nothing here
//! trusts what it reads further than the pages' ends, and the sequence word of the bucket tells
//! afterwards that it was void.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::fingerprint::Fingerprint;
use super::generation::Generation;
use super::header::{Header, KEY_BYTES_MAX, LARGE_BYTES, META_LENGTH_BYTES};
use super::memory::each_pair;
use super::pages::{Pages, page_of};
use super::small_value::SmallValue;
use super::word_writer::{padded, write};

/// An entry as it lies in the log: all that the header promises is inside of its words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Those in the page that it begins in: header and key at least.
    words: &'a [AtomicU64],
    /// Those in the next page.
    rest: &'a [AtomicU64],
    pub(super) header: Header,
}

impl<'a> Entry<'a> {
    /// Looks at the entry at a place. `None` if what is there is no entry, which only a reader who raced
    /// with a writer meets.
    #[inline]
    pub(super) fn at(pages: &'a Pages, place: u64) -> Option<Self> {
        let words = pages.words_at(place);
        Self::of(pages, place, words, Header::of(words)?)
    }

    /// The same where the page's words from the place on, and the header, are at hand.
    #[inline]
    pub(super) fn of(
        pages: &'a Pages,
        place: u64,
        words: &'a [AtomicU64],
        header: Header,
    ) -> Option<Self> {
        match words.get(..header.words()) {
            Some(words) => Some(Self { words, rest: &[], header }),
            None => Self::crossing(pages, place, words, header),
        }
    }

    /// Looks at an entry that goes on in the next page of its queue, which stands still as long as the
    /// entry is there.
    #[cold]
    fn crossing(
        pages: &'a Pages,
        place: u64,
        words: &'a [AtomicU64],
        header: Header,
    ) -> Option<Self> {
        let rest_words = header.words() - words.len();
        let (_, rest) = pages.page(pages.next_in_chain(page_of(place))).split_first()?;
        let rest = rest.get(..rest_words).filter(|_| words.len() >= header.head_words())?;
        Some(Self { words, rest, header })
    }

    /// The place of an entry with this header that its queue's end has room for, to be written.
    #[inline]
    pub(super) fn to_write(pages: &'a Pages, place: u64, header: Header) -> Self {
        let entry = Self::of(pages, place, pages.words_at(place), header);
        entry.expect("the log has given it these words")
    }

    /// How many of its words lie in the page that it begins in, and in the next one.
    pub(super) fn words_in_pages(&self) -> (u16, u16) {
        (self.words.len() as u16, self.rest.len() as u16)
    }

    /// Whether it ends in the next page.
    pub(super) fn crosses(&self) -> bool {
        !self.rest.is_empty()
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
        self.part(self.header.content_at(), self.header.content_len())
    }

    #[inline]
    fn part(&self, start: usize, len: usize) -> SmallValue<'a> {
        let (shift, header) = (start as u32 % 8 * 8, self.header);
        let (words, rest) = match self.words.get(start / 8..) {
            Some(words) if !words.is_empty() || self.rest.is_empty() => (words, self.rest),
            _ => (self.rest.get(start / 8 - self.words.len()..).unwrap_or(&[]), &[][..]),
        };
        SmallValue { words, rest, shift, len, header }
    }

    /// Where the meta and the value begin, and their lengths, which don't lead beyond the content.
    fn parts(&self) -> (SmallValue<'a>, SmallValue<'a>) {
        let content = self.content();
        let start = self.header.content_at();
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

    /// The end of a large entry's value, behind its pages; empty if these hold all of it.
    pub(super) fn tail(&self) -> SmallValue<'a> {
        let value = self.value();
        let at = self.header.content_at() + self.header.content_len() - value.len() + LARGE_BYTES;
        self.part(at, value.len().saturating_sub(LARGE_BYTES))
    }

    /// Remembers the fingerprint of a large entry's value. Whoever calls this holds the partition's
    /// lock, as do all who look at it.
    pub(super) fn set_large_fingerprint(&self, fingerprint: Fingerprint) {
        let mut meta = Vec::new();
        self.meta().append_to(&mut meta);
        let (first, len) = self.large();
        let mut key = [0; KEY_BYTES_MAX + 8];
        let mut value = large_bytes(first, len, Some(fingerprint)).to_vec();
        self.tail().append_to(&mut value);
        self.write(self.header, self.key_to(&mut key), &meta, &value);
    }

    /// Writes an entry of as many words in the place of this one.
    #[inline(always)]
    pub(super) fn write(&self, header: Header, key: &[u8], meta: &[u8], value: &[u8]) {
        debug_assert_eq!(self.header.words(), header.words());
        write(self.words, self.rest, header, key, meta, value);
    }

    /// Says that the index no longer refers to the entry.
    pub(super) fn mark_dead(&self) {
        self.words[0].store(self.header.dead().0, Ordering::Relaxed);
    }

    /// Makes the entry one of this generation. Readers take it for one of the old or the new one.
    pub(super) fn set_generation(&self, generation: Generation) {
        // Whoever sees the new one also sees that it has begun.
        self.words[0].store(self.header.of_generation(generation).0, Ordering::Release);
    }

    /// Copies the entry's words to the place of another, as one of this generation. What stood there may
    /// still be read.
    pub(super) fn copy_to(&self, to: &Self, generation: Generation) {
        debug_assert_eq!(self.header.words(), to.header.words());
        fence(Ordering::Release);
        to.words[0].store(self.header.of_generation(generation).0, Ordering::Relaxed);
        let copy = |to: &AtomicU64, from: &AtomicU64| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        if !self.crosses() && !to.crosses() {
            return each_pair(&to.words[1..], &self.words[1..], copy);
        }
        let (to, from) = (to.words.iter().chain(to.rest), self.words.iter().chain(self.rest));
        to.zip(from).skip(1).for_each(|(to, from)| copy(to, from));
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

/// What the log holds of a large value in any case.
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

#[cfg(test)]
mod tests {
    use super::super::clock::Expiry;
    use super::*;

    fn unwritten(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    /// An entry of which all but so many words lie in the next page.
    fn entry_in<'a>(
        page: &'a [AtomicU64],
        next: &'a [AtomicU64],
        words: usize,
        header: Header,
    ) -> Entry<'a> {
        let rest = &next[..header.words() - words];
        Entry { words: &page[..words], rest, header }
    }

    #[test]
    fn what_is_written_is_read_back_wherever_the_page_ends() {
        let bytes: Vec<u8> = (0..8000).map(|i| (i * 7 + i / 256) as u8).collect();
        let (mut key_buffer, mut out) = ([0; KEY_BYTES_MAX + 8], Vec::new());
        for key_len in (1..20).chain([1000, 4000]) {
            let short = (0..40).map(|n| (n % 5 * 7, n));
            let long = (300..340).map(|n| (n % 5 * 50, n)).chain([(0, 999), (9, 3000)]);
            for (meta_len, value_len) in short.chain(long) {
                let (key, rest) = bytes.split_at(key_len);
                let (meta, value) = (&rest[..meta_len], &rest[meta_len..][..value_len]);
                let header = Header::new(key_len, meta, value_len, false, Expiry::NEVER);
                let ends = (0..header.words()).filter(|&end| header.words_in(end) > 0);
                for words in ends.take(12).chain([header.words()]) {
                    let (page, next) = (unwritten(1024), unwritten(1024));
                    let entry = entry_in(&page, &next, words, header);
                    entry.write(header, key, meta, value);
                    assert!(entry.key_is(key) && !entry.key_is(&bytes[1..][..key_len]));
                    assert_eq!(entry.key_to(&mut key_buffer), key);
                    out.splice(.., *b"before");
                    entry.meta().append_to(&mut out);
                    entry.value().append_to(&mut out);
                    assert_eq!(out, [b"before", meta, value].concat());
                    let untouched =
                        |words: &[AtomicU64]| words[0].load(Ordering::Relaxed) == u64::MAX;
                    assert!(untouched(&page[words..]));
                    assert!(untouched(&next[header.words() - words..]));
                    let other = unwritten(1024);
                    let copy = entry_in(&other, &[], header.words(), header);
                    entry.copy_to(&copy, Generation::FIRST);
                    out.clear();
                    copy.value().append_to(&mut out);
                    assert_eq!(out, value);
                }
            }
        }
    }
}
