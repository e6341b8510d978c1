//! Responses: what handlers append them with.

use std::time::Instant;

use super::counters::Counters;
use super::fields::Persistence;
use super::heads::{ClientHeads, WholeHeads};
use super::method::Method;
use super::refusal::Refusal;
use super::request::Request;
use super::status::Status;
use crate::net::{Output, Payload};

/// Payloads that a connection may pile up before its requests have to wait until they are sent, in
/// bytes: each keeps its value's memory from being used for something else. The last one comes on
/// top.
pub(super) const OUTPUT_PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// Responses in memory of their own that a batch may pile up before its requests for values that are not
/// short have to wait until they are sent, in bytes: about what a socket takes at once, so that there is
/// little to be copied for later. The last one comes on top.
const OUTPUT_BATCH_BYTES_MAX: usize = 96 << 10;

/// Why the last requests of a batch are not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postponed {
    /// The output is full.
    Full,
    /// They need memory that others use.
    Busy,
}

/// The head of a response, field by field.
#[derive(Debug)]
#[must_use = "a head needs an end"]
pub struct ResponseHead<'r, 'a> {
    responses: &'r mut Responses<'a>,
    method: Method,
}

impl ResponseHead<'_, '_> {
    /// Appends a field.
    pub fn field(self, name: &str, value: &[u8]) -> Self {
        let out = self.responses.output.bytes();
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
        self
    }

    /// Appends whole lines of fields.
    pub fn lines(self, lines: &[u8]) -> Self {
        self.responses.output.bytes().extend_from_slice(lines);
        self
    }

    /// Ends the head of a response whose body has so many bytes; they are to follow unless the
    /// request is a HEAD.
    pub fn body(self, length: usize) {
        self.responses.content_length(length);
    }

    /// Ends a response that has no body, and whose status allows for no length.
    pub fn bodiless(self) {
        self.responses.output.bytes().extend_from_slice(b"\r\n");
    }

    /// Ends a response with one line of text.
    pub fn text(self, line: &str) {
        let Self { responses, method } = self.field("Content-Type", b"text/plain");
        responses.content_length(line.len() + 1);
        if method != Method::Head {
            responses.output.bytes().extend_from_slice(line.as_bytes());
            responses.output.bytes().push(b'\n');
        }
    }
}

/// Appends responses to a connection's output.
#[derive(Debug)]
pub struct Responses<'a> {
    /// Requests at the end of the batch that are to come again, and why.
    postponed: Option<(usize, Postponed)>,
    output: &'a mut Output,
    heads: &'a ClientHeads,
    /// The whole ones of `heads`, if there are any.
    whole: Option<&'a WholeHeads>,
    counters: &'a Counters,
    now: Instant,
}

impl<'a> Responses<'a> {
    #[inline]
    pub(super) fn new(
        output: &'a mut Output,
        heads: &'a ClientHeads,
        counters: &'a Counters,
        now: Instant,
    ) -> Self {
        Self { postponed: None, output, heads, whole: heads.whole.as_ref(), counters, now }
    }

    #[inline]
    pub(super) fn postponed(&self) -> Option<(usize, Postponed)> {
        self.postponed
    }

    /// When the loop woke up.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The output's bytes, for a body behind [`ok_head`](Self::ok_head).
    #[inline]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.output.bytes()
    }

    /// Counts a response that was rendered with [`ok_head`](Self::ok_head).
    #[inline]
    pub fn count(&self, method: Method, status: Status) {
        self.counters.count(method, status);
    }

    /// Appends a 200's head for a body of `length` bytes, without counting it: a handler may
    /// take it back by truncating [`bytes`](Self::bytes).
    #[inline]
    pub fn ok_head(&mut self, persistence: Persistence, length: usize) {
        let Some(whole) = self.whole else { return self.ok_head_in_full(persistence, length) };
        match whole.ok_short.get(length) {
            Some(head) if persistence.field().is_none() => head.append_to(self.output.bytes()),
            _ => self.ok_head_in_full(persistence, length),
        }
    }

    /// Appends a whole 200 on a connection that stays open, with the first `length` bytes of a word as body,
    /// without counting it.
    #[inline]
    pub fn ok_word(&mut self, word: [u8; 8], length: usize) {
        match self.whole {
            Some(whole) => {
                whole.ok_short[length % 16].append_with_word(word, length, self.output.bytes());
            }
            None => {
                self.ok_head_in_full(Persistence::Default, length);
                self.output.bytes().extend_from_slice(&word[..length]);
            }
        }
    }

    #[inline(never)]
    fn ok_head_in_full(&mut self, persistence: Persistence, length: usize) {
        if persistence.field().is_none() {
            self.output.bytes().extend_from_slice(&self.heads.ok);
        } else {
            self.start(Status::Ok, persistence);
            self.output.bytes().extend_from_slice(b"Content-Length: ");
        }
        let mut digits = itoa::Buffer::new();
        let out = self.output.bytes();
        out.extend_from_slice(digits.format(length).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Counts a response and begins its head.
    pub fn head(
        &mut self,
        method: Method,
        persistence: Persistence,
        status: Status,
    ) -> ResponseHead<'_, 'a> {
        self.count(method, status);
        self.start(status, persistence);
        ResponseHead { responses: self, method }
    }

    /// Whether the payloads are so many that requests for more have to wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.output.payload_bytes() >= OUTPUT_PAYLOAD_BYTES_MAX
    }

    /// Whether there is so much beside them that requests for values that are not short have to wait.
    #[must_use]
    #[inline]
    pub fn is_long(&self) -> bool {
        self.output.len() >= OUTPUT_BATCH_BYTES_MAX
    }

    /// Leaves the last `requests` of the batch without a response; they come again.
    pub fn postpone(&mut self, requests: usize, why: Postponed) {
        self.postponed = Some((requests, why));
    }

    /// Appends a body that is sent from where it lies, behind a head.
    pub fn payload(&mut self, payload: Box<dyn Payload>, length: usize) {
        self.output.insert(payload, length);
    }

    /// Answers with a body of some type.
    pub fn body(&mut self, request: &Request<'_>, content_type: &str, body: &[u8]) {
        self.body_head(request, content_type, body.len());
        if request.method != Method::Head {
            self.output.bytes().extend_from_slice(body);
        }
    }

    /// Answers with a body of some type that is sent from where it lies.
    pub fn shared_body(
        &mut self,
        request: &Request<'_>,
        content_type: &str,
        body: Box<dyn Payload>,
        length: usize,
    ) {
        self.body_head(request, content_type, length);
        if request.method != Method::Head {
            self.payload(body, length);
        }
    }

    /// Answers with a page of the server's own that runs a script, which a browser lets it do by
    /// `policy` (Content Security Policy).
    pub fn own_page(
        &mut self,
        request: &Request<'_>,
        content_type: &str,
        policy: &str,
        body: Box<dyn Payload>,
        length: usize,
    ) {
        self.count(request.method, Status::Ok);
        self.start_with(Status::Ok, self.heads.own_fields(), request.fields.persistence);
        for field in [
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", policy),
            ("Cache-Control", "no-cache"),
            ("Content-Type", content_type),
        ] {
            self.field(field);
        }
        self.content_length(length);
        if request.method != Method::Head {
            self.payload(body, length);
        }
    }

    fn body_head(&mut self, request: &Request<'_>, content_type: &str, length: usize) {
        self.count(request.method, Status::Ok);
        self.start(Status::Ok, request.fields.persistence);
        self.field(("Content-Type", content_type));
        self.content_length(length);
    }

    /// Answers with an empty body.
    #[inline]
    pub fn empty(&mut self, method: Method, persistence: Persistence, status: Status) {
        let Some(whole) = self.whole.filter(|_| persistence.field().is_none()) else {
            return self.empty_in_full(method, persistence, status);
        };
        // Each counts by itself, so that the class of its status is known.
        let head = match status {
            Status::NoContent => {
                self.count(method, Status::NoContent);
                &whole.no_content
            }
            Status::Created => {
                self.count(method, Status::Created);
                &whole.created
            }
            Status::NotFound => {
                self.count(method, Status::NotFound);
                &whole.not_found
            }
            _ => return self.empty_in_full(method, persistence, status),
        };
        head.append_to(self.output.bytes());
    }

    #[cold]
    fn empty_in_full(&mut self, method: Method, persistence: Persistence, status: Status) {
        self.count(method, status);
        self.start(status, persistence);
        if status.is_bodiless() {
            self.output.bytes().extend_from_slice(b"\r\n");
        } else {
            self.content_length(0);
        }
    }

    /// Answers with an empty body and one more header field.
    pub fn empty_with(&mut self, request: &Request<'_>, status: Status, field: (&str, &str)) {
        self.count(request.method, status);
        self.start(status, request.fields.persistence);
        self.field(field);
        if status.is_bodiless() {
            self.output.bytes().extend_from_slice(b"\r\n");
        } else {
            self.content_length(0);
        }
    }

    /// Answers with an error that leaves the connection open, unless `persistence` closes it.
    #[cold]
    pub fn refuse(&mut self, method: Method, persistence: Persistence, refusal: Refusal) {
        self.count(method, refusal.status);
        self.start(refusal.status, persistence);
        self.output.bytes().extend_from_slice(b"Content-Type: text/plain\r\n");
        if let Some(field) = refusal.field {
            self.field(field);
        }
        self.content_length(refusal.reason.len() + 1);
        if method != Method::Head {
            let out = self.output.bytes();
            out.extend_from_slice(refusal.reason.as_bytes());
            out.push(b'\n');
        }
    }

    /// Status line, the fields that every response has, and Connection.
    fn start(&mut self, status: Status, persistence: Persistence) {
        self.start_with(status, &self.heads.fields, persistence);
    }

    fn start_with(&mut self, status: Status, fields: &[u8], persistence: Persistence) {
        let out = self.output.bytes();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.line().as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(fields);
        out.extend_from_slice(persistence.field().unwrap_or_default());
    }

    fn field(&mut self, (name, value): (&str, &str)) {
        let out = self.output.bytes();
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Content-Length and the blank line.
    fn content_length(&mut self, length: usize) {
        let mut digits = itoa::Buffer::new();
        let out = self.output.bytes();
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(digits.format(length).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }
}
