//! A batch: the complete requests at the start of a connection's input.

use super::error::Error;
use super::fields::Framing;
use super::head::{HeadParser, Parsed};
use super::origin::Sender;

/// Requests that were parsed and not answered yet, with what the handler has worked out about
/// them. Kept for its capacity.
#[derive(Debug, Default)]
pub struct Batch<B> {
    pub(super) parsed: Vec<Parsed>,
    /// Who sends them and whom they mean, the same for all of a batch.
    pub(super) sender: Sender,
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
        self.sender = Sender::default();
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
            match parser.parse(input, at, scanned, &mut self.parsed) {
                Ok(Some(head_end)) => at = head_end,
                Ok(None) => break End::Input,
                Err(error) => break End::Error(error),
            }
            let [before @ .., parsed] = &mut self.parsed[..] else { break End::Input };
            if parsed.fields.sender != self.sender {
                if let Some((end, end_at)) = turns(before.last(), parsed, &limits) {
                    self.parsed.pop();
                    at = end_at;
                    break end;
                }
                self.sender = parsed.fields.sender;
            }
            match parsed.fields.framing {
                Framing::Length(0) => {}
                Framing::Length(n) if n > limits.body_bytes_max => {
                    let parsed = *parsed;
                    self.parsed.pop();
                    break End::TooLarge(parsed);
                }
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

/// How a batch ends, and where in the input, with a request whose sender is not that of those
/// `before` it, or which is refused. `None`: it is the first, and may stay.
#[cold]
fn turns(before: Option<&Parsed>, parsed: &Parsed, limits: &Limits) -> Option<(End, usize)> {
    if let Some(before) = before {
        // It is read once more, as the first of a batch.
        return Some((End::Batch, (before.body_at + before.body_len) as usize));
    }
    parsed.refusal(limits.checks_host)?;
    let at = parsed.body_at as usize;
    match parsed.fields.framing {
        Framing::Length(n) if n > limits.body_bytes_max => Some((End::TooLarge(*parsed), at)),
        _ => Some((End::Body(*parsed), at)),
    }
}
