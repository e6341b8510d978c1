//! The framing table: what goes in, what comes out, what becomes of the connection.
//!
//! `/hit` holds `value`; `KKKKKKKK` stands for a key of eight bytes that no other run uses.
//! Where nothing is said otherwise the sections are those of RFC 9112.

use std::slice;

/// One answer that the server must give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 with `value`.
    Hit,
    /// 404 with an empty body.
    Miss,
    /// 201.
    Created,
    /// 204 without further fields.
    NoContent,
    /// 100, an interim response.
    Continue,
    /// An error with its line of text; whether it says `Connection: close` follows from the row.
    Error(u16),
    /// An error with one more field after Content-Type.
    ErrorWith(u16, &'static str),
    /// These bytes, the date replaced by `-`.
    Exact(&'static str),
}

/// What becomes of the connection after the row's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It takes the next request.
    Open,
    /// The server ends it, and answers nothing that follows.
    Closed,
    /// The server waits for the rest, and gives up silently at the end of the stream.
    Waits,
}

/// What the row's own key holds afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Unchecked,
    Nothing,
    Value(&'static [u8]),
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Section of RFC 9112, or of the document named.
    pub(crate) section: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) after: After,
    pub(crate) kept: Kept,
}

impl Row {
    /// The row's key must be absent afterwards: nothing inside a body became a request.
    fn keeps_nothing(mut self) -> Self {
        self.kept = Kept::Nothing;
        self
    }

    /// The row's key must hold this value afterwards.
    fn keeps(mut self, value: &'static [u8]) -> Self {
        self.kept = Kept::Value(value);
        self
    }
}

fn row(
    name: &'static str,
    section: &'static str,
    bytes: impl Into<Vec<u8>>,
    answers: &[Answer],
    after: After,
) -> Row {
    let bytes = bytes.into();
    Row { name, section, bytes, answers: answers.to_vec(), after, kept: Kept::Unchecked }
}

/// A row after which the connection lives on.
fn open(
    name: &'static str,
    section: &'static str,
    bytes: impl Into<Vec<u8>>,
    answers: &[Answer],
) -> Row {
    row(name, section, bytes, answers, After::Open)
}

/// A row that is refused with one error, after which the connection ends.
fn refused(
    name: &'static str,
    section: &'static str,
    bytes: impl Into<Vec<u8>>,
    status: u16,
) -> Row {
    row(name, section, bytes, &[Answer::Error(status)], After::Closed)
}

/// A row whose last answer ends the connection.
fn closes(
    name: &'static str,
    section: &'static str,
    bytes: impl Into<Vec<u8>>,
    answers: &[Answer],
) -> Row {
    row(name, section, bytes, answers, After::Closed)
}

/// A row that is not complete.
fn waits(
    name: &'static str,
    section: &'static str,
    bytes: impl Into<Vec<u8>>,
    answers: &[Answer],
) -> Row {
    row(name, section, bytes, answers, After::Waits)
}

/// `GET /hit` with further header lines.
macro_rules! get {
    ($($line:literal),*) => {
        concat!("GET /hit HTTP/1.1\r\nHost: t\r\n", $($line, "\r\n",)* "\r\n")
    };
}

/// `PUT` of the row's own key with header lines and a body.
macro_rules! put {
    ($($line:literal),*; $body:literal) => {
        concat!("PUT /KKKKKKKK HTTP/1.1\r\nHost: t\r\n", $($line, "\r\n",)* "\r\n", $body)
    };
}

/// A chunked `PUT` of the row's own key.
macro_rules! chunked {
    ($body:literal) => {
        put!("Transfer-Encoding: chunked"; $body)
    };
}

/// Another request, of 55 bytes, that must stay part of a body.
macro_rules! smuggled {
    () => {
        "PUT /KKKKKKKK HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx"
    };
}

const ALLOW: &str = "Allow: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\n";
const ALLOW_RESERVED: &str = "Allow: GET, HEAD, OPTIONS\r\n";
const OPTIONS_ANSWER: Answer = Answer::Exact(
    "HTTP/1.1 204 No Content\r\nDate: -\r\nAllow: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\n\r\n",
);
/// The answer to a HEAD of what the rows read.
const HEAD_HIT: Answer = Answer::Exact(
    "HTTP/1.1 200 OK\r\nDate: -\r\nETag: \"d7ab8cce59abd5050d59506fb013961a\"\r\nContent-Length: 5\r\n\r\n",
);
const HEAD_HIT_CLOSE: Answer = Answer::Exact(
    "HTTP/1.1 200 OK\r\nDate: -\r\nConnection: close\r\nETag: \"d7ab8cce59abd5050d59506fb013961a\"\r\nContent-Length: 5\r\n\r\n",
);
const HIT_CLOSE: Answer = Answer::Exact(
    "HTTP/1.1 200 OK\r\nDate: -\r\nConnection: close\r\nContent-Length: 5\r\n\r\nvalue",
);
const HIT_KEEP_ALIVE: Answer = Answer::Exact(
    "HTTP/1.1 200 OK\r\nDate: -\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nvalue",
);

/// Every row.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(request_line());
    rows.extend(methods());
    rows.extend(targets());
    rows.extend(fields());
    rows.extend(limits());
    rows.extend(host());
    rows.extend(origins());
    rows.extend(content_length());
    rows.extend(transfer_encoding());
    rows.extend(chunks());
    rows.extend(smuggling());
    rows.extend(persistence());
    rows.extend(expectations());
    rows.extend(hopeless());
    rows.extend(incomplete());
    rows
}

fn request_line() -> Vec<Row> {
    use Answer::{Error, Hit, Miss};
    vec![
        open("a hit", "3", get!(), &[Hit]),
        open("a miss", "3", "GET /KKKKKKKK HTTP/1.1\r\nHost: t\r\n\r\n", &[Miss]),
        open("an empty line before the request", "2.2", concat!("\r\n", get!()), &[Hit]),
        open("empty lines before the request", "2.2", concat!("\r\n\r\n\r\n", get!()), &[Hit]),
        open("an empty line between requests", "2.2", concat!(get!(), "\r\n", get!()), &[Hit, Hit]),
        refused("a bare LF before the request", "2.2", concat!("\n", get!()), 400),
        refused("a bare CR before the request", "2.2", concat!("\r", get!()), 400),
        refused("CR CR LF before the request", "2.2", concat!("\r\r\n", get!()), 400),
        refused("a space before the method", "3", concat!(" ", get!()), 400),
        refused("a NUL before the method", "3", concat!("\0", get!()), 400),
        refused("two spaces after the method", "3", "GET  /hit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("two spaces after the target", "3", "GET /hit  HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a tab after the method", "3", "GET\t/hit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a tab after the target", "3", "GET /hit\tHTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused(
            "a form feed after the method",
            "3",
            "GET\x0c/hit HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("a space after the version", "3", "GET /hit HTTP/1.1 \r\nHost: t\r\n\r\n", 400),
        refused("a tab after the version", "3", "GET /hit HTTP/1.1\t\r\nHost: t\r\n\r\n", 400),
        refused("a fourth word", "3", "GET /hit HTTP/1.1 x\r\nHost: t\r\n\r\n", 400),
        refused("a space in the target", "3.2", "GET /h it HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused(
            "a bare LF ends the request line",
            "2.2",
            "GET /hit HTTP/1.1\nHost: t\r\n\r\n",
            400,
        ),
        refused(
            "a bare CR ends the request line",
            "2.2",
            "GET /hit HTTP/1.1\rHost: t\r\n\r\n",
            400,
        ),
        refused(
            "CR CR LF ends the request line",
            "2.2",
            "GET /hit HTTP/1.1\r\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("bare LFs everywhere", "2.2", "GET /hit HTTP/1.1\nHost: t\n\n", 400),
        refused("HTTP/0.9", "3", "GET /hit\r\n\r\n", 400),
        refused("HTTP/0.9 with a space", "3", "GET /hit \r\n\r\n", 400),
        refused("a method alone", "3", "GET\r\n\r\n", 400),
        refused(
            "TLS on the plain port",
            "3",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
            400,
        ),
        open(
            "version 1.2 is served as 1.1",
            "RFC 9110 2.5",
            "GET /hit HTTP/1.2\r\nHost: t\r\n\r\n",
            &[Hit],
        ),
        open(
            "version 1.9 has the persistence of 1.1",
            "RFC 9110 2.5",
            concat!("GET /hit HTTP/1.9\r\nHost: t\r\n\r\n", get!()),
            &[Hit, Hit],
        ),
        refused("version 1.2 needs a Host", "3.2", "GET /hit HTTP/1.2\r\n\r\n", 400),
        refused("version 2.0", "2.3", "GET /hit HTTP/2.0\r\nHost: t\r\n\r\n", 505),
        refused("version 0.9 by name", "2.3", "GET /hit HTTP/0.9\r\nHost: t\r\n\r\n", 505),
        refused("version 9.9", "2.3", "GET /hit HTTP/9.9\r\nHost: t\r\n\r\n", 505),
        refused("the preface of HTTP/2", "2.3", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        refused("a version in lower case", "2.3", "GET /hit http/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a version in mixed case", "2.3", "GET /hit Http/1.1\r\nHost: t\r\n\r\n", 400),
        refused(
            "a version with two minor digits",
            "2.3",
            "GET /hit HTTP/1.10\r\nHost: t\r\n\r\n",
            400,
        ),
        refused(
            "a version with two major digits",
            "2.3",
            "GET /hit HTTP/01.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("a version without a dot", "2.3", "GET /hit HTTP/11\r\nHost: t\r\n\r\n", 400),
        refused(
            "a version without a minor digit",
            "2.3",
            "GET /hit HTTP/1.\r\nHost: t\r\n\r\n",
            400,
        ),
        refused(
            "a version without a major digit",
            "2.3",
            "GET /hit HTTP/.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("a version with a comma", "2.3", "GET /hit HTTP/1,1\r\nHost: t\r\n\r\n", 400),
        refused("a version with letters", "2.3", "GET /hit HTTP/a.b\r\nHost: t\r\n\r\n", 400),
        refused("a version with a sign", "2.3", "GET /hit HTTP/1.+1\r\nHost: t\r\n\r\n", 400),
        refused(
            "a version of another protocol",
            "2.3",
            "GET /hit HTTQ/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("version 1.2 that goes on", "2.3", "GET /hit HTTP/1.2x\r\nHost: t\r\n\r\n", 400),
        refused("version 2.0 that goes on", "2.3", "GET /hit HTTP/2.0x\r\nHost: t\r\n\r\n", 400),
        refused("a version that goes on", "2.3", "GET /hit HTTP/1.1x\r\nHost: t\r\n\r\n", 400),
        refused("a NUL in the version", "2.3", "GET /hit HTTP/1.1\0\r\nHost: t\r\n\r\n", 400),
        closes(
            "a good request, then a broken one",
            "2.2",
            concat!(get!(), "GET /hit\r\n\r\n"),
            &[Hit, Error(400)],
        ),
    ]
}

fn methods() -> Vec<Row> {
    use Answer::{Created, Error, ErrorWith, Hit, Miss, NoContent};
    vec![
        open(
            "HEAD of a hit has GET's length and no body",
            "RFC 9110 9.3.2",
            "HEAD /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[HEAD_HIT],
        ),
        open(
            "HEAD of a miss",
            "RFC 9110 9.3.2",
            "HEAD /KKKKKKKK HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open("PUT", "RFC 9110 9.3.4", put!("Content-Length: 3"; "abc"), &[Created]).keeps(b"abc"),
        open(
            "PUT of a key that is there",
            "RFC 9110 9.3.4",
            concat!(put!("Content-Length: 3"; "abc"), put!("Content-Length: 2"; "de")),
            &[Created, NoContent],
        )
        .keeps(b"de"),
        open(
            "POST is the same operation",
            "RFC 9110 9.3.3",
            concat!(
                "POST /KKKKKKKK HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc",
                "POST /KKKKKKKK HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nd"
            ),
            &[Created, NoContent],
        )
        .keeps(b"d"),
        open(
            "DELETE of a key that is there, then of one that is not",
            "RFC 9110 9.3.5",
            concat!(
                put!("Content-Length: 3"; "abc"),
                "DELETE /KKKKKKKK HTTP/1.1\r\nHost: t\r\n\r\n",
                "DELETE /KKKKKKKK HTTP/1.1\r\nHost: t\r\n\r\n"
            ),
            &[Created, NoContent, Miss],
        )
        .keeps_nothing(),
        open(
            "OPTIONS of a key",
            "RFC 9110 9.3.7",
            "OPTIONS /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[OPTIONS_ANSWER],
        ),
        open(
            "OPTIONS of the server",
            "RFC 9110 9.3.7",
            "OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n",
            &[OPTIONS_ANSWER],
        ),
        open(
            "PROPFIND finds nothing",
            "RFC 4918 9.1",
            "PROPFIND /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open(
            "PROPFIND with a body",
            "RFC 4918 9.1",
            "PROPFIND /hit HTTP/1.1\r\nHost: t\r\nDepth: 1\r\nContent-Length: 11\r\n\r\n<propfind/>",
            &[Miss],
        ),
        open(
            "PATCH is refused",
            "RFC 9110 15.5.6",
            "PATCH /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[ErrorWith(405, ALLOW)],
        ),
        open(
            "the body of a refused method is dropped",
            "RFC 9110 15.5.6",
            "PATCH /hit HTTP/1.1\r\nHost: t\r\nContent-Length: 26\r\n\r\nGET /hit HTTP/1.1\r\nHost: x",
            &[ErrorWith(405, ALLOW)],
        ),
        open(
            "the chunked body of a refused method is dropped",
            "RFC 9110 15.5.6",
            "PATCH /hit HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            &[ErrorWith(405, ALLOW)],
        ),
        open(
            "TRACE is refused",
            "RFC 9110 9.3.8",
            "TRACE /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[ErrorWith(405, ALLOW)],
        ),
        open(
            "PURGE of one key is refused",
            "RFC 9110 15.5.6",
            "PURGE /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[ErrorWith(405, ALLOW)],
        ),
        open(
            "MKCOL is refused",
            "RFC 4918 9.3",
            "MKCOL /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[ErrorWith(405, ALLOW)],
        ),
        open(
            "CONNECT is refused",
            "RFC 9110 9.3.6",
            "CONNECT t:80 HTTP/1.1\r\nHost: t\r\n\r\n",
            &[ErrorWith(405, ALLOW)],
        ),
        closes(
            "the body of a CONNECT is not waited for",
            "RFC 9110 9.3.6",
            "CONNECT t:80 HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
            &[ErrorWith(405, ALLOW)],
        ),
        closes(
            "the chunks of a CONNECT are not waited for",
            "RFC 9110 9.3.6",
            "CONNECT t:80 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n",
            &[ErrorWith(405, ALLOW)],
        ),
        closes(
            "the body of a CONNECT is not a request",
            "RFC 9110 9.3.6",
            concat!("CONNECT t:80 HTTP/1.1\r\nHost: t\r\nContent-Length: 55\r\n\r\n", smuggled!()),
            &[ErrorWith(405, ALLOW)],
        )
        .keeps_nothing(),
        open(
            "a CONNECT of length zero",
            "RFC 9110 9.3.6",
            "CONNECT t:80 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
            &[ErrorWith(405, ALLOW)],
        ),
        open(
            "a method in lower case is unknown",
            "RFC 9110 9.1",
            "get /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(501)],
        ),
        open(
            "an unknown method",
            "RFC 9110 15.6.2",
            "FROB /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(501)],
        ),
        open(
            "a method that begins like GET",
            "RFC 9110 9.1",
            "GETS /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(501)],
        ),
        open(
            "a method of all kinds of token characters",
            "RFC 9110 5.6.2",
            "!#$%&'*+-.^_`|~09Az /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(501)],
        ),
        open(
            "the body of an unknown method is dropped",
            "RFC 9110 15.6.2",
            "FROB /hit HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nGET /",
            &[Error(501)],
        ),
        refused("a parenthesis in the method", "3.1", "GE(T /hit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a colon in the method", "3.1", "GET: /hit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a slash in the method", "3.1", "G/T /hit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a NUL in the method", "3.1", "GE\0T /hit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused(
            "a byte above ASCII in the method",
            "3.1",
            b"GE\xc3\x89T /hit HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
        open(
            "a GET with a body",
            "RFC 9110 9.3.1",
            "GET /hit HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
            &[Hit],
        ),
        open(
            "a GET with a chunked body",
            "RFC 9110 9.3.1",
            "GET /hit HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            &[Hit],
        ),
        open(
            "a HEAD with a body",
            "RFC 9110 9.3.2",
            "HEAD /KKKKKKKK HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
            &[Miss],
        ),
        open(
            "a DELETE with a body",
            "RFC 9110 9.3.5",
            "DELETE /KKKKKKKK HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
            &[Miss],
        ),
        open(
            "an OPTIONS with a body",
            "RFC 9110 9.3.7",
            "OPTIONS * HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
            &[OPTIONS_ANSWER],
        ),
        open(
            "a write to a reserved name is refused, its body dropped",
            "RFC 9110 15.5.6",
            "PUT /size HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
            &[ErrorWith(405, ALLOW_RESERVED)],
        ),
        open(
            "a reserved name is compared after decoding",
            "RFC 9110 4.2.3",
            "DELETE /%73i%7ae HTTP/1.1\r\nHost: t\r\n\r\n",
            &[ErrorWith(405, ALLOW_RESERVED)],
        ),
    ]
}

fn targets() -> Vec<Row> {
    use Answer::{Created, Error, ErrorWith, Hit, Miss};
    vec![
        open("a query is ignored", "3.2.1", "GET /hit?a=b&c HTTP/1.1\r\nHost: t\r\n\r\n", &[Hit]),
        open(
            "a query is not decoded",
            "3.2.1",
            "GET /hit?%zz%0 HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Hit],
        ),
        open(
            "a percent-encoded key",
            "RFC 3986 2.1",
            "GET /%68%69%74 HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Hit],
        ),
        open(
            "percent-encoding in upper and lower case",
            "RFC 3986 2.1",
            "GET /%6a%6A%4F%4f HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open(
            "a key of bytes above ASCII, encoded",
            "RFC 3986 2.1",
            "GET /%00%ff%c3%28 HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open(
            "an encoded question mark is part of the key",
            "RFC 3986 2.2",
            "GET /hit%3Fa HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open(
            "dot segments are key bytes",
            "RFC 3986 6.2.2.3",
            "GET /x/../hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open(
            "a second slash is a key byte",
            "RFC 3986 6.2.3",
            "GET //hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open(
            "a final slash is a key byte",
            "RFC 3986 6.2.3",
            "GET /hit/ HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open(
            "visible characters outside RFC 3986",
            "3.2",
            "GET /a\"b<c>{d}|\\^`[] HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Miss],
        ),
        open(
            "a percent sign alone",
            "RFC 3986 2.1",
            "GET /a% HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(400)],
        ),
        open(
            "a percent sign with one digit",
            "RFC 3986 2.1",
            "GET /a%4 HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(400)],
        ),
        open(
            "a percent sign with wrong digits",
            "RFC 3986 2.1",
            "GET /a%4g HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(400)],
        ),
        open(
            "a percent sign before an encoded one",
            "RFC 3986 2.1",
            "GET /%%41 HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(400)],
        ),
        open(
            "an encoding cut off by the query",
            "RFC 3986 2.1",
            "GET /a%4?1 HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(400)],
        ),
        open(
            "the body of a request with a broken key is dropped",
            "RFC 3986 2.1",
            "PUT /%zz HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nGET /",
            &[Error(400)],
        ),
        open("absolute-form", "3.2.2", "GET http://t/hit HTTP/1.1\r\nHost: t\r\n\r\n", &[Hit]),
        open(
            "absolute-form, scheme in upper case",
            "3.2.2",
            "GET HTTP://t/hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Hit],
        ),
        open(
            "absolute-form of https",
            "3.2.2",
            "GET https://t:8443/hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Hit],
        ),
        open(
            "absolute-form beats a different Host",
            "3.2.2",
            "GET http://a/hit HTTP/1.1\r\nHost: b.example\r\n\r\n",
            &[Hit],
        ),
        open(
            "absolute-form with a query",
            "3.2.2",
            "GET http://t/hit?x=/y HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Hit],
        ),
        open(
            "absolute-form without a path names the root",
            "3.2.2",
            "PUT http://t HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
            &[ErrorWith(405, ALLOW_RESERVED)],
        ),
        open(
            "PUT by absolute-form, GET by origin-form",
            "3.2.2",
            "PUT http://x/KKKKKKKK HTTP/1.1\r\nHost: y\r\nContent-Length: 1\r\n\r\nv",
            &[Created],
        )
        .keeps(b"v"),
        refused("absolute-form without Host", "3.2.2", "GET http://t/hit HTTP/1.1\r\n\r\n", 400),
        refused(
            "absolute-form without a host",
            "RFC 9110 4.2.1",
            "GET http:///hit HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused(
            "absolute-form of another scheme",
            "3.2.2",
            "GET ftp://t/hit HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("a target without a slash", "3.2", "GET hit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused(
            "authority-form without CONNECT",
            "3.2.3",
            "GET t:80 HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("asterisk-form without OPTIONS", "3.2.4", "GET * HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused(
            "asterisk-form that goes on",
            "3.2.4",
            "OPTIONS *x HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("a query without a path", "3.2", "GET ?x HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a fragment", "3.2", "GET /hit#x HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a NUL in the target", "3.2", "GET /h\0it HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused(
            "a control character in the target",
            "3.2",
            "GET /h\x01it HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("a DEL in the target", "3.2", "GET /h\x7fit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a bare CR in the target", "3.2", "GET /h\rit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused("a bare LF in the target", "3.2", "GET /h\nit HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        refused(
            "a byte above ASCII in the target",
            "3.2",
            b"GET /h\xc3\xa4t HTTP/1.1\r\nHost: t\r\n\r\n",
            400,
        ),
    ]
}

fn fields() -> Vec<Row> {
    use Answer::Hit;
    vec![
        open("no space after the colon", "5", "GET /hit HTTP/1.1\r\nHost:t\r\n\r\n", &[Hit]),
        open(
            "white space around the value",
            "5",
            "GET /hit HTTP/1.1\r\nHost: \t t \t \r\n\r\n",
            &[Hit],
        ),
        open("names in any case", "RFC 9110 5.1", "GET /hit HTTP/1.1\r\nhOsT: t\r\n\r\n", &[Hit]),
        open("a field with an empty value", "RFC 9110 5.5", get!("X-Empty:"), &[Hit]),
        open("a value of white space", "RFC 9110 5.5", get!("X-Empty: \t "), &[Hit]),
        open("a tab inside a value", "RFC 9110 5.5", get!("X: a\tb"), &[Hit]),
        open("a colon inside a value", "RFC 9110 5.5", get!("X: a: b:c"), &[Hit]),
        open(
            "bytes above ASCII in a value",
            "RFC 9110 5.5",
            b"GET /hit HTTP/1.1\r\nHost: t\r\nX: \xc3\xa4\xff\x80\r\n\r\n",
            &[Hit],
        ),
        open(
            "a name of all kinds of token characters",
            "RFC 9110 5.6.2",
            get!("!#$%&'*+-.^_`|~09Az: x"),
            &[Hit],
        ),
        open(
            "the same unknown field many times",
            "RFC 9110 5.3",
            get!("X: 1", "X: 2", "x: 3"),
            &[Hit],
        ),
        refused("a space before the colon", "5.1", get!("X : y"), 400),
        refused("a tab before the colon", "5.1", get!("X\t: y"), 400),
        refused("a space in the name", "5.1", get!("X Y: z"), 400),
        refused("an empty name", "5.1", get!(": y"), 400),
        refused("a parenthesis in the name", "5.1", get!("X(y): z"), 400),
        refused("a quote in the name", "5.1", get!("\"X\": z"), 400),
        refused("a NUL in the name", "5.1", get!("X\0: z"), 400),
        refused("a vertical tab before the name", "5.1", get!("\x0bX: z"), 400),
        refused(
            "a byte above ASCII in the name",
            "5.1",
            b"GET /hit HTTP/1.1\r\nHost: t\r\nX\xc3\xa4: y\r\n\r\n",
            400,
        ),
        refused("a line without a colon", "5", get!("garbage"), 400),
        refused("a folded line (space)", "5.2", get!("X: a", " b"), 400),
        refused("a folded line (tab)", "5.2", get!("X: a", "\tb"), 400),
        refused("a folded line of white space only", "5.2", get!("X: a", " "), 400),
        refused(
            "white space before the first field",
            "2.2",
            "GET /hit HTTP/1.1\r\n Host: t\r\n\r\n",
            400,
        ),
        refused(
            "a space before the first of two fields",
            "2.2",
            "GET /hit HTTP/1.1\r\n X: y\r\nHost: t\r\n\r\n",
            400,
        ),
        refused("a NUL in a value", "RFC 9110 5.5", get!("X: a\0b"), 400),
        refused("a bare CR in a value", "2.2", get!("X: a\rb"), 400),
        refused("CR CR LF after a value", "2.2", get!("X: a\r"), 400),
        refused(
            "a bare LF after a value",
            "2.2",
            "GET /hit HTTP/1.1\r\nHost: t\r\nX: a\n\r\n",
            400,
        ),
        refused("a bare LF in a value", "2.2", get!("X: a\nY: b"), 400),
        refused("a control character in a value", "RFC 9110 5.5", get!("X: a\x01b"), 400),
        refused("a DEL in a value", "RFC 9110 5.5", get!("X: a\x7fb"), 400),
        refused("a bare LF ends the head", "2.2", "GET /hit HTTP/1.1\r\nHost: t\r\n\n", 400),
        refused("CR CR LF ends the head", "2.2", "GET /hit HTTP/1.1\r\nHost: t\r\n\r\r\n", 400),
    ]
}

/// A GET whose head has exactly this many bytes.
fn head_of(len: usize) -> String {
    let start = "GET /hit HTTP/1.1\r\nHost: t\r\nX: ";
    format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4))
}

fn limits() -> Vec<Row> {
    use Answer::{Error, Hit, Miss};
    const HEADER_BYTES_MAX: usize = 16 * 1024;
    let fields = |count: usize| {
        let lines: String = (1..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
        format!("GET /hit HTTP/1.1\r\nHost: t\r\n{lines}\r\n")
    };
    vec![
        open("a head of just the limit", "3", head_of(HEADER_BYTES_MAX), &[Hit]),
        refused("a head one byte over the limit", "RFC 6585 5", head_of(HEADER_BYTES_MAX + 1), 431),
        refused("a head of twice the limit", "RFC 6585 5", head_of(HEADER_BYTES_MAX * 2), 431),
        refused(
            "a request line over the limit",
            "3",
            format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(HEADER_BYTES_MAX)),
            414,
        ),
        refused("a method without end", "3", "G".repeat(HEADER_BYTES_MAX + 100), 414),
        refused(
            "a target without end",
            "3",
            format!("GET /{}", "x".repeat(HEADER_BYTES_MAX + 100)),
            414,
        ),
        open("a hundred fields", "5", fields(100), &[Hit]),
        refused("a hundred and one fields", "RFC 6585 5", fields(101), 431),
        open(
            "a key of just the limit",
            "3",
            format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(1024)),
            &[Miss],
        ),
        open(
            "a key of just the limit, encoded",
            "3",
            format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "%78".repeat(1024)),
            &[Miss],
        ),
        open(
            "a key one byte over the limit",
            "3",
            format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(1025)),
            &[Error(414)],
        ),
        open(
            "a key over the limit, its body dropped",
            "3",
            format!(
                "PUT /{} HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc",
                "x".repeat(1025)
            ),
            &[Error(414)],
        ),
        open(
            "a long query does not count for the key",
            "3.2.1",
            format!("GET /hit?{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(1025)),
            &[Hit],
        ),
    ]
}

fn host() -> Vec<Row> {
    use Answer::Hit;
    vec![
        open("an empty Host", "3.2", "GET /hit HTTP/1.1\r\nHost:\r\n\r\n", &[Hit]),
        open("a Host with a port", "3.2", "GET /hit HTTP/1.1\r\nHost: t:8080\r\n\r\n", &[Hit]),
        open("a Host of IPv4", "3.2", "GET /hit HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n", &[Hit]),
        open("a Host of IPv6", "3.2", "GET /hit HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", &[Hit]),
        open(
            "a Host after other fields",
            "3.2",
            "GET /hit HTTP/1.1\r\nX: y\r\nHost: t\r\n\r\n",
            &[Hit],
        ),
        refused(
            "a Host with a bracket in brackets",
            "3.2",
            "GET /hit HTTP/1.1\r\nHost: [a:[b]\r\n\r\n",
            400,
        ),
        refused("a Host of empty brackets", "3.2", "GET /hit HTTP/1.1\r\nHost: []\r\n\r\n", 400),
        refused("no Host", "3.2", "GET /hit HTTP/1.1\r\n\r\n", 400),
        refused("no Host, other fields", "3.2", "GET /hit HTTP/1.1\r\nX: y\r\n\r\n", 400),
        refused("two equal Hosts", "3.2", "GET /hit HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n", 400),
        refused(
            "two different Hosts",
            "3.2",
            "GET /hit HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\n\r\n",
            400,
        ),
        refused("a space in Host", "3.2", "GET /hit HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        refused("a slash in Host", "3.2", "GET /hit HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        refused("user information in Host", "3.2", "GET /hit HTTP/1.1\r\nHost: u@t\r\n\r\n", 400),
        refused("letters in Host's port", "3.2", "GET /hit HTTP/1.1\r\nHost: t:8x\r\n\r\n", 400),
        refused("two ports in Host", "3.2", "GET /hit HTTP/1.1\r\nHost: t:80:80\r\n\r\n", 400),
        refused(
            "a byte above ASCII in Host",
            "3.2",
            b"GET /hit HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n",
            400,
        ),
        closes("HTTP/1.0 needs no Host", "3.2", "GET /hit HTTP/1.0\r\n\r\n", &[Hit]),
        refused(
            "HTTP/1.0 with two Hosts",
            "3.2",
            "GET /hit HTTP/1.0\r\nHost: t\r\nHost: t\r\n\r\n",
            400,
        ),
    ]
}

/// What a browser sends with a request of a page of another site, and of one of its own.
const CROSS_SITE: &str = "Sec-Fetch-Site: cross-site\r\n";
const OWN: &str = "Sec-Fetch-Site: same-origin\r\n";

/// The final response to a browser: what stands behind its Date, then what the others get.
macro_rules! to_browser {
    ($status:literal, $rest:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nDate: -\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Security-Policy: sandbox\r\n",
            $rest
        )
    };
}

/// Requests of web pages: a refused one has its body read all the same. The sections are those of
/// docs/http-api.md.
fn origins() -> Vec<Row> {
    use Answer::{Continue, Error, Exact, Hit};
    let hit = Exact(to_browser!("200 OK", "Content-Length: 5\r\n\r\nvalue"));
    let created = Exact(to_browser!("201 Created", "Content-Length: 0\r\n\r\n"));
    let write = Exact(to_browser!(
        "403 Forbidden",
        "Content-Type: text/plain\r\nContent-Length: 78\r\n\r\n\
         a page of another origin may not change this (Sec-Fetch-Site, or else Origin)\n"
    ));
    let write_closing = Exact(to_browser!(
        "403 Forbidden",
        "Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 78\r\n\r\n\
         a page of another origin may not change this (Sec-Fetch-Site, or else Origin)\n"
    ));
    let read = Exact(to_browser!(
        "403 Forbidden",
        "Content-Type: text/plain\r\nContent-Length: 84\r\n\r\n\
         a page of another site may not read this (Sec-Fetch-Site); open its address instead\n"
    ));
    let chunk = Exact(to_browser!(
        "400 Bad Request",
        "Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n\r\n\
         malformed chunk size\n"
    ));
    let get = |line: &str| format!("GET /hit HTTP/1.1\r\nHost: t\r\n{line}\r\n");
    let put =
        |lines: &str, body: &str| format!("PUT /KKKKKKKK HTTP/1.1\r\nHost: t\r\n{lines}\r\n{body}");
    let length = format!("{CROSS_SITE}Content-Length: 55\r\n");
    let chunked = format!("{CROSS_SITE}Transfer-Encoding: chunked\r\n");
    let chunks = concat!("37\r\n", smuggled!(), "\r\n0\r\n\r\n");
    let mixed = [get(""), get(OWN), get(OWN), get(""), get(CROSS_SITE), get("")].concat();
    let answers = [Hit, hit.clone(), hit, Hit, read, Hit];
    vec![
        open("browsers and others in one pipeline", "Web pages", mixed, &answers),
        open(
            "a page's own write",
            "Web pages",
            put(&[OWN, "Content-Length: 1\r\n"].concat(), "v"),
            &[created],
        )
        .keeps(b"v"),
        open("a refused write", "Web pages", put(&length, smuggled!()), slice::from_ref(&write))
            .keeps_nothing(),
        open(
            "a refused chunked write",
            "Web pages",
            put(&chunked, chunks),
            slice::from_ref(&write),
        )
        .keeps_nothing(),
        closes(
            "a refused write that expects",
            "Web pages",
            put(&format!("{length}Expect: 100-continue\r\n"), ""),
            &[write_closing],
        )
        .keeps_nothing(),
        waits("a refused write without its end", "Web pages", put(&length, "PUT"), &[])
            .keeps_nothing(),
        open(
            "a refused delete",
            "Web pages",
            format!("DELETE /hit HTTP/1.1\r\nHost: t\r\n{CROSS_SITE}\r\n"),
            &[write],
        ),
        closes(
            "a page's own write that is malformed",
            "Web pages",
            put(&format!("{OWN}Transfer-Encoding: chunked\r\n"), "x\r\n"),
            &[chunk],
        ),
        open(
            "a page's own write that expects",
            "Web pages",
            put(&format!("{OWN}Content-Length: 1\r\nExpect: 100-continue\r\n"), "v"),
            &[Continue, Exact(to_browser!("201 Created", "Content-Length: 0\r\n\r\n"))],
        )
        .keeps(b"v"),
        refused(
            "a page's request with two Hosts",
            "Web pages",
            get(&format!("Host: t\r\n{OWN}")),
            400,
        ),
        open(
            "a read of another host",
            "Web pages",
            "GET /hit HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            &[Error(421)],
        ),
        open(
            "a write to another host",
            "Web pages",
            "PUT /KKKKKKKK HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1\r\n\r\nx",
            &[Error(421)],
        )
        .keeps_nothing(),
        open(
            "an absolute target of another host",
            "Web pages",
            "GET http://evil.example/hit HTTP/1.1\r\nHost: t\r\n\r\n",
            &[Error(421)],
        ),
        open(
            "an absolute target does not change what is remembered of its fields",
            "Web pages",
            "GET http://evil.example/hit HTTP/1.1\r\nHost: t\r\nX: y\r\n\r\n\
             GET /hit HTTP/1.1\r\nHost: t\r\nX: y\r\n\r\n\
             GET http://evil.example/hit HTTP/1.1\r\nHost: t\r\nX: y\r\n\r\n",
            &[Error(421), Hit, Error(421)],
        ),
    ]
}

fn content_length() -> Vec<Row> {
    use Answer::{Created, Hit};
    vec![
        open("an empty value", "6.3", put!("Content-Length: 0"; ""), &[Created]).keeps(b""),
        open("neither length nor coding means no body", "6.3", put!(; ""), &[Created]).keeps(b""),
        open(
            "a body that looks like a request",
            "6.3",
            put!("Content-Length: 18"; "GET / HTTP/1.1\r\n\r\n"),
            &[Created],
        )
        .keeps(b"GET / HTTP/1.1\r\n\r\n"),
        open(
            "leading zeros",
            "6.2",
            put!("Content-Length: 0000000000000000000000005"; "hello"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "white space around the length",
            "6.2",
            put!("Content-Length: \t5 \t"; "hello"),
            &[Created],
        )
        .keeps(b"hello"),
        refused(
            "the same length twice",
            "6.3",
            put!("Content-Length: 5", "Content-Length: 5"; "hello"),
            400,
        )
        .keeps_nothing(),
        refused("a list of equal lengths", "6.3", put!("Content-Length: 5, 5"; "hello"), 400)
            .keeps_nothing(),
        refused(
            "a list of equal lengths without spaces",
            "6.3",
            put!("Content-Length: 5,5,5"; "hello"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a list of equal lengths, one with a zero before it",
            "6.3",
            put!("Content-Length: 5,05"; "hello"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a length of zero twice, at GET",
            "6.3",
            get!("Content-Length: 0", "Content-Length: 0"),
            400,
        ),
        open(
            "an underscore instead of the hyphen",
            "6.2",
            put!("Content_Length: 5"; ""),
            &[Created],
        )
        .keeps(b""),
        open("a field whose name ends alike", "6.2", put!("X-Content-Length: 5"; ""), &[Created])
            .keeps(b""),
        open("a body of zero bytes at GET", "6.3", get!("Content-Length: 0"), &[Hit]),
        refused(
            "different lengths",
            "6.3",
            put!("Content-Length: 5", "Content-Length: 6"; "hello"),
            400,
        ),
        refused(
            "different lengths, the first zero",
            "6.3",
            put!("Content-Length: 0", "Content-Length: 5"; "hello"),
            400,
        ),
        refused("a list of different lengths", "6.3", put!("Content-Length: 5, 6"; "hello"), 400),
        refused("a list that ends in a comma", "6.3", put!("Content-Length: 5,"; "hello"), 400),
        refused("a list that begins with a comma", "6.3", put!("Content-Length: ,5"; "hello"), 400),
        refused("no digits", "6.2", put!("Content-Length:"; "hello"), 400),
        refused("a plus sign", "6.2", put!("Content-Length: +5"; "hello"), 400),
        refused("a minus sign", "6.2", put!("Content-Length: -5"; "hello"), 400),
        refused("minus zero", "6.2", put!("Content-Length: -0"; ""), 400),
        refused("a space between digits", "6.2", put!("Content-Length: 1 0"; "helloworld"), 400),
        refused("a hexadecimal length", "6.2", put!("Content-Length: 0x5"; "hello"), 400),
        refused("a length with a fraction", "6.2", put!("Content-Length: 5.0"; "hello"), 400),
        refused("a length with an exponent", "6.2", put!("Content-Length: 1e1"; "helloworld"), 400),
        refused(
            "an underscore between digits",
            "6.2",
            put!("Content-Length: 1_0"; "helloworld"),
            400,
        ),
        refused("a length with a parameter", "6.2", put!("Content-Length: 5;x"; "hello"), 400),
        refused("a quoted length", "6.2", put!("Content-Length: \"5\""; "hello"), 400),
        refused("a length of letters", "6.2", put!("Content-Length: five"; "hello"), 400),
        refused(
            "a vertical tab after the length",
            "6.2",
            put!("Content-Length: 5\x0b"; "hello"),
            400,
        ),
        refused("digits that are not ASCII", "6.2", put!("Content-Length: \u{ff15}"; "hello"), 400),
        refused(
            "a length of 2^64",
            "6.3",
            put!("Content-Length: 18446744073709551616"; "hello"),
            400,
        ),
        refused(
            "a length of 2^64 and 5",
            "6.3",
            put!("Content-Length: 18446744073709551621"; "hello"),
            400,
        ),
        refused(
            "a length of thirty digits",
            "6.3",
            put!("Content-Length: 100000000000000000000000000005"; "hello"),
            400,
        ),
        refused("a malformed length at GET", "6.3", get!("Content-Length: x"), 400),
        refused("a folded length", "5.2", put!("Content-Length:", " 5"; "hello"), 400),
        refused(
            "a length over the limit",
            "RFC 9110 15.5.14",
            put!("Content-Length: 33554433"; "hello"),
            413,
        )
        .keeps_nothing(),
        refused(
            "a length of 2^64 - 1",
            "RFC 9110 15.5.14",
            put!("Content-Length: 18446744073709551615"; "hello"),
            413,
        )
        .keeps_nothing(),
        closes(
            "a body on HTTP/1.0",
            "6.3",
            "PUT /KKKKKKKK HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
            &[Created],
        )
        .keeps(b"hello"),
    ]
}

fn transfer_encoding() -> Vec<Row> {
    use Answer::{Created, Hit};
    vec![
        open("chunked", "6.1", chunked!("5\r\nhello\r\n0\r\n\r\n"), &[Created]).keeps(b"hello"),
        open(
            "chunked in mixed case",
            "6.1",
            put!("tRANSFER-eNCODING: cHuNkEd"; "5\r\nhello\r\n0\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "white space around chunked",
            "6.1",
            put!("Transfer-Encoding:\t chunked \t"; "5\r\nhello\r\n0\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "an underscore instead of Transfer-Encoding's hyphen",
            "6.1",
            put!("Transfer_Encoding: chunked", "Content-Length: 5"; "hello"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "TE is not Transfer-Encoding",
            "RFC 9110 10.1.4",
            get!("TE: chunked, trailers"),
            &[Hit],
        ),
        refused(
            "a coding before chunked",
            "6.1",
            put!("Transfer-Encoding: gzip, chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            501,
        ),
        refused(
            "a coding before chunked, on two lines",
            "6.1",
            put!("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            501,
        ),
        refused(
            "an unknown coding before chunked",
            "6.1",
            put!("Transfer-Encoding: cow, chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            501,
        ),
        refused(
            "chunked is not the last coding",
            "6.3",
            put!("Transfer-Encoding: chunked, gzip"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "chunked, then another coding on a second line",
            "6.3",
            put!("Transfer-Encoding: chunked", "Transfer-Encoding: identity"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "chunked twice",
            "6.1",
            put!("Transfer-Encoding: chunked, chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "chunked on two lines",
            "6.1",
            put!("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "a comma before chunked",
            "RFC 9110 5.6.1",
            put!("Transfer-Encoding: ,chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a comma after chunked",
            "RFC 9110 5.6.1",
            put!("Transfer-Encoding: chunked,"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "an empty coding between two",
            "RFC 9110 5.6.1",
            put!("Transfer-Encoding: gzip, ,chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "an empty Transfer-Encoding before a chunked one",
            "RFC 9110 5.6.1",
            put!("Transfer-Encoding:", "Transfer-Encoding: chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "an empty Transfer-Encoding after a chunked one",
            "RFC 9110 5.6.1",
            put!("Transfer-Encoding: chunked", "Transfer-Encoding: "; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused("gzip alone", "6.3", put!("Transfer-Encoding: gzip"; "hello"), 400),
        refused("identity", "6.3", put!("Transfer-Encoding: identity"; "hello"), 400),
        refused("no coding", "6.3", put!("Transfer-Encoding:"; "hello"), 400),
        refused(
            "chunked with a parameter",
            "6.1",
            put!("Transfer-Encoding: chunked;x=1"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "quoted chunked",
            "6.1",
            put!("Transfer-Encoding: \"chunked\""; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "xchunked",
            "6.1",
            put!("Transfer-Encoding: xchunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "chunkedx",
            "6.1",
            put!("Transfer-Encoding: chunkedx"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "two words",
            "6.1",
            put!("Transfer-Encoding: x chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "a vertical tab before chunked",
            "6.1",
            put!("Transfer-Encoding: \x0bchunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "a vertical tab after chunked",
            "6.1",
            put!("Transfer-Encoding: chunked\x0b"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "a NUL before chunked",
            "6.1",
            put!("Transfer-Encoding: \0chunked"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "a byte above ASCII after chunked",
            "6.1",
            put!("Transfer-Encoding: chunked\u{a0}"; "5\r\nhello\r\n0\r\n\r\n"),
            400,
        ),
        refused(
            "chunked on HTTP/1.0",
            "6.1",
            "PUT /KKKKKKKK HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            400,
        )
        .keeps_nothing(),
        refused(
            "gzip, chunked on HTTP/1.0",
            "6.1",
            "PUT /KKKKKKKK HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
        )
        .keeps_nothing(),
    ]
}

fn chunks() -> Vec<Row> {
    use Answer::Created;
    let long_line = |len: usize| {
        format!(
            "PUT /KKKKKKKK HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5;{}\r\nhello\r\n0\r\n\r\n",
            "x".repeat(len - 2)
        )
    };
    let trailers = format!(
        "PUT /KKKKKKKK HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {}\r\n\r\n",
        "x".repeat(17 * 1024)
    );
    vec![
        open("no chunk but the last", "7.1", chunked!("0\r\n\r\n"), &[Created]).keeps(b""),
        open("several chunks", "7.1", chunked!("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n"), &[Created])
            .keeps(b"hello"),
        open("a size in upper case", "7.1", chunked!("A\r\n0123456789\r\n0\r\n\r\n"), &[Created])
            .keeps(b"0123456789"),
        open("a size in lower case", "7.1", chunked!("a\r\n0123456789\r\n0\r\n\r\n"), &[Created])
            .keeps(b"0123456789"),
        open(
            "leading zeros in the size",
            "7.1",
            chunked!("0005\r\nhello\r\n0000\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "a size of sixteen digits",
            "7.1",
            chunked!("0000000000000005\r\nhello\r\n0\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        refused(
            "line ends where data was announced",
            "7.1",
            chunked!("6\r\n\r\n0\r\n\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        open(
            "line ends that are data",
            "7.1",
            chunked!("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
            &[Created],
        )
        .keeps(b"\r\n0\r\n\r\n"),
        open("an extension", "7.1.1", chunked!("5;a=b\r\nhello\r\n0\r\n\r\n"), &[Created])
            .keeps(b"hello"),
        open(
            "an extension without a value",
            "7.1.1",
            chunked!("5;a\r\nhello\r\n0;b\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "an extension with a quoted value",
            "7.1.1",
            chunked!("5;a=\"b c;d\"\r\nhello\r\n0\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "several extensions",
            "7.1.1",
            chunked!("5;a=b;c=d;e\r\nhello\r\n0\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "white space before an extension",
            "7.1.1",
            chunked!("5 \t;a=b\r\nhello\r\n0\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "white space within an extension",
            "7.1.1",
            chunked!("5 ;\ta = b\t; c =\"d\" ;e ;f\r\nhello\r\n0; g\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "a quoted value with quoted and odd bytes",
            "RFC 9110 5.6.4",
            chunked!("5;a=\"\\\"\\\\;,\t[\u{e4}\";b=\"\"\r\nhello\r\n0\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open("a size line of just the limit", "7.1.1", long_line(1000), &[Created]).keeps(b"hello"),
        open("a trailer field", "7.1.2", chunked!("5\r\nhello\r\n0\r\nX: y\r\n\r\n"), &[Created])
            .keeps(b"hello"),
        open(
            "several trailer fields",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nX: y\r\nZ:\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "Content-Length in a trailer means nothing",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "Transfer-Encoding in a trailer means nothing",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        open(
            "Connection in a trailer means nothing",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nConnection: close\r\n\r\n"),
            &[Created],
        )
        .keeps(b"hello"),
        refused("no size", "7.1", chunked!("\r\nhello\r\n0\r\n\r\n"), 400).keeps_nothing(),
        refused("a size that is no number", "7.1", chunked!("x\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a size with a prefix", "7.1", chunked!("0x5\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a size with a plus sign", "7.1", chunked!("+5\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a size with a minus sign", "7.1", chunked!("-5\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a size with an underscore", "7.1", chunked!("0_5\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("letters after the size", "7.1", chunked!("5g\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a space before the size", "7.1", chunked!(" 5\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a space after the size", "7.1", chunked!("5 \r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a space inside the size", "7.1", chunked!("0 5\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a NUL after the size", "7.1", chunked!("5\0\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused(
            "a size of seventeen digits",
            "7.1",
            chunked!("00000000000000005\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a size of 2^64 and 5",
            "7.1",
            chunked!("10000000000000005\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a size of 2^64 - 1",
            "7.1",
            chunked!("FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
            413,
        )
        .keeps_nothing(),
        refused("a size of 2^63", "7.1", chunked!("8000000000000000\r\nhello\r\n0\r\n\r\n"), 413)
            .keeps_nothing(),
        refused(
            "a chunk over the limit",
            "RFC 9110 15.5.14",
            chunked!("2000001\r\nhello\r\n0\r\n\r\n"),
            413,
        )
        .keeps_nothing(),
        refused(
            "chunks over the limit together",
            "RFC 9110 15.5.14",
            chunked!("5\r\nhello\r\n1fffffc\r\nhello\r\n0\r\n\r\n"),
            413,
        )
        .keeps_nothing(),
        refused(
            "sizes whose sum overflows",
            "RFC 9110 15.5.14",
            chunked!("5\r\nhello\r\nFFFFFFFFFFFFFFFE\r\nhello\r\n0\r\n\r\n"),
            413,
        )
        .keeps_nothing(),
        refused("a bare LF after the size", "7.1", chunked!("5\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a bare CR after the size", "7.1", chunked!("5\rhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("CR CR LF after the size", "7.1", chunked!("5\r\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a bare LF after the data", "7.1", chunked!("5\r\nhello\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a bare CR after the data", "7.1", chunked!("5\r\nhello\r0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("nothing after the data", "7.1", chunked!("5\r\nhello0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("more data than the size says", "7.1", chunked!("4\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("less data than the size says", "7.1", chunked!("6\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("an extension without a name", "7.1.1", chunked!("5;\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused(
            "white space for an extension",
            "7.1.1",
            chunked!("5; \r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "an extension of an equals sign",
            "7.1.1",
            chunked!("5;=\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused("two semicolons", "7.1.1", chunked!("5;;a\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused(
            "a semicolon behind an extension",
            "7.1.1",
            chunked!("5;a;\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "an extension without its value",
            "7.1.1",
            chunked!("5;a=\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "white space behind an extension's name",
            "7.1.1",
            chunked!("5;a \r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "white space behind an extension's value",
            "7.1.1",
            chunked!("5;a=b \r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "white space behind a quoted value",
            "7.1.1",
            chunked!("5;a=\"b\" \r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a bracket in an extension's name",
            "7.1.1",
            chunked!("5;bad[=x\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a bracket in an extension's value",
            "7.1.1",
            chunked!("5;a=b[c\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused("two words in an extension", "7.1.1", chunked!("5;a b\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("two words for a value", "7.1.1", chunked!("5;a=b c\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a second equals sign", "7.1.1", chunked!("5;a=b=c\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a quoted name", "7.1.1", chunked!("5;\"a\"=b\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused(
            "a quote within a value",
            "7.1.1",
            chunked!("5;a=b\"c\"\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "letters behind a quoted value",
            "7.1.1",
            chunked!("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a quoted value without its end",
            "7.1.1",
            chunked!("5;a=\"b\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a quoted value that a backslash goes on",
            "7.1.1",
            chunked!("5;a=\"b\\\"\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a byte above ASCII in an extension",
            "7.1.1",
            chunked!("5;\u{e4}\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a control character in a quoted value",
            "7.1.1",
            chunked!("5;a=\"\x01\"\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a control character behind a backslash",
            "7.1.1",
            chunked!("5;a=\"\\\x7f\"\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a malformed extension behind the last size",
            "7.1.1",
            chunked!("5\r\nhello\r\n0;\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a bare LF in an extension",
            "7.1.1",
            chunked!("5;a\nb\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a bare CR in an extension",
            "7.1.1",
            chunked!("5;a\rb\r\nhello\r\n0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused("a bare LF ends an extension", "7.1.1", chunked!("5;a\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a NUL in an extension", "7.1.1", chunked!("5;a\0b\r\nhello\r\n0\r\n\r\n"), 400)
            .keeps_nothing(),
        refused("a size line over the limit", "7.1.1", long_line(1200), 400).keeps_nothing(),
        refused("a bare LF after the last size", "7.1", chunked!("5\r\nhello\r\n0\n\r\n"), 400)
            .keeps_nothing(),
        refused(
            "a bare LF ends the trailer section",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\n\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a trailer line without a colon",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nbad\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a space before a trailer's colon",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a folded trailer line",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a bare LF after a trailer field",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nX: y\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused(
            "a NUL in a trailer field",
            "7.1.2",
            chunked!("5\r\nhello\r\n0\r\nX: \0\r\n\r\n"),
            400,
        )
        .keeps_nothing(),
        refused("trailer fields over the limit", "7.1.2", trailers, 431).keeps_nothing(),
    ]
}

fn smuggling() -> Vec<Row> {
    use Answer::{Created, Hit};
    vec![
        refused("CL.TE: length first", "6.3", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("TE.CL: coding first", "6.3", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n37\r\n", smuggled!(), "\r\n0\r\n\r\n"), 400).keeps_nothing(),
        refused("both, agreeing", "6.3", put!("Transfer-Encoding: chunked", "Content-Length: 15"; "5\r\nhello\r\n0\r\n\r\n"), 400).keeps_nothing(),
        refused("both, the length zero", "6.3", put!("Content-Length: 0", "Transfer-Encoding: chunked"; "5\r\nhello\r\n0\r\n\r\n"), 400).keeps_nothing(),
        refused("both, the length malformed", "6.3", put!("Transfer-Encoding: chunked", "Content-Length: x"; "0\r\n\r\n"), 400).keeps_nothing(),
        refused("both, at GET", "6.3", concat!("GET /hit HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("both, the coding unknown", "6.3", put!("Transfer-Encoding: gzip, chunked", "Content-Length: 5"; "hello"), 400).keeps_nothing(),
        refused("TE.TE: an unknown second coding", "6.1", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("TE.TE: a space before the colon", "5.1", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 60\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("TE.TE: a space before the name", "5.2", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 60\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("TE.TE: behind a folded line", "5.2", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 60\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("TE.TE: behind a bare LF in a value", "2.2", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 60\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("TE.TE: behind a bare CR in a value", "2.2", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 60\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("TE.TE: behind a NUL", "5.1", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 60\r\n\0Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("a length behind a space before the colon", "5.1", concat!("GET /hit HTTP/1.1\r\nHost: t\r\nContent-Length : 55\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("a length behind a tab before the colon", "5.1", concat!("GET /hit HTTP/1.1\r\nHost: t\r\nContent-Length\t: 55\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("a length behind a bare CR", "2.2", concat!("GET /hit HTTP/1.1\r\nHost: t\r\nX: y\rContent-Length: 55\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("CL.CL: different lengths", "6.3", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: 55\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("CL.CL: different lengths, names in different case", "6.3", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nContent-length: 0\r\nCONTENT-LENGTH: 55\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        open("CL.0: the body of a GET is not a request", "6.3", concat!("GET /hit HTTP/1.1\r\nHost: t\r\nContent-Length: 55\r\n\r\n", smuggled!()), &[Hit]).keeps_nothing(),
        open("CL.0: the body of an OPTIONS is not a request", "6.3", concat!("OPTIONS /hit HTTP/1.1\r\nHost: t\r\nContent-Length: 55\r\n\r\n", smuggled!()), &[OPTIONS_ANSWER]).keeps_nothing(),
        open("CL.0: the body of a refused write is not a request", "6.3", concat!("PUT /healthz HTTP/1.1\r\nHost: t\r\nContent-Length: 55\r\n\r\n", smuggled!()), &[Answer::ErrorWith(405, ALLOW_RESERVED)]).keeps_nothing(),
        open("TE.0: the chunked body of a GET is not a request", "6.3", concat!("GET /hit HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n37\r\n", smuggled!(), "\r\n0\r\n\r\n"), &[Hit]).keeps_nothing(),
        refused("a chunk size that a lenient reader takes for another", "7.1", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0x37\r\n", smuggled!(), "\r\n0\r\n\r\n"), 400).keeps_nothing(),
        refused("a chunk size that wraps around", "7.1", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("an extension whose line ends differ", "7.1.1", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("data that ends two bytes early", "7.1", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", smuggled!()), 400).keeps_nothing(),
        refused("a request in a trailer", "7.1.2", concat!("POST /hit2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", smuggled!()), 400).keeps_nothing(),
        closes("a request behind a Connection: close", "9.6", concat!("GET /hit HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", smuggled!()), &[HIT_CLOSE]).keeps_nothing(),
        closes("a request behind an HTTP/1.0 request", "9.3", concat!("GET /hit HTTP/1.0\r\n\r\n", smuggled!()), &[Hit]).keeps_nothing(),
        refused("a request behind a refused length", "6.3", concat!("PUT /hit2 HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999\r\n\r\n", smuggled!()), 413).keeps_nothing(),
        refused("a request behind a refused expectation", "RFC 9110 10.1.1", concat!("PUT /hit2 HTTP/1.1\r\nHost: t\r\nExpect: x\r\nContent-Length: 55\r\n\r\n", smuggled!()), 417).keeps_nothing(),
        refused("a request behind an upgrade to HTTP/2 by preface", "2.3", concat!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", smuggled!()), 505).keeps_nothing(),
        open("preconditions by date are ignored", "RFC 9110 13.1.3", get!("If-Modified-Since: Sat, 29 Oct 2044 19:43:31 GMT", "If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT"), &[Hit]),
        open("a Range is ignored", "RFC 9110 14.2", put!("Range: bytes=0-0", "Content-Length: 5"; "hello"), &[Created]).keeps(b"hello"),
        open("an upgrade is declined", "RFC 9110 7.8", get!("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), &[Hit]),
        refused("a second Host smuggled by a bare LF", "3.2", "GET /hit HTTP/1.1\r\nHost: a\nHost: b\r\n\r\n", 400),
        refused("a request line inside a value", "2.2", concat!("GET /hit HTTP/1.1\r\nHost: t\r\nX: y\n\n", smuggled!()), 400).keeps_nothing(),
        open("absolute-form in a body is not a request", "3.2.2", put!("Content-Length: 21"; "GET http://evil/hit H"), &[Created]).keeps(b"GET http://evil/hit H"),
    ]
}

fn persistence() -> Vec<Row> {
    use Answer::{Created, Exact, Hit, Miss};
    const CREATED_CLOSE: Answer =
        Exact("HTTP/1.1 201 Created\r\nDate: -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    vec![
        closes("close is honoured", "9.6", get!("Connection: close"), &[HIT_CLOSE]),
        closes("close in mixed case", "9.6", get!("connection: cLoSe"), &[HIT_CLOSE]),
        closes("close in a list", "9.6", get!("Connection: x, close ,y"), &[HIT_CLOSE]),
        closes("empty elements around close", "RFC 9110 5.6.1", get!("Connection: , ,close,"), &[HIT_CLOSE]),
        closes("close on a second line", "9.6", get!("Connection: x", "Connection: close"), &[HIT_CLOSE]),
        closes("close beats keep-alive", "9.3", get!("Connection: keep-alive, close"), &[HIT_CLOSE]),
        closes("close beats a keep-alive after it", "9.3", get!("Connection: close", "Connection: keep-alive"), &[HIT_CLOSE]),
        closes("close at a miss", "9.6", "GET /KKKKKKKK HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", &[Exact("HTTP/1.1 404 Not Found\r\nDate: -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")]),
        closes("close at a HEAD", "9.6", "HEAD /hit HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", &[HEAD_HIT_CLOSE]),
        closes("close at a PUT", "9.6", put!("Connection: close", "Content-Length: 5"; "hello"), &[CREATED_CLOSE]).keeps(b"hello"),
        closes("close at a chunked PUT", "9.6", put!("Connection: close", "Transfer-Encoding: chunked"; "5\r\nhello\r\n0\r\n\r\n"), &[CREATED_CLOSE]).keeps(b"hello"),
        closes("close at a DELETE", "9.6", "DELETE /KKKKKKKK HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", &[Exact("HTTP/1.1 404 Not Found\r\nDate: -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")]),
        closes("close at the second of three", "9.6", concat!(get!(), get!("Connection: close"), get!()), &[Hit, HIT_CLOSE]),
        closes("close at a refused method", "9.6", "PATCH /hit HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", &[Answer::ErrorWith(405, ALLOW)]),
        open("keep-alive says nothing new in HTTP/1.1", "9.3", get!("Connection: keep-alive"), &[Hit]),
        open("another token than close", "9.6", get!("Connection: closed, clos, xclose"), &[Hit]),
        open("an empty Connection", "9.6", get!("Connection:"), &[Hit]),
        open("close in another field", "9.6", get!("Proxy-Connection: close", "X: close"), &[Hit]),
        closes("HTTP/1.0 closes", "9.3", "GET /hit HTTP/1.0\r\nHost: t\r\n\r\n", &[Hit]),
        closes("HTTP/1.0 closes at a miss", "9.3", "GET /KKKKKKKK HTTP/1.0\r\n\r\n", &[Miss]),
        closes("HTTP/1.0 closes as it was told", "9.3", "GET /hit HTTP/1.0\r\nConnection: close\r\n\r\n", &[Hit]),
        closes("close beats keep-alive in HTTP/1.0", "9.3", "GET /hit HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", &[Hit]),
        open("HTTP/1.0 stays on request", "9.3", "GET /hit HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &[HIT_KEEP_ALIVE]),
        open("HTTP/1.0 stays on request in mixed case", "9.3", "GET /hit HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &[HIT_KEEP_ALIVE]),
        open("HTTP/1.0 PUT stays on request", "9.3", "PUT /KKKKKKKK HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", &[Exact("HTTP/1.1 201 Created\r\nDate: -\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")]).keeps(b"hello"),
        closes("HTTP/1.1, then HTTP/1.0", "9.3", concat!(put!("Content-Length: 1"; "v"), "GET /hit HTTP/1.0\r\n\r\n"), &[Created, Hit]).keeps(b"v"),
    ]
}

fn expectations() -> Vec<Row> {
    use Answer::{Continue, Created, Error, ErrorWith, Exact, Hit, NoContent};
    const S: &str = "RFC 9110 10.1.1";
    const MISS_CLOSE: Answer = Exact(
        "HTTP/1.1 404 Not Found\r\nDate: -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    vec![
        open("100 before a body", S, put!("Expect: 100-continue", "Content-Length: 5"; "hello"), &[Continue, Created]).keeps(b"hello"),
        open("100 before a chunked body", S, put!("Expect: 100-continue", "Transfer-Encoding: chunked"; "5\r\nhello\r\n0\r\n\r\n"), &[Continue, Created]).keeps(b"hello"),
        open("100-Continue in mixed case", S, put!("eXPECT: 100-Continue", "Content-Length: 5"; "hello"), &[Continue, Created]).keeps(b"hello"),
        open("no 100 without a body", S, put!("Expect: 100-continue", "Content-Length: 0"; ""), &[Created]).keeps(b""),
        open("a refused request without a body, with Expect", S, "GET /hit HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\n\r\n", &[Error(421)]),
        open("no 100 at a GET", S, get!("Expect: 100-continue"), &[Hit]),
        closes("no 100 at a GET whose body is on its way", S, "GET /hit HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 55\r\n\r\nhell", &[HIT_CLOSE]),
        closes("no 100 at a HEAD whose body is on its way", S, "HEAD /hit HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 55\r\n\r\nhell", &[HEAD_HIT_CLOSE]),
        closes("no 100 at a DELETE whose body is on its way", S, "DELETE /KKKKKKKK HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 55\r\n\r\nhell", &[MISS_CLOSE]),
        closes("no 100 at an OPTIONS whose body is on its way", S, "OPTIONS * HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 55\r\n\r\nhell", &[Exact("HTTP/1.1 204 No Content\r\nDate: -\r\nConnection: close\r\nAllow: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\n\r\n")]),
        closes("no 100 at a PROPFIND whose body is on its way", S, "PROPFIND /hit HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", &[MISS_CLOSE]),
        refused("a malformed condition, with Expect and the body of a GET", S, "GET /hit HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nIf-Match: x\r\nContent-Length: 5\r\n\r\nhello", 400),
        refused("a malformed condition, with Expect and the body of a DELETE", S, "DELETE /hit HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nIf-None-Match: x\r\nContent-Length: 5\r\n\r\nhello", 400),
        closes("no 100 at a GET whose chunks are broken", S, "GET /hit HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", &[HIT_CLOSE]),
        open("100 in the middle of a pipeline", S, concat!(get!(), put!("Expect: 100-continue", "Content-Length: 1"; "a"), put!("Expect: 100-continue", "Content-Length: 1"; "b"), get!()), &[Hit, Continue, Created, Continue, NoContent, Hit]).keeps(b"b"),
        closes("100, then close", S, put!("Expect: 100-continue", "Connection: close", "Content-Length: 5"; "hello"), &[Continue, Exact("HTTP/1.1 201 Created\r\nDate: -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")]).keeps(b"hello"),
        closes("HTTP/1.0 does not know Expect", S, "PUT /KKKKKKKK HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", &[Created]).keeps(b"hello"),
        closes("another expectation in HTTP/1.0 is ignored", S, "GET /hit HTTP/1.0\r\nExpect: x\r\n\r\n", &[Hit]),
        refused("another expectation", S, put!("Expect: 200-ok", "Content-Length: 5"; "hello"), 417).keeps_nothing(),
        refused("another expectation at GET", S, get!("Expect: x"), 417),
        refused("two expectations", S, put!("Expect: 100-continue, x", "Content-Length: 5"; "hello"), 417).keeps_nothing(),
        refused("413 instead of 100", S, put!("Expect: 100-continue", "Content-Length: 33554433"; "hello"), 413).keeps_nothing(),
        refused("501 instead of 100", S, "FROB /hit HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 501),
        refused("400 for the key instead of 100", S, "PUT /%zz HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 400),
        refused("400 for the lifetime instead of 100", S, put!("Expect: 100-continue", "Cache-Control: max-age=x", "Content-Length: 5"; "hello"), 400).keeps_nothing(),
        closes("405 instead of 100", S, "PATCH /hit HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", &[ErrorWith(405, ALLOW)]),
        closes("405 for a reserved name instead of 100", S, "PUT /metrics HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", &[ErrorWith(405, ALLOW_RESERVED)]),
        closes("414 instead of 100", S, format!("PUT /{} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "x".repeat(1025)), &[Error(414)]),
        closes("a chunk over the limit after 100", S, put!("Expect: 100-continue", "Transfer-Encoding: chunked"; "2000001\r\nhello"), &[Continue, Error(413)]).keeps_nothing(),
        closes("a broken chunk after 100", S, put!("Expect: 100-continue", "Transfer-Encoding: chunked"; "x\r\n"), &[Continue, Error(400)]).keeps_nothing(),
    ]
}

/// Bytes that no request begins with: refused although no line is complete.
pub(crate) fn hopeless() -> Vec<Row> {
    let refused = |name, bytes: &[u8]| refused(name, "2.2", bytes, 400);
    vec![
        refused("a NUL alone", b"\0"),
        refused("a space alone", b" "),
        refused("a tab alone", b"\t"),
        refused("a CR that no LF follows", b"\rG"),
        refused("the first bytes of TLS", b"\x16\x03\x01"),
        refused("a NUL within an incomplete method", b"GE\0"),
        refused("a bracket within an incomplete method", b"GE["),
        refused("a second space before the target", b"GET  "),
        refused("a NUL within an incomplete target", b"GET /hi\0"),
        refused("a fragment within an incomplete target", b"GET /hi#"),
        refused("a byte above ASCII within an incomplete target", b"GET /hi\xff"),
        refused("a line end behind an incomplete target", b"GET /hit\r"),
        refused("a second space before the version", b"GET /hit  "),
        refused("a NUL within an incomplete version", b"GET /hit HT\0"),
        refused("another protocol", b"GET /hit R"),
        refused("a version that has begun with a letter", b"GET /hit HTTP/x"),
        refused("a version that goes on, incomplete", b"GET /hit HTTP/1.1x"),
        refused("a CR that no LF follows behind the version", b"GET /hit HTTP/1.1\rH"),
        refused("a target that is none, on a complete line", b"GET hit HTTP/1.1\r\n"),
        refused("a NUL within an incomplete field's name", b"GET /hit HTTP/1.1\r\nHo\0"),
        refused("a NUL within an incomplete field's value", b"GET /hit HTTP/1.1\r\nHost: t\0"),
        refused("a CR that no LF follows within a field", b"GET /hit HTTP/1.1\r\nHost: t\rX"),
    ]
}

fn incomplete() -> Vec<Row> {
    use Answer::{Continue, Hit};
    vec![
        waits("nothing but empty lines", "2.2", "\r\n\r\n", &[]),
        waits("half a line end", "2.2", "\r", &[]),
        waits("half a method", "8", "GE", &[]),
        waits("half a target", "8", "GET /hi", &[]),
        waits("half a version", "8", "GET /hit HTTP/1.", &[]),
        waits("a request line", "8", "GET /hit HTTP/1.1\r\n", &[]),
        waits("half a field", "8", "GET /hit HTTP/1.1\r\nHost: t", &[]),
        waits("half the end of a field", "8", "GET /hit HTTP/1.1\r\nHost: t\r", &[]),
        waits("no empty line", "8", "GET /hit HTTP/1.1\r\nHost: t\r\n", &[]),
        waits("half an empty line", "8", "GET /hit HTTP/1.1\r\nHost: t\r\n\r", &[]),
        waits("a request, and half of one", "8", concat!(get!(), "GET /hit HTTP/1.1\r\n"), &[Hit]),
        waits("no body", "8", put!("Content-Length: 5"; ""), &[]).keeps_nothing(),
        waits("half a body", "8", put!("Content-Length: 5"; "hell"), &[]).keeps_nothing(),
        waits(
            "half a body after 100",
            "8",
            put!("Expect: 100-continue", "Content-Length: 5"; "hell"),
            &[Continue],
        )
        .keeps_nothing(),
        waits("no chunk", "8", chunked!(""), &[]).keeps_nothing(),
        waits("half a chunk size line", "8", chunked!("5"), &[]).keeps_nothing(),
        waits("half a chunk", "8", chunked!("5\r\nhel"), &[]).keeps_nothing(),
        waits("a chunk without its line end", "8", chunked!("5\r\nhello\r"), &[]).keeps_nothing(),
        waits("no last chunk", "8", chunked!("5\r\nhello\r\n"), &[]).keeps_nothing(),
        waits("no end of the trailer section", "8", chunked!("5\r\nhello\r\n0\r\n"), &[])
            .keeps_nothing(),
        waits("half a trailer field", "8", chunked!("5\r\nhello\r\n0\r\nX: y\r\n"), &[])
            .keeps_nothing(),
    ]
}
