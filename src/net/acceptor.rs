//! Listeners, and the loop that accepts and deals sockets to the event loops.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, SockAddr, Socket as Socket2, Type};

use super::address::Address;
use super::event_loop::{Mailbox, Orders};
use super::service::Class;
use super::socket::Socket;

/// Connections that may wait in the kernel to be accepted; the kernel's own limit may be lower.
const BACKLOG_CONNECTIONS_MAX: i32 = 4096;

/// What the kernel may queue for a peer that does not read, in bytes. It doubles the figure for its
/// own bookkeeping. Left to itself it queues megabytes for each, and some thousand such peers use
/// up the memory that all TCP connections of the machine share, which stalls everybody.
const SEND_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Connections over the limit that are told so at a time; more are closed without a word.
const REFUSALS_MAX: usize = 128;

/// Pause before accepting is tried again when the process is out of file descriptors.
const RETRY: Duration = Duration::from_millis(50);

const STOP: Token = Token(usize::MAX);
const SIGNAL: Token = Token(usize::MAX - 1);

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket2,
    class: Class,
    pub(super) address: Address,
    /// More connections may be waiting than were accepted.
    pending: bool,
}

impl Listener {
    pub(super) fn bind(address: &Address, class: Class, unix_mode: u32) -> io::Result<Self> {
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("can't listen on {address}: {error}"))
        };
        let (socket, address) = match address {
            Address::Tcp(tcp) => bind_tcp(*tcp).map_err(explain)?,
            Address::Unix(path) => bind_unix(path, unix_mode).map_err(explain)?,
        };
        Ok(Self { socket, class, address, pending: true })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            let _ = fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<(Socket2, Address)> {
    let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES_MAX)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_CONNECTIONS_MAX)?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, Address::Tcp(bound)))
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<(Socket2, Address)> {
    // A socket file that nobody listens on is what an earlier process left behind.
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG_CONNECTIONS_MAX)?;
    Ok((socket, Address::Unix(path.to_owned())))
}

/// Accepts until told to stop, then leads the loops through the drain.
pub(super) struct Acceptor<'a> {
    pub(super) poll: Poll,
    pub(super) listeners: Vec<Listener>,
    pub(super) mailboxes: &'a [Mailbox],
    pub(super) orders: &'a Orders,
    pub(super) connections_max: usize,
    pub(super) signals: Option<UnixStream>,
    /// Where the search for the emptiest loop starts: behind the one that was dealt to last.
    pub(super) turn: usize,
    /// A descriptor held back, so that one more connection can be told when there are no more.
    pub(super) reserve: Option<OwnedFd>,
}

impl Acceptor<'_> {
    pub(super) const STOP: Token = STOP;

    pub(super) fn run(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        for (i, listener) in self.listeners.iter().enumerate() {
            let fd = listener.socket.as_raw_fd();
            registry.register(&mut SourceFd(&fd), Token(i), Interest::READABLE)?;
        }
        if let Some(signals) = &self.signals {
            let fd = signals.as_raw_fd();
            registry.register(&mut SourceFd(&fd), SIGNAL, Interest::READABLE)?;
        }
        let mut events = Events::with_capacity(64);
        loop {
            let retry = self.listeners.iter().any(|listener| listener.pending);
            match self.poll.poll(&mut events, retry.then_some(RETRY)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    STOP | SIGNAL => return Ok(()),
                    Token(i) => self.listeners[i].pending = true,
                }
            }
            self.accept();
        }
    }

    /// Takes what waits at the listeners. What can't be taken for lack of descriptors stays
    /// pending and is tried again.
    fn accept(&mut self) {
        let mut dealt = vec![false; self.mailboxes.len()];
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
        for i in 0..self.listeners.len() {
            while self.listeners[i].pending {
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                match accept_with(&self.listeners[i].socket, flags) {
                    Ok(fd) => self.deal(Socket::new(fd), self.listeners[i].class, &mut dealt),
                    Err(Errno::AGAIN) => self.listeners[i].pending = false,
                    Err(Errno::MFILE | Errno::NFILE) => {
                        if self.reserve.take().is_none() {
                            break;
                        }
                        match accept_with(&self.listeners[i].socket, flags) {
                            Ok(fd) => self.deal(Socket::new(fd), Class::Refused, &mut dealt),
                            Err(_) => break,
                        }
                    }
                    // The peer gave up while it was waiting, or the kernel is short of memory.
                    Err(Errno::NOBUFS | Errno::NOMEM) => break,
                    Err(_) => {}
                }
            }
        }
        for (mailbox, dealt) in self.mailboxes.iter().zip(dealt) {
            if dealt {
                mailbox.wake();
            }
        }
    }

    fn deal(&mut self, socket: Socket, class: Class, dealt: &mut [bool]) {
        let loops = self.mailboxes.len();
        let open = |i: usize| self.mailboxes[i].open.load(Ordering::Relaxed);
        let total: usize = (0..loops).map(open).sum();
        if total >= self.connections_max + REFUSALS_MAX {
            return;
        }
        let class = if total >= self.connections_max { Class::Refused } else { class };
        let emptiest = (0..loops).map(|i| (self.turn + i) % loops).min_by_key(|&i| open(i));
        let Some(emptiest) = emptiest else { return };
        self.turn = (emptiest + 1) % loops;
        self.mailboxes[emptiest].deal(socket, class);
        dealt[emptiest] = true;
    }

    /// Stops listening and waits until every loop has drained or the time is over.
    pub(super) fn drain(&mut self, timeout: Duration) {
        // What the kernel accepted before the listeners close has been promised an answer.
        for listener in &mut self.listeners {
            listener.pending = true;
        }
        self.accept();
        self.listeners.clear();
        self.orders.drain.store(true, Ordering::Relaxed);
        self.wake_all();
        let deadline = Instant::now() + timeout;
        let open = || self.mailboxes.iter().any(|m| m.open.load(Ordering::Relaxed) > 0);
        while open() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.orders.abort.store(true, Ordering::Relaxed);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.mailboxes.iter().for_each(Mailbox::wake);
    }
}

/// A descriptor to hold back.
pub(super) fn reserve() -> Option<OwnedFd> {
    fs::File::open("/dev/null").ok().map(OwnedFd::from)
}
