//! The header fields of recent requests.
//!
//! Clients send the same header fields over and over. What was accepted is remembered, from the space
//! before ` HTTP/1.1` to the blank line, with what it means: a request that fits such a
//! [template](super::template) has the same meaning, and only its target has to be looked at. That
//! is sound because [`Fields`] is a pure function of those bytes and the method.
//!
//! A template is made when heads that differ in nothing but values without a meaning have come twice, so that
//! those that never come again take the place of none. Of those that are there, one goes that has not been
//! used lately.

use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

use ahash::RandomState;
use httparse::Header;

use super::fields::{Fields, Framing, Weight};
use super::method::Method;
use super::parsed_request::ParsedRequest;
use super::target::{self, Target};
use super::template::{Line, Template};
use super::tokens::Grant;
use crate::vector;

/// Longest block of fields that is remembered, in bytes.
const BLOCK_BYTES_MAX: usize = 2048;

/// Templates per method: clients that differ in more than values.
const TEMPLATES_PER_METHOD_MAX: usize = 16;

/// Shapes of blocks that were seen once, of all methods.
const SHAPES_MAX: usize = 64;

/// Methods whose heads are remembered.
const METHODS: usize = Method::Delete as usize + 1;

#[derive(Debug)]
struct Memo {
    template: Template,
    /// The token, if what it allows depends on the path.
    grant: Option<Grant>,
    /// Whether a head has fitted since room was last looked for.
    is_used: bool,
}

/// A request whose fields are remembered, and where its parts are from its start on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recalled<'a> {
    pub(super) method: Method,
    /// Where the path begins behind its first `/`, and where it ends, as does the target.
    pub(super) path_at: usize,
    pub(super) path_end: usize,
    /// Where the head ends.
    pub(super) end: usize,
    /// How long the body is, if `fields` don't say so.
    pub(super) length: Option<u64>,
    /// There is none, and nothing else about the fields that would have to be looked at.
    pub(super) is_bare: bool,
    pub(super) fields: &'a Fields,
}

impl Recalled<'_> {
    /// How long the body is; `None` if only it will tell.
    #[inline(always)] // Into the loop over a connection's input.
    fn body_length(&self) -> Option<u64> {
        match (self.length, self.fields.framing) {
            (Some(length), _) | (None, Framing::Length(length)) => Some(length),
            (None, Framing::Chunked) => None,
        }
    }

    /// Whether the request is there as a whole in `input`, which begins with it, and another may follow.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn is_complete(&self, input: &[u8], body_bytes_max: u64) -> bool {
        let room = (input.len() - self.end) as u64;
        self.fields.are_simple()
            && self.body_length().is_some_and(|length| length <= body_bytes_max && length <= room)
    }

    /// The request, which begins at `at` in the input and has no body.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn at(&self, at: usize) -> ParsedRequest {
        ParsedRequest {
            fields: *self.fields,
            path_at: (at + self.path_at) as u32,
            path_len: (self.path_end - self.path_at) as u32,
            target_end: (at + self.path_end) as u32,
            body_at: (at + self.end) as u32,
            body_len: 0,
            method: self.method,
            target: Target::Path { escaped: false },
        }
    }

    /// The same where it has one.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn with_body(&self, at: usize) -> ParsedRequest {
        let length = self.body_length().unwrap_or(0);
        let mut parsed = self.at(at);
        parsed.fields.framing = Framing::Length(length);
        parsed.body_len = length as u32;
        parsed
    }
}

/// The templates of one method.
#[derive(Debug, Default)]
struct MethodMemos {
    memos: Vec<Memo>,
    /// The one that has fitted last, which is tried first.
    last: usize,
    /// Where to look next for one that can go.
    hand: usize,
}

/// The remembered blocks of one parser, by method.
#[derive(Debug)]
pub(super) struct Memos {
    open: [MethodMemos; METHODS],
    /// Those of blocks with credentials.
    secret: [MethodMemos; METHODS],
    shapes: Shapes,
    /// The lines of a block that is looked at, kept for its capacity.
    lines: Vec<Line>,
    header_bytes_max: usize,
}

impl Memos {
    /// For heads of up to `header_bytes_max` bytes.
    pub(super) fn new(header_bytes_max: usize) -> Self {
        let [open, secret] = std::array::from_fn(|_| Default::default());
        Self { open, secret, shapes: Shapes::default(), lines: Vec::new(), header_bytes_max }
    }

    /// A request with a plain path whose fields fit the template that has fitted last.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn recall(&mut self, input: &[u8]) -> Option<Recalled<'_>> {
        let start: &[u8; START_BYTES] = input.first_chunk()?;
        let (method, path_at) = read_method(start)?;
        let path_end = target::plain_end(input, path_at, start[path_at..].first_chunk()?);
        // If the target goes on there, no template fits: each begins with the space behind it.
        let memos = &mut self.open[method as usize];
        let memo = memos.memos.get_mut(memos.last)?;
        let (end, length) = memo.template.fit(input, path_end)?;
        if end > self.header_bytes_max {
            return None;
        }
        memo.is_used = true;
        let Template { is_bare, fields, .. } = &memo.template;
        Some(Recalled { method, path_at, path_end, end, length, is_bare: *is_bare, fields })
    }

    /// Appends a request for a path whose fields fit any template, among those of blocks with credentials or
    /// the others. The token, if what it allows depends on the path.
    #[inline(never)]
    pub(super) fn recall_other(
        &mut self,
        secret: bool,
        input: &[u8],
        at: usize,
        into: &mut Vec<ParsedRequest>,
    ) -> Option<Option<Grant>> {
        let (method, start) = read_method(input.get(at..)?)?;
        let start = at + start;
        let (path, escaped, end) = target::scan(input, start)?;
        let all = if secret { &mut self.secret } else { &mut self.open };
        let (memo, head_end, length) = all[method as usize].find(input, end)?;
        if head_end - at > self.header_bytes_max {
            return None;
        }
        let target = Target::Path { escaped };
        let fields = match length {
            Some(length) => Fields { framing: Framing::Length(length), ..memo.template.fields },
            None => memo.template.fields,
        };
        into.push(ParsedRequest::new(method, target, path, end, fields, head_end));
        Some(memo.grant)
    }

    /// Forgets all blocks with credentials.
    #[cold]
    pub(super) fn forget_secrets(&mut self) {
        self.secret = Default::default();
    }

    /// Remembers a block that was accepted, of whose fields each has the weight that stands beside it.
    pub(super) fn remember<'h>(
        &mut self,
        method: Method,
        block: &[u8],
        headers: impl Iterator<Item = (&'h Header<'h>, Weight)>,
        fields: Fields,
        grant: Option<Grant>,
    ) {
        if method as usize >= METHODS || block.len() > BLOCK_BYTES_MAX {
            return;
        }
        self.lines.clear();
        self.lines.extend(headers.filter_map(|(header, weight)| line(block, header, weight)));
        let lines = &self.lines[..];
        let is_secret = lines.iter().any(|line| line.weight == Weight::Secret);
        let all = if is_secret { &mut self.secret } else { &mut self.open };
        let memos = &mut all[method as usize];
        if memos.memos.iter_mut().any(|memo| memo.template.extend(block, lines)) {
            return;
        }
        if self.shapes.has_come(method, block, lines) {
            memos.add(Template::new(block, lines, fields), grant);
        }
    }
}

impl MethodMemos {
    /// What fits, with where the head ends and how long its body is. The last one is tried first.
    fn find(&mut self, input: &[u8], at: usize) -> Option<(&Memo, usize, Option<u64>)> {
        let count = self.memos.len();
        for index in (self.last..count).chain(0..self.last.min(count)) {
            let memo = &mut self.memos[index];
            if let Some((end, length)) = memo.template.fit(input, at) {
                memo.is_used = true;
                self.last = index;
                return Some((&self.memos[index], end, length));
            }
        }
        None
    }

    fn add(&mut self, template: Template, grant: Option<Grant>) {
        let memo = Memo { template, grant, is_used: false };
        if self.memos.len() < TEMPLATES_PER_METHOD_MAX {
            self.memos.push(memo);
            return;
        }
        // All of them are seen twice at most: those that are found in use are taken for unused then.
        loop {
            let at = self.hand;
            self.hand = (at + 1) % TEMPLATES_PER_METHOD_MAX;
            if !std::mem::take(&mut self.memos[at].is_used) {
                self.memos[at] = memo;
                return;
            }
        }
    }
}

/// Which shapes of blocks have come: all of a block but for the values that mean nothing.
#[derive(Debug, Default)]
struct Shapes {
    hasher: RandomState,
    seen: Vec<u64>,
    next: usize,
}

impl Shapes {
    /// Whether the shape is among those that came lately. From now on it is.
    fn has_come(&mut self, method: Method, block: &[u8], lines: &[Line]) -> bool {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u8(method as u8);
        let mut at = 0;
        for line in lines.iter().filter(|line| line.weight != Weight::Secret) {
            hasher.write(&block[at..usize::from(line.start)]);
            at = usize::from(line.end);
        }
        hasher.write(&block[at..]);
        let shape = hasher.finish();
        if self.seen.contains(&shape) {
            return true;
        }
        if self.seen.len() < SHAPES_MAX {
            self.seen.push(shape);
        } else {
            self.seen[self.next] = shape;
            self.next = (self.next + 1) % SHAPES_MAX;
        }
        false
    }
}

/// The longest start of a request for a path, and a block of the path behind it. All heads of HTTP/1.1 are
/// longer.
const START_BYTES: usize = b"DELETE /".len() + vector::BLOCK_BYTES;

/// The method of a request for a path, by the start of its head, and where the path begins behind its first
/// `/`.
#[inline(always)]
fn read_method(head: &[u8]) -> Option<(Method, usize)> {
    // Prefixes of constant length are compared as words.
    if head.starts_with(b"GET /") {
        Some((Method::Get, 5))
    } else if head.starts_with(b"PUT /") {
        Some((Method::Put, 5))
    } else if head.starts_with(b"POST /") {
        Some((Method::Post, 6))
    } else if head.starts_with(b"HEAD /") {
        Some((Method::Head, 6))
    } else if head.starts_with(b"DELETE /") {
        Some((Method::Delete, 8))
    } else {
        None
    }
}

/// Where the part of a field's line is that need not be equal, if there is one.
fn line(block: &[u8], header: &Header<'_>, weight: Weight) -> Option<Line> {
    let within = |part: &[u8]| {
        let start = part.as_ptr().addr() - block.as_ptr().addr();
        start..start + part.len()
    };
    let Range { start, end } = match weight {
        Weight::Value => return None,
        // Also the spaces around it.
        Weight::Name => {
            let start = within(header.name.as_bytes()).end + 1;
            start..start + memchr::memchr(b'\r', &block[start..])?
        }
        Weight::Length | Weight::Secret => within(header.value.trim_ascii()),
    };
    Some(Line::new(start, end, weight))
}
