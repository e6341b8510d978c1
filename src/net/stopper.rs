//! What ends a running server from another thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Poll, Token, Waker};

use crate::explain::explain;

/// The event by which the acceptor learns that it is to stop.
pub(super) const STOP: Token = Token(usize::MAX);

/// Ends a running server from another thread, as a signal would.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Stop>);

#[derive(Debug)]
struct Stop {
    stopped: AtomicBool,
    waker: Waker,
}

impl Stopper {
    pub(super) fn new(poll: &Poll) -> io::Result<Self> {
        let waker = Waker::new(poll.registry(), STOP)
            .map_err(explain("can't make a waker (eventfd2, epoll_ctl)"))?;
        Ok(Self(Arc::new(Stop { stopped: AtomicBool::new(false), waker })))
    }

    /// Asks the server to drain and return. May be called more than once.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        // If it can't be woken the server sees that at its next tick.
        let _ = self.0.waker.wake();
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }
}
