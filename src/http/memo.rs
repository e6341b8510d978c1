//! The header fields of recent requests.
//!
//! Clients send the same header fields over and over. The last blocks of them are remembered, from
//! the space before ` HTTP/1.1` to the blank line, each with what it means: a request whose bytes
//! from there on are equal has the same meaning, and only its target has to be looked at. That is
//! sound because [`Fields`] is a pure function of those bytes and the method.

use std::ops::Range;

use httparse::Header;

use super::access;
use super::fields::{Fields, Framing};
use super::method::Method;
use super::parsed_request::ParsedRequest;
use super::target::{self, Target};
use super::tokens::Grant;

/// Longest field block that is remembered, in bytes.
const MEMO_BYTES_MAX: usize = 1024;

/// Blocks remembered per method: clients that differ, and the lengths of their bodies.
const MEMOS_PER_METHOD: usize = 4;

#[derive(Debug)]
struct Memo {
    /// From the space before the version to the blank line, inclusive.
    block: Vec<u8>,
    /// Where in it the credentials are.
    secret: Range<usize>,
    fields: Fields,
    /// The token, if what it allows depends on the path.
    grant: Option<Grant>,
}

/// The remembered blocks of one method, the oldest overwritten first.
#[derive(Debug, Default)]
struct MethodMemos {
    memos: Vec<Memo>,
    next: usize,
}

/// The remembered blocks of one parser, by method.
#[derive(Debug)]
pub(super) struct Memos {
    open: [MethodMemos; 5],
    /// Those of blocks with credentials.
    secret: [MethodMemos; 5],
    header_bytes_max: usize,
}

impl Memos {
    /// For heads of up to `header_bytes_max` bytes.
    pub(super) fn new(header_bytes_max: usize) -> Self {
        let [open, secret] = std::array::from_fn(|_| Default::default());
        Self { open, secret, header_bytes_max }
    }

    /// A plain path, and a field block that was accepted before: appends what they say, and returns
    /// where the head ends.
    #[inline]
    pub(super) fn recall(
        &self,
        input: &[u8],
        at: usize,
        into: &mut Vec<ParsedRequest>,
    ) -> Option<usize> {
        let same = |block: &[u8], memo: &Memo| block.starts_with(&memo.block);
        self.recall_from(&self.open, same, input, at, into).map(|(end, _)| end)
    }

    /// The same for a block with credentials, and the token if what it allows depends on the path. How
    /// long the comparison takes tells nothing of them: they come last, and are compared as a whole.
    #[inline]
    pub(super) fn recall_secret(
        &self,
        input: &[u8],
        at: usize,
        into: &mut Vec<ParsedRequest>,
    ) -> Option<(usize, Option<Grant>)> {
        let same = |rest: &[u8], memo: &Memo| {
            let Some(block) = rest.get(..memo.block.len()) else { return false };
            let Range { start, end } = memo.secret;
            block[..start] == memo.block[..start]
                && block[end..] == memo.block[end..]
                && access::equal(&block[start..end], &memo.block[start..end])
        };
        let (end, memo) = self.recall_from(&self.secret, same, input, at, into)?;
        Some((end, memo.grant))
    }

    #[inline(always)] // Into both of them.
    fn recall_from<'m>(
        &self,
        memos: &'m [MethodMemos; 5],
        same: impl Fn(&[u8], &Memo) -> bool,
        input: &[u8],
        at: usize,
        into: &mut Vec<ParsedRequest>,
    ) -> Option<(usize, &'m Memo)> {
        let head = &input[at..];
        // Prefixes of constant length are compared as words.
        let (method, start) = match head.first()? {
            b'G' if head.starts_with(b"GET /") => (Method::Get, at + 5),
            b'P' if head.starts_with(b"POST /") => (Method::Post, at + 6),
            b'P' if head.starts_with(b"PUT /") => (Method::Put, at + 5),
            b'H' if head.starts_with(b"HEAD /") => (Method::Head, at + 6),
            b'D' if head.starts_with(b"DELETE /") => (Method::Delete, at + 8),
            _ => return None,
        };
        let (path, escaped, end) = target::scan(input, start)?;
        let rest = &input[end..];
        let memos = &memos[method as usize].memos;
        let memo = memos.iter().find(|memo| same(rest, memo))?;
        let head_end = end + memo.block.len();
        if head_end - at > self.header_bytes_max {
            return None;
        }
        let target = Target::Path { escaped };
        into.push(ParsedRequest::new(method, target, path, end, memo.fields, head_end));
        Some((head_end, memo))
    }

    /// Forgets all blocks with credentials.
    #[cold]
    pub(super) fn forget_secrets(&mut self) {
        self.secret = Default::default();
    }

    /// Remembers a block that was accepted.
    pub(super) fn remember(
        &mut self,
        method: Method,
        block: &[u8],
        headers: &[Header<'_>],
        fields: Fields,
        grant: Option<Grant>,
    ) {
        let differs = fields.framing == Framing::Chunked || fields.extras.differ();
        if block.len() > MEMO_BYTES_MAX || differs {
            return;
        }
        let secret = secret(block, headers);
        let all = if secret.is_empty() { &mut self.open } else { &mut self.secret };
        let Some(memos) = all.get_mut(method as usize) else { return };
        if memos.memos.len() < MEMOS_PER_METHOD {
            memos.memos.push(Memo { block: block.to_vec(), secret, fields, grant });
            return;
        }
        let memo = &mut memos.memos[memos.next % MEMOS_PER_METHOD];
        memo.block.clear();
        memo.block.extend_from_slice(block);
        memo.secret = secret;
        memo.fields = fields;
        memo.grant = grant;
        memos.next = memos.next.wrapping_add(1);
    }
}

/// Where in a block the value of its Authorization field is; empty if it has none.
fn secret(block: &[u8], headers: &[Header<'_>]) -> Range<usize> {
    let field = headers.iter().find(|header| header.name.eq_ignore_ascii_case("authorization"));
    let Some(value) = field.map(|field| field.value) else { return 0..0 };
    let start = value.as_ptr().addr() - block.as_ptr().addr();
    start..start + value.len()
}
