//! A connected stream socket, TCP or Unix: the system calls of the data path.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown, sockopt,
};

use super::output::Outlet;

/// What a non-blocking transfer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// That many bytes; on receiving, 0 says that the peer sends no more.
    Done(usize),
    /// Nothing can be transferred now; the event loop will be told when.
    NotReady,
}

/// A non-blocking stream socket that closes when dropped.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Takes a socket that was accepted as non-blocking.
    pub(super) fn new(fd: OwnedFd) -> Self {
        // Responses leave in one send per batch: there is nothing for Nagle's algorithm to
        // gather. A Unix-domain socket refuses the option, which is as good.
        let _ = sockopt::set_tcp_nodelay(&fd, true);
        Self(fd)
    }

    /// Receives into a slice.
    pub(super) fn receive(&self, into: &mut [u8]) -> io::Result<Transfer> {
        loop {
            match recv(&self.0, &mut *into, RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                result => return transfer(result.map(|(n, _)| n)),
            }
        }
    }

    /// Tells the peer that no more bytes will come. The peer may be gone already.
    pub(super) fn finish(&self) {
        let _ = shutdown(&self.0, Shutdown::Write);
    }

    /// Has the kernel drop what the peer has not taken, and reset the connection, when the socket
    /// closes; otherwise it would keep that for minutes. Means nothing to a Unix-domain socket.
    pub(super) fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }
}

impl Outlet for Socket {
    fn send(&self, bytes: &[u8]) -> io::Result<Transfer> {
        loop {
            match send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                result => return transfer(result),
            }
        }
    }

    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<Transfer> {
        let mut space: [MaybeUninit<u8>; 0] = [];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            match sendmsg(&self.0, pieces, &mut control, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                result => return transfer(result),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn transfer(result: rustix::io::Result<usize>) -> io::Result<Transfer> {
    match result {
        Ok(n) => Ok(Transfer::Done(n)),
        // ENOBUFS and ENOMEM are the kernel's passing shortage of socket memory.
        Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Ok(Transfer::NotReady),
        Err(error) => Err(error.into()),
    }
}
