//! The loop that accepts connections and deals them to the event loops.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;

use super::class::Class;
use super::counters::Counter;
use super::drain::{Drain, IN_USE_MAX, NEW_SPARED_MAX};
use super::hooks::{Ending, Hangup, Phase, Succession, Ticker};
use super::listener::{BACKLOG_CONNECTIONS_MAX, Listener};
use super::mailbox::{Mailbox, ShutdownFlags, TICK};
use super::signals::Signals;
use super::sink::{Sink, Transfer};
use super::socket::Socket;
use super::stopper::{STOP, Stopper};
use crate::explain::explain;
use crate::logging::Sparing;

/// Connections over the limit that the loops tell so at a time, with time for the peer to read it;
/// more are rejected by the acceptor, which takes none.
const REFUSALS_MAX: usize = 128;

/// Connections taken from a listener per iteration. Then the loops hear of theirs, and the acceptor of
/// other listeners and of the end.
const ACCEPTED_PER_ITERATION_MAX: usize = 256;

/// Iterations that take all that may wait at a listener.
const ITERATIONS_PER_BACKLOG: usize = BACKLOG_CONNECTIONS_MAX as usize / ACCEPTED_PER_ITERATION_MAX;

/// Bytes that are taken from a connection before it is rejected.
const DROPPED_BYTES_MAX: usize = 64 << 10;

/// Connections of a listener that may fail in an iteration, each for reasons of its own, before that is taken
/// for a fault that lasts.
const FAILED_PER_ITERATION_MAX: usize = 16;

/// Pause before accepting is tried again after a fault that may last.
const RETRY: Duration = Duration::from_millis(50);

const SIGNAL: Token = Token(usize::MAX - 1);

/// Accepts until told to stop, then leads the loops through the drain.
pub(super) struct Acceptor<'a> {
    pub(super) poll: Poll,
    pub(super) listeners: Vec<Listener>,
    pub(super) mailboxes: &'a [Mailbox],
    pub(super) flags: &'a ShutdownFlags,
    pub(super) connections_max: usize,
    pub(super) stopper: &'a Stopper,
    pub(super) signals: Option<Signals>,
    /// Where the search for the emptiest loop starts: behind the one that was dealt to last.
    pub(super) next_loop: usize,
    /// A descriptor held back, so that connections can be told when there are no more.
    pub(super) reserve: Option<OwnedFd>,
    /// What a connection is sent that is rejected here.
    pub(super) rejection: fn() -> Vec<u8>,
    pub(super) turned_away: &'a Counter,
    pub(super) ticker: Ticker,
    pub(super) hangup: Hangup,
    pub(super) succession: Option<Box<dyn Succession>>,
}

impl Acceptor<'_> {
    /// Accepts until told to end, after `ready` was called.
    pub(super) fn serve(&mut self, ready: impl FnOnce() -> io::Result<()>) -> io::Result<Ending> {
        self.watch()?;
        ready()?;
        self.run()
    }

    /// Has nothing watched any more that another run would watch again.
    pub(super) fn unwatch(&self) {
        let listeners = self.listeners.iter().map(AsRawFd::as_raw_fd);
        for fd in listeners.chain(self.signals.iter().map(Signals::fd)) {
            // They were watched, if this run got so far.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    /// Has the listeners and the signals watched.
    fn watch(&self) -> io::Result<()> {
        let watch = |fd: RawFd, token| {
            let registered =
                self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE);
            registered.map_err(explain("can't watch a listener (epoll_ctl)"))
        };
        for (i, listener) in self.listeners.iter().enumerate() {
            watch(listener.as_raw_fd(), Token(i))?;
        }
        self.signals.as_ref().map_or(Ok(()), |signals| watch(signals.fd(), SIGNAL))
    }

    fn run(&mut self) -> io::Result<Ending> {
        let mut events = Events::with_capacity(64);
        let mut again = Some(Duration::ZERO);
        loop {
            // What should have woken the acceptor may have failed: it looks again at every tick.
            match self.poll.poll(&mut events, Some(again.unwrap_or(TICK))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(explain("can't wait for connections (epoll_wait)")(error));
                }
                _ => {}
            }
            for event in &events {
                match event.token() {
                    STOP => {}
                    SIGNAL => self.signals.iter_mut().for_each(Signals::drain),
                    Token(i) => self.listeners[i].pending = true,
                }
            }
            if self.signals.as_ref().is_some_and(Signals::take_hangup) {
                self.hang_up();
            }
            if self.signals.as_ref().is_some_and(Signals::ask_for_end) || self.stopper.has_stopped()
            {
                return Ok(Ending::Stop);
            }
            if self.is_succeeded() {
                return Ok(Ending::Succession);
            }
            again = self.accept();
            (self.ticker.0)(Phase::Serving);
        }
    }

    /// Does what is to be done at SIGHUP.
    fn hang_up(&mut self) {
        if self.hangup.0.is_empty() {
            log::info!("SIGHUP: nothing to do; SIGTERM ends the server");
        }
        self.hangup.0.iter_mut().for_each(|hook| hook());
    }

    /// Sees to a successor, if one is asked for. Whether it is to take over now.
    fn is_succeeded(&mut self) -> bool {
        let Some(succession) = &mut self.succession else { return false };
        if self.signals.as_ref().is_some_and(Signals::take_restart) {
            let listeners: Vec<_> = self.listeners.iter().map(Listener::inheritable).collect();
            succession.begin(&listeners);
        }
        succession.is_due()
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
            let mut failed = 0;
            for _ in 0..ACCEPTED_PER_ITERATION_MAX {
                if !self.listeners[i].pending {
                    break;
                }
                match self.listeners[i].take() {
                    Ok(socket) => self.deal(socket, self.listeners[i].class, &mut dealt),
                    Err(Errno::AGAIN) => self.listeners[i].pending = false,
                    Err(Errno::MFILE | Errno::NFILE) if self.reject_next(i) => {}
                    Err(error)
                        if is_of_the_connection(error) && failed < FAILED_PER_ITERATION_MAX =>
                    {
                        failed += 1;
                    }
                    Err(error) => {
                        complain(error);
                        stuck = true;
                        break;
                    }
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

    /// Rejects the next connection of a listener, with the descriptor that is held back for
    /// that. Whether it could be done.
    fn reject_next(&mut self, listener: usize) -> bool {
        if self.reserve.take().is_none() {
            return false;
        }
        match self.listeners[listener].take() {
            Ok(socket) => self.reject(&socket),
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
    /// not read yet, the response with it (RFC 9112 §9.6). Waiting for the peer instead would take
    /// a descriptor, of which there are none, so what has come by now is taken, and that is all.
    fn reject(&mut self, socket: &Socket) {
        self.turned_away.add(1);
        // A new socket has room for a line; if not, the peer finds the end without it.
        let _ = socket.send(&(self.rejection)());
        socket.finish();
        let mut dropped = [0; 4 << 10];
        for _ in 0..DROPPED_BYTES_MAX / dropped.len() {
            if !matches!(socket.receive(&mut dropped, &mut false), Ok(Transfer::Done(1..))) {
                break;
            }
        }
    }

    fn deal(&mut self, socket: Socket, class: Class, dealt: &mut [bool]) {
        let loops = self.mailboxes.len();
        let open = |i: usize| self.mailboxes[i].open();
        let total: usize = (0..loops).map(open).sum();
        if total >= self.connections_max + REFUSALS_MAX {
            return self.reject(&socket);
        }
        let class = if total >= self.connections_max { Class::OverLimit } else { class };
        let running = (0..loops)
            .map(|i| (self.next_loop + i) % loops)
            .filter(|&i| !self.mailboxes[i].is_closed());
        let emptiest = running.min_by_key(|&i| open(i));
        let Some(emptiest) = emptiest else { return };
        self.next_loop = (emptiest + 1) % loops;
        self.mailboxes[emptiest].deal(socket, class);
        dealt[emptiest] = true;
    }

    /// Leaves those who wait at the listeners to the successor, and waits until every loop has drained or
    /// the time is over. Connections that were accepted last have some time for their first message.
    pub(super) fn drain_for_successor(&mut self, timeout: Duration) {
        let began = Instant::now();
        for (drain, until) in [
            (Drain::SparesUsed, IN_USE_MAX.min(timeout)),
            (Drain::SparesNew, NEW_SPARED_MAX.min(timeout)),
            (Drain::SparesNone, timeout),
        ] {
            self.drain_loops(drain, began + until, Phase::HandingOver);
        }
    }

    /// Stops listening and waits until every loop has drained or the time is over.
    pub(super) fn drain(&mut self, timeout: Duration) {
        // What the kernel accepted before the listeners close has been promised an answer.
        for listener in &mut self.listeners {
            listener.pending = true;
        }
        for _ in 0..ITERATIONS_PER_BACKLOG {
            if self.accept() != Some(Duration::ZERO) {
                break;
            }
        }
        self.listeners.clear();
        (self.ticker.0)(Phase::Draining);
        let began = Instant::now();
        self.drain_loops(Drain::SparesUsed, began + IN_USE_MAX.min(timeout), Phase::Draining);
        self.drain_loops(Drain::SparesNone, began + timeout, Phase::Draining);
    }

    /// Waits until every loop has drained, or until the deadline.
    fn drain_loops(&mut self, drain: Drain, deadline: Instant, phase: Phase) {
        self.flags.drain.set(drain);
        self.mailboxes.iter().for_each(Mailbox::wake);
        let open = || self.mailboxes.iter().any(|mailbox| mailbox.open() > 0);
        while open() && Instant::now() < deadline {
            (self.ticker.0)(phase);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Whether accepting failed for a reason that other connections need not have: the peer gave up while
/// it was waiting, or the network did (accept(2)).
fn is_of_the_connection(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNABORTED
            | Errno::INTR
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NONET
    )
}

fn complain(error: Errno) {
    static SPARING: Sparing = Sparing::new();
    if SPARING.allows() {
        log::error!(
            "can't accept connections (accept4), and tries again every {RETRY:?}: {}",
            io::Error::from(error)
        );
    }
}

/// A descriptor to hold back.
pub(super) fn reserve() -> Option<OwnedFd> {
    fs::File::open("/dev/null").ok().map(OwnedFd::from)
}
