//! A connection that sends exactly the bytes that a test gives it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::{PATIENCE, Response, parse, show};

/// Read at once; large, so that a 32 MiB value takes few calls.
const READ_BYTES: usize = 256 * 1024;
/// Bytes of answered responses that may lie at the start of the buffer.
const CONSUMED_MAX: usize = 1024 * 1024;

/// One connection to the server.
#[derive(Debug)]
pub struct Client {
    /// What its bytes go through.
    pub stream: TcpStream,
    received: Vec<u8>,
    consumed: usize,
}

impl Client {
    /// Connects to a server, which must be there.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::from_stream(stream)
    }

    /// Uses a connection that is there already.
    pub fn from_stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
        stream.set_write_timeout(Some(PATIENCE)).expect("SO_SNDTIMEO");
        Self { stream, received: Vec::new(), consumed: 0 }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Err(error) = self.stream.write_all(bytes) {
            panic!("cannot send {}: {error}", show(bytes));
        }
    }

    /// Ends the sending side; responses still arrive.
    #[track_caller]
    pub fn half_close(&self) {
        // The server may have closed already, which a test finds out by what it reads.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Whether there is something to read, or an end.
    pub fn is_answered(&self) -> bool {
        self.stream.set_nonblocking(true).expect("O_NONBLOCK");
        let answered = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).expect("O_NONBLOCK");
        answered
    }

    /// Reads the next response (an interim one counts), to anything but HEAD.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.next(false)
    }

    /// Reads the next response, to a HEAD request.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        self.next(true)
    }

    #[track_caller]
    fn next(&mut self, to_head: bool) -> Response {
        self.try_next(to_head).unwrap_or_else(|error| self.fail(&error))
    }

    /// Reads the next response, to anything but HEAD.
    ///
    /// # Errors
    /// If the connection fails, or ends before the response does.
    pub fn try_response(&mut self) -> io::Result<Response> {
        self.try_next(false)
    }

    fn try_next(&mut self, to_head: bool) -> io::Result<Response> {
        loop {
            if let Some((response, len)) = parse(&self.received[self.consumed..], to_head) {
                self.consumed += len;
                if self.consumed > CONSUMED_MAX {
                    self.received.drain(..self.consumed);
                    self.consumed = 0;
                }
                return Ok(response);
            }
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    #[track_caller]
    fn fail(&self, error: &io::Error) -> ! {
        panic!("no answer ({error}); unanswered so far: {}", show(&self.received[self.consumed..]))
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let len = self.received.len();
        self.received.resize(len + READ_BYTES, 0);
        let read = loop {
            match self.stream.read(&mut self.received[len..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.received.truncate(len + *read.as_ref().unwrap_or(&0));
        read.map(|read| read > 0)
    }

    /// Everything up to the end of the stream.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill().unwrap_or_else(|error| self.fail(&error)) {}
        let rest = self.received.split_off(self.consumed);
        self.received.clear();
        self.consumed = 0;
        rest
    }

    /// As [`read_to_end`](Self::read_to_end), but a reset is an end, too.
    pub fn read_to_end_or_reset(&mut self) -> Vec<u8> {
        let mut rest = self.received.split_off(self.consumed);
        self.received.clear();
        self.consumed = 0;
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("no end of the connection: {error}");
            }
            _ => rest,
        }
    }

    /// As [`assert_closed`](Self::assert_closed), but a reset is an end, too.
    #[track_caller]
    pub fn assert_closed_or_reset(&mut self) {
        let rest = self.read_to_end_or_reset();
        assert!(rest.is_empty(), "unexpected bytes before the end: {}", show(&rest));
    }

    /// Fails unless the server ends the connection without another byte.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "unexpected bytes before the end: {}", show(&rest));
    }

    /// Sends a request and reads its response.
    #[track_caller]
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.response()
    }

    /// Sends a request, to anything but HEAD, and reads its response.
    ///
    /// # Errors
    /// If the connection fails, or ends before the response does.
    pub fn try_exchange(&mut self, request: impl AsRef<[u8]>) -> io::Result<Response> {
        self.stream.write_all(request.as_ref())?;
        self.try_response()
    }

    /// A request without a body.
    #[track_caller]
    pub fn call(&mut self, method: &str, target: &str) -> Response {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.next(method == "HEAD")
    }

    /// A GET.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.call("GET", target)
    }

    /// A PUT.
    #[track_caller]
    pub fn put(&mut self, target: &str, value: impl AsRef<[u8]>) -> Response {
        self.put_with(target, "", value)
    }

    /// A PUT with further header lines, each with its CRLF.
    #[track_caller]
    pub fn put_with(&mut self, target: &str, lines: &str, value: impl AsRef<[u8]>) -> Response {
        self.exchange(put_request(target, lines, value.as_ref()))
    }

    /// The number of live keys.
    #[track_caller]
    pub fn size(&mut self) -> u64 {
        let response = self.get("/size");
        assert_eq!(response.status, 200);
        response.line().parse().unwrap_or_else(|_| panic!("/size said {:?}", response.line()))
    }
}

/// The bytes of a PUT with further header lines, each with its CRLF.
pub fn put_request(target: &str, lines: &str, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let head =
        format!("PUT {target} HTTP/1.1\r\nHost: test\r\n{lines}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), value].concat()
}
