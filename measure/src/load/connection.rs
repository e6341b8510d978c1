//! One connection of the load.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use corekv::net::Address;

use super::replies::Replies;
use super::requests::{Kind, Requests};

/// How long a reply may take while a server is looked at, and how long connecting may.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stream socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
}

impl Socket {
    /// Connects. Reads and writes block until [`set_nonblocking`](Self::set_nonblocking).
    ///
    /// # Errors
    /// If the server is not there.
    pub fn connect(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Self::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Self::Unix(stream)
            }
        })
    }

    /// Reads and writes no longer block.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(true),
            Self::Unix(stream) => stream.set_nonblocking(true),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).read(buffer),
            Socket::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).write(bytes),
            Socket::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A connection that goes round the prepared requests.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    pub(super) socket: Socket,
    requests: &'a Requests,
    replies: &'a Replies,
    /// The next request to be released, and the one whose reply comes next.
    next: usize,
    awaited: usize,
    /// Released and not answered.
    in_flight: usize,
    /// Where in the bytes of all requests sending goes on, and how many bytes are to be sent.
    send_at: usize,
    unsent: usize,
    /// What has arrived of the awaited reply.
    reply_at: usize,
}

impl<'a> Connection<'a> {
    /// A connection that begins with request number `first`.
    pub(super) fn new(
        socket: Socket,
        requests: &'a Requests,
        replies: &'a Replies,
        first: usize,
    ) -> Self {
        let send_at = first.checked_sub(1).map_or(0, |before| requests.ends[before]);
        Self {
            socket,
            requests,
            replies,
            next: first,
            awaited: first,
            in_flight: 0,
            send_at,
            unsent: 0,
            reply_at: 0,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Makes the next `count` requests ready to be sent.
    #[inline]
    pub(super) fn release(&mut self, count: usize) {
        for _ in 0..count {
            let end = self.requests.ends[self.next];
            let start = self.next.checked_sub(1).map_or(0, |before| self.requests.ends[before]);
            self.unsent += end - start;
            self.next = self.after(self.next);
        }
        self.in_flight += count;
    }

    #[inline]
    fn after(&self, request: usize) -> usize {
        if request + 1 == self.requests.ends.len() { 0 } else { request + 1 }
    }

    /// Sends what is ready, as much of it as there is room for.
    pub(super) fn send(&mut self) -> io::Result<()> {
        while self.unsent > 0 {
            let bytes = &self.requests.bytes;
            let piece = self.unsent.min(bytes.len() - self.send_at);
            match (&self.socket).write(&bytes[self.send_at..self.send_at + piece]) {
                Ok(sent) => {
                    self.unsent -= sent;
                    self.send_at += sent;
                    if self.send_at == bytes.len() {
                        self.send_at = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives once; how many replies have become complete, and whether nothing was left behind.
    #[inline]
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        let length = match (&self.socket).read(buffer) {
            Ok(0) => return Err(io::Error::other("the server closed the connection")),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((0, true)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok((0, false)),
            Err(error) => return Err(error),
        };
        Ok((self.take(&buffer[..length])?, length < buffer.len()))
    }

    #[inline]
    fn take(&mut self, mut received: &[u8]) -> io::Result<usize> {
        let mut complete = 0;
        while !received.is_empty() {
            if self.in_flight == 0 {
                return Err(io::Error::other("there are more replies than requests"));
            }
            let kind = self.requests.kinds[self.awaited];
            let reply = self.replies.of(kind);
            let here = received.len().min(reply.bytes - self.reply_at);
            if let Some(expected) = reply.prefix.get(self.reply_at..)
                && expected.iter().zip(received).any(|(expected, byte)| expected != byte)
            {
                return Err(unexpected(kind, received));
            }
            received = &received[here..];
            self.reply_at += here;
            if self.reply_at == reply.bytes {
                self.reply_at = 0;
                self.awaited = self.after(self.awaited);
                self.in_flight -= 1;
                complete += 1;
            }
        }
        Ok(complete)
    }
}

#[cold]
fn unexpected(kind: Kind, received: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&received[..received.len().min(40)]);
    io::Error::other(format!("the reply to a {kind:?} is {shown:?}"))
}
