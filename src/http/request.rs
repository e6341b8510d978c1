//! Requests as a handler sees them: views into the bytes that were received.

use super::accept::{self, Quality};
use super::details::Details;
use super::fields::Fields;
use super::kept::KeptFields;
use super::method::Method;
use super::parsed_request::ParsedRequest;
use super::refusal::Refusal;
use super::target::Target;
use crate::net::Class;

/// Requests handed to a handler at once. More does not help the prefetching, and fewer bytes
/// of output can pile up between two looks at its limit.
pub const REQUESTS_PER_BATCH_MAX: usize = 32;

/// One request, head and body.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// What the target names.
    pub target: Target,
    /// The path behind its first `/`, decoded, without the query but for its
    /// [`KeyParameters`](super::KeyParameters).
    pub path: &'a [u8],
    /// What the header fields say.
    pub fields: &'a Fields,
    /// The body, whole; empty if it is handed over in pieces.
    pub body: &'a [u8],
    /// Where the connection came in.
    pub class: Class,
    /// The lines of the header fields, with the blank line; empty if they are not at hand.
    pub lines: &'a [u8],
    /// What came before the end of the target, for [`query`](Self::query); empty if it is not at hand.
    pub through_target: &'a [u8],
}

impl<'a> Request<'a> {
    /// The target's query as it was sent: what is behind the first `?`. Empty if there is none. Takes
    /// time linear in the target's length.
    #[must_use]
    pub fn query(&self) -> &'a [u8] {
        // A target has no space in it, and one before it.
        let start = memchr::memrchr(b' ', self.through_target).map_or(0, |space| space + 1);
        let target = &self.through_target[start..];
        memchr::memchr(b'?', target).map_or(&[], |mark| &target[mark + 1..])
    }

    /// How much the client likes a media type, by its Accept fields; `None` if they don't say, or are not at
    /// hand. Takes time linear in the head's length.
    #[must_use]
    pub fn quality(&self, media_type: &str) -> Option<Quality> {
        accept::quality(self.lines, media_type)
    }

    /// Reads what the fields say that few requests have ([`Fields::extras`]).
    ///
    /// # Errors
    /// The answer, if one of them is malformed and the request can't go on without it.
    pub fn details(&self, kept: &KeptFields) -> Result<Details, Refusal> {
        if self.fields.extras.is_empty() {
            return Ok(Details::default());
        }
        Details::read(self.method, self.lines, kept)
    }
}

/// What stands between a target and the first field's line.
const VERSION_BYTES: u32 = b" HTTP/1.1\r\n".len() as u32;

/// Where the bytes of a connection's requests are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) input: &'a [u8],
    /// The paths that had to be decoded or completed, one behind the other.
    pub(super) decoded: &'a [u8],
    pub(super) class: Class,
}

impl<'a> Source<'a> {
    #[inline(always)] // Into the loops over a batch.
    pub(super) fn request(self, parsed: &'a ParsedRequest) -> Request<'a> {
        debug_assert!(parsed.body_at as usize + parsed.body_len as usize <= self.input.len());
        let path = if parsed.target.is_escaped() {
            self.decoded_path(parsed)
        } else {
            part(self.input, parsed.path_at, parsed.path_len)
        };
        let lines_at = parsed.target_end + VERSION_BYTES;
        Request {
            method: parsed.method,
            target: parsed.target,
            path,
            fields: &parsed.fields,
            body: part(self.input, parsed.body_at, parsed.body_len),
            class: self.class,
            lines: part(self.input, lines_at, parsed.body_at.saturating_sub(lines_at)),
            through_target: part(self.input, 0, parsed.target_end),
        }
    }

    #[cold]
    fn decoded_path(self, parsed: &ParsedRequest) -> &'a [u8] {
        part(self.decoded, parsed.path_at, parsed.path_len)
    }
}

/// A part that lies within the bytes. That the compiler need not keep a panic for it lets it leave
/// out the part of a request that a caller does not ask for.
#[inline(always)] // Into the loops over a batch.
fn part(bytes: &[u8], at: u32, len: u32) -> &[u8] {
    bytes.get(at as usize..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default()
}

/// A request of a batch, of which only what is asked for is looked at.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    source: Source<'a>,
    parsed: &'a ParsedRequest,
}

impl<'a> RequestView<'a> {
    /// All of it.
    #[must_use]
    #[inline]
    pub fn request(self) -> Request<'a> {
        self.source.request(self.parsed)
    }

    /// The path of a GET that asks for nothing else, if it is one.
    #[must_use]
    #[inline(always)] // Into the loops over a batch.
    pub fn plain_get(self) -> Option<&'a [u8]> {
        (self.parsed.method == Method::Get).then_some(())?;
        self.plain_path()
    }

    /// The path and the body of a PUT or POST that asks for nothing else, if it is one.
    #[must_use]
    #[inline(always)] // Into the loops over a batch.
    pub fn plain_write(self) -> Option<PlainWrite<'a>> {
        let Self { source, parsed } = self;
        let ParsedRequest { method, fields, .. } = parsed;
        (method.takes_body() && fields.unstorable.is_none()).then_some(())?;
        let body = part(source.input, parsed.body_at, parsed.body_len);
        Some(PlainWrite {
            method: *method,
            path: self.plain_path()?,
            body,
            max_age: fields.max_age,
        })
    }

    /// The path, if it is one that was not decoded, and the fields [are plain](Fields::are_plain).
    #[inline(always)] // Into the loops over a batch.
    fn plain_path(self) -> Option<&'a [u8]> {
        let Self { source, parsed } = self;
        let is_plain = parsed.fields.are_plain() && !parsed.target.is_escaped();
        is_plain.then(|| part(source.input, parsed.path_at, parsed.path_len))
    }
}

/// What is to be stored by a PUT or POST that asks for nothing else.
#[derive(Debug, Clone, Copy)]
pub struct PlainWrite<'a> {
    /// The method.
    pub method: Method,
    /// The path behind its first `/`, without the query.
    pub path: &'a [u8],
    /// The body, whole.
    pub body: &'a [u8],
    /// See [`Fields::max_age`].
    pub max_age: Option<u32>,
}

/// A batch of complete requests of one connection, in order, each with what was looked up for it.
#[derive(Debug, Clone, Copy)]
pub struct Requests<'a, L> {
    pub(super) source: Source<'a>,
    pub(super) parsed: &'a [ParsedRequest],
    pub(super) lookups: &'a [L],
}

impl<'a, L> Requests<'a, L> {
    /// Number of requests, from 1 to [`REQUESTS_PER_BATCH_MAX`].
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.parsed.len()
    }

    /// The requests in order, and how to get at the parts of each.
    #[inline]
    pub fn views(&self) -> impl ExactSizeIterator<Item = (RequestView<'a>, &'a L)> + use<'a, L> {
        let Self { source, parsed, lookups } = self;
        let source = *source;
        parsed
            .iter()
            .zip(*lookups)
            .map(move |(parsed, lookup)| (RequestView { source, parsed }, lookup))
    }

    /// The requests in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Request<'a>, &'a L)> + use<'a, L> {
        let Self { source, parsed, lookups } = self;
        let source = *source;
        parsed.iter().zip(*lookups).map(move |(parsed, lookup)| (source.request(parsed), lookup))
    }
}
