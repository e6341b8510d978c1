//! A raw connection to a proxy, with a response parser that takes what proxies send: any field,
//! chunked bodies, bodies that end with the connection.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::util::{PATIENCE, show};

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field, the first if it is repeated.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Parses the response that `bytes` begin with, and its length; `None` until it is complete.
/// `ended`: no more bytes will come.
#[track_caller]
pub(crate) fn parse(bytes: &[u8], to_head: bool, ended: bool) -> Option<(Answer, usize)> {
    let len = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..len]).into_owned();
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.and_then(|digits| digits.parse::<u16>().ok());
    let status = status.unwrap_or_else(|| panic!("not a response: {}", show(bytes)));
    let mut answer = Answer { status, head, body: Vec::new() };
    if to_head || status < 200 || status == 204 || status == 304 {
        return Some((answer, len));
    }
    let rest = &bytes[len..];
    if answer.field("Transfer-Encoding").is_some() {
        let used = dechunk(rest, &mut answer.body)?;
        return Some((answer, len + used));
    }
    let Some(length) = answer.field("Content-Length") else {
        answer.body = rest.to_vec();
        return ended.then_some((answer, bytes.len()));
    };
    let length: usize = length.parse().expect("a number");
    answer.body = rest.get(..length)?.to_vec();
    Some((answer, len + length))
}

/// Decodes a chunked body; gives the length of its coded form once it is complete.
fn dechunk(bytes: &[u8], body: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes[at..].windows(2).position(|w| w == b"\r\n")?;
        let size = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let size = size.split(';').next().expect("split gives one").trim().to_owned();
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("chunk {size:?}"));
        at += line + 2;
        if size == 0 {
            // No proxy here sends trailers.
            return bytes.get(at..at + 2).map(|_| at + 2);
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        at += size + 2;
        bytes.get(..at)?;
    }
}

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
    pub(crate) fn answer(&mut self) -> Answer {
        self.next(false).unwrap_or_else(|| panic!("no answer: {}", show(&self.received)))
    }

    /// The next final response if the connection does not end before it.
    #[track_caller]
    pub(crate) fn next(&mut self, to_head: bool) -> Option<Answer> {
        loop {
            match self.take(to_head) {
                Some(answer) if answer.status < 200 => {}
                Some(answer) => return Some(answer),
                None if self.ended => return None,
                None => self.fill(PATIENCE),
            }
        }
    }

    fn take(&mut self, to_head: bool) -> Option<Answer> {
        let (answer, len) = parse(&self.received, to_head, self.ended)?;
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
    pub(crate) fn exchange(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    /// Every final response that comes: waits `first` for the first one, then until nothing has
    /// come for `quiet`.
    pub(crate) fn gather(&mut self, first: Duration, quiet: Duration) -> Vec<Answer> {
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
