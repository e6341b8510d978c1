//! A part of a value (RFC 9110 §14): one range of bytes.

use std::ops::Range;

/// A range of bytes as a client names it, whatever the value's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From a first byte to a last one, inclusive.
    Between(u64, u64),
    /// So many bytes at the end.
    Last(u64),
}

impl ByteRange {
    /// Reads a Range field. `None`: it is to be ignored, since it is malformed, has another unit,
    /// or names several ranges, which a server may answer with the whole (§14.2).
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (unit, set) = value.split_at_checked(b"bytes=".len())?;
        // Names of units are case-insensitive (§14.1).
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return None;
        }
        let spec = set.trim_ascii();
        let dash = memchr::memchr(b'-', spec)?;
        let (first, last) = (&spec[..dash], &spec[dash + 1..]);
        match (number(first), number(last)) {
            (Some(first), None) if last.is_empty() => Some(Self::Between(first, u64::MAX)),
            (Some(first), Some(last)) if first <= last => Some(Self::Between(first, last)),
            (None, Some(count)) if first.is_empty() => Some(Self::Last(count)),
            _ => None,
        }
    }

    /// The bytes of a value of that length. `None`: none of its bytes is in the range, which is 416.
    #[must_use]
    pub fn within(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(len),
            Self::Last(count) => len.saturating_sub(count)..len,
        };
        (range.start < range.end).then_some(range)
    }
}

/// One or more digits as a number. No value is as long as the highest one, to which more is cut.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let push =
        |number: u64, byte: &u8| number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Some(digits.iter().fold(0, push))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_cut_to_the_value() {
        for (text, len, expected) in [
            ("bytes=0-0", 10, Some(0..1)),
            ("bytes=0-9", 10, Some(0..10)),
            ("bytes=2-", 10, Some(2..10)),
            ("bytes=2-99", 10, Some(2..10)),
            ("BYTES=2-3", 10, Some(2..4)),
            ("bytes= 2-3 ", 10, Some(2..4)),
            ("bytes=-3", 10, Some(7..10)),
            ("bytes=-99", 10, Some(0..10)),
            ("bytes=-0", 10, None),
            ("bytes=10-", 10, None),
            ("bytes=10-11", 10, None),
            ("bytes=0-", 0, None),
            ("bytes=-1", 0, None),
            ("bytes=99999999999999999999-", 10, None),
            ("bytes=0-99999999999999999999", 10, Some(0..10)),
        ] {
            let range = ByteRange::read(text.as_bytes()).expect(text);
            assert_eq!(range.within(len), expected, "{text} of {len}");
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=1",
            "bytes=3-2",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "bytes=1-2,",
            "bytes=0x1-2",
            "lines=1-2",
            "bytes 1-2",
            "bytes=1 -2",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            assert_eq!(ByteRange::read(text.as_bytes()), None, "{text}");
        }
    }
}
