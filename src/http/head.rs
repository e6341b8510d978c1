//! A request's head: request line and header fields.
//!
//! Every head is checked once, its fields by httparse. Clients send the same header fields over and
//! over, so the parser remembers the last ones (see `memo.rs`): bytes equal to ones that were
//! accepted before, but for values without a meaning, are accepted again, with the same meaning, and only
//! the target is new.

use httparse::{EMPTY_HEADER, Status};

use super::access::Access;
use super::error::{Error, HEADERS_MAX};
use super::fields::{FieldRules, Fields, Weight};
use super::memo::{Memos, Recalled};
use super::method::Method;
use super::parsed_request::ParsedRequest;
use super::request_line;
use super::tokens::{Grant, HeldTokens};

/// Header fields that most requests do with.
const HEADERS_COMMON: usize = 16;

/// Parses heads; one per event loop.
#[derive(Debug)]
pub struct HeadParser {
    memos: Memos,
    /// Those of the fields of a head that is read in full, kept for its capacity.
    weights: Vec<Weight>,
    header_bytes_max: usize,
    rules: FieldRules,
    /// Those of the rules.
    tokens: Option<HeldTokens>,
}

impl HeadParser {
    /// A parser for heads of up to `header_bytes_max` bytes, request line included, whose fields are
    /// read by these rules.
    #[must_use]
    pub fn new(header_bytes_max: usize, rules: FieldRules) -> Self {
        let memos = Memos::new(header_bytes_max);
        let tokens = rules.tokens.clone().map(HeldTokens::new);
        Self { memos, weights: Vec::new(), header_bytes_max, rules, tokens }
    }

    /// Parses the head at `at`, appends what it says to `into`, and returns where it ends. `None`:
    /// it is not complete; `scanned` then says how many of its bytes need not be looked at again,
    /// and is to be handed in with the next call.
    ///
    /// # Errors
    /// See [`Error`]. What follows in the input can't be trusted to be a request.
    pub fn parse(
        &mut self,
        input: &[u8],
        at: usize,
        scanned: &mut usize,
        into: &mut Vec<ParsedRequest>,
    ) -> Result<Option<usize>, Error> {
        if at == input.len() {
            *scanned = 0;
            return Ok(None);
        }
        let recalled = self.memos.recall_other(false, input, at, into).map(|_| ());
        if recalled.or_else(|| self.recall_secret(input, at, into)).is_some() {
            *scanned = 0;
        } else {
            let Some(parsed) = self.parse_in_full(input, at, scanned)? else { return Ok(None) };
            into.push(parsed);
        }
        Ok(into.last().map(|parsed| parsed.body_at as usize))
    }

    /// The request that the input begins with, if it is one of the commonest kind.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn recall(&mut self, input: &[u8]) -> Option<Recalled<'_>> {
        self.memos.recall(input)
    }

    /// Looks for a head with credentials among those that are remembered. What they allow depends on
    /// the tokens that are in force by now, and on the path.
    fn recall_secret(
        &mut self,
        input: &[u8],
        at: usize,
        into: &mut Vec<ParsedRequest>,
    ) -> Option<()> {
        if self.tokens.as_mut().is_some_and(HeldTokens::refresh) {
            self.memos.forget_secrets();
        }
        let grant = self.memos.recall_other(true, input, at, into)?;
        if let (Some(grant), Some(held), Some(parsed)) = (grant, &self.tokens, into.last_mut()) {
            parsed.fields.access = held.tokens.access(grant, parsed.encoded_path(input));
        }
        Some(())
    }

    /// Checks a head that is not remembered.
    #[cold]
    fn parse_in_full(
        &mut self,
        input: &[u8],
        at: usize,
        scanned: &mut usize,
    ) -> Result<Option<ParsedRequest>, Error> {
        let Some(end) = self.find_head(input, at, scanned)? else { return Ok(None) };
        let head = &input[..end];
        let Some(line) = request_line::read(head, at, 0)? else { return Err(Error::RequestLine) };
        // Most heads have few fields; room for all that there may be takes longer to prepare than
        // they take to be read.
        let mut few = [EMPTY_HEADER; HEADERS_COMMON];
        let mut many = None;
        let lines = &head[line.end..];
        let result = match httparse::parse_headers(lines, &mut few) {
            Err(httparse::Error::TooManyHeaders) => {
                httparse::parse_headers(lines, many.insert([EMPTY_HEADER; HEADERS_MAX]))
            }
            result => result,
        };
        let Status::Complete((_, headers)) = result.map_err(explain)? else {
            return Err(Error::HeaderField);
        };
        self.weights.clear();
        let mut grant = None;
        let access = |authorization: Option<&[u8]>| {
            let Some(HeldTokens { tokens, .. }) = &self.tokens else { return Access::WriteAll };
            let found: Grant = tokens.find(authorization);
            let access = tokens.access(found, &input[line.path.clone()]);
            // Others are the same for all paths.
            grant = Some(found).filter(|_| access != Access::Denied && !access.is_unlimited());
            access
        };
        let mut fields = Fields::read(&line, headers, &self.rules, &mut self.weights, access)?;
        // Who asks for a tunnel sends nothing before the answer (RFC 9110 §9.3.6).
        fields.expects_continue |= line.method == Method::Connect;
        // What an absolute target says counts as well, and is not part of what is remembered.
        if line.authority.is_none() {
            let weighed = headers.iter().zip(self.weights.iter().copied());
            let block = &head[line.target_end..];
            self.memos.remember(line.method, block, weighed, fields, grant);
        }
        let (path, target_end) = (line.path, line.target_end);
        Ok(Some(ParsedRequest::new(line.method, line.target, path, target_end, fields, end)))
    }

    /// Where the head at `at` ends, behind its blank line; `None` if it does not yet.
    fn find_head(
        &self,
        input: &[u8],
        at: usize,
        scanned: &mut usize,
    ) -> Result<Option<usize>, Error> {
        let bytes = &input[..input.len().min(at.saturating_add(self.header_bytes_max))];
        let before = *scanned;
        match find_end(&bytes[at..], scanned) {
            Ok(Some(end)) => {
                *scanned = 0;
                Ok(Some(at + end))
            }
            // What is wrong first decides, however the bytes were split: what there is of a head
            // is checked before anything is said of what follows. So nonsense is answered at once,
            // too, and not when the time for a whole head has run out.
            Ok(None) => {
                check_start(bytes, at, before)?;
                if bytes.len() == input.len() {
                    return Ok(None);
                }
                let has_line = memchr::memchr(b'\n', &bytes[at..]).is_some();
                Err(if has_line { Error::HeadersTooLarge } else { Error::RequestLineTooLong })
            }
            Err(newline) => {
                check_start(&bytes[..at + newline], at, before)?;
                Err(Error::BareLineFeed)
            }
        }
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
