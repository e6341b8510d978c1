//! A connection that sends exactly the bytes that a test gives it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::response::{Response, parse};
use super::{PATIENCE, show};

/// Read at once; large, so that a 32 MiB value takes few calls.
const READ_BYTES: usize = 256 * 1024;
/// Bytes of answered responses that may lie at the start of the buffer.
const CONSUMED_MAX: usize = 1024 * 1024;

/// One connection to the server.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
    consumed: usize,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::from_stream(stream)
    }

    pub(crate) fn from_stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
        stream.set_write_timeout(Some(PATIENCE)).expect("SO_SNDTIMEO");
        Self { stream, received: Vec::new(), consumed: 0 }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Err(error) = self.stream.write_all(bytes) {
            panic!("cannot send {}: {error}", show(bytes));
        }
    }

    /// Ends the sending side; responses still arrive.
    #[track_caller]
    pub(crate) fn half_close(&self) {
        // The server may have closed already, which a test finds out by what it reads.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Whether there is something to read, or an end.
    pub(crate) fn is_answered(&self) -> bool {
        self.stream.set_nonblocking(true).expect("O_NONBLOCK");
        let answered = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).expect("O_NONBLOCK");
        answered
    }

    /// Reads the next response (an interim one counts), to anything but HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.next(false)
    }

    /// Reads the next response, to a HEAD request.
    #[track_caller]
    pub(crate) fn response_to_head(&mut self) -> Response {
        self.next(true)
    }

    #[track_caller]
    fn next(&mut self, to_head: bool) -> Response {
        loop {
            if let Some((response, len)) = parse(&self.received[self.consumed..], to_head) {
                self.consumed += len;
                if self.consumed > CONSUMED_MAX {
                    self.received.drain(..self.consumed);
                    self.consumed = 0;
                }
                return response;
            }
            assert!(
                self.fill(),
                "the connection ended within a response; so far: {}",
                show(&self.received[self.consumed..])
            );
        }
    }

    /// Reads once; false at the end of the stream.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let len = self.received.len();
        self.received.resize(len + READ_BYTES, 0);
        let read = loop {
            match self.stream.read(&mut self.received[len..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match read {
            Ok(read) => {
                self.received.truncate(len + read);
                read > 0
            }
            Err(error) => {
                self.received.truncate(len);
                panic!(
                    "no answer ({error}); unanswered so far: {}",
                    show(&self.received[self.consumed..])
                );
            }
        }
    }

    /// Everything up to the end of the stream.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        let rest = self.received.split_off(self.consumed);
        self.received.clear();
        self.consumed = 0;
        rest
    }

    /// As [`read_to_end`](Self::read_to_end), but a reset is an end, too.
    pub(crate) fn read_to_end_or_reset(&mut self) -> Vec<u8> {
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
    pub(crate) fn assert_closed_or_reset(&mut self) {
        let rest = self.read_to_end_or_reset();
        assert!(rest.is_empty(), "unexpected bytes before the end: {}", show(&rest));
    }

    /// Fails unless the server ends the connection without another byte.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "unexpected bytes before the end: {}", show(&rest));
    }

    /// Sends a request and reads its response.
    #[track_caller]
    pub(crate) fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.response()
    }

    /// A request without a body.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, target: &str) -> Response {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.next(method == "HEAD")
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.call("GET", target)
    }

    #[track_caller]
    pub(crate) fn put(&mut self, target: &str, value: impl AsRef<[u8]>) -> Response {
        self.put_with(target, "", value)
    }

    /// A PUT with further header lines, each with its CRLF.
    #[track_caller]
    pub(crate) fn put_with(
        &mut self,
        target: &str,
        lines: &str,
        value: impl AsRef<[u8]>,
    ) -> Response {
        let value = value.as_ref();
        let mut request = format!(
            "PUT {target} HTTP/1.1\r\nHost: test\r\n{lines}Content-Length: {}\r\n\r\n",
            value.len()
        )
        .into_bytes();
        request.extend_from_slice(value);
        self.exchange(request)
    }

    /// The number of live keys.
    #[track_caller]
    pub(crate) fn size(&mut self) -> u64 {
        let response = self.get("/size");
        assert_eq!(response.status, 200);
        response.line().parse().unwrap_or_else(|_| panic!("/size said {:?}", response.line()))
    }
}
