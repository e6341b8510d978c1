//! The incremental parser of one connection.

use std::ops::Range;

use super::chunk::Chunk;
use super::garbage::Garbage;
use super::head::{self, Framing, HEAD_BYTES_MAX, Head};
use super::memos::{Known, Memos};

/// What one call of [`Parser::next`] achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// All bytes are taken and the response isn't complete.
    Partial,
    /// A response ended after so many bytes.
    Complete(usize, Response),
}

/// One final response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code, 200 to 999.
    pub status: u16,
    /// Whether another response may follow on this connection.
    pub keep_alive: bool,
    /// Where the body is, see [`Parser::body`].
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    /// In the bytes of the call that completed the response.
    Input(Range<usize>),
    /// Collected, because it came in pieces.
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Fixed { head: Head, left: u64 },
    Chunked { head: Head, at: Chunk },
    UntilClose { head: Head },
}

/// The incremental parser of one connection.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// The beginning of a head whose end has not come yet.
    held_head: Vec<u8>,
    /// The beginning of the body of the response that comes in pieces.
    held_body: Vec<u8>,
    /// How much of such a body is kept.
    held_body_max: usize,
    memos: Memos,
}

impl Parser {
    /// A parser at the beginning of a connection. Of a body that comes in pieces it keeps the
    /// first `body_bytes_max` bytes, so that no server makes it use more memory than that.
    pub fn new(body_bytes_max: usize) -> Self {
        Self {
            state: State::Head,
            held_head: Vec::new(),
            held_body: Vec::new(),
            held_body_max: body_bytes_max,
            memos: Memos::default(),
        }
    }

    /// Forgets everything about the old connection, except the memory it used.
    pub fn reset(&mut self) {
        self.state = State::Head;
        self.held_head.clear();
        self.held_body.clear();
    }

    /// Whether no response has begun.
    pub fn is_between_responses(&self) -> bool {
        self.state == State::Head && self.held_head.is_empty()
    }

    /// Reads on. `has_body` is false for the answer to a HEAD request.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], has_body: bool) -> Result<Step, Garbage> {
        if self.is_between_responses()
            && let Some(Known { head, length, body }) = self.memos.find(bytes)
        {
            let body = if has_body { body } else { Some(0) };
            if let Some(body) = body
                && body <= (bytes.len() - length) as u64
            {
                return Ok(complete(head, length..length + body as usize));
            }
        }
        self.next_in_full(bytes, has_body)
    }

    /// The server closed the connection: completes a response that ends with it.
    pub fn finish(&mut self) -> Result<Option<Response>, Garbage> {
        match self.state {
            State::UntilClose { head } => {
                self.state = State::Head;
                Ok(Some(Response { status: head.status, keep_alive: false, body: Body::Held }))
            }
            State::Head if self.held_head.is_empty() => Ok(None),
            _ => Err(Garbage("the connection closed in the middle of a response")),
        }
    }

    /// The body of a response; `input` is what [`Parser::next`] was called with.
    pub fn body<'a>(&'a self, response: &Response, input: &'a [u8]) -> &'a [u8] {
        match &response.body {
            Body::Input(range) => &input[range.clone()],
            Body::Held => &self.held_body,
        }
    }

    /// Feeds bytes as answers to GET requests and counts the responses that end in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Garbage> {
        let (mut at, mut count) = (0, 0);
        while let Step::Complete(taken, _) = self.next(&bytes[at..], true)? {
            at += taken;
            count += 1;
            if at == bytes.len() {
                break;
            }
        }
        Ok(count)
    }

    fn next_in_full(&mut self, bytes: &[u8], has_body: bool) -> Result<Step, Garbage> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.state {
                State::Head => {
                    let Some((head, length)) = self.read_head(rest)? else {
                        return Ok(Step::Partial);
                    };
                    at += length;
                    if head.status < 200 {
                        if head.status == 101 {
                            return Err(Garbage("an upgrade that nobody asked for"));
                        }
                        continue;
                    }
                    if !has_body || head.is_bodiless() {
                        return Ok(complete(head, at..at));
                    }
                    if let Framing::Length(length) = head.framing
                        && length <= (bytes.len() - at) as u64
                    {
                        return Ok(complete(head, at..at + length as usize));
                    }
                    self.held_body.clear();
                    self.state = begin_body(head);
                }
                State::Fixed { head, left } => {
                    let take = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.hold_body(&rest[..take]);
                    let left = left - take as u64;
                    if left > 0 {
                        self.state = State::Fixed { head, left };
                        return Ok(Step::Partial);
                    }
                    return Ok(self.complete_held(head, at + take));
                }
                State::Chunked { head, at: chunk } => {
                    let (taken, after) = chunk.read(rest, |data| self.hold_body(data))?;
                    let Some(after) = after else {
                        return Ok(self.complete_held(head, at + taken));
                    };
                    self.state = State::Chunked { head, at: after };
                    return Ok(Step::Partial);
                }
                State::UntilClose { .. } => {
                    self.hold_body(rest);
                    return Ok(Step::Partial);
                }
            }
        }
    }

    fn hold_body(&mut self, data: &[u8]) {
        let room = self.held_body_max - self.held_body.len();
        self.held_body.extend_from_slice(&data[..data.len().min(room)]);
    }

    fn complete_held(&mut self, head: Head, taken: usize) -> Step {
        self.state = State::Head;
        let response =
            Response { status: head.status, keep_alive: head.keep_alive, body: Body::Held };
        Step::Complete(taken, response)
    }

    /// Returns the head and how many of `bytes` belong to it, or holds them back if it isn't
    /// complete.
    fn read_head(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, Garbage> {
        let held = self.held_head.len();
        if held == 0 {
            let found = head::parse(bytes)?;
            match found {
                Some((head, length)) => self.memos.remember(&bytes[..length], head),
                None => self.held_head.extend_from_slice(bytes),
            }
            return Ok(found);
        }
        let room = HEAD_BYTES_MAX + 1 - held;
        self.held_head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let found = head::parse(&self.held_head)?;
        Ok(found.map(|(head, length)| {
            self.held_head.clear();
            (head, length - held)
        }))
    }
}

fn complete(head: Head, body: Range<usize>) -> Step {
    let taken = body.end;
    let response =
        Response { status: head.status, keep_alive: head.keep_alive, body: Body::Input(body) };
    Step::Complete(taken, response)
}

fn begin_body(head: Head) -> State {
    match head.framing {
        Framing::Length(left) => State::Fixed { head, left },
        Framing::Chunked => State::Chunked { head, at: Chunk::start() },
        Framing::UntilClose => State::UntilClose { head },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every response of `input`, fed in pieces of `piece` bytes.
    fn parse(input: &[u8], piece: usize, has_body: bool) -> Result<Vec<(u16, Vec<u8>)>, Garbage> {
        let mut parser = Parser::new(1000);
        let mut found = Vec::new();
        for bytes in input.chunks(piece) {
            let mut at = 0;
            while at < bytes.len() {
                match parser.next(&bytes[at..], has_body)? {
                    Step::Partial => break,
                    Step::Complete(taken, response) => {
                        found
                            .push((response.status, parser.body(&response, &bytes[at..]).to_vec()));
                        at += taken;
                    }
                }
            }
        }
        if let Some(response) = parser.finish()? {
            found.push((response.status, parser.body(&response, b"").to_vec()));
        }
        Ok(found)
    }

    #[test]
    fn responses_are_found_however_the_bytes_are_cut() {
        let input = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\n42\
            HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\n43\
            HTTP/1.1 204 No Content\r\n\r\n\
            HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n\
            3;x=y\r\nabc\r\nA \r\n0123456789\r\n0\r\nT: railer\r\n\r\n\
            HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length:0\r\n\r\n\
            HTTP/1.0 404 Not Found\r\n\r\nuntil the end";
        let expected: Vec<(u16, Vec<u8>)> = vec![
            (200, b"42".to_vec()),
            (200, b"43".to_vec()),
            (204, b"".to_vec()),
            (200, b"abc0123456789".to_vec()),
            (201, b"".to_vec()),
            (404, b"until the end".to_vec()),
        ];
        for piece in 1..=input.len() {
            assert_eq!(parse(input, piece, true), Ok(expected.clone()), "pieces of {piece}");
        }
    }

    #[test]
    fn a_head_request_has_no_body_whatever_the_length() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".repeat(3);
        for piece in [1, 7, 1000] {
            assert_eq!(parse(&input, piece, false).unwrap().len(), 3);
        }
    }

    #[test]
    fn a_remembered_head_is_not_mistaken_for_a_longer_one() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx\
            HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890\
            HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny";
        let bodies: Vec<_> =
            parse(input, 1000, true).unwrap().into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, [b"x".to_vec(), b"01234567890".to_vec(), b"y".to_vec()]);
    }

    #[test]
    fn a_body_in_pieces_is_kept_up_to_the_limit() {
        let mut parser = Parser::new(4);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";
        assert_eq!(parser.next(head, true), Ok(Step::Partial));
        let Ok(Step::Complete(5, response)) = parser.next(b"56789", true) else { panic!() };
        assert_eq!(parser.body(&response, b""), b"0123");
    }

    #[test]
    fn a_close_in_the_middle_is_an_error_and_between_responses_is_none() {
        for (input, is_clean) in [
            (&b""[..], true),
            (b"HTTP/1.1 204 N\r\n\r\n", true),
            (b"HTTP/1.1 204 N\r\n", false),
            (b"HTTP/1.1 200 O\r\nContent-Length: 1\r\n\r\n", false),
            (b"HTTP/1.1 200 O\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", false),
        ] {
            assert_eq!(parse(input, 100, true).is_ok(), is_clean);
        }
    }

    #[test]
    fn keep_alive_follows_version_and_connection() {
        for (input, expected) in [
            ("HTTP/1.1 204 N\r\n\r\n", true),
            ("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n", false),
            ("HTTP/1.1 204 N\r\nconnection: Upgrade , CLOSE\r\n\r\n", false),
            ("HTTP/1.0 204 N\r\n\r\n", false),
            ("HTTP/1.0 204 N\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            let Ok(Step::Complete(_, response)) = Parser::new(0).next(input.as_bytes(), true)
            else {
                panic!("{input}")
            };
            assert_eq!(response.keep_alive, expected, "{input}");
        }
    }

    #[test]
    fn garbage_is_refused_at_the_first_wrong_byte() {
        for input in [
            "X",
            "HTTP/2",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 2x0",
            "HTTP/1.1 200OK\r\n\r\n",
            "HTTP/1.1 099 N\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1234567890abcdef0",
        ] {
            for piece in [1, 1000] {
                assert!(parse(input.as_bytes(), piece, true).is_err(), "{input:?} by {piece}");
            }
        }
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(HEAD_BYTES_MAX));
        for piece in [1000, 100_000] {
            assert_eq!(
                parse(long.as_bytes(), piece, true),
                Err(Garbage("a head of more than 16 KiB"))
            );
        }
    }
}
