//! A batch: the complete requests at the start of a connection's input.

use super::error::Error;
use super::fields::Framing;
use super::head::{HeadParser, Parsed};

/// Requests that were parsed and not answered yet, with what the handler has worked out about
/// them. Kept for its capacity.
#[derive(Debug, Default)]
pub struct Batch<B> {
    pub(super) parsed: Vec<Parsed>,
    /// Whether they are browsers' requests: all of a batch or none.
    pub(super) is_browsers: bool,
    /// Why it ended, and where in the input; `None` if nothing was parsed since the last answer.
    pub(super) end: Option<(End, usize)>,
    /// The handler's part.
    pub(super) work: B,
}

/// How far a batch may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) requests_max: usize,
    /// A request with a longer body is an error.
    pub(super) body_bytes_max: u64,
    /// A request that addresses another host is refused.
    pub(super) checks_host: bool,
}

/// Why a batch ended.
#[derive(Debug)]
pub(super) enum End {
    /// The next request is not complete, or there is none.
    Input,
    /// It has as many requests as a batch may have.
    Batch,
    /// Its last request closes the connection.
    Close,
    /// A request follows whose body comes in pieces, or which is refused whatever its body is.
    Body(Parsed),
    /// A request follows whose body is too long.
    TooLarge(Parsed),
    Error(Error),
}

impl<B> Batch<B> {
    /// Parses complete requests from `at` on, and calls `each` for every one. `scanned` says how
    /// much of the first head was searched for its end already, and afterwards how much of the
    /// head that is not complete.
    pub(super) fn parse(
        &mut self,
        parser: &mut HeadParser,
        input: &[u8],
        mut at: usize,
        scanned: &mut usize,
        limits: Limits,
        mut each: impl FnMut(&Parsed, &mut B),
    ) {
        self.parsed.clear();
        let end = loop {
            if self.parsed.len() == limits.requests_max {
                break End::Batch;
            }
            // Empty lines before a request line are left over from the body before it, by the
            // count of an old client (RFC 9112 §2.2).
            while input[at..].starts_with(b"\r\n") {
                at += 2;
                *scanned = 0;
            }
            let start = at;
            match parser.parse(input, at, scanned, &mut self.parsed) {
                Ok(Some(head_end)) => at = head_end,
                Ok(None) => break End::Input,
                Err(error) => break End::Error(error),
            }
            let is_first = self.parsed.len() == 1;
            let Some(parsed) = self.parsed.last_mut() else { break End::Input };
            let is_browsers = parsed.fields.origin.is_browser();
            if is_browsers != self.is_browsers {
                if !is_first {
                    self.parsed.pop();
                    at = start;
                    break End::Batch;
                }
                self.is_browsers = is_browsers;
            }
            match parsed.fields.framing {
                Framing::Length(n) if n > limits.body_bytes_max => {
                    let parsed = *parsed;
                    self.parsed.pop();
                    break End::TooLarge(parsed);
                }
                _ if parsed.refusal(limits.checks_host).is_some() => {
                    let parsed = *parsed;
                    self.parsed.pop();
                    break End::Body(parsed);
                }
                Framing::Length(0) => {}
                Framing::Length(n)
                    if n <= (input.len() - at) as u64 && !parsed.fields.expects_continue =>
                {
                    parsed.body_len = n as u32;
                    at += n as usize;
                }
                _ => {
                    let parsed = *parsed;
                    self.parsed.pop();
                    break End::Body(parsed);
                }
            }
            each(parsed, &mut self.work);
            if parsed.fields.persistence.closes() {
                break End::Close;
            }
        };
        self.end = Some((end, at));
    }
}
