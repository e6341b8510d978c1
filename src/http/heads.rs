//! The starts of responses, rendered ahead of time.

use std::time::{Duration, Instant};

use super::date;
use super::status::Status;

/// How often the wall clock is looked at for the Date field.
const DATE_CHECK: Duration = Duration::from_millis(50);

/// Bodies shorter than this, in bytes, have their heads rendered as a whole ahead of time.
const SHORT_BODY_BYTES: usize = 64;

/// Bytes that a rendered head is copied with, whatever its length: a constant number takes a few
/// wide moves, any other a call.
const HEAD_BYTES: usize = 96;

/// Bytes of the bodies that are appended together with their heads.
const WORD_BYTES: usize = 8;

/// A head that is rendered from its status line to its blank line.
#[derive(Debug, Clone, Copy)]
pub(super) struct WholeHead {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

impl WholeHead {
    /// The parts, one behind the other. They fit: all that a head which is rendered ahead of time
    /// consists of has a fixed length, but for the two digits of a short body's.
    fn of(parts: &[&[u8]]) -> Self {
        let mut bytes = [0; HEAD_BYTES];
        let mut len = 0;
        for part in parts {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        assert!(len + WORD_BYTES <= HEAD_BYTES, "there is room for a short body");
        Self { bytes, len }
    }

    #[inline]
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }

    /// The same with the first `length` bytes of a word behind it.
    #[inline]
    pub(super) fn append_with_word(
        &self,
        word: [u8; WORD_BYTES],
        length: usize,
        out: &mut Vec<u8>,
    ) {
        let end = out.len() + self.len + length;
        out.extend_from_slice(&self.bytes);
        if let Some(appended) = out.last_chunk_mut::<HEAD_BYTES>()
            && let Some(body) = appended.get_mut(self.len..self.len + WORD_BYTES)
        {
            body.copy_from_slice(&word);
        }
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
    to_program: ClientHeads,
    to_browser: ClientHeads,
}

/// What responses to one kind of client start with.
#[derive(Debug)]
pub(super) struct ClientHeads {
    /// The fields that every response has: Date, if it is there, and a browser's.
    pub(super) fields: Vec<u8>,
    /// A 200 up to its Content-Length's digits.
    pub(super) ok: Vec<u8>,
    /// Left out for browsers, which don't pipeline.
    pub(super) whole: Option<WholeHeads>,
}

/// The commonest heads as a whole.
#[derive(Debug)]
pub(super) struct WholeHeads {
    /// Whole heads of a 200 by the body's length.
    pub(super) ok_short: [WholeHead; SHORT_BODY_BYTES],
    pub(super) created: WholeHead,
    pub(super) no_content: WholeHead,
    pub(super) not_found: WholeHead,
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

    fn render(dated: bool, second: u64) -> [ClientHeads; 2] {
        let date = date_field(dated, second);
        let to_program = ClientHeads::new(date.clone());
        let whole = Some(WholeHeads::new(&to_program));
        let to_browser = ClientHeads::new([&date[..], BROWSER_FIELDS].concat());
        [ClientHeads { whole, ..to_program }, to_browser]
    }

    /// Those for a browser, or for any other client.
    #[inline]
    pub(super) fn of(&self, to_browser: bool) -> &ClientHeads {
        if to_browser { &self.to_browser } else { &self.to_program }
    }
}

/// The Date field's line, or nothing.
fn date_field(dated: bool, second: u64) -> Vec<u8> {
    if dated { [b"Date: ", date::render(second).as_bytes(), b"\r\n"].concat() } else { Vec::new() }
}

impl ClientHeads {
    /// Those of a response that is sent now, for which none were rendered ahead of time.
    pub(super) fn at_once(dated: bool) -> Self {
        Self::new(date_field(dated, date::seconds_now()))
    }

    fn new(fields: Vec<u8>) -> Self {
        let mut rendered = Self { fields, ok: Vec::new(), whole: None };
        rendered.ok = [&rendered.start(Status::Ok)[..], b"Content-Length: "].concat();
        rendered
    }

    /// The fields that every response has, but for those that keep a browser from running what is
    /// in it.
    pub(super) fn own_fields(&self) -> &[u8] {
        self.fields.strip_suffix(BROWSER_FIELDS).unwrap_or(&self.fields)
    }

    fn start(&self, status: Status) -> Vec<u8> {
        [b"HTTP/1.1 ", status.line().as_bytes(), b"\r\n", &self.fields].concat()
    }
}

impl WholeHeads {
    fn new(rendered: &ClientHeads) -> Self {
        let start = |status| rendered.start(status);
        Self {
            ok_short: std::array::from_fn(|length| {
                WholeHead::of(&[&rendered.ok, length.to_string().as_bytes(), b"\r\n\r\n"])
            }),
            created: WholeHead::of(&[&start(Status::Created), b"Content-Length: 0\r\n\r\n"]),
            no_content: WholeHead::of(&[&start(Status::NoContent), b"\r\n"]),
            not_found: WholeHead::of(&[&start(Status::NotFound), b"Content-Length: 0\r\n\r\n"]),
        }
    }
}
