//! Reading responses: any server's by RFC 9112 §4 to §7, and corekv's own, of which more is known.

use std::time::{Duration, SystemTime};

use crate::show;

/// How a response's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none, by the status or because the request was HEAD.
    Bodiless,
    /// After the number of bytes that Content-Length says.
    Length,
    /// With a chunk of length 0.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// One response as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Name and value of each field, in order; bytes that are no text are replaced.
    pub fields: Vec<(String, String)>,
    /// The head, the blank line included.
    pub head: Vec<u8>,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// How the body ends.
    pub framing: Framing,
    /// Whether another response may follow on the connection.
    pub keep_alive: bool,
}

/// Why bytes are no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads the response that `bytes` begin with, of any server, and says how many bytes it took;
/// `None` if its end has not arrived. `to_head`: it answers a HEAD request, so no body follows.
/// `ended`: no more bytes will come.
///
/// An interim response counts as one. Accepted is what RFC 9112 has a client accept, without line
/// ends of a single LF, folded lines, blanks before a colon, and codings other than chunked.
///
/// # Errors
/// If no bytes that might follow could make this a response.
pub fn read_response(
    bytes: &[u8],
    to_head: bool,
    ended: bool,
) -> Result<Option<(Response, usize)>, Malformed> {
    let Some((mut response, head_len)) = read_head(bytes)? else { return Ok(None) };
    let body_len = response.read_body(&bytes[head_len..], to_head, ended)?;
    Ok(body_len.map(|len| (response, head_len + len)))
}

/// Reads the response of corekv that `bytes` begin with, and says how many bytes it took; `None`
/// if its end has not arrived. `to_head`: it answers a HEAD request, so no body follows.
///
/// # Panics
/// If it is a response that corekv does not send.
#[track_caller]
#[must_use]
pub fn parse(bytes: &[u8], to_head: bool) -> Option<(Response, usize)> {
    let fail = |Malformed(why)| -> ! { panic!("{why} in {}", show(bytes)) };
    let (mut response, head_len) = read_head(bytes).unwrap_or_else(|why| fail(why))?;
    response.assert_sent_by_corekv();
    let body_len = response.read_body(&bytes[head_len..], to_head, false);
    body_len.unwrap_or_else(|why| fail(why)).map(|len| (response, head_len + len))
}

impl Response {
    /// The value of a field that may occur once.
    ///
    /// # Panics
    /// If it occurs more often.
    #[track_caller]
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let first = values.next();
        assert!(values.next().is_none(), "{name} twice in {}", show(&self.head));
        first
    }

    /// The values of a field, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let is_it = move |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_it).map(|(_, value)| value.as_str())
    }

    /// Takes the body off the front of `rest`, and says how many bytes it took; `None` if its end
    /// has not arrived.
    fn read_body(
        &mut self,
        rest: &[u8],
        to_head: bool,
        ended: bool,
    ) -> Result<Option<usize>, Malformed> {
        if to_head || self.status < 200 || matches!(self.status, 204 | 304) {
            self.framing = Framing::Bodiless;
        }
        match self.framing {
            Framing::Bodiless => Ok(Some(0)),
            Framing::Length => {
                let length = self.content_length()?.unwrap_or(0);
                let Some(body) = rest.get(..length) else { return Ok(None) };
                self.body = body.to_vec();
                Ok(Some(length))
            }
            Framing::Chunked => {
                let Some((body, used)) = read_chunks(rest)? else { return Ok(None) };
                self.body = body;
                Ok(Some(used))
            }
            Framing::UntilClose if !ended => Ok(None),
            Framing::UntilClose => {
                self.body = rest.to_vec();
                Ok(Some(rest.len()))
            }
        }
    }

    /// What all fields Content-Length say, which must be the same.
    fn content_length(&self) -> Result<Option<usize>, Malformed> {
        let mut length = None;
        for value in self.values("Content-Length") {
            if value.len() > 19 || !value.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Malformed("a Content-Length that is no number"));
            }
            let value = value.parse().map_err(|_| Malformed("an empty Content-Length"))?;
            if length.is_some_and(|length| length != value) {
                return Err(Malformed("two different Content-Lengths"));
            }
            length = Some(value);
        }
        Ok(length)
    }

    /// Checks the form that every response of corekv has.
    #[track_caller]
    fn assert_sent_by_corekv(&self) {
        let Self { status, .. } = *self;
        // Rebuilding the head shows whatever a reader that accepts more would leave out.
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        for (name, value) in &self.fields {
            assert!(
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
                "field {name:?}"
            );
            assert!(value.bytes().all(|b| (0x20..0x7f).contains(&b)), "{name}: {value:?}");
            head.extend([name, ": ", value, "\r\n"]);
        }
        head += "\r\n";
        assert_eq!(String::from_utf8_lossy(&self.head), head);
        assert!(self.field("Transfer-Encoding").is_none(), "corekv knows every length");
        let length = self.field("Content-Length");
        if status < 200 || matches!(status, 204 | 304) {
            assert!(length.is_none(), "RFC 9110 8.6 forbids Content-Length in {status}");
        } else {
            assert!(length.is_some(), "no Content-Length in {}", show(&self.head));
        }
    }

    /// Head and body, with the date made the same on every run.
    #[must_use]
    pub fn normalised(&self) -> Vec<u8> {
        let mut bytes = normalise(&self.head);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// As [`normalised`](Self::normalised), for comparing with a literal.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.normalised()).into_owned()
    }

    /// The body as text without the line end.
    #[must_use]
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end_matches('\n').to_owned()
    }

    /// Checks the form that every error has: the fields in their order and one line of text.
    #[track_caller]
    pub fn assert_error(&self, status: u16, extra: &str) {
        assert_eq!(self.status, status, "{}", show(&self.normalised()));
        let expected = format!(
            "HTTP/1.1 {status} {}\r\nDate: -\r\n{extra}Content-Length: {}\r\n\r\n",
            reason(status),
            self.body.len()
        );
        assert_eq!(String::from_utf8_lossy(&normalise(&self.head)), expected);
        assert!(error_line(&self.body), "not one line of text: {}", show(&self.body));
    }

    /// An error after which the connection lives on.
    #[track_caller]
    pub fn assert_soft_error(&self, status: u16) {
        self.assert_error(status, "Content-Type: text/plain\r\n");
    }

    /// The head of an error that answers a HEAD request: the fields, no line of text.
    #[track_caller]
    pub fn assert_head_of_error(&self, status: u16) {
        assert_eq!(self.status, status, "{}", show(&self.head));
        assert_eq!(self.field("Content-Type"), Some("text/plain"));
        assert_ne!(self.field("Content-Length"), Some("0"));
        assert!(self.body.is_empty());
    }

    /// An error that ends the connection.
    #[track_caller]
    pub fn assert_closing_error(&self, status: u16) {
        self.assert_error(status, "Connection: close\r\nContent-Type: text/plain\r\n");
    }
}

/// The line that `bytes` begin with, without its CR LF; `None` if its end has not arrived.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    bytes[..end].strip_suffix(b"\r").map(Some).ok_or(Malformed("a line end without CR"))
}

/// Reads a head, and says how many bytes it took. The framing is what the fields say.
fn read_head(bytes: &[u8]) -> Result<Option<(Response, usize)>, Malformed> {
    let mut at = 0;
    let mut lines = Vec::new();
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        at += line.len() + 2;
        if line.is_empty() && !lines.is_empty() {
            break;
        }
        if line.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(Malformed("a control character"));
        }
        lines.push(line);
    }
    let (version_1_0, status, reason) = read_status_line(lines[0])?;
    let fields = lines[1..].iter().map(|line| read_field(line)).collect::<Result<_, _>>()?;
    let head = bytes[..at].to_vec();
    let (body, framing) = (Vec::new(), Framing::Bodiless);
    let mut response = Response { status, reason, fields, head, body, framing, keep_alive: false };
    let codings = response.values("Transfer-Encoding").collect::<Vec<_>>();
    if codings.iter().any(|coding| !coding.eq_ignore_ascii_case("chunked")) {
        return Err(Malformed("an unknown transfer coding"));
    }
    response.framing = match (response.content_length()?, codings.is_empty()) {
        (Some(_), false) => return Err(Malformed("a length and a transfer coding")),
        (Some(_), true) => Framing::Length,
        (None, false) => Framing::Chunked,
        (None, true) => Framing::UntilClose,
    };
    let says = |wanted: &str| {
        let mut options = response.values("Connection").flat_map(|value| value.split(','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    let endless = response.framing == Framing::UntilClose && !matches!(status, 204 | 304);
    response.keep_alive = !says("close") && (!version_1_0 || says("keep-alive")) && !endless;
    Ok(Some((response, at)))
}

/// Whether the version is 1.0 and not 1.1, the status, and the reason phrase.
fn read_status_line(line: &[u8]) -> Result<(bool, u16, String), Malformed> {
    let version_1_0 = line.starts_with(b"HTTP/1.0 ");
    if !version_1_0 && !line.starts_with(b"HTTP/1.1 ") {
        return Err(Malformed("no version of HTTP"));
    }
    let digits = line.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let digits = digits.ok_or(Malformed("no status"))?;
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    if status < 100 {
        return Err(Malformed("a status below 100"));
    }
    let reason = match line.get(12..) {
        Some([]) | None => &[],
        Some([b' ', reason @ ..]) => reason,
        Some(_) => return Err(Malformed("a status of more than three digits")),
    };
    Ok((version_1_0, status, String::from_utf8_lossy(reason).into_owned()))
}

fn read_field(line: &[u8]) -> Result<(String, String), Malformed> {
    let colon = line.iter().position(|&byte| byte == b':');
    let (name, value) = line.split_at(colon.ok_or(Malformed("a field without a colon"))?);
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
        return Err(Malformed("a field without a name"));
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(name), text(value[1..].trim_ascii())))
}

/// Whether a byte may occur in a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Decodes a chunked body, and says how many bytes its coded form took.
fn read_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    const BROKEN: Malformed = Malformed("a broken chunk");
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if !(1..=16).contains(&digits)
            || !line[digits..].first().is_none_or(|byte| b"; \t".contains(byte))
            || line.iter().any(|&byte| byte == b'\r' || byte == 0)
        {
            return Err(Malformed("no size of a chunk"));
        }
        at += line.len() + 2;
        let size = std::str::from_utf8(&line[..digits]).map_err(|_| BROKEN)?;
        let size = u64::from_str_radix(size, 16).map_err(|_| BROKEN)?;
        if size == 0 {
            break;
        }
        let rest = &bytes[at..];
        if size >= rest.len() as u64 {
            return Ok(None);
        }
        let size = size as usize;
        body.extend_from_slice(&rest[..size]);
        match &rest[size..] {
            [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => at += size + 2,
            _ => return Err(BROKEN),
        }
    }
    loop {
        let Some(trailer) = line(&bytes[at..])? else { return Ok(None) };
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Ok(Some((body, at)));
        }
        if trailer.iter().any(|&byte| byte == b'\r' || byte == 0) {
            return Err(Malformed("a broken trailer"));
        }
    }
}

/// Whether a body is one non-empty line of printable text.
#[must_use]
pub fn error_line(body: &[u8]) -> bool {
    body.split_last().is_some_and(|(last, line)| {
        *last == b'\n' && !line.is_empty() && line.iter().all(|b| (0x20..0x7f).contains(b))
    })
}

/// The reason phrase that RFC 9110 gives a status.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        other => panic!("corekv does not send status {other}"),
    }
}

/// Replaces the value of every Date field by `-`.
///
/// # Panics
/// If one is no date.
#[track_caller]
#[must_use]
pub fn normalise(bytes: &[u8]) -> Vec<u8> {
    const FIELD: &[u8] = b"\r\nDate: ";
    const DATE_LEN: usize = 29;
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(FIELD.len()).position(|w| w == FIELD) {
        let date = at + FIELD.len();
        out.extend_from_slice(&rest[..date]);
        let value = rest.get(date..date + DATE_LEN).unwrap_or_else(|| {
            panic!("a Date is cut off in {}", show(rest));
        });
        let value = String::from_utf8_lossy(value);
        assert!(is_imf_fixdate(&value), "not a date: {value:?}");
        out.push(b'-');
        rest = &rest[date + DATE_LEN..];
    }
    out.extend_from_slice(rest);
    out
}

/// Whether a text is a time since 2020 in the form `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub fn is_imf_fixdate(text: &str) -> bool {
    /// The first second of 2020.
    const SINCE: Duration = Duration::from_secs(1_577_836_800);
    // The two other forms that a recipient has to accept are written back differently.
    httpdate::parse_http_date(text).is_ok_and(|time| {
        time >= SystemTime::UNIX_EPOCH + SINCE && httpdate::fmt_http_date(time) == text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], to_head: bool) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        Ok(read_response(bytes, to_head, false)?.map(|(response, len)| (response.body, len)))
    }

    #[test]
    fn bodies_end_as_they_say() {
        let length = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcde";
        assert_eq!(read(length, false), Ok(Some((b"abc".to_vec(), length.len() - 2))));
        assert_eq!(read(length, true), Ok(Some((Vec::new(), length.len() - 5))));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                        2;x\r\nab\r\n1\r\nc\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(read(chunked, false), Ok(Some((b"abc".to_vec(), chunked.len()))));
        for end in 0..chunked.len() {
            assert_eq!(read(&chunked[..end], false), Ok(None), "{end}");
        }
        let endless = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert_eq!(read(endless, false), Ok(None));
        let (response, len) = read_response(endless, false, true).unwrap().unwrap();
        assert_eq!((response.framing, len), (Framing::UntilClose, endless.len()));
        assert_eq!((&response.body[..], response.keep_alive), (&b"abc"[..], false));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for wrong in [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert!(read_response(wrong.as_bytes(), false, false).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_corekv_does_not_send_is_refused() {
        let fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(parse(fine.as_bytes(), false).map(|(_, len)| len), Some(fine.len()));
        for wrong in [
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 Okay\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0 \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA_B: c\r\nContent-Length: 0\r\n\r\n",
        ] {
            let parsed = std::panic::catch_unwind(|| parse(wrong.as_bytes(), false));
            assert!(parsed.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn dates_have_one_form() {
        assert!(is_imf_fixdate("Tue, 24 Nov 2026 03:34:56 GMT"));
        for wrong in [
            "Mon, 24 Nov 2026 03:34:56 GMT",
            "Tue, 24 Nov 2026 3:34:56 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Tue, 15 Nov 1994 08:12:31 GMT",
        ] {
            assert!(!is_imf_fixdate(wrong), "{wrong}");
        }
    }
}
