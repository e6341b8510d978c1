//! How an entry is written: bytes, put together to words.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::header::Header;
use super::memory::each_pair;

/// Up to 8 bytes as the low bytes of a word; without a loop or a call, since every key and
/// value ends in some.
#[inline]
pub(super) fn padded(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (len - 4));
    }
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return 0 };
    let byte = |at: usize, byte: u8| u64::from(byte) << (8 * at);
    byte(0, *first) | byte(len / 2, bytes[len / 2]) | byte(len - 1, *last)
}

/// Writes an entry. What stood there before may still be read by a reader who holds a reference
/// that is out of date: the fence makes sure that it then also sees the sequence word of the
/// bucket that the reference was taken from, which was changed before the memory became free. An
/// entry that is long enough to cross pages goes on in `rest` when `words` are full.
#[inline(always)] // Most entries are short, and then there is no call.
pub(super) fn write(
    words: &[AtomicU64],
    rest: &[AtomicU64],
    header: Header,
    key: &[u8],
    meta: &[u8],
    value: &[u8],
) {
    if let (1..=8, [], 0..=8, [header_word, first, others @ ..]) =
        (key.len(), meta, value.len(), words)
    {
        fence(Ordering::Release);
        header_word.store(header.0, Ordering::Relaxed);
        // The value's place is behind the key, which may fill a word: two shifts, of less than that each.
        let behind_key = u128::from(padded(value)) << 8 << (8 * (key.len() - 1) % 64);
        let content = u128::from(padded(key)) | behind_key;
        first.store((content as u64).to_le(), Ordering::Relaxed);
        if let [second, ..] = others
            && key.len() + value.len() > 8
        {
            second.store(((content >> 64) as u64).to_le(), Ordering::Relaxed);
        }
        return;
    }
    write_parts(words, rest, header, key, meta, value);
}

/// The same for parts of any length.
#[inline(never)]
fn write_parts(
    words: &[AtomicU64],
    rest: &[AtomicU64],
    header: Header,
    key: &[u8],
    meta: &[u8],
    value: &[u8],
) {
    fence(Ordering::Release);
    words[0].store(header.0, Ordering::Relaxed);
    let mut writer = WordWriter { words: &words[1..], rest, at: 0, carry: 0, carry_bits: 0 };
    writer.push(key);
    if header.content_at().is_multiple_of(8) {
        writer.fill_word();
    }
    if !meta.is_empty() {
        writer.push(&(meta.len() as u16).to_le_bytes());
        writer.push(meta);
    }
    writer.push(value);
    writer.fill_word();
}

/// Puts bytes together to words.
struct WordWriter<'a> {
    words: &'a [AtomicU64],
    /// Where it goes on when they are full.
    rest: &'a [AtomicU64],
    at: usize,
    /// The bytes that don't fill a word yet.
    carry: u64,
    carry_bits: u32,
}

impl WordWriter<'_> {
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let room = 8 * (self.words.len() - self.at) - (self.carry_bits / 8) as usize;
        if bytes.len() <= room {
            return self.push_here(bytes);
        }
        let (now, later) = bytes.split_at(room);
        self.push_here(now);
        (self.words, self.at) = (std::mem::take(&mut self.rest), 0);
        self.push_here(later);
    }

    /// Appends bytes that there is room for.
    #[inline]
    fn push_here(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        self.push_words(words);
        if !rest.is_empty() {
            self.push_word(padded(rest), 8 * rest.len() as u32);
        }
    }

    /// Appends whole words, without a look at the carry's length at each.
    #[inline]
    fn push_words(&mut self, words: &[[u8; 8]]) {
        let places = &self.words[self.at..];
        self.at += words.len();
        if self.carry_bits == 0 {
            return each_pair(places, words, |place, word| {
                place.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
            });
        }
        let (left, right) = (self.carry_bits, 64 - self.carry_bits);
        for (place, word) in places.iter().zip(words.iter().copied().map(u64::from_le_bytes)) {
            place.store((self.carry | word << left).to_le(), Ordering::Relaxed);
            self.carry = word >> right;
        }
    }

    /// Appends the low bits of a word; the others are zero.
    #[inline]
    fn push_word(&mut self, word: u64, bits: u32) {
        let filled = self.carry | word << self.carry_bits;
        let total = self.carry_bits + bits;
        if total < 64 {
            (self.carry, self.carry_bits) = (filled, total);
            return;
        }
        self.words[self.at].store(filled.to_le(), Ordering::Relaxed);
        self.at += 1;
        // Shifting by 64 would shift by nothing.
        self.carry = if self.carry_bits == 0 { 0 } else { word >> (64 - self.carry_bits) };
        self.carry_bits = total - 64;
    }

    /// Fills the last word up with zeroes.
    fn fill_word(&mut self) {
        if self.carry_bits > 0 {
            self.words[self.at].store(self.carry.to_le(), Ordering::Relaxed);
            self.at += 1;
            (self.carry, self.carry_bits) = (0, 0);
        }
    }
}
