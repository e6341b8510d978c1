//! Entity tags (RFC 9110 §8.8.3): what a representation is recognised by.
//!
//! A tag is a pure function of the value and of the header fields kept with it: it is the same
//! after a restart and on every node, and takes no memory. All tags are strong.

use xxhash_rust::xxh3::xxh3_128;

/// The strong entity tag of a representation: 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag(u128);

/// Bytes of a tag as a field has it: quotes around hexadecimal digits.
pub const ENTITY_TAG_BYTES: usize = 34;

impl EntityTag {
    /// The tag of a value with this fingerprint, given back with these header fields.
    #[must_use]
    pub fn new(fingerprint: u128, fields: &[u8]) -> Self {
        if fields.is_empty() {
            return Self(fingerprint);
        }
        Self(xxh3_128(&[&fingerprint.to_le_bytes(), fields].concat()))
    }

    /// The tag as a field has it.
    #[must_use]
    pub fn render(self) -> [u8; ENTITY_TAG_BYTES] {
        let mut out = [b'"'; ENTITY_TAG_BYTES];
        for (at, byte) in self.0.to_be_bytes().into_iter().enumerate() {
            out[1 + 2 * at] = digit(byte >> 4);
            out[2 + 2 * at] = digit(byte & 15);
        }
        out
    }

    /// The tag that is written so between quotes; `None` if no representation here has it.
    fn parse(opaque: &[u8]) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if opaque.len() != ENTITY_TAG_BYTES - 2 || !opaque.iter().all(is_digit) {
            return None;
        }
        let digits = std::str::from_utf8(opaque).ok()?;
        u128::from_str_radix(digits, 16).ok().map(Self)
    }
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

/// An entity tag as a client names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NamedTag {
    pub(super) is_weak: bool,
    /// `None`: no representation here has it.
    pub(super) tag: Option<EntityTag>,
}

impl NamedTag {
    /// Reads the tag that the bytes begin with (RFC 9110 §8.8.3), and returns what follows it.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (is_weak, quoted) = match bytes.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        let opaque = quoted.strip_prefix(b"\"")?;
        let (opaque, rest) = opaque.split_at(memchr::memchr(b'"', opaque)?);
        let is_valid = |&byte: &u8| byte > b' ' && byte != 0x7f;
        let tag = EntityTag::parse(opaque);
        opaque.iter().all(is_valid).then_some((Self { is_weak, tag }, &rest[1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rendered_is_read() {
        for fingerprint in [0, 1, 0x0123_4567_89ab_cdef << 64, u128::MAX] {
            let tag = EntityTag::new(fingerprint, b"");
            let text = tag.render();
            let (named, rest) = NamedTag::read(&text).unwrap();
            assert_eq!((named.tag, named.is_weak, rest), (Some(tag), false, &b""[..]));
        }
    }

    #[test]
    fn fields_are_part_of_the_representation() {
        let plain = EntityTag::new(7, b"");
        let text = EntityTag::new(7, b"Content-Type: text/plain\r\n");
        let html = EntityTag::new(7, b"Content-Type: text/html\r\n");
        assert!(plain != text && text != html && plain != html);
    }

    #[test]
    fn tags_of_others_are_read_and_match_nothing() {
        for (text, is_weak) in [("\"\"", false), ("\"a,b\"", false), ("W/\"x\"", true)] {
            let (named, rest) = NamedTag::read(text.as_bytes()).unwrap();
            assert_eq!((named.tag, named.is_weak, rest.len()), (None, is_weak, 0), "{text}");
        }
        for text in ["", "x", "\"", "\"a b\"", "w/\"x\"", "W/x", "W\"x\"", "\"a\x7f\""] {
            assert_eq!(NamedTag::read(text.as_bytes()), None, "{text}");
        }
    }
}
