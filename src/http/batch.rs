//! A batch: the complete requests at the start of a connection's input.

use super::error::Error;
use super::fields::Framing;
use super::head::HeadParser;
use super::origin::Sender;
use super::parsed_request::ParsedRequest;
use super::query::KeyParameters;
use super::request::{Request, Source};
use super::target::{Target, percent_decode};
use crate::net::Class;

/// Requests that were parsed and not answered yet, with what the handler has looked up for them.
/// Kept for its capacity.
#[derive(Debug)]
pub struct Batch<L> {
    pub(super) parsed: Vec<ParsedRequest>,
    /// One for each of them.
    pub(super) lookups: Vec<L>,
    /// Their paths that had to be decoded or completed, one behind the other.
    pub(super) decoded: Vec<u8>,
    /// Who sends them and whom they mean, the same for all of a batch.
    pub(super) sender: Sender,
    /// Why it ended, and where in the input; `None` if nothing was parsed since the last answer.
    pub(super) end: Option<(End, usize)>,
}

/// By what a connection's batches are parsed.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchRules {
    pub(super) class: Class,
    pub(super) requests_max: usize,
    /// A request with a longer body is an error.
    pub(super) body_bytes_max: u64,
    /// A request that addresses another host is refused.
    pub(super) checks_host: bool,
    /// What of a query is a part of the key.
    pub(super) key_parameters: KeyParameters,
}

/// Why a batch ended.
#[derive(Debug)]
pub(super) enum End {
    /// The next request is not complete, or there is none.
    Incomplete,
    /// Another batch follows: this one has as many requests as it may have, or the next request's
    /// sender is another.
    Full,
    /// Its last request closes the connection.
    Close,
    /// A request follows whose body comes in pieces, or which is refused whatever its body is.
    Body(ParsedRequest),
    /// A request follows whose body is too long.
    TooLarge(ParsedRequest),
    Error(Error),
}

impl<L> Default for Batch<L> {
    fn default() -> Self {
        let (parsed, lookups, decoded) = (Vec::new(), Vec::new(), Vec::new());
        Self { parsed, lookups, decoded, sender: Sender::default(), end: None }
    }
}

impl<L> Batch<L> {
    /// Forgets what was parsed.
    pub(super) fn clear(&mut self) {
        self.parsed.clear();
        self.lookups.clear();
        self.decoded.clear();
        self.sender = Sender::default();
        self.end = None;
    }

    /// Where the bytes of its requests are.
    pub(super) fn source<'a>(&'a self, input: &'a [u8], class: Class) -> Source<'a> {
        Source { input, decoded: &self.decoded, class }
    }

    /// Parses complete requests from `at` on, and looks each of them up. `scanned` says how much of
    /// the first head was searched for its end already, and afterwards how much of the head that is
    /// not complete.
    pub(super) fn parse(
        &mut self,
        parser: &mut HeadParser,
        input: &[u8],
        mut at: usize,
        scanned: &mut usize,
        rules: BatchRules,
        mut look_up: impl FnMut(&Request<'_>) -> L,
    ) {
        self.clear();
        let mut scanned_before = std::mem::take(scanned);
        let end = loop {
            if self.parsed.len() == rules.requests_max {
                break End::Full;
            }
            let rest = &input[at..];
            match parser.recall(rest).filter(|recalled| recalled.fields.sender == self.sender) {
                Some(recalled) if recalled.is_bare => {
                    self.parsed.push(recalled.at(at));
                    at += recalled.end;
                }
                Some(recalled) if recalled.is_complete(rest, rules.body_bytes_max) => {
                    let parsed = recalled.with_body(at);
                    at = (parsed.body_at + parsed.body_len) as usize;
                    self.parsed.push(parsed);
                }
                _ => {
                    *scanned = scanned_before;
                    if let Some(end) = self.parse_other(parser, input, &mut at, scanned, &rules) {
                        break end;
                    }
                }
            }
            scanned_before = 0;
        };
        self.end = Some((end, at));
        let source = Source { input, decoded: &self.decoded, class: rules.class };
        self.lookups.extend(self.parsed.iter().map(|parsed| look_up(&source.request(parsed))));
    }

    /// Parses any other request, from `at` on, which is then where the next one begins, or the one
    /// with which the batch ends.
    #[inline(never)]
    fn parse_other(
        &mut self,
        parser: &mut HeadParser,
        input: &[u8],
        at: &mut usize,
        scanned: &mut usize,
        rules: &BatchRules,
    ) -> Option<End> {
        // Empty lines before a request line are left over from the body before it, by the
        // count of an old client (RFC 9112 §2.2).
        while input[*at..].starts_with(b"\r\n") {
            *at += 2;
            *scanned = 0;
        }
        match parser.parse(input, *at, scanned, &mut self.parsed) {
            Ok(Some(head_end)) => *at = head_end,
            Ok(None) => return Some(End::Incomplete),
            Err(error) => return Some(End::Error(error)),
        }
        let mut parsed = self.parsed.pop()?;
        if parsed.fields.sender != self.sender {
            if let Some((end, end_at)) = end_before(self.parsed.last(), &parsed, rules) {
                *at = end_at;
                return Some(end);
            }
            self.sender = parsed.fields.sender;
        }
        if parsed.target.is_escaped() {
            decode_path(&mut parsed, input, rules.key_parameters, &mut self.decoded);
        }
        match parsed.fields.framing {
            Framing::Length(0) => {}
            Framing::Length(n) if n > rules.body_bytes_max => return Some(End::TooLarge(parsed)),
            Framing::Length(n)
                if n <= (input.len() - *at) as u64 && !parsed.fields.expects_continue =>
            {
                parsed.body_len = n as u32;
                *at += n as usize;
            }
            _ => return Some(End::Body(parsed)),
        }
        self.parsed.push(parsed);
        parsed.fields.persistence.closes().then_some(End::Close)
    }
}

/// Decodes a path behind those that were decoded before, and completes it from its query.
#[cold]
fn decode_path(
    parsed: &mut ParsedRequest,
    input: &[u8],
    key_parameters: KeyParameters,
    decoded: &mut Vec<u8>,
) {
    let start = decoded.len();
    let path_end = (parsed.path_at + parsed.path_len) as usize;
    if percent_decode(parsed.encoded_path(input), decoded) {
        key_parameters.append(&input[path_end..parsed.target_end as usize], decoded);
        parsed.path_at = start as u32;
        parsed.path_len = (decoded.len() - start) as u32;
    } else {
        decoded.truncate(start);
        parsed.target = Target::Undecodable;
    }
}

/// How a batch ends, and where in the input, with a request whose sender is not that of those
/// `before` it, or which is refused. `None`: it is the first, and may stay.
#[cold]
fn end_before(
    before: Option<&ParsedRequest>,
    parsed: &ParsedRequest,
    rules: &BatchRules,
) -> Option<(End, usize)> {
    if let Some(before) = before {
        // It is read once more, as the first of a batch.
        return Some((End::Full, (before.body_at + before.body_len) as usize));
    }
    parsed.refusal(rules.checks_host)?;
    let at = parsed.body_at as usize;
    match parsed.fields.framing {
        Framing::Length(n) if n > rules.body_bytes_max => Some((End::TooLarge(*parsed), at)),
        _ => Some((End::Body(*parsed), at)),
    }
}
