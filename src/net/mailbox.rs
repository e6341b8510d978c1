//! How the acceptor reaches the event loops.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mio::{Poll, Token, Waker};

use super::service::Class;
use super::socket::Socket;

/// The event by which a loop learns that it has mail or orders.
pub(super) const WAKER: Token = Token(usize::MAX);

/// How the acceptor reaches a loop.
#[derive(Debug)]
pub(super) struct Mailbox {
    arrivals: Mutex<Vec<(Socket, Class)>>,
    waker: Waker,
    /// Connections dealt to the loop and not closed yet.
    pub(super) open: AtomicUsize,
}

impl Mailbox {
    /// Hands a socket over; [`Mailbox::wake`] tells the loop.
    pub(super) fn deal(&self, socket: Socket, class: Class) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.arrivals().push((socket, class));
    }

    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("can't wake an event loop: {error}");
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
pub(super) struct Orders {
    /// Answer what has been received, close, and return.
    pub(super) drain: AtomicBool,
    /// Return at once.
    pub(super) abort: AtomicBool,
}

/// The poll of a loop to be, and the mailbox that wakes it.
pub(super) fn create() -> io::Result<(Poll, Mailbox)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    Ok((poll, Mailbox { arrivals: Mutex::default(), waker, open: AtomicUsize::new(0) }))
}
