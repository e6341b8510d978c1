//! Responses: heads rendered ahead of time, and the writer that handlers append with.

use std::time::{Duration, Instant};

use super::counters::Counters;
use super::date;
use super::fields::Persistence;
use super::handler::Refusal;
use super::method::Method;
use super::request::Request;
use super::status::Status;
use crate::net::{Output, Payload};

/// How often the wall clock is looked at for the Date field.
const DATE_CHECK: Duration = Duration::from_millis(50);

/// Bodies shorter than this, in bytes, have their heads rendered as a whole ahead of time.
const SHORT_BODY_BYTES: usize = 64;

/// Bytes that a rendered head is copied with, whatever its length: a constant number takes a few
/// wide moves, any other a call.
const HEAD_BYTES: usize = 96;

/// A whole head of a response.
#[derive(Debug, Clone, Copy)]
struct Head {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

impl Head {
    /// The parts, one behind the other. They fit: all that a head which is rendered ahead of time
    /// consists of has a fixed length, but for the two digits of a short body's.
    fn of(parts: &[&[u8]]) -> Self {
        let mut bytes = [0; HEAD_BYTES];
        let mut len = 0;
        for part in parts {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        Self { bytes, len }
    }

    #[inline]
    fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

/// What every final response to a browser has behind its Date: it takes no value for another type
/// than it is said to be of, and runs no script in what it shows (Content Security Policy, W3C).
const BROWSER_FIELDS: &[u8] =
    b"X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n";

/// What responses start with, rendered once a second.
#[derive(Debug)]
pub(super) struct Heads {
    dated: bool,
    second: u64,
    next_check: Option<Instant>,
    to_program: Rendered,
    to_browser: Rendered,
}

/// What responses to one kind of client start with.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The fields that every response has: Date, if it is there, and a browser's.
    fields: Vec<u8>,
    /// A 200 up to its Content-Length's digits.
    ok: Vec<u8>,
    /// Left out for browsers, which don't pipeline.
    pub(super) whole: Option<WholeHeads>,
}

/// The commonest heads as a whole.
#[derive(Debug)]
pub(super) struct WholeHeads {
    /// Whole heads of a 200 by the body's length.
    ok_short: [Head; SHORT_BODY_BYTES],
    created: Head,
    no_content: Head,
    not_found: Head,
}

impl Heads {
    pub(super) fn new(dated: bool) -> Self {
        let second = date::seconds_now();
        let [to_program, to_browser] = Self::render(dated, second);
        Self { dated, second, next_check: None, to_program, to_browser }
    }

    /// Renders the heads anew if another second has begun.
    #[inline]
    pub(super) fn refresh(&mut self, now: Instant) {
        if !self.dated || self.next_check.is_some_and(|check| now < check) {
            return;
        }
        self.next_check = Some(now + DATE_CHECK);
        let second = date::seconds_now();
        if second != self.second {
            self.second = second;
            [self.to_program, self.to_browser] = Self::render(self.dated, second);
        }
    }

    fn render(dated: bool, second: u64) -> [Rendered; 2] {
        let date = [b"Date: ", date::render(second).as_bytes(), b"\r\n"].concat();
        let date = if dated { &date[..] } else { &[] };
        let to_program = Rendered::new(date.to_vec());
        let whole = Some(WholeHeads::new(&to_program));
        let to_browser = Rendered::new([date, BROWSER_FIELDS].concat());
        [Rendered { whole, ..to_program }, to_browser]
    }

    /// Those for a browser, or for any other client.
    #[inline]
    pub(super) fn of(&self, to_browser: bool) -> &Rendered {
        if to_browser { &self.to_browser } else { &self.to_program }
    }
}

impl Rendered {
    fn new(fields: Vec<u8>) -> Self {
        let mut rendered = Self { fields, ok: Vec::new(), whole: None };
        rendered.ok = [&rendered.start(Status::Ok)[..], b"Content-Length: "].concat();
        rendered
    }

    fn start(&self, status: Status) -> Vec<u8> {
        [b"HTTP/1.1 ", status.line().as_bytes(), b"\r\n", &self.fields].concat()
    }
}

impl WholeHeads {
    fn new(rendered: &Rendered) -> Self {
        let start = |status| rendered.start(status);
        Self {
            ok_short: std::array::from_fn(|length| {
                Head::of(&[&rendered.ok, length.to_string().as_bytes(), b"\r\n\r\n"])
            }),
            created: Head::of(&[&start(Status::Created), b"Content-Length: 0\r\n\r\n"]),
            no_content: Head::of(&[&start(Status::NoContent), b"\r\n"]),
            not_found: Head::of(&[&start(Status::NotFound), b"Content-Length: 0\r\n\r\n"]),
        }
    }
}

/// Whether no Connection field tells of the persistence.
#[inline]
fn says_nothing(persistence: Persistence) -> bool {
    matches!(persistence, Persistence::Default | Persistence::OldClose)
}

/// Payloads that a connection may pile up before its requests have to wait until they are sent, in
/// bytes: each keeps its value's memory from being used for something else. The last one comes on
/// top.
pub(super) const OUTPUT_PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// Why the last requests of a batch are not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postponed {
    /// The output is full.
    Full,
    /// What they need is in use.
    Busy,
}

/// Appends responses to a connection's output.
#[derive(Debug)]
pub struct Responses<'a> {
    /// Requests at the end of the batch that are to come again, and why.
    pub(super) postponed: Option<(usize, Postponed)>,
    pub(super) output: &'a mut Output,
    pub(super) heads: &'a Rendered,
    /// The whole ones of `heads`, if there are any.
    pub(super) whole: Option<&'a WholeHeads>,
    pub(super) counters: &'a Counters,
    pub(super) now: Instant,
}

impl Responses<'_> {
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
            Some(head) if says_nothing(persistence) => head.append_to(self.output.bytes()),
            _ => self.ok_head_in_full(persistence, length),
        }
    }

    #[inline(never)]
    fn ok_head_in_full(&mut self, persistence: Persistence, length: usize) {
        if says_nothing(persistence) {
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

    /// Whether the payloads are so many that requests for more have to wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.output.payload_bytes() >= OUTPUT_PAYLOAD_BYTES_MAX
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

    fn body_head(&mut self, request: &Request<'_>, content_type: &str, length: usize) {
        self.count(request.method, Status::Ok);
        self.start(Status::Ok, request.fields.persistence);
        self.field(("Content-Type", content_type));
        self.content_length(length);
    }

    /// Answers with an empty body.
    #[inline]
    pub fn empty(&mut self, method: Method, persistence: Persistence, status: Status) {
        self.count(method, status);
        let Some(whole) = self.whole.filter(|_| says_nothing(persistence)) else {
            return self.empty_in_full(persistence, status);
        };
        let head = match status {
            Status::Created => &whole.created,
            Status::NoContent => &whole.no_content,
            Status::NotFound => &whole.not_found,
            _ => return self.empty_in_full(persistence, status),
        };
        head.append_to(self.output.bytes());
    }

    #[cold]
    fn empty_in_full(&mut self, persistence: Persistence, status: Status) {
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
        let out = self.output.bytes();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.line().as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.heads.fields);
        match persistence {
            Persistence::Default | Persistence::OldClose => {}
            Persistence::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            Persistence::Close => out.extend_from_slice(b"Connection: close\r\n"),
        }
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
