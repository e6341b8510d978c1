//! A connected stream socket, TCP or Unix: the system calls of the data path.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags, Shutdown,
    getpeername, recv, recvmsg, send, sendmsg, shutdown, sockopt,
};

use super::sink::{Sink, Transfer};

/// A non-blocking stream socket that closes when dropped.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    unix: bool,
}

impl Socket {
    /// Takes a TCP socket that was accepted as non-blocking.
    pub(super) fn tcp(fd: OwnedFd) -> Self {
        // Responses leave in one send per batch: there is nothing for Nagle's algorithm to gather.
        let _ = sockopt::set_tcp_nodelay(&fd, true);
        Self { fd, unix: false }
    }

    /// Takes a Unix-domain socket that was accepted as non-blocking.
    pub(super) fn unix(fd: OwnedFd) -> Self {
        Self { fd, unix: true }
    }

    /// Receives into a slice. `cut` is set if that ended early, with more behind it of which no event
    /// will tell; it is left alone otherwise.
    pub(super) fn receive(&self, into: &mut [u8], cut: &mut bool) -> io::Result<Transfer> {
        loop {
            let result = if self.unix {
                self.receive_message(into, cut)
            } else {
                recv(&self.fd, &mut *into, RecvFlags::empty()).map(|(n, _)| n)
            };
            if result != Err(Errno::INTR) {
                return transfer(result);
            }
        }
    }

    /// What a peer sends together with descriptors ends a receive (unix(7), SCM_RIGHTS). They are
    /// closed, for there is no room for them, and a flag says so.
    fn receive_message(&self, into: &mut [u8], cut: &mut bool) -> rustix::io::Result<usize> {
        let mut space: [MaybeUninit<u8>; 0] = [];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(into)];
        let message = recvmsg(&self.fd, into, &mut control, RecvFlags::empty())?;
        *cut |= message.flags.contains(ReturnFlags::CTRUNC);
        Ok(message.bytes)
    }

    /// The peer's address; `None` if it has none, or is gone.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        getpeername(&self.fd).ok()??.try_into().ok()
    }

    /// Tells the peer that no more bytes will come. The peer may be gone already.
    pub(super) fn finish(&self) {
        let _ = shutdown(&self.fd, Shutdown::Write);
    }

    /// Has the kernel drop what the peer has not taken, and reset the connection, when the socket
    /// closes; otherwise it would keep that for minutes. Means nothing to a Unix-domain socket.
    pub(super) fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }
}

impl Sink for Socket {
    fn send(&self, bytes: &[u8]) -> io::Result<Transfer> {
        loop {
            match send(&self.fd, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                result => return transfer(result),
            }
        }
    }

    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<Transfer> {
        let mut space: [MaybeUninit<u8>; 0] = [];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            match sendmsg(&self.fd, pieces, &mut control, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                result => return transfer(result),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn transfer(result: rustix::io::Result<usize>) -> io::Result<Transfer> {
    match result {
        Ok(n) => Ok(Transfer::Done(n)),
        Err(Errno::AGAIN) => Ok(Transfer::NotReady),
        Err(Errno::NOBUFS | Errno::NOMEM) => Ok(Transfer::Starved),
        Err(error) => Err(error.into()),
    }
}
