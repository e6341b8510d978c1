//! A raw connection to a proxy, which takes whatever responses proxies send.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use testkit::{Malformed, PATIENCE, Response, read_response, show};

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: Socket,
    received: Vec<u8>,
    ended: bool,
}

impl Peer {
    pub(crate) fn try_connect(place: &SockAddr) -> std::io::Result<Self> {
        let stream = Socket::new(place.domain(), Type::STREAM, None)?;
        stream.connect(place)?;
        if place.domain() != Domain::UNIX {
            stream.set_tcp_nodelay(true)?;
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), ended: false })
    }

    #[track_caller]
    pub(crate) fn connect(place: &SockAddr) -> Self {
        Self::try_connect(place).unwrap_or_else(|error| panic!("{place:?}: {error}"))
    }

    /// Sends bytes as they are. A proxy may close before it has read all, which the answer shows.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends bytes from a thread of its own while responses are read, so that neither waits for
    /// the other.
    pub(crate) fn send_beside(&self, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
        let mut stream = self.stream.try_clone().expect("the socket can be shared");
        std::thread::spawn(move || {
            let _ = stream.write_all(&bytes);
        })
    }

    /// The next final response.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Response {
        self.next(false).unwrap_or_else(|| panic!("no answer: {}", show(&self.received)))
    }

    /// The next final response if the connection does not end before it.
    #[track_caller]
    pub(crate) fn next(&mut self, to_head: bool) -> Option<Response> {
        loop {
            match self.take(to_head) {
                Some(answer) if answer.status < 200 => {}
                Some(answer) => return Some(answer),
                None if self.ended => return None,
                None => self.fill(PATIENCE),
            }
        }
    }

    fn take(&mut self, to_head: bool) -> Option<Response> {
        let answer = read_response(&self.received, to_head, self.ended);
        let (answer, len) =
            answer.unwrap_or_else(|Malformed(why)| panic!("{why} in {}", show(&self.received)))?;
        self.received.drain(..len);
        Some(answer)
    }

    /// Reads once, for `limit` at most.
    fn fill(&mut self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("SO_RCVTIMEO");
        let len = self.received.len();
        self.received.resize(len + 256 * 1024, 0);
        let read = self.stream.read(&mut self.received[len..]);
        self.received.truncate(len + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(1..) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(0) | Err(_) => self.ended = true,
        }
    }

    /// A request and its response.
    #[track_caller]
    pub(crate) fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.answer()
    }

    /// Every final response that comes: waits `first` for the first one, then until nothing has
    /// come for `quiet`.
    pub(crate) fn gather(&mut self, first: Duration, quiet: Duration) -> Vec<Response> {
        let mut answers = Vec::new();
        let mut until = Instant::now() + first;
        loop {
            // Something that is no response (HTTP/0.9 has no head) is not counted.
            if self.received.len() >= 5 && !self.received.starts_with(b"HTTP/") {
                self.received.clear();
            }
            while let Some(answer) = self.take(false) {
                if answer.status >= 200 {
                    answers.push(answer);
                    until = Instant::now() + quiet;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if self.ended || left.is_zero() {
                return answers;
            }
            self.fill(left);
        }
    }
}
