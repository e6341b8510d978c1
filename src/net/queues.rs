//! The connections of a loop that have something to do, each in one queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mio::Token;

use super::mailbox::TICK;

/// How often those are tried again that wait for memory.
const RETRY: Duration = Duration::from_millis(10);

/// How many of them at a time.
const RETRIES_PER_ITERATION_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Queues {
    /// Those to be served in the next iteration.
    pub(super) ready: Vec<Token>,
    /// Those that have output left from an earlier iteration, in the order in which they go on.
    pub(super) backlog: VecDeque<Token>,
    /// Those that wait for memory, in the order in which they began to.
    pub(super) waiting: VecDeque<Token>,
    next_retry: Instant,
}

impl Queues {
    pub(super) fn new(now: Instant) -> Self {
        let (ready, backlog, waiting) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { ready, backlog, waiting, next_retry: now }
    }

    /// How long a loop may wait for events.
    pub(super) fn wait_max(&self) -> Duration {
        if !self.ready.is_empty() || !self.backlog.is_empty() {
            Duration::ZERO
        } else if self.waiting.is_empty() {
            TICK
        } else {
            RETRY
        }
    }

    /// How many of those that wait for memory are to be tried again.
    pub(super) fn retries(&mut self, now: Instant) -> usize {
        if self.waiting.is_empty() || now < self.next_retry {
            return 0;
        }
        self.next_retry = now + RETRY;
        self.waiting.len().min(RETRIES_PER_ITERATION_MAX)
    }
}
