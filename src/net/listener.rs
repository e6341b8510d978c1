//! Bound sockets that connections come in through.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{SocketFlags, SocketType, accept_with, sockopt};
use socket2::{Domain, SockAddr, Socket as Socket2, Type};

use super::address::Address;
use super::class::{Class, Reach};
use super::hooks::Inheritable;
use super::socket::Socket;
use crate::explain::explain;

/// Connections that may wait in the kernel to be accepted; the kernel's own limit may be lower.
pub(super) const BACKLOG_CONNECTIONS_MAX: i32 = 4096;

/// What the kernel may queue for a peer that does not read, in bytes. It doubles the figure for its
/// own bookkeeping. Left to itself it queues megabytes for each, and some thousand such peers use
/// up the memory that all TCP connections of the machine share, which stalls everybody.
const SEND_BUFFER_BYTES_MAX: usize = 128 << 10;

/// How long another process may hold the lock of a socket's directory.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// What connections come in through.
#[derive(Debug)]
pub enum Source {
    /// A socket that is yet to be bound to this address.
    Address(Address),
    /// A stream socket, TCP or Unix, that is bound and listens. Its file, if it has one, stays
    /// where it is.
    Socket(OwnedFd),
    /// The same, but its file goes when the server ends, as if it had made it.
    Inherited(OwnedFd),
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket2,
    pub(super) class: Class,
    pub(super) address: Address,
    /// A Unix-domain socket's file.
    file: Option<FileId>,
    /// More connections may be waiting than were accepted.
    pub(super) pending: bool,
}

impl Listener {
    pub(super) fn open(
        source: Source,
        class: fn(Reach) -> Class,
        unix_mode: u32,
    ) -> io::Result<Self> {
        let (socket, address, file) = match source {
            Source::Address(address) => match &address {
                Address::Tcp(tcp) => bind_tcp(*tcp),
                Address::Unix(path) => bind_unix(path, unix_mode),
            }
            .map_err(explain(format!("can't listen on {address}")))?,
            Source::Socket(fd) => {
                let number = fd.as_raw_fd();
                adopt(fd).map_err(explain(format!("can't listen on descriptor {number}")))?
            }
            Source::Inherited(fd) => {
                let (socket, address, _) = adopt(fd).map_err(explain("can't go on listening"))?;
                let file = match &address {
                    Address::Unix(path) => FileId::at(path),
                    Address::Tcp(_) => None,
                };
                (socket, address, file)
            }
        };
        let class = class(address.reach());
        Ok(Self { socket, class, address, file, pending: true })
    }

    /// Has the kernel give up connections of which the peer has taken nothing for so long, although
    /// something waits for it: also those that are closed here and that nobody else looks after.
    /// Accepted sockets inherit it; Unix-domain sockets don't know it, and keep nothing that long.
    pub(super) fn drop_unread_after(&self, time: Duration) {
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX).min(i32::MAX as u32);
        let _ = sockopt::set_tcp_user_timeout(&self.socket, millis);
    }

    /// For a process that goes on in this one's place.
    pub(super) fn inheritable(&self) -> Inheritable<'_> {
        let is_admin = matches!(self.class, Class::Admin(_));
        Inheritable { fd: self.socket.as_fd(), is_admin, owns_file: self.file.is_some() }
    }

    /// Leaves its file to a process that goes on in this one's place.
    pub(super) fn leave_file(&mut self) {
        self.file = None;
    }

    /// The next connection that waits.
    pub(super) fn take(&self) -> Result<Socket, Errno> {
        let fd = accept_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        Ok(match self.address {
            Address::Tcp(_) => Socket::tcp(fd),
            Address::Unix(_) => Socket::unix(fd),
        })
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The socket is open until this has been done, so that no other server takes the path over
        // in between.
        if let Address::Unix(path) = &self.address
            && self.file.is_some_and(|file| FileId::at(path) == Some(file))
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn at(path: &Path) -> Option<Self> {
        let of = |file: Metadata| Self { device: file.dev(), inode: file.ino() };
        fs::symlink_metadata(path).ok().map(of)
    }
}

type Bound = (Socket2, Address, Option<FileId>);

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<Bound> {
    let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES_MAX)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_CONNECTIONS_MAX)?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, Address::Tcp(bound), None))
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<Bound> {
    let address = SockAddr::unix(path)?;
    // Of several servers that start at once, each finds the path either taken or free.
    let _lock = lock_directory(path)?;
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && is_abandoned(&address)?
    {
        fs::remove_file(path)?;
    }
    let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG_CONNECTIONS_MAX)?;
    Ok((socket, Address::Unix(path.to_owned()), FileId::at(path)))
}

fn adopt(fd: OwnedFd) -> io::Result<Bound> {
    if sockopt::socket_type(&fd)? != SocketType::STREAM || !sockopt::socket_acceptconn(&fd)? {
        return Err(io::Error::other("it is no stream socket that listens"));
    }
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    let socket = Socket2::from(fd);
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    if let Some(tcp) = address.as_socket() {
        socket.set_send_buffer_size(SEND_BUFFER_BYTES_MAX)?;
        return Ok((socket, Address::Tcp(tcp), None));
    }
    let abstract_name = address.as_abstract_namespace().map(|name| {
        let name = String::from_utf8_lossy(name);
        PathBuf::from(format!("@{name}"))
    });
    let path = address.as_pathname().map(Path::to_owned).or(abstract_name);
    Ok((socket, Address::Unix(path.unwrap_or_default()), None))
}

/// Whether nobody listens on a socket's file: an earlier process left it behind. A server that is
/// stopped, or whose backlog is full, still listens.
fn is_abandoned(address: &SockAddr) -> io::Result<bool> {
    let probe = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    Ok(probe.connect(address).is_err_and(refused))
}

/// Holds the lock of the directory that a path lies in, for as long as the file is kept. `None` where
/// there can't be one: the directory can't be opened, or its file system has no locks.
fn lock_directory(path: &Path) -> io::Result<Option<File>> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(directory) = File::open(parent.unwrap_or(Path::new("."))) else { return Ok(None) };
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(directory)),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error @ Errno::WOULDBLOCK) => {
                return Err(explain("another process holds the lock of its directory")(error));
            }
            Err(_) => return Ok(None),
        }
    }
}
