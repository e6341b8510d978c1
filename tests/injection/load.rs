//! A load whose answers are checked while connections may be closed at any time.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Numbers, parse};

/// How long an answer may take: an attempt that the kernel refused is made again at the next tick.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Connections in a row that may come to nothing before a server counts as unreachable.
const ATTEMPTS_MAX: usize = 8;

/// What became of a load.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Requests that were answered rightly.
    pub(crate) answered: usize,
    /// Connections that were closed before their time.
    pub(crate) closed: usize,
}

trait Stream: Read + Write {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// A client and what it knows of its keys.
struct Client<'a> {
    address: &'a str,
    socket: &'a Path,
    number: usize,
    stream: Option<Box<dyn Stream>>,
    /// The values that a key may have: several after a write whose answer did not come.
    known: HashMap<usize, Vec<Vec<u8>>>,
    numbers: Numbers,
    outcome: Outcome,
    failures_in_a_row: usize,
}

/// Has several clients at once make so many rounds each, over TCP and over the Unix-domain socket.
/// Panics at a wrong answer or at none.
pub(crate) fn run(address: &str, socket: &Path, rounds: usize) -> Outcome {
    let outcomes = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    let numbers = Numbers::new(number as u64);
                    let (stream, known, outcome) = (None, HashMap::new(), Outcome::default());
                    let failures_in_a_row = 0;
                    let mut client = Client {
                        address,
                        socket,
                        number,
                        stream,
                        known,
                        numbers,
                        outcome,
                        failures_in_a_row,
                    };
                    for _ in 0..rounds {
                        if client.failures_in_a_row < ATTEMPTS_MAX {
                            client.round();
                        }
                    }
                    client.outcome
                })
            })
            .collect();
        clients.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut sum = Outcome::default();
    for outcome in outcomes {
        let outcome = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sum.answered += outcome.answered;
        sum.closed += outcome.closed;
    }
    sum
}

impl Client<'_> {
    /// A batch of writes, then one of reads of the same keys: small values, and one that is sent
    /// from where it lies.
    fn round(&mut self) {
        let sizes = [3, 900, 3, 150_000, 40];
        let mut writes = Vec::new();
        let mut reads = Vec::new();
        for (key, size) in sizes.into_iter().enumerate() {
            let value = self.numbers.bytes(size);
            let target = format!("/{}-{key}", self.number);
            let head = format!(
                "PUT {target} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer secret\r\n\
                 Content-Length: {size}\r\n\r\n"
            );
            writes.extend_from_slice(head.as_bytes());
            writes.extend_from_slice(&value);
            let read =
                format!("GET {target} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer secret\r\n\r\n");
            reads.extend_from_slice(read.as_bytes());
            // Until the answer comes the key may have either.
            self.known.entry(key).or_default().push(value);
        }
        let written = self.exchange(&writes, sizes.len(), |client, key, status, _| {
            assert!(matches!(status, 201 | 204), "a write was answered {status}");
            let values = client.known.entry(key).or_default();
            values.drain(..values.len() - 1);
        });
        let read = written
            && self.exchange(&reads, sizes.len(), |client, key, status, body| {
                assert_eq!(status, 200, "a stored value is gone");
                let known = &client.known[&key];
                assert!(known.iter().any(|value| value == body), "a wrong value");
            });
        if read && self.numbers.below(2) == 0 {
            self.leave();
        }
    }

    /// Has the server close the connection, so that the next round opens one.
    fn leave(&mut self) {
        let last = b"GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        let left = self.exchange(last, 1, |_, _, status, _| assert_eq!(status, 200));
        if let Some(mut stream) = self.stream.take().filter(|_| left) {
            // A reset is an end as well.
            let end = stream.read(&mut [0; 16]);
            assert!(!matches!(end, Ok(1..)), "more came than was asked for");
        }
    }

    /// Sends requests in one piece and looks at the answers. False if the connection was closed.
    fn exchange(
        &mut self,
        requests: &[u8],
        count: usize,
        mut check: impl FnMut(&mut Self, usize, u16, &[u8]),
    ) -> bool {
        let mut stream = match self.stream.take().map_or_else(|| self.connect(), Ok) {
            Ok(stream) => stream,
            Err(error) => return self.closed(&error),
        };
        let mut received = Vec::new();
        let mut consumed = 0;
        let mut done = 0;
        if let Err(error) = stream.write_all(requests) {
            return self.closed(&error);
        }
        let deadline = Instant::now() + ANSWER_MAX;
        while done < count {
            if let Some((response, len)) = parse(&received[consumed..], false) {
                consumed += len;
                if response.status == 503 {
                    return self.closed(&ErrorKind::ConnectionRefused.into());
                }
                check(self, done, response.status, &response.body);
                done += 1;
                self.outcome.answered += 1;
                continue;
            }
            assert!(Instant::now() < deadline, "{done} of {count} answers came");
            let mut piece = [0; 64 << 10];
            match stream.read(&mut piece) {
                Ok(0) => return self.closed(&ErrorKind::UnexpectedEof.into()),
                Ok(n) => received.extend_from_slice(&piece[..n]),
                Err(error) => return self.closed(&error),
            }
        }
        assert_eq!(consumed, received.len(), "more came than was asked for");
        self.failures_in_a_row = 0;
        self.stream = Some(stream);
        true
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        if self.number.is_multiple_of(2) {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.set_write_timeout(Some(ANSWER_MAX))?;
            Ok(Box::new(stream))
        } else {
            let stream = UnixStream::connect(self.socket)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.set_write_timeout(Some(ANSWER_MAX))?;
            Ok(Box::new(stream))
        }
    }

    fn closed(&mut self, error: &io::Error) -> bool {
        let hang = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!hang, "a connection hangs: {error}");
        self.outcome.closed += 1;
        self.failures_in_a_row += 1;
        false
    }
}
