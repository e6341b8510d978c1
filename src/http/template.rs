//! A head that was accepted, as a pattern for others that mean the same.
//!
//! ```text
//!   " HTTP/1.1\r\nHost: a\r\nX-Request-Id:" value "\r\nContent-Length: " digits "\r\n\r\n"
//! ```
//!
//! A line that means nothing by its value may have any other, as soon as two heads have been seen that
//! differ in it, and Content-Length any digits. Everything else has to be equal. So a head that fits is one
//! that would be accepted if it was read in full, with the same meaning but for the length.

use super::access;
use super::fields::{Fields, Framing, Weight};
use crate::vector;

/// Digits of a length that can't overflow.
const LENGTH_DIGITS_MAX: usize = 19;

/// A line's value that need not be equal, or not openly so; where it is in a block of fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) start: u16,
    pub(super) end: u16,
    pub(super) weight: Weight,
    /// Whether heads were seen to differ in it.
    varies: bool,
}

impl Line {
    pub(super) fn new(start: usize, end: usize, weight: Weight) -> Self {
        Self { start: start as u16, end: end as u16, weight, varies: false }
    }

    fn value<'a>(&self, block: &'a [u8]) -> &'a [u8] {
        &block[usize::from(self.start)..usize::from(self.end)]
    }
}

/// What stands in front of some bytes that have to be equal.
#[derive(Debug)]
enum Before {
    /// Any value.
    Value,
    /// The digits of a body's length.
    Length,
    /// Credentials, which are these.
    Secret(Box<[u8]>),
}

#[derive(Debug)]
struct Part {
    /// Stands in front of the bytes.
    before: Before,
    bytes: Box<[u8]>,
}

/// A block of fields, from the space before the version to the blank line, inclusive.
#[derive(Debug)]
pub(super) struct Template {
    /// What has to be equal from the start on.
    start: Box<[u8]>,
    parts: Vec<Part>,
    pub(super) fields: Fields,
    /// Whether all requests that fit are over where the head ends, and another may follow.
    pub(super) is_bare: bool,
    block: Box<[u8]>,
    lines: Vec<Line>,
}

impl Template {
    /// A template for one block, to which other values are added later.
    pub(super) fn new(block: &[u8], lines: &[Line], fields: Fields) -> Self {
        let (block, lines) = (block.into(), lines.to_vec());
        let (start, parts) = (Box::default(), Vec::new());
        let mut template = Self { start, parts, fields, is_bare: false, block, lines };
        template.compile();
        template
    }

    /// Whether the bytes of the input from `at` on fit; where the head ends, and how long its body is,
    /// if that is not the same in all that fit.
    ///
    /// How long it takes tells nothing of the bytes of a secret: it is compared as a whole, and what
    /// follows it whether it is right or not.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn fit(&self, input: &[u8], at: usize) -> Option<(usize, Option<u64>)> {
        if !vector::starts_with(input.get(at..)?, &self.start) {
            return None;
        }
        let at = at + self.start.len();
        if self.is_bare || self.parts.is_empty() {
            Some((at, None))
        } else {
            self.fit_parts(input, at)
        }
    }

    #[inline(never)]
    fn fit_parts(&self, input: &[u8], mut at: usize) -> Option<(usize, Option<u64>)> {
        let mut length = None;
        let mut is_secret_right = true;
        for Part { before, bytes } in &self.parts {
            match before {
                Before::Value => at = vector::value_end(input, at),
                Before::Length => {
                    let (end, number) = read_length(input, at)?;
                    (at, length) = (end, Some(number));
                }
                Before::Secret(secret) => {
                    let end = at + secret.len();
                    is_secret_right &= access::equal(input.get(at..end)?, secret);
                    at = end;
                }
            }
            if !vector::starts_with(input.get(at..)?, bytes) {
                return None;
            }
            at += bytes.len();
        }
        is_secret_right.then_some((at, length))
    }

    /// Lets another block fit from now on that was accepted, if it differs in values alone that mean
    /// nothing. Whether it does.
    pub(super) fn extend(&mut self, block: &[u8], lines: &[Line]) -> bool {
        if !self.has_shape_of(block, lines) {
            return false;
        }
        for (own, other) in self.lines.iter_mut().zip(lines) {
            own.varies |=
                own.weight != Weight::Secret && own.value(&self.block) != other.value(block);
        }
        self.compile();
        true
    }

    /// Whether everything that has to be equal is.
    fn has_shape_of(&self, block: &[u8], lines: &[Line]) -> bool {
        if self.lines.len() != lines.len() {
            return false;
        }
        let (mut own_at, mut at) = (0, 0);
        for (own, other) in self.lines.iter().zip(lines) {
            let is_same = own.weight == other.weight
                && self.block[own_at..usize::from(own.start)]
                    == block[at..usize::from(other.start)]
                && (own.weight != Weight::Secret
                    || access::equal(own.value(&self.block), other.value(block)));
            if !is_same {
                return false;
            }
            (own_at, at) = (usize::from(own.end), usize::from(other.end));
        }
        self.block[own_at..] == block[at..]
    }

    fn compile(&mut self) {
        self.parts.clear();
        let is_open = |line: &&Line| line.varies || line.weight == Weight::Secret;
        let mut lines = self.lines.iter().filter(is_open).peekable();
        let end_of = |next: Option<&&Line>| next.map_or(self.block.len(), |line| line.start.into());
        self.start = self.block[..end_of(lines.peek())].into();
        while let Some(line) = lines.next() {
            let before = match line.weight {
                Weight::Secret => Before::Secret(line.value(&self.block).into()),
                Weight::Length => Before::Length,
                Weight::Name | Weight::Value => Before::Value,
            };
            let bytes = self.block[usize::from(line.end)..end_of(lines.peek())].into();
            self.parts.push(Part { before, bytes });
        }
        let is_empty = self.fields.framing == Framing::Length(0);
        self.is_bare = self.parts.is_empty() && is_empty && self.fields.are_simple();
    }
}

/// The digits at `at` as a number, and where they end. `None` if there are none, or so many that the
/// number might be too large.
#[inline]
fn read_length(input: &[u8], at: usize) -> Option<(usize, u64)> {
    let mut length = 0;
    let digits = input.get(at..)?.iter().take(LENGTH_DIGITS_MAX + 1);
    for (count, &byte) in digits.enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (count > 0).then_some((at + count, length));
        }
        if count == LENGTH_DIGITS_MAX {
            return None;
        }
        length = length * 10 + u64::from(digit);
    }
    None
}
