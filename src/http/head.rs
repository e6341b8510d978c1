//! A request's head: request line and header fields.
//!
//! Every head is checked once, its fields by httparse. Clients send the same header fields over and
//! over, so the parser remembers the last heads from ` HTTP/1.1` to the blank line: bytes equal to
//! ones that were accepted before are accepted again, with the same meaning, and only the target is
//! new. That is sound because [`Fields`] is a pure function of those bytes and the method.

use std::ops::Range;
use std::sync::Arc;

use httparse::{EMPTY_HEADER, Header, Status};

use super::access::{self, Tokens};
use super::error::Error;
use super::fields::{Fields, Framing};
use super::handler::Refusal;
use super::hosts::{self, Hosts};
use super::method::Method;
use super::origin::{self, Origin};
use super::request_line;
use super::target::{self, Target};

/// Header fields in one request.
const HEADERS_MAX: usize = 100;

/// Header fields that most requests do with.
const HEADERS_COMMON: usize = 16;

/// Longest field block that is remembered, in bytes.
const MEMO_BYTES_MAX: usize = 1024;

/// Blocks remembered per method: clients that differ, and the lengths of their bodies.
const MEMOS_PER_METHOD: usize = 4;

/// A request without its bytes: where its parts lie in the input.
#[derive(Debug, Clone, Copy)]
pub struct Parsed {
    /// The method.
    pub method: Method,
    /// What the target names.
    pub target: Target,
    /// What the header fields say.
    pub fields: Fields,
    pub(super) path_at: u32,
    pub(super) path_len: u32,
    pub(super) body_at: u32,
    pub(super) body_len: u32,
}

impl Parsed {
    /// The answer to a request that is refused whatever it is about, because of where it comes
    /// from, or where `checks_host` is set because of whom it means.
    pub(super) fn refusal(&self, checks_host: bool) -> Option<Refusal> {
        let sender = self.fields.sender;
        if checks_host && sender.host_is_foreign() {
            return Some(hosts::MISDIRECTED);
        }
        (sender.origin() == Origin::Foreign).then(|| origin::refusal(self.method))
    }
}

#[derive(Debug)]
struct Memo {
    /// From the space before the version to the blank line, inclusive.
    block: Vec<u8>,
    /// Where in it the credentials are.
    secret: Range<usize>,
    fields: Fields,
}

/// The remembered blocks of one method, the oldest overwritten first.
#[derive(Debug, Default)]
struct Memos {
    memos: Vec<Memo>,
    next: usize,
}

/// Parses heads; one per event loop.
#[derive(Debug)]
pub struct HeadParser {
    memos: [Memos; 5],
    /// Those of blocks with credentials.
    secret_memos: [Memos; 5],
    header_bytes_max: usize,
    tokens: Option<Arc<Tokens>>,
    hosts: Hosts,
}

impl HeadParser {
    /// A parser for heads of up to `header_bytes_max` bytes, request line included, that are sent
    /// to a server of the names `hosts`. With `tokens`, credentials are checked against them.
    #[must_use]
    pub fn new(header_bytes_max: usize, tokens: Option<Arc<Tokens>>, hosts: Hosts) -> Self {
        let [memos, secret_memos] = std::array::from_fn(|_| Default::default());
        Self { memos, secret_memos, header_bytes_max, tokens, hosts }
    }

    /// Parses the head at `at`, appends what it says to `into`, and returns where it ends. `None`:
    /// it is not complete; `scanned` then says how many of its bytes need not be looked at again,
    /// and is to be handed in with the next call.
    ///
    /// # Errors
    /// See [`Error`]. What follows in the input can't be trusted to be a request.
    #[inline]
    pub fn parse(
        &mut self,
        input: &[u8],
        at: usize,
        scanned: &mut usize,
        into: &mut Vec<Parsed>,
    ) -> Result<Option<usize>, Error> {
        if let Some(end) = self.recall(input, at, into) {
            *scanned = 0;
            return Ok(Some(end));
        }
        if at == input.len() {
            *scanned = 0;
            return Ok(None);
        }
        if let Some(end) = self.recall_secret(input, at, into) {
            *scanned = 0;
            return Ok(Some(end));
        }
        self.parse_in_full(input, at, scanned, into)
    }

    /// The fast way: a plain path, and a field block that was accepted before.
    #[inline]
    fn recall(&self, input: &[u8], at: usize, into: &mut Vec<Parsed>) -> Option<usize> {
        self.recall_from(&self.memos, |block, memo| block.starts_with(&memo.block), input, at, into)
    }

    /// The same for a block with credentials. How long the comparison takes tells nothing of them:
    /// they come last, and are compared as a whole.
    #[inline(never)]
    fn recall_secret(&self, input: &[u8], at: usize, into: &mut Vec<Parsed>) -> Option<usize> {
        let same = |rest: &[u8], memo: &Memo| {
            let Some(block) = rest.get(..memo.block.len()) else { return false };
            let Range { start, end } = memo.secret;
            block[..start] == memo.block[..start]
                && block[end..] == memo.block[end..]
                && access::equal(&block[start..end], &memo.block[start..end])
        };
        self.recall_from(&self.secret_memos, same, input, at, into)
    }

    #[inline(always)] // Into both of them.
    fn recall_from(
        &self,
        memos: &[Memos; 5],
        same: impl Fn(&[u8], &Memo) -> bool,
        input: &[u8],
        at: usize,
        into: &mut Vec<Parsed>,
    ) -> Option<usize> {
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
        into.push(Parsed {
            method,
            target: Target::Path { escaped },
            fields: memo.fields,
            path_at: path.start as u32,
            path_len: path.len() as u32,
            body_at: head_end as u32,
            body_len: 0,
        });
        Some(head_end)
    }

    #[cold]
    fn parse_in_full(
        &mut self,
        input: &[u8],
        at: usize,
        scanned: &mut usize,
        into: &mut Vec<Parsed>,
    ) -> Result<Option<usize>, Error> {
        let bytes = &input[..input.len().min(at.saturating_add(self.header_bytes_max))];
        let before = *scanned;
        let end = match find_end(&bytes[at..], scanned) {
            Ok(Some(end)) => at + end,
            // What is wrong first decides, however the bytes were split: what there is of a head
            // is checked before anything is said of what follows. So nonsense is answered at once,
            // too, and not when the time for a whole head has run out.
            Ok(None) => {
                check_start(bytes, at, before)?;
                if bytes.len() == input.len() {
                    return Ok(None);
                }
                let line = memchr::memchr(b'\n', &bytes[at..]);
                return Err(if line.is_some() {
                    Error::HeadersTooLarge
                } else {
                    Error::RequestLineTooLong
                });
            }
            Err(newline) => {
                check_start(&bytes[..at + newline], at, before)?;
                return Err(Error::BareLineFeed);
            }
        };
        *scanned = 0;
        let head = &input[..end];
        let Some(line) = request_line::read(head, at, 0)? else { return Err(Error::RequestLine) };
        let lines = &head[line.end..];
        // Most heads have few fields; room for all that there may be takes longer to prepare than
        // they take to be read.
        let (mut few, mut many);
        few = [EMPTY_HEADER; HEADERS_COMMON];
        let result = match httparse::parse_headers(lines, &mut few) {
            Err(httparse::Error::TooManyHeaders) => {
                many = [EMPTY_HEADER; HEADERS_MAX];
                httparse::parse_headers(lines, &mut many)
            }
            result => result,
        };
        let Status::Complete((_, headers)) = result.map_err(explain)? else {
            return Err(Error::HeaderField);
        };
        let mut fields = Fields::read(&line, headers, self.tokens.as_deref(), &self.hosts)?;
        // Who asks for a tunnel sends nothing before the answer (RFC 9110 §9.3.6).
        fields.expects_continue |= line.method == Method::Connect;
        // What an absolute target says counts as well, and is not part of what is remembered.
        if line.authority.is_none() {
            self.remember(line.method, &head[line.target_end..], headers, fields);
        }
        into.push(Parsed {
            method: line.method,
            target: line.target,
            fields,
            path_at: line.path.start as u32,
            path_len: line.path.len() as u32,
            body_at: end as u32,
            body_len: 0,
        });
        Ok(Some(end))
    }

    fn remember(&mut self, method: Method, block: &[u8], headers: &[Header<'_>], fields: Fields) {
        if block.len() > MEMO_BYTES_MAX || fields.framing == Framing::Chunked {
            return;
        }
        let secret = secret(block, headers);
        let all = if secret.is_empty() { &mut self.memos } else { &mut self.secret_memos };
        let Some(memos) = all.get_mut(method as usize) else { return };
        if memos.memos.len() < MEMOS_PER_METHOD {
            memos.memos.push(Memo { block: block.to_vec(), secret, fields });
            return;
        }
        let memo = &mut memos.memos[memos.next % MEMOS_PER_METHOD];
        memo.block.clear();
        memo.block.extend_from_slice(block);
        memo.secret = secret;
        memo.fields = fields;
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

/// Finds the end of the head, behind its blank line, going on at `scanned`; or where an LF
/// stands alone.
///
/// A line that ends with LF alone is refused, although RFC 9112 §2.2 lets a recipient accept it:
/// a proxy in front may see the head end elsewhere.
fn find_end(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, usize> {
    for newline in memchr::memchr_iter(b'\n', &bytes[*scanned..]) {
        let newline = *scanned + newline;
        if newline == 0 || bytes[newline - 1] != b'\r' {
            return Err(newline);
        }
        if bytes[..newline].ends_with(b"\r\n\r") {
            return Ok(Some(newline + 1));
        }
    }
    *scanned = bytes.len();
    Ok(None)
}

/// Checks the start of a head, of which `checked` bytes were found to be in order before.
fn check_start(head: &[u8], at: usize, checked: usize) -> Result<(), Error> {
    let fields_at = match memchr::memchr(b'\n', &head[at..at + checked]) {
        Some(newline) => at + newline + 1,
        None => match request_line::read(head, at, checked)? {
            Some(line) => line.end,
            None => return Ok(()),
        },
    };
    // A line is looked at when it is complete, or has a byte that no line has. The last byte from
    // before belongs to what is new: it may be a CR that now turns out to end no line.
    let line_at = memchr::memrchr(b'\n', &head[fields_at..]).map_or(0, |newline| newline + 1);
    let line_at = fields_at + line_at;
    let new = &head[line_at.max(at + checked.saturating_sub(1))..];
    let new = new.strip_suffix(b"\r").unwrap_or(new);
    let end = if new.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        head.len()
    } else if line_at > at + checked {
        line_at
    } else {
        return Ok(());
    };
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    httparse::parse_headers(&head[fields_at..end], &mut headers).map_err(explain)?;
    Ok(())
}

/// Says in the server's own terms what httparse objected to.
fn explain(error: httparse::Error) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::HeadersTooMany,
        _ => Error::HeaderField,
    }
}
