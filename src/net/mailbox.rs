//! How the acceptor reaches the event loops.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::{Poll, Token, Waker};

use super::class::Class;
use super::drain::SharedDrain;
use super::socket::Socket;
use crate::explain::explain;
use crate::logging::Sparing;

/// The event by which a loop learns that it has mail or a flag is set.
pub(super) const WAKER: Token = Token(usize::MAX);

/// The acceptor and the loops wake at least this often: for what they were not told of, and a loop
/// for overdue connections, for transfers that the kernel had no memory for, and for the service's
/// housekeeping.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// How the acceptor reaches a loop.
#[derive(Debug)]
pub(super) struct Mailbox {
    arrivals: Mutex<Vec<(Socket, Class)>>,
    waker: Waker,
    /// Connections dealt to the loop and not closed yet.
    open: AtomicUsize,
    /// The loop has ended.
    closed: AtomicBool,
}

impl Mailbox {
    /// Hands a socket over; [`Mailbox::wake`] tells the loop.
    pub(super) fn deal(&self, socket: Socket, class: Class) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.arrivals().push((socket, class));
    }

    /// Connections dealt to the loop and not closed yet.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A connection that was dealt to the loop is closed.
    pub(super) fn close_one(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The loop has ended, and its connections with it.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.collect();
        self.open.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Has the loop look at its mail and the flags. If that fails it does so at its next tick.
    pub(super) fn wake(&self) {
        static SPARING: Sparing = Sparing::new();
        if let Err(error) = self.waker.wake()
            && SPARING.allows()
        {
            log::error!("can't wake an event loop, which costs up to a tick: {error}");
        }
    }

    /// The sockets that were handed over since the last time.
    pub(super) fn collect(&self) -> Vec<(Socket, Class)> {
        std::mem::take(&mut *self.arrivals())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.arrivals().is_empty()
    }

    fn arrivals(&self) -> MutexGuard<'_, Vec<(Socket, Class)>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all loops are told at once.
#[derive(Debug, Default)]
pub(super) struct ShutdownFlags {
    /// Answer what has been received, close, and return.
    pub(super) drain: SharedDrain,
    /// Return at once.
    pub(super) abort: AtomicBool,
}

/// The poll of a loop to be, and the mailbox that wakes it.
pub(super) fn create() -> io::Result<(Poll, Mailbox)> {
    let poll = Poll::new().map_err(explain("can't make a poll (epoll_create1)"))?;
    let waker = Waker::new(poll.registry(), WAKER)
        .map_err(explain("can't make a waker (eventfd2, epoll_ctl)"))?;
    let (arrivals, open, closed) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
    Ok((poll, Mailbox { arrivals, waker, open, closed }))
}
