//! A request's body that is on its way, in pieces.

use super::access_log::Asked;
use super::chunked::Chunked;
use super::error::Error;
use super::fields::{Framing, Persistence};
use super::handler::Handler;
use super::method::Method;
use super::parsed_request::ParsedRequest;
use super::refusal::Refusal;

/// A request whose body is under way.
#[derive(Debug)]
pub(super) struct Body<P> {
    pub(super) destination: Destination<P>,
    remainder: Remainder,
    pub(super) method: Method,
    pub(super) persistence: Persistence,
    pub(super) is_browsers: bool,
    /// What the access log is to tell of the request, if anything.
    pub(super) asked: Option<Box<Asked>>,
}

/// Where a body goes.
#[derive(Debug)]
pub(super) enum Destination<P> {
    Handler(P),
    /// Nowhere; this is the answer when it has been read.
    Refused(Refusal),
}

/// What of a body was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing, since it needs memory that others use.
    Nothing,
    Some,
    All,
}

/// What of a body is still to come.
#[derive(Debug)]
enum Remainder {
    Bytes(u64),
    Chunks(Chunked),
}

impl Remainder {
    /// How many bytes of the body the input has at most.
    fn bytes_in(&self, input: &[u8]) -> usize {
        match self {
            Self::Bytes(left) => (*left).min(input.len() as u64) as usize,
            Self::Chunks(_) => input.len(),
        }
    }

    /// Whether all of it is in `input`.
    fn ends_within(&self, input: &[u8]) -> bool {
        match self {
            Self::Bytes(n) => *n <= input.len() as u64,
            Self::Chunks(decoder) => {
                decoder.clone().decode(input, |_| {}).is_ok_and(|decoded| decoded.complete)
            }
        }
    }
}

impl<P> Body<P> {
    /// The body of a request, of which nothing has been taken yet.
    pub(super) fn new(
        parsed: &ParsedRequest,
        destination: Destination<P>,
        body_bytes_max: u64,
        trailer_bytes_max: usize,
    ) -> Self {
        let remainder = match parsed.fields.framing {
            Framing::Length(n) => Remainder::Bytes(n),
            Framing::Chunked => Remainder::Chunks(Chunked::new(body_bytes_max, trailer_bytes_max)),
        };
        Self {
            destination,
            remainder,
            method: parsed.method,
            persistence: parsed.fields.persistence,
            is_browsers: parsed.fields.sender.is_browser(),
            asked: None,
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self.destination, Destination::Refused(_))
    }

    /// Notes that nothing of it is to come.
    pub(super) fn has_ended(&mut self) {
        self.remainder = Remainder::Bytes(0);
    }

    /// Whether all that is still to come is in `input`.
    pub(super) fn ends_within(&self, input: &[u8]) -> bool {
        self.remainder.ends_within(input)
    }

    /// Takes what there is of it from `at` on. Whether it is complete, or has to wait.
    pub(super) fn take<H: Handler<Pending = P>>(
        &mut self,
        handler: &mut H,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Taken, Error> {
        let Self { destination, remainder, .. } = self;
        if let Destination::Handler(pending) = destination
            && !handler.admit(pending, remainder.bytes_in(&input[*at..]))
        {
            return Ok(Taken::Nothing);
        }
        let mut append = |bytes: &[u8]| {
            if let Destination::Handler(pending) = destination
                && let Err(refusal) = handler.append(pending, bytes)
            {
                *destination = Destination::Refused(refusal);
            }
        };
        match remainder {
            Remainder::Bytes(left) => {
                let n = (*left).min((input.len() - *at) as u64) as usize;
                append(&input[*at..*at + n]);
                *at += n;
                *left -= n as u64;
                Ok(if *left == 0 { Taken::All } else { Taken::Some })
            }
            Remainder::Chunks(decoder) => {
                let decoded = decoder.decode(&input[*at..], append)?;
                *at += decoded.consumed;
                Ok(if decoded.complete { Taken::All } else { Taken::Some })
            }
        }
    }
}
