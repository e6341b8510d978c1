//! Status line and header fields.

use std::mem::MaybeUninit;

use super::garbage::Garbage;

/// The longest head that is accepted, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most header fields that are accepted.
const FIELDS_MAX: usize = 100;

const NO_STATUS_LINE: Garbage = Garbage("not an HTTP/1 status line");

/// What a head says about its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) keep_alive: bool,
    pub(super) framing: Framing,
}

impl Head {
    /// Whether there is no body, whatever the fields say.
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// The length of the body, if it is known, in the answer to anything but HEAD.
    pub(super) fn body_length(&self) -> Option<u64> {
        match self.framing {
            _ if self.is_bodiless() => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What the fields said so far.
#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    is_chunked: bool,
    has_close: bool,
    has_keep_alive: bool,
}

/// Parses a head from the beginning of `bytes` and returns its length too, or nothing if its end
/// hasn't come yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Garbage> {
    // Empty lines before a response would be the rest of a body whose length was wrong.
    if bytes.first().is_some_and(|&byte| byte != b'H') {
        return Err(NO_STATUS_LINE);
    }
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut room)
        .map_err(explain)?;
    let httparse::Status::Complete(end) = parsed else {
        // All that there is belongs to the head.
        check_size(bytes.len())?;
        return check_line_ends(bytes).and(Ok(None));
    };
    check_size(end)?;
    check_line_ends(&bytes[..end])?;
    let status = response.code.filter(|&status| status >= 100).ok_or(NO_STATUS_LINE)?;
    let mut fields = Fields::default();
    response.headers.iter().try_for_each(|field| fields.add(field))?;
    let framing = match (fields.length, fields.is_chunked) {
        (Some(_), true) => return Err(Garbage("both Content-Length and Transfer-Encoding")),
        (Some(length), false) => Framing::Length(length),
        (None, true) => Framing::Chunked,
        (None, false) => Framing::UntilClose,
    };
    let keep_alive = !fields.has_close
        && (response.version == Some(1) || fields.has_keep_alive)
        && (framing != Framing::UntilClose || matches!(status, 100..200 | 204 | 304));
    Ok(Some((Head { status, keep_alive, framing }, end)))
}

fn check_size(length: usize) -> Result<(), Garbage> {
    if length > HEAD_BYTES_MAX { Err(Garbage("a head of more than 16 KiB")) } else { Ok(()) }
}

/// httparse takes a line feed alone for the end of a line; no server is known to send one.
fn check_line_ends(head: &[u8]) -> Result<(), Garbage> {
    let is_right = |end: usize| end > 0 && head[end - 1] == b'\r';
    if memchr::memchr_iter(b'\n', head).all(is_right) {
        Ok(())
    } else {
        Err(Garbage("a line that ends without CR"))
    }
}

fn explain(error: httparse::Error) -> Garbage {
    match error {
        httparse::Error::HeaderName => Garbage("a malformed header field name"),
        httparse::Error::HeaderValue => Garbage("a malformed header field value"),
        httparse::Error::NewLine => Garbage("a malformed end of line"),
        httparse::Error::TooManyHeaders => Garbage("more than 100 header fields"),
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {
            NO_STATUS_LINE
        }
    }
}

impl Fields {
    fn add(&mut self, field: &httparse::Header<'_>) -> Result<(), Garbage> {
        let value = field.value.trim_ascii();
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => self.add_length(value),
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
                if self.is_chunked {
                    Ok(())
                } else {
                    Err(Garbage("a transfer coding other than chunked"))
                }
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                self.add_connection(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Garbage> {
        // 19 digits always fit into 64 bits.
        if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
            return Err(Garbage("a malformed Content-Length"));
        }
        let length = value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if self.length.is_some_and(|other| other != length) {
            return Err(Garbage("two different Content-Length fields"));
        }
        self.length = Some(length);
        Ok(())
    }

    fn add_connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            self.has_close |= option.eq_ignore_ascii_case(b"close");
            self.has_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}
