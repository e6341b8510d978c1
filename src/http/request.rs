//! Requests as a handler sees them: views into the bytes that were received.

use super::fields::Fields;
use super::head::Parsed;
use super::method::Method;
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
    /// The path behind its first `/`, not decoded, without the query.
    pub path: &'a [u8],
    /// What the header fields say.
    pub fields: &'a Fields,
    /// The body, whole; empty if it is handed over in pieces.
    pub body: &'a [u8],
    /// Where the connection came in.
    pub class: Class,
}

impl<'a> Request<'a> {
    #[inline]
    pub(super) fn new(input: &'a [u8], parsed: &'a Parsed, class: Class) -> Self {
        debug_assert!(parsed.body_at as usize + parsed.body_len as usize <= input.len());
        // Both lie within the input; that the compiler need not keep a panic for it lets it leave
        // out the part that a caller does not ask for.
        let part = |at: u32, len: u32| {
            input.get(at as usize..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default()
        };
        Self {
            method: parsed.method,
            target: parsed.target,
            path: part(parsed.path_at, parsed.path_len),
            fields: &parsed.fields,
            body: part(parsed.body_at, parsed.body_len),
            class,
        }
    }
}

/// A batch of complete requests of one connection, in order.
#[derive(Debug, Clone, Copy)]
pub struct Requests<'a> {
    pub(super) input: &'a [u8],
    pub(super) parsed: &'a [Parsed],
    pub(super) class: Class,
}

impl<'a> Requests<'a> {
    /// Number of requests, from 1 to [`REQUESTS_PER_BATCH_MAX`].
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.parsed.len()
    }

    /// The requests in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Request<'a>> + use<'a> {
        let Self { input, parsed, class } = *self;
        parsed.iter().map(move |parsed| Request::new(input, parsed, class))
    }
}
