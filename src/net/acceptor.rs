//! Listeners, and the loop that accepts and deals sockets to the event loops.

use std::fmt;
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
use rustix::net::{SocketFlags, accept_with, sockopt};
use socket2::{Domain, SockAddr, Socket as Socket2, Type};

use super::address::Address;
use super::counters::Counter;
use super::mailbox::{Mailbox, Orders};
use super::output::Output;
use super::service::Class;
use super::socket::{Socket, Transfer};

/// Connections that may wait in the kernel to be accepted; the kernel's own limit may be lower.
const BACKLOG_CONNECTIONS_MAX: i32 = 4096;

/// What the kernel may queue for a peer that does not read, in bytes. It doubles the figure for its
/// own bookkeeping. Left to itself it queues megabytes for each, and some thousand such peers use
/// up the memory that all TCP connections of the machine share, which stalls everybody.
const SEND_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Connections over the limit that the loops tell so at a time, with time for the peer to read it;
/// more are turned away by the acceptor, which takes none.
const REFUSALS_MAX: usize = 128;

/// Connections taken from a listener per turn. Then the loops hear of theirs, and the acceptor of
/// other listeners and of the end.
const ACCEPTED_PER_TURN_MAX: usize = 256;

/// Turns that take all that may wait at a listener.
const TURNS_PER_BACKLOG: usize = BACKLOG_CONNECTIONS_MAX as usize / ACCEPTED_PER_TURN_MAX;

/// Bytes that are taken from a connection before it is turned away.
const DROPPED_BYTES_MAX: usize = 64 << 10;

/// Pause before accepting is tried again when not even one descriptor is left, or no memory.
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

    /// Has the kernel give up connections of which the peer has taken nothing for so long, although
    /// something waits for it: also those that are closed here and that nobody else looks after.
    /// Accepted sockets inherit it; Unix-domain sockets don't know it, and keep nothing that long.
    pub(super) fn drop_unread_after(&self, time: Duration) {
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX).min(i32::MAX as u32);
        let _ = sockopt::set_tcp_user_timeout(&self.socket, millis);
    }

    /// The next connection that waits.
    fn take(&self) -> Result<Socket, Errno> {
        accept_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).map(Socket::new)
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
    /// A descriptor held back, so that connections can be told when there are no more.
    pub(super) reserve: Option<OwnedFd>,
    pub(super) refusal: Refusal,
    pub(super) turned_away: &'a Counter,
}

/// Says what a connection is told that is turned away.
pub(super) struct Refusal(pub(super) Box<dyn FnMut(&mut Output) + Send>);

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").finish_non_exhaustive()
    }
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
        let mut again = Some(Duration::ZERO);
        loop {
            match self.poll.poll(&mut events, again) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    STOP | SIGNAL => return Ok(()),
                    Token(i) => self.listeners[i].pending = true,
                }
            }
            again = self.accept();
        }
    }

    /// Takes what waits at the listeners, up to a limit. When to call it again, if not for an
    /// event.
    fn accept(&mut self) -> Option<Duration> {
        let mut dealt = vec![false; self.mailboxes.len()];
        let mut stuck = false;
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
        for i in 0..self.listeners.len() {
            for _ in 0..ACCEPTED_PER_TURN_MAX {
                if !self.listeners[i].pending {
                    break;
                }
                match self.listeners[i].take() {
                    Ok(socket) => self.deal(socket, self.listeners[i].class, &mut dealt),
                    Err(Errno::AGAIN) => self.listeners[i].pending = false,
                    Err(Errno::MFILE | Errno::NFILE) if self.turn_next_away(i) => {}
                    Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                        stuck = true;
                        break;
                    }
                    // The peer gave up while it was waiting.
                    Err(_) => {}
                }
            }
        }
        for (mailbox, dealt) in self.mailboxes.iter().zip(dealt) {
            if dealt {
                mailbox.wake();
            }
        }
        let more = self.listeners.iter().any(|listener| listener.pending);
        more.then_some(if stuck { RETRY } else { Duration::ZERO })
    }

    /// Turns away the next connection of a listener, with the descriptor that is held back for
    /// that. Whether it could be done.
    fn turn_next_away(&mut self, listener: usize) -> bool {
        if self.reserve.take().is_none() {
            return false;
        }
        match self.listeners[listener].take() {
            Ok(socket) => self.turn_away(&socket),
            // Nobody waits: without a descriptor the kernel does not look.
            Err(Errno::AGAIN) => self.listeners[listener].pending = false,
            Err(_) => return false,
        }
        self.reserve = reserve();
        self.reserve.is_some()
    }

    /// Tells a peer to come back later, for the caller to close the connection at once.
    ///
    /// What the peer sends after that resets the connection, and some systems then drop what was
    /// not read yet, the refusal with it (RFC 9112 §9.6). Waiting for the peer instead would take
    /// a descriptor, of which there are none, so what has come by now is taken, and that is all.
    fn turn_away(&mut self, socket: &Socket) {
        self.turned_away.add(1);
        let mut output = Output::default();
        (self.refusal.0)(&mut output);
        // A new socket has room for a line; if not, the peer finds the end without it.
        let _ = output.send(socket, usize::MAX);
        socket.finish();
        let mut dropped = [0; 4 << 10];
        for _ in 0..DROPPED_BYTES_MAX / dropped.len() {
            if !matches!(socket.receive(&mut dropped), Ok(Transfer::Done(1..))) {
                break;
            }
        }
    }

    fn deal(&mut self, socket: Socket, class: Class, dealt: &mut [bool]) {
        let loops = self.mailboxes.len();
        let open = |i: usize| self.mailboxes[i].open.load(Ordering::Relaxed);
        let total: usize = (0..loops).map(open).sum();
        if total >= self.connections_max + REFUSALS_MAX {
            return self.turn_away(&socket);
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
        for _ in 0..TURNS_PER_BACKLOG {
            if self.accept() != Some(Duration::ZERO) {
                break;
            }
        }
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
