//! A request's head: request line and header fields.
//!
//! Every head is checked by httparse once. Clients send the same header fields over and over, so
//! the parser remembers the last heads from ` HTTP/1.1` to the blank line: bytes equal to ones
//! that were accepted before are accepted again, with the same meaning, and only the target is
//! new. That is sound because [`Fields`] is a pure function of the method and those bytes.

use std::mem::MaybeUninit;
use std::sync::Arc;

use httparse::{EMPTY_HEADER, Header};

use super::access::Tokens;
use super::error::Error;
use super::fields::{Fields, Framing};
use super::handler::Refusal;
use super::hosts::{self, Hosts};
use super::method::Method;
use super::origin::{self, Origin};
use super::target::{self, Target};

/// Header fields in one request.
const HEADERS_MAX: usize = 100;

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
    header_bytes_max: usize,
    tokens: Option<Arc<Tokens>>,
    hosts: Hosts,
}

impl HeadParser {
    /// A parser for heads of up to `header_bytes_max` bytes, request line included, that are sent
    /// to a server of the names `hosts`. With `tokens`, credentials are checked against them.
    #[must_use]
    pub fn new(header_bytes_max: usize, tokens: Option<Arc<Tokens>>, hosts: Hosts) -> Self {
        Self { memos: std::array::from_fn(|_| Memos::default()), header_bytes_max, tokens, hosts }
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
        self.parse_in_full(input, at, scanned, into)
    }

    /// The fast way: a plain path, and a field block that was accepted before.
    #[inline]
    fn recall(&self, input: &[u8], at: usize, into: &mut Vec<Parsed>) -> Option<usize> {
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
        let memos = &self.memos[method as usize].memos;
        let memo = memos.iter().find(|memo| rest.starts_with(&memo.block))?;
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
        let bytes = &input[at..input.len().min(at + self.header_bytes_max)];
        let before = *scanned;
        let end = match find_end(bytes, scanned) {
            Ok(Some(end)) => end,
            // The first line that is wrong decides, however the bytes were split: lines that are
            // complete are checked before anything is said of what follows them. So nonsense is
            // answered at once, too, and not when the time for a whole head has run out.
            Ok(None) => {
                check_lines(bytes, before)?;
                if input.len() - at <= self.header_bytes_max {
                    return Ok(None);
                }
                let line = memchr::memchr(b'\n', bytes);
                return Err(if line.is_some() {
                    Error::HeadersTooLarge
                } else {
                    Error::RequestLineTooLong
                });
            }
            Err(newline) => {
                check_lines(&bytes[..newline], before)?;
                return Err(Error::BareLineFeed);
            }
        };
        *scanned = 0;
        let head = &input[..at + end];
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        request
            .parse_with_uninit_headers(&head[at..], &mut headers)
            .map_err(|error| explain(error, &head[at..]))?;
        let (Some(token), Some(path), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(Error::RequestLine);
        };
        let method = Method::from_token(token.as_bytes());
        // Exactly one space stands between method and target: httparse takes no more.
        let target_at = at + token.len() + 1;
        let target_end = target_at + path.len();
        let (target, path, authority) = target::parse(head, target_at..target_end, method)?;
        let line = (method, authority, minor);
        let fields = Fields::read(line, request.headers, self.tokens.as_deref(), &self.hosts)?;
        // What an absolute target says counts as well, and is not part of what is remembered.
        if authority.is_none() {
            self.remember(method, &head[target_end..], fields);
        }
        into.push(Parsed {
            method,
            target,
            fields,
            path_at: path.start as u32,
            path_len: path.len() as u32,
            body_at: head.len() as u32,
            body_len: 0,
        });
        Ok(Some(head.len()))
    }

    fn remember(&mut self, method: Method, block: &[u8], fields: Fields) {
        let Some(memos) = self.memos.get_mut(method as usize) else { return };
        if block.len() > MEMO_BYTES_MAX || fields.framing == Framing::Chunked {
            return;
        }
        if memos.memos.len() < MEMOS_PER_METHOD {
            memos.memos.push(Memo { block: block.to_vec(), fields });
            return;
        }
        let memo = &mut memos.memos[memos.next % MEMOS_PER_METHOD];
        memo.block.clear();
        memo.block.extend_from_slice(block);
        memo.fields = fields;
        memos.next = memos.next.wrapping_add(1);
    }
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

/// Checks the complete lines at the start of a head, if one was completed behind `before`.
fn check_lines(bytes: &[u8], before: usize) -> Result<(), Error> {
    let Some(newline) = memchr::memrchr(b'\n', &bytes[before..]) else { return Ok(()) };
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let lines = &bytes[..=before + newline];
    httparse::Request::new(&mut headers).parse(lines).map_err(|error| explain(error, lines))?;
    Ok(())
}

/// Says in the server's own terms what httparse objected to.
fn explain(error: httparse::Error, head: &[u8]) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::HeadersTooMany,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Error::HeaderField,
        httparse::Error::Version if names_a_version(head) => Error::Version,
        // In which line it stands, the first line alone tells.
        httparse::Error::NewLine if starts_well(head) => Error::HeaderField,
        _ => Error::RequestLine,
    }
}

/// Whether the request line is well-formed.
fn starts_well(head: &[u8]) -> bool {
    let end = memchr::memchr(b'\n', head).map_or(head.len(), |newline| newline + 1);
    httparse::Request::new(&mut []).parse(&head[..end]).is_ok()
}

/// Whether the request line ends with a well-formed version, if not one that is supported.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let version = line.split(|&byte| byte == b' ').nth(2).unwrap_or_default();
    let three_parts = line.split(|&byte| byte == b' ').count() == 3;
    three_parts
        && matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit())
}
