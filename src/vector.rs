//! Bytes looked at sixteen at a time, as every x86-64 can.
//!
//! The ends of paths and of field values, and the tags of a bucket, can't be predicted: a branch for each
//! byte costs more than all of them together do here. What is read lies within a slice or an
//! array that is borrowed; the reason for `unsafe` is that the compiler has to be told that the
//! processor has these instructions.

#![allow(unsafe_code)]

/// Bytes that are looked at together.
pub(crate) const BLOCK_BYTES: usize = 16;

/// So many bytes.
pub(crate) type Block = [u8; BLOCK_BYTES];

/// A bit for each byte of a block, the first one's lowest.
pub(crate) type Mask = u32;

#[cfg(target_arch = "x86_64")]
mod blocks {
    use std::arch::x86_64::{
        __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_min_epu8,
        _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };

    use super::{Block, Mask};

    #[inline(always)]
    fn load(block: &Block) -> __m128i {
        // SAFETY: the array has all the bytes that are read, at whatever address it is.
        unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
    }

    /// The bytes that are not among the commonest of a path: those from `-` to `~`, but for `?`.
    #[inline(always)]
    pub(crate) fn uncommon_in_path(block: &Block) -> Mask {
        let bytes = load(block);
        // SAFETY: SSE2 belongs to x86-64.
        unsafe {
            // Bytes beyond ASCII are negative, and so below `-`, too.
            let below = _mm_cmpgt_epi8(_mm_set1_epi8(b'-'.cast_signed()), bytes);
            let query = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'?'.cast_signed()));
            let delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(below, query), delete)).cast_unsigned()
        }
    }

    /// The bytes that no field value has (RFC 9110 §5.5): controls but for the tab.
    #[inline(always)]
    pub(crate) fn not_in_value(block: &Block) -> Mask {
        let bytes = load(block);
        // SAFETY: SSE2 belongs to x86-64.
        unsafe {
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            let tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\t'.cast_signed()));
            let delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
            _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), delete)).cast_unsigned()
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod blocks {
    use super::{Block, Mask};

    fn mask(block: &Block, has: impl Fn(u8) -> bool) -> Mask {
        block.iter().rev().fold(0, |mask, &byte| mask << 1 | Mask::from(has(byte)))
    }

    pub(crate) fn uncommon_in_path(block: &Block) -> Mask {
        mask(block, |byte| !(b'-'..=b'~').contains(&byte) || byte == b'?')
    }

    pub(crate) fn not_in_value(block: &Block) -> Mask {
        mask(block, |byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
    }
}

pub(crate) use blocks::{not_in_value, uncommon_in_path};

/// Where the first byte from `at` on stands that no field value has; the input's end if there is
/// none.
#[inline]
pub(crate) fn value_end(input: &[u8], mut at: usize) -> usize {
    while let Some(block) = input.get(at..).and_then(|rest| rest.first_chunk()) {
        let ends = not_in_value(block);
        if ends != 0 {
            return at + ends.trailing_zeros() as usize;
        }
        at += BLOCK_BYTES;
    }
    let Some(block) = input.last_chunk() else {
        return input.len().min(at + short_value_len(input.get(at..).unwrap_or_default()));
    };
    // Some of its bytes were looked at before, or stand before the value.
    let start = input.len() - BLOCK_BYTES;
    let ends = not_in_value(block) >> (at - start).min(BLOCK_BYTES);
    if ends == 0 { input.len() } else { at + ends.trailing_zeros() as usize }
}

/// The same in an input shorter than a block.
#[cold]
fn short_value_len(rest: &[u8]) -> usize {
    let is_end = |&byte: &u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    rest.iter().position(is_end).unwrap_or(rest.len())
}

/// Whether some bytes start with others, which are most often equal and seldom many: without a
/// call.
#[inline(always)]
pub(crate) fn starts_with(bytes: &[u8], start: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..start.len()) else { return false };
    match start.len() {
        33..=64 => ends_are_equal::<32>(bytes, start),
        16..=32 => ends_are_equal::<16>(bytes, start),
        ..16 => short_are_equal(bytes, start),
        _ => long_are_equal(bytes, start),
    }
}

/// Whether the first and the last `N` bytes of two strings are equal. Together they are all of them where
/// there are no more than twice as many; some are compared twice, which is quicker than each by itself.
#[inline(always)]
fn ends_are_equal<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<N>() == other.first_chunk::<N>()
        && one.last_chunk::<N>() == other.last_chunk::<N>()
}

/// Whether two strings of the same length, less than a block's, are equal.
#[inline(always)]
fn short_are_equal(one: &[u8], other: &[u8]) -> bool {
    match one.len() {
        8.. => ends_are_equal::<8>(one, other),
        4.. => ends_are_equal::<4>(one, other),
        _ => one.iter().zip(other).all(|(one, other)| one == other),
    }
}

/// Whether two strings of the same length, more than four blocks', are equal.
#[inline(never)]
fn long_are_equal(one: &[u8], other: &[u8]) -> bool {
    let (chunks, others) = (one.as_chunks::<32>().0, other.as_chunks::<32>().0);
    chunks.iter().zip(others).all(|(chunk, other)| chunk == other)
        && one.last_chunk::<32>() == other.last_chunk::<32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for byte in 0..=u8::MAX {
            let common = (b'-'..=b'~').contains(&byte) && byte != b'?';
            let valued = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            for at in 0..BLOCK_BYTES {
                let mut block = [b'a'; BLOCK_BYTES];
                block[at] = byte;
                let bit = 1 << at;
                assert_eq!(
                    uncommon_in_path(&block),
                    if common { 0 } else { bit },
                    "{byte} at {at}"
                );
                assert_eq!(not_in_value(&block), if valued { 0 } else { bit }, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_value_ends_where_it_does_byte_by_byte() {
        for length in 0..70 {
            for at in 0..=length {
                for end in at..=length {
                    let mut input = vec![b'v'; length];
                    // What stands before the value is not part of it.
                    input[..at].fill(b'\r');
                    if let Some(byte) = input.get_mut(end) {
                        *byte = b'\r';
                    }
                    assert_eq!(value_end(&input, at), end, "{length} {at} {end}");
                }
            }
        }
    }

    #[test]
    fn strings_start_with_what_they_do_byte_by_byte() {
        let bytes: Vec<u8> = (0..140).collect();
        for length in 0..bytes.len() {
            let start = &bytes[..length];
            assert!(starts_with(&bytes, start) && starts_with(start, start));
            assert!(length == 0 || !starts_with(&start[..length - 1], start));
            for at in 0..length {
                let mut other = start.to_vec();
                other[at] ^= 0x80;
                assert!(!starts_with(&bytes, &other), "byte {at} of {length}");
            }
        }
    }
}
