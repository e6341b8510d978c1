//! A response parser that shares no code with the server and accepts nothing loose: a response
//! that RFC 9112 would not let a server send fails the test that reads it.

use super::show;

/// One response as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a field that may occur once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values =
            self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        let first = values.next();
        assert!(values.next().is_none(), "{name} twice in {}", show(&self.head));
        first.map(String::as_str)
    }

    /// Head and body, with the date made the same on every run.
    pub(crate) fn normalised(&self) -> Vec<u8> {
        let mut bytes = normalise(&self.head);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// As [`normalised`](Self::normalised), for comparing with a literal.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.normalised()).into_owned()
    }

    /// The body as text without the line end.
    pub(crate) fn line(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end_matches('\n').to_owned()
    }

    /// Checks the form that every error has: the fields in their order and one line of text.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, extra: &str) {
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
    pub(crate) fn assert_soft_error(&self, status: u16) {
        self.assert_error(status, "Content-Type: text/plain\r\n");
    }

    /// The head of an error that answers a HEAD request: the fields, no line of text.
    #[track_caller]
    pub(crate) fn assert_head_of_error(&self, status: u16) {
        assert_eq!(self.status, status, "{}", show(&self.head));
        assert_eq!(self.field("Content-Type"), Some("text/plain"));
        assert_ne!(self.field("Content-Length"), Some("0"));
        assert!(self.body.is_empty());
    }

    /// An error that ends the connection.
    #[track_caller]
    pub(crate) fn assert_closing_error(&self, status: u16) {
        self.assert_error(status, "Connection: close\r\nContent-Type: text/plain\r\n");
    }
}

/// Whether a body is one non-empty line of printable text.
pub(crate) fn error_line(body: &[u8]) -> bool {
    body.split_last().is_some_and(|(last, line)| {
        *last == b'\n' && !line.is_empty() && line.iter().all(|b| (0x20..0x7f).contains(b))
    })
}

/// The reason phrase that RFC 9110 gives a status.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
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

/// Parses the response that `bytes` begin with; `None` if its end has not arrived. `to_head`:
/// it answers a HEAD request, so no body follows.
#[track_caller]
pub(crate) fn parse(bytes: &[u8], to_head: bool) -> Option<(Response, usize)> {
    let head_len = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = &bytes[..head_len];
    let text = std::str::from_utf8(head).unwrap_or_else(|_| panic!("not text: {}", show(head)));
    let mut lines = text[..head_len - 4].split("\r\n");

    let status_line = lines.next().expect("split gives at least one");
    let (version, rest) = status_line.split_once(' ').expect("a status line has spaces");
    assert_eq!(version, "HTTP/1.1", "status line {status_line:?}");
    let (status, phrase) = rest.split_once(' ').expect("a status line has two spaces");
    assert!(
        status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit()),
        "status line {status_line:?}"
    );
    let status: u16 = status.parse().expect("three digits");
    assert_eq!(phrase, reason(status), "status line {status_line:?}");

    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("field {line:?}"));
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "field {line:?}"
        );
        assert!(
            value.trim() == value && value.bytes().all(|b| (0x20..0x7f).contains(&b)),
            "field {line:?}"
        );
        fields.push((name.to_owned(), value.to_owned()));
    }
    let mut response = Response {
        status,
        reason: phrase.to_owned(),
        fields,
        head: head.to_vec(),
        body: Vec::new(),
    };

    let length = response.field("Content-Length").map(|value| {
        assert!(value.bytes().all(|b| b.is_ascii_digit()), "Content-Length {value:?}");
        value.parse::<usize>().expect("a length that fits")
    });
    assert!(response.field("Transfer-Encoding").is_none(), "corekv knows every length");
    if status < 200 || status == 204 {
        assert!(length.is_none(), "RFC 9110 8.6 forbids Content-Length in {status}");
        return Some((response, head_len));
    }
    let length = length.unwrap_or_else(|| panic!("no Content-Length in {}", show(&response.head)));
    if to_head {
        return Some((response, head_len));
    }
    let body = bytes[head_len..].get(..length)?;
    response.body = body.to_vec();
    Some((response, head_len + length))
}

/// Replaces the value of every Date field by `-`, after checking that it is a date.
#[track_caller]
pub(crate) fn normalise(bytes: &[u8]) -> Vec<u8> {
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

/// Whether a text has the form `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn is_imf_fixdate(text: &str) -> bool {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let bytes = text.as_bytes();
    if bytes.len() != 29 || !text.is_ascii() {
        return false;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().ok();
    DAYS.contains(&&text[..3])
        && &text[3..5] == ", "
        && number(5, 7).is_some_and(|day| (1..=31).contains(&day))
        && &text[7..8] == " "
        && MONTHS.contains(&&text[8..11])
        && &text[11..12] == " "
        && number(12, 16).is_some_and(|year| year >= 2020)
        && &text[16..17] == " "
        && number(17, 19).is_some_and(|hour| hour < 24)
        && &text[19..20] == ":"
        && number(20, 22).is_some_and(|minute| minute < 60)
        && &text[22..23] == ":"
        && number(23, 25).is_some_and(|second| second <= 60)
        && &text[25..] == " GMT"
}
