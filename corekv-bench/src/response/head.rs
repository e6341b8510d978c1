//! Status line and header fields.

use super::Garbage;

/// The longest head that is accepted, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a head says about its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) keep_alive: bool,
    pub(super) framing: Framing,
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
    let Some((line, mut at)) = next_line(bytes, 0)? else {
        return check_start(bytes).and(check_size(bytes.len())).and(Ok(None));
    };
    let (minor, status) = status_line(line)?;
    let mut fields = Fields::default();
    loop {
        let Some((line, after)) = next_line(bytes, at)? else {
            return check_size(bytes.len()).and(Ok(None));
        };
        at = after;
        if line.is_empty() {
            break;
        }
        fields.add(line)?;
    }
    check_size(at)?;
    let framing = match (fields.length, fields.is_chunked) {
        (Some(_), true) => return Err(Garbage("both Content-Length and Transfer-Encoding")),
        (Some(length), false) => Framing::Length(length),
        (None, true) => Framing::Chunked,
        (None, false) => Framing::UntilClose,
    };
    let keep_alive = !fields.has_close
        && (minor == b'1' || fields.has_keep_alive)
        && (framing != Framing::UntilClose || matches!(status, 100..200 | 204 | 304));
    Ok(Some((Head { status, keep_alive, framing }, at)))
}

fn check_size(length: usize) -> Result<(), Garbage> {
    if length > HEAD_BYTES_MAX { Err(Garbage("a head of more than 16 KiB")) } else { Ok(()) }
}

/// The line from `start` up to its CR LF, and where the next one starts.
fn next_line(bytes: &[u8], start: usize) -> Result<Option<(&[u8], usize)>, Garbage> {
    let rest = &bytes[start..];
    let Some(end) = memchr::memchr(b'\n', rest) else {
        return Ok(None);
    };
    let line = rest[..end].strip_suffix(b"\r").ok_or(Garbage("a line that ends without CR"))?;
    Ok(Some((line, start + end + 1)))
}

/// Refuses an incomplete status line as soon as it cannot become one.
fn check_start(bytes: &[u8]) -> Result<(), Garbage> {
    const PATTERN: &[u8; 13] = b"HTTP/1.V SSS ";
    for (&byte, &wanted) in bytes.iter().zip(PATTERN) {
        let is_right = match wanted {
            b'V' => matches!(byte, b'0' | b'1'),
            b'S' => byte.is_ascii_digit(),
            _ => byte == wanted,
        };
        // The blank after the code is missing if there is no reason phrase either.
        let is_short = wanted == b' ' && byte == b'\r';
        if !(is_right || is_short) {
            return Err(Garbage("not an HTTP/1 status line"));
        }
    }
    Ok(())
}

fn status_line(line: &[u8]) -> Result<(u8, u16), Garbage> {
    let wrong = Garbage("not an HTTP/1 status line");
    check_start(line)?;
    let (Some(&minor), Some(code)) = (line.get(7), line.get(9..12)) else {
        return Err(wrong);
    };
    let status = code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    if status < 100 || line[8] != b' ' || !matches!(line.get(12), None | Some(b' ')) {
        return Err(wrong);
    }
    check_text(line)?;
    Ok((minor, status))
}

/// Refuses control characters, a bare CR among them.
fn check_text(line: &[u8]) -> Result<(), Garbage> {
    if line.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(Garbage("a control character in the head"));
    }
    Ok(())
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), Garbage> {
        let colon = memchr::memchr(b':', line).ok_or(Garbage("a header field without colon"))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(token) {
            return Err(Garbage("a malformed header field name"));
        }
        check_text(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            self.add_length(value)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
            if self.is_chunked {
                Ok(())
            } else {
                Err(Garbage("a transfer coding other than chunked"))
            }
        } else {
            if name.eq_ignore_ascii_case(b"connection") {
                self.add_connection(value);
            }
            Ok(())
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
