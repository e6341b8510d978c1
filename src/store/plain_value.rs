//! The value of an entry that has nothing else, as it is read most often.

use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{Entry, short_key_is};
use super::header::Header;
use super::pages::Pages;
use super::small_value::SmallValue;

/// A small value: either as a copy, if it is so short that this is quicker, or where it lies.
#[derive(Debug)]
pub enum PlainValue<'a> {
    /// The first bytes of a word, and how many of them.
    Word([u8; 8], usize),
    /// More of them.
    Longer(SmallValue<'a>),
}

impl<'a> PlainValue<'a> {
    /// That of the entry at a place, where a page has these words from there on, the first of which is
    /// `header`; `None` if it has another key.
    #[inline(always)] // Into the loops over a batch.
    pub(super) fn find(
        pages: &'a Pages,
        place: u64,
        words: &'a [AtomicU64],
        header: Header,
        key: &[u8],
    ) -> Option<Self> {
        let len = header.content_len();
        if header.key_len() != key.len() {
            return None;
        }
        if let (4..=8, 0..=8, Some([_, first, second])) = (key.len(), len, words.first_chunk::<3>())
        {
            // There are no more words than these; there may be fewer, and then those of others.
            let first = u64::from_le(first.load(Ordering::Relaxed));
            if !short_key_is(first, key)? {
                return None;
            }
            let second = u64::from_le(second.load(Ordering::Relaxed));
            let words = u128::from(second) << 64 | u128::from(first);
            // Two shifts, since a key may fill a word.
            let value = words >> (8 * (key.len() - 1) % 64) >> 8;
            return Some(Self::Word((value as u64).to_le_bytes(), len));
        }
        let entry = Entry::of(pages, place, words, header)?;
        if !entry.key_is(key) {
            return None;
        }
        let value = entry.plain_value();
        Some(match value.as_word() {
            Some(word) => Self::Word(word, len),
            None => Self::Longer(value),
        })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Word(_, len) => *len,
            Self::Longer(value) => value.len(),
        }
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the value's bytes to `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Word(word, len) => out.extend_from_slice(&word[..*len]),
            Self::Longer(value) => value.append_long_to(out),
        }
    }
}
